"""Messages from one server to the other and back."""

import asyncio

from checks import caught_up, pair
from client import CLIENT, body_of
from wire import Excused, condition, local, text_of

RECEIPTS = "urn:xmpp:receipts"


@pair()
async def both_ways(bed, home, away):
    here, there = await bed.online(home), await bed.online(away)
    for sender, receiver in ((here, there), (there, here)):
        sender.say(receiver.bare, f"bare of {sender.bare}")
        await receiver.hears(f"bare of {sender.bare}", sender.jid)
        sender.say(receiver.jid, f"full of {sender.bare}")
        got = await receiver.hears(f"full of {sender.bare}", sender.jid)
        assert got.get("to") == receiver.jid, text_of(got)


def ours(*servers):
    return any(server.name == "stonechat" for server in servers)


@pair()
async def order_of_200(bed, home, away):
    here, there = await bed.online(home), await bed.online(away)
    for number in range(200):
        here.say(there.jid, f"to {number}")
        there.say(here.jid, f"fro {number}")
    await asyncio.gather(caught_up(here, there), caught_up(there, here))
    for who, word in ((there, "to"), (here, "fro")):
        bodies = [body_of(it) for it in who.inbox if local(it) == "message"]
        wanted = [f"{word} {number}" for number in range(200)]
        assert sorted(bodies) == sorted(wanted), f"{word}: {len(bodies)} came: {bodies[:30]}"
        if bodies != wanted and (home if who is there else away).name == "prosody" and ours(home, away):
            # COMPAT: Prosody 0.12 sends on our stream as soon as that is bidirectional (XEP-0288), while what it had
            # queued for a stream of its own waits until that stands.
            raise Excused(f"Prosody reorders when it moves to our bidirectional stream: {bodies[:30]}")
        assert bodies == wanted, f"{word}: not in order: {bodies[:30]}"


@pair()
async def content_is_kept(bed, home, away):
    here, there = await bed.online(home), await bed.online(away)
    bodies = ["ü 漢字 🙂 &lt;", "<x xmlns='jabber:server'/>", "a\nb\t c", "l" * 50_000]
    inner = ("<p:thing xmlns:p='urn:example:p' p:at='1'><inner xmlns='jabber:server'>t</inner></p:thing>"
             "<forwarded xmlns='urn:xmpp:forward:0'><message xmlns='jabber:client'><body>in</body></message>"
             "</forwarded>")
    for sender, receiver in ((here, there), (there, here)):
        for body in bodies:
            sender.say(receiver.jid, body, inner=inner)
            got = await receiver.hears(body)
            thing = got.find("{urn:example:p}thing")
            assert thing is not None and thing.get("{urn:example:p}at") == "1", text_of(got)[:500]
            assert got.find(f"{{urn:xmpp:forward:0}}forwarded/{{{CLIENT}}}message/{{{CLIENT}}}body") is not None, \
                text_of(got)[:800]
        sender.send(f"<message xml:lang='de' type='normal' to='{receiver.jid}'><subject>Betreff</subject>"
                    "<body>hallo</body><thread parent='p'>t</thread></message>")
        got = await receiver.hears("hallo")
        assert got.get("{http://www.w3.org/XML/1998/namespace}lang") == "de", text_of(got)
        assert got.find(f"{{{CLIENT}}}thread").get("parent") == "p", text_of(got)


@pair()
async def to_nobody(bed, home, away):
    """RFC 6121 §8.5.1: an error or silence; here all servers answer."""
    here = await bed.online(home)
    error = await here.bounced(here.say(f"nobody@{away.domain}", "lost"))
    assert condition(error) in ("service-unavailable", "item-not-found"), text_of(error)
    assert error.get("from") == f"nobody@{away.domain}", text_of(error)


@pair()
async def kept_while_offline(bed, home, away):
    here, there = await bed.online(home), await bed.online(away)
    await there.log_out()
    for number in range(20):
        here.say(there.bare, f"later {number}")
    # The answer comes after all that went before it.
    await here.iq("get", away.domain, "<ping xmlns='urn:xmpp:ping'/>")
    await there.log_in(register=False)
    for number in range(20):
        got = await there.hears(f"later {number}", here.jid)
        assert got.find("{urn:xmpp:delay}delay") is not None, text_of(got)


@pair()
async def receipts(bed, home, away):
    """XEP-0184, and that chat states and markers go by."""
    here, there = await bed.online(home), await bed.online(away)
    for sender, receiver in ((here, there), (there, here)):
        number = sender.say(receiver.jid, "did it come?", inner=f"<request xmlns='{RECEIPTS}'/>")
        got = await receiver.hears("did it come?")
        assert got.find(f"{{{RECEIPTS}}}request") is not None, text_of(got)
        receiver.send(f"<message type='chat' to='{got.get('from')}'><received xmlns='{RECEIPTS}' id='{number}'/>"
                      "</message>")
        await sender.expect(lambda it: any(child.tag == f"{{{RECEIPTS}}}received" and child.get("id") == number
                                           for child in it), "the receipt")
        receiver.send(f"<message type='chat' to='{sender.jid}'>"
                      "<composing xmlns='http://jabber.org/protocol/chatstates'/></message>")
        await sender.expect(lambda it: it.find("{http://jabber.org/protocol/chatstates}composing") is not None,
                            "composing")


@pair()
async def errors_come_back(bed, home, away):
    here, there = await bed.online(home), await bed.online(away)
    for sender, receiver in ((here, there), (there, here)):
        number = sender.say(receiver.jid, "will you?")
        await receiver.hears("will you?")
        receiver.send(f"<message type='error' id='{number}' to='{sender.jid}'><error type='modify'>"
                      "<not-acceptable xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></error></message>")
        error = await sender.bounced(number)
        assert condition(error) == "not-acceptable" and error.get("from") == receiver.jid, text_of(error)
