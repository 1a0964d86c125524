"""slixmpp's OMEMO plug-in (XEP-0384) between people: keys published, found by strangers and contacts,
messages read on every device, a new device heard of; and three in a room."""

import asyncio
import time

from omemo.storage import Just, Nothing, Storage
from slixmpp.jid import JID
from slixmpp.plugins import register_plugin
from slixmpp_omemo import XEP_0384

from common import PATIENCE, main, within
from slix import User

SPOKEN = "eu.siacs.conversations.axolotl"  # what messages are encrypted with: the plug-in has no stanza encryption
PUBLISHED = {SPOKEN, "urn:xmpp:omemo:2"}


class Memory(Storage):
    """A device's keys, for as long as the scenario lasts."""

    def __init__(self):
        super().__init__(disable_cache=True)
        self.kept = {}

    async def _load(self, key):
        return Just(self.kept[key]) if key in self.kept else Nothing()

    async def _store(self, key, value):
        self.kept[key] = value

    async def _delete(self, key):
        self.kept.pop(key, None)


class Plugin(XEP_0384):
    """Trusts whom it meets."""

    def __init__(self, *arguments, **options):
        super().__init__(*arguments, **options)
        self.memory = Memory()

    @property
    def storage(self):
        return self.memory

    @property
    def _btbv_enabled(self):
        return True

    async def _prompt_manual_trust(self, manually_trusted, identifier):
        raise AssertionError(f"asked whether to trust {manually_trusted}")


register_plugin(Plugin)


class Device(User):
    """A client with keys of its own. What a device knew when it was here last is its memory."""

    def __init__(self, lab, name, way, resource, memory=None):
        super().__init__(lab, name, way, resource)
        for plugin in ("xep_0045", "xep_0163", "xep_0280", "xep_0380"):
            self.register_plugin(plugin)
        self.register_plugin("xep_0384", module=__import__(__name__))
        self.omemo = self.plugin["xep_0384"]
        if memory:
            self.omemo.memory = memory
        self.copies = asyncio.Queue()
        self.add_event_handler("carbon_sent", lambda got: self.copies.put_nowait(got["carbon_sent"]))

    async def ready(self):
        await self.go_online()
        await within(self.plugin["xep_0280"].enable(), "carbons")
        self.keys = await within(self.omemo.get_session_manager(), "keys published")
        return self

    async def own(self):
        return (await within(self.keys.get_own_device_information(), "the own device"))[0].device_id

    async def whisper(self, jid, text, to=None, kind="chat"):
        """To one, or to a room whose people are given."""
        to = to or {JID(jid)}
        message = self.make_message(mto=JID(jid), mtype=kind)
        message["body"] = text
        secret, errors = await within(self.omemo.encrypt_message(message, to), f"keys of {to}")
        assert not errors and secret is not None, f"not for {to}: {errors}"
        assert text not in str(secret), secret
        secret.send()

    async def people(self, room):
        """Whose keys are needed, here or not: only members' lists tell (XEP-0384 5.8)."""
        jids = set()
        for affiliation in ("owner", "admin", "member"):
            got = self.plugin["xep_0045"].get_affiliation_list(room, affiliation)
            jids |= {JID(jid) for jid in await within(got, f"the {affiliation} list")}
        return jids

    async def hear(self, text, queue=None):
        """The next encrypted message with a text; others complete the exchange of keys between two devices."""
        while True:
            got = await within((queue or self.messages).get(), f"the secret {text!r} at {self.boundjid}")
            if got.xml.find(f"{{{SPOKEN}}}encrypted/{{{SPOKEN}}}payload") is not None:
                break
        plain, device = await within(self.omemo.decrypt_message(got), "decryption")
        assert plain["body"] == text, (plain, got)
        return device

    async def knows(self, jid, devices):
        """Waits until it has been told, without asking, that an account has these devices."""
        until = time.monotonic() + PATIENCE
        while time.monotonic() < until:
            known = await within(self.keys.get_device_information(jid), f"devices of {jid}")
            if {device.device_id for device in known if dict(device.active).get(SPOKEN)} == devices:
                return
            await asyncio.sleep(0.02)
        raise AssertionError(f"{self.boundjid} was not told: {known}")

    async def forget(self):
        """Takes the account's keys off the server."""
        nodes = ["urn:xmpp:omemo:2:devices", "urn:xmpp:omemo:2:bundles", f"{SPOKEN}.devicelist"]
        for device in await within(self.keys.get_device_information(self.boundjid.bare), "own devices"):
            nodes.append(f"{SPOKEN}.bundles:{device.device_id}")
        for node in nodes:
            await within(self.plugin["xep_0060"].delete_node(self.boundjid.bare, node), f"{node} deleted")


async def strangers(lab, way):
    """Keys are open to read; who is no contact can subscribe to the list, and hears of a new device."""
    alice = await Device(lab, "alice", way, "a").ready()
    bob = await Device(lab, "bob", way, "b").ready()
    await alice.whisper(lab.jid("bob"), "to a stranger")
    device = await bob.hear("to a stranger")
    assert device.device_id == await alice.own(), device
    (device,) = await within(alice.keys.get_device_information(lab.jid("bob")), "devices of bob")
    assert set(device.namespaces) == PUBLISHED, device
    await bob.whisper(lab.jid("alice"), "from a stranger")
    await alice.hear("from a stranger")
    other = await Device(lab, "bob", way, "other").ready()
    await alice.knows(lab.jid("bob"), {await bob.own(), await other.own()})
    await alice.whisper(lab.jid("bob"), "to both")
    await bob.hear("to both")
    await other.hear("to both")
    await other.leave()
    for device in (bob, alice):
        await device.forget()
        await device.leave()


async def contacts(lab, way):
    """Contacts hear of a new device without asking; what one device says the other can read; and what was said
    to nobody at home can be read later."""
    alice = await Device(lab, "alice", way, "a").ready()
    bob = await Device(lab, "bob", way, "b").ready()
    for asker, asked in ((alice, bob), (bob, alice)):
        asker.send_presence(pto=asked.boundjid.bare, ptype="subscribe")
        await asked.presence_from(asker.boundjid.bare, "subscribe")
        asked.send_presence(pto=asker.boundjid.bare, ptype="subscribed")
        await asker.presence_from(asked.boundjid.full)
    await alice.knows(lab.jid("bob"), {await bob.own()})
    other = await Device(lab, "bob", way, "other").ready()
    both = {await bob.own(), await other.own()}
    await alice.knows(lab.jid("bob"), both)
    await bob.knows(lab.jid("bob"), both)
    await alice.whisper(lab.jid("bob"), "to a contact")
    await bob.hear("to a contact")
    await other.hear("to a contact")
    await bob.whisper(lab.jid("alice"), "from a contact")
    await alice.hear("from a contact")
    device = await other.hear("from a contact", other.copies)
    assert device.device_id == await bob.own(), device
    memory = bob.omemo.memory
    await bob.leave()
    await other.leave()
    await alice.whisper(lab.jid("bob"), "for later")
    bob = await Device(lab, "bob", way, "b", memory).ready()
    await bob.hear("for later")
    await within(alice.del_roster_item(lab.jid("bob")), "remove")
    await within(bob.del_roster_item(lab.jid("alice")), "remove")
    for device in (bob, alice):
        await device.forget()
        await device.leave()


async def group(lab, way):
    """Three in a room for members, who see each other: all read all, who was away reads it later in the archive."""
    alice, bob, carol = [await Device(lab, name, way, name).ready() for name in ("alice", "bob", "carol")]
    everybody = {JID(lab.jid(name)) for name in ("alice", "bob", "carol")}
    room = JID(f"omemo-{time.monotonic_ns()}@conference.{lab.domain}")
    muc = alice.plugin["xep_0045"]
    enter = {"maxchars": 0, "timeout": PATIENCE}
    await within(muc.join_muc_wait(room, "alice", **enter), "a room")
    form = await within(muc.get_room_config(room), "the form")
    for name, value in (("membersonly", True), ("whois", "anyone"), ("persistentroom", True)):
        form.get_fields()[f"muc#roomconfig_{name}"]["value"] = value
    await within(muc.set_room_config(room, form), "the form taken")
    members = [(lab.jid(name), "member") for name in ("bob", "carol")]
    await within(muc.send_affiliation_list(room, members), "members")
    await within(bob.plugin["xep_0045"].join_muc_wait(room, "bob", **enter), "bob enters")
    # carol is a member, and not there.
    assert await alice.people(room) == everybody
    await alice.whisper(room, "to the room", everybody, "groupchat")
    device = await bob.hear("to the room")
    assert device.device_id == await alice.own(), device
    assert await bob.people(room) == everybody
    await bob.whisper(room, "from the room", everybody, "groupchat")
    await alice.hear("to the room")  # her own, as the room sends it back
    for device in (alice, bob):
        await device.hear("from the room")
    await within(carol.plugin["xep_0045"].join_muc_wait(room, "carol", **enter), "carol enters")
    page = await within(carol.plugin["xep_0313"].retrieve(jid=room), "the room's archive")
    for text, got in zip(("to the room", "from the room"), page["mam"]["results"], strict=True):
        plain, _ = await within(carol.omemo.decrypt_message(got["mam_result"]["forwarded"]["stanza"]), "decryption")
        assert plain["body"] == text, plain
    await carol.whisper(room, "I have read it", everybody, "groupchat")
    await alice.hear("I have read it")
    await bob.hear("I have read it")
    await within(muc.destroy(room), "destroyed")
    for device in (alice, bob, carol):
        await device.forget()
        await device.leave()


if __name__ == "__main__":
    main("omemo", [strangers, contacts, group])
