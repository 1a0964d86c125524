//! A message that is taken back (XEP-0424, XEP-0425): which one, by whom, and the tombstone that stands in its place.

use super::names::{MODERATE, MODERATE_OLD, OCCUPANT_ID, RETRACT_OLD};
use super::room::{Kept, Room};
use super::speaker;
use crate::base::time::{from_micros, stamp};
use crate::stanza::Stanza;
use crate::store::ids::ArchiveId;
use crate::store::tx::Tx;
use crate::store::{Store, StoreError, archive, uploads};
use crate::xml::ns;
use crate::xml::view::Node;
use crate::xml::writer::Xml;

/// A message that is taken back.
#[derive(Debug, Clone)]
pub struct Burial {
    /// Its id in the archive.
    pub(super) target: String,
    /// Its position there, once it is known.
    pub(super) seq: Option<i64>,
    /// Whose it has to be: an occupant id. A moderator's may be anybody's.
    pub(super) author: Option<String>,
    /// The id of the message that says so.
    pub(super) by: String,
    /// What the tombstone says of the moderator.
    pub(super) moderated: Option<Moderated>,
}

impl Burial {
    /// XEP-0424 §3, §5.1: by its author, who has this occupant id, and names it by the room's id. A tombstone needs
    /// the id of the retraction (§4).
    pub fn by_author(message: &Stanza, author: String) -> Option<Self> {
        if !message.element().has_child(ns::RETRACT, "retract") {
            return None;
        }
        let by = message.id().filter(|id| !id.is_empty())?.into_owned();
        let doc = message.element().view();
        let target = doc.root().child(ns::RETRACT, "retract")?.attr("id")?.to_owned();
        Some(Self { target, seq: None, author: Some(author), by, moderated: None })
    }

    /// Looks for its place.
    pub(super) fn locate(&mut self, store: &Store, archive: Option<ArchiveId>) {
        self.seq = archive.and_then(|archive| store.position_of_id(archive, &self.target));
    }

    /// In the transaction of the message that says so.
    pub(super) fn carry_out(
        &self,
        tx: &mut dyn Tx,
        archive: ArchiveId,
        at: i64,
    ) -> Result<(), StoreError> {
        let Some(seq) = self.seq else { return Ok(()) };
        let Some(row) = archive::get(tx, archive, seq)? else { return Ok(()) };
        let Some(found) = Stanza::ours(row.stanza.into()) else { return Ok(()) };
        if self.takes(&found) {
            let tombstone = self.tombstone(&found, &stamp(from_micros(at)));
            archive::replace(tx, archive, seq, &tombstone)?;
            // What its author uploaded for it goes with it.
            if let Some(author) = speaker::of(&found) {
                uploads::bury_named(tx, &author, &found)?;
            }
        }
        Ok(())
    }

    /// Whether it is a message that may be taken back so.
    fn takes(&self, found: &Stanza) -> bool {
        let fits = match Kind::of(found) {
            Kind::Message => true,
            // Whatever else is said with it is for moderators to judge.
            Kind::Retraction => self.moderated.is_some(),
            Kind::Tombstone | Kind::Lasting => false,
        };
        fits && self.means(found)
    }

    /// XEP-0424 §5: in a room, only the same occupant takes back what it said.
    fn means(&self, found: &Stanza) -> bool {
        let Some(author) = &self.author else { return true };
        let doc = found.element().view();
        let id = doc.root().child(OCCUPANT_ID, "occupant-id").and_then(|own| own.attr("id"));
        id == Some(author)
    }

    /// XEP-0424 §4, XEP-0425 §4: who said it stays; nothing of what was said does.
    fn tombstone(&self, found: &Stanza, stamp: &str) -> Vec<u8> {
        let mut xml = Xml::new();
        xml.start("message").attr("from", found.from().as_str()).attr("type", "groupchat");
        xml.attr_opt("id", found.id().as_deref());
        let doc = found.element().view();
        let stays = |child: &Node<'_>| matches!(child.ns(), OCCUPANT_ID | speaker::NS);
        for child in doc.root().children().filter(stays) {
            xml.raw(child.standalone().unwrap_or_default().as_bytes());
        }
        // XEP-0424 §5: that it takes back another stays, for those who were not there.
        let retract = doc.root().child(ns::RETRACT, "retract").and_then(|it| it.attr("id"));
        if let Some(id) = retract.filter(|id| id.len() <= ID_MAX) {
            xml.start("retract").attr("xmlns", ns::RETRACT).attr("id", id).end();
        }
        xml.start("retracted").attr("xmlns", ns::RETRACT).attr("id", &self.by);
        xml.attr("stamp", stamp);
        if let Some(moderated) = &self.moderated {
            moderated.write(&mut xml);
        }
        xml.end();
        if let Some(moderated) = &self.moderated {
            xml.start("moderated").attr("xmlns", MODERATE_OLD).attr("by", &moderated.by);
            xml.start("retracted").attr("xmlns", RETRACT_OLD).attr("stamp", stamp).end();
            moderated.write_reason(&mut xml);
            xml.end();
        }
        xml.end();
        xml.finish().to_vec()
    }
}

/// Which moderator, and why.
#[derive(Debug, Clone)]
pub struct Moderated {
    /// Its address in the room.
    pub by: String,
    /// Its occupant id.
    pub occupant_id: String,
    /// Why, for people.
    pub reason: Option<String>,
}

impl Moderated {
    /// XEP-0425 §3.1: within `<retract/>` and `<retracted/>`.
    pub fn write(&self, xml: &mut Xml) {
        xml.start("moderated").attr("xmlns", MODERATE).attr("by", &self.by);
        xml.start("occupant-id").attr("xmlns", OCCUPANT_ID).attr("id", &self.occupant_id).end();
        xml.end();
        self.write_reason(xml);
    }

    /// `<reason/>`, in the namespace around it.
    pub fn write_reason(&self, xml: &mut Xml) {
        if let Some(reason) = &self.reason {
            xml.element("reason", None, reason);
        }
    }
}

/// What a message in the archive is to somebody who would take it back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Somebody said it.
    Message,
    /// It is gone already.
    Tombstone,
    /// It says that another is taken back, for those who were not there (XEP-0424 §5).
    Retraction,
    /// It is the room's own.
    Lasting,
}

impl Kind {
    /// What a stored message is.
    pub fn of(stored: &Stanza) -> Self {
        let element = stored.element();
        if element.has_child(ns::RETRACT, "retracted") {
            Self::Tombstone
        } else if stored.from().is_bare() {
            Self::Lasting
        } else if element.has_child(ns::RETRACT, "retract") {
            Self::Retraction
        } else {
            Self::Message
        }
    }
}

/// Bytes of an id that a tombstone quotes; those of rooms are shorter.
const ID_MAX: usize = 128;

impl Room {
    /// What was taken back is not told to newcomers.
    pub(super) fn bury(&mut self, burial: &Burial) {
        let Some(seq) = burial.seq else { return };
        let stays = |kept: &Kept| {
            kept.seq != seq
                || !Stanza::ours(kept.frame.to_vec().into()).is_some_and(|said| burial.takes(&said))
        };
        self.history.retain(stays);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(attrs: &str, payload: &str) -> Stanza {
        let text = format!("<message type='groupchat' {attrs}>{payload}</message>");
        Stanza::ours(text.into()).unwrap()
    }

    const RETRACT: &str = "<retract xmlns='urn:xmpp:message-retract:1' id='s'/>";

    #[test]
    fn a_retraction_names_a_message_and_has_an_id() {
        for (attrs, payload, target) in [
            ("from='h@x/a' id='r'", RETRACT, Some("s")),
            ("from='h@x/a'", RETRACT, None),
            ("from='h@x/a' id=''", RETRACT, None),
            ("from='h@x/a' id='r'", "<retract xmlns='urn:xmpp:message-retract:1'/>", None),
            ("from='h@x/a' id='r'", "<retract xmlns='urn:other' id='s'/>", None),
            ("from='h@x/a' id='r'", "<body>x</body>", None),
        ] {
            let found = Burial::by_author(&message(attrs, payload), "o".to_owned());
            assert_eq!(found.map(|found| found.target).as_deref(), target, "{attrs} {payload}");
        }
    }

    #[test]
    fn a_tombstone_says_who_and_not_what() {
        let own = format!("<occupant-id xmlns='{OCCUPANT_ID}' id='o'/>");
        let mark = format!("<speaker xmlns='{}' jid='a@x/r'/>", speaker::NS);
        let said = format!("<body>secret</body><thread>secret</thread>{own}{mark}");
        let said = message("from='h@x/a' id='m' xml:lang='it'", &said);
        let retraction = message("from='h@x/b' id='r'", RETRACT);
        let of = |author: &str| Burial::by_author(&retraction, author.to_owned()).unwrap();
        assert!(of("o").means(&said) && !of("other").means(&said));
        assert!(!of("o").means(&message("from='h@x/a' id='m'", "<body>x</body>")));
        let tombstone = of("o").tombstone(&said, "2019-09-20T23:09:32Z");
        assert_eq!(
            String::from_utf8(tombstone.clone()).unwrap(),
            format!(
                "<message from='h@x/a' type='groupchat' id='m'>{own}{mark}<retracted \
                 xmlns='urn:xmpp:message-retract:1' id='r' stamp='2019-09-20T23:09:32Z'/></message>"
            )
        );
        let tombstone = Stanza::ours(tombstone.into()).unwrap();
        assert_eq!(Kind::of(&tombstone), Kind::Tombstone);
        assert_eq!((Kind::of(&said), Kind::of(&retraction)), (Kind::Message, Kind::Retraction));
        assert_eq!(Kind::of(&message("from='h@x'", "<body>x</body>")), Kind::Lasting);
    }

    /// Whoever hides words behind a retraction has them taken back by moderators; the retraction itself stays.
    #[test]
    fn a_retraction_shields_no_words() {
        let own = format!("<occupant-id xmlns='{OCCUPANT_ID}' id='o'/>");
        let said = message("from='h@x/a' id='m'", &format!("{RETRACT}<body>rude</body>{own}"));
        let by = message("from='h@x/a' id='r'", RETRACT);
        let mut burial = Burial::by_author(&by, "o".to_owned()).unwrap();
        assert!(!burial.takes(&said), "its author");
        let moderated =
            Moderated { by: "h@x/m".to_owned(), occupant_id: "i".to_owned(), reason: None };
        (burial.author, burial.moderated) = (None, Some(moderated));
        assert!(burial.takes(&said));
        assert!(!burial.takes(&message("from='h@x'", RETRACT)), "the room");
        let tombstone = String::from_utf8(burial.tombstone(&said, "t")).unwrap();
        assert!(tombstone.contains("<retract xmlns='urn:xmpp:message-retract:1' id='s'/>"));
        assert!(!tombstone.contains("rude"), "{tombstone}");
        assert_eq!(Kind::of(&Stanza::ours(tombstone.into()).unwrap()), Kind::Tombstone);
    }
}
