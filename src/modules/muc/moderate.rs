//! Moderators take back what anybody said (XEP-0425). What authors take back is a message (`say.rs`).

use std::sync::Arc;

use tokio::sync::oneshot;

use super::archive::Write;
use super::burial::{Burial, Kind, Moderated};
use super::deliver::run;
use super::names::{FASTEN, MODERATE, MODERATE_OLD, RETRACT_OLD};
use super::rights::Role;
use super::room::{Occupant, Room};
use super::rooms::Hold;
use super::route::Route;
use super::say::Said;
use crate::base::id::{self, OsRng};
use crate::jid::Jid;
use crate::modules::api::{Cx, Reply};
use crate::router::not_stored;
use crate::router::outbox::slow_down;
use crate::stanza::ids::stanza_id;
use crate::stanza::iq::{Iq, IqType};
use crate::stanza::{Frame, Stanza, StanzaError};
use crate::store::ids::ArchiveId;
use crate::store::tx::Tx;
use crate::store::{Store, StoreError, archive};
use crate::xml::ns;
use crate::xml::writer::{Xml, escape_attr};

/// Requests of moderators, in both versions of XEP-0425 that clients know.
pub(super) const ROUTES: &[Route] = &[
    Route {
        ty: IqType::Set,
        ns: MODERATE,
        name: "moderate",
        handler: |cx, hold, iq| Box::pin(moderate(cx, hold, iq)),
    },
    Route {
        ty: IqType::Set,
        ns: FASTEN,
        name: "apply-to",
        handler: |cx, hold, iq| Box::pin(moderate(cx, hold, iq)),
    },
];

impl Room {
    /// XEP-0425 §3.2
    fn moderator(&self, session: &Jid) -> Result<&Occupant, StanzaError> {
        let occupant = self.occupant_of(session).filter(|one| one.role == Role::Moderator);
        occupant.ok_or_else(|| {
            StanzaError::forbidden().text("only moderators may take back what others said")
        })
    }
}

/// What a moderator asks for.
struct Asked {
    target: String,
    reason: Option<String>,
}

impl Asked {
    fn read(iq: &Iq) -> Result<Self, StanzaError> {
        let bad = |text| StanzaError::bad_request().text(text);
        let doc = iq.stanza().element().view();
        let outer = doc.root().first_child().ok_or_else(StanzaError::bad_request)?;
        let (inner, ns, retract) = match outer.ns() {
            FASTEN => (outer.child(MODERATE_OLD, "moderate"), MODERATE_OLD, RETRACT_OLD),
            _ => (Some(outer), MODERATE, ns::RETRACT),
        };
        // XEP-0422 is for much more, of which nothing is for a room.
        let inner = inner.ok_or_else(StanzaError::service_unavailable)?;
        if inner.child(retract, "retract").is_none() {
            return Err(bad("there is nothing else to be done than to retract a message"));
        }
        let target = outer.attr("id").filter(|id| !id.is_empty());
        let target = target.ok_or_else(|| bad("the id of the message is missing"))?.to_owned();
        let reason = inner.child_text(ns, "reason").map(str::to_owned);
        if reason.as_ref().is_some_and(|reason| reason.len() > REASON_MAX) {
            let text = format!("a reason may have {REASON_MAX} bytes");
            return Err(StanzaError::not_acceptable().text(text));
        }
        Ok(Self { target, reason: reason.filter(|reason| !reason.is_empty()) })
    }
}

/// Bytes of the reason for it.
const REASON_MAX: usize = 1_024;

/// XEP-0425 §3. The answer comes when it is durable.
async fn moderate(cx: Cx, hold: Arc<Hold>, iq: Iq) -> Result<Reply, StanzaError> {
    let asked = Asked::read(&iq)?;
    let unknown = || StanzaError::item_not_found().text("no message of this id is in the archive");
    // One at a time, so that two moderators do not say the same twice.
    let permit = hold.changes.acquire().await;
    let permit = permit.map_err(|_| StanzaError::internal_server_error())?;
    let archive = {
        let room = hold.lock();
        room.moderator(cx.jid())?;
        room.archive().ok_or_else(unknown)?
    };
    let seq = cx.store.position_of_id(archive, &asked.target).ok_or_else(unknown)?;
    // promise.md 7: what was said before is found.
    cx.store.barrier().await?;
    let row = cx.store.read(move |tx: &mut dyn Tx| archive::get(tx, archive, seq)).await?;
    let found = row.and_then(|row| Stanza::ours(row.stanza.into())).ok_or_else(unknown)?;
    match Kind::of(&found) {
        Kind::Message | Kind::Retraction => {}
        // Another one was faster.
        Kind::Tombstone => return Ok(Reply::empty()),
        Kind::Lasting => {
            return Err(StanzaError::not_allowed().text("this message takes back another"));
        }
    }
    let (told, outcome) = oneshot::channel();
    let (announced, delivered) = run(&cx, &hold, |room, out| {
        let (said, burial) = room.moderation(cx.jid(), asked, seq)?;
        if cx.store.is_refusing() {
            cx.store.count_refused();
            return Err(not_stored());
        }
        let write = write(&cx.store, room, archive, (&said, &burial), told)?;
        let placed = write.queue()?;
        let id = cx.store.id_of_position(archive, placed.1);
        room.say(said, placed, &stanza_id(room.jid.as_str(), &id), out);
        Ok(())
    });
    // Whoever comes next waits until this is durable, and not for slow clients.
    drop(permit);
    announced?;
    slow_down(delivered.slow).await;
    outcome.await.unwrap_or(Err(StoreError::Closed))?;
    Ok(Reply::empty())
}

fn write(
    store: &Store,
    room: &Room,
    archive: ArchiveId,
    (said, burial): (&Said, &Burial),
    told: oneshot::Sender<Result<(), StoreError>>,
) -> Result<Write, StanzaError> {
    Ok(Write {
        store: store.clone(),
        room: room.id.ok_or_else(StanzaError::item_not_found)?,
        archive: Some(archive),
        is_subject: false,
        frame: said.frame.clone(),
        speaker: Vec::new(),
        burial: Some(burial.clone()),
        from: said.from.clone(),
        id: said.id.clone(),
        seq: 0,
        at: 0,
        ticket: None,
        sender: None,
        told: Some(told),
    })
}

impl Room {
    /// XEP-0425 §3.1: what is said to all, in both forms of it.
    fn moderation(&self, by: &Jid, asked: Asked, seq: i64) -> Result<(Said, Burial), StanzaError> {
        let moderator = self.moderator(by)?;
        let moderated = Moderated {
            by: moderator.jid.to_string(),
            occupant_id: self.occupant_id(moderator.bare()),
            reason: asked.reason,
        };
        let id = id::short(&mut OsRng);
        let mut xml = Xml::new();
        xml.start("retract").attr("xmlns", ns::RETRACT).attr("id", &asked.target);
        moderated.write(&mut xml);
        xml.end();
        xml.start("apply-to").attr("xmlns", FASTEN).attr("id", &asked.target);
        xml.start("moderated").attr("xmlns", MODERATE_OLD).attr("by", &moderated.by);
        xml.start("retract").attr("xmlns", RETRACT_OLD).end();
        moderated.write_reason(&mut xml);
        xml.end().end();
        let from = escape_attr(self.jid.as_str());
        let head = format!("<message from=\"{from}\" type=\"groupchat\" id=\"{id}\"");
        let tail = [b">", &*xml.finish(), b"</message>"].concat();
        let burial = Burial {
            target: asked.target,
            seq: Some(seq),
            author: None,
            by: id.clone(),
            moderated: Some(moderated),
        };
        let said = Said {
            frame: Frame::of(head, tail),
            from: self.jid.clone().into(),
            is_subject: false,
            archive: self.archive(),
            is_kept: true,
            id: Some(id),
            speaker: Vec::new(),
            burial: Some(burial.clone()),
            spoke: None,
        };
        Ok((said, burial))
    }
}
