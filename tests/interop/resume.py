"""Sessions that outlive a cut socket and a restart of the server: slixmpp, then aioxmpp.

resume.py BINARY: starts the server itself, for it must end it."""

import asyncio
import contextlib
import datetime
import json
import logging
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time

logging.basicConfig(level=os.environ.get("INTEROP_LOG", "CRITICAL"))
BINARY = os.path.abspath(sys.argv[1])
FOLDER = tempfile.TemporaryDirectory(prefix="stonechat-resume-")
# Both libraries take the server's CA from here; it stays the same over restarts.
os.environ["SSL_CERT_FILE"] = os.path.join(FOLDER.name, "data", "ca", "ca.pem")


def free_port():
    """Below the ephemeral ones, so that no client's own socket takes it while the server is away."""
    for port in range(20_000 + os.getpid() % 10_000, 32_000):
        with contextlib.closing(socket.socket()) as probe:
            try:
                probe.bind(("127.0.0.1", port))
                return port
            except OSError:
                pass
    raise AssertionError("no free port")


PORT = free_port()


class Wire:
    """Between a client and the server: it can be cut, as a network cuts."""

    def __init__(self):
        self.pairs = []

    async def __aenter__(self):
        self.listener = await asyncio.start_server(self.accept, "127.0.0.1", 0)
        self.port = self.listener.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_):
        self.listener.close()
        self.cut()

    async def accept(self, reader, writer):
        try:
            there = await asyncio.open_connection("127.0.0.1", PORT)
        except OSError:
            writer.transport.abort()
            return
        self.pairs += [writer, there[1]]
        await asyncio.gather(self.copy(reader, there[1]), self.copy(there[0], writer))

    async def copy(self, reader, writer):
        with contextlib.suppress(OSError):
            while data := await reader.read(65_536):
                writer.write(data)
            writer.close()

    def cut(self):
        """Both sides see a reset; nothing is said."""
        for writer in self.pairs:
            raw = writer.get_extra_info("socket")
            if raw is not None and raw.fileno() >= 0:
                with contextlib.suppress(OSError):
                    raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
            writer.transport.abort()
        self.pairs = []


class Server:
    """A lab at one port over one folder."""

    def __init__(self):
        self.process = None

    def start(self, users=()):
        users = [arg for user in users for arg in ("--user", f"{user}@localhost:secret")]
        self.process = subprocess.Popen(
            [BINARY, "lab", "--data-dir", os.path.join(FOLDER.name, "data"), "--set",
             f"c2s.listen=127.0.0.1:{PORT}", *users],
            stdout=subprocess.PIPE, stderr=open(os.path.join(FOLDER.name, "log"), "a"), text=True,
        )
        ready = json.loads(self.process.stdout.readline())
        os.environ["SSL_CERT_FILE"] = ready["ca"]
        return ready

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        assert self.process.wait(15) == 0, "the server did not stop in order"


async def within(awaitable, what):
    try:
        return await asyncio.wait_for(awaitable, 20)
    except asyncio.TimeoutError:
        raise AssertionError(f"timed out: {what}") from None


def slix_user(name, port):
    import slixmpp

    class User(slixmpp.ClientXMPP):
        def __init__(self):
            super().__init__(f"{name}@localhost/slix", "secret")
            self.ca_certs = os.environ["SSL_CERT_FILE"]
            self.enable_direct_tls = False
            self.enable_plaintext = False
            self.register_plugin("xep_0198")
            self.register_plugin("xep_0199")
            self.messages = asyncio.Queue()
            self.resumed = asyncio.Queue()
            self.add_event_handler("message", self.messages.put_nowait)
            self.add_event_handler("session_resumed", self.resumed.put_nowait)
            self.add_event_handler("sm_failed", lambda why: self.resumed.put_nowait(why))
            self.enabled = asyncio.Event()
            self.add_event_handler("sm_enabled", lambda _: self.enabled.set())

        async def online(self):
            started = asyncio.Event()
            self.add_event_handler("session_start", lambda _: started.set())
            self.connect("127.0.0.1", port)
            await within(started.wait(), "session_start")
            await within(self.enabled.wait(), "<enabled/>")
            self.send_presence()
            return self

        async def again(self):
            self.connect("127.0.0.1", port)
            answer = await within(self.resumed.get(), "<resumed/>")
            assert answer.name == "resumed", answer

        def say(self, to, text):
            self.send_message(mto=f"{to}@localhost", mbody=text, mtype="chat")

        async def hears(self, text):
            got = await within(self.messages.get(), text)
            assert got["body"] == text, f"{got['body']} instead of {text}"

    return User()


async def slixmpp_resumes(server, wire):
    sender = await slix_user("alice", PORT).online()
    taker = await slix_user("bob", wire.port).online()
    sender.say("bob", "one")
    await taker.hears("one")
    wire.cut()
    sender.say("bob", "two")
    await within(sender.plugin["xep_0199"].ping("localhost"), "ping")
    await taker.again()
    await taker.hears("two")
    sender.say("bob", "three")
    await taker.hears("three")
    server.stop()
    server.start()
    await sender.again()
    sender.say("bob", "four")
    await within(sender.plugin["xep_0199"].ping("localhost"), "ping")
    await taker.again()
    await taker.hears("four")
    taker.say("alice", "back")
    await sender.hears("back")
    assert taker.messages.empty() and sender.messages.empty(), "something came twice"
    await within(taker.disconnect(), "end")
    await within(sender.disconnect(), "end")


async def aioxmpp_resumes(server, wire):
    import aioxmpp
    import aioxmpp.connector
    import aioxmpp.dispatcher

    def client(name, port):
        made = aioxmpp.PresenceManagedClient(
            aioxmpp.JID.fromstr(f"{name}@localhost/aio"),
            aioxmpp.make_security_layer("secret"),
            override_peer=[("127.0.0.1", port, aioxmpp.connector.STARTTLSConnector())],
        )
        # It is to come back at once.
        made.backoff_start = made.backoff_cap = datetime.timedelta(milliseconds=200)
        made.heard = asyncio.Queue()
        dispatcher = made.summon(aioxmpp.dispatcher.SimpleMessageDispatcher)
        dispatcher.register_callback(aioxmpp.MessageType.CHAT, None, made.heard.put_nowait)
        made.told = asyncio.Queue()
        made.on_stream_resumed.connect(lambda: made.told.put_nowait("resumed"))
        made.on_stream_destroyed.connect(lambda *_: made.told.put_nowait("destroyed"))
        return made

    async def say(who, to, text):
        message = aioxmpp.Message(to=aioxmpp.JID.fromstr(f"{to}@localhost"), type_=aioxmpp.MessageType.CHAT)
        message.body[None] = text
        await within(who.send(message), f"sending {text}")

    async def hears(who, text):
        got = await within(who.heard.get(), text)
        assert got.body.any() == text, f"{got.body.any()} instead of {text}"

    sender, taker = client("carol", PORT), client("dave", wire.port)
    async with sender.connected(), taker.connected():
        assert taker.stream.sm_enabled and taker.stream.sm_resumable, "no stream management"
        await say(sender, "dave", "one")
        await hears(taker, "one")
        wire.cut()
        await say(sender, "dave", "two")
        assert await within(taker.told.get(), "resumption") == "resumed"
        await hears(taker, "two")
        server.stop()
        server.start()
        for who in (sender, taker):
            assert await within(who.told.get(), "resumption") == "resumed"
        await say(sender, "dave", "three")
        await hears(taker, "three")
        assert taker.heard.empty(), "something came twice"


async def with_wire(scenario, server):
    async with Wire() as wire:
        await scenario(server, wire)


def main():
    server = Server()
    server.start(("alice", "bob", "carol", "dave"))
    failed = 0
    try:
        for scenario in (slixmpp_resumes, aioxmpp_resumes):
            started = time.monotonic()
            try:
                asyncio.run(with_wire(scenario, server))
                print(f"ok     {scenario.__name__} ({time.monotonic() - started:.2f} s)", flush=True)
            except Exception as error:
                failed = 1
                print(f"FAILED {scenario.__name__}: {type(error).__name__}: {error}", flush=True)
        server.stop()
    finally:
        if server.process.poll() is None:
            server.process.kill()
        if failed:
            with open(os.path.join(FOLDER.name, "log"), encoding="utf-8") as log:
                sys.stderr.write("".join(log.readlines()[-40:]))
    sys.exit(failed)


main()
