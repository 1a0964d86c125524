"""aioxmpp against a server: log in verified with stream management, roster, messages, offline, copies."""

import asyncio
import logging
import os
import sys
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


if __name__ == "__main__":
    main(
        "aioxmpp",
        [a_wrong_password_is_refused, roster, messages, offline, copies, a_resource_of_its_own],
    )
