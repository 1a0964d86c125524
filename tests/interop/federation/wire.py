"""XML streams as bytes and elements: what clients and raw servers of the checks have in common."""

import asyncio
import collections
import ssl
import xml.etree.ElementTree as ET
from xml.sax.saxutils import escape, quoteattr

PATIENCE = 15  # seconds for any one thing

STREAMS = "http://etherx.jabber.org/streams"
STANZAS = "urn:ietf:params:xml:ns:xmpp-stanzas"
STREAM_ERRORS = "urn:ietf:params:xml:ns:xmpp-streams"
TLS = "urn:ietf:params:xml:ns:xmpp-tls"
SASL = "urn:ietf:params:xml:ns:xmpp-sasl"
DIALBACK = "jabber:server:dialback"
SM = "urn:xmpp:sm:3"

__all__ = ["escape", "quoteattr"]


class Excused(Exception):
    """It is not as it should be, by another server's fault; the text says which."""


class Skip(Exception):
    """Not to be checked here; says why."""


def tls_context(ca=None, certificate=None, server=False):
    """ca: the file to verify the other side by, None for anybody; certificate: (chain, key) files."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER if server else ssl.PROTOCOL_TLS_CLIENT)
    if not server:
        context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    if ca:
        context.load_verify_locations(ca)
        context.verify_mode = ssl.CERT_OPTIONAL if server else ssl.CERT_REQUIRED
        context.check_hostname = not server
    if certificate:
        context.load_cert_chain(*certificate)
    return context


def text_of(element):
    return "the end of the stream" if element is None else ET.tostring(element, encoding="unicode")


def local(element):
    return element.tag.rpartition("}")[2]


def condition(element):
    """The defined condition of a stanza with type='error'; None if it is none."""
    error = None if element is None else next((child for child in element if local(child) == "error"), None)
    if error is None:
        return None
    names = [local(child) for child in error if child.tag.startswith("{" + STANZAS + "}") and local(child) != "text"]
    return names[0] if names else "undefined"


def error_text(element):
    found = element.find(f".//{{{STANZAS}}}text")
    return "" if found is None else found.text or ""


class Stream:
    """One XML stream over a socket."""

    def __init__(self, reader, writer):
        self.reader, self.writer = reader, writer
        self.ended = False
        self.reset()

    def reset(self):
        self.parser = ET.XMLPullParser(("start", "end"))
        self.depth, self.root, self.ready = 0, None, collections.deque()

    def send(self, text):
        self.writer.write(text.encode() if isinstance(text, str) else text)

    async def feed(self):
        """Reads once; what came is in `root` and `ready`."""
        data = b""
        try:
            data = await self.reader.read(65_536)
        except (OSError, ssl.SSLError):
            pass
        if not data:
            self.ended = True
            return
        self.parser.feed(data)
        for event, element in self.parser.read_events():
            if event == "start":
                self.depth += 1
                if self.depth == 1:
                    self.root = element
                continue
            self.depth -= 1
            if self.depth == 1:
                self.root.remove(element)
                self.ready.append(element)
            elif self.depth == 0:
                self.ended = True

    async def header(self):
        """The other side's stream header; None if there is none before the end."""
        async with asyncio.timeout(PATIENCE):
            while self.root is None and not self.ended:
                await self.feed()
        return self.root

    async def element(self, patience=PATIENCE):
        """The next element of depth one; None at the end of the stream."""
        async with asyncio.timeout(patience):
            while not self.ready and not self.ended:
                await self.feed()
        return self.ready.popleft() if self.ready else None

    async def until_end(self, patience=PATIENCE):
        """All elements until the stream ends."""
        came = []
        while (element := await self.element(patience)) is not None:
            came.append(element)
        return came

    async def start_tls(self, context, name=None):
        await self.writer.start_tls(context, server_hostname=name, ssl_handshake_timeout=PATIENCE)
        self.reset()

    def close(self):
        self.writer.transport.abort()


def stream_condition(elements):
    """The condition of the <stream:error/> among them."""
    for element in elements:
        if element.tag == f"{{{STREAMS}}}error":
            return next((local(child) for child in element if local(child) != "text"), "undefined")
    return None
