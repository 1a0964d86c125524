"""slixmpp against what an account keeps of a person: avatars and vCards of each form, nickname and tune, bookmarks of
each form, private storage, blocking and reports, read marks, and who may read what."""

import asyncio
import base64
import hashlib

from slixmpp.exceptions import IqError
from slixmpp.jid import JID
from slixmpp.plugins.xep_0004.stanza import Form
from slixmpp.plugins.xep_0048.stanza import Bookmarks
from slixmpp.plugins.xep_0118.stanza import UserTune
from slixmpp.plugins.xep_0402.stanza import Conference

from common import main, within
from slix import User

IMAGE = base64.b64decode("iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mP8z8BQDwAEhQGAhKmMIQAAAABJRU5ErkJggg==")
OTHER = IMAGE + b"\0"
AVATAR = "urn:xmpp:avatar:metadata"
CARD = "urn:xmpp:vcard4"  # the plug-in takes the namespace for it, which is not what XEP-0292 4.1 says
BOOKMARKS = "urn:xmpp:bookmarks:1"
PLUGINS = (
    "xep_0048", "xep_0049", "xep_0054", "xep_0060", "xep_0084", "xep_0115", "xep_0118", "xep_0163", "xep_0172",
    "xep_0191", "xep_0223", "xep_0292", "xep_0377", "xep_0402", "xep_0490",
)


class Person(User):
    """A client that shows and hears of all of it."""

    def __init__(self, lab, name, way, resource):
        super().__init__(lab, name, way, resource)
        for plugin in PLUGINS:
            self.register_plugin(plugin)
        self.plugin["xep_0163"].add_interest([BOOKMARKS, CARD])
        self.events = asyncio.Queue()
        for event in ("pubsub_publish", "pubsub_retract"):
            self.add_event_handler(event, self.events.put_nowait)
        self.pushes = asyncio.Queue()
        for event in ("blocked", "unblocked"):
            self.add_event_handler(event, self.pushes.put_nowait)
        self.errors = asyncio.Queue()
        self.add_event_handler("message_error", self.errors.put_nowait)

    async def told(self, jid, node, wanted=lambda xml: True):
        """The XML of an item that an account's node told of; events before it are passed over."""
        while True:
            event = await within(self.events.get(), f"{self.boundjid}: an event of {jid}'s {node}")
            items = event["pubsub_event"]["items"]
            if event["from"].bare == jid and items["node"] == node and wanted(items["item"].xml):
                return items["item"].xml

    async def hash(self, jid, wanted):
        while True:
            presence = await within(self.presences.get(), f"{self.boundjid}: {wanted!r} in presence of {jid}")
            photo = presence.xml.find("{vcard-temp:x:update}x/{vcard-temp:x:update}photo")
            if presence["from"].bare == jid and photo is not None and (photo.text or "") == wanted:
                return

    def items(self, jid, node, **options):
        return within(self.plugin["xep_0060"].get_items(jid, node, **options), f"items of {node}")

    async def card(self, jid):
        got = await within(self.plugin["xep_0054"].get_vcard(jid, cached=False), "a vCard")
        return got["vcard_temp"]


async def refused(condition, awaitable):
    try:
        got = await within(awaitable, condition)
    except IqError as error:
        assert error.condition == condition, error.iq
        return error.iq.xml
    raise AssertionError(f"not {condition} but {got}")


async def couple(lab, way):
    alice = await Person(lab, "alice", way, "a").go_online()
    bob = await Person(lab, "bob", way, "b").go_online()
    for asker, asked in ((alice, bob), (bob, alice)):
        asker.send_presence(pto=asked.boundjid.bare, ptype="subscribe")
        await asked.presence_from(asker.boundjid.bare, "subscribe")
        asked.send_presence(pto=asker.boundjid.bare, ptype="subscribed")
        await asker.presence_from(asked.boundjid.full)
    return alice, bob


async def part(alice, bob):
    for user, other in ((alice, bob), (bob, alice)):
        await within(user.del_roster_item(other.boundjid.bare), "remove")
    for user in (alice, bob):
        await user.leave()


def sha(image):
    return hashlib.sha1(image).hexdigest()


def shows(image):
    return lambda xml: sha(image) in [info.get("id") for info in xml.iter(f"{{{AVATAR}}}info")]


async def avatars(lab, way):
    """What is published as the one form is there as the other (XEP-0084, 0153, 0054, 0398)."""
    alice, bob = await couple(lab, way)
    own = alice.boundjid.bare
    info = {"id": sha(IMAGE), "type": "image/png", "bytes": str(len(IMAGE)), "height": "1", "width": "1"}
    await within(alice.plugin["xep_0084"].publish_avatar(IMAGE), "data")
    await within(alice.plugin["xep_0084"].publish_avatar_metadata(info), "metadata")
    await bob.told(own, AVATAR, shows(IMAGE))
    await bob.hash(own, sha(IMAGE))
    got = await within(bob.plugin["xep_0084"].retrieve_avatar(JID(own), sha(IMAGE)), "the avatar")
    assert got["pubsub"]["items"]["item"]["avatar_data"]["value"] == IMAGE, got
    assert (await bob.card(own))["PHOTO"]["BINVAL"] == IMAGE
    card = await alice.card(own)
    card["PHOTO"]["TYPE"], card["PHOTO"]["BINVAL"] = "image/png", OTHER
    await within(alice.plugin["xep_0054"].publish_vcard(card), "the vCard's")
    await bob.told(own, AVATAR, shows(OTHER))
    await bob.hash(own, sha(OTHER))
    got = await within(bob.plugin["xep_0084"].retrieve_avatar(JID(own), sha(OTHER)), "the avatar")
    assert got["pubsub"]["items"]["item"]["avatar_data"]["value"] == OTHER, got
    await part(alice, bob)


async def names(lab, way):
    """Nickname, tune and vCard4: contacts hear of them; strangers read what is open, and only that."""
    alice, bob = await couple(lab, way)
    own = alice.boundjid.bare
    await within(alice.plugin["xep_0172"].publish_nick(f"Ally {way}"), "a nickname")
    await bob.told(own, "http://jabber.org/protocol/nick", lambda xml: f"Ally {way}" in xml.itertext())
    tune = UserTune()
    tune["title"] = f"Song {way}"
    await within(alice.plugin["xep_0163"].publish(tune), "a tune")
    await bob.told(own, UserTune.namespace, lambda xml: f"Song {way}" in xml.itertext())
    await within(alice.plugin["xep_0292"].publish_vcard(full_name=f"Alice {way}", node=CARD), "a vCard4")
    await bob.told(own, CARD)
    assert (await bob.card(own))["FN"] == f"Alice {way}"
    # Who comes later hears of it then, and no contact but of what is open.
    await bob.leave()
    bob = await Person(lab, "bob", way, "b").go_online()
    await bob.told(own, UserTune.namespace, lambda xml: f"Song {way}" in xml.itertext())
    await within(alice.del_roster_item(lab.jid("bob")), "remove")
    await bob.presence_from(own, "unsubscribed")
    error = await refused("not-authorized", bob.plugin["xep_0060"].get_items(own, UserTune.namespace))
    assert error.find(".//{http://jabber.org/protocol/pubsub#errors}presence-subscription-required") is not None, error
    await bob.items(own, CARD)
    await within(bob.del_roster_item(own), "remove")
    for user in (alice, bob):
        await user.leave()


async def bookmarks(lab, way):
    """One list, in each of its forms, and each device is told (XEP-0402, 0048, 0049, 0411)."""
    alice = await Person(lab, "alice", way, "a").go_online()
    other = await Person(lab, "alice", way, "other").go_online()
    own = lab.jid("alice")
    room = Conference()
    room["name"], room["autojoin"], room["nick"] = "The Play", True, "ally"
    options = Form()
    options["type"] = "submit"
    for name, value in (
        ("FORM_TYPE", "http://jabber.org/protocol/pubsub#publish-options"),
        ("pubsub#persist_items", "true"),
        ("pubsub#max_items", "max"),
        ("pubsub#send_last_published_item", "never"),
        ("pubsub#access_model", "whitelist"),
    ):
        options.add_field(var=name, ftype="hidden" if name == "FORM_TYPE" else None, value=value)
    publish = alice.plugin["xep_0163"].publish
    await within(publish(room, id="play@rooms.example", options=options), "a bookmark")
    await other.told(own, BOOKMARKS, lambda xml: xml.get("id") == "play@rooms.example")
    got = await within(other.plugin["xep_0048"].get_bookmarks(method="xep_0049"), "the old list")
    (kept,) = got["private"]["bookmarks"]["conferences"]
    assert (kept["jid"], kept["name"], kept["nick"]) == ("play@rooms.example", "The Play", "ally"), got
    both = Bookmarks()
    both.add_conference("play@rooms.example", "ally", name="The Play", autojoin=True)
    both.add_conference("garden@rooms.example", "ally", name="The Garden")
    await within(other.plugin["xep_0048"].set_bookmarks(both, method="xep_0049"), "the old list set")
    await alice.told(own, BOOKMARKS, lambda xml: xml.get("id") == "garden@rooms.example")
    got = await alice.items(own, BOOKMARKS)
    kept = {item["id"]: item["conference"]["name"] for item in got["pubsub"]["items"]}
    assert kept == {"play@rooms.example": "The Play", "garden@rooms.example": "The Garden"}, got
    bob = await Person(lab, "bob", way, "b").go_online()
    await refused("not-allowed", bob.items(own, BOOKMARKS))
    for name in kept:
        await within(alice.plugin["xep_0060"].retract(own, BOOKMARKS, name, notify=True), "retraction")
    got = await within(other.plugin["xep_0048"].get_bookmarks(method="xep_0049"), "the old list")
    assert not got["private"]["bookmarks"]["conferences"], got
    for user in (alice, other, bob):
        await user.leave()


async def private(lab, way):
    """Storage of one's own as a closed node (XEP-0223), and read marks (XEP-0490) that the other device hears of."""
    alice = await Person(lab, "alice", way, "a").go_online()
    other = await Person(lab, "alice", way, "other").go_online()
    bob = await Person(lab, "bob", way, "b").go_online()
    own = lab.jid("alice")
    await within(alice.plugin["xep_0490"].flag_chat(lab.jid("bob"), f"read-{way}"), "a read mark")
    await other.told(own, "urn:xmpp:mds:displayed:0", lambda xml: xml.get("id") == lab.jid("bob"))
    got = await within(other.plugin["xep_0490"].catch_up(), "read marks")
    kept = {item["id"]: item["displayed"]["stanza_id"]["id"] for item in got["pubsub"]["items"]}
    assert kept.get(lab.jid("bob")) == f"read-{way}", got
    await refused("not-allowed", bob.items(own, "urn:xmpp:mds:displayed:0"))
    for user in (alice, other, bob):
        await user.leave()


async def blocking(lab, way):
    """Who is reported and blocked is not heard; the other device is told (XEP-0191, 0377)."""
    alice = await Person(lab, "alice", way, "a").go_online()
    other = await Person(lab, "alice", way, "other").go_online()
    bob = await Person(lab, "bob", way, "b").go_online()
    enemy = JID(lab.jid("bob"))
    for user in (alice, other):  # the server tells those who asked
        assert enemy not in await within(user.plugin["xep_0191"].get_blocked_jids(), "the list")
    await within(alice.plugin["xep_0377"].report(enemy), "a report")
    push = await within(other.pushes.get(), "a push")
    assert [item["jid"] for item in push["block"]] == [enemy], push
    assert await within(other.plugin["xep_0191"].get_blocked_jids(), "the list") == {enemy}
    bob.send_message(mto=lab.jid("alice"), mbody="psst", mtype="chat")
    error = await within(bob.errors.get(), "an error")
    assert error["error"]["condition"] == "service-unavailable", error
    await within(alice.plugin["xep_0191"].unblock(enemy), "unblocked")
    push = await within(other.pushes.get(), "a push")
    assert [item["jid"] for item in push["unblock"]] == [enemy], push
    bob.send_message(mto=alice.boundjid.full, mbody=f"hello again {way}", mtype="chat")
    assert (await alice.message())["body"] == f"hello again {way}"
    for user in (alice, other, bob):
        await user.leave()


if __name__ == "__main__":
    main("slixmpp person", [avatars, names, bookmarks, private, blocking])
