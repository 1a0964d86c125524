"""How servers are found: SRV of both kinds (RFC 2782, XEP-0368), and a DNS that is silent, lies or runs in circles."""

import asyncio
import time

from bed import DEAD, PROSODY
from checks import pair, single
from wire import Skip, condition, error_text, text_of

PING = "<ping xmlns='urn:xmpp:ping'/>"


def lay_out(bed):
    """The ways to the domains of Prosody, and the dead ends; they are the same for every check."""
    zone, prosody = bed.zone, bed.at(PROSODY)
    if "nosrv.test" in zone.names:
        return
    zone.put("nosrv.test", A=[prosody])
    zone.put("alive.found.test", A=[prosody])
    zone.put("dead.found.test", A=[bed.at(DEAD)])
    zone.server("port.test", "alive.found.test", 5299)
    zone.server("second.test", "dead.found.test", 5269, priority=1)
    zone.server("second.test", "alive.found.test", 5269, priority=2)
    zone.server("direct.test", "alive.found.test", 5270, service="xmpps-server")
    # The better priority wins over both record sets (XEP-0368 §5).
    zone.server("both.test", "alive.found.test", 5270, service="xmpps-server", priority=5)
    zone.server("both.test", "dead.found.test", 5269, priority=1)
    zone.put("_xmpp-server._tcp.alias.test", CNAME=["_real.alias.test"])
    zone.put("_real.alias.test", SRV=[(0, 0, 5269, "alive.found.test")])
    for at in range(12):  # more than a datagram of 512 bytes holds: asked again over TCP
        zone.server("many.test", f"target-number-{at}-of-very-many.found.test", 5269, priority=0, weight=at)
        zone.put(f"target-number-{at}-of-very-many.found.test", A=[prosody])
    # Dead ends.
    for service in ("xmpp-server", "xmpps-server"):
        zone.server("none.dead.test", ".", 0, service=service)
        zone.put(f"_{service}._tcp.broken.dead.test", rcode=2)
        zone.put(f"_{service}._tcp.silent.dead.test", silent=True)
        zone.put(f"_{service}._tcp.loop.dead.test", CNAME=["_a.loop.dead.test"])
        zone.server("noaddress.dead.test", "nothing.found.test", 5269, service=service)
        zone.server("literal.dead.test", bed.at(DEAD), 5269, service=service)
        zone.server("zero.dead.test", "alive.found.test", 0, service=service)
        zone.server("refused.dead.test", "dead.found.test", 5269, service=service)
    zone.put("_a.loop.dead.test", CNAME=["_b.loop.dead.test"])
    zone.put("_b.loop.dead.test", CNAME=["_a.loop.dead.test"])
    zone.put("silent.dead.test", silent=True)
    zone.put("nothing.found.test", TXT=[])
    # It says that it is at Prosody, which knows nothing of it.
    zone.server("lie.dead.test", "alive.found.test", 5269)


async def found(bed, home, away, domain):
    if away.name != "prosody":
        raise Skip("the domains are Prosody's")
    lay_out(bed)
    here = await bed.online(home)
    await here.iq("get", domain, PING)


@pair(only=("stonechat",))
async def without_srv(bed, home, away):
    await found(bed, home, away, "nosrv.test")


@pair(only=("stonechat", "ejabberd"))
async def another_port(bed, home, away):
    await found(bed, home, away, "port.test")


@pair(only=("stonechat", "ejabberd"))
async def second_target(bed, home, away):
    await found(bed, home, away, "second.test")


@pair(only=("stonechat",))
async def direct_tls_only(bed, home, away):
    await found(bed, home, away, "direct.test")


@pair(only=("stonechat",))
async def both_kinds(bed, home, away):
    await found(bed, home, away, "both.test")


@pair(only=("stonechat",))
async def by_cname(bed, home, away):
    await found(bed, home, away, "alias.test")


@pair(only=("stonechat", "ejabberd"))
async def many_targets(bed, home, away):
    await found(bed, home, away, "many.test")


async def dead_end(bed, home, domain, seconds=30):
    """A request gets an error in time, that says why; a message too, or it waits (s2s.message_hours)."""
    lay_out(bed)
    here = await bed.online(home)
    wanted = ("remote-server-not-found", "remote-server-timeout", "service-unavailable")
    number = here.say(f"a@{domain}", "lost")
    got = await here.ask("get", f"a@{domain}", PING, seconds)
    assert condition(got) in wanted and got.get("from") == f"a@{domain}", text_of(got)
    if home.keeps:
        assert error_text(got), f"no word about why: {text_of(got)}"
    else:
        error = await here.bounced(number, seconds)
        assert condition(error) in wanted and error.get("from") == f"a@{domain}", text_of(error)


def dead(domain, seconds=30, only=("stonechat", "prosody")):
    async def check(bed, home):
        await dead_end(bed, home, f"{domain}.dead.test", seconds)

    check.__name__, check.__module__ = f"dead_{domain}", __name__
    return single(only=only, patience=2 * seconds + 10)(check)


for name in ("unknown", "none", "broken", "loop", "noaddress", "literal", "zero", "refused", "lie"):
    dead(name)
dead("silent", 60, only=("stonechat",))


@single(alone=True, only=("stonechat",), patience=90)
async def silence_hurts_nobody_else(bed, home):
    """While many domains do not answer, one that does is reached at once."""
    lay_out(bed)
    here = await bed.online(home)
    for number in range(100):
        for service in ("xmpp-server", "xmpps-server"):
            bed.zone.put(f"_{service}._tcp.s{number}.dead.test", silent=True)
        bed.zone.put(f"s{number}.dead.test", silent=True)
        here.say(f"a@s{number}.dead.test", "lost")
    started = time.monotonic()
    await here.iq("get", "port.test", PING)
    assert time.monotonic() - started < 5, f"{time.monotonic() - started:.1f} s"


@single(only=("stonechat",))
async def asked_once(bed, home):
    """Of a domain that is not there, not every stanza makes a query."""
    lay_out(bed)
    here = await bed.online(home)
    await asyncio.gather(*(here.ask("get", "once.dead.test", PING, 30) for _ in range(20)))
    asked = [what for what in bed.zone.asked if "once.dead.test" in what[0]]
    assert len(asked) <= 8, f"{len(asked)} queries for 20 messages: {asked}"
