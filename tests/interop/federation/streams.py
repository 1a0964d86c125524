"""Streams between servers, element by element, with a server that the checks play: RFC 6120 §4, §5, §6.3;
XEP-0178, XEP-0220, XEP-0288, XEP-0344, XEP-0368, XEP-0198."""

import asyncio
import ssl

from checks import single
from peer import BIDI_FEATURE, Peer, opening
from wire import DIALBACK, SM, TLS, Skip, Stream, local, stream_condition, text_of, tls_context


def message(sender, receiver, body):
    return f"<message type='chat' from='{sender}' to='{receiver}'><body>{body}</body></message>"


def own_peer(bed, kind="raw", **options):
    """Each check has a domain of its own, so that no stream of another one is in its way."""
    return Peer(bed, f"{kind}{next(bed.numbers)}.raw.test", **options)


def dialback_peer(bed, letter, **options):
    """Its certificate is worth nothing, and it is on the list of those who may do without (bed.py)."""
    domain = f"dialback-{letter}.raw.test"
    return Peer(bed, domain, certificate=bed.ca.own(domain, [domain]), external=False, **options)


@single()
async def tls_comes_first(bed, home):
    """§5.3.1: before TLS there is STARTTLS, required, and nothing else; a stanza ends the stream."""
    async with own_peer(bed) as peer:
        stream = await peer.raw(home)
        features = await peer.open(stream)
        required = features.find(f"{{{TLS}}}starttls/{{{TLS}}}required")
        assert required is not None and "EXTERNAL" not in text_of(features), text_of(features)
        reader = await bed.online(home)
        stream.send(message(f"a@{peer.domain}", reader.jid, "in the clear"))
        ended = await stream.until_end()
        wanted = ("not-authorized", "policy-violation", *(() if home.name == "stonechat" else ("connection-timeout",)))
        assert stream_condition(ended) in wanted, [text_of(it) for it in ended]
        await nothing_came(home, reader, "in the clear")


async def nothing_came(home, reader, body):
    """What was sent before has been dealt with: a whole stream has come and gone since."""
    await reader.iq("get", home.domain, "<ping xmlns='urn:xmpp:ping'/>")
    assert not reader.has(lambda it: body in text_of(it)), f"{body!r} was delivered"


@single()
async def external(bed, home):
    """The certificate proves the domain; stanzas go in, and the answer comes on a stream of home's own."""
    async with own_peer(bed) as peer:
        reader = await bed.online(home)
        stream = await peer.authenticated(home)
        stream.send(message(f"a@{peer.domain}/x", reader.jid, "by certificate"))
        await reader.hears("by certificate", f"a@{peer.domain}/x")
        reader.say(f"a@{peer.domain}/x", "and back")
        got = await peer.hears(lambda it: "and back" in text_of(it), "the answer")
        assert (got.get("from"), got.get("to")) == (reader.jid, f"a@{peer.domain}/x"), text_of(got)


@single()
async def external_of_xmpp_addr(bed, home):
    """RFC 6120 §13.7.1.4: a certificate with an XmppAddr beside the rest is as good."""
    if home.name == "ejabberd":
        raise Skip("ejabberd 23.01 crashes over it")
    domain = f"addr{next(bed.numbers)}.raw.test"
    async with Peer(bed, domain, certificate=bed.ca.sign(domain, [domain], xmpp_addr=True)) as peer:
        await peer.authenticated(home)


@single(only=("stonechat", "prosody"))
async def external_for_another(bed, home):
    """XEP-0178 §2: a certificate of one domain does not let in another, by header or by authorization identity."""
    async with own_peer(bed) as peer:
        stream = await peer.dial(home, sender="victim.raw.test")
        answer = None
        if peer.offers(stream, "EXTERNAL"):
            answer = await peer.external_auth(stream)
        assert answer is None or local(answer) != "success", text_of(answer)
        stream = await peer.dial(home)
        answer = await peer.external_auth(stream, "dmljdGltLnJhdy50ZXN0")  # victim.raw.test
        assert answer is None or local(answer) != "success", text_of(answer)


@single(only=("stonechat", "prosody"))
async def without_certificate(bed, home):
    """EXTERNAL is not offered to somebody who showed none."""
    async with own_peer(bed) as peer:
        stream = await peer.dial(home, certificate=False)
        assert not peer.offers(stream, "EXTERNAL"), text_of(stream.features)


@single(only=("stonechat", "prosody"))
async def dialback(bed, home):
    """XEP-0220 §2: home asks the domain itself whether the key is its own, on a stream that it opens."""
    for letter, valid in (("a", True), ("b", False)):
        async with dialback_peer(bed, letter, keys=valid) as peer:
            reader = await bed.online(home)
            stream = await peer.dial(home)
            got = await peer.dialback(stream, key="abcdef")
            assert got is not None and got.get("type") == ("valid" if valid else "invalid"), text_of(got)
            asked = peer.verified[-1]
            assert (asked.text, asked.get("to")) == ("abcdef", peer.domain), text_of(asked)
            stream.send(message(f"a@{peer.domain}", reader.jid, f"dialback {valid}"))
            if valid:
                await reader.hears("dialback True")
            else:
                if home.name == "stonechat":
                    await stream.until_end()
                await nothing_came(home, reader, "dialback False")


@single(only=("stonechat", "prosody"))
async def our_key_is_verified(bed, home):
    """The other half: home sends a key and confirms it when it is asked, and denies any other."""
    async with dialback_peer(bed, "c") as peer:
        writer = await bed.online(home)
        writer.say(f"a@{peer.domain}", "with a key")
        keys = []
        take = peer.take

        def listen(stream, element):
            if element.tag == f"{{{DIALBACK}}}result":
                keys.append(element)
            take(stream, element)

        peer.take = listen
        await peer.hears(lambda it: "with a key" in text_of(it), "the message")
        for key, wanted in ((keys[0].text, "valid"), ("0" * 64, "invalid")):
            stream = await peer.dial(home)
            stream.send(f"<db:verify from='{peer.domain}' to='{home.domain}' id='raw-id'>{key}</db:verify>")
            got = await stream.element()
            assert got.tag == f"{{{DIALBACK}}}verify" and got.get("type") == wanted, text_of(got)


@single(only=("stonechat",))
async def dialback_by_certificate(bed, home):
    """XEP-0344: whoever asks for a pair that its certificate proves is not called back."""
    async with own_peer(bed) as peer:
        stream = await peer.dial(home)
        got = await peer.dialback(stream)
        assert got is not None and got.get("type") == "valid", text_of(got)
        assert peer.accepted == 0, "it called back"


@single(only=("stonechat", "prosody"))
async def two_domains_on_one_stream(bed, home):
    """XEP-0220 §2.6: a further pair on an open stream; here the rooms, which the certificate proves, too."""
    async with own_peer(bed) as peer:
        reader = await bed.online(home)
        stream = await peer.authenticated(home)
        other = f"rooms.{peer.domain}"
        bed.zone.server(other, f"xmpp.{peer.domain}", peer.listener.sockets[0].getsockname()[1])
        got = await peer.dialback(stream, sender=other)
        assert got is not None and got.get("type") == "valid", text_of(got)
        stream.send(message(f"r@{other}", reader.jid, "from the rooms"))
        await reader.hears("from the rooms")
        stream.send(message(f"r@{peer.domain}", reader.jid, "from the host"))
        await reader.hears("from the host")


@single(only=("stonechat", "prosody"))
async def bidi(bed, home):
    """XEP-0288: what is for us comes on the stream that we opened."""
    async with own_peer(bed) as peer:
        reader = await bed.online(home)
        stream = await peer.dial(home)
        assert peer.offers(stream, BIDI_FEATURE), text_of(stream.features)
        stream = await peer.authenticated(home, bidi=True)
        stream.send(message(f"a@{peer.domain}/x", reader.jid, "both ways"))
        await reader.hears("both ways")
        reader.say(f"a@{peer.domain}/x", "the same way")
        while (got := await stream.element()) is not None and local(got) != "message":
            pass
        assert got is not None and "the same way" in text_of(got), text_of(got)
        assert peer.accepted == 0, "it opened a stream of its own"


@single(only=("stonechat", "prosody"))
async def managed(bed, home):
    """XEP-0198: home counts what it took, and says so when it is asked."""
    async with own_peer(bed) as peer:
        reader = await bed.online(home)
        stream = await peer.authenticated(home)
        assert peer.offers(stream, SM), text_of(stream.features)
        await peer.managed(stream)
        for number in range(10):
            stream.send(message(f"a@{peer.domain}", reader.jid, f"counted {number}"))
        stream.send(f"<r xmlns='{SM}'/>")
        while (got := await stream.element()) is not None and got.tag != f"{{{SM}}}a":
            pass
        assert got is not None and got.get("h") == "10", text_of(got)
        for number in range(10):
            await reader.hears(f"counted {number}")


@single(only=("stonechat", "prosody"))
async def direct_tls(bed, home):
    """XEP-0368: TLS from the first byte, by ALPN xmpp-server."""
    async with own_peer(bed) as peer:
        context = tls_context(bed.ca.certificate, peer.certificate)
        context.set_alpn_protocols(["xmpp-server"])
        reader, writer = await asyncio.open_connection(home.address, 5270, ssl=context, server_hostname=home.domain)
        assert isinstance(writer.get_extra_info("ssl_object"), ssl.SSLObject)
        stream = Stream(reader, writer)
        stream.name = home.domain
        peer.dialed.append(stream)
        features = await peer.open(stream)
        assert "EXTERNAL" in text_of(features) and "starttls" not in text_of(features), text_of(features)
        answer = await peer.external_auth(stream)
        assert local(answer) == "success", text_of(answer)


@single()
async def unknown_host(bed, home):
    """§4.9.3.6: a domain that is not served."""
    async with own_peer(bed) as peer:
        stream = await peer.raw(home)
        stream.send(opening(peer.domain, "elsewhere.test"))
        assert stream_condition(await stream.until_end()) == "host-unknown"
