#!/usr/bin/env python3
"""large.py FOLDER [ACCOUNTS MESSAGES]: data in the form of Prosody's files and of ejabberd's dump, for figures: 10,000
accounts and 1,000,000 archived messages if not told otherwise. Made up; what is real is in make.py."""

import base64
import hashlib
import hmac
import os
import random
import sys

HOST = "large.test"
WORDS = "the duck swims over a lake and nobody says why it does so on a cold day in march".split()


def keys(password, salt):
    salted = hashlib.pbkdf2_hmac("sha1", password.encode(), salt, 4096)
    stored = hashlib.sha1(hmac.digest(salted, b"Client Key", "sha1")).digest()
    return stored, hmac.digest(salted, b"Server Key", "sha1")


def prosody(folder, accounts, messages):
    root = os.path.join(folder, "prosody", HOST.replace(".", "%2e"))
    for store in ("accounts", "roster", "archive"):
        os.makedirs(os.path.join(root, store))
    salt = b"00000000-1111-2222-3333-444444444444"
    stored, server = keys("secret-word", salt)
    for at in range(accounts):
        with open(os.path.join(root, "accounts", f"u{at}.dat"), "w", encoding="ascii") as file:
            file.write(f'return {{\n\t["stored_key"] = "{stored.hex()}";\n\t["server_key"] = "{server.hex()}";\n'
                       f'\t["salt"] = "{salt.decode()}";\n\t["iteration_count"] = 4096;\n}};\n')
        with open(os.path.join(root, "roster", f"u{at}.dat"), "w", encoding="ascii") as file:
            file.write("return {\n\t[false] = {\n\t\t[\"version\"] = 1;\n\t};\n")
            for other in range(at + 1, at + 21):
                file.write(f'\t["u{other % accounts}@{HOST}"] = {{\n\t\t["subscription"] = "both";\n\t\t["groups"] = {{\n'
                           '\t\t\t["Friends"] = true;\n\t\t};\n\t};\n')
            file.write("};\n")
        with open(os.path.join(root, "archive", f"u{at}.list"), "w", encoding="ascii") as file:
            for number in range(messages // accounts):
                body = " ".join(random.choices(WORDS, k=12))
                file.write(f'item({{\n\t{{\n\t\t"{body}";\n\t\t["name"] = "body";\n\t\t["attr"] = {{}};\n\t}};\n'
                           f'\t["with"] = "u{(at + 1) % accounts}@{HOST}";\n\t["when"] = {1_700_000_000 + number};\n'
                           f'\t["key"] = "k{at}-{number}";\n\t["name"] = "message";\n\t["attr"] = {{\n'
                           f'\t\t["type"] = "chat";\n\t\t["id"] = "m{number}";\n\t\t["from"] = "u{at}@{HOST}/r";\n'
                           f'\t\t["to"] = "u{(at + 1) % accounts}@{HOST}";\n\t}};\n}});\n')


def ejabberd(folder, accounts, messages):
    salt = b"0123456789abcdef"
    stored, server = (base64.b64encode(it).decode() for it in keys("secret-word", salt))
    with open(os.path.join(folder, "ejabberd.dump"), "w", encoding="ascii") as file:
        file.write("{tables,[]}.\n")
        for at in range(accounts):
            file.write(f'{{passwd,{{<<"u{at}">>,<<"{HOST}">>}},{{scram,<<"{stored}">>,<<"{server}">>,'
                       f'<<"{base64.b64encode(salt).decode()}">>,sha,4096}}}}.\n')
        for at in range(accounts):
            for other in range(at + 1, at + 21):
                jid = f'{{<<"u{other % accounts}">>,<<"{HOST}">>,<<>>}}'
                us = f'{{<<"u{at}">>,<<"{HOST}">>}}'
                file.write(f'{{roster,{{<<"u{at}">>,<<"{HOST}">>,{jid}}},{us},{jid},<<>>,both,none,[<<"Friends">>],<<>>,[]}}.\n')
        for number in range(messages // accounts):
            for at in range(accounts):
                body = " ".join(random.choices(WORDS, k=12))
                seconds = 700_000_000 + number
                file.write(
                    f'{{archive_msg,{{<<"u{at}">>,<<"{HOST}">>}},<<"1{seconds}000000">>,{{1{seconds // 1_000_000},'
                    f'{seconds % 1_000_000},0}},a,b,\n    {{xmlel,<<"message">>,[{{<<"to">>,<<"u{at + 1}@{HOST}">>}},'
                    f'{{<<"from">>,<<"u{at}@{HOST}/r">>}},{{<<"type">>,<<"chat">>}},{{<<"id">>,<<"m{number}">>}}],\n'
                    f'        [{{xmlel,<<"body">>,[],[{{xmlcdata,<<"{body}">>}}]}}]}},\n    <<>>,chat}}.\n')


def main():
    folder = sys.argv[1]
    accounts, messages = (int(it) for it in (sys.argv[2:] or (10_000, 1_000_000)))
    os.makedirs(folder)
    prosody(folder, accounts, messages)
    ejabberd(folder, accounts, messages)


if __name__ == "__main__":
    main()
