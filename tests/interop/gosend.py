"""go-sendxmpp: a command that sends, or listens, verified against the lab's CA.

Skipped, with a word, where it is not installed.
"""

import os
import shutil
import subprocess
import sys
import time

from common import PASSWORD, PATIENCE, Lab

WAYS = {"starttls": [], "direct": ["--tls"]}


def command(lab, way, name, *more, password=PASSWORD):
    host, port = lab.ways()[way]
    who = ["-u", lab.jid(name), "-p", password, "-j", f"{host}:{port}"]
    return ["go-sendxmpp", *who, *WAYS[way], *more]


def say(lab, way, text, ca=None, password=PASSWORD):
    """Alice sends to bob; whether that worked, and what was said."""
    done = subprocess.run(
        command(lab, way, "alice", lab.jid("bob"), password=password),
        input=text,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        env={**os.environ, "SSL_CERT_FILE": ca or lab.ca},
        check=False,
    )
    return done.returncode == 0, done.stderr


class Listener:
    """Bob, who prints what comes."""

    def __init__(self, lab, way):
        self.process = subprocess.Popen(
            command(lab, way, "bob", "--listen"),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env={**os.environ, "SSL_CERT_FILE": lab.ca},
        )
        os.set_blocking(self.process.stdout.fileno(), False)
        self.heard = ""

    def hears(self, text):
        end = time.monotonic() + PATIENCE
        while time.monotonic() < end:
            self.heard += (self.process.stdout.read() or b"").decode()
            if text in self.heard:
                return
            time.sleep(0.05)
        raise AssertionError(f"bob does not hear {text!r}, but: {self.heard}")

    def close(self):
        self.process.kill()
        self.process.wait()


def a_foreign_ca_is_refused(lab, way):
    sent, told = say(lab, way, "no", ca=os.devnull)
    assert not sent and "certificate" in told, told


def a_wrong_password_is_refused(lab, way):
    sent, told = say(lab, way, "no", password="wrong")
    assert not sent, told


def messages_at_once_and_later(lab, way):
    sent, told = say(lab, way, f"while away {way}")
    assert sent, told
    bob = Listener(lab, way)
    try:
        bob.hears(f"while away {way}")
        sent, told = say(lab, way, f"kůň {way}")
        assert sent, told
        bob.hears(f"kůň {way}")
    finally:
        bob.close()


def main():
    lab = Lab(sys.argv[1])
    if not shutil.which("go-sendxmpp"):
        print("skipped go-sendxmpp: not installed")
        return
    failed = 0
    for way in WAYS:
        for scenario in (a_foreign_ca_is_refused, a_wrong_password_is_refused, messages_at_once_and_later):
            title, started = f"go-sendxmpp {way} {scenario.__name__}", time.monotonic()
            try:
                scenario(lab, way)
                print(f"ok     {title} ({time.monotonic() - started:.2f} s)", flush=True)
            except (AssertionError, subprocess.TimeoutExpired) as error:
                failed += 1
                print(f"FAILED {title}: {error}", flush=True)
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
