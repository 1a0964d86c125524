"""nbxmpp, Gajim's library, against a server: avatars, vCards, nicknames, bookmarks, blocking, keys of OMEMO, read
marks, an invitation and the registration that it allows.

Skipped, with a word, where there is no PyGObject or no nbxmpp. What a version does not have yet is left out."""

import asyncio
import base64
import hashlib
import logging
import os
import sys
import time

from common import PASSWORD, PATIENCE, main

try:
    import nbxmpp
    from gi.repository import Gio, GLib
    from nbxmpp.client import Client
except (ImportError, ValueError) as missing:
    print(f"skipped nbxmpp: {missing}")
    sys.exit(0)
from nbxmpp.const import AdHocAction, ConnectionProtocol, ConnectionType, Mode
from nbxmpp.modules.bookmarks.util import BookmarkData
from nbxmpp.modules.user_avatar import Avatar
from nbxmpp.namespaces import Namespace
from nbxmpp.protocol import JID, Message, Presence
from nbxmpp.structs import AdHocCommand, DiscoIdentity, OMEMOBundle, StanzaHandler

logging.getLogger("nbxmpp").setLevel(os.environ.get("INTEROP_LOG", "CRITICAL"))
logging.basicConfig()

WAYS = {"starttls": ConnectionType.START_TLS, "direct": ConnectionType.DIRECT_TLS}
MARKS = "urn:xmpp:mds:displayed:0"
INTERESTS = [
    Namespace.AVATAR_METADATA, Namespace.NICK, Namespace.BOOKMARKS_1, Namespace.OMEMO_TEMP_DL, MARKS,
]
IMAGE = base64.b64decode("iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mP8z8BQDwAEhQGAhKmMIQAAAABJRU5ErkJggg==")
OTHER = IMAGE + b"\0"


def wait(what, come):
    """Runs GLib's loop until it has come, but not for ever."""
    context = GLib.MainContext.default()
    until = time.monotonic() + PATIENCE
    ticking = GLib.timeout_add(200, lambda: True)  # so that an iteration ends
    try:
        while not come():
            assert time.monotonic() < until, f"timed out: {what}"
            context.iteration(True)
    finally:
        GLib.source_remove(ticking)


class User:
    def __init__(self, lab, name, way, resource, mode=Mode.CLIENT):
        # The lab's authority is the only one that is trusted.
        Gio.TlsBackend.get_default().set_default_database(Gio.TlsFileDatabase.new(lab.ca))
        self.name, self.bare = name, JID.from_string(lab.jid(name))
        self.events, self.presences, self.pushes, self.signals = [], [], [], []
        self.client = client = Client(log_context=f"{name}/{resource}")
        client.set_domain(lab.domain)
        client.set_username(name)
        client.set_resource(resource)
        client.set_password(PASSWORD)
        client.set_mode(mode)
        host, port = lab.ways()[way]
        client.set_connection_types([WAYS[way]])
        client.set_custom_host(f"{host}:{port}", ConnectionProtocol.TCP, WAYS[way])
        for signal in ("connected", "login-successful", "disconnected", "connection-failed"):
            client.subscribe(signal, lambda _client, signal, *_: self.signals.append(signal))
        client.register_handler(
            StanzaHandler(name="message", callback=self.event, ns=Namespace.PUBSUB_EVENT, priority=50))
        client.register_handler(StanzaHandler(name="presence", callback=self.presence, priority=50))
        client.register_handler(StanzaHandler(name="iq", callback=self.push, ns=Namespace.BLOCKING, priority=50))

    def event(self, _client, _stanza, properties):
        if properties.is_pubsub_event:
            self.events.append((properties.jid, properties.pubsub_event))

    def presence(self, _client, stanza, properties):
        self.presences.append((stanza, properties))

    def push(self, _client, _stanza, properties):
        if properties.blocking:
            self.pushes.append(properties.blocking)

    def connect(self):
        self.client.connect()
        wait(f"login of {self.name}", lambda: self.signals)
        assert self.signals[0] in ("connected", "login-successful"), (self.signals, self.client.get_error())
        return self

    def online(self):
        self.connect()
        caps = self.client.get_module("EntityCaps")
        features = [Namespace.DISCO_INFO, *(f"{node}+notify" for node in INTERESTS)]
        caps.set_caps([DiscoIdentity(category="client", type="pc", name="nbxmpp")], features, "https://interop.example/")
        presence = Presence()
        ours = caps.caps
        presence.setTag("c", namespace=Namespace.CAPS, attrs={"hash": ours.hash, "node": ours.node, "ver": ours.ver})
        self.do("Roster", "request_roster")
        self.client.send_stanza(presence)
        own = self.client.get_bound_jid()
        self.sees(lambda stanza, _: stanza.getFrom() == own, "own presence")
        return self

    def do(self, module, action, *arguments, **options):
        """What the module's task gives."""
        done = []

        def end(task):  # the library keeps no reference to it
            done.append(task.get_result())

        getattr(self.client.get_module(module), action)(*arguments, callback=end, **options)
        wait(f"{module}.{action}", lambda: done)
        if isinstance(done[0], Exception):
            raise done[0]
        return done[0]

    def fails(self, condition, *what, **options):
        try:
            got = self.do(*what, **options)
        except nbxmpp.errors.StanzaError as error:
            assert error.condition == condition, error
        else:
            raise AssertionError(f"{what}: {got} instead of {condition}")

    def sees(self, wanted, what):
        """Waits for a presence, and takes it and those before it away."""
        found = []

        def come():
            while self.presences and not found:
                stanza, properties = self.presences.pop(0)
                if wanted(stanza, properties):
                    found.append(properties)
            return found

        wait(f"{self.name}: {what}", come)
        return found[0]

    def told(self, who, node, wanted=lambda data: True):
        """Waits for an event, takes it and those before it away, and gives what the library made of it."""
        found = []

        def come():
            while self.events and not found:
                jid, event = self.events.pop(0)
                if event.node == node and jid.bare_match(who.bare) and wanted(event.data):
                    found.append(event.data)
            return found

        wait(f"{self.name}: an event of {who.name}'s {node}", come)
        return found[0]

    def leave(self):
        self.signals.clear()
        self.client.disconnect()
        wait(f"{self.name} leaves", lambda: "disconnected" in self.signals)
        self.client.destroy()


def befriend(one, two):
    for asker, asked in ((one, two), (two, one)):
        asker.client.send_stanza(Presence(to=asked.bare, typ="subscribe"))
        asked.sees(lambda stanza, _: stanza.getType() == "subscribe", "a request")
        asked.client.send_stanza(Presence(to=asker.bare, typ="subscribed"))
        asker.sees(lambda stanza, _: stanza.getType() is None and stanza.getFrom().bare_match(asked.bare), "presence")


def part(one, two):
    one.do("Roster", "delete_item", two.bare)
    two.do("Roster", "delete_item", one.bare)


def avatar_of(image, size):
    avatar = Avatar()
    avatar.add_image_source(image, "image/png", size, size)
    return avatar


def photo(sha):
    def wanted(stanza, _properties):
        update = stanza.getTag("x", namespace=Namespace.VCARD_UPDATE)
        return update is not None and update.getTagData("photo") == sha

    return wanted


def avatar_is(sha):
    return lambda data: data is not None and data.avatar_shas == [sha]


def scenario(plain):
    """The library has a loop of its own."""
    async def run(lab, way):
        plain(lab, way)

    run.__name__ = plain.__name__
    return run


@scenario
def avatars(lab, way):
    """A contact hears of an avatar, fetches it, and finds the same in the vCard and the presence; and back."""
    alice, bob = User(lab, "alice", way, "a").online(), User(lab, "bob", way, "b").online()
    befriend(alice, bob)
    alice.do("UserAvatar", "set_avatar", avatar_of(IMAGE, 1), public=True)
    sha = hashlib.sha1(IMAGE).hexdigest()
    bob.told(alice, Namespace.AVATAR_METADATA, avatar_is(sha))
    assert bob.do("UserAvatar", "request_avatar_data", sha, jid=alice.bare).data == IMAGE
    assert bob.do("UserAvatar", "request_avatar_metadata", jid=alice.bare).default == sha
    bob.sees(photo(sha), "the hash in presence")
    card = bob.do("VCardTemp", "request_vcard", jid=alice.bare)
    assert card.get_avatar()[1] == sha, card
    card = alice.do("VCardTemp", "request_vcard")
    card.data["FN"] = "Alice"
    card.set_avatar(OTHER, "image/png")
    alice.do("VCardTemp", "set_vcard", card)
    sha = hashlib.sha1(OTHER).hexdigest()
    bob.told(alice, Namespace.AVATAR_METADATA, avatar_is(sha))
    bob.sees(photo(sha), "the hash in presence")
    # Who comes later hears of it then.
    bob.leave()
    bob = User(lab, "bob", way, "b").online()
    bob.told(alice, Namespace.AVATAR_METADATA, avatar_is(sha))
    alice.do("UserAvatar", "set_avatar", None)
    bob.told(alice, Namespace.AVATAR_METADATA, lambda none: none is None)
    bob.sees(photo(""), "no hash in presence")
    part(alice, bob)
    alice.leave()
    bob.leave()


@scenario
def names(lab, way):
    """A nickname, which a contact hears of, and a vCard4, which the old form shows too."""
    alice, bob = User(lab, "alice", way, "a").online(), User(lab, "bob", way, "b").online()
    befriend(alice, bob)
    alice.do("Nickname", "set_nickname", f"Ally {way}")
    bob.told(alice, Namespace.NICK, lambda nick: nick == f"Ally {way}")
    from nbxmpp.modules.vcard4 import VCard

    card = VCard()
    card.add_property("fn", f"Alice {way}")
    alice.do("VCard4", "set_vcard", card, public=True)
    (name,) = bob.do("VCard4", "request_vcard", jid=alice.bare).get_properties()
    assert name.value == f"Alice {way}", name
    assert bob.do("VCardTemp", "request_vcard", jid=alice.bare).data["FN"] == f"Alice {way}"
    alice.do("Nickname", "set_nickname", None)
    part(alice, bob)
    alice.leave()
    bob.leave()


@scenario
def bookmarks(lab, way):
    """A bookmark is told to the other device, and is in the list of older clients; and back."""
    alice, other = User(lab, "alice", way, "a").online(), User(lab, "alice", way, "other").online()
    play, garden = (JID.from_string(f"{room}@rooms.example") for room in ("play", "garden"))
    alice.do("NativeBookmarks", "store_bookmarks", [BookmarkData(play, "The Play", "ally", True)])
    other.told(alice, Namespace.BOOKMARKS_1, lambda mark: mark.name == "The Play")
    (kept,) = other.do("NativeBookmarks", "request_bookmarks")
    assert (kept.jid, kept.nick, kept.autojoin) == (play, "ally", True), kept
    (kept,) = other.do("PrivateBookmarks", "request_bookmarks")
    assert (kept.jid, kept.name) == (play, "The Play"), kept
    other.do("PrivateBookmarks", "store_bookmarks", [kept, BookmarkData(garden, "The Garden")])
    alice.told(alice, Namespace.BOOKMARKS_1, lambda mark: mark.name == "The Garden")
    kept = {mark.jid for mark in alice.do("NativeBookmarks", "request_bookmarks")}
    assert kept == {play, garden}, kept
    for room in (play, garden):
        alice.do("NativeBookmarks", "retract_bookmark", room)
    assert other.do("PrivateBookmarks", "request_bookmarks") == []
    alice.leave()
    other.leave()


@scenario
def blocking(lab, way):
    """Who is blocked is not heard; the other device is told."""
    alice, other = User(lab, "alice", way, "a").online(), User(lab, "alice", way, "other").online()
    bob = User(lab, "bob", way, "b").online()
    for user in (alice, other):  # the library is told of changes once it has asked
        assert bob.bare not in user.do("Blocking", "request_blocking_list")
    alice.do("Blocking", "block", [bob.bare], "spam")
    wait("the push", lambda: other.pushes)
    assert other.pushes.pop().block == {bob.bare}
    assert alice.do("Blocking", "request_blocking_list") == {bob.bare}
    bob.fails("service-unavailable", "Ping", "ping", alice.bare)
    alice.do("Blocking", "unblock", [bob.bare])
    wait("the push", lambda: other.pushes)
    assert other.pushes.pop().unblock == {bob.bare}
    assert alice.do("Blocking", "request_blocking_list") == set()
    for user in (alice, other, bob):
        user.leave()


@scenario
def keys(lab, way):
    """A stranger finds the devices and their keys, a contact hears of a new one."""
    alice, bob = User(lab, "alice", way, "a").online(), User(lab, "bob", way, "b").online()
    bundle = OMEMOBundle(
        spk={"id": 7, "key": b"s" * 33}, spk_signature=b"g" * 64, ik=b"i" * 33,
        otpks=[{"id": number, "key": bytes([number]) * 33} for number in range(1, 101)])
    bob.fails("item-not-found", "OMEMO", "request_bundle", alice.bare, 99)
    alice.do("OMEMO", "set_devicelist", [11])
    alice.do("OMEMO", "set_bundle", bundle, 11)
    assert bob.do("OMEMO", "request_devicelist", jid=alice.bare) == [11]
    got = bob.do("OMEMO", "request_bundle", alice.bare, 11)
    assert (got.ik, got.spk, len(got.otpks)) == (bundle.ik, bundle.spk, 100), got
    befriend(alice, bob)
    bob.told(alice, Namespace.OMEMO_TEMP_DL, lambda devices: devices == [11])
    alice.do("OMEMO", "set_devicelist", [11, 12])
    bob.told(alice, Namespace.OMEMO_TEMP_DL, lambda devices: sorted(devices) == [11, 12])
    # What was closed is opened again by the next publication, as the client wants it.
    alice.do("PubSub", "set_access_model", Namespace.OMEMO_TEMP_DL, "presence")
    assert alice.do("PubSub", "get_access_model", Namespace.OMEMO_TEMP_DL) == "presence"
    alice.do("OMEMO", "set_devicelist", [11])
    assert alice.do("PubSub", "get_access_model", Namespace.OMEMO_TEMP_DL) == "open"
    alice.do("PubSub", "delete", Namespace.OMEMO_TEMP_DL)
    alice.do("PubSub", "delete", f"{Namespace.OMEMO_TEMP_BUNDLE}:11")
    part(alice, bob)
    alice.leave()
    bob.leave()


@scenario
def read_marks(lab, way):
    """What one device has read, the other is told (XEP-0490)."""
    alice, other = User(lab, "alice", way, "a").online(), User(lab, "alice", way, "other").online()
    bob = JID.from_string(lab.jid("bob"))
    alice.do("MDS", "set_mds", bob, f"read-{way}")
    other.told(alice, MARKS, lambda mark: (mark.jid, mark.stanza_id) == (bob, f"read-{way}"))
    assert f"read-{way}" in [mark.stanza_id for mark in other.do("MDS", "get_mds")]
    alice.leave()
    other.leave()


@scenario
def invitation(lab, way):
    """A user invites; who comes shows the token, makes an account, and both are contacts; the token is used up."""
    alice = User(lab, "alice", way, "a").online()
    commands = {command.node: command for command in alice.do("AdHoc", "request_command_list", lab.domain)}
    done = alice.do("AdHoc", "execute_command", commands["urn:xmpp:invite#invite"], AdHocAction.EXECUTE)
    assert done.is_completed, done
    from nbxmpp.modules.account_invite import parse_account_invite

    uri = parse_account_invite(done.data).uri
    assert uri.startswith(f"xmpp:{alice.bare}?roster;preauth=") and uri.endswith(";ibr=y"), uri
    token = uri.partition("preauth=")[2].removesuffix(";ibr=y")
    name = f"carol-{way}-{os.getpid()}"
    carol = User(lab, name, way, "c", Mode.REGISTER).connect()
    carol.fails("item-not-found", "Register", "send_preauth", "no-such-token")
    carol.do("Register", "send_preauth", token)
    asked = carol.do("Register", "request_register_form")
    form = asked.form or asked.fields_form
    form.vars["username"].value, form.vars["password"].value = name, PASSWORD
    form.type_ = "submit"
    carol.do("Register", "submit_register_form", form)
    carol.leave()
    late = User(lab, f"{name}-late", way, "c", Mode.REGISTER).connect()
    late.fails("item-not-found", "Register", "send_preauth", token)
    late.leave()
    carol = User(lab, name, way, "c").online()
    carol.sees(lambda stanza, _: stanza.getFrom().bare_match(alice.bare), "the presence of who invited")
    carol.do("Register", "unregister")
    alice.leave()


if __name__ == "__main__":
    scenarios = [avatars, names, bookmarks, blocking, keys]
    for extra, module in ((read_marks, "mds"), (invitation, "account_invite")):
        try:
            __import__(f"nbxmpp.modules.{module}")
            scenarios.append(extra)
        except ImportError:
            print(f"skipped {extra.__name__}: nbxmpp {nbxmpp.__version__} has no {module}")
    main(f"nbxmpp {nbxmpp.__version__}", scenarios)
