"""A real authority: Pebble, Let's Encrypt's small one for tests, signs a certificate for each kind of challenge. It refuses
every second nonce, and forgets all accounts in between.

acme.py BINARY: starts labs, Pebble and its DNS server itself, all on the loopback."""

import contextlib
import json
import os
import shutil
import socket
import ssl
import stat
import subprocess
import sys
import tempfile
import time
import urllib.request

BINARY = os.path.abspath(sys.argv[1])
DOMAIN = "chat.example"
PATIENCE = 60
HOOK = """#!/bin/sh
# The DNS server of Pebble takes records by HTTP.
case $2 in
  add) path=set-txt; body="{\\"host\\":\\"$3.\\",\\"value\\":\\"$4\\"}" ;;
  remove) path=clear-txt; body="{\\"host\\":\\"$3.\\"}" ;;
esac
exec python3 -c 'import sys, urllib.request; urllib.request.urlopen(sys.argv[1], sys.argv[2].encode())' \
  "http://127.0.0.1:$1/$path" "$body"
"""


def free_port(host="127.0.0.1"):
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with contextlib.closing(socket.socket(family)) as held:
        held.bind((host, 0))
        return held.getsockname()[1]


@contextlib.contextmanager
def process(command, log, **options):
    with open(log, "ab") as out:
        child = subprocess.Popen(command, stdout=out, stderr=out, **options)
    try:
        yield child
    finally:
        child.kill()
        child.wait()


def listening(host, port):
    until = time.monotonic() + PATIENCE
    while time.monotonic() < until:
        with contextlib.suppress(OSError):
            socket.create_connection((host, port), timeout=1).close()
            return
        time.sleep(0.05)
    raise AssertionError(f"nobody listens on {host} {port}")


def own_authority(folder):
    """For Pebble's directory: an authority, and a certificate for the loopback."""

    def openssl(*words):
        subprocess.run(["openssl", *words], cwd=folder, check=True, capture_output=True)

    ec = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]
    openssl("req", "-x509", *ec, "-keyout", "ca.key", "-out", "ca.pem", "-days", "2", "-subj", "/CN=own",
            "-addext", "keyUsage=critical,keyCertSign")  # fmt: skip
    openssl("req", *ec, "-keyout", "dir.key", "-out", "dir.csr", "-subj", "/CN=directory")
    with open(os.path.join(folder, "dir.ext"), "w", encoding="ascii") as file:
        file.write("subjectAltName=IP:127.0.0.1,IP:::1\nextendedKeyUsage=serverAuth\n")
    openssl("x509", "-req", "-in", "dir.csr", "-CA", "ca.pem", "-CAkey", "ca.key", "-out", "dir.pem", "-days", "2",
            "-extfile", "dir.ext")  # fmt: skip


class Place:
    """The ports and files of one scenario."""

    def __init__(self, folder, host, challenge):
        self.folder, self.host, self.challenge = folder, host, challenge
        names = ("directory", "management", "http", "tls", "dns", "dns_management")
        self.port = {name: free_port(host) for name in names}
        self.port["dns_management"] = free_port()
        self.data = os.path.join(folder, f"data-{challenge}-{len(host)}")
        self.log = os.path.join(folder, f"{challenge}-{len(host)}.log")
        self.hook = os.path.join(folder, "hook")

    def at(self, name):
        return f"[{self.host}]:{self.port[name]}" if ":" in self.host else f"{self.host}:{self.port[name]}"

    def pebble(self, looks_at=None):
        config = {
            "listenAddress": self.at("directory"),
            "managementListenAddress": self.at("management"),
            "certificate": os.path.join(self.folder, "dir.pem"),
            "privateKey": os.path.join(self.folder, "dir.key"),
            "httpPort": looks_at or self.port["http"],
            "tlsPort": looks_at or self.port["tls"],
            "ocspResponderURL": "",
            "externalAccountBindingRequired": False,
        }
        path = f"{self.log}.json"
        with open(path, "w", encoding="ascii") as file:
            json.dump({"pebble": config}, file)
        wanted = {"PEBBLE_VA_NOSLEEP": "1", "PEBBLE_WFE_NONCEREJECT": "50", "PEBBLE_AUTHZREUSE": "0"}
        command = ["pebble", "-config", path, "-dnsserver", f"127.0.0.1:{self.port['dns']}"]
        return process(command, f"{self.log}.pebble", env={**os.environ, **wanted})

    def dns(self):
        six = ":" in self.host
        return process(
            ["pebble-challtestsrv", "-http01", "", "-https01", "", "-tlsalpn01", "",
             "-dns01", f"127.0.0.1:{self.port['dns']}", "-management", f"127.0.0.1:{self.port['dns_management']}",
             "-defaultIPv4", "" if six else self.host, "-defaultIPv6", self.host if six else ""],
            f"{self.log}.dns",
        )  # fmt: skip

    def settings(self):
        # An array in the environment would need quotation marks as well.
        hook = json.dumps([self.hook, str(self.port["dns_management"])])
        sets = [
            "acme.agree=true", "acme.email=admin@chat.example", f"acme.directory=https://{self.at('directory')}/dir",
            f"acme.authority={self.folder}/ca.pem", f"acme.challenge={self.challenge}",
            f"acme.listen={self.at('http')}", f"web.listen={self.at('tls')}", f"acme.dns_command={hook}",
            "acme.dns_wait_secs=0", "s2s.enabled=false", f"host.0.domain={DOMAIN}",
        ]  # fmt: skip
        return ["--data-dir", self.data] + [word for one in sets for word in ("--set", one)]

    def stonechat(self, *words):
        done = subprocess.run([BINARY, *self.settings(), *words], capture_output=True, text=True, timeout=300)
        return done.returncode, done.stdout + done.stderr

    @contextlib.contextmanager
    def lab(self):
        with open(f"{self.log}.server", "ab") as log:
            command = [BINARY, "lab", "--domain", DOMAIN, *self.settings()]
            child = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=log, text=True)
        try:
            line = child.stdout.readline()
            assert line, f"the lab did not start: {open(f'{self.log}.server', encoding='utf-8').read()}"
            yield json.loads(line)
        finally:
            child.kill()
            child.wait()

    def root(self):
        """The root of this Pebble; the next one has another."""
        own = ssl.create_default_context(cafile=f"{self.folder}/ca.pem")
        with urllib.request.urlopen(f"https://{self.at('management')}/roots/0", context=own) as answer:
            return ssl.create_default_context(cadata=answer.read().decode())

    def ordered(self):
        until = time.monotonic() + PATIENCE
        while time.monotonic() < until:
            code, said = self.stonechat("cert", "list")
            if code == 0 and "by this server itself" not in said:
                return said
            time.sleep(0.1)
        raise AssertionError(f"no certificate: {said}\n{open(f'{self.log}.server', encoding='utf-8').read()[-3000:]}")


def stream(ready, context):
    """A stream over direct TLS that believes the authority, and the certificate that it saw."""
    host, _, port = ready["c2s_tls"].rpartition(":")
    connection = socket.create_connection((host.strip("[]"), int(port)), timeout=PATIENCE)
    secured = context.wrap_socket(connection, server_hostname=DOMAIN)
    secured.sendall(
        f"<stream:stream to='{DOMAIN}' version='1.0' xmlns='jabber:client' "
        "xmlns:stream='http://etherx.jabber.org/streams'>".encode()
    )
    read_until(secured, b"</stream:features>")
    return secured, secured.getpeercert()


def read_until(secured, end):
    got = b""
    while end not in got:
        some = secured.recv(65536)
        assert some, f"the stream ended after {got!r}"
        got += some


def gets_and_renews(place):
    with contextlib.ExitStack() as stack:
        stack.enter_context(place.dns())
        stack.enter_context(place.pebble())
        listening(place.host, place.port["directory"])
        ready = stack.enter_context(place.lab())
        listed = place.ordered()
        assert f"DNS:{DOMAIN}" in listed and f"DNS:conference.{DOMAIN}" in listed, listed
        root = place.root()
        kept, first = stream(ready, root)
        code, said = place.stonechat("cert", "renew", "--now")
        assert code == 0, said
        after, second = stream(ready, root)
        assert first["serialNumber"] != second["serialNumber"]
        names = {name for _, name in second["subjectAltName"]}
        assert {DOMAIN, f"upload.{DOMAIN}", f"pubsub.{DOMAIN}"} <= names, names
        for one in (kept, after):
            one.sendall(b"</stream:stream>")
            read_until(one, b"</stream:stream>")
        for file in ("account.key", "certificate.pem", "state.json"):
            mode = stat.S_IMODE(os.stat(os.path.join(place.data, "acme", file)).st_mode)
            assert mode == 0o600, (file, oct(mode))


def outlives_the_authority(place):
    """Another Pebble knows no account: ours is made anew with the same key. One that refuses changes nothing."""
    key = os.path.join(place.data, "acme", "account.key")
    before = open(key, encoding="ascii").read()
    with place.dns(), place.lab() as ready:
        with place.pebble(looks_at=free_port(place.host)):
            listening(place.host, place.port["directory"])
            code, said = place.stonechat("cert", "renew", "--now")
            assert code != 0 and f"{DOMAIN}: " in said and "port" in said, said
            code, said = place.stonechat("check")
            assert code != 0 and "acme: the last order failed" in said, said
        code, said = place.stonechat("cert", "renew", "--now")
        assert code != 0 and "cannot be reached" in said, said
        with place.pebble():
            listening(place.host, place.port["directory"])
            code, said = place.stonechat("cert", "renew", "--now")
            assert code == 0, said
            stream(ready, place.root())[0].close()
    assert open(key, encoding="ascii").read() == before


def main():
    tools = ("pebble", "pebble-challtestsrv", "openssl")
    if not all(map(shutil.which, tools)):
        print(f"skipped: needs {', '.join(tools)}")
        return 0
    failed = 0
    with tempfile.TemporaryDirectory() as folder:
        own_authority(folder)
        with open(os.path.join(folder, "hook"), "w", encoding="ascii") as file:
            file.write(HOOK)
        os.chmod(file.name, 0o700)
        for host, challenge, scenario in (
            ("127.0.0.1", "http-01", gets_and_renews),
            ("127.0.0.1", "http-01", outlives_the_authority),
            ("127.0.0.1", "tls-alpn-01", gets_and_renews),
            ("127.0.0.1", "dns-01", gets_and_renews),
            ("::1", "http-01", gets_and_renews),
        ):
            title = f"acme {host} {challenge} {scenario.__name__}"
            started = time.monotonic()
            try:
                scenario(Place(folder, host, challenge))
                print(f"ok     {title} ({time.monotonic() - started:.2f} s)", flush=True)
            except Exception as error:  # the next scenario is to run whatever this one met
                failed += 1
                print(f"FAILED {title}: {type(error).__name__}: {error}", flush=True)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
