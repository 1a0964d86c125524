#!/usr/bin/env python3
"""pairs.py prosody|ejabberd|BINARY...: what a message from one server to another costs, in CPU.

For each named one (prosody, ejabberd, or the path of a Stonechat) two instances are started on loopback, with
certificates of one authority and so TLS and EXTERNAL between them, and without archive, carbons and logs. Clients of
the first, over TLS, send to clients of the second; each pair has so many messages under way (--window) that neither
server is idle for long. Printed is the CPU time, user and system, of all processes of each server, by 1,000 messages: that
is what survives a noisy machine. The clients' own time is not in it. Hold ratios of one run against each other, never
figures of two runs (design/peers.md)."""

import argparse
import asyncio
import os
import statistics
import sys
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

from bed import PROSODY, STONECHAT, Bed  # noqa: E402
from client import Client  # noqa: E402
from servers import Ejabberd, Prosody, Stonechat  # noqa: E402

TICK = os.sysconf("SC_CLK_TCK")


def cpu_seconds(server):
    """User and system time of its whole session of processes, with those that it waited for."""
    total = 0
    for entry in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open(f"/proc/{entry}/stat", encoding="utf-8", errors="replace") as file:
                fields = file.read().rpartition(")")[2].split()
        except OSError:
            continue
        if int(fields[3]) == server.process.pid:  # the session; fields begin behind the name
            total += sum(int(field) for field in fields[11:15])
    return total / TICK


class Counting(Client):
    """Counts messages instead of keeping them, and tells the sender."""

    def __init__(self, *arguments):
        super().__init__(*arguments)
        self.count, self.came = 0, asyncio.Event()

    async def take(self, element):
        if element.tag != "{jabber:client}message":
            await super().take(element)
        else:
            assert element.get("type") != "error", "a message came back"
            self.count += 1
            self.came.set()


async def send(sender, receiver, count, window):
    """`count` messages, of which at most `window` have not come yet."""
    first = receiver.count
    body = "x" * 100
    for number in range(count):
        while number - (receiver.count - first) >= window:
            receiver.came.clear()
            await asyncio.wait_for(receiver.came.wait(), 60)
        sender.send(f"<message type='chat' id='{number}' to='{receiver.jid}'><body>{body}</body></message>")
    while receiver.count - first < count:
        receiver.came.clear()
        await asyncio.wait_for(receiver.came.wait(), 60)


def instances(bed, what):
    """Two servers of a kind, a.test and b.test."""
    kinds = {"prosody": Prosody, "ejabberd": Ejabberd}
    kind = kinds.get(what, Stonechat)
    bed.binary = None if what in kinds else os.path.abspath(what)
    options = {"options": "s2s_secure_auth = true\n"} if kind is Prosody else {}
    return [bed.place(kind(bed, f"{letter}.test", bed.at(last), f"{kind.name}-{letter}", lean=True, **options))
            for letter, last in (("a", STONECHAT), ("b", PROSODY))]


async def measure(what, given):
    async with Bed() as bed:
        here, there = instances(bed, what)
        await asyncio.gather(here.start(), there.start())
        senders = [await Client(here, f"s{number}").log_in() for number in range(given.pairs)]
        receivers = [await Counting(there, f"r{number}").log_in() for number in range(given.pairs)]

        async def round_of(messages):
            each = messages // given.pairs
            await asyncio.gather(*(send(one, other, each, given.window) for one, other in zip(senders, receivers)))
            return each * given.pairs

        await round_of(given.messages // 10)  # the streams are open, and code is warm
        for _ in range(given.rounds):
            before, started = [cpu_seconds(server) for server in (here, there)], time.monotonic()
            done = await round_of(given.messages)
            took = time.monotonic() - started
            costs = [(cpu_seconds(server) - was) * 1000 / done for server, was in zip((here, there), before)]
            yield costs, done / took
        for client in (*senders, *receivers):
            client.cut()


async def collect(what, given):
    return [one async for one in measure(what, given)]


def report(given):
    print(f"{'server':<12} {'sends':>8} {'takes':>8} {'both':>8}   CPU seconds by 1,000 messages; messages/s")
    for what in given.servers:
        rounds = asyncio.run(collect(what, given))
        sends, takes = (statistics.median(costs[at] for costs, _ in rounds) for at in (0, 1))
        both = statistics.median(sum(costs) for costs, _ in rounds)
        rate = statistics.median(rate for _, rate in rounds)
        print(f"{os.path.basename(what):<12} {sends:>8.4f} {takes:>8.4f} {both:>8.4f}   {rate:.0f}/s", flush=True)


def main():
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("servers", nargs="+")
    arguments.add_argument("--messages", type=int, default=10_000, help="of a round")
    arguments.add_argument("--rounds", type=int, default=3)
    arguments.add_argument("--pairs", type=int, default=10, help="of clients")
    arguments.add_argument("--window", type=int, default=4, help="messages under way, of each pair")
    report(arguments.parse_args())


if __name__ == "__main__":
    main()
