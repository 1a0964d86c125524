"""Presence between servers: broadcast, probes, directed presence and the ends of it (RFC 6121 §4)."""

from checks import caught_up, contacts, pair
from wire import local, text_of


@pair()
async def updates(bed, home, away):
    here, there = await contacts(bed, home, away)
    for sender, receiver in ((here, there), (there, here)):
        sender.send("<presence><show>dnd</show><status>busy</status><priority>3</priority></presence>")
        await receiver.expect(lambda it: it.get("from") == sender.jid and "busy" in text_of(it)
                              and "dnd" in text_of(it), "the update")
        sender.send("<presence type='unavailable'><status>gone</status></presence>")
        got = await receiver.presence_from(sender.jid, "unavailable")
        assert "gone" in text_of(got), text_of(got)
        await sender.available()
        await receiver.presence_from(sender.jid)


@pair()
async def probes_at_login(bed, home, away):
    """§4.3: whoever comes sees who is there, each device of theirs; and is seen."""
    here, there = await contacts(bed, home, away)
    second = await there.again("second").log_in(register=False)
    await here.presence_from(second.jid)
    await here.log_out()
    await there.presence_from(here.jid, "unavailable")
    await here.log_in(register=False)
    await here.presence_from(there.jid)
    await here.presence_from(second.jid)
    await there.presence_from(here.jid)
    await second.presence_from(here.jid)


@pair()
async def offline_is_said(bed, home, away):
    """§4.3.2: a probe of somebody who is not there is answered by unavailable, or not at all; never by available."""
    here, there = await contacts(bed, home, away)
    await there.log_out()
    await here.presence_from(there.jid, "unavailable")
    again = await here.again("probing").log_in(register=False)
    await again.iq("get", away.domain, "<ping xmlns='urn:xmpp:ping'/>")
    assert not again.has(lambda it: it.get("from", "").startswith(there.bare) and it.get("type") is None), "a ghost"


@pair()
async def lost_connection(bed, home, away):
    """A client whose socket breaks, without a session that could be resumed, is away."""
    here, there = await contacts(bed, home, away)
    here.cut()
    await there.presence_from(here.jid, "unavailable")


@pair()
async def directed(bed, home, away):
    """§4.6: presence to somebody who is no contact, its end, and the end of the session."""
    here, there = await bed.online(home), await bed.online(away)
    here.send(f"<presence to='{there.jid}'><status>just you</status></presence>")
    await there.expect(lambda it: it.get("from") == here.jid and "just you" in text_of(it), "directed presence")
    here.send("<presence><status>for contacts</status></presence>")
    await caught_up(here, there)
    assert not there.has(lambda it: "for contacts" in text_of(it)), "a broadcast reached somebody who is no contact"
    here.send(f"<presence to='{there.jid}' type='unavailable'/>")
    await there.presence_from(here.jid, "unavailable")
    here.send(f"<presence to='{there.jid}'/>")
    await there.presence_from(here.jid)
    await here.log_out()
    await there.presence_from(here.jid, "unavailable")


@pair()
async def directed_and_cut(bed, home, away):
    here, there = await bed.online(home), await bed.online(away)
    here.send(f"<presence to='{there.bare}'/>")
    await there.presence_from(here.jid)
    here.cut()
    await there.presence_from(here.jid, "unavailable")


@pair()
async def strangers_see_nothing(bed, home, away):
    """A probe by hand, of somebody who gave no subscription, yields no presence (§4.3.2)."""
    here, there = await bed.online(home), await bed.online(away)
    here.send("<presence><status>a secret</status></presence>")
    there.send(f"<presence type='probe' to='{here.bare}'/>")
    there.send(f"<presence type='probe' to='{here.jid}'/>")
    await there.iq("get", home.domain, "<ping xmlns='urn:xmpp:ping'/>")
    await caught_up(here, there)
    leaked = there.has(lambda it: local(it) == "presence" and "a secret" in text_of(it))
    assert not leaked, text_of(leaked[0])


@pair()
async def caps_and_avatar_hash(bed, home, away):
    """What clients put into presence arrives as it was."""
    here, there = await contacts(bed, home, away)
    here.send("<presence><c xmlns='http://jabber.org/protocol/caps' hash='sha-1' node='urn:x' ver='abc'/>"
              "<x xmlns='vcard-temp:x:update'><photo>0123456789</photo></x>"
              "<idle xmlns='urn:xmpp:idle:1' since='2026-01-01T00:00:00Z'/></presence>")
    got = await there.expect(lambda it: it.get("from") == here.jid and "ver=\"abc\"" in text_of(it), "caps")
    assert "urn:xmpp:idle:1" in text_of(got) and "0123456789" in text_of(got), text_of(got)
