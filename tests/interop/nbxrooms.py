"""nbxmpp, Gajim's library, against rooms: created with the form that Gajim sends, described, told apart, asked into,
moderated, read back from the archive, and destroyed.

Skipped where nbx.py is. What a version does not have yet is left out."""

import hashlib
import time

import nbx
from common import main
from nbx import Namespace, User, scenario, wait

import nbxmpp
from nbxmpp.const import Affiliation, InviteType, Role, StatusCode
from nbxmpp.modules.vcard_temp import VCard
from nbxmpp.protocol import JID, Message, Presence
from nbxmpp.structs import StanzaHandler

# What Gajim fills in (common/helpers.py, gtk/groupchat_creation.py), whether the room offers it or not.
GAJIM = {
    "muc#roomconfig_allowinvites": True, "muc#roomconfig_persistentroom": True, "muc#roomconfig_moderatedroom": False,
    "muc#roomconfig_enablelogging": True, "muc#roomconfig_mam": True, "mam": True, "muc#roomconfig_allowpm": "anyone",
    "muc#roomconfig_enablearchiving": True, "muc#roomconfig_changesubject": True,
}


class Guest(User):
    """A client that enters rooms."""

    def __init__(self, lab, name, way, resource):
        super().__init__(lab, name, way, resource)
        self.messages = []
        self.client.register_handler(StanzaHandler(name="message", callback=self.message, priority=50))
        self.service = f"conference.{lab.domain}"
        self.muc = self.client.get_module("MUC")

    def message(self, _client, stanza, properties):
        self.messages.append((stanza, properties))

    def room(self, name):
        return JID.from_string(f"{name}-{time.monotonic_ns()}@{self.service}")

    def enter(self, room):
        """Gajim asks for no history: it reads the archive."""
        presence = Presence(to=room.new_with(resource=self.name))
        presence.setTag("x", namespace=Namespace.MUC).setTag("history", {"maxchars": "0"})
        self.client.send_stanza(presence)

    def seen(self, room, nick, wanted=lambda properties: True):
        """What the library makes of an occupant's presence."""
        occupant = room.new_with(resource=nick)
        return self.sees(lambda stanza, got: stanza.getFrom() == occupant and wanted(got), f"{nick} in {room}")

    def enters(self, room):
        self.enter(room)
        return self.seen(room, self.name, lambda got: got.muc_status_codes and StatusCode.SELF in got.muc_status_codes)

    def creates(self, room, **values):
        got = self.enters(room)
        assert StatusCode.CREATED in got.muc_status_codes, got
        form = self.do("MUC", "request_config", room).form
        for name, value in (GAJIM | {f"muc#roomconfig_{name}": value for name, value in values.items()}).items():
            if name in form.vars:
                form[name].value = value
        form.type_ = "submit"
        self.do("MUC", "set_config", room, form)

    def hears(self, wanted, what):
        """Waits for a message, and takes it and those before it away."""
        found = []

        def come():
            while self.messages and not found:
                stanza, properties = self.messages.pop(0)
                if wanted(properties):
                    found.append(properties)
            return found

        wait(f"{self.name}: {what}", come)
        return found[0]

    def asked(self, room, kind):
        """An invitation into the room. Those into the rooms of others' scenarios may still wait."""
        def wanted(got):
            return got.muc_invite is not None and (got.muc_invite.muc, got.muc_invite.type) == (room, kind)

        return self.hears(wanted, f"{kind} into {room}").muc_invite

    def said(self, text):
        return self.hears(lambda got: got.body == text and not got.is_mam_message, text)

    def say(self, room, text):
        self.client.send_stanza(Message(to=room, typ="groupchat", body=text))


def ids_of(properties):
    """Each of the versions has its own way to tell them."""
    kept = properties.stanza_ids[0] if hasattr(properties, "stanza_ids") else properties.stanza_id
    return kept.id


@scenario
def private_group(lab, way):
    """As Gajim makes it: hidden, for members, who see each other. Who is asked in reads what was said before."""
    alice, bob = Guest(lab, "alice", way, "a").online(), Guest(lab, "bob", way, "b").online()
    room = alice.room("group")
    alice.creates(room, roomname="Group", publicroom=False, membersonly=True, whois="anyone")
    assert bob.do("MUC", "request_info", room).info.muc_room_name is None, "strangers are told its name"
    info = alice.do("MUC", "request_info", room).info
    assert info.muc_room_name == "Group" and info.muc_is_members_only and info.muc_is_nonanonymous, info
    assert info.muc_is_hidden and info.muc_is_persistent and info.has_mam_2, info
    bob.enter(room)
    bob.sees(lambda _, got: got.type.is_error and got.error.condition == "registration-required", "a refusal")
    alice.say(room, "before")
    alice.said("before")
    # What Gajim does when somebody is dropped on a group.
    alice.do("MUC", "set_affiliation", room, {bob.bare: {"affiliation": "member"}})
    alice.muc.invite(room, bob.bare, None, "come in", type_=InviteType.DIRECT)
    # The room asks a new member in (XEP-0045 9.3), and so does Gajim.
    bob.asked(room, InviteType.MEDIATED)
    bob.asked(room, InviteType.DIRECT)
    own = bob.enters(room)
    assert StatusCode.NON_ANONYMOUS in own.muc_status_codes, own
    assert own.muc_user.affiliation == Affiliation.MEMBER and own.muc_user.role == Role.PARTICIPANT, own
    there = alice.seen(room, "bob")
    assert there.muc_user.jid.bare_match(bob.bare) and there.occupant_id, there
    page = bob.do("MAM", "make_query", room, queryid="q", max_=10)
    assert page.complete, page
    bob.hears(lambda got: got.is_mam_message and got.body == "before", "what was said before")
    users = alice.do("MUC", "get_affiliation", room, "member").users
    assert list(users) == [bob.bare], users
    alice.muc.invite(room, bob.bare, None, "again", type_=InviteType.MEDIATED)
    asked = bob.asked(room, InviteType.MEDIATED)
    assert asked.reason == "again", asked
    bob.muc.decline(room, asked.from_, "I am here")
    declined = alice.hears(lambda got: got.muc_decline is not None, "a decline").muc_decline
    assert declined.from_.bare_match(bob.bare) and declined.reason == "I am here", declined
    alice.do("MUC", "set_affiliation", room, {bob.bare: {"affiliation": "none"}})
    gone = bob.seen(room, "bob", lambda got: got.type.is_unavailable)
    assert StatusCode.REMOVED_AFFILIATION_CHANGE in gone.muc_status_codes, gone
    alice.do("MUC", "destroy", room, "done")
    alice.leave()
    bob.leave()


@scenario
def public_channel(lab, way):
    """Open to all: with a subject and an avatar, moderated, and destroyed with a word where to go."""
    alice, bob = Guest(lab, "alice", way, "a").online(), Guest(lab, "bob", way, "b").online()
    room = alice.room("channel")
    alice.creates(room, roomname="Channel", publicroom=True, membersonly=False, whois="moderators")
    card = VCard()
    card.set_avatar(nbx.IMAGE, "image/png")
    alice.do("VCardTemp", "set_vcard", card, jid=room)
    sha = hashlib.sha1(nbx.IMAGE).hexdigest()
    bob.enter(room)
    bob.sees(lambda stanza, got: stanza.getFrom() == room and nbx.photo(sha)(stanza, got), "the room's avatar")
    assert bob.do("VCardTemp", "request_vcard", jid=room).get_avatar()[1] == sha
    bob.seen(room, "bob")
    bob.hears(lambda got: got.is_muc_subject, "the subject")
    alice.client.send_stanza(Message(to=room, typ="groupchat", subject="News"))
    assert bob.hears(lambda got: got.is_muc_subject, "the subject").subject == "News"
    bob.say(room, "rude")
    rude = ids_of(alice.said("rude"))
    bob.said("rude")
    if hasattr(alice.muc, "moderate_message"):
        alice.do("Moderation", "send_moderation_request", Namespace.MESSAGE_MODERATE_1, room, rude, "manners")
    else:
        alice.muc.retract_message(room, rude, "manners")
    told = bob.hears(lambda got: got.moderation is not None, "that it is moderated").moderation
    assert (told.stanza_id, told.reason) == (rude, "manners"), told
    page = bob.do("MAM", "make_query", room, queryid="q", max_=10)
    assert page.complete, page
    stone = bob.hears(lambda got: got.is_mam_message and got.moderation is not None, "what is left of it").moderation
    assert stone.reason == "manners", stone
    alice.do("MUC", "set_role", room, "bob", "visitor")
    assert bob.seen(room, "bob").muc_user.role == Role.VISITOR
    bob.muc.request_voice(room)
    request = alice.hears(lambda got: got.voice_request is not None, "a request for voice").voice_request
    alice.muc.approve_voice_request(room, request)
    assert bob.seen(room, "bob").muc_user.role == Role.PARTICIPANT
    alice.do("MUC", "set_role", room, "bob", "none", "enough")
    gone = bob.seen(room, "bob", lambda got: got.type.is_unavailable)
    assert StatusCode.REMOVED_KICKED in gone.muc_status_codes and gone.muc_user.reason == "enough", gone
    alice.do("MUC", "set_affiliation", room, {bob.bare: {"affiliation": "outcast"}})
    bob.enter(room)
    bob.sees(lambda _, got: got.type.is_error and got.error.condition == "forbidden", "a refusal")
    venue = f"other@{alice.service}"
    alice.do("MUC", "destroy", room, "moved", venue)
    gone = alice.sees(lambda _, got: got.is_muc_destroyed, "the end of the room").muc_destroyed
    assert str(gone.alternate) == venue, gone
    alice.leave()
    bob.leave()


if __name__ == "__main__":
    main(f"nbxmpp {nbxmpp.__version__} rooms", [private_group, public_channel])
