"""What a client can see of an account and of rooms, in a form that can be compared between two servers."""

import xml.etree.ElementTree as ET

from person import DISCO, PUBSUB, canonical
from wire import local

MUC = "http://jabber.org/protocol/muc"


async def account(person, private=()):
    """person: logged in. Each part is a map from a name to something that is equal when it is the same."""
    await person.settled()
    requests = {it.get("from").partition("/")[0]: True for it in person.has(
        lambda it: local(it) == "presence" and it.get("type") == "subscribe")}
    seen = {"requests": requests, "roster": await roster(person), "blocks": await blocks(person), "prefs": await prefs(person),
            "archive": archived(await person.archive()), "pep": await pep(person), "private": {},
            "vcard": await vcard(person)}
    for namespace, payload in dict(private).items():
        name = local(ET.fromstring(payload))
        answer = await person.ask("get", None, f"<query xmlns='jabber:iq:private'><{name} xmlns='{namespace}'/></query>")
        if answer.get("type") == "result" and len(answer[0]) and len(answer[0][0]):
            seen["private"][namespace] = canonical(answer[0][0])
        elif answer.get("type") == "result" and len(answer[0]) and answer[0][0].text:
            seen["private"][namespace] = canonical(answer[0][0])
    return seen


async def roster(person):
    answer = await person.iq("get", None, "<query xmlns='jabber:iq:roster'/>")
    found = {}
    for item in answer.iter("{jabber:iq:roster}item"):
        groups = sorted(it.text or "" for it in item)
        found[item.get("jid")] = [item.get("name") or "", item.get("subscription"), item.get("ask") or "", groups]
    return found


async def blocks(person):
    answer = await person.iq("get", None, "<blocklist xmlns='urn:xmpp:blocking'/>")
    return {it.get("jid"): True for it in answer.iter("{urn:xmpp:blocking}item")}


async def prefs(person):
    answer = await person.ask("get", None, "<prefs xmlns='urn:xmpp:mam:2'/>")
    if answer.get("type") != "result":
        return {}
    it = answer[0]
    found = {"default": it.get("default")}
    for kind in ("always", "never"):
        found[kind] = sorted(jid.text for part in it if local(part) == kind for jid in part)
    return found


def archived(messages):
    found = {}
    for number, stamp, message in messages:
        body = message.findtext("{jabber:client}body")
        subject = message.findtext("{jabber:client}subject")
        if body is None and subject is None and message.find("{eu.siacs.conversations.axolotl}encrypted") is None:
            continue
        key = f"{message.get('id')} {body if body is not None else subject}"
        found[key] = [stamp[:19], message.get("from"), (message.get("to") or "").partition("/")[0],
                      message.get("type") or "normal"]
    return found


async def pep(person):
    answer = await person.iq("get", person.bare, f"<query xmlns='{DISCO}'/>")
    found = {}
    for item in answer.iter(f"{{{DISCO}}}item"):
        node = item.get("node")
        if node is None:
            continue
        items = await person.ask("get", None, f"<pubsub xmlns='{PUBSUB}'><items node='{node}'/></pubsub>")
        for it in items.iter(f"{{{PUBSUB}}}item"):
            if len(it):
                found[f"{node} {it.get('id')}"] = canonical(it[0])
    return found


async def vcard(person):
    answer = await person.ask("get", None, "<vCard xmlns='vcard-temp'/>")
    if answer.get("type") != "result" or not len(answer):
        return {}
    return {local(it): "".join("".join(it.itertext()).split()) for it in answer[0] if local(it) in
            ("FN", "NICKNAME", "EMAIL", "PHOTO")}


async def room(owner, jid):
    """Of a room whose owner asks."""
    form = await owner.ask("get", jid, f"<query xmlns='{MUC}#owner'/>")
    config = {}
    for field in form.iter("{jabber:x:data}field"):
        values = [it.text or "" for it in field if local(it) == "value"]
        if field.get("var"):
            config[field.get("var")] = values
    affiliations = {}
    for kind in ("owner", "admin", "member", "outcast"):
        answer = await owner.ask("get", jid, f"<query xmlns='{MUC}#admin'><item affiliation='{kind}'/></query>")
        for item in answer.iter(f"{{{MUC}#admin}}item"):
            if item.get("jid"):
                affiliations[item.get("jid")] = kind
    owner.inbox.clear()
    archive = {}
    for _, stamp, message in await owner.archive(jid):
        body = message.findtext("{jabber:client}body")
        if body is not None:
            archive[body] = [stamp[:19], message.get("from")]
    return {"config": config, "affiliations": affiliations, "archive": archive}
