"""What people do at a server before they leave it, and what must be there when they have moved."""

import asyncio
import base64
import hashlib
import os
import zlib

from person import PUBSUB, Person, canonical
from wire import escape, local, quoteattr

AVATAR = b"\x89PNG\r\n\x1a\n" + hashlib.sha256(b"avatar").digest() * 8
# Contact of alice → how both come to the state (RFC 6121 §A.1): a asks, A approves; b and B are the contact's.
STATES = {"c-none": "", "c-out": "a", "c-in": "b", "c-out-in": "ab", "c-to": "aB", "c-to-in": "aBb", "c-from": "bA",
          "c-from-out": "bAa", "c-both": "aBbA"}
GROUPS = {"c-none": ["Fami<ly> & \"Co\""], "c-to": ["Freunde ÄÖ 🦆", "a::b"], "c-from": ["x" * 200, "it's", "back\\slash"],
          "c-both": ["Work", "work"], "c-out": ["line\tbreak]]>"]}
NAMES = {"c-none": "Nobody <none>", "c-both": "Böth & \"all\" 🐦", "c-to": "T'o"}
PASSWORDS = {"alice": "secret-word", "emoji": "🦄🔑 pass word", "quotes": "a\"b'c\\d<&>", "ümlaut": "pässwörd",
             "dot.ted": "x,y=z", "percent%41": "p%41", "under_score": "same-1", "a'b": "apostrophe"}
MESSAGES = ["plain", "émoji 🦆 ünïcode", "quotes \" ' \\ \\n", "<b>&amp;</b>", "two\nlines\ttab", "]]>", "x" * 700,
            "nul-like \\000 \\z", "trailing space ", "𝔘𝔫𝔦𝔠𝔬𝔡𝔢"]
VCARD = ("<vCard xmlns='vcard-temp'><FN>Alice &amp; \"Co\"</FN><N><FAMILY>Ünder</FAMILY><GIVEN>Alice</GIVEN></N>"
         "<NICKNAME>ali</NICKNAME><EMAIL><INTERNET/><USERID>alice@example.org</USERID></EMAIL>"
         "<PHOTO><TYPE>image/png</TYPE><BINVAL>" + base64.b64encode(AVATAR).decode() + "</BINVAL></PHOTO></vCard>")
VCARD4 = ("<vcard xmlns='urn:ietf:params:xml:ns:vcard-4.0'><fn><text>Bob Vier</text></fn>"
          "<nickname><text>bobby</text></nickname></vcard>")
PRIVATE = {"exodus:prefs": "<exodus xmlns='exodus:prefs'><defaultnick>Hämlet &amp; \"x\"</defaultnick></exodus>",
           "roster:delimiter": "<roster xmlns='roster:delimiter'>::</roster>",
           "storage:rosternotes": "<storage xmlns='storage:rosternotes'><note jid='c-to@old.test'>met in\nRome</note>"
                                  "</storage>"}


def bookmark(name, nick, autojoin="true"):
    return (f"<conference xmlns='urn:xmpp:bookmarks:1' name={quoteattr(name)} autojoin='{autojoin}'>"
            f"<nick>{escape(nick)}</nick></conference>")


class Town:
    """Everybody at one server. `record` is the JSON that the other side is judged by, with what no client can read."""

    def __init__(self, server):
        self.server = server
        self.hosts = server.hosts()
        self.home = self.hosts[0]
        self.people = {}
        self.record = {"passwords": {}, "offline": {}, "disabled": [], "uploads": {}, "refused": [], "failed": [], "pending_in": [],
                       "pre_approved": [], "rooms": {}}

    def at(self, name):
        return f"{name}@{self.home.domain}"

    async def person(self, name, password=None, host=None, online=True):
        host = host or self.home
        person = Person(host, name, password or PASSWORDS.get(name, f"pw-{name}"))
        try:
            await person.register()
        except AssertionError as why:
            self.record["refused"].append(f"{person.bare}: {why}")
            return None
        self.record["passwords"][person.bare] = person.password
        if host is self.home:
            self.people[name] = person
        if online:
            await person.log_in()
        return person

    async def live(self):
        for part in (self.accounts, self.rosters, self.messages, self.things, self.rooms, self.uploads,
                     self.slixmpp):
            try:
                await part()
            except (AssertionError, asyncio.TimeoutError, OSError, KeyError, AttributeError) as why:
                self.record["failed"].append(f"{part.__name__}: {type(why).__name__} {why}")

    async def accounts(self):
        for name in PASSWORDS:
            person = await self.person(name, online=name in ("alice",))
            if person is None:
                continue
        for host in self.hosts[1:]:
            await self.person("alice", "other-word", host, online=False)
            await self.person("emoji", PASSWORDS["emoji"], host, online=False)
        await self.person("bob")
        await self.person("olga", online=False)
        await self.person("disabled", online=False)

    async def rosters(self):
        alice = self.people["alice"]
        for name, steps in STATES.items():
            groups = "".join(f"<group>{escape(it)}</group>" for it in GROUPS.get(name, ()))
            await alice.iq("set", None, f"<query xmlns='jabber:iq:roster'><item jid='{self.at(name)}' "
                           f"name={quoteattr(NAMES.get(name, name))}>{groups}</item></query>")
            other = await self.person(name)
            for step in steps:
                who, whom = (alice, other) if step in "aA" else (other, alice)
                kind = "subscribe" if step in "ab" else "subscribed"
                who.send(f"<presence to='{whom.bare}' type='{kind}'/>")
                await who.settled()
                if kind == "subscribe":
                    await whom.presence_from(who.bare, "subscribe")
                await whom.settled()
            if steps.endswith("b") or steps == "b":
                self.record["pending_in"].append(self.at(name))
            await other.log_out()
        alice.send(f"<presence to='{self.at('approved')}' type='subscribed'/>")
        await alice.settled()
        self.record["pre_approved"].append(self.at("approved"))
        await alice.iq("set", None, "<query xmlns='jabber:iq:roster'><item jid='far@elsewhere.example' name='Far'/>"
                       "</query>")
        await alice.iq("set", None, "<query xmlns='jabber:iq:roster'><item jid='irc.elsewhere.example'/></query>")

    async def messages(self):
        alice, bob = self.people["alice"], self.people["bob"]
        for at, body in enumerate(MESSAGES):
            who, whom = (alice, bob) if at % 2 else (bob, alice)
            who.say(whom.jid, body, inner="<active xmlns='http://jabber.org/protocol/chatstates'/>"
                    "<origin-id xmlns='urn:xmpp:sid:0' id='o%d'/>" % at)
            await whom.hears(body)
        omemo = "<encrypted xmlns='eu.siacs.conversations.axolotl'><header sid='1'><iv>AAAA</iv></header></encrypted>" \
                "<store xmlns='urn:xmpp:hints'/>"
        alice.send(f"<message type='chat' id='enc' to='{bob.jid}'>{omemo}</message>")
        await bob.expect(lambda it: it.get("id") == "enc", "the encrypted message")
        bodies = ["while you were out", "second & <last> 🌙", "third"]
        for body in bodies:
            alice.say(self.at("olga"), body)
        await alice.settled()
        self.record["offline"][self.at("olga")] = bodies

    async def things(self):
        alice, bob = self.people["alice"], self.people["bob"]
        sha = hashlib.sha1(AVATAR).hexdigest()
        await alice.ask("set", None, VCARD)
        if self.server.name != "prosody":  # where the vCard has made the nodes already, it is the same avatar
            await alice.publish("urn:xmpp:avatar:data", sha, "<data xmlns='urn:xmpp:avatar:data'>"
                                f"{base64.b64encode(AVATAR).decode()}</data>", "presence")
            await alice.publish("urn:xmpp:avatar:metadata", sha, "<metadata xmlns='urn:xmpp:avatar:metadata'>"
                                f"<info bytes='{len(AVATAR)}' id='{sha}' type='image/png'/></metadata>", "presence")
        await bob.publish("urn:xmpp:vcard4", "current", VCARD4, "open")
        await bob.publish("http://jabber.org/protocol/nick", "current",
                          "<nick xmlns='http://jabber.org/protocol/nick'>Bobby &amp; 🐦</nick>", "presence")
        await alice.publish("eu.siacs.conversations.axolotl.devicelist", "current",
                            "<list xmlns='eu.siacs.conversations.axolotl'><device id='1234'/></list>", "open")
        await alice.publish("eu.siacs.conversations.axolotl.bundles:1234", "current",
                            "<bundle xmlns='eu.siacs.conversations.axolotl'><identityKey>AAEC</identityKey></bundle>",
                            "open")
        await alice.publish("urn:xmpp:omemo:2:devices", "current",
                            "<devices xmlns='urn:xmpp:omemo:2'><device id='7' label='it&apos;s'/></devices>", "open")
        for name, nick in (("Café & Co", "ali"), ("quoted \"room\"", "älice"), ("third", "x")):
            jid = f"r{zlib.crc32(name.encode())}@{self.server.rooms}"
            await alice.publish("urn:xmpp:bookmarks:1", jid, bookmark(name, nick), "whitelist")
        for payload in PRIVATE.values():
            await alice.iq("set", None, f"<query xmlns='jabber:iq:private'>{payload}</query>")
        await bob.ask("set", None, "<query xmlns='jabber:iq:private'><storage xmlns='storage:bookmarks'>"
                      f"<conference jid='old@{self.server.rooms}' name='Old &amp; gold' autojoin='true'><nick>b</nick>"
                      "</conference><url name='site' url='http://x.example/?a=1&amp;b=2'/></storage></query>")
        blocked = ["spammer@bad.example", "bad.example", "o%brien@pub.example", "troll@old.test/res"]
        items = "".join(f"<item jid={quoteattr(it)}/>" for it in blocked)
        await alice.iq("set", None, f"<block xmlns='urn:xmpp:blocking'>{items}</block>")
        await alice.ask("set", None, "<prefs xmlns='urn:xmpp:mam:2' default='roster'><always><jid>bob@old.test</jid>"
                        "</always><never><jid>news@old.test</jid><jid>spy@old.test</jid></never></prefs>")

    async def rooms(self):
        alice, bob = self.people["alice"], self.people["bob"]
        await self.room("tea", alice, {
            "muc#roomconfig_roomname": "Tea & \"biscuits\" ☕", "muc#roomconfig_roomdesc": "A room\nfor tea",
            "muc#roomconfig_persistentroom": "1", "muc#roomconfig_publicroom": "0", "muc#roomconfig_membersonly": "1",
            "muc#roomconfig_whois": "anyone", "muc#roomconfig_changesubject": "1"})
        await self.room("loud", bob, {
            "muc#roomconfig_roomname": "Loud", "muc#roomconfig_persistentroom": "1",
            "muc#roomconfig_moderatedroom": "1", "muc#roomconfig_passwordprotectedroom": "1",
            "muc#roomconfig_roomsecret": "pass \"word\" 🔒"})
        tea = f"tea@{self.server.rooms}"
        admin = "http://jabber.org/protocol/muc#admin"
        for affiliation, jid, reason in (("admin", "bob", ""), ("member", "c-both", ""), ("member", "olga", ""),
                                         ("outcast", "c-in", "rude & <loud>")):
            why = f"<reason>{escape(reason)}</reason>" if reason else ""
            await alice.iq("set", tea, f"<query xmlns='{admin}'><item affiliation='{affiliation}' "
                           f"jid='{self.at(jid)}'>{why}</item></query>")
        bob.send(f"<presence to='{tea}/bob'><x xmlns='http://jabber.org/protocol/muc'/></presence>")
        await bob.expect(lambda it: local(it) == "message" and it.find("{jabber:client}subject") is not None
                         and it.get("from", "").startswith(tea), "the room's subject")
        for at, body in enumerate(MESSAGES):
            who = (alice, bob)[at % 2]
            who.say(tea, "room: " + body, "groupchat")
            await (bob, alice)[at % 2].hears("room: " + body)
        alice.send(f"<message type='groupchat' to='{tea}' id='s1'><subject>Earl Grey &amp; 🫖</subject></message>")
        await bob.expect(lambda it: (it.findtext("{jabber:client}subject") or "").startswith("Earl"), "the subject")
        await alice.ask("set", tea, "<vCard xmlns='vcard-temp'><PHOTO><TYPE>image/png</TYPE><BINVAL>"
                        f"{base64.b64encode(AVATAR).decode()}</BINVAL></PHOTO></vCard>")
        where = tea if self.server.name.startswith("prosody") else self.server.rooms
        await bob.ask("get", where, "<query xmlns='jabber:iq:register'/>")
        if self.server.name.startswith("prosody"):
            await bob.ask("set", where, "<query xmlns='jabber:iq:register'><x xmlns='jabber:x:data' type='submit'>"
                          "<field var='FORM_TYPE'><value>http://jabber.org/protocol/muc#register</value></field>"
                          "<field var='muc#register_roomnick'><value>bobby ☕</value></field></x></query>")
        else:
            await bob.ask("set", where, "<query xmlns='jabber:iq:register'><x xmlns='jabber:x:data' type='submit'>"
                          "<field var='nick'><value>bobby ☕</value></field></x></query>")
        for who, room in ((alice, "tea"), (bob, "tea"), (bob, "loud")):
            where = f"{room}@{self.server.rooms}"
            who.send(f"<presence type='unavailable' to='{where}/{who.name}'/>")
            await who.expect(lambda it: it.get("type") == "unavailable" and it.get("from", "").startswith(where),
                             "our own leaving")

    async def room(self, name, owner, settings):
        jid = f"{name}@{self.server.rooms}"
        owner.send(f"<presence to='{jid}/{owner.name}'><x xmlns='http://jabber.org/protocol/muc'/></presence>")
        await owner.presence_from(f"{jid}/{owner.name}")
        fields = "".join(f"<field var='{key}'><value>{escape(value)}</value></field>" for key, value in settings.items())
        await owner.iq("set", jid, "<query xmlns='http://jabber.org/protocol/muc#owner'><x xmlns='jabber:x:data' "
                       "type='submit'><field var='FORM_TYPE'><value>http://jabber.org/protocol/muc#roomconfig</value>"
                       f"</field>{fields}</x></query>")
        self.record["rooms"][jid] = {"owner": owner.bare, "settings": settings}

    async def uploads(self):
        alice = self.people["alice"]
        for name, kind, content in (("photo.png", "image/png", AVATAR), ("two words é.txt", "text/plain", b"hello\n")):
            url = await alice.upload(self.server.share, name, kind, content)
            self.record["uploads"][url] = {"owner": alice.bare, "name": name, "type": kind,
                                           "sha256": hashlib.sha256(content).hexdigest()}

    async def slixmpp(self):
        """Somebody with another client, in a process of its own; it is Debian's, which has its own Python."""
        script = os.path.join(os.path.dirname(os.path.abspath(__file__)), "slix.py")
        if not os.path.exists("/usr/lib/python3/dist-packages/slixmpp"):
            return
        person = await self.person("slix", online=False)
        process = await asyncio.create_subprocess_exec(
            "/usr/bin/python3", "-W", "ignore", script, person.bare, person.password, self.server.address,
            self.server.trusted, self.at("alice"), stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT)
        said, _ = await asyncio.wait_for(process.communicate(), 30)
        assert process.returncode == 0, said.decode()[-600:]

    async def close(self):
        for person in self.people.values():
            if person.task and not person.task.done():
                await person.log_out()
