"""A client with a password of its own, that logs in by SCRAM and reads all that an account has."""

import asyncio
import base64
import hashlib
import hmac
import http.client
import secrets
import xml.etree.ElementTree as ET
from urllib.parse import urlsplit

from client import Client
from wire import PATIENCE, SASL, escape, local, quoteattr, text_of

MAM, RSM, DATA = "urn:xmpp:mam:2", "http://jabber.org/protocol/rsm", "jabber:x:data"
PUBSUB, DISCO = "http://jabber.org/protocol/pubsub", "http://jabber.org/protocol/disco#items"
HASHES = {"SCRAM-SHA-1": "sha1", "SCRAM-SHA-256": "sha256"}


class Person(Client):
    """hashes: which SCRAM the server has of the account."""

    def __init__(self, host, name, password, resource="r"):
        super().__init__(host, name, resource)
        self.password = password

    def again(self, resource):
        return Person(self.server, self.name, self.password, resource)

    async def register(self):
        await self.open()
        self.stream.send(f"<iq type='set' id='reg' to='{self.server.domain}'><query xmlns='jabber:iq:register'>"
                         f"<username>{escape(self.name)}</username><password>{escape(self.password)}</password>"
                         "</query></iq>")
        answer = await self.stream.element()
        ok = answer is not None and answer.get("type") == "result"
        self.stream.close()
        assert ok or "conflict" in text_of(answer), text_of(answer)
        return self

    def mechanisms(self):
        return [it.text for it in self.offered.iter(f"{{{SASL}}}mechanism")]

    async def header(self):
        self.stream.reset()
        self.stream.send(f"<?xml version='1.0'?><stream:stream to='{self.server.domain}' version='1.0' "
                         "xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams'>")
        await self.stream.header()
        self.offered = await self.stream.element()

    async def scram(self, mechanism):
        """RFC 5802 without channel binding; whether the server, too, proved that it knows the password."""
        name = HASHES[mechanism]
        nonce = secrets.token_urlsafe(18)
        first = f"n={self.name.replace('=', '=3D').replace(',', '=2C')},r={nonce}"
        await self.say_sasl(f"<auth xmlns='{SASL}' mechanism='{mechanism}'>", f"n,,{first}", "auth")
        challenge = await self.stream.element()
        if challenge is None or local(challenge) != "challenge":
            return False
        theirs = base64.b64decode(challenge.text).decode()
        parts = dict(part.split("=", 1) for part in theirs.split(","))
        salted = hashlib.pbkdf2_hmac(name, self.password.encode(), base64.b64decode(parts["s"]), int(parts["i"]))
        key = hmac.digest(salted, b"Client Key", name)
        without = f"c=biws,r={parts['r']}"
        signed = f"{first},{theirs},{without}".encode()
        proof = bytes(a ^ b for a, b in zip(key, hmac.digest(hashlib.new(name, key).digest(), signed, name)))
        await self.say_sasl(f"<response xmlns='{SASL}'>", f"{without},p={base64.b64encode(proof).decode()}", "response")
        answer = await self.stream.element()
        if answer is None or local(answer) != "success":
            return False
        server = hmac.digest(hmac.digest(salted, b"Server Key", name), signed, name)
        assert base64.b64decode(answer.text) == b"v=" + base64.b64encode(server), "the server's signature is wrong"
        return True

    async def say_sasl(self, tag, text, end):
        self.stream.send(f"{tag}{base64.b64encode(text.encode()).decode()}</{end}>")

    async def can_log_in(self, mechanism):
        """Tries no more than that."""
        await self.open()
        try:
            return mechanism in self.mechanisms() and await self.scram(mechanism)
        finally:
            self.stream.close()

    async def log_in(self, presence=True, register=False, mechanism=None):
        if register:
            await self.register()
        await self.open()
        offered = self.mechanisms()
        wanted = [mechanism] if mechanism else [it for it in ("SCRAM-SHA-256", "SCRAM-SHA-1") if it in offered]
        done = False
        for it in wanted:
            done = await self.scram(it)
            if done:
                break
            self.stream.close()
            await self.open()
        assert done, f"{self.bare}: no login by {wanted}; the server offers {offered}"
        await self.header()
        self.task = asyncio.create_task(self.read())
        bound = await self.iq("set", None, "<bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'>"
                              f"<resource>{self.resource}</resource></bind>")
        self.jid = bound.find(".//{urn:ietf:params:xml:ns:xmpp-bind}jid").text
        await self.iq("get", None, "<query xmlns='jabber:iq:roster'/>")
        if presence:
            await self.available()
        return self

    async def settled(self):
        """What the server had to say until now is in the inbox."""
        await self.ask("get", None, "<ping xmlns='urn:xmpp:ping'/>")

    async def publish(self, node, item, payload, access=None):
        options = ""
        if access:
            options = (f"<publish-options><x xmlns='{DATA}' type='submit'><field var='FORM_TYPE' type='hidden'>"
                       f"<value>{PUBSUB}#publish-options</value></field>"
                       "<field var='pubsub#persist_items'><value>true</value></field>"
                       + ("<field var='pubsub#max_items'><value>50</value></field>"
                          if node == "urn:xmpp:bookmarks:1" else "")
                       + f"<field var='pubsub#access_model'><value>{access}</value></field></x></publish-options>")
        return await self.iq("set", None, f"<pubsub xmlns='{PUBSUB}'><publish node={quoteattr(node)}>"
                              f"<item id={quoteattr(item)}>{payload}</item></publish>{options}</pubsub>")

    async def upload(self, share, name, kind, content):
        """Returns the URL to get it at."""
        slot = await self.iq("get", share, f"<request xmlns='urn:xmpp:http:upload:0' filename={quoteattr(name)} "
                             f"size='{len(content)}' content-type='{kind}'/>")
        put = slot.find(".//{urn:xmpp:http:upload:0}put")
        url = urlsplit(put.get("url"))

        def send():
            connection = http.client.HTTPConnection(self.server.server.address, 5280, timeout=PATIENCE)
            headers = {"Host": url.netloc, "Content-Type": kind}
            headers.update({it.get("name"): it.text for it in put})
            connection.request("PUT", url.path + (f"?{url.query}" if url.query else ""), content, headers)
            status = connection.getresponse().status
            connection.close()
            return status

        status = await asyncio.to_thread(send)
        assert status in (200, 201), f"{status} for {put.get('url')}"
        return slot.find(".//{urn:xmpp:http:upload:0}get").get("url")

    async def archive(self, room=None):
        """All that the archive of the account, or of a room, has: (id, stamp, message)."""
        found, after = [], ""
        while True:
            number = f"q{len(found)}"
            done = await self.iq("set", room, f"<query xmlns='{MAM}' queryid='{number}'><set xmlns='{RSM}'><max>100</max>"
                                 f"{after}</set></query>")
            came = self.has(lambda it: local(it) == "message" and it.find(f"{{{MAM}}}result") is not None)
            self.inbox.clear()
            for message in came:
                result = message.find(f"{{{MAM}}}result")
                forwarded = result[0]
                stamp = forwarded.find("{urn:xmpp:delay}delay").get("stamp")
                found.append((result.get("id"), stamp, forwarded.find("{jabber:client}message")))
            if not came or done.find(f"{{{MAM}}}fin").get("complete") == "true":
                return found
            after = f"<after>{escape(found[-1][0])}</after>"


def canonical(element):
    return ET.canonicalize(ET.tostring(element, encoding="unicode"), strip_text=False)
