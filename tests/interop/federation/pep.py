"""What people publish, seen from the other server (XEP-0163): notifications by caps, avatars, keys."""

import base64
import hashlib
import itertools

from checks import contacts, pair
from wire import condition, text_of

PUBSUB, EVENT, INFO = ("http://jabber.org/protocol/pubsub", "http://jabber.org/protocol/pubsub#event",
                       "http://jabber.org/protocol/disco#info")
NICK, TUNE = "http://jabber.org/protocol/nick", "http://jabber.org/protocol/tune"
AVATAR, DATA = "urn:xmpp:avatar:metadata", "urn:xmpp:avatar:data"
DEVICES, BUNDLES = "eu.siacs.conversations.axolotl.devicelist", "eu.siacs.conversations.axolotl.bundles:1"
NUMBERS = itertools.count(1)


def caps(who, *nodes):
    """Makes the client say that it wants these nodes; returns what goes into presence (XEP-0115 §5). Each is a program
    that no server has seen before."""
    features = sorted([INFO, f"urn:example:{next(NUMBERS)}", *(f"{node}+notify" for node in nodes)])
    text = "client/pc//checks<" + "".join(f"{feature}<" for feature in features)
    ver = base64.b64encode(hashlib.sha1(text.encode()).digest()).decode()
    listed = "".join(f"<feature var='{feature}'/>" for feature in features)
    who.answers[f"{{{INFO}}}query"] = (f"<query xmlns='{INFO}' node='urn:checks#{ver}'><identity category='client' "
                                       f"type='pc' name='checks'/>{listed}</query>")
    return f"<c xmlns='http://jabber.org/protocol/caps' hash='sha-1' node='urn:checks' ver='{ver}'/>"


async def publish(who, node, payload, item="current", access=None):
    options = ""
    if access:
        options = ("<publish-options><x xmlns='jabber:x:data' type='submit'><field var='FORM_TYPE' type='hidden'>"
                   f"<value>{PUBSUB}#publish-options</value></field><field var='pubsub#access_model'>"
                   f"<value>{access}</value></field></x></publish-options>")
    request = (f"<pubsub xmlns='{PUBSUB}'><publish node='{node}'><item id='{item}'>{payload}</item></publish>"
               f"{options}</pubsub>")
    got = await who.ask("set", None, request)
    if got.get("type") == "error" and who.server.name == "ejabberd":
        got = await who.ask("set", None, request)  # it fails now and then while others make their first nodes
    assert got.get("type") == "result", text_of(got)


def items(who, owner, node):
    return who.ask("get", owner, f"<pubsub xmlns='{PUBSUB}'><items node='{node}'/></pubsub>")


async def told(who, owner, node, text):
    return await who.expect(
        lambda it: it.get("from") == owner.bare and it.find(f"{{{EVENT}}}event/{{{EVENT}}}items[@node='{node}']")
        is not None and text in text_of(it), f"{node} of {owner.bare} with {text!r}")


async def another(who, contact, *nodes):
    """Another device of `who`, that wants these nodes."""
    wanted = caps(who, *nodes)
    if contact.server.name == "ejabberd":
        # 23.01 sends last items only to programs that it knows already: it does not come back to it after disco.
        await who.available(wanted)
        await who.expect(lambda it: it.find(f"{{{INFO}}}query") is not None and it.get("from") == contact.jid
                         or it.get("from") == contact.bare, "disco of caps")
        await who.iq("get", contact.jid, "<ping xmlns='urn:xmpp:ping'/>")
    made = who.again("later")
    made.answers.update(who.answers)
    await made.log_in(register=False, presence=False)
    await made.available(wanted)
    return made


@pair()
async def notified(bed, home, away):
    """Home's client says by its caps what it wants; away's server asks it across, and tells it."""
    here, there = await contacts(bed, home, away)
    await here.available(caps(here, NICK, TUNE, AVATAR))
    await there.presence_from(here.jid)
    # That it has asked: what is published from then on is told.
    await here.expect(lambda it: it.find(f"{{{INFO}}}query") is not None and it.get("type") == "get"
                      and it.get("from") != here.bare, "disco of caps")
    await here.iq("get", there.jid, "<ping xmlns='urn:xmpp:ping'/>")
    await publish(there, NICK, f"<nick xmlns='{NICK}'>Juliet</nick>")
    await told(here, there, NICK, "Juliet")
    await publish(there, TUNE, f"<tune xmlns='{TUNE}'><title>Song</title></tune>")
    await told(here, there, TUNE, "Song")
    await publish(there, "urn:example:unwanted", "<x xmlns='urn:example:unwanted'/>")
    await publish(there, TUNE, f"<tune xmlns='{TUNE}'><title>Next</title></tune>")
    await told(here, there, TUNE, "Next")
    assert not here.has(lambda it: "urn:example:unwanted" in text_of(it)), "a notification that nobody wanted"


@pair()
async def last_item_at_login(bed, home, away):
    here, there = await contacts(bed, home, away)
    await publish(there, NICK, f"<nick xmlns='{NICK}'>Before</nick>")
    later = await another(here, there, NICK)
    await told(later, there, NICK, "Before")


@pair()
async def avatar(bed, home, away):
    """XEP-0084: the hash is told, the picture fetched across."""
    here, there = await contacts(bed, home, away)
    picture = bytes(range(256)) * 40
    number = hashlib.sha1(picture).hexdigest()
    encoded = base64.b64encode(picture).decode()
    await publish(there, DATA, f"<data xmlns='{DATA}'>{encoded}</data>", number)
    await publish(there, AVATAR, f"<metadata xmlns='{AVATAR}'><info id='{number}' type='image/png' "
                  f"bytes='{len(picture)}'/></metadata>", number)
    later = await another(here, there, AVATAR)
    await told(later, there, AVATAR, number)
    got = await items(later, there.bare, DATA)
    assert encoded in text_of(got), text_of(got)[:500]


@pair()
async def omemo_devices(bed, home, away):
    """XEP-0384: lists and bundles that are open to all, fetched by somebody who is no contact."""
    here, there = await bed.online(home), await bed.online(away)
    for owner, reader in ((there, here), (here, there)):
        await publish(owner, DEVICES, "<list xmlns='eu.siacs.conversations.axolotl'><device id='4711'/></list>",
                      access="open")
        await publish(owner, BUNDLES, "<bundle xmlns='eu.siacs.conversations.axolotl'><identityKey>QUJD</identityKey>"
                      "</bundle>", access="open")
        assert "4711" in text_of(await items(reader, owner.bare, DEVICES))
        assert "QUJD" in text_of(await items(reader, owner.bare, BUNDLES))
        got = await items(reader, owner.bare, "eu.siacs.conversations.axolotl.bundles:2")
        assert condition(got) == "item-not-found" or "<item " not in text_of(got), text_of(got)


@pair()
async def closed_to_strangers(bed, home, away):
    """The default of XEP-0163 is for contacts; and nobody publishes for somebody else."""
    here, there = await bed.online(home), await bed.online(away)
    await publish(here, NICK, f"<nick xmlns='{NICK}'>Mine</nick>")
    got = await items(there, here.bare, NICK)
    assert condition(got), text_of(got)
    got = await there.ask("set", here.bare, f"<pubsub xmlns='{PUBSUB}'><publish node='{NICK}'><item id='current'>"
                          f"<nick xmlns='{NICK}'>Forged</nick></item></publish></pubsub>")
    assert condition(got), text_of(got)
    assert "Forged" not in text_of(await items(here, here.bare, NICK))
