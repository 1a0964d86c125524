"""aioxmpp against a server: log in verified with stream management, roster, messages, offline, copies, rooms."""

import asyncio
import logging
import os
import sys
import time
import warnings

warnings.simplefilter("ignore")
# aioxmpp trusts OpenSSL's own list; this makes the lab's CA that list.
if len(sys.argv) > 1:
    import json

    with open(sys.argv[1], encoding="utf-8") as ready:
        os.environ["SSL_CERT_FILE"] = json.load(ready)["ca"]

import aiosasl
import aioxmpp
import aioxmpp.connector
import aioxmpp.dispatcher

from common import PASSWORD, main, within

logging.basicConfig(level=os.environ.get("INTEROP_LOG", "CRITICAL"))

CONNECTORS = {
    "starttls": aioxmpp.connector.STARTTLSConnector,
    "direct": aioxmpp.connector.XMPPOverTLSConnector,
}


class User:
    """A client online for as long as the `async with` lasts."""

    def __init__(self, lab, name, way, resource, password=PASSWORD):
        host, port = lab.ways()[way]
        self.jid = aioxmpp.JID.fromstr(f"{lab.jid(name)}/{resource}")
        self.client = aioxmpp.PresenceManagedClient(
            self.jid,
            aioxmpp.make_security_layer(password),
            override_peer=[(host, port, CONNECTORS[way]())],
            max_initial_attempts=1,
        )
        self.roster = self.client.summon(aioxmpp.RosterClient)
        self.presence = self.client.summon(aioxmpp.PresenceClient)
        self.messages = asyncio.Queue()
        dispatcher = self.client.summon(aioxmpp.dispatcher.SimpleMessageDispatcher)
        dispatcher.register_callback(aioxmpp.MessageType.CHAT, None, self.messages.put_nowait)
        self.online = self.client.connected()

    async def __aenter__(self):
        await within(self.online.__aenter__(), "login")
        return self

    async def __aexit__(self, *what):
        await within(self.online.__aexit__(*what), "logout")

    async def say(self, jid, text):
        message = aioxmpp.Message(to=aioxmpp.JID.fromstr(jid), type_=aioxmpp.MessageType.CHAT)
        message.body[None] = text
        await within(self.client.send(message), "sending")

    async def hear(self):
        message = await within(self.messages.get(), "a message")
        return message.from_, message.body.any()


async def a_wrong_password_is_refused(lab, way):
    try:
        async with User(lab, "alice", way, "x", password="wrong"):
            pass
    except aiosasl.AuthenticationFailure:
        return  # after its three tries it calls this "aborted by user"
    raise AssertionError("logged in")


async def roster(lab, way):
    nurse = aioxmpp.JID.fromstr("nurse@example.com")
    async with User(lab, "alice", way, "a") as alice:
        changed = asyncio.get_running_loop().create_future()
        alice.roster.on_entry_added.connect(
            changed, alice.roster.on_entry_added.AUTO_FUTURE
        )
        await within(alice.roster.set_entry(nurse, name="Nurse", add_to_groups={"Servants"}), "set")
        await within(changed, "the push")
        entry = alice.roster.items[nurse]
        assert (entry.name, entry.groups) == ("Nurse", {"Servants"}), entry
        await within(alice.roster.remove_entry(nurse), "remove")


async def messages(lab, way):
    async with User(lab, "alice", way, "a") as alice, User(lab, "bob", way, "b") as bob:
        for text in ("hello", "kůň \U0001f40e <&>", "x" * 5000):
            await alice.say(lab.jid("bob"), text)
            assert await bob.hear() == (alice.client.local_jid, text)
        await bob.say(str(alice.client.local_jid), "and back")
        assert await alice.hear() == (bob.client.local_jid, "and back")


async def offline(lab, way):
    async with User(lab, "alice", way, "a") as alice:
        for number in range(5):
            await alice.say(lab.jid("bob"), f"later {number}")
        async with User(lab, "bob", way, "b") as bob:
            for number in range(5):
                assert (await bob.hear())[1] == f"later {number}"


async def copies(lab, way):
    """What one device hears and says reaches the other (XEP-0280)."""
    async with (
        User(lab, "alice", way, "a") as alice,
        User(lab, "bob", way, "b") as bob,
        User(lab, "bob", way, "other") as other,
    ):
        carbons = other.client.summon(aioxmpp.CarbonsClient)
        await within(carbons.enable(), "carbons")
        await alice.say(str(bob.client.local_jid), "heard")
        copy = await within(other.messages.get(), "a copy of what came")
        inner = copy.xep0280_received.stanza
        assert copy.from_ == other.client.local_jid.bare(), copy
        assert (inner.from_, inner.body.any()) == (alice.client.local_jid, "heard"), inner
        await bob.say(str(alice.client.local_jid), "said")
        copy = await within(other.messages.get(), "a copy of what went")
        inner = copy.xep0280_sent.stanza
        assert (inner.to, inner.body.any()) == (alice.client.local_jid, "said"), inner


async def a_resource_of_its_own(lab, way):
    """Two logins at once, each asked for a resource; both get their own presence back."""
    async with User(lab, "alice", way, "one") as one, User(lab, "alice", way, "two") as two:
        assert one.client.local_jid.resource != two.client.local_jid.resource
        await one.say(str(two.client.local_jid), "to myself")
        assert (await two.hear())[1] == "to myself"


def next_of(signal):
    """What the signal says when it is given next."""
    future = asyncio.get_running_loop().create_future()

    def come(*values, **more):
        if not future.done():
            future.set_result((values, more))
        return True  # it is not wanted again

    signal.connect(come)
    return future


async def rooms(lab, way):
    """The library's own model of a room agrees with what each of the two does in it."""
    async with User(lab, "alice", way, "a") as alice, User(lab, "bob", way, "b") as bob:
        jid = aioxmpp.JID.fromstr(f"aio-{time.monotonic_ns()}@conference.{lab.domain}")
        service, guest = (user.client.summon(aioxmpp.MUCClient) for user in (alice, bob))
        room, entered = service.join(jid, "alice")
        await within(entered, "a room")
        form = aioxmpp.muc.ConfigurationForm.from_xso(await within(service.get_room_config(jid), "the form"))
        form.moderatedroom.value = True
        form.roomname.value = "Of aioxmpp"
        await within(service.set_room_config(jid, form.render_reply()), "the form taken")
        came = next_of(room.on_join)
        seen, entered = guest.join(jid, "bob")
        await within(entered, "bob enters")
        (member,), _ = await within(came, "bob is seen")
        assert (member.nick, member.role, member.affiliation) == ("bob", "visitor", "none"), member
        assert {one.nick for one in seen.members} == {"alice", "bob"} and seen.me.nick == "bob", seen.members
        changed = next_of(seen.on_muc_role_changed)
        await within(room.muc_set_role("bob", "participant", reason="speak"), "voice")
        await within(changed, "voice is seen")
        message = aioxmpp.Message(type_=aioxmpp.MessageType.GROUPCHAT)
        message.body[None] = "hello"
        heard = next_of(room.on_message)
        await within(seen.send_message_tracked(message)[0], "sent")
        (got, by, _), _ = await within(heard, "hello")
        assert (got.body.any(), by.nick) == ("hello", "bob"), got
        topic = next_of(seen.on_topic_changed)
        await within(room.set_topic({None: "The Play"}), "a subject")
        (_, new), _ = await within(topic, "the subject")
        assert new.any() == "The Play", new
        renamed = next_of(room.on_nick_changed)
        await within(seen.set_nick("robert"), "a nickname")
        (member, old, new), _ = await within(renamed, "the nickname")
        assert (old, new) == ("bob", "robert"), (old, new)
        left = next_of(seen.on_exit)
        await within(room.kick(member, "enough"), "a kick")
        _, why = await within(left, "kicked")
        assert (why["muc_leave_mode"].name, why["muc_reason"]) == ("KICKED", "enough"), why
        seen, entered = guest.join(jid, "bob")
        await within(entered, "bob comes again")
        left = next_of(seen.on_exit)
        await within(room.ban(next(one for one in room.members if one.nick == "bob"), "enough"), "a ban")
        _, why = await within(left, "banned")
        assert why["muc_leave_mode"].name == "BANNED", why
        banned = await within(service.get_affiliated(jid, "outcast"), "a list")
        assert [str(one) for one in banned] == [lab.jid("bob")], banned
        await within(room.leave(), "left")


if __name__ == "__main__":
    main(
        "aioxmpp",
        [a_wrong_password_is_refused, roster, messages, offline, copies, a_resource_of_its_own, rooms],
    )
