"""A small client: it says exactly what a check writes, and keeps all that comes in its order."""

import asyncio
import base64
import collections
import contextlib
import itertools
import xml.etree.ElementTree as ET

from wire import PATIENCE, SASL, SM, STREAMS, Stream, escape, local, quoteattr, text_of, tls_context

CLIENT = "jabber:client"
PASSWORD = "secret-word"


class Client:
    """An account at a server, made when it logs in for the first time. `answers` maps the payload's {namespace}name
    of an iq get to what goes into the result; other requests get service-unavailable."""

    def __init__(self, server, name, resource="r"):
        self.server, self.name, self.resource = server, name, resource
        self.bare = f"{name}@{server.domain}"
        self.jid = f"{self.bare}/{resource}"
        self.inbox = collections.deque()
        self.news = asyncio.Condition()
        self.numbers = itertools.count(1)
        self.answers, self.waiting = {}, {}
        self.stream, self.task, self.features = None, None, []
        self.handled = self.acknowledged = 0
        self.family = []  # all clients of one check, to be ended with it

    def again(self, resource):
        """The same account at another device."""
        other = Client(self.server, self.name, resource)
        other.family = self.family
        self.family.append(other)
        return other

    async def open(self):
        host, port = self.server.direct
        reader, writer = await asyncio.open_connection(
            host, port, ssl=tls_context(self.server.trusted), server_hostname=self.server.domain)
        self.stream = Stream(reader, writer)
        await self.header()

    async def header(self):
        self.stream.reset()
        self.stream.send(f"<?xml version='1.0'?><stream:stream to='{self.server.domain}' version='1.0' "
                         f"xmlns='{CLIENT}' xmlns:stream='{STREAMS}'>")
        await self.stream.header()
        features = await self.stream.element()
        self.features = [child.tag for child in features]

    async def register(self):
        """XEP-0077; that the account is there already is no error."""
        await self.open()
        self.stream.send(f"<iq type='set' id='reg' to='{self.server.domain}'><query xmlns='jabber:iq:register'>"
                         f"<username>{self.name}</username><password>{PASSWORD}</password></query></iq>")
        answer = await self.stream.element()
        assert answer is not None and (answer.get("type") == "result" or "conflict" in text_of(answer)), text_of(answer)
        self.stream.close()

    async def log_in(self, presence=True, register=True, managed=False, roster=True):
        if register:
            await self.register()
        await self.open()
        secret = base64.b64encode(f"\0{self.name}\0{PASSWORD}".encode()).decode()
        self.stream.send(f"<auth xmlns='{SASL}' mechanism='PLAIN'>{secret}</auth>")
        answer = await self.stream.element()
        assert answer is not None and local(answer) == "success", text_of(answer)
        await self.header()
        self.task = asyncio.create_task(self.read())
        bound = await self.iq("set", None, "<bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'>"
                              f"<resource>{self.resource}</resource></bind>")
        self.jid = bound.find(".//{urn:ietf:params:xml:ns:xmpp-bind}jid").text
        if managed:
            self.send(f"<enable xmlns='{SM}' resume='true'/>")
            await self.expect(lambda it: it.tag == f"{{{SM}}}enabled", "<enabled/>")
        if roster:
            await self.iq("get", None, "<query xmlns='jabber:iq:roster'/>")
        if presence:
            await self.available()
        return self

    async def available(self, inner=""):
        """Presence, and the server has worked on it: our own comes back to us."""
        self.send(f"<presence>{inner}</presence>")
        await self.presence_from(self.jid)

    def send(self, text):
        self.stream.send(text)

    async def read(self):
        while (element := await self.element()) is not None:
            await self.take(element)
        async with self.news:
            self.news.notify_all()

    async def element(self):
        while not self.stream.ready and not self.stream.ended:
            await self.stream.feed()
        return self.stream.ready.popleft() if self.stream.ready else None

    async def take(self, element):
        kind = local(element)
        if element.tag == f"{{{SM}}}r":
            self.send(f"<a xmlns='{SM}' h='{self.handled}'/>")
            return
        if element.tag == f"{{{SM}}}enabled":
            self.handled = 0
        if element.tag == f"{{{SM}}}a":
            self.acknowledged = int(element.get("h"))
        self.handled += element.tag.startswith("{" + CLIENT + "}")
        if kind == "iq" and element.get("type") in ("result", "error"):
            waits = self.waiting.pop(element.get("id"), None)
            if waits is not None and not waits.done():
                waits.set_result(element)
                return
        if kind == "iq" and element.get("type") in ("get", "set"):
            self.reply(element)
        async with self.news:
            self.inbox.append(element)
            self.news.notify_all()

    def reply(self, element):
        payload = element[0].tag if len(element) else ""
        to = f" to={quoteattr(element.get('from'))}" if element.get("from") else ""
        head = f"id={quoteattr(element.get('id'))}{to}"
        if element.get("type") == "set" and payload == "{jabber:iq:roster}query":
            self.send(f"<iq type='result' {head}/>")
        elif payload == "{urn:xmpp:ping}ping":
            self.send(f"<iq type='result' {head}/>")
        elif payload in self.answers:
            if self.answers[payload] is not None:
                self.send(f"<iq type='result' {head}>{self.answers[payload]}</iq>")
        else:
            self.send(f"<iq type='error' {head}><error type='cancel'>"
                      "<service-unavailable xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></error></iq>")

    async def ask(self, kind, to, payload, patience=PATIENCE):
        """The answer, be it a result or an error."""
        number = f"{self.name}-{next(self.numbers)}"
        waits = self.waiting[number] = asyncio.get_running_loop().create_future()
        self.send(f"<iq type='{kind}' id='{number}'{f' to={quoteattr(to)}' if to else ''}>{payload}</iq>")
        try:
            return await asyncio.wait_for(waits, patience)
        except asyncio.TimeoutError:
            raise AssertionError(f"no answer of {to} to {payload}") from None

    async def iq(self, kind, to, payload, patience=PATIENCE):
        answer = await self.ask(kind, to, payload, patience)
        assert answer.get("type") == "result", text_of(answer)
        return answer

    async def expect(self, test, what, patience=PATIENCE):
        """Takes the first stanza that passes the test out of the inbox, or waits for it."""
        def find():
            for at, element in enumerate(self.inbox):
                if test(element):
                    del self.inbox[at]
                    return element
            return None

        with contextlib.suppress(asyncio.TimeoutError):
            async with asyncio.timeout(patience), self.news:
                while (found := find()) is None:
                    assert not self.stream.ended, f"{self.jid}: the stream ended instead of: {what}"
                    await self.news.wait()
                return found
        came = "; ".join(text_of(element)[:300] for element in list(self.inbox)[-4:])
        raise AssertionError(f"{self.jid} never got: {what}. It got: {came or 'nothing'}")

    def say(self, to, body, kind="chat", inner="", number=None):
        number = number or f"{self.name}-{next(self.numbers)}"
        self.send(f"<message type='{kind}' id='{number}' to={quoteattr(str(to))}>"
                  f"<body>{escape(body)}</body>{inner}</message>")
        return number

    async def hears(self, body, sender=None, patience=PATIENCE):
        got = await self.expect(
            lambda it: local(it) == "message" and it.get("type") != "error" and body_of(it) == body
            and (sender is None or it.get("from") in (sender, bare(sender))), f"message {body!r}", patience)
        return got

    async def bounced(self, number, patience=PATIENCE):
        """The error that came back for the stanza with this id."""
        return await self.expect(lambda it: it.get("type") == "error" and it.get("id") == number,
                                 f"an error for {number}", patience)

    async def presence_from(self, jid, kind=None, patience=PATIENCE):
        """kind: None is available."""
        return await self.expect(
            lambda it: local(it) == "presence" and it.get("type") == kind and it.get("from") == str(jid),
            f"presence {kind or 'available'} of {jid}", patience)

    async def pushed(self, jid, subscription, ask=None):
        """A roster push with this state of a contact."""
        def test(element):
            item = element.find("{jabber:iq:roster}query/{jabber:iq:roster}item")
            return (element.get("type") == "set" and item is not None and item.get("jid") == jid
                    and item.get("subscription") == subscription and item.get("ask") == ask)

        return await self.expect(test, f"a roster push of {jid}: {subscription}, ask {ask}")

    async def roster(self):
        answer = await self.iq("get", None, "<query xmlns='jabber:iq:roster'/>")
        return {item.get("jid"): (item.get("subscription"), item.get("ask"))
                for item in answer.iter("{jabber:iq:roster}item")}

    def has(self, test):
        return [element for element in self.inbox if test(element)]

    async def log_out(self):
        """In order: unavailable presence, and the end of the stream."""
        self.send("<presence type='unavailable'/></stream:stream>")
        with contextlib.suppress(asyncio.TimeoutError):
            async with asyncio.timeout(5):
                await self.task
        self.cut()

    def cut(self):
        """As when the machine loses power, but for a reset of TCP."""
        if self.task:
            self.task.cancel()
        if self.stream:
            self.stream.close()


def body_of(message):
    body = message.find(f"{{{CLIENT}}}body")
    return None if body is None else body.text or ""


def bare(jid):
    return jid.partition("/")[0]


def parse(text):
    return ET.fromstring(text)
