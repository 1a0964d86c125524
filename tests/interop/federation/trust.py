"""Who is believed to be whom: certificates that are wrong, and domains that may do with dialback: RFC 6120 §13.7."""

from bed import WRONG
from checks import pair, single
from wire import condition, error_text, text_of


def loose(bed):
    return next(server for server in bed.servers if server.domain == "selfsigned.test")


@single(only=("stonechat", "prosody"))
async def dialback_with_a_friend(bed, home):
    """A domain that signs its certificate itself, and is excused: both ways, with Prosody's dialback."""
    here, there = await bed.online(home), await bed.online(loose(bed))
    here.say(there.jid, "out by dialback")
    await there.hears("out by dialback", here.jid)
    there.say(here.jid, "in by dialback")
    await here.hears("in by dialback", there.jid)


def refused(domain):
    """Home neither sends to a server that cannot prove its name, nor takes from it."""
    async def check(bed, home):
        here = await bed.online(home)
        error = await here.ask("get", f"a@{domain}", "<query xmlns='urn:example:secret'/>")
        words = error_text(error).lower()
        assert condition(error), text_of(error)
        if home.name == "stonechat":
            assert "certificate" in words, f"it does not say that it is the certificate: {text_of(error)}"
        # A user of that server; its own server tells it that it is not believed.
        server = Domain(loose(bed), domain)
        there = bed.user(server)
        await there.log_in()
        error = await there.bounced(there.say(here.jid, "believe me"))
        assert condition(error), text_of(error)
        await here.iq("get", home.domain, "<ping xmlns='urn:xmpp:ping'/>")
        assert not here.has(lambda it: "believe me" in text_of(it)), "it was believed"

    check.__name__, check.__module__ = f"refused_{domain.partition('.')[0]}", __name__
    return single()(check)


class Domain:
    """Another domain of a server, whatever its certificate."""

    def __init__(self, server, domain):
        self.domain, self.direct, self.name = domain, server.direct, server.name
        self.trusted = server.trusted


for name in WRONG:
    refused(name)


@pair(only=("stonechat",))
async def stonechat_with_itself(bed, home, away):
    """Two of ours, one of which has no certificate worth the name: refused by the strict one, as it is not excused; and
    the loose one speaks dialback with Prosody, if that is loose, too."""
    if away.name != "prosody":
        return
    second = next(server for server in bed.servers if server.domain == "loose.stonechat.test")
    here, there, loosely = await bed.online(home), await bed.online(second), await bed.online(loose(bed))
    error = await here.ask("get", there.jid, "<ping xmlns='urn:xmpp:ping'/>")
    assert "certificate" in error_text(error).lower(), text_of(error)
    assert condition(await there.ask("get", here.jid, "<ping xmlns='urn:xmpp:ping'/>"))
    loosely.say(there.jid, "among the loose")
    await there.hears("among the loose", loosely.jid)
    there.say(loosely.jid, "and back")
    await loosely.hears("and back", there.jid)


@single(only=("stonechat",))
async def rooms_of_ours(bed, home):
    """The services of a host federate as the host does, by the names in its certificate."""
    there = await bed.online(next(server for server in bed.servers if server.name == "prosody"))
    await there.iq("get", home.rooms, "<query xmlns='http://jabber.org/protocol/disco#info'/>")
