"""A server that means ill, or is broken (L17): what it says reaches nobody, and nobody else notices it.

What Stonechat is to answer, by RFC 6120 §4.9.3; of Prosody only that it delivers nothing and lives:

  a stanza before anybody is authenticated           not-authorized (§4.9.3.12)
  a `from` that is not the peer's                     invalid-from (§4.9.3.9)
  no `from` or no `to`                                improper-addressing (§4.9.3.7)
  a `to` of a domain that is not ours                 host-unknown (§4.9.3.6) or improper-addressing
  what is not XML, behind the header                  not-well-formed (§4.9.3.13), bad-format, unsupported-encoding
  a DTD, a comment, a processing instruction          restricted-xml (§4.9.3.18, §11.1), or not-well-formed
  a header of jabber:client, or of other streams      invalid-namespace (§4.9.3.10)
  a header that says it is from us                    invalid-from, not-authorized or policy-violation; never a pair
  10 KB and more before anybody is authenticated      policy-violation (§4.9.3.14)
  db:verify for a domain that is not ours             type='error' or host-unknown; never valid
  a key that we never gave                            type='invalid'
  a `valid` that nobody asked for                     nothing comes of it
  very many domains on one stream                     an end of it, or errors; never a query for each
  another top-level element                           unsupported-stanza-type (§4.9.3.24)
"""

import asyncio
import contextlib
import functools
import time

import checks
from bed import CROWD
from peer import opening
from streams import message, own_peer, dialback_peer
from wire import DIALBACK, PATIENCE, SASL, STREAMS, TLS, local, stream_condition, text_of, tls_context

# Not ejabberd: 23.01 dies of `deep_and_wide`, the whole process, and takes 20 s for `handshakes_that_hang`.
single = functools.partial(checks.single, only=("stonechat", "prosody"))
BAD_XML = ("not-well-formed", "bad-format", "unsupported-encoding", "invalid-xml", "restricted-xml")


async def ends(home, stream, *wanted):
    """Stonechat ends the stream with one of these conditions; of others it is not demanded. None: without one, where
    more was under way than it read, so that the end is a reset, which may overtake the condition."""
    if home.name != "stonechat":
        with contextlib.suppress(Exception):
            await stream.until_end(1)
        return
    ended = await stream.until_end()
    assert stream_condition(ended) in wanted, f"{[text_of(it) for it in ended]} instead of {wanted}"


async def well(bed, home, reader, *forbidden):
    """An honest server is served at once, and nothing of the ill one's came before that."""
    async with own_peer(bed, "honest") as peer:
        stream = await peer.authenticated(home)
        body = f"honest {next(bed.numbers)}"
        stream.send(message(f"a@{peer.domain}", reader.jid, body))
        await reader.hears(body)
    for word in forbidden:
        came = reader.has(lambda it: word in text_of(it) and it.get("type") != "error")
        assert not came, f"it was delivered: {text_of(came[0])}"


@single()
async def stanza_before_anything(bed, home):
    reader = await bed.online(home)
    async with own_peer(bed) as peer:
        stream = await peer.dial(home)
        stream.send(message(f"a@{peer.domain}", reader.jid, "ill"))
        await ends(home, stream, "not-authorized")
    await well(bed, home, reader, "ill")


def forged(name, sender, receiver, *wanted):
    """A message on a stream that is authenticated, whose addresses are not for it. {peer}, {home} and {reader}
    stand for the peer's domain, ours, and an account here."""
    async def check(bed, home):
        reader = await bed.online(home)
        async with own_peer(bed) as peer:
            stream = await peer.authenticated(home)
            ends_of = {"peer": peer.domain, "home": home.domain, "reader": reader.jid}
            attributes = "".join(f" {key}='{value.format(**ends_of)}'"
                                 for key, value in (("from", sender), ("to", receiver)) if value is not None)
            stream.send(f"<message type='chat'{attributes}><body>ill</body></message>")
            await ends(home, stream, *wanted)
        await well(bed, home, reader, "ill")

    check.__name__, check.__module__ = f"forged_{name}", __name__
    single()(check)


forged("from_another", "admin@victim.test", "{reader}", "invalid-from")
forged("from_us", "admin@{home}", "{reader}", "invalid-from")
forged("from_our_host", "{home}", "{reader}", "invalid-from")
forged("from_below", "a@below.{peer}", "{reader}", "invalid-from")
forged("from_above", "a@raw.test", "{reader}", "invalid-from")
forged("from_nobody", None, "{reader}", "improper-addressing")
forged("to_nobody", "a@{peer}", None, "improper-addressing")
forged("to_elsewhere", "a@{peer}", "a@elsewhere.test", "host-unknown", "improper-addressing")


@single()
async def addresses_that_are_none(bed, home):
    """Each is dropped, or ends its stream (RFC 6120 §8.1, RFC 7622 §3); nothing comes to whoever is near it."""
    reader = await bed.online(home)
    pairs = [("@{peer}", "{reader}"), ("a@@{peer}", "{reader}"), ("a b@{peer}", "{reader}"),
             ("a@{peer}/" + "r" * 1024, "{reader}"), ("l" * 1024 + "@{peer}", "{reader}"), ("a@{peer}/", "{reader}"),
             ("a@{peer}", "x" * 2000 + "@{home}"), ("a@{peer}", "@{home}"), ("a@{peer}", "a@{home}/"),
             ("a@{peer}", "&lt;&quot;@{home}"), ("\u2163\u0000@{peer}".replace("\u0000", ""), "{reader}"),
             ("a@{peer}", "{home}@{home}@{home}")]
    async with own_peer(bed) as peer:
        for at, (sender, receiver) in enumerate(pairs):
            stream = await peer.authenticated(home)
            known = {"peer": peer.domain, "home": home.domain, "reader": reader.jid}
            for kind in ("message", "presence", "iq"):
                inner = "<body>ill</body>" if kind == "message" else "<ping xmlns='urn:xmpp:ping'/>"
                what = " type='get' id='1'" if kind == "iq" else ""
                ends_of = f"from='{sender.format(**known)}' to='{receiver.format(**known)}'"
                stream.send(f"<{kind}{what} {ends_of}>{inner}</{kind}>")
            stream.close()
            if at == len(pairs) // 2:
                await well(bed, home, reader)
    await well(bed, home, reader)
    came = [text_of(it) for it in reader.inbox if "ill" in text_of(it) and home.name == "stonechat"]
    # The one with a compatibility character (RFC 8265) may be taken in its mapped form; the others have no such form.
    assert len(came) <= 1, came


@single()
async def not_xml(bed, home):
    reader = await bed.online(home)
    async with own_peer(bed) as peer:
        for garbage in (b"<<<>&&&", b"\xff\xfe\x00\x01", b"<a></b>", b"</stream:stream",
                        b"<message from='x' from='y'/>",
                        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", b"GET / HTTP/1.1\r\n\r\n",
                        b"<undeclared:x/>", b"<x>&nbsp;</x>"):
            stream = await peer.raw(home)
            await peer.open(stream)
            stream.send(garbage + b" ")
            if garbage != b"</stream:stream":
                await ends(home, stream, *BAD_XML)
        for start in (b"\x00" * 100, b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", b"<html>", b"<?xml version='1.1'?><a/>"):
            stream = await peer.raw(home)
            stream.send(start)
            if home.name == "stonechat":
                await stream.until_end()
    await well(bed, home, reader)


@single()
async def restricted_xml(bed, home):
    """§11.1"""
    reader = await bed.online(home)
    bomb = ("<!DOCTYPE s [<!ENTITY a 'aaaaaaaaaa'><!ENTITY b '&a;&a;&a;&a;&a;&a;'>]>")
    async with own_peer(bed) as peer:
        for what in ("<!-- x -->", "<?php x ?>", bomb):
            stream = await peer.authenticated(home)
            stream.send(what + message(f"a@{peer.domain}", reader.jid, "ill"))
            await ends(home, stream, *BAD_XML)
        stream = await peer.raw(home)
        stream.send("<?xml version='1.0'?>" + bomb + opening(peer.domain, home.domain).partition("?>")[2])
        await ends(home, stream, *BAD_XML)
    await well(bed, home, reader)


@single()
async def headers(bed, home):
    reader = await bed.online(home)
    good = f"xmlns:stream='{STREAMS}' xmlns:db='{DIALBACK}' to='{home.domain}' from='{{}}' version='1.0'"
    async with own_peer(bed) as peer:
        for header, wanted in (
            (f"<stream:stream xmlns='jabber:client' {good}>", ("invalid-namespace",)),
            (f"<stream:stream xmlns='urn:x' {good}>", ("invalid-namespace",)),
            (f"<stream:stream xmlns='jabber:server' {good.replace(STREAMS, 'urn:y')}>", ("invalid-namespace",)),
            (f"<stream:nothing xmlns='jabber:server' {good}>", ("bad-format", "invalid-namespace", "not-well-formed")),
            (f"<stream:stream xmlns='jabber:server' {good.replace('from=', 'x=')}><x/>", None),
            (f"<stream:stream xmlns='jabber:server' {good.replace('1.0', '0.9')}><x/>", None),
            (f"<stream:stream xmlns='jabber:server' {good.replace(home.domain, 'a@@b')}>",
             ("host-unknown", "improper-addressing", "invalid-to")),
        ):
            stream = await peer.raw(home)
            stream.send(header.format(peer.domain))
            if home.name == "stonechat":
                ended = await stream.until_end()
                assert wanted is None or stream_condition(ended) in wanted, (header, [text_of(it) for it in ended])
    await well(bed, home, reader)


@single()
async def stream_error_alone(bed, home):
    """Without a header, behind one, and on a stream that is authenticated: it ends, and no error is answered by one."""
    reader = await bed.online(home)
    error = "<stream:error{}><conflict xmlns='urn:ietf:params:xml:ns:xmpp-streams'/></stream:error>"
    async with own_peer(bed) as peer:
        stream = await peer.raw(home)
        stream.send(error.format(f" xmlns:stream='{STREAMS}'"))
        if home.name == "stonechat":
            await stream.until_end()
        for make in (peer.dial, peer.authenticated):
            stream = await make(home)
            stream.send(error.format(""))
            if home.name == "stonechat":
                ended = await stream.until_end()
                assert stream_condition(ended) is None, [text_of(it) for it in ended]
    await well(bed, home, reader)


@single()
async def says_it_is_us(bed, home):
    reader = await bed.online(home)
    async with own_peer(bed) as peer:
        for name in (home.domain, home.rooms):
            stream = await peer.raw(home)
            stream.send(opening(name, home.domain))
            await stream.header()
            features = await stream.element()
            if features is None or local(features) == "error":
                continue
            stream.send(f"<starttls xmlns='{TLS}'/>")
            answer = await stream.element()
            if answer is None or local(answer) != "proceed":
                continue
            await stream.start_tls(tls_context(None, peer.certificate), home.domain)
            await peer.open(stream, sender=name)
            if stream.features is None or local(stream.features) == "error":
                continue
            stream.send(f"<db:result from='{name}' to='{home.domain}'>0123456789</db:result>")
            stream.send(message(f"admin@{name}", reader.jid, "ill"))
            got = await stream.until_end(5) if home.name == "stonechat" else []
            assert not any(it.get("type") == "valid" for it in got), [text_of(it) for it in got]
        stream = await peer.authenticated(home)
        got = None
        with contextlib.suppress(asyncio.TimeoutError):
            async with asyncio.timeout(5):
                got = await peer.dialback(stream, sender=home.domain)
        assert got is None or got.get("type") != "valid", text_of(got)
    await well(bed, home, reader, "ill")


@single()
async def verify_for_others(bed, home):
    reader = await bed.online(home)
    async with own_peer(bed) as peer:
        for domain in ("elsewhere.test", peer.domain, "a@@b", ""):
            stream = await peer.dial(home)
            stream.send(f"<db:verify from='{peer.domain}' to='{domain}' id='1'>0123</db:verify>")
            with contextlib.suppress(asyncio.TimeoutError):
                got = await stream.element(3)
                assert got is None or got.get("type") != "valid", text_of(got)
        stream = await peer.dial(home)
        stream.send(f"<db:verify from='{peer.domain}' to='{home.domain}' id='never'>0123</db:verify>")
        got = await stream.element()
        assert got is not None and got.get("type") != "valid", text_of(got)
        assert home.name != "stonechat" or got.get("type") == "invalid", text_of(got)
    await well(bed, home, reader)


@single()
async def valid_that_nobody_asked_for(bed, home):
    """The answer of the domain itself counts, on the stream that home opened to it; not what the asker says."""
    reader = await bed.online(home)
    async with dialback_peer(bed, "d", keys=None) as peer:
        stream = await peer.dial(home)
        stream.send(f"<db:result from='{peer.domain}' to='{home.domain}'>0123</db:result>")
        async with asyncio.timeout(PATIENCE):
            while not peer.verified:
                await asyncio.sleep(0.01)
        number = peer.verified[-1].get("id")
        for kind in (f"verify id='{number}'", "result"):
            for one, other in ((peer.domain, home.domain), (home.domain, peer.domain)):
                stream.send(f"<db:{kind} from='{one}' to='{other}' type='valid'/>")
        stream.send(message(f"a@{peer.domain}", reader.jid, "ill"))
        with contextlib.suppress(asyncio.TimeoutError):
            for got in await stream.until_end(2):
                assert got.get("type") != "valid" or home.name != "stonechat", text_of(got)
    await well(bed, home, reader, "ill")


@single(patience=90)
async def a_thousand_domains(bed, home):
    reader = await bed.online(home)
    before = len(bed.zone.asked)
    async with dialback_peer(bed, "e") as peer:
        stream = await peer.dial(home)
        for number in range(1000):
            stream.send(f"<db:result from='d{number}.thousand.test' to='{home.domain}'>0123</db:result>")
        started = time.monotonic()
        await reader.iq("get", home.domain, "<ping xmlns='urn:xmpp:ping'/>", 5)
        await well(bed, home, reader)
        assert home.name != "stonechat" or time.monotonic() - started < 10
        with contextlib.suppress(asyncio.TimeoutError):
            for got in await stream.until_end(3):
                assert got.get("type") != "valid", text_of(got)
    asked = {name for name, _ in bed.zone.asked[before:] if name.endswith("thousand.test")}
    domains = {name.split(".")[-3] for name in asked}
    assert home.name != "stonechat" or len(domains) <= 60, f"it asked for {len(domains)} domains"
    await well(bed, home, reader)


@single(patience=90)
async def handshakes_that_hang(bed, home):
    """Many connections of one address that say nothing, or half of something; others come in all the while."""
    reader = await bed.online(home)
    async with own_peer(bed) as peer:
        for number in range(150):
            with contextlib.suppress(OSError):
                stream = await peer.raw(home, source=CROWD)
                if number % 3 == 1:
                    stream.send("<?xml version='1.0'?><stream:stream xmlns=")
                elif number % 3 == 2:
                    stream.send(opening(peer.domain, home.domain) + f"<starttls xmlns='{TLS}'/>")
        started = time.monotonic()
        await well(bed, home, reader)
        assert home.name != "stonechat" or time.monotonic() - started < 5, "honest servers had to wait"


@single()
async def huge_first_stanza(bed, home):
    reader = await bed.online(home)
    async with own_peer(bed) as peer:
        stream = await peer.raw(home)
        await peer.open(stream)
        stream.send("<x>" + "y" * 300_000)
        await ends(home, stream, "policy-violation", None)
        stream = await peer.raw(home)
        stream.send("<?xml version='1.0'?><stream:stream x='" + "y" * 300_000)
        if home.name == "stonechat":
            await stream.until_end()
        stream = await peer.dial(home)
        stream.send(f"<db:result from='{peer.domain}' to='{home.domain}'>{'0' * 300_000}</db:result>")
        await ends(home, stream, "policy-violation", None)
        stream = await peer.authenticated(home)
        stream.send(message(f"a@{peer.domain}", reader.jid, "ill" + "y" * 2_000_000))
        await ends(home, stream, "policy-violation", None)
    await well(bed, home, reader, "illyy")


@single()
async def deep_and_wide(bed, home):
    reader = await bed.online(home)
    async with own_peer(bed) as peer:
        for inner in ("<x>" * 5000 + "</x>" * 5000, "<x/>" * 20_000,
                      "<x " + " ".join(f"a{number}='1'" for number in range(5000)) + "/>"):
            stream = await peer.authenticated(home)
            stream.send(f"<message from='a@{peer.domain}' to='{reader.jid}'><body>ill</body>{inner}</message>")
            await ends(home, stream, "policy-violation", None)
    await well(bed, home, reader, *(("ill",) if home.name == "stonechat" else ()))


@single()
async def other_elements(bed, home):
    reader = await bed.online(home)
    async with own_peer(bed) as peer:
        for what in ("<x xmlns='urn:x'/>", "<msg/>", "<message xmlns='jabber:client'/>"):
            stream = await peer.authenticated(home)
            stream.send(what)
            await ends(home, stream, "unsupported-stanza-type", "improper-addressing", "invalid-namespace")
        stream = await peer.dial(home)
        stream.send(f"<auth xmlns='{SASL}' mechanism='PLAIN'>AGEAYg==</auth>")
        got = await stream.element()
        assert got is None or local(got) in ("failure", "error"), text_of(got)
    await well(bed, home, reader)


@single()
async def answers_that_nobody_asked_for(bed, home):
    """Results and errors without a request, requests that are none, and presence that no one waits for."""
    reader = await bed.online(home)
    async with own_peer(bed) as peer:
        stream = await peer.authenticated(home)
        who = f"a@{peer.domain}/x"
        for to in (reader.bare, home.domain, home.rooms, f"nobody@{home.domain}", f"room@{home.rooms}/nick"):
            for kind in ("result", "error"):
                stream.send(f"<iq type='{kind}' id='reader-1' from='{who}' to='{to}'>"
                            "<query xmlns='jabber:iq:roster'><item jid='ill@x' subscription='both'/></query></iq>")
            stream.send(f"<message type='error' id='1' from='{who}' to='{to}'><error type='cancel'/></message>")
            stream.send(f"<presence type='error' from='{who}' to='{to}'/>")
        stream.send(f"<iq type='get' from='{who}' to='{reader.bare}'><ping xmlns='urn:xmpp:ping'/></iq>")
        stream.send(f"<iq type='get' id='two' from='{who}' to='{home.domain}'><a xmlns='a'/><b xmlns='b'/></iq>")
        stream.send(f"<iq type='odd' id='odd' from='{who}' to='{home.domain}'><a xmlns='a'/></iq>")
        stream.send(f"<presence type='odd' from='{who}' to='{reader.bare}'/>")
        for kind in ("subscribed", "unsubscribed", "unsubscribe", "unavailable"):
            stream.send(f"<presence type='{kind}' from='a@{peer.domain}' to='{reader.bare}'/>")
        stream.send(message(who, reader.jid, "still here"))
        await reader.hears("still here")
    assert not any(state[0] in ("to", "both") for state in (await reader.roster()).values()), await reader.roster()
    await well(bed, home, reader)


@single()
async def our_name_on_things(bed, home):
    """Ids, times and occupants that only we could have written (XEP-0359 §5, XEP-0203 §4, XEP-0421 §4)."""
    reader = await bed.online(home)
    async with own_peer(bed) as peer:
        stream = await peer.authenticated(home)
        inner = (f"<stanza-id xmlns='urn:xmpp:sid:0' id='forged-1' by='{reader.bare}'/>"
                 f"<stanza-id xmlns='urn:xmpp:sid:0' id='forged-2' by='{home.domain}'/>"
                 f"<stanza-id xmlns='urn:xmpp:sid:0' id='honest' by='{peer.domain}'/>"
                 f"<delay xmlns='urn:xmpp:delay' from='{home.domain}' stamp='2001-01-01T00:00:00Z'/>"
                 f"<delay xmlns='urn:xmpp:delay' from='{reader.bare}' stamp='2001-01-01T00:00:00Z'/>"
                 "<occupant-id xmlns='urn:xmpp:occupant-id:0' id='forged-3'/>")
        for to in (reader.jid, reader.bare):
            stream.send(f"<message type='chat' from='a@{peer.domain}' to='{to}'><body>named</body>{inner}</message>")
            got = text_of(await reader.hears("named"))
            if home.name == "stonechat":
                assert "forged-1" not in got and "forged-2" not in got, got
                assert f'from="{home.domain}" stamp="2001' not in got and f'from="{reader.bare}"' not in got, got
                assert "honest" in got, got
    await well(bed, home, reader)
