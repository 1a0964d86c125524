"""Requests between servers and their answers (RFC 6121 §8, RFC 6120 §8.2.3)."""

import asyncio

from checks import contacts, pair
from wire import condition, text_of

INFO = "http://jabber.org/protocol/disco#info"


@pair()
async def of_the_server(bed, home, away):
    here, there = await bed.online(home), await bed.online(away)
    for asker, domain in ((here, away.domain), (there, home.domain)):
        await asker.iq("get", domain, "<ping xmlns='urn:xmpp:ping'/>")
        got = await asker.iq("get", domain, "<query xmlns='jabber:iq:version'/>")
        assert got.find(".//{jabber:iq:version}name").text, text_of(got)
        got = await asker.iq("get", domain, f"<query xmlns='{INFO}'/>")
        assert got.find(f".//{{{INFO}}}identity[@category='server']") is not None, text_of(got)
        await asker.iq("get", domain, "<query xmlns='http://jabber.org/protocol/disco#items'/>")
        got = await asker.ask("get", domain, "<query xmlns='urn:example:unknown'/>")
        assert condition(got) in ("service-unavailable", "feature-not-implemented"), text_of(got)


@pair()
async def of_a_client(bed, home, away):
    here, there = await contacts(bed, home, away)
    version = "<query xmlns='jabber:iq:version'><name>checks</name><version>1</version></query>"
    for asker, asked in ((here, there), (there, here)):
        asked.answers["{jabber:iq:version}query"] = version
        got = await asker.iq("get", asked.jid, "<query xmlns='jabber:iq:version'/>")
        assert got.find(".//{jabber:iq:version}name").text == "checks", text_of(got)
        assert got.get("from") == asked.jid, text_of(got)
        got = await asker.ask("set", asked.jid, "<query xmlns='urn:example:unknown'/>")
        assert condition(got) == "service-unavailable", text_of(got)


@pair(only=("stonechat",))
async def of_a_client_by_strangers(bed, home, away):
    """RFC 6121 §8.5.3.1: whoever does not see the presence does not reach the device, nor learn that it is there."""
    here, there = await bed.online(home), await bed.online(away)
    got = await there.ask("get", here.jid, "<ping xmlns='urn:xmpp:ping'/>")
    assert condition(got) == "service-unavailable", text_of(got)
    assert not here.has(lambda it: "urn:xmpp:ping" in text_of(it)), "it reached the device"


@pair()
async def many_at_once(bed, home, away):
    here, there = await contacts(bed, home, away)
    await asyncio.gather(*(asker.iq("get", to, "<ping xmlns='urn:xmpp:ping'/>")
                           for asker, to in ((here, there.jid), (there, here.jid)) for _ in range(50)))


@pair()
async def of_nobody(bed, home, away):
    """§8.5.3.2.3 and §8.5.2.1: a device that is not there, and an account that is not."""
    here, there = await bed.online(home), await bed.online(away)
    for asker, asked in ((here, there), (there, here)):
        got = await asker.ask("get", f"{asked.bare}/gone", "<ping xmlns='urn:xmpp:ping'/>")
        assert condition(got) in ("service-unavailable", "item-not-found", "recipient-unavailable"), text_of(got)
        assert got.get("from") == f"{asked.bare}/gone", text_of(got)
        got = await asker.ask("get", f"nobody@{asked.server.domain}", "<vCard xmlns='vcard-temp'/>")
        # The others answer with an empty one (XEP-0054 §3.3 knows both), so that nobody learns who has an account.
        empty = [len(it) for it in got.iter("{vcard-temp}vCard")] == [0] and got.get("type") == "result"
        assert empty or condition(got) in ("service-unavailable", "item-not-found"), text_of(got)


@pair()
async def of_one_who_leaves(bed, home, away):
    """Who is asked and leaves without an answer: the next request gets an error, and nothing comes for the first one
    but an error of the server's (RFC 6120 §8.2.3 leaves it to the asker to wait no longer)."""
    here, there = await contacts(bed, home, away)
    there.answers["{urn:example:slow}query"] = None
    waiting = asyncio.create_task(here.ask("get", there.jid, "<query xmlns='urn:example:slow'/>"))
    await there.expect(lambda it: it.find("{urn:example:slow}query") is not None, "the request")
    await there.log_out()
    got = await here.ask("get", there.jid, "<ping xmlns='urn:xmpp:ping'/>")
    assert condition(got) in ("service-unavailable", "recipient-unavailable"), text_of(got)
    assert not waiting.done() or waiting.result().get("type") == "error"
    waiting.cancel()


@pair()
async def vcards(bed, home, away):
    here, there = await bed.online(home), await bed.online(away)
    for owner, reader in ((there, here), (here, there)):
        await owner.iq("set", None, "<vCard xmlns='vcard-temp'><FN>Owner of it</FN></vCard>")
        got = await reader.iq("get", owner.bare, "<vCard xmlns='vcard-temp'/>")
        assert got.find(".//{vcard-temp}FN").text == "Owner of it", text_of(got)


@pair()
async def private_things_stay_private(bed, home, away):
    """Nobody of elsewhere reads or sets what is the owner's alone."""
    here, there = await bed.online(home), await bed.online(away)
    for payload in ("<query xmlns='jabber:iq:roster'/>", "<query xmlns='jabber:iq:private'><x xmlns='urn:x'/></query>",
                    "<blocklist xmlns='urn:xmpp:blocking'/>"):
        got = await there.ask("get", here.bare, payload)
        assert condition(got), f"{payload}: {text_of(got)}"
    for payload in (f"<query xmlns='jabber:iq:roster'><item jid='{there.bare}'/></query>",
                    "<query xmlns='urn:xmpp:mam:2'/>", "<enable xmlns='urn:xmpp:carbons:2'/>",
                    "<vCard xmlns='vcard-temp'><FN>forged</FN></vCard>"):
        got = await there.ask("set", here.bare, payload)
        assert condition(got), f"{payload}: {text_of(got)}"
    assert there.bare not in await here.roster()
