"""slixmpp's component against a lab of our own: `component.py BINARY`. Messages, requests, presence, disco, what waits
while it is away, and a wrong secret."""

import asyncio

import slixmpp
from slixmpp.componentxmpp import ComponentXMPP

from bridges import DOMAIN, SECRET, Bridged, Person, run
from common import within


class Bot(ComponentXMPP):
    def __init__(self, place, secret=SECRET):
        super().__init__(DOMAIN, secret, *place.address)
        for plugin in ("xep_0030", "xep_0199"):
            self.register_plugin(plugin)
        self["xep_0030"].add_identity(category="gateway", itype="irc", name="Bot")
        self.messages = asyncio.Queue()
        self.presences = asyncio.Queue()
        self.add_event_handler("message", self.messages.put_nowait)
        self.register_handler(
            slixmpp.Callback("any presence", slixmpp.StanzaPath("presence"), self.presences.put_nowait)
        )

    async def go_online(self):
        started = asyncio.get_running_loop().create_future()
        self.add_event_handler("session_start", lambda _: started.done() or started.set_result(None))
        self.connect()
        await within(started, "the handshake")
        return self


async def speaks():
    with Bridged() as place:
        bot = await Bot(place).go_online()
        alice = await Person(place.lab, "alice", "starttls", "phone").go_online()
        alice.send_message(mto=f"room@{DOMAIN}", mbody="hello", mtype="chat")
        got = await within(bot.messages.get(), "the message")
        assert (got["body"], got["from"]) == ("hello", alice.boundjid), got
        bot.send_message(mto=alice.boundjid.bare, mfrom=f"room@{DOMAIN}/nick", mbody="back", mtype="chat")
        got = await within(alice.messages.get(), "the answer")
        assert (got["body"], str(got["from"])) == ("back", f"room@{DOMAIN}/nick"), got
        info = await within(alice["xep_0030"].get_info(jid=DOMAIN), "disco")
        assert ("gateway", "irc", None, "Bot") in info["disco_info"]["identities"], info
        items = await within(alice["xep_0030"].get_items(jid="localhost"), "items")
        assert any(item[0] == DOMAIN and item[2] == "IRC" for item in items["disco_items"]["items"]), items
        await within(alice["xep_0199"].send_ping(DOMAIN), "a ping to it")
        await within(bot["xep_0199"].send_ping("localhost", ifrom=DOMAIN), "a ping of it")
        alice.send_presence_subscription(pto=f"bob@{DOMAIN}")
        while True:
            asked = await within(bot.presences.get(), "the subscription")
            if asked["type"] == "subscribe":
                break
        bot.send_presence(pto=alice.boundjid.bare, pfrom=f"bob@{DOMAIN}", ptype="subscribed")
        bot.send_presence(pto=alice.boundjid.bare, pfrom=f"bob@{DOMAIN}")
        await alice.presence_from(f"bob@{DOMAIN}")
        alice.abort()
        bot.abort()


async def is_away():
    with Bridged() as place:
        alice = await Person(place.lab, "alice", "starttls", "phone").go_online()
        for body in ("1", "2", "3"):
            alice.send_message(mto=f"room@{DOMAIN}", mbody=body, mtype="chat")
        bot = await Bot(place).go_online()
        for body in ("1", "2", "3"):
            got = await within(bot.messages.get(), body)
            assert got["body"] == body, got
        alice.abort()
        bot.abort()


async def is_refused():
    with Bridged() as place:
        bot = Bot(place, "wrong")
        error = asyncio.get_running_loop().create_future()
        bot.add_event_handler("stream_error", lambda said: error.done() or error.set_result(said["condition"]))
        bot.connect()
        assert await within(error, "the error") == "not-authorized"
        bot.abort()


run("slixmpp component", [speaks, is_away, is_refused])
