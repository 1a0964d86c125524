"""biboumi, a bridge to IRC, between a lab of our own and ngircd, both of Debian: `biboumi.py BINARY`. Somebody joins a
channel through it, and talks with somebody on IRC."""

import asyncio
import contextlib
import random
import shutil
import socket
import subprocess
import sys
import tempfile

from bridges import DOMAIN, SECRET, Bridged, Person, run
from common import within

CHANNEL = "#lab"
# Of IRC without TLS.
PORT = 6667
NGIRCD = shutil.which("ngircd") or "/usr/sbin/ngircd"


def free_address():
    """A loopback address on which nobody has the port that the bridge tries."""
    while True:
        address = f"127.{random.randrange(1, 255)}.{random.randrange(1, 255)}.{random.randrange(1, 255)}"
        with socket.socket() as taken, contextlib.suppress(OSError):
            taken.bind((address, PORT))
            return address


class Irc:
    """Somebody with an IRC client."""

    async def join(self, address):
        for _ in range(100):
            try:
                self.reader, self.writer = await asyncio.open_connection(address, PORT)
                break
            except OSError:
                await asyncio.sleep(0.1)
        self.say("NICK ircuser", "USER ircuser 0 * :Somebody")
        await self.hears(" 001 ")
        self.say(f"JOIN {CHANNEL}")
        await self.hears(" 366 ")
        return self

    def say(self, *lines):
        self.writer.write("".join(f"{line}\r\n" for line in lines).encode())

    async def hears(self, words):
        while True:
            line = (await within(self.reader.readline(), words)).decode()
            assert line, f"the connection ended before {words}"
            if line.startswith("PING"):
                self.say(line.strip().replace("PING", "PONG", 1))
            if words in line:
                return line


async def joins_a_channel():
    address = free_address()
    with Bridged() as place, tempfile.TemporaryDirectory() as folder:
        with open(f"{folder}/ngircd.conf", "w", encoding="utf-8") as file:
            file.write(f"[Global]\nName = irc.test.local\nInfo = test\nListen = {address}\nPorts = {PORT}\n"
                       "MotdPhrase = hi\nServerUID = 0\nServerGID = 0\n"
                       "[Limits]\nMaxConnectionsIP = 0\n[Options]\nDNS = no\nIdent = no\nPAM = no\n")
        with open(f"{folder}/biboumi.cfg", "w", encoding="utf-8") as file:
            file.write(f"hostname={DOMAIN}\npassword={SECRET}\nxmpp_server_ip=127.0.0.1\n"
                       f"port={place.address[1]}\ndb_name={folder}/biboumi.sqlite\nlog_level=0\n"
                       f"log_file={folder}/biboumi.log\nidentd_port=0\nfixed_irc_server={address}\n")
        ircd = subprocess.Popen([NGIRCD, "-n", "-f", f"{folder}/ngircd.conf"],
                                stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        bridge = subprocess.Popen(["biboumi", f"{folder}/biboumi.cfg"],
                                  stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            await place.connected()
            irc = await Irc().join(address)
            alice = await Person(place.lab, "alice", "starttls", "phone").go_online()
            room = f"{CHANNEL}@{DOMAIN}"
            presence = alice.make_presence(pto=f"{room}/alice")
            presence.xml.append(element("{http://jabber.org/protocol/muc}x"))
            presence.send()
            await alice.presence_from(f"{room}/alice")
            await irc.hears("JOIN")
            alice.send_message(mto=room, mbody="hello from XMPP", mtype="groupchat")
            line = await irc.hears("PRIVMSG")
            assert "hello from XMPP" in line, line
            irc.say(f"PRIVMSG {CHANNEL} :hello from IRC")
            while True:
                got = await within(alice.messages.get(), "what was said on IRC")
                if got["body"] == "hello from IRC":
                    break
            assert str(got["from"]) == f"{room}/ircuser", got
            # To one alone, both ways.
            irc.say("PRIVMSG alice :psst")
            while got["body"] != "psst":
                got = await within(alice.messages.get(), "what was said to one alone")
            alice.send_message(mto=got["from"], mbody="pssst", mtype="chat")
            assert "pssst" in await irc.hears("PRIVMSG ircuser")
            alice.abort()
        except BaseException:
            with open(f"{folder}/biboumi.log", encoding="utf-8", errors="replace") as file:
                print(file.read()[-3000:], file=sys.stderr)
            raise
        finally:
            for process in (bridge, ircd):
                process.kill()
                process.wait()


def element(tag):
    from xml.etree import ElementTree
    return ElementTree.Element(tag)


if shutil.which("biboumi") is None:
    print("skipped biboumi: it is not installed")
else:
    run("biboumi", [joins_a_channel])
