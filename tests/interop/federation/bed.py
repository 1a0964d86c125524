"""The bed: a folder, an authority, a DNS server, and the servers that federate over them.

Addresses are 127.0.0.10 and on; where another run has them, those of the next network (127.0.1.…)."""

import asyncio
import contextlib
import contextvars
import itertools
import os
import shutil
import socket
import tempfile

from ca import Authority
from client import Client
from nameserver import Nameserver
from servers import Ejabberd, Prosody, Stonechat

# A last part of the address for each: the DNS server, the servers, and what the checks play themselves.
DNS, STONECHAT, PROSODY, EJABBERD, LOOSE, RAW, SECOND, DEAD, CROWD = 10, 11, 12, 13, 14, 15, 16, 17, 18
DNS_PORT = 5300
# Domains that Prosody serves beside its own, each to be found in another way (names.py).
FOUND = ("nosrv.test", "port.test", "second.test", "direct.test", "both.test", "alias.test", "many.test")
# Domains whose certificates are wrong, each in another way (trust.py).
WRONG = ("expired.test", "wrongname.test", "unknownroot.test")
# Those who may do without a certificate; the checks play most of them.
DIALBACK = ("selfsigned.test", *(f"dialback-{letter}.raw.test" for letter in "abcdefgh"))


class Bed:
    """What every check is given. `home` and `away` of a check are servers of it."""

    def __init__(self, binary=None):
        self.binary = binary and os.path.abspath(binary)
        self.folder = tempfile.mkdtemp(prefix="federation-")
        self.network = free_network()
        self.ca = Authority(os.path.join(self.folder, "ca"))
        self.stranger = Authority(os.path.join(self.folder, "stranger"))
        self.certificates = {}
        self.dns = Nameserver(self.at(DNS), DNS_PORT)
        self.numeric = Nameserver(self.at(DNS), DNS_PORT + 1, self.dns.zone, numeric=True)
        self.numbers = itertools.count(1)
        self.servers, self.deadline = [], float("inf")
        self.opened = contextvars.ContextVar("opened", default=[])  # the clients of the check that runs

    def at(self, last):
        return f"{self.network}.{last}"

    def certificate(self, domain):
        """A good one for the domain and its rooms, made once."""
        if domain not in self.certificates:
            self.certificates[domain] = self.ca.sign(domain, [domain, f"conference.{domain}", f"rooms.{domain}"])
        return self.certificates[domain]

    @property
    def zone(self):
        return self.dns.zone

    def place(self, server, service=None):
        """The DNS records of a server and its rooms."""
        self.servers.append(server)
        self.zone.put(f"xmpp.{server.domain}", A=[server.address])
        for domain in (server.domain, server.rooms):
            self.zone.server(domain, f"xmpp.{server.domain}", 5269)
        return server

    def user(self, server, name=None, resource="r"):
        """A client of an account of its own, not logged in."""
        made = Client(server, f"{name or 'u'}{next(self.numbers)}", resource)
        made.family = self.opened.get()
        made.family.append(made)
        return made

    async def online(self, server, **options):
        return await self.user(server).log_in(**options)

    def prosody(self):
        # One certificate for all that it serves: on its port for direct TLS it shows but one.
        chain = self.ca.sign("prosody.test", ["prosody.test", "conference.prosody.test", *FOUND])
        self.certificates["prosody.test"] = chain
        insecure = ", ".join(f'"{name}"' for name in DIALBACK)
        options = f"s2s_secure_auth = true\ns2s_insecure_domains = {{ {insecure} }}\n"
        return self.place(Prosody(self, "prosody.test", self.at(PROSODY), options=options,
                                  hosts={name: chain for name in FOUND}))

    def loose(self):
        """A Prosody that trusts whoever speaks dialback, and has certificates that nobody should trust."""
        hosts = {
            "expired.test": self.ca.sign("expired.test", ["expired.test"], expired=True),
            "wrongname.test": self.ca.sign("wrongname.test", ["other.test"]),
            "unknownroot.test": self.stranger.sign("unknownroot.test", ["unknownroot.test"]),
        }
        self.certificates["selfsigned.test"] = self.ca.own("selfsigned.test", ["selfsigned.test"])
        server = Prosody(self, "selfsigned.test", self.at(LOOSE), "loose", hosts=hosts, modules=(),
                         options="s2s_secure_auth = false\n")
        server.trusted = None  # its own clients believe it all the same
        self.place(server)
        for name in hosts:
            self.zone.server(name, "xmpp.selfsigned.test", 5269)
        return server

    def ejabberd(self):
        return self.place(Ejabberd(self, "ejabberd.test", self.at(EJABBERD)))

    def stonechat(self):
        s2s = {"certificates": "require", "dialback_domains": list(DIALBACK),
               "streams_unauthenticated_per_ip_max": 100}
        server = self.place(Stonechat(self, "stonechat.test", self.at(STONECHAT), s2s=s2s))
        return server

    def second(self):
        """Another Stonechat, with a certificate of its own making: it speaks dialback with everybody."""
        chain = self.ca.own("loose.stonechat.test", ["loose.stonechat.test"])
        server = Stonechat(self, "loose.stonechat.test", self.at(SECOND), "second", s2s={"certificates": "dialback"},
                           certificate=chain)
        server.trusted = None
        return self.place(server)

    async def __aenter__(self):
        try:
            await self.dns.__aenter__()
            await self.numeric.__aenter__()
        except OSError:
            shutil.rmtree(self.folder, ignore_errors=True)
            raise
        return self

    async def __aexit__(self, *_):
        await asyncio.gather(*(server.stop() for server in self.servers), return_exceptions=True)
        await self.dns.__aexit__()
        await self.numeric.__aexit__()
        if not os.environ.get("FEDERATION_KEEP"):
            shutil.rmtree(self.folder, ignore_errors=True)
        else:
            print(f"kept {self.folder}", flush=True)


def free_network():
    """The first whose ports nobody listens on."""
    wanted = [(DNS, DNS_PORT), (DNS, DNS_PORT + 1)]
    wanted += [(last, port) for last in range(STONECHAT, DEAD) for port in (5223, 5269, 5270)]
    for third in range(256):
        with contextlib.ExitStack() as probes:
            try:
                for last, port in wanted:
                    probe = probes.enter_context(socket.socket())
                    probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                    probe.bind((f"127.0.{third}.{last}", port))
                return f"127.0.{third}"
            except OSError:
                continue
    raise RuntimeError("no free loopback addresses")
