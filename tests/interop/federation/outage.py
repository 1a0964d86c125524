"""Servers that go away while messages are on their way: stopped, killed, frozen. Nothing else runs meanwhile.

Of Stonechat as `home` it is demanded that none is lost and that their order stays (RFC 6120 §10.1; XEP-0198); what
others lose is printed, and no failure. How often something comes twice is printed of all."""

import asyncio
import contextlib
import signal

from checks import befriend, pair
from client import body_of
from wire import SM, local, text_of

COUNT = 300


def bodies(*clients):
    """What these got, one after the other, without errors."""
    return [body for who in clients for it in who.inbox
            if local(it) == "message" and it.get("type") != "error" and (body := body_of(it))]


def bounces(who):
    return len(who.has(lambda it: local(it) == "message" and it.get("type") == "error"))


async def arrived(wanted, *clients, patience):
    """Until all wanted ones are there, or the time is over."""
    with contextlib.suppress(asyncio.TimeoutError):
        async with asyncio.timeout(patience):
            while not wanted <= set(bodies(*clients)):
                async with clients[-1].news:
                    await clients[-1].news.wait()


def judge(home, title, sent, got, bounced):
    """sent: bodies in order, all of which must be in `got` if home keeps what it took."""
    unique = list(dict.fromkeys(body for body in got if body in set(sent)))
    lost = [body for body in sent if body not in set(unique)]
    print(f"        {title} {home.name}: {len(sent)} sent, {len(lost)} lost, {bounced} bounced, "
          f"{len([body for body in got if body in set(sent)]) - len(unique)} twice", flush=True)
    ordered = [body for body in sent if body in set(unique)]
    if home.keeps:
        assert not lost, f"lost: {lost[:10]} of {len(lost)}, {bounced} bounced"
        assert unique == ordered, "the order is not kept: " + str(
            [(one, other) for one, other in zip(unique, ordered) if one != other][:5])


async def settled(server):
    """What it was told is on its disk: Mnesia keeps its log in memory for two seconds."""
    if server.name == "ejabberd":
        await asyncio.sleep(3)


async def connects(home, away, here):
    """Federation works (again): until a request is answered."""
    async with asyncio.timeout(60):
        while (await here.ask("get", away.domain, "<ping xmlns='urn:xmpp:ping'/>", 60)).get("type") != "result":
            await asyncio.sleep(0.2)  # there is no event for a peer that is reachable again


@pair(alone=True, patience=150)
async def stopped_in_order(bed, home, away):
    """§4.4: the other server closes its streams and is gone; what is sent then waits, or comes back as an error."""
    here, there = await bed.online(home), await bed.online(away)
    here.say(there.jid, "before")
    await there.hears("before")
    await there.log_out()
    await away.stop()
    sent = [f"meanwhile {number}" for number in range(20)]
    for body in sent:
        here.say(there.bare, body)
    if not home.keeps:
        await here.expect(lambda it: it.get("type") == "error", "an error")
    else:
        await here.iq("get", home.domain, "<ping xmlns='urn:xmpp:ping'/>")
        assert bounces(here) == 0, "it did not wait"
    await away.start()
    await connects(home, away, here)
    await there.log_in(register=False)
    await arrived(set(sent), there, patience=60 if home.keeps else 1)
    judge(home, "stopped", sent, bodies(there), bounces(here))
    here.say(there.jid, "after")
    await there.hears("after")


@pair(alone=True, patience=200)
async def killed_under_way(bed, home, away):
    here, there = await bed.online(home), await bed.online(away)
    here.say(there.jid, "before")
    await there.hears("before")
    await settled(away)
    sent = [f"flow {number}" for number in range(COUNT)]

    async def flow():
        for body in sent:
            here.say(there.bare, body)
            await here.stream.writer.drain()
            await asyncio.sleep(0.005)  # a pace at which the kill falls among them

    flowing = asyncio.create_task(flow())
    await there.hears("flow 99")
    away.tell(signal.SIGKILL)
    await asyncio.to_thread(away.process.wait)
    await away.start()
    again = await there.again("again").log_in(register=False)
    await flowing
    await arrived(set(sent) - {"flow 99"}, there, again, patience=90 if home.keeps else 5)
    await connects(home, away, here)
    judge(home, "killed", [body for body in sent if body != "flow 99"], bodies(there, again), bounces(here))


@pair(alone=True, patience=150)
async def frozen(bed, home, away):
    """The other server says nothing for a while; who talks to others is not held up by it."""
    here, there = await bed.online(home), await bed.online(away)
    other = next((server for server in bed.servers if server not in (home, away) and server.name != "stonechat"
                  and server.domain != "selfsigned.test"), home)
    await here.iq("get", other.domain, "<ping xmlns='urn:xmpp:ping'/>")
    here.say(there.jid, "before")
    await there.hears("before")
    away.tell(signal.SIGSTOP)
    try:
        sent = [f"frozen {number}" for number in range(50)]
        for body in sent:
            here.say(there.jid, body)
        await here.iq("get", other.domain, "<ping xmlns='urn:xmpp:ping'/>", 5)
    finally:
        away.tell(signal.SIGCONT)
    await arrived(set(sent), there, patience=60 if home.keeps else 10)
    judge(home, "frozen", sent, bodies(there), bounces(here))


@pair(alone=True, patience=150, only=("stonechat",))
async def home_killed(bed, home, away):
    """What home acknowledged to its client (XEP-0198) arrives, though home is killed right after."""
    here, there = await bed.online(home, managed=True), await bed.online(away)
    here.say(there.jid, "before")
    await there.hears("before")
    here.send(f"<r xmlns='{SM}'/>")
    await here.expect(lambda it: it.tag == f"{{{SM}}}a", "an acknowledgement")
    base = here.acknowledged
    for number in range(COUNT):
        here.say(there.bare, f"safe {number}")
        if number % 10 == 9:
            here.send(f"<r xmlns='{SM}'/>")
    await here.expect(lambda it: it.tag == f"{{{SM}}}a" and int(it.get("h")) >= base + 50, "acknowledgements")
    home.tell(signal.SIGKILL)
    await asyncio.to_thread(home.process.wait)
    with contextlib.suppress(Exception):
        await asyncio.wait_for(here.task, 5)
    sent = [f"safe {number}" for number in range(here.acknowledged - base)]
    await home.start()
    await here.again("again").log_in(register=False)
    await arrived(set(sent), there, patience=60)
    judge(home, "home killed", sent, bodies(there), 0)


@pair(alone=True, patience=150)
async def presence_after_a_kill(bed, home, away):
    """Contacts on a server that was killed are seen again as they come back."""
    here, there = await bed.online(home), await bed.online(away)
    await befriend(here, there)
    await settled(away)
    away.tell(signal.SIGKILL)
    await asyncio.to_thread(away.process.wait)
    await away.start()
    await connects(home, away, here)
    here.inbox.clear()
    again = await there.again("again").log_in(register=False)
    got = await here.presence_from(again.jid)
    assert got.get("type") is None, text_of(got)
    await again.presence_from(here.jid)
