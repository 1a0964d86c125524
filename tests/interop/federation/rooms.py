"""Rooms (XEP-0045) whose occupants are on two servers. The room is at `away`; each server is that once."""

import asyncio

from checks import pair
from client import body_of
from wire import condition, local, text_of

MUC, USER, OWNER, ADMIN = ("http://jabber.org/protocol/muc", "http://jabber.org/protocol/muc#user",
                           "http://jabber.org/protocol/muc#owner", "http://jabber.org/protocol/muc#admin")


def statuses(presence):
    return {int(it.get("code")) for it in presence.iter(f"{{{USER}}}status")}


async def enter(who, room, nick):
    """Until the own presence and the subject are there."""
    who.send(f"<presence to='{room}/{nick}'><x xmlns='{MUC}'><history maxstanzas='0'/></x></presence>")
    own = await who.expect(lambda it: local(it) == "presence" and it.get("from") == f"{room}/{nick}",
                           f"{nick} in {room}")
    assert own.get("type") is None and 110 in statuses(own), text_of(own)
    await who.expect(lambda it: local(it) == "message" and it.find("{jabber:client}subject") is not None, "the subject")
    return own


async def room_with_two(bed, home, away):
    """The owner is away, where the room is; the guest is home."""
    owner, guest = await bed.online(away), await bed.online(home)
    room = f"r{next(bed.numbers)}@{away.rooms}"
    own = await enter(owner, room, "owner")
    if 201 in statuses(own):
        await owner.iq("set", room, f"<query xmlns='{OWNER}'><x xmlns='jabber:x:data' type='submit'/></query>")
    await enter(guest, room, "guest")
    await owner.presence_from(f"{room}/guest")
    await guest.presence_from(f"{room}/owner") if guest.has(lambda it: it.get("from") == f"{room}/owner") else None
    return room, owner, guest


@pair()
async def talk(bed, home, away):
    """All are told the same, in one order."""
    room, owner, guest = await room_with_two(bed, home, away)
    for number in range(30):
        owner.say(room, f"owner {number}", "groupchat")
        guest.say(room, f"guest {number}", "groupchat")
    for who in (owner, guest):
        await asyncio.gather(who.expect(lambda it: body_of(it) == "owner 29", "owner's last"),
                             who.expect(lambda it: body_of(it) == "guest 29", "guest's last"))
    heard = [[body_of(it) for it in who.inbox if it.get("type") == "groupchat" and body_of(it)]
             for who in (owner, guest)]
    assert heard[0] == heard[1] and len(heard[0]) == 58, heard
    assert [body for body in heard[0] if "guest" in body] == [f"guest {number}" for number in range(29)], heard


@pair()
async def subject(bed, home, away):
    room, owner, guest = await room_with_two(bed, home, away)
    owner.send(f"<message type='groupchat' to='{room}'><subject>A theme</subject></message>")
    got = await guest.expect(lambda it: it.find("{jabber:client}subject") is not None, "the subject")
    assert got.find("{jabber:client}subject").text == "A theme" and got.get("from") == f"{room}/owner", text_of(got)


@pair()
async def nickname_and_presence(bed, home, away):
    room, owner, guest = await room_with_two(bed, home, away)
    guest.send(f"<presence to='{room}/other'/>")
    got = await owner.presence_from(f"{room}/guest", "unavailable")
    assert 303 in statuses(got), text_of(got)
    await owner.presence_from(f"{room}/other")
    guest.send(f"<presence to='{room}/other'><show>away</show></presence>")
    await owner.expect(lambda it: it.get("from") == f"{room}/other" and "away" in text_of(it), "away")
    guest.send(f"<presence to='{room}/owner'/>")
    error = await guest.expect(lambda it: it.get("type") == "error", "a conflict")
    assert condition(error) == "conflict", text_of(error)


@pair()
async def kicked_and_back(bed, home, away):
    room, owner, guest = await room_with_two(bed, home, away)
    await owner.iq("set", room, f"<query xmlns='{ADMIN}'><item nick='guest' role='none'><reason>out</reason></item>"
                   "</query>")
    got = await guest.presence_from(f"{room}/guest", "unavailable")
    assert {110, 307} <= statuses(got) and "out" in text_of(got), text_of(got)
    error = await guest.bounced(guest.say(room, "I am out", "groupchat"))
    assert condition(error) in ("not-acceptable", "forbidden"), text_of(error)
    await enter(guest, room, "guest")
    await owner.iq("set", room, f"<query xmlns='{ADMIN}'><item jid='{guest.bare}' affiliation='outcast'/></query>")
    got = await guest.presence_from(f"{room}/guest", "unavailable")
    assert 301 in statuses(got), text_of(got)
    guest.send(f"<presence to='{room}/guest'><x xmlns='{MUC}'/></presence>")
    error = await guest.expect(lambda it: it.get("type") == "error", "forbidden")
    assert condition(error) == "forbidden", text_of(error)


@pair()
async def private_message_and_iq(bed, home, away):
    room, owner, guest = await room_with_two(bed, home, away)
    guest.say(f"{room}/owner", "just us", inner=f"<x xmlns='{USER}'/>")
    await owner.hears("just us", f"{room}/guest")
    owner.say(f"{room}/guest", "yes", inner=f"<x xmlns='{USER}'/>")
    await guest.hears("yes", f"{room}/owner")
    await guest.iq("get", f"{room}/guest", "<ping xmlns='urn:xmpp:ping'/>")


@pair()
async def invited(bed, home, away):
    """Through the room (§7.8.2), and from person to person (XEP-0249)."""
    room, owner, guest = await room_with_two(bed, home, away)
    friend = await bed.online(home)
    owner.send(f"<message to='{room}'><x xmlns='{USER}'><invite to='{friend.bare}'><reason>come</reason></invite></x>"
               "</message>")
    got = await friend.expect(lambda it: it.find(f"{{{USER}}}x/{{{USER}}}invite") is not None, "the invitation")
    assert got.get("from") == room and "come" in text_of(got), text_of(got)
    owner.send(f"<message to='{friend.bare}'><x xmlns='jabber:x:conference' jid='{room}'/></message>")
    await friend.expect(lambda it: it.get("from") == owner.jid and it.find("{jabber:x:conference}x") is not None, "it")


@pair()
async def left(bed, home, away):
    """In order, and by a cut."""
    room, owner, guest = await room_with_two(bed, home, away)
    guest.send(f"<presence type='unavailable' to='{room}/guest'/>")
    await owner.presence_from(f"{room}/guest", "unavailable")
    await guest.presence_from(f"{room}/guest", "unavailable")
    await enter(guest, room, "guest")
    await owner.presence_from(f"{room}/guest")
    guest.cut()
    await owner.presence_from(f"{room}/guest", "unavailable")


@pair()
async def destroyed(bed, home, away):
    room, owner, guest = await room_with_two(bed, home, away)
    await owner.iq("set", room, f"<query xmlns='{OWNER}'><destroy><reason>over</reason></destroy></query>")
    got = await guest.presence_from(f"{room}/guest", "unavailable")
    assert got.find(f".//{{{USER}}}destroy") is not None, text_of(got)


@pair()
async def found(bed, home, away):
    """Service discovery of a room elsewhere (§6)."""
    room, _, guest = await room_with_two(bed, home, away)
    got = await guest.iq("get", away.rooms, "<query xmlns='http://jabber.org/protocol/disco#info'/>")
    assert MUC in text_of(got), text_of(got)
    got = await guest.iq("get", room, "<query xmlns='http://jabber.org/protocol/disco#info'/>")
    assert "category=\"conference\"" in text_of(got), text_of(got)
