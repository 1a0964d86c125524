"""slixmpp against a server: log in verified, roster, presence, messages, offline, archive, copies, an
inactive client, disco, ping."""

import asyncio
import datetime
import logging
import os
import tempfile

import slixmpp

from common import PASSWORD, main, within

logging.basicConfig(level=os.environ.get("INTEROP_LOG", "CRITICAL"))


class User(slixmpp.ClientXMPP):
    def __init__(self, lab, name, way, resource, password=PASSWORD, ca=None):
        super().__init__(f"{lab.jid(name)}/{resource}", password)
        self.ca_certs = ca or lab.ca
        self.enable_direct_tls = way == "direct"
        self.enable_starttls = way == "starttls"
        self.enable_plaintext = False
        self.auto_authorize = None
        self.auto_subscribe = False
        for plugin in ("xep_0030", "xep_0059", "xep_0199", "xep_0203", "xep_0313"):
            self.register_plugin(plugin)
        self.messages = asyncio.Queue()
        self.presences = asyncio.Queue()
        self.add_event_handler("message", self.messages.put_nowait)
        self.register_handler(
            slixmpp.Callback("any presence", slixmpp.StanzaPath("presence"), self.presences.put_nowait)
        )
        self.where = lab.ways()[way]

    async def go_online(self, available=True):
        started = asyncio.get_running_loop().create_future()

        def settle(result):
            if not started.done():
                started.set_result(result)

        self.add_event_handler("session_start", lambda _: settle(None))
        for event in ("failed_auth", "failed_all_auth", "ssl_invalid_chain", "ssl_invalid_cert", "connection_failed"):
            self.add_event_handler(event, lambda why, event=event: settle((event, why)))
        self.connect(*self.where)
        problem = await within(started, "session_start")
        if problem:
            self.abort()
            raise ConnectionError(problem)
        if available:
            await within(self.get_roster(), "the roster")
            self.send_presence()
            await self.presence_from(self.boundjid.full)
        return self

    async def presence_from(self, jid, kind="available"):
        """The next presence of this sender and type; others are passed over."""
        while True:
            presence = await within(self.presences.get(), f"{kind} presence of {jid}")
            if presence["from"] == jid and presence["type"] == kind:
                return presence

    async def message(self):
        return await within(self.messages.get(), "a message")

    async def leave(self):
        await within(self.disconnect(), "the end of the stream")


async def pair(lab, way):
    alice = await User(lab, "alice", way, "a").go_online()
    bob = await User(lab, "bob", way, "b").go_online()
    return alice, bob


async def a_foreign_ca_is_refused(lab, way):
    """Our own check would be worth nothing if any certificate were taken."""
    with tempfile.NamedTemporaryFile("w", suffix=".pem") as other:
        other.write(OTHER_CA)
        other.flush()
        user = User(lab, "alice", way, "x", ca=other.name)
        try:
            await user.go_online()
        except (ConnectionError, AssertionError):
            user.abort()
            return
        raise AssertionError("logged in with a certificate that nothing vouches for")


async def a_wrong_password_is_refused(lab, way):
    user = User(lab, "alice", way, "x", password="wrong")
    try:
        await user.go_online()
    except ConnectionError as error:
        assert "auth" in str(error), error
        return
    raise AssertionError("logged in")


async def roster(lab, way):
    alice = await User(lab, "alice", way, "a").go_online()
    await within(alice.update_roster("nurse@example.com", name="Nurse", groups=["Servants"]), "set")
    await within(alice.get_roster(), "get")
    item = alice.client_roster["nurse@example.com"]
    assert (item["name"], item["groups"]) == ("Nurse", ["Servants"]), item
    await within(alice.del_roster_item("nurse@example.com"), "remove")
    await within(alice.get_roster(), "get")
    assert alice.client_roster["nurse@example.com"]["subscription"] in ("none", "remove")
    await alice.leave()


async def subscriptions_and_presence(lab, way):
    alice, bob = await pair(lab, way)
    alice.send_presence(pto=lab.jid("bob"), ptype="subscribe")
    await bob.presence_from(lab.jid("alice"), "subscribe")
    bob.send_presence(pto=lab.jid("alice"), ptype="subscribed")
    await alice.presence_from(lab.jid("bob"), "subscribed")
    await alice.presence_from(bob.boundjid.full)
    bob.send_presence(pshow="away", pstatus="gone")
    away = await alice.presence_from(bob.boundjid.full, "away")
    assert away["status"] == "gone", away
    await bob.leave()
    await alice.presence_from(f"{lab.jid('bob')}/b", "unavailable")
    # As it was, for the next way in.
    alice.send_presence(pto=lab.jid("bob"), ptype="unsubscribe")
    await within(alice.del_roster_item(lab.jid("bob")), "remove")
    await alice.leave()


async def messages(lab, way):
    alice, bob = await pair(lab, way)
    texts = ["hello", "Žluťoučký kůň \U0001f40e", "<&>'\"]]>", "x" * 5000]
    for text in texts:
        alice.send_message(mto=lab.jid("bob"), mbody=text, mtype="chat")
    for text in texts:
        got = await bob.message()
        assert got["body"] == text and got["from"] == alice.boundjid.full, got
    got.reply("and back").send()
    assert (await alice.message())["body"] == "and back"
    await alice.leave()
    await bob.leave()


async def offline(lab, way):
    alice = await User(lab, "alice", way, "a").go_online()
    for number in range(5):
        alice.send_message(mto=lab.jid("bob"), mbody=f"later {number}", mtype="chat")
    await within(alice.plugin["xep_0199"].ping(lab.domain), "ping")
    bob = await User(lab, "bob", way, "b").go_online()
    for number in range(5):
        got = await bob.message()
        assert got["body"] == f"later {number}", got
        assert got["delay"]["stamp"], got
    await bob.leave()
    await alice.leave()


async def archive(lab, way):
    """Both sides of a conversation, in pages either way, by contact and by time (XEP-0313)."""
    alice, bob = await pair(lab, way)
    info = await within(alice.plugin["xep_0030"].get_info(jid=lab.jid("alice")), "disco")
    assert "urn:xmpp:mam:2" in info["disco_info"]["features"], info
    begun = (await archived(alice, reverse=True, total=1))[-1:]  # by earlier scenarios
    said = []
    for number in range(6):
        sender, taker = (alice, bob) if number % 2 == 0 else (bob, alice)
        said.append(f"word {number} {way}")
        sender.send_message(mto=taker.boundjid.bare, mbody=said[-1], mtype="chat")
        assert (await taker.message())["body"] == said[-1]
    alice.send_message(mto=lab.jid("alice"), mbody=f"a note {way}", mtype="chat")
    note = await alice.message()
    bob_jid = slixmpp.JID(lab.jid("bob"))
    start = begun[0][1] + datetime.timedelta(milliseconds=1) if begun else None
    for wanted, options in (
        ([*said, note["body"]], {"rsm": {"max": 2}, "start": start}),
        (said, {"rsm": {"max": 2}, "start": start, "with_jid": bob_jid}),
        (said, {"rsm": {"max": 50}, "start": start, "with_jid": bob_jid}),
        (said[:-3:-1], {"rsm": {"max": 2}, "reverse": True, "total": 2, "with_jid": bob_jid}),
        (said[::-1], {"rsm": {"max": 2}, "reverse": True, "start": start, "with_jid": bob_jid}),
        ([], {"with_jid": slixmpp.JID(lab.jid("nobody"))}),
        ([], {"start": datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(hours=1)}),
    ):
        bodies = [body for body, _ in await archived(alice, **options)]
        assert bodies == wanted, f"{options}: {bodies}"
    bodies = [body for body, _ in await archived(bob, reverse=True, total=6)]
    assert bodies == said[::-1], bodies
    await alice.leave()
    await bob.leave()


async def archived(user, **options):
    """What the account's archive has: bodies and times."""

    async def collect():
        found = []
        async for message in user.plugin["xep_0313"].iterate(**options):
            forwarded = message["mam_result"]["forwarded"]
            found.append((forwarded["stanza"]["body"], forwarded["delay"]["stamp"]))
        return found

    return await within(collect(), "the archive")


async def copies(lab, way):
    """What one device hears and says reaches the other, whose archive knows it by the same id (XEP-0280)."""
    alice, bob = await pair(lab, way)
    other = User(lab, "bob", way, "other")
    other.register_plugin("xep_0280")
    other.register_plugin("xep_0359")
    heard, said = asyncio.Queue(), asyncio.Queue()
    other.add_event_handler("carbon_received", heard.put_nowait)
    other.add_event_handler("carbon_sent", said.put_nowait)
    await other.go_online()
    await within(other.plugin["xep_0280"].enable(), "carbons")
    alice.send_message(mto=bob.boundjid.full, mbody=f"heard {way}", mtype="chat")
    copy = await within(heard.get(), "a copy of what came")
    inner = copy["carbon_received"]
    assert (inner["body"], inner["from"]) == (f"heard {way}", alice.boundjid.full), copy
    assert copy["from"] == lab.jid("bob") and inner["stanza_id"]["by"] == lab.jid("bob"), copy
    (await bob.message()).reply(f"said {way}").send()
    copy = await within(said.get(), "a copy of what went")
    inner = copy["carbon_sent"]
    assert (inner["body"], inner["to"]) == (f"said {way}", alice.boundjid.full), copy
    kept = [result async for result in other.plugin["xep_0313"].iterate(reverse=True, total=1)]
    assert kept[0]["mam_result"]["id"] == inner["stanza_id"]["id"], (kept, copy)
    await within(other.plugin["xep_0280"].disable(), "no carbons")
    alice.send_message(mto=bob.boundjid.full, mbody="not copied", mtype="chat")
    await bob.message()
    await within(other.plugin["xep_0199"].ping(lab.domain), "ping")
    assert heard.empty() and said.empty()
    for user in (other, bob, alice):
        await user.leave()


async def inactive(lab, way):
    """Presence waits for an inactive client, and only the newest comes, before a message (XEP-0352)."""
    alice = await User(lab, "alice", way, "a").go_online()
    bob = User(lab, "bob", way, "b")
    bob.register_plugin("xep_0352")
    await bob.go_online()
    csi = bob.plugin["xep_0352"]
    assert csi.enabled, "not offered"
    csi.send_inactive()
    await within(bob.plugin["xep_0199"].ping(lab.domain), "ping")
    while not bob.presences.empty():
        bob.presences.get_nowait()
    for show in ("away", "xa", "dnd"):
        alice.send_presence(pto=bob.boundjid.full, pshow=show)
    alice.send_message(mto=bob.boundjid.full, mbody="wake", mtype="chat")
    assert (await bob.message())["body"] == "wake"
    shows = []
    while not bob.presences.empty():
        shows.append(bob.presences.get_nowait()["type"])
    assert shows == ["dnd"], shows
    csi.send_active()
    alice.send_presence(pto=bob.boundjid.full, pshow="chat")
    await bob.presence_from(alice.boundjid.full, "chat")
    await bob.leave()
    await alice.leave()


async def services(lab, way):
    alice = await User(lab, "alice", way, "a").go_online()
    await within(alice.plugin["xep_0199"].ping(lab.domain), "ping")
    info = await within(alice.plugin["xep_0030"].get_info(jid=lab.domain), "disco")
    kinds = {(identity[0], identity[1]) for identity in info["disco_info"]["identities"]}
    assert ("server", "im") in kinds, kinds
    assert "urn:xmpp:ping" in info["disco_info"]["features"]
    await within(alice.plugin["xep_0030"].get_items(jid=lab.domain), "items")
    await alice.leave()


# Of no use but to vouch for nothing: its key was thrown away.
OTHER_CA = """-----BEGIN CERTIFICATE-----
MIIBkzCCATmgAwIBAgIUKIeXKwXXD1vjBG+S4SCZktiowRcwCgYIKoZIzj0EAwIw
HjEcMBoGA1UEAwwTVm91Y2hlcyBmb3Igbm90aGluZzAgFw0yNjExMjIwODA5MTZa
GA8yMTI2MTAyOTA4MDkxNlowHjEcMBoGA1UEAwwTVm91Y2hlcyBmb3Igbm90aGlu
ZzBZMBMGByqGSM49AgEGCCqGSM49AwEHA0IABLSUIThF6NBDUVW5WqoegymPuPg+
hZM56fRRNm2l9mqyphdE+6AMtdrpUcQByd5dZ0DWqNwz7zNatUs2yaVuEcSjUzBR
MB0GA1UdDgQWBBR51i7lin4yTDY5StDhGQpTzj/ukDAfBgNVHSMEGDAWgBR51i7l
in4yTDY5StDhGQpTzj/ukDAPBgNVHRMBAf8EBTADAQH/MAoGCCqGSM49BAMCA0gA
MEUCIEkxUP6Kr1mjqsyU0qXAsuQiNQLZaIvOss0DuuUkH+WvAiEAy5My47HrZvjz
HqF6BJfYXXJkfZPU0GE1u52adJBhCiw=
-----END CERTIFICATE-----
"""


if __name__ == "__main__":
    main(
        "slixmpp",
        [
            a_foreign_ca_is_refused,
            a_wrong_password_is_refused,
            roster,
            subscriptions_and_presence,
            messages,
            offline,
            archive,
            copies,
            inactive,
            services,
        ],
    )
