"""What a check is, and the list of all of them. A module's checks are there once it is imported (run.py)."""

CHECKS = []


class Check:
    def __init__(self, function, pair, alone, patience, only):
        self.function, self.pair, self.alone, self.patience, self.only = function, pair, alone, patience, only
        module = function.__module__.rpartition(".")[2]
        self.name = f"{module}.{function.__name__}"

    def fits(self, home):
        return self.only is None or home.name in self.only


def pair(alone=False, patience=60, only=None):
    """A check of two servers: `home`, whose behaviour is in question, and `away`. Each is home once.

    alone: nothing else runs meanwhile, for it stops servers. only: names of servers that it is for, as home."""
    return lambda function: CHECKS.append(Check(function, True, alone, patience, only)) or function


def single(alone=False, patience=60, only=None):
    """A check of one server, against which the check plays the other one itself."""
    return lambda function: CHECKS.append(Check(function, False, alone, patience, only)) or function


async def contacts(bed, home, away, **options):
    """Two people online that see each other's presence."""
    here, there = await bed.online(home, **options), await bed.online(away)
    await befriend(here, there)
    return here, there


async def befriend(here, there):
    await subscribe(here, there)
    await subscribe(there, here)


async def subscribe(who, whom):
    """`who` asks and gets; and has the presence of `whom`, who is online."""
    who.send(f"<presence type='subscribe' to='{whom.bare}'/>")
    await whom.presence_from(who.bare, "subscribe")
    whom.send(f"<presence type='subscribed' to='{who.bare}'/>")
    await who.presence_from(whom.bare, "subscribed")
    await who.presence_from(whom.jid)


async def caught_up(sender, receiver):
    """All that `sender` sent before has come to `receiver`, as both go one way in their order (RFC 6120 §10.1)."""
    body = f"marker {next(sender.numbers)}"
    sender.say(receiver.jid, body)
    await receiver.hears(body)
