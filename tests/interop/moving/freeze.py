#!/usr/bin/env python3
"""freeze.py FOLDER: makes the samples in tests/fixtures/moving of what make.py made in FOLDER. Databases become compressed
SQL."""

import gzip
import io
import json
import os
import re
import shutil
import sqlite3
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
SAMPLES = os.path.join(HERE, "..", "..", "fixtures", "moving")
# Tables that no reader asks for, and stores that say nothing of people.
TABLES = re.compile(r"(motd|caps_|sm$|oauth|route$|bosh|proxy65|push_|mix_|mqtt|sr_|last$|vcard_search|muc_online|sqlite_)")
STORES = ("archive_cleanup", "muc_log_cleanup")


def sql(database, into):
    with sqlite3.connect(database) as db, gzip.GzipFile(into, "wb", mtime=0) as packed, \
            io.TextIOWrapper(packed, encoding="utf-8") as file:
        for name, text in db.execute("SELECT name, sql FROM sqlite_master WHERE type = 'table' ORDER BY name").fetchall():
            if TABLES.match(name):
                continue
            file.write(re.sub(r"\s+", " ", text) + ";\n")
            for row in db.execute(f'SELECT * FROM "{name}"'):
                values = ", ".join(literal(value) for value in row)
                file.write(f'INSERT INTO "{name}" VALUES ({values});\n')


def literal(value):
    if value is None:
        return "NULL"
    return str(value) if isinstance(value, (int, float)) else "'" + str(value).replace("'", "''") + "'"


def main(folder):
    shutil.rmtree(SAMPLES, ignore_errors=True)
    os.makedirs(SAMPLES)
    shutil.copytree(os.path.join(folder, "prosody"), os.path.join(SAMPLES, "prosody"),
                    ignore=shutil.ignore_patterns(*STORES))
    sql(os.path.join(folder, "prosody-sqlite", "prosody.sqlite"), os.path.join(SAMPLES, "prosody.sql.gz"))
    shutil.copy(os.path.join(folder, "ejabberd", "ejabberd.dump"), SAMPLES)
    sql(os.path.join(folder, "ejabberd-sqlite", "ejabberd.sqlite"), os.path.join(SAMPLES, "ejabberd.sql.gz"))
    for name in ("prosody", "prosody-sqlite", "ejabberd", "ejabberd-sqlite"):
        with open(os.path.join(folder, f"{name}.json"), encoding="utf-8") as file:
            record = json.load(file)
        for room in record["seen"]["rooms"].values():
            room["config"] = {key: value for key, value in room["config"].items()
                              if key in ("muc#roomconfig_roomname", "muc#roomconfig_whois")}
        for account in record["seen"]["accounts"].values():
            account["pep"] = dict.fromkeys(account["pep"], True)
            account["archive"] = {key[:40]: True for key in account["archive"]}
        record.pop("refused")
        with open(os.path.join(SAMPLES, f"{name}.json"), "w", encoding="utf-8") as file:
            json.dump(record, file, ensure_ascii=False, sort_keys=True, separators=(",", ":"))
            file.write("\n")
    size = sum(os.path.getsize(os.path.join(at, name)) for at, _, names in os.walk(SAMPLES) for name in names)
    print(f"{size} bytes")


if __name__ == "__main__":
    main(os.path.abspath(sys.argv[1]))
