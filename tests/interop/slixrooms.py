"""slixmpp against rooms: created as they come and configured, subject, archive, moderation, self-ping, occupant ids,
kicks, bans, voice, lists, invitations of both kinds, nicknames, destruction, and sessions that come back."""

import asyncio
import time

from slixmpp import Callback, StanzaPath
from slixmpp.exceptions import IqError, PresenceError
from slixmpp.jid import JID
from slixmpp.plugins.xep_0004.stanza import Form
from slixmpp.plugins.xep_0410 import PingStatus

from common import PATIENCE, main, within
from slix import User

PLUGINS = ("xep_0004", "xep_0045", "xep_0198", "xep_0249", "xep_0359", "xep_0410", "xep_0421", "xep_0424", "xep_0425")
USER = "{http://jabber.org/protocol/muc#user}"
HEARD = ("groupchat_invite", "groupchat_direct_invite", "groupchat_config_status", "moderated_message")
FEATURES = {
    "http://jabber.org/protocol/muc", "http://jabber.org/protocol/muc#stable_id", "urn:xmpp:mam:2", "urn:xmpp:sid:0",
    "urn:xmpp:occupant-id:0", "urn:xmpp:message-moderate:1", "vcard-temp",
}


class Guest(User):
    """A client that enters rooms."""

    def __init__(self, lab, name, way, resource=None):
        super().__init__(lab, name, way, resource or name)
        for plugin in PLUGINS:
            self.register_plugin(plugin)
        self.muc = self.plugin["xep_0045"]
        self.nick = name
        self.service = f"conference.{lab.domain}"
        self.stanzas = asyncio.Queue()  # messages without text, too
        self.register_handler(Callback("any message", StanzaPath("message"), self.stanzas.put_nowait))
        self.heard = {event: asyncio.Queue() for event in HEARD}
        for event, queue in self.heard.items():
            self.add_event_handler(event, queue.put_nowait)

    def room(self, name):
        return JID(f"{name}-{time.monotonic_ns()}@{self.service}")

    async def enter(self, room, nick=None, **options):
        """Own presence, subject, nicknames of the others, and what was said before."""
        nick = nick or self.nick
        came = self.muc.join_muc_wait(room, nick, timeout=PATIENCE, **options)
        own, subject, occupants, history = await within(came, f"{nick} enters {room}")
        others = {occupant["from"].resource for occupant in occupants} - {nick}
        return own, subject["subject"], others, history

    async def create(self, room, **values):
        own, *_ = await self.enter(room)
        assert {110, 201} <= set(own["muc"]["status_codes"]), own
        assert (own["muc"]["affiliation"], own["muc"]["role"]) == ("owner", "moderator"), own
        if values:
            await self.configure(room, **values)
        else:
            await within(self.muc.set_room_config(room, Form()), "an instant room")
        return own

    async def configure(self, room, **values):
        """Fills in the form that the room sends."""
        form = await within(self.muc.get_room_config(room), "the form")
        fields = form.get_fields()
        for name, value in values.items():
            fields[f"muc#roomconfig_{name}"]["value"] = value
        await within(self.muc.set_room_config(room, form), "the form taken")

    def say(self, room, text):
        self.send_message(mto=room, mbody=text, mtype="groupchat")

    async def said(self, wanted, kind="groupchat"):
        """The message of this type with this text; others before it are passed over."""
        while True:
            got = await within(self.messages.get(), f"{self.nick}: {wanted!r}")
            if got["type"] == kind and got["body"] == wanted:
                return got

    async def told(self, path, what):
        """The message with this in it; others before it are passed over."""
        while True:
            got = await within(self.stanzas.get(), f"{self.nick}: {what}")
            if got.xml.find(path) is not None:
                return got

    async def hears(self, event):
        return await within(self.heard[event].get(), f"{self.nick}: {event}")

    async def sees(self, occupant, kind="available", **item):
        """The status codes of an occupant's presence whose item says this; others are passed over."""
        while True:
            presence = await self.presence_from(JID(occupant), kind)
            shown = presence.xml.find(f"{USER}x/{USER}item")
            if shown is not None and all(shown.get(name) == value for name, value in item.items()):
                return set(presence["muc"]["status_codes"])

    async def archive(self, room):
        page = await within(self.plugin["xep_0313"].retrieve(jid=room), "the room's archive")
        return [got["mam_result"]["forwarded"]["stanza"] for got in page["mam"]["results"]]

    async def list(self, room, affiliation):
        return {str(jid) for jid in await within(self.muc.get_affiliation_list(room, affiliation), affiliation)}

    def ping(self, room, nick=None):
        return within(self.plugin["xep_0410"].send_self_ping(JID(f"{room}/{nick or self.nick}")), "a self-ping")


async def guests(lab, way, *names):
    return [await Guest(lab, name, way).go_online() for name in names]


async def refused(condition, awaitable):
    try:
        got = await within(awaitable, condition)
    except (IqError, PresenceError) as error:
        stanza = error.iq if isinstance(error, IqError) else error.presence
        assert stanza["error"]["condition"] == condition, stanza
        return
    raise AssertionError(f"not {condition} but {got}")


async def end(*users):
    for user in users:
        await user.leave()


async def instant(lab, way):
    """A room as the service makes it; who comes later sees who is there, the subject and what was said."""
    alice, bob = await guests(lab, way, "alice", "bob")
    room = alice.room("play")
    disco = alice.plugin["xep_0030"]
    found = await within(disco.get_items(lab.domain), "the server's items")
    assert any(item[0] == alice.service for item in found["disco_items"]["items"]), found
    await alice.create(room)
    info = (await within(disco.get_info(room), "the room"))["disco_info"]
    assert set(info["features"]) >= FEATURES, FEATURES - set(info["features"])
    alice.muc.set_subject(room, "The Play")
    alice.say(room, "hello")
    first = await alice.said("hello")
    assert first["stanza_id"]["id"] and first["stanza_id"]["by"] == room, first
    _, subject, others, history = await bob.enter(room)
    assert (subject, others, [got["body"] for got in history]) == ("The Play", {"alice"}, ["hello"])
    assert history[0]["stanza_id"]["id"] == first["stanza_id"]["id"], history
    await alice.sees(f"{room}/bob", affiliation="none", role="participant")
    # An occupant is one id, for all who see it, and nobody else's.
    bob.say(room, "hello yourself")
    got, echo = await alice.said("hello yourself"), await bob.said("hello yourself")
    assert got["occupant-id"]["id"] == echo["occupant-id"]["id"] != first["occupant-id"]["id"], (got, echo)
    assert [said["body"] for said in await bob.archive(room) if said["body"]] == ["hello", "hello yourself"]
    bob.send_message(mto=f"{room}/alice", mbody="psst", mtype="chat")
    assert (await alice.said("psst", "chat"))["from"] == f"{room}/bob"
    assert await within(bob.muc.set_self_nick(room, "robert"), "a new nickname") == "robert"
    assert 303 in await alice.sees(f"{room}/bob", "unavailable", nick="robert")
    await alice.sees(f"{room}/robert")
    (carol,) = await guests(lab, way, "carol")
    await refused("conflict", carol.enter(room, "robert"))
    assert await alice.ping(room) == PingStatus.JOINED
    assert await carol.ping(room, "robert") == PingStatus.DISCONNECTED
    bob.muc.leave_muc(room, "robert", "bye")
    await alice.sees(f"{room}/robert", "unavailable", role="none")
    assert await bob.ping(room, "robert") == PingStatus.DISCONNECTED
    _, _, _, history = await carol.enter(room, maxstanzas=1)
    assert [got["body"] for got in history] == ["hello yourself"], history
    other = f"other@{alice.service}"
    await within(alice.muc.destroy(room, "We have moved", other), "destroyed")
    gone = await carol.presence_from(JID(f"{room}/carol"), "unavailable")
    assert gone["muc"]["destroy"]["jid"] == other and gone["muc"]["destroy"]["reason"] == "We have moved", gone
    await end(alice, bob, carol)


async def configured(lab, way):
    """A moderated room with a password: who may not speak asks, is given voice, loses it, is kicked, is banned."""
    alice, bob, carol = await guests(lab, way, "alice", "bob", "carol")
    room = alice.room("court")
    await alice.create(
        room, roomname="The Court", moderatedroom=True, passwordprotectedroom=True, roomsecret="verona",
        persistentroom=True,
    )
    name = (await within(bob.plugin["xep_0030"].get_info(room), "the room"))["disco_info"]
    assert "The Court" in [identity[3] for identity in name["identities"]], name
    assert {"muc_moderated", "muc_passwordprotected", "muc_persistent"} <= set(name["features"]), name
    await refused("not-authorized", bob.enter(room))
    await bob.enter(room, password="verona")
    await carol.enter(room, password="verona")
    await alice.sees(f"{room}/bob", role="visitor")
    bob.say(room, "may I?")
    bob.muc.request_voice(room, "participant")
    form = (await alice.told("{jabber:x:data}x", "a request for voice"))["form"]
    assert form.get_values()["muc#roomnick"] == "bob", form
    form["type"] = "submit"
    form.get_fields()["muc#request_allow"]["value"] = True
    answer = alice.make_message(mto=room)
    answer.append(form)
    answer.send()
    await bob.sees(f"{room}/bob", role="participant")
    bob.say(room, "villain!")
    insult = await alice.said("villain!")
    assert "may I?" not in [said["body"] for said in await alice.archive(room)]
    # Taken back by the moderator, for those who are here and for those who come later.
    await within(alice.plugin["xep_0425"].moderate(room, insult["stanza_id"]["id"], "rude"), "moderated")
    told = await carol.hears("moderated_message")
    assert told["retract"]["id"] == insult["stanza_id"]["id"] and told["from"] == room, told
    left = await carol.archive(room)
    assert "villain!" not in [said["body"] for said in left], left
    assert any(said.get_plugin("retracted", check=True) for said in left), left
    await refused("forbidden", within(bob.muc.set_role(room, "carol", "none"), "a kick"))
    await within(alice.muc.set_role(room, "bob", "visitor"), "voice revoked")
    await carol.sees(f"{room}/bob", role="visitor")
    await within(alice.muc.set_role(room, "bob", "none", reason="enough"), "a kick")
    assert {307, 110} <= await bob.sees(f"{room}/bob", "unavailable", role="none")
    await bob.enter(room, password="verona")
    await within(alice.muc.set_affiliation(room, "outcast", jid=lab.jid("bob"), reason="enough"), "a ban")
    assert 301 in await carol.sees(f"{room}/bob", "unavailable", affiliation="outcast")
    await refused("forbidden", bob.enter(room, password="verona"))
    changes = [(lab.jid("bob"), "none"), (lab.jid("carol"), "admin")]
    await within(alice.muc.send_affiliation_list(room, changes), "a list of changes")
    await alice.sees(f"{room}/carol", affiliation="admin", role="moderator")
    lists = {name: await alice.list(room, name) for name in ("owner", "admin", "member", "outcast")}
    assert lists == {"owner": {lab.jid("alice")}, "admin": {lab.jid("carol")}, "member": set(), "outcast": set()}, lists
    assert set(await within(alice.muc.get_roles_list(room, "moderator"), "a list")) == {"alice", "carol"}
    await within(alice.muc.destroy(room), "destroyed")
    await end(alice, bob, carol)


async def invited(lab, way):
    """Into a room for members only: nobody comes in but who is invited, by either kind of invitation."""
    alice, bob, carol = await guests(lab, way, "alice", "bob", "carol")
    room = alice.room("garden")
    await alice.create(room, membersonly=True, allowinvites=True, whois="anyone")
    await refused("registration-required", bob.enter(room))
    del bob.muc.rooms[None][room]  # the plug-in takes it for entered, and tells of no invitation
    alice.muc.invite(room, lab.jid("bob"), "come in")
    asked = await bob.hears("groupchat_invite")
    assert asked["from"] == room and asked["muc"]["invite"]["from"].bare == lab.jid("alice"), asked
    own, _, others, _ = await bob.enter(room)
    assert others == {"alice"} and 100 in own["muc"]["status_codes"], own
    await alice.sees(f"{room}/bob", affiliation="member", jid=bob.boundjid.full)
    bob.muc.invite(room, lab.jid("carol"), "you too")
    asked = await carol.hears("groupchat_invite")
    carol.muc.decline(room, asked["muc"]["invite"]["from"], "not now")
    said = await bob.told(f"{USER}x/{USER}decline", "a decline")  # the plug-in looks for it in the wrong list of rooms
    decline = said["muc"]["decline"]
    assert (said["from"], decline["from"].bare, decline["reason"]) == (room, lab.jid("carol"), "not now"), said
    # Directly, from one to the other; the room knows of nothing, so she is made a member before.
    await within(alice.muc.set_affiliation(room, "member", jid=lab.jid("carol")), "membership")
    alice.plugin["xep_0249"].send_invitation(JID(lab.jid("carol")), room, reason="do come")
    asked = await carol.hears("groupchat_direct_invite")
    assert (asked["groupchat_invite"]["jid"], asked["from"]) == (room, alice.boundjid.full), asked
    await carol.enter(room)
    # No member any more, no occupant any more.
    await within(alice.muc.set_affiliation(room, "none", jid=lab.jid("bob")), "no membership")
    assert 321 in await bob.sees(f"{room}/bob", "unavailable", affiliation="none")
    # What is configured anew is told to those who are there.
    await alice.configure(room, membersonly=False, whois="moderators")
    assert await told_status(carol, 173)
    await bob.enter(room)
    await within(alice.muc.destroy(room), "destroyed")
    await end(alice, bob, carol)


async def told_status(guest, code):
    while True:
        told = await guest.hears("groupchat_config_status")
        if code in told["muc"]["status_codes"]:
            return True


async def reconnected(lab, way):
    """A session that is resumed (XEP-0198) is still in its room, and gets what was said; another enters anew."""
    alice, bob = await guests(lab, way, "alice", "bob")
    room = alice.room("balcony")
    await alice.create(room)
    await bob.enter(room)
    await alice.sees(f"{room}/bob")
    back = asyncio.get_running_loop().create_future()
    bob.add_event_handler("session_resumed", lambda got: back.done() or back.set_result(got))
    bob.transport.abort()
    alice.say(room, "are you there?")
    await alice.said("are you there?")
    bob.connect(*bob.where)
    await within(back, "resumed")
    await bob.said("are you there?")
    assert await bob.ping(room) == PingStatus.JOINED
    bob.say(room, "still here")
    await alice.said("still here")
    # A stream that ends takes its occupant along; a new session hears what it missed.
    await bob.leave()
    await alice.sees(f"{room}/bob", "unavailable")
    alice.say(room, "gone?")
    await alice.said("gone?")
    bob = await Guest(lab, "bob", way).go_online()
    assert await bob.ping(room) == PingStatus.DISCONNECTED
    _, _, _, history = await bob.enter(room)
    assert [got["body"] for got in history] == ["are you there?", "still here", "gone?"], history
    await within(alice.muc.destroy(room), "destroyed")
    await end(alice, bob)


if __name__ == "__main__":
    main("slixmpp rooms", [instant, configured, invited, reconnected])
