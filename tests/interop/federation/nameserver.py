"""A DNS server of the bed, over UDP and TCP: what it says, and that it lies or is silent, is a table.

It runs in the event loop of the checks. RFC 1035; SRV as in RFC 2782."""

import asyncio
import socket
import struct

A, NS, CNAME, SOA, AAAA, SRV = 1, 2, 5, 6, 28, 33
KINDS = {A: "A", NS: "NS", CNAME: "CNAME", SOA: "SOA", AAAA: "AAAA", SRV: "SRV"}
NUMBERS = {name: number for number, name in KINDS.items()}
NOERROR, SERVFAIL, NXDOMAIN, REFUSED = 0, 2, 3, 5


def encode_name(name):
    labels = [label.encode("ascii") for label in name.strip(".").split(".") if label]
    return b"".join(bytes([len(label)]) + label for label in labels) + b"\0"


def decode_name(data, at):
    labels = []
    while data[at]:
        labels.append(data[at + 1:at + 1 + data[at]].decode("ascii", "replace"))
        at += 1 + data[at]
    return ".".join(labels), at + 1


def rdata(kind, value):
    if kind == A:
        return socket.inet_pton(socket.AF_INET, value)
    if kind == AAAA:
        return socket.inet_pton(socket.AF_INET6, value)
    if kind == SRV:
        priority, weight, port, target = value
        return struct.pack(">HHH", priority, weight, port) + encode_name(target)
    return encode_name(value)  # CNAME, NS


class Zone:
    """Records by lower-case name: {"A": [...], "AAAA": [...], "SRV": [(priority, weight, port, target)],
    "CNAME": [...]}. A name that is not there, nor above one that is, is NXDOMAIN; "silent": True is never answered,
    "rcode": n answers with that error."""

    def __init__(self):
        self.names = {}
        self.asked = []  # (name, kind), in order

    def put(self, name, **records):
        self.names.setdefault(name.lower(), {}).update(records)

    def server(self, domain, target, port, service="xmpp-server", priority=0, weight=0):
        """An SRV record of a domain, beside those that it has."""
        name = f"_{service}._tcp.{domain}"
        self.names.setdefault(name, {}).setdefault("SRV", []).append((priority, weight, port, target))

    def chase(self, name, kind):
        """The records of a name, behind the CNAMEs that lead there; of a circle, its first eight."""
        found = []
        for _ in range(8):
            entry = self.names.get(name.lower(), {})
            if "CNAME" not in entry:
                return found + [(name, kind, value) for value in entry.get(KINDS.get(kind, ""), ())]
            found.append((name, NUMBERS["CNAME"], entry["CNAME"][0]))
            name = entry["CNAME"][0]
        return found

    def numeric(self, found):
        """ejabberd asks its own resolver for SRV alone, and the C library, which knows only /etc, for addresses. So it
        is told addresses where others are told names: the library takes those as they are."""
        for owner, kind, value in found:
            addresses = self.names.get(value[3].lower(), {}).get("A", ()) if kind == SRV else ()
            for address in addresses:
                yield owner, kind, (*value[:3], address)
            if not addresses:
                yield owner, kind, value

    def answer(self, query, truncate, numeric=False):
        """The answer in bytes, or None for silence."""
        number, flags = struct.unpack(">HH", query[:4])
        name, end = decode_name(query, 12)
        kind = struct.unpack(">H", query[end:end + 2])[0]
        question = query[12:end + 4]
        self.asked.append((name.lower(), KINDS.get(kind, str(kind))))
        entry = self.names.get(name.lower())
        if entry is None:
            below = any(known.endswith("." + name.lower()) for known in self.names)
            entry = {} if below else {"rcode": NXDOMAIN}
        if entry.get("silent"):
            return None
        rcode = entry.get("rcode", NOERROR)
        found = self.chase(name, kind)
        records = b""
        for owner, its_kind, value in self.numeric(found) if numeric else found:
            data = rdata(its_kind, value)
            records += encode_name(owner) + struct.pack(">HHIH", its_kind, 1, 1, len(data)) + data
        authority = b""
        if not found:  # how long the absence may be remembered: not at all (RFC 2308)
            data = encode_name("ns.test") + encode_name("root.test") + struct.pack(">IIIII", 1, 1, 1, 1, 0)
            authority = encode_name("test") + struct.pack(">HHIH", SOA, 1, 0, len(data)) + data
        head = 0x8480 | (flags & 0x0100) | rcode
        if truncate and len(records) > 400:
            return struct.pack(">HHHHHH", number, head | 0x0200, 1, 0, 0, 0) + question
        counts = struct.pack(">HHHHHH", number, head, 1, len(found), 1 if authority else 0, 0)
        return counts + question + records + authority


class Nameserver:
    """On one address and port, UDP and TCP."""

    def __init__(self, address, port, zone=None, numeric=False):
        self.zone, self.where, self.numeric = zone or Zone(), (address, port), numeric

    async def __aenter__(self):
        zone, numeric = self.zone, self.numeric

        class Datagrams(asyncio.DatagramProtocol):
            def connection_made(self, transport):
                self.transport = transport

            def datagram_received(self, data, address):
                answer = len(data) > 16 and zone.answer(data, True, numeric)
                if answer:
                    self.transport.sendto(answer, address)

        loop = asyncio.get_running_loop()
        self.datagrams, _ = await loop.create_datagram_endpoint(Datagrams, local_addr=self.where)
        self.listener = await asyncio.start_server(self.stream, *self.where)
        return self

    async def stream(self, reader, writer):
        try:
            while True:
                (length,) = struct.unpack(">H", await reader.readexactly(2))
                answer = self.zone.answer(await reader.readexactly(length), False, self.numeric)
                if answer:
                    writer.write(struct.pack(">H", len(answer)) + answer)
        except (asyncio.IncompleteReadError, OSError):
            pass
        finally:
            writer.close()

    async def __aexit__(self, *_):
        self.datagrams.close()
        self.listener.close()
        await asyncio.sleep(0)  # the loop closes the datagrams' socket in its next turn
