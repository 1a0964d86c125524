#!/usr/bin/env python3
"""make.py FOLDER [NAME…]: lets real Prosody (files; SQLite) and ejabberd (Mnesia; SQLite) of Debian be used by real
clients, and keeps what they stored: FOLDER/NAME is the data, FOLDER/NAME.json what clients saw of it.

Needs Debian's prosody, prosody-modules, lua-dbi-sqlite3, ejabberd and erlang-p1-sqlite3, and openssl. Ports 5223 and
5280 on loopback addresses of its own."""

import asyncio
import contextlib
import json
import os
import shutil
import socket
import sys
import tempfile
import time
import traceback

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

import old  # noqa: E402  (puts the bed of federation on the path)
import read  # noqa: E402
from ca import Authority  # noqa: E402
from life import PRIVATE, Town  # noqa: E402


class Bed:
    def __init__(self):
        self.folder = tempfile.mkdtemp(prefix="moving-")
        self.ca = Authority(os.path.join(self.folder, "ca"))
        names = sorted({name for kind in old.EVERY for name in (*kind.domains, kind.rooms_domain, kind.share)})
        self.chain = self.ca.sign("old.test", names)

    def close(self):
        shutil.rmtree(self.folder, ignore_errors=True)


def free_address():
    for third in range(2, 250):
        with contextlib.ExitStack() as probes:
            try:
                for port in (5223, 5280):
                    probe = probes.enter_context(socket.socket())
                    probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                    probe.bind((f"127.0.{third}.21", port))
                return f"127.0.{third}.21"
            except OSError:
                continue
    raise RuntimeError("no free loopback address")


async def see(town):
    """What clients see of it all."""
    seen = {"accounts": {}, "rooms": {}}
    for name in ("alice", "bob", "slix"):
        if name not in town.people:
            continue
        person = town.people[name].again("look")
        await person.log_in()
        seen["accounts"][person.bare] = await read.account(person, {**PRIVATE, "storage:bookmarks":
                                                                    "<storage xmlns='storage:bookmarks'/>"})
        for jid, room in town.record["rooms"].items():
            if room["owner"] == person.bare:
                seen["rooms"][jid] = await read.room(person, jid)
        await person.log_out()
    return seen


async def make(bed, kind, folder):
    server = kind(bed, free_address(), os.path.join(bed.folder, kind.name))
    server.trusted = bed.ca.certificate
    data = os.path.join(folder, kind.name)
    shutil.rmtree(data, ignore_errors=True)
    os.makedirs(data)
    await server.start()
    try:
        town = Town(server)
        await town.live()
        await town.close()
        town.record["seen"] = await see(town)
        if isinstance(server, old.Ejabberd):
            await server.command_of("ban_account", user="disabled", host="old.test", reason="spam")
            if server.database == "mnesia":
                await server.command_of("dump", file=os.path.join(data, "ejabberd.dump"))
                await server.command_of("export_piefxis", dir=data)
    except BaseException:
        sys.stderr.write(server.last(40))
        raise
    finally:
        await server.stop()
    if isinstance(server, old.Prosody):
        shutil.copytree(server.path("data"), data, dirs_exist_ok=True)
    elif server.database == "sql":
        shutil.copy(server.path("ejabberd.sqlite"), data)
    if os.path.isdir(server.path("upload")):
        shutil.copytree(server.path("upload"), os.path.join(data, "upload"))
    with open(data + ".json", "w", encoding="utf-8") as file:
        json.dump(town.record, file, indent=1, ensure_ascii=False, sort_keys=True)
    return town.record


async def main():
    folder, wanted = os.path.abspath(sys.argv[1]), sys.argv[2:]
    os.makedirs(folder, exist_ok=True)
    bed = Bed()
    try:
        for kind in old.EVERY:
            if wanted and kind.name not in wanted:
                continue
            started = time.monotonic()
            try:
                record = await make(bed, kind, folder)
            except Exception:  # the other servers are to be used all the same
                traceback.print_exc()
                continue
            print(f"{kind.name}: {len(record['passwords'])} accounts in {time.monotonic() - started:.1f} s; refused: "
                  f"{record['refused']}; failed: {record['failed']}", flush=True)
    finally:
        bed.close()


if __name__ == "__main__":
    if len(sys.argv) < 2:
        sys.exit(__doc__)
    asyncio.run(main())
