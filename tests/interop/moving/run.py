#!/usr/bin/env python3
"""run.py BINARY [--data FOLDER] [--only NAME]: moving in from real Prosody and ejabberd of Debian, with the data that
real clients made there (make.py; FOLDER: what it made before).

For each server: a dry run, the import, then real clients log in with their OLD passwords by SCRAM, and what they see is
compared with what they saw before: so many of so many, for each kind of thing. The import is run once more: nothing
may be new. A line that is less than all, and is not expected to be (LESS), is a failure."""

import argparse
import asyncio
import json
import os
import shutil
import sys
import tempfile

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

import make  # noqa: E402
import old  # noqa: E402
import read  # noqa: E402
from life import PRIVATE  # noqa: E402
from person import Person  # noqa: E402

PARTS = ("roster", "requests", "archive", "pep", "private", "blocks", "prefs", "vcard")
# How the old server's data is named to the import, and what cannot all be there afterwards, with the reason.
SOURCES = {
    "prosody": ("prosody:{0}", {}),
    "prosody-sqlite": ("prosody:{0}", {}),
    "ejabberd": ("ejabberd:{0}/ejabberd.dump", {}),
    "ejabberd-sqlite": ("ejabberd:{0}/ejabberd.sqlite", {}),
}
# Settings of rooms that mean the same everywhere.
SETTINGS = ("roomname", "roomdesc", "persistentroom", "publicroom", "membersonly", "moderatedroom", "whois",
            "changesubject", "passwordprotectedroom", "roomsecret", "allowinvites")


class Tally:
    """So many of so many, by name."""

    def __init__(self):
        self.lines = {}

    def add(self, name, before, after, same=lambda a, b: a == b):
        good, missing = 0, []
        for key, value in before.items():
            if key in after and same(value, after[key]):
                good += 1
            else:
                missing.append(f"{key}: {str(value)[:200]} became {str(after.get(key, 'nothing'))[:200]}")
        had, all_, lost = self.lines.get(name, (0, 0, []))
        self.lines[name] = (had + good, all_ + len(before), lost + missing)

    def show(self, less):
        failed = 0
        for name, (good, all_, lost) in self.lines.items():
            fine = good == all_ or name in less
            failed += not fine
            print(f"{'ok     ' if fine else 'FAILED '} {name}: {good} of {all_}", flush=True)
            for line in lost[:6]:
                print(f"          {line}", flush=True)
        return failed


def settings(room):
    found = {}
    for name in SETTINGS:
        values = room["config"].get(f"muc#roomconfig_{name}")
        if values is not None and values != [] and values != [""]:
            found[name] = [{"true": "1", "false": "0"}.get(it, it) for it in values]
    return found


async def compare(server, record):
    tally = Tally()
    hosts = {host.domain: host for host in server.hosts()}
    logins = {}
    for jid, password in record["passwords"].items():
        if jid in record["disabled"]:
            continue
        name, domain = jid.split("@")
        person = Person(hosts[domain], name, password)
        done = [await person.can_log_in(mechanism) for mechanism in ("SCRAM-SHA-256", "SCRAM-SHA-1")]
        logins[jid] = any(done)
    tally.add("logins by SCRAM with the old password", {jid: True for jid in logins}, logins)
    after = {}
    for jid, before in record["seen"]["accounts"].items():
        name, domain = jid.split("@")
        person = Person(hosts[domain], name, record["passwords"][jid], "look")
        await person.log_in()
        seen = await read.account(person, {**PRIVATE, "storage:bookmarks": "<storage xmlns='storage:bookmarks'/>"})
        for part in PARTS:
            tally.add(part, before[part], seen[part])
        after[jid] = person
    for jid, before in record["seen"]["rooms"].items():
        owner = after[record["rooms"][jid]["owner"]]
        seen = await read.room(owner, jid)
        tally.add("room settings", settings(before), settings(seen))
        for part in ("affiliations", "archive"):
            tally.add(f"room {part}", before[part], seen[part])
    for person in after.values():
        await person.log_out()
    for jid, bodies in record["offline"].items():
        name, domain = jid.split("@")
        person = Person(hosts[domain], name, record["passwords"][jid])
        await person.log_in()
        await person.settled()
        got = {it.findtext("{jabber:client}body"): True for it in person.has(lambda it: True)}
        tally.add("waiting messages", {body: True for body in bodies}, got)
        await person.log_out()
    return tally


async def move(bed, name, folder):
    source, less = SOURCES[name]
    source = source.format(os.path.join(folder, name))
    with open(os.path.join(folder, f"{name}.json"), encoding="utf-8") as file:
        record = json.load(file)
    domains = sorted({jid.split("@")[1] for jid in record["passwords"]}, key=len)
    server = old.Stonechat(bed, make.free_address(), os.path.join(bed.folder, f"to-{name}"), domains)
    server.trusted = bed.ca.certificate
    print(f"==== {source}", flush=True)
    failed = 0
    for more in (["--dry-run"], [], []):
        code, said = server.import_from(source, *more)
        print("\n".join(f"  | {line}" for line in said.splitlines()[:80]), flush=True)
        failed += code != 0
    await server.start()
    try:
        tally = await compare(server, record)
    except BaseException:
        sys.stderr.write(server.last(40))
        raise
    finally:
        await server.stop()
    return failed + tally.show(less)


async def main():
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("binary")
    arguments.add_argument("--data")
    arguments.add_argument("--only")
    given = arguments.parse_args()
    missing = [name for name in ("prosody", "erl", "openssl") if shutil.which(name) is None]
    if missing and not given.data:
        print(f"skipped moving: needs {', '.join(missing)}")
        return 0
    bed = make.Bed()
    bed.binary = os.path.abspath(given.binary)
    folder = given.data or tempfile.mkdtemp(dir=bed.folder)
    failed = 0
    try:
        for kind in old.EVERY:
            if given.only and given.only != kind.name:
                continue
            if not given.data:
                await make.make(bed, kind, folder)
            failed += await move(bed, kind.name, folder)
    finally:
        bed.close()
    print(f"moving: {failed} failed", flush=True)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))
