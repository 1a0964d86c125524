"""A server that a check plays itself, stanza by stanza: it dials the server in question, and answers it."""

import asyncio
import contextlib
import ssl

from bed import RAW
from wire import DIALBACK, PATIENCE, SASL, SM, STREAMS, TLS, Stream, local, text_of, tls_context

BIDI, BIDI_FEATURE = "urn:xmpp:bidi", "urn:xmpp:features:bidi"


def opening(sender, receiver, number=None, version="1.0"):
    ends = "".join(f" {name}='{value}'" for name, value in (("from", sender), ("to", receiver), ("id", number),
                                                             ("version", version)) if value)
    return (f"<?xml version='1.0'?><stream:stream xmlns='jabber:server' xmlns:db='{DIALBACK}' "
            f"xmlns:stream='{STREAMS}'{ends}>")


class Peer:
    """One domain, with SRV records of its own.

    external: EXTERNAL is offered to whoever connects. keys: what it says of keys when it is asked (db:verify): True,
    False, or None for silence. quiet: it accepts connections and says nothing at all."""

    def __init__(self, bed, domain, certificate=None, external=True, keys=True, quiet=False):
        self.bed, self.domain = bed, domain
        self.certificate = certificate or bed.certificate(domain)
        self.external, self.keys, self.quiet = external, keys, quiet
        self.came = asyncio.Queue()  # stanzas on streams that we accepted
        self.verified = []  # the db:verify that we were asked
        self.failures = []  # stream errors that we were sent
        self.accepted, self.dialed, self.tasks = 0, [], set()

    async def __aenter__(self):
        self.listener = await asyncio.start_server(self.accept, self.bed.at(RAW), 0)
        port = self.listener.sockets[0].getsockname()[1]
        self.bed.zone.names.pop(f"_xmpp-server._tcp.{self.domain}", None)
        self.bed.zone.put(f"xmpp.{self.domain}", A=[self.bed.at(RAW)])
        self.bed.zone.server(self.domain, f"xmpp.{self.domain}", port)
        return self

    async def __aexit__(self, *_):
        self.listener.close()
        for task in self.tasks:
            task.cancel()
        for stream in self.dialed:
            stream.close()

    # Streams that the other server opens.

    async def accept(self, reader, writer):
        self.accepted += 1
        self.tasks.add(asyncio.current_task())
        stream = Stream(reader, writer)
        self.dialed.append(stream)
        with contextlib.suppress(OSError, ssl.SSLError, asyncio.TimeoutError, asyncio.CancelledError):
            if self.quiet:
                await asyncio.Event().wait()
            await self.answer(stream)

    async def answer(self, stream):
        secure = authenticated = False
        while True:
            header = await stream.header()
            if header is None:
                return
            stream.send(opening(self.domain, header.get("from"), "raw-id"))
            stream.send(self.features(secure, authenticated))
            while (element := await stream.element(600)) is not None:
                if element.tag == f"{{{TLS}}}starttls":
                    stream.send(f"<proceed xmlns='{TLS}'/>")
                    await stream.start_tls(tls_context(self.bed.ca.certificate, self.certificate, server=True))
                    secure = True
                    break
                if element.tag == f"{{{SASL}}}auth":
                    stream.send(f"<success xmlns='{SASL}'/>")
                    authenticated = True
                    stream.reset()
                    break
                self.take(stream, element)
            else:
                return

    def features(self, secure, authenticated):
        inner = ""
        if not secure:
            inner = f"<starttls xmlns='{TLS}'><required/></starttls>"
        elif not authenticated:
            if self.external:
                inner = f"<mechanisms xmlns='{SASL}'><mechanism>EXTERNAL</mechanism></mechanisms>"
            inner += "<dialback xmlns='urn:xmpp:features:dialback'><errors/></dialback>"
        return f"<stream:features>{inner}</stream:features>"

    def take(self, stream, element):
        kind = element.tag
        if kind == f"{{{DIALBACK}}}result":
            stream.send(f"<db:result from='{element.get('to')}' to='{element.get('from')}' type='valid'/>")
        elif kind == f"{{{DIALBACK}}}verify":
            self.verified.append(element)
            if self.keys is not None:
                ends = f"from='{element.get('to')}' to='{element.get('from')}'"
                verdict = "valid" if self.keys else "invalid"
                stream.send(f"<db:verify {ends} id='{element.get('id')}' type='{verdict}'/>")
        elif kind == f"{{{STREAMS}}}error":
            self.failures.append(element)
        elif kind.startswith("{jabber:server}"):
            self.came.put_nowait(element)

    async def hears(self, test, what):
        """The first stanza that passes the test; others are dropped."""
        try:
            async with asyncio.timeout(PATIENCE):
                while True:
                    element = await self.came.get()
                    if test(element):
                        return element
        except asyncio.TimeoutError:
            raise AssertionError(f"{self.domain} never got: {what}") from None

    # Streams that we open.

    async def raw(self, server, port=5269, source=RAW):
        reader, writer = await asyncio.open_connection(server.address, port, local_addr=(self.bed.at(source), 0))
        stream = Stream(reader, writer)
        stream.name = server.domain
        self.dialed.append(stream)
        return stream

    async def open(self, stream, sender=None, receiver=None):
        """Header and features; None if the other side ended the stream instead."""
        stream.reset()
        stream.send(opening(sender or self.domain, receiver or stream.name))
        await stream.header()
        element = await stream.element()
        stream.features = element
        return element

    async def dial(self, server, sender=None, receiver=None, certificate=True):
        """A stream that is encrypted, with its features; not authenticated."""
        stream = await self.raw(server)
        await self.open(stream, sender, receiver)
        stream.send(f"<starttls xmlns='{TLS}'/>")
        answer = await stream.element()
        assert answer is not None and local(answer) == "proceed", text_of(answer)
        await stream.start_tls(tls_context(None, self.certificate if certificate else None), server.domain)
        await self.open(stream, sender, receiver)
        return stream

    def offers(self, stream, what):
        return stream.features is not None and what in text_of(stream.features)

    async def external_auth(self, stream, identity="="):
        stream.send(f"<auth xmlns='{SASL}' mechanism='EXTERNAL'>{identity}</auth>")
        return await stream.element()

    async def authenticated(self, server, bidi=False):
        """A stream that is ready for stanzas, by EXTERNAL."""
        stream = await self.dial(server)
        assert self.offers(stream, "EXTERNAL"), text_of(stream.features)
        if bidi:
            stream.send(f"<bidi xmlns='{BIDI}'/>")
        answer = await self.external_auth(stream)
        assert answer is not None and local(answer) == "success", text_of(answer)
        await self.open(stream)
        return stream

    async def dialback(self, stream, sender=None, receiver=None, key="0123456789abcdef"):
        """Asks for a pair; the db:result that comes, or None at the end of the stream."""
        stream.send(f"<db:result from='{sender or self.domain}' to='{receiver or stream.name}'>{key}</db:result>")
        while (element := await stream.element()) is not None:
            if element.tag == f"{{{DIALBACK}}}result":
                return element
            stream.refused = element
        return None

    async def managed(self, stream):
        stream.send(f"<enable xmlns='{SM}'/>")
        answer = await stream.element()
        assert answer is not None and local(answer) == "enabled", text_of(answer)
