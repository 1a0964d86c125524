#!/usr/bin/env python3
"""Writes a file of XEP-0227 of any size, to measure `stonechat import` with.

    benches/moving/make.py [ACCOUNTS [MESSAGES]] > big.xml      10,000 and 1,000,000 unless it is said
    stonechat --data-dir new --set host.0.domain=x.example import --from xep0227:big.xml

Each account has keys of SCRAM-SHA-1 for the password `pass`, ten contacts, a vCard, a node with two items, a bookmark,
and its share of the messages, in order, over the last 300 days.
"""

import base64
import datetime
import hashlib
import hmac
import sys

ROUNDS = 10_000


def keys():
    salt = b"0123456789abcdef"
    salted = hashlib.pbkdf2_hmac("sha1", b"pass", salt, ROUNDS)
    key = lambda name: hmac.new(salted, name, "sha1").digest()
    stored = hashlib.sha1(key(b"Client Key")).digest()
    text = lambda value: base64.b64encode(value).decode()
    return (
        "<scram-credentials xmlns='urn:xmpp:pie:0#scram' mechanism='SCRAM-SHA-1'>"
        f"<iter-count>{ROUNDS}</iter-count><salt>{text(salt)}</salt>"
        f"<server-key>{text(key(b'Server Key'))}</server-key><stored-key>{text(stored)}</stored-key>"
        "</scram-credentials>"
    )


def account(out, number, accounts, messages, start, step):
    own = f"user{number}@x.example"
    others = [f"user{(number + n) % accounts}@x.example" for n in range(1, 11)]
    out.write(f"<user name='user{number}'>{keys_text}<query xmlns='jabber:iq:roster'>")
    for n, other in enumerate(others):
        out.write(f"<item jid='{other}' name='Friend {n}' subscription='both'><group>G{n % 3}</group></item>")
    out.write("</query><archive xmlns='urn:xmpp:pie:0#mam'>\n")
    for n in range(messages):
        at = (start + step * n).strftime("%Y-%m-%dT%H:%M:%SZ")
        other = others[n % len(others)]
        sender, to = (own, other) if n % 2 else (other, own)
        out.write(
            f"<result xmlns='urn:xmpp:mam:2' id='{number}-{n}'><forwarded xmlns='urn:xmpp:forward:0'>"
            f"<delay xmlns='urn:xmpp:delay' stamp='{at}'/><message xmlns='jabber:client' type='chat' id='m{n}' "
            f"from='{sender}/r' to='{to}'><body>Message {n} of {number}: nothing much, but of the length that people "
            "write when they have something to say.</body></message></forwarded></result>\n"
        )
    out.write(
        f"</archive><vCard xmlns='vcard-temp'><FN>User {number}</FN></vCard>"
        "<pubsub xmlns='http://jabber.org/protocol/pubsub'><items node='urn:example:n'>"
        "<item id='1'><e xmlns='urn:e'>1</e></item></items><items node='urn:xmpp:bookmarks:1'>"
        "<item id='r@conference.x.example'><conference xmlns='urn:xmpp:bookmarks:1' autojoin='true'/></item>"
        "</items></pubsub></user>\n"
    )


accounts, messages = (int(text) for text in (sys.argv[1:] + ["10000", "1000000"][len(sys.argv) - 1 :])[:2])
keys_text = keys()
each = messages // accounts
days = datetime.timedelta(days=300)
start = datetime.datetime.now(datetime.timezone.utc) - days
out = sys.stdout
out.write("<?xml version='1.0' encoding='UTF-8'?>\n<server-data xmlns='urn:xmpp:pie:0'><host jid='x.example'>\n")
for number in range(accounts):
    account(out, number, accounts, each, start, days / max(each, 1))
out.write("</host></server-data>\n")
