"""Uploads in a bucket: a real S3-compatible server (moto) keeps what clients upload, and nothing of what was cut off.

s3.py BINARY MOTO: starts the labs and MOTO, which is `moto_server`, itself, all on the loopback."""

import asyncio
import contextlib
import hashlib
import json
import os
import signal
import socket
import ssl
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
import xml.etree.ElementTree as ET

BINARY = os.path.abspath(sys.argv[1])
MOTO = os.path.abspath(sys.argv[2])
SECRET = "north-by-northwest"
BUCKET = "chat-files"
NS = "urn:xmpp:http:upload:0"
PATIENCE = 20


def until(what, look):
    """Waits for something to be true."""
    end = time.monotonic() + PATIENCE
    while not (found := look()):
        assert time.monotonic() < end, f"timed out: {what}"
        time.sleep(0.05)
    return found


def some_file(size):
    """Bytes that differ wherever one looks."""
    return b"".join(hashlib.sha256(str(n).encode()).digest() for n in range(size // 32 + 1))[:size]


class Store:
    """moto, with one bucket; with `keys`, it knows no credentials at all."""

    def __init__(self, folder, keys=False):
        with contextlib.closing(socket.socket()) as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        # The bucket is made before anybody needs credentials.
        env = {**os.environ, **({"INITIAL_NO_AUTH_ACTION_COUNT": "1"} if keys else {})}
        log = open(os.path.join(folder, "moto.log"), "a")
        self.process = subprocess.Popen([MOTO, "-H", "127.0.0.1", "-p", str(self.port)], stdout=log, stderr=log, env=env)
        self.url = f"http://127.0.0.1:{self.port}"
        until("moto", self.listens)
        self.ask("PUT", f"/{BUCKET}")

    def listens(self):
        with contextlib.suppress(OSError):
            socket.create_connection(("127.0.0.1", self.port), 1).close()
            return True

    def ask(self, method, path):
        with urllib.request.urlopen(urllib.request.Request(self.url + path, method=method), timeout=10) as answer:
            return answer.read()

    def names(self, query, tag):
        return [e.text for e in ET.fromstring(self.ask("GET", f"/{BUCKET}?{query}")).iter() if e.tag.endswith(tag)]

    def objects(self):
        return self.names("list-type=2", "}Key")

    def unfinished(self):
        return self.names("uploads", "UploadId")

    def end(self):
        self.process.kill()
        self.process.wait()


class Server:
    """A lab that keeps files in the bucket."""

    def __init__(self, store, folder, **more):
        self.data = os.path.join(folder, "data")
        self.log = os.path.join(folder, "lab.log")
        bucket = {"name": BUCKET, "endpoint": store.url, "folder": "of/chat", "key_id": "an-id", "secret": SECRET, **more}
        bounds = bucket.pop("bounds", {})
        sets = {f"modules.upload.bucket.{key}": value for key, value in bucket.items()}
        sets |= {"sasl.iterations": 4096, **bounds}
        self.sets = [word for key, value in sets.items() for word in ("--set", f"{key}={value}")]
        # Made by the first one.
        self.users = [] if os.path.exists(self.data) else ["--user", "alice@localhost:secret"]

    def __enter__(self):
        command = [BINARY, "lab", "--domain", "localhost", "--data-dir", self.data, *self.users, *self.sets]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=open(self.log, "a"), text=True)
        self.ready = json.loads(self.process.stdout.readline())
        self.path = os.path.join(os.path.dirname(self.data), "ready.json")
        with open(self.path, "w", encoding="utf-8") as file:
            json.dump(self.ready, file)
        self.users = []
        self.tls = ssl.create_default_context(cafile=self.ready["ca"])
        self.tls.check_hostname = False
        return self

    def __exit__(self, *_):
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()
        with open(self.log, encoding="utf-8") as log:
            text = log.read()
        assert SECRET not in text and "panicked" not in text, text

    def said(self, words):
        with open(self.log, encoding="utf-8") as log:
            return words in log.read()

    def slot(self, size):
        """Addresses to put and to get, of a user who logs in for it."""
        async def ask():
            from common import Lab, within
            from slix import User

            alice = await User(Lab(self.path), "alice", "starttls", "s3").go_online(available=False)
            iq = alice.make_iq_get(ito="upload.localhost")
            iq.append(ET.fromstring(f"<request xmlns='{NS}' filename='a.bin' size='{size}'/>"))
            try:
                slot = (await within(iq.send(), "a slot")).xml
            finally:
                await alice.leave()
            return [next(slot.iter(f"{{{NS}}}{name}")).get("url") for name in ("put", "get")]

        return asyncio.run(ask())

    def http(self, method, url, body=None, **headers):
        # The port is another one after a restart.
        url = self.ready["http"] + "/" + url.removeprefix("https://").partition("/")[2]
        request = urllib.request.Request(url, data=body, method=method, headers=headers)
        try:
            with urllib.request.urlopen(request, timeout=PATIENCE, context=self.tls) as answer:
                return answer.status, answer.read()
        except urllib.error.HTTPError as error:
            return error.code, error.read()

    def upload(self, content):
        put, get = self.slot(len(content))
        return self.http("PUT", put, content)[0], get

    def half(self, content, length):
        """Says that it is longer, sends some of it; the connection."""
        put, get = self.slot(length)
        host, _, path = put.removeprefix("https://").partition("/")
        name, _, port = host.partition(":")
        sock = self.tls.wrap_socket(socket.create_connection(("127.0.0.1", int(port))), server_hostname=name)
        sock.sendall(f"PUT /{path} HTTP/1.1\r\nHost: {host}\r\nContent-Length: {length}\r\n\r\n".encode())
        sock.sendall(content)
        return sock, get

    def verb(self, *args):
        done = subprocess.run(
            [BINARY, *args, "--set", f"data_dir={self.data}", *self.sets], capture_output=True, text=True, timeout=60
        )
        return done.returncode, done.stdout + done.stderr


def id_of(url):
    return "of/chat/" + url.split("/")[-2]


def files_are_objects(store, folder):
    with Server(store, folder) as server:
        for size in (1, 5 << 20, 12_345_678):
            content = some_file(size)
            status, get = server.upload(content)
            assert status == 201, (size, status)
            assert id_of(get) in store.objects(), (get, store.objects())
            assert server.http("GET", get) == (200, content), size
            wanted = content[size // 2 : size // 2 + 2_000_000]
            last = size // 2 + len(wanted) - 1
            got = server.http("GET", get, Range=f"bytes={size // 2}-{last}")
            assert got == (206, wanted), (size, got[0], len(got[1]))
        assert not store.unfinished(), store.unfinished()
        assert not os.path.exists(os.path.join(server.data, "uploads"))
        # Behind our back.
        store.ask("DELETE", f"/{BUCKET}/{id_of(get)}")
        assert server.http("GET", get)[0] == 500 and server.said("no such object")


def what_is_deleted_or_displaced_goes(store, folder):
    bounds = {"modules.upload.bytes_per_account_max": 7_000_000}
    with Server(store, folder, bounds=bounds) as server:
        content = some_file(3_000_000)
        (one, first), (two, second), (three, third) = (server.upload(content) for _ in range(3))
        assert (one, two, three) == (201, 201, 201), (one, two, three)
        assert server.http("GET", first)[0] == 404
        until("the oldest makes room", lambda: id_of(first) not in store.objects())
        assert server.http("GET", second)[0] == server.http("GET", third)[0] == 200


def half_an_upload_leaves_nothing(store, folder):
    content = some_file(8_000_000)
    with Server(store, folder) as server:
        sock, get = server.half(content, 20_000_000)
        until("a part is there", store.unfinished)
        sock.close()
        until("the parts are taken back", lambda: not store.unfinished())
        assert server.http("GET", get)[0] == 404 and id_of(get) not in store.objects()
        sock, get = server.half(content, 20_000_000)
        until("a part is there", store.unfinished)
    # It was killed: the rule of the bucket deletes the parts, which are no object.
    with Server(store, folder) as server:
        assert server.http("GET", get)[0] == 404 and id_of(get) not in store.objects()
        status, get = server.upload(content)
        assert (status, server.http("GET", get)) == (201, (200, content))


def what_is_wrong_is_said(store, folder):
    with Server(store, folder, name="no-such") as server:
        until("the log tells of it", lambda: server.said("no file can be uploaded to the bucket"))
        for size in (100, 6_000_000):
            assert server.upload(some_file(size))[0] == 500
        assert server.said("the store has no such bucket")
        code, told = server.verb("check")
        assert code != 0 and "no file can be uploaded" in told and "no such bucket" in told, told
    good = Server(store, folder)
    told = good.verb("check")[1]
    assert "can be written, read and deleted in the bucket" in told and SECRET not in told, told
    with Server(store, folder) as server:
        status, get = server.upload(b"here")
        assert status == 201
        store.end()
        assert server.upload(b"gone")[0] == 500 and server.http("GET", get)[0] == 500
        assert server.said("refused")


def credentials_may_be_refused(store, folder):
    with Server(store, folder) as server:
        assert server.upload(b"mine")[0] == 500
        assert server.said("the store refuses the credentials"), open(server.log).read()


def main():
    failed = False
    for scenario in (files_are_objects, what_is_deleted_or_displaced_goes, half_an_upload_leaves_nothing,
                     what_is_wrong_is_said, credentials_may_be_refused):  # fmt: skip
        started, store = time.monotonic(), None
        with tempfile.TemporaryDirectory(prefix="stonechat-s3-") as folder:
            try:
                store = Store(folder, keys=scenario is credentials_may_be_refused)
                scenario(store, folder)
                print(f"ok     s3 {scenario.__name__} ({time.monotonic() - started:.2f} s)", flush=True)
            except Exception as error:  # the next scenario is to run whatever this one met
                failed = True
                print(f"FAILED s3 {scenario.__name__}: {type(error).__name__}: {error}", flush=True)
            finally:
                if store:
                    store.end()
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
