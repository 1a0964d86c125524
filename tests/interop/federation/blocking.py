"""Blocking of people and servers elsewhere (XEP-0191). To bare addresses: Prosody drops what is for full ones."""

from checks import caught_up, contacts, pair
from client import body_of
from wire import condition, local, text_of

NS = "urn:xmpp:blocking"


def block(who, *jids, verb="block"):
    items = "".join(f"<item jid='{jid}'/>" for jid in jids)
    return who.iq("set", None, f"<{verb} xmlns='{NS}'>{items}</{verb}>")


@pair()
async def of_a_person(bed, home, away):
    here, there = await contacts(bed, home, away)
    other = await bed.online(away)
    await block(here, there.bare)
    if home.name != "ejabberd":  # 23.01 leaves out what §3.3 demands
        await there.presence_from(here.jid, "unavailable")
    error = await there.bounced(there.say(here.bare, "are you there?"))
    assert condition(error) == "service-unavailable", text_of(error)
    got = await there.ask("get", here.jid, "<ping xmlns='urn:xmpp:ping'/>")
    assert condition(got) == "service-unavailable", text_of(got)
    error = await here.bounced(here.say(there.jid, "I blocked you"))
    assert condition(error) == "not-acceptable", text_of(error)
    there.send("<presence><status>seen by nobody</status></presence>")
    there.send(f"<presence type='subscribe' to='{here.bare}'/>")
    await there.iq("get", home.domain, "<ping xmlns='urn:xmpp:ping'/>")
    await caught_up(other, here)
    seen = here.has(lambda it: it.get("from", "").startswith(there.bare) and it.get("type") != "error"
                    and (local(it) == "presence" and "seen by nobody" in text_of(it) or body_of(it) is not None))
    assert not seen, text_of(seen[0])
    await block(here, there.bare, verb="unblock")
    if home.name != "ejabberd":
        await there.presence_from(here.jid)
    there.say(here.jid, "again")
    await here.hears("again")


@pair()
async def of_a_domain(bed, home, away):
    here, there = await bed.online(home), await bed.online(away)
    await block(here, away.domain)
    error = await there.bounced(there.say(here.bare, "are you there?"))
    assert condition(error) == "service-unavailable", text_of(error)
    await block(here, away.domain, verb="unblock")
    there.say(here.jid, "now?")
    await here.hears("now?")
