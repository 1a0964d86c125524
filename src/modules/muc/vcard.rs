//! A room's vCard, for the sake of its avatar (XEP-0486).

use std::sync::Arc;

use super::deliver::{Plan, change};
use super::looks::Looks;
use super::names::VCARD;
use super::outputs::Outputs;
use super::owner::only_owners;
use super::room::Room;
use super::rooms::Hold;
use super::route::Route;
use super::rows;
use super::settings::Settings;
use super::show::AVAILABLE;
use crate::base::hash::{hex, sha1, unbase64};
use crate::jid::Jid;
use crate::modules::api::{Cx, Reply};
use crate::stanza::iq::{Iq, IqType};
use crate::stanza::{Frame, StanzaError};
use crate::store::tx::Tx;
use crate::xml::view::Node;
use crate::xml::writer::{Xml, escape_attr};

/// Reads and sets it.
pub(super) const ROUTES: &[Route] = &[
    Route {
        ty: IqType::Get,
        ns: VCARD,
        name: "vCard",
        handler: |cx, hold, _| Box::pin(get(cx, hold)),
    },
    Route {
        ty: IqType::Set,
        ns: VCARD,
        name: "vCard",
        handler: |cx, hold, iq| Box::pin(set(cx, hold, iq)),
    },
];

/// XEP-0486 §3.4: before one enters, too, but for a room that does not show itself.
async fn get(cx: Cx, hold: Arc<Hold>) -> Result<Reply, StanzaError> {
    let id = {
        let room = hold.lock();
        room.may_see(cx.jid())?;
        room.id
    };
    let Some(id) = id else { return Err(StanzaError::item_not_found()) };
    let vcard = cx.store.read(move |tx: &mut dyn Tx| rows::vcard(tx, id)).await?;
    // XEP-0054 §3.1: this for a vCard that there is not.
    vcard.map(Reply::payload).ok_or_else(StanzaError::item_not_found)
}

/// XEP-0486 §3.2
async fn set(cx: Cx, hold: Arc<Hold>, iq: Iq) -> Result<Reply, StanzaError> {
    only_owners(&hold.lock(), cx.jid())?;
    let (vcard, avatar) = {
        let doc = iq.stanza().element().view();
        let vcard = doc.root().first_child().ok_or_else(StanzaError::bad_request)?;
        read(vcard, cx.config.muc.vcard_bytes_max)?
    };
    let by = cx.jid().clone();
    change(&cx, &hold, move |room| {
        only_owners(room, &by)?;
        let id = room.id.ok_or_else(|| {
            StanzaError::not_allowed().text("the room has to be configured first")
        })?;
        let looks = Looks { avatar, ..room.settings.looks.clone() };
        let settings = Settings { looks, ..room.settings.clone() };
        let new = settings.clone();
        let write = move |tx: &mut dyn Tx| {
            rows::set_vcard(tx, id, vcard.as_deref())?;
            rows::configure(tx, id, &settings)
        };
        let apply = move |room: &mut Room, (), out: &mut Outputs| {
            room.settings.looks = new.looks;
            room.announce_codes(&[104], out);
            room.tell_all_avatar(out);
            Reply::empty()
        };
        Ok(Plan { write: Box::new(write), apply: Box::new(apply) })
    })
    .await
}

impl Room {
    /// XEP-0486 §5.2: what older clients look at. Before they are in the room they cannot see it.
    pub(super) fn tell_avatar(&self, session: &Jid, out: &mut Outputs) {
        if !self.settings.looks.avatar.is_empty() {
            out.tell_one(session, &Jid::from(self.jid.clone()), AVAILABLE, self.avatar());
        }
    }

    /// The same to everybody, when it changed.
    pub(super) fn tell_all_avatar(&mut self, out: &mut Outputs) {
        let everyone = self.everyone();
        out.tell(everyone, &Jid::from(self.jid.clone()), AVAILABLE, self.avatar());
    }

    fn avatar(&self) -> Frame {
        let head = format!("<presence from=\"{}\"", escape_attr(self.jid.as_str()));
        let mut xml = Xml::new();
        xml.start("x").attr("xmlns", "vcard-temp:x:update");
        let hash = self.settings.looks.avatar.first();
        xml.element("photo", None, hash.map_or("", String::as_str)).end();
        Frame::of(head, [b">", &*xml.finish(), b"</presence>"].concat())
    }
}

/// The vCard as it is stored, nothing for an empty one, and the hashes of its photos.
pub(super) fn read(vcard: Node<'_>, max: usize) -> Result<(Option<Vec<u8>>, Vec<String>), StanzaError> {
    if vcard.first_child().is_none() {
        return Ok((None, Vec::new()));
    }
    let whole = vcard.standalone().ok_or_else(StanzaError::bad_request)?;
    if whole.len() > max {
        let text = format!("the vCard of a room may have {max} bytes");
        return Err(StanzaError::not_acceptable().text(text));
    }
    let mut hashes = Vec::new();
    for photo in vcard.children().filter(|child| child.is(VCARD, "PHOTO")) {
        let Some(text) = photo.child_text(VCARD, "BINVAL") else { continue };
        let text: String = text.split_ascii_whitespace().collect();
        if text.is_empty() {
            continue;
        }
        let image = unbase64(&text)
            .ok_or_else(|| StanzaError::bad_request().text("a photo is not in base64"))?;
        hashes.push(hex(&sha1(&image)));
    }
    if hashes.len() > PHOTOS_MAX {
        return Err(StanzaError::not_acceptable().text("too many photos"));
    }
    Ok((Some(whole.into_owned().into_bytes()), hashes))
}

/// XEP-0486 §5.1: one image in several formats.
const PHOTOS_MAX: usize = 8;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::xml::view::Doc;

    #[test]
    fn a_vcard_is_read_within_its_bounds() {
        let read = |inner: &str| {
            let text = format!("<vCard xmlns='vcard-temp'>{inner}</vCard>");
            let doc = Doc::of(text.as_bytes(), "").unwrap();
            let read = read(doc.root(), 1_000);
            read.map(|(vcard, hashes)| (vcard.is_some(), hashes))
                .map_err(|error| error.condition.as_str().to_owned())
        };
        let photo = |text: &str| format!("<PHOTO><BINVAL>{text}</BINVAL></PHOTO>");
        let a = hex(&sha1(b"a"));
        assert_eq!(read(""), Ok((false, vec![])));
        assert_eq!(read("<FN>Hall</FN>"), Ok((true, vec![])));
        assert_eq!(read(&photo("\n YQ\n==")), Ok((true, vec![a.clone()])));
        assert_eq!(read(&(photo("YQ==") + &photo("YQ=="))), Ok((true, vec![a.clone(), a])));
        assert_eq!(read(&photo("")), Ok((true, vec![])));
        assert_eq!(read(&photo("YQ!")), Err("bad-request".to_owned()));
        assert_eq!(read(&photo("YQ==").repeat(9)), Err("not-acceptable".to_owned()));
        assert_eq!(read(&"<FN/>".repeat(201)), Err("not-acceptable".to_owned()));
    }
}
