"""What the interop scripts share: where the server is, and how a check is told."""

import asyncio
import json
import sys
import time


class Lab:
    """The ready line of `stonechat lab` (or a file of the same shape for another server)."""

    def __init__(self, path):
        with open(path, encoding="utf-8") as file:
            ready = json.load(file)
        self.domain = ready["domains"][0]
        self.ca = ready["ca"]
        self.starttls = address(ready["c2s"])
        self.direct = address(ready["c2s_tls"])

    def jid(self, name):
        return f"{name}@{self.domain}"

    def ways(self):
        return {"starttls": self.starttls, "direct": self.direct}


PASSWORD = "secret"
PATIENCE = 15  # seconds for any one thing


def address(text):
    host, _, port = text.rpartition(":")
    return host.strip("[]"), int(port)


async def within(awaitable, what):
    """Waits, but not for ever; says what did not come."""
    try:
        return await asyncio.wait_for(awaitable, PATIENCE)
    except asyncio.TimeoutError:
        raise AssertionError(f"timed out: {what}") from None


def main(name, scenarios):
    """Runs the scenarios (name, coroutine function of a lab and a way in) each way in."""
    lab = Lab(sys.argv[1])
    failed = 0
    for way in lab.ways():
        for scenario in scenarios:
            title = f"{name} {way} {scenario.__name__}"
            started = time.monotonic()
            try:
                asyncio.run(asyncio.wait_for(scenario(lab, way), 8 * PATIENCE))
                print(f"ok     {title} ({time.monotonic() - started:.2f} s)", flush=True)
            except asyncio.TimeoutError:
                failed += 1
                print(f"FAILED {title}: it took too long", flush=True)
            except Exception as error:  # the next scenario is to run whatever this one met
                failed += 1
                print(f"FAILED {title}: {type(error).__name__}: {error}", flush=True)
    sys.exit(1 if failed else 0)
