"""Subscriptions between servers: RFC 6121 §3, each flow with what both rosters say of it."""

from checks import caught_up, contacts, pair, subscribe
from client import bare
from wire import Skip, local, text_of


@pair()
async def asked_and_approved(bed, home, away):
    here, there = await bed.online(home), await bed.online(away)
    here.send(f"<presence type='subscribe' to='{there.bare}'><status>please</status></presence>")
    await here.pushed(there.bare, "none", "subscribe")
    await there.presence_from(here.bare, "subscribe")
    there.send(f"<presence type='subscribed' to='{here.bare}'/>")
    await there.pushed(here.bare, "from")
    await here.pushed(there.bare, "to")
    await here.presence_from(there.jid)
    there.send(f"<presence type='subscribe' to='{here.bare}'/>")
    await here.presence_from(there.bare, "subscribe")
    here.send(f"<presence type='subscribed' to='{there.bare}'/>")
    await there.pushed(here.bare, "both")
    await here.pushed(there.bare, "both")
    await there.presence_from(here.jid)
    assert (await here.roster())[there.bare] == ("both", None)
    assert (await there.roster())[here.bare] == ("both", None)


@pair()
async def asked_while_away(bed, home, away):
    """§3.1.3: the request waits for whoever is offline, and is there at each login until it is answered."""
    here, there = await bed.online(home), await bed.online(away)
    await there.log_out()
    here.send(f"<presence type='subscribe' to='{there.bare}'/>")
    await here.pushed(there.bare, "none", "subscribe")
    await here.iq("get", away.domain, "<ping xmlns='urn:xmpp:ping'/>")
    for _ in range(2):
        await there.log_in(register=False)
        await there.presence_from(here.bare, "subscribe")
        await there.log_out()
    await here.log_out()
    await there.log_in(register=False)
    await there.presence_from(here.bare, "subscribe")
    there.send(f"<presence type='subscribed' to='{here.bare}'/>")
    await there.pushed(here.bare, "from")
    await there.iq("get", home.domain, "<ping xmlns='urn:xmpp:ping'/>")
    await here.log_in(register=False)
    assert (await here.roster())[there.bare] == ("to", None)
    await here.presence_from(there.jid)


@pair()
async def approved_beforehand(bed, home, away):
    """§3.4: the request is answered by home, with nobody asked."""
    here = await bed.online(home)
    if not any("pre-approval" in feature for feature in here.features):
        raise Skip(f"{home.name} does not know pre-approval")
    there = await bed.online(away)
    here.send(f"<presence type='subscribed' to='{there.bare}'/>")
    await here.expect(lambda it: it.get("type") == "set" and there.bare in text_of(it), "a push")
    there.send(f"<presence type='subscribe' to='{here.bare}'/>")
    await there.presence_from(here.bare, "subscribed")
    await there.presence_from(here.jid)
    await there.pushed(here.bare, "to")
    await here.pushed(there.bare, "from")
    assert not here.has(lambda it: it.get("type") == "subscribe"), "it was asked all the same"


@pair()
async def denied(bed, home, away):
    here, there = await bed.online(home), await bed.online(away)
    here.send(f"<presence type='subscribe' to='{there.bare}'/>")
    await there.presence_from(here.bare, "subscribe")
    there.send(f"<presence type='unsubscribed' to='{here.bare}'/>")
    await here.presence_from(there.bare, "unsubscribed")
    assert (await here.roster())[there.bare] == ("none", None)
    assert (await there.roster()).get(here.bare, ("none", None)) == ("none", None)


@pair()
async def cancelled(bed, home, away):
    """§3.2: whoever gave the subscription takes it back."""
    here, there = await contacts(bed, home, away)
    there.send(f"<presence type='unsubscribed' to='{here.bare}'/>")
    await here.presence_from(there.bare, "unsubscribed")
    await here.presence_from(there.jid, "unavailable")
    await here.pushed(there.bare, "from")
    await there.pushed(here.bare, "to")
    there.send("<presence><status>not for you</status></presence>")
    await caught_up(there, here)
    assert not here.has(lambda it: local(it) == "presence" and "not for you" in text_of(it)), "presence went on"


@pair()
async def given_up(bed, home, away):
    """§3.3: whoever has the subscription gives it up."""
    here, there = await contacts(bed, home, away)
    here.send(f"<presence type='unsubscribe' to='{there.bare}'/>")
    await there.presence_from(here.bare, "unsubscribe")
    await there.pushed(here.bare, "to")
    if away.name != "prosody":  # 0.12 leaves out what §3.3.3 demands of the contact's server
        await here.presence_from(there.jid, "unavailable")
    assert (await here.roster())[there.bare] == ("from", None)
    there.send("<presence><status>not for you</status></presence>")
    await caught_up(there, here)
    assert not here.has(lambda it: local(it) == "presence" and "not for you" in text_of(it)), "presence went on"


@pair()
async def removed(bed, home, away):
    """§2.5.2: who is taken off the roster loses both ways."""
    here, there = await contacts(bed, home, away)
    await here.iq("set", None, f"<query xmlns='jabber:iq:roster'><item jid='{there.bare}' subscription='remove'/>"
                  "</query>")
    for kind in ("unsubscribe", "unsubscribed"):  # Prosody's come from the full JID
        await there.expect(lambda it, kind=kind: it.get("type") == kind and bare(it.get("from")) == here.bare, kind)
    await there.presence_from(here.jid, "unavailable")
    assert there.bare not in await here.roster()
    assert (await there.roster())[here.bare] == ("none", None)


@pair()
async def asked_twice(bed, home, away):
    """§3.1.3: who has the subscription already is told so again, and nobody is asked."""
    here, there = await bed.online(home), await bed.online(away)
    await subscribe(there, here)
    here.inbox.clear()
    there.send(f"<presence type='subscribe' to='{here.bare}'/>")
    await caught_up(there, here)
    assert not here.has(lambda it: it.get("type") == "subscribe"), "home asked its user again"
    assert (await there.roster())[here.bare] == ("to", None)
