#!/usr/bin/env python3
"""run.py BINARY [--only NAME]: federation of a Stonechat with real Prosody and ejabberd of Debian.

BINARY `-`: Prosody and ejabberd with each other, to see whether the bed stands.
--only NAME: checks with NAME in their titles (`rosters`, `messages.order_of_200`, `stonechat>prosody`).
Each check is a line: ok, skipped, excused (another server's fault, and no failure) or FAILED. FEDERATION_KEEP=1 keeps the folder with the logs.
Needs Debian's prosody, lua-unbound and ejabberd, openssl, and Python 3.11 without packages. Ports: 5223, 5269, 5270,
5299, 5300 and 5301 on loopback addresses of its own (bed.py)."""

import argparse
import asyncio
import importlib
import os
import shutil
import signal
import sys
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

from bed import Bed  # noqa: E402
from checks import CHECKS  # noqa: E402
from wire import Excused, Skip  # noqa: E402

MODULES = ("messages", "rosters", "presences", "iqs", "archives", "blocking", "pep", "rooms", "names", "trust",
           "streams", "hostile", "outage")
BUDGET = 240  # seconds in all; where much fails, each failure waits for what does not come
AT_ONCE = 8  # checks that run side by side: most of their time is waiting


def plan(only, subjects, pairs):
    """(title, check, arguments) of all that is to run."""
    for check in CHECKS:
        arguments = pairs if check.pair else [(subject,) for subject in subjects]
        for servers in arguments:
            title = f"{check.name} {'>'.join(server.name for server in servers)}"
            if check.fits(servers[0]) and (only is None or only in title):
                yield title, check, servers


async def judge(bed, title, check, servers):
    """Runs one; whether it is no failure."""
    started = time.monotonic()
    if started > bed.deadline:
        print(f"FAILED  {title}: not run, the time is over", flush=True)
        return False
    opened = bed.opened.set(clients := [])
    try:
        await asyncio.wait_for(check.function(bed, *servers), check.patience)
        print(f"ok      {title} ({time.monotonic() - started:.2f} s)", flush=True)
        return True
    except Skip as why:
        print(f"skipped {title}: {why}", flush=True)
        return True
    except Excused as why:
        print(f"excused {title}: {why}", flush=True)
        return True
    except asyncio.TimeoutError:
        print(f"FAILED  {title}: it took too long", flush=True)
    except Exception as error:  # the others are to run whatever this one met
        print(f"FAILED  {title}: {type(error).__name__}: {error}", flush=True)
    finally:
        bed.opened.reset(opened)
        for client in clients:
            client.cut()
    return False


async def run(binary, only):
    # Whoever ends this by a signal is left with no servers either.
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, asyncio.current_task().cancel)
    async with Bed(binary) as bed:
        prosody, ejabberd = bed.prosody(), bed.ejabberd()
        bed.loose()
        if binary:
            home = bed.stonechat()
            bed.second()
            subjects = [home]
            pairs = [(home, prosody), (prosody, home), (home, ejabberd), (ejabberd, home)]
        else:
            subjects, pairs = [prosody, ejabberd], [(prosody, ejabberd), (ejabberd, prosody)]
        try:
            await asyncio.gather(*(server.start() for server in bed.servers))
        except RuntimeError as error:
            print(f"FAILED  {error}", flush=True)
            return 1
        bed.deadline = time.monotonic() + BUDGET
        todo = list(plan(only, subjects, pairs))
        if not todo:
            print(f"there is no check with {only!r} in its title", file=sys.stderr)
            return 2
        gate = asyncio.Semaphore(AT_ONCE)

        async def gated(item):
            async with gate:
                return await judge(bed, *item)

        beside = [item for item in todo if not item[1].alone]
        results = await asyncio.gather(*(gated(item) for item in beside))
        results += [await judge(bed, *item) for item in todo if item[1].alone]
        # On a busy machine the other servers miss a deadline now and then: once more, with nothing beside it.
        order = beside + [item for item in todo if item[1].alone]
        again = [at for at, passed in enumerate(results) if not passed]
        if again:
            bed.deadline = time.monotonic() + BUDGET / 2
            print(f"federation: {len(again)} once more, alone", flush=True)
        for at in again:
            results[at] = await judge(bed, *order[at])
        failed = results.count(False)
        if failed:
            for server in bed.servers:
                sys.stderr.write(f"==== {server.name} {server.domain}\n{server.last(20)}")
        print(f"federation: {len(results)} checks, {failed} failed", flush=True)
        return 1 if failed else 0


def main():
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("binary")
    arguments.add_argument("--only")
    given = arguments.parse_args()
    missing = [name for name in ("prosody", "erl", "openssl") if shutil.which(name) is None]
    if missing:
        print(f"skipped federation: needs {', '.join(missing)}")
        return 0
    for name in MODULES:
        importlib.import_module(name)
    started = time.monotonic()
    code = asyncio.run(run(None if given.binary == "-" else given.binary, given.only))
    print(f"federation took {time.monotonic() - started:.0f} s")
    return code


if __name__ == "__main__":
    sys.exit(main())
