"""What the scripts of components share: a lab with a component, and how a check is told."""

import asyncio
import inspect
import json
import subprocess
import sys
import tempfile
import time

from common import PASSWORD, Lab
from slix import User

SECRET = "5b1c7e94d02f4aa8b6d3"
DOMAIN = "irc.localhost"


class Person(User):
    """A client of any slixmpp: before 1.9, as Debian has it, an address is a pair, and it fails by one mechanism before
    it logs in by another."""

    def add_event_handler(self, name, handler, **options):
        if name != "failed_auth":
            super().add_event_handler(name, handler, **options)

    def connect(self, host=None, port=None, **options):
        parent = super().connect
        if "address" in inspect.signature(parent).parameters:
            return parent((host, port), **options)
        return parent(host, port, **options)


class Bridged:
    """A lab of this binary with a component at DOMAIN, for the time of a `with`."""

    def __init__(self, more=""):
        self.more = more

    def __enter__(self):
        component = f'component=[{{domain="{DOMAIN}",secret="{SECRET}",name="IRC"{self.more}}}]'
        users = [f"--user={name}@localhost:{PASSWORD}" for name in ("alice", "bob")]
        settings = ["sasl.iterations=4096", component]
        self.folder = tempfile.TemporaryDirectory()
        self.log = open(f"{self.folder.name}/log", "w+", encoding="utf-8")
        self.process = subprocess.Popen(
            [sys.argv[1], "lab", "--domain", "localhost", *users]
            + [word for setting in settings for word in ("--set", setting)],
            stdout=subprocess.PIPE, stderr=self.log, text=True)
        line = self.process.stdout.readline()
        path = f"{self.folder.name}/ready.json"
        with open(path, "w", encoding="utf-8") as file:
            file.write(line)
        self.lab = Lab(path)
        host, _, port = json.loads(line)["components"].rpartition(":")
        self.address = (host, int(port))
        return self

    async def connected(self):
        """Waits for the component."""
        for _ in range(300):
            with open(self.log.name, encoding="utf-8") as log:
                if "a component is connected" in log.read():
                    return
            await asyncio.sleep(0.05)
        raise AssertionError("the component does not connect")

    def __exit__(self, kind, error, trace):
        self.process.kill()
        self.process.wait()
        if error:
            self.log.seek(0)
            print(self.log.read()[-3000:], file=sys.stderr)
        self.log.close()
        self.folder.cleanup()


def run(name, scenarios):
    """Runs coroutine functions without arguments; the exit code says whether all went well."""
    failed = 0
    for scenario in scenarios:
        title, started = f"{name} {scenario.__name__}", time.monotonic()
        try:
            asyncio.run(asyncio.wait_for(scenario(), 90))
            print(f"ok     {title} ({time.monotonic() - started:.2f} s)", flush=True)
        except Exception as error:  # the next scenario is to run whatever this one met
            failed += 1
            print(f"FAILED {title}: {type(error).__name__}: {error}", flush=True)
    sys.exit(1 if failed else 0)
