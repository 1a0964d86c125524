//! The lists of a room (XEP-0045 §8.5, §9.2, §9.5, §9.8, §10.5, §10.8), and who may read them.

use std::collections::HashMap;

use super::judge::Rank;
use super::rights::{Affiliation, Role};
use super::room::Room;
use super::rooms::Hold;
use super::settings::{Least, Whois};
use crate::jid::Jid;
use crate::modules::api::{Cx, Reply};
use crate::stanza::StanzaError;
use crate::stanza::iq::Iq;
use crate::xml::view::Node;
use crate::xml::writer::Xml;

/// The namespace of admins.
pub const ADMIN: &str = "http://jabber.org/protocol/muc#admin";

/// A list of a room.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum List {
    /// Who has this affiliation.
    Of(Affiliation),
    /// Who is in the room with this role.
    In(Role),
}

impl Room {
    /// What an address is to the room, and what it may do in it now.
    pub(super) fn rank(&self, jid: &Jid) -> Rank {
        let role = self.occupant_of(jid).map_or(Role::None, |occupant| occupant.role);
        Rank { affiliation: self.affiliation(jid.bare_str()), role }
    }

    /// Whether somebody may read a list.
    pub(super) fn may_read(&self, reader: Rank, list: List) -> bool {
        let is_admin = reader.affiliation >= Affiliation::Admin;
        let is_open = self.settings.whois == Whois::Anyone;
        match list {
            // §9.2; nobody keeps a list of those who are not listed (§5.2), so nobody is in it.
            List::Of(Affiliation::Outcast | Affiliation::None) => is_admin,
            List::Of(Affiliation::Member) => is_admin || self.reads_members(reader),
            // §10.5, §10.8: where addresses are hidden these are the owners' own lists.
            List::Of(Affiliation::Admin | Affiliation::Owner) => {
                reader.affiliation == Affiliation::Owner
                    || (is_open && (is_admin || self.reads_members(reader)))
            }
            // §8.5, and before §9.1 for §9.8.
            List::In(Role::Moderator) => is_admin,
            List::In(_) => reader.moderates(),
        }
    }

    /// §9.5 of those who are no admins, and `muc#roomconfig_getmemberlist`; §5.2.1: not where it would show addresses
    /// that are hidden.
    fn reads_members(&self, reader: Rank) -> bool {
        let is_member = reader.affiliation >= Affiliation::Member;
        let is_in = reader.role != Role::None;
        if self.settings.whois != Whois::Anyone {
            return reader.role == Role::Moderator;
        }
        if self.settings.members_only && (is_in || is_member) {
            return true;
        }
        let role = match is_member {
            true => reader.role.max(reader.affiliation.first_role(self.settings.moderated)),
            false => reader.role,
        };
        role >= match self.settings.member_list {
            Least::Visitor => Role::Visitor,
            Least::Participant => Role::Participant,
            Least::Moderator => Role::Moderator,
        }
    }

    /// Writes the items of a list.
    pub(super) fn write_list(&self, xml: &mut Xml, list: List) {
        match list {
            List::Of(Affiliation::None) => {}
            List::Of(affiliation) => self.write_people(xml, affiliation),
            List::In(role) => self.write_occupants(xml, role),
        }
    }

    /// §17.4 rule 6: bare JID and nickname, no role; of outcasts no nickname.
    fn write_people(&self, xml: &mut Xml, affiliation: Affiliation) {
        let inside: HashMap<&str, &str> =
            self.occupants().map(|one| (one.bare(), &*one.nick.text)).collect();
        let mut reasons = 0;
        for (jid, standing) in &self.standing {
            if standing.affiliation != affiliation {
                continue;
            }
            let reserved = standing.nick.as_deref();
            let nick = reserved.or_else(|| inside.get(jid.as_str()).copied());
            xml.start("item").attr("affiliation", affiliation.as_str()).attr("jid", jid.as_str());
            xml.attr_opt("nick", nick.filter(|_| affiliation != Affiliation::Outcast));
            if let Some(reason) = standing.reason.as_deref() {
                reasons += reason.len();
                // A long list goes without: they are optional.
                if reasons <= REASONS_BYTES_MAX {
                    xml.element("reason", None, reason);
                }
            }
            xml.end();
        }
    }

    /// §17.4 rule 5
    fn write_occupants(&self, xml: &mut Xml, role: Role) {
        for occupant in self.occupants().filter(|one| one.role == role) {
            let affiliation = self.affiliation(occupant.bare());
            xml.start("item").attr("affiliation", affiliation.as_str());
            xml.attr_opt("jid", occupant.seat().map(|seat| seat.jid.as_str()));
            xml.attr("nick", &occupant.nick.text).attr("role", role.as_str()).end();
        }
    }
}

/// Answers a request for a list.
pub(super) fn show(cx: &Cx, hold: &Hold, iq: &Iq) -> Result<Reply, StanzaError> {
    let list = {
        let doc = iq.stanza().element().view();
        let query = doc.root().first_child().ok_or_else(StanzaError::bad_request)?;
        read(query)?
    };
    let room = hold.lock();
    if !room.may_read(room.rank(cx.jid()), list) {
        return Err(StanzaError::forbidden().text("this list is not for you to read"));
    }
    let mut xml = Xml::new();
    xml.start("query").attr("xmlns", ADMIN);
    room.write_list(&mut xml, list);
    xml.end();
    Ok(Reply::payload(xml.finish()))
}

fn read(query: Node<'_>) -> Result<List, StanzaError> {
    let bad = || StanzaError::bad_request().text("one list at a time, by affiliation or by role");
    let mut items = query.children().filter(|child| child.is(ADMIN, "item"));
    let (Some(item), None) = (items.next(), items.next()) else { return Err(bad()) };
    match (item.attr("affiliation"), item.attr("role")) {
        (Some(affiliation), None) => Affiliation::parse(affiliation).map(List::Of).ok_or_else(bad),
        (None, Some(role)) => {
            let role = Role::parse(role).filter(|role| *role != Role::None);
            role.map(List::In).ok_or_else(bad)
        }
        _ => Err(bad()),
    }
}

/// Bytes of reasons in one list.
const REASONS_BYTES_MAX: usize = 131_072;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::modules::muc::Config;
    use crate::modules::muc::settings::Settings;

    /// §9.2, §9.5, §10.5, §10.8: `o`wners, `a`dmins, `m`embers, outcasts (`b`anned) by who reads.
    #[test]
    fn lists_are_read_by_those_who_may() {
        use Affiliation::{Admin, Member, None, Outcast, Owner};
        let semi = Settings { whois: Whois::Moderators, ..Settings::default() };
        let open = Settings { whois: Whois::Anyone, ..Settings::default() };
        let all = Settings { member_list: Least::Visitor, ..open.clone() };
        let group = Settings { members_only: true, ..open.clone() };
        let hidden = Settings { member_list: Least::Visitor, ..semi.clone() };
        let outside = Role::None;
        for (settings, affiliation, role, expected) in [
            (&semi, Owner, outside, "oamb"),
            (&semi, Admin, Role::Moderator, "mb"),
            (&semi, Member, Role::Participant, ""),
            // It sees all addresses as it is.
            (&semi, None, Role::Moderator, "m"),
            // §5.2.1: whatever the configuration says.
            (&hidden, Member, Role::Participant, ""),
            (&open, Admin, outside, "oamb"),
            (&open, Member, Role::Participant, ""),
            (&open, None, Role::Moderator, "oam"),
            (&all, None, Role::Visitor, "oam"),
            (&all, Member, outside, "oam"),
            (&all, None, outside, ""),
            // §9.5: any member, in the room or not.
            (&group, Member, Role::Participant, "oam"),
            (&group, Member, outside, "oam"),
            (&group, None, outside, ""),
            (&group, Outcast, outside, ""),
        ] {
            let jid = crate::jid::BareJid::parse("hall@rooms.example").unwrap();
            let room = Room::new(jid, settings.clone(), [0; 32], Config::default().bounds());
            let reader = Rank { affiliation, role };
            let lists = [(Owner, 'o'), (Admin, 'a'), (Member, 'm'), (Outcast, 'b')];
            let read = lists.into_iter().filter(|(one, _)| room.may_read(reader, List::Of(*one)));
            let read: String = read.map(|(_, name)| name).collect();
            assert_eq!(read, expected, "{affiliation:?} {role:?} of {settings:?}");
        }
    }

    /// §8.5, §9.8
    #[test]
    fn moderators_read_the_voice_list_and_admins_that_of_moderators() {
        use Affiliation::{Admin, None};
        let jid = crate::jid::BareJid::parse("hall@rooms.example").unwrap();
        let room = Room::new(jid, Settings::default(), [0; 32], Config::default().bounds());
        for (affiliation, role, voice, moderators) in [
            (None, Role::Participant, false, false),
            (None, Role::Moderator, true, false),
            (Admin, Role::None, true, true),
        ] {
            let reader = Rank { affiliation, role };
            assert_eq!(room.may_read(reader, List::In(Role::Participant)), voice);
            assert_eq!(room.may_read(reader, List::In(Role::Visitor)), voice);
            assert_eq!(room.may_read(reader, List::In(Role::Moderator)), moderators);
        }
    }
}
