//! What stanzas to rooms do: the room is found, made or read, and they happen in it.

use std::sync::Arc;

use super::archive::Write;
use super::deliver::run;
use super::enter::{Entering, Entry};
use super::find::{no_room, room_at, room_of};
use super::leave::Gone;
use super::outputs::Outputs;
use super::room::Room;
use super::rooms::Hold;
use super::{activity, away, invite, requests, rows};
use crate::base::id::{OsRng, Rng};
use crate::base::role::Role;
use crate::jid::Jid;
use crate::modules::api::{Answer, Cx};
use crate::router::handled_count::Ticket;
use crate::router::not_stored;
use crate::router::outbox::slow_down;
use crate::stanza::error::Condition;
use crate::stanza::ids::stanza_id;
use crate::stanza::iq::Iq;
use crate::stanza::presence::PresenceType;
use crate::stanza::{Stanza, StanzaError};
use crate::xml::ns;
use crate::xml::writer::Xml;

type Made = Result<Vec<Stanza>, StanzaError>;

/// Messages (XEP-0045 §17.2).
pub(super) fn message(cx: Cx, stanza: Stanza, ticket: Option<Ticket>) -> Answer<Made> {
    Box::pin(async move {
        let to = stanza.to().cloned();
        let done = heard(cx, stanza, ticket).await;
        done.map_err(|error| signed(error, to.as_ref()))
    })
}

async fn heard(cx: Cx, stanza: Stanza, ticket: Option<Ticket>) -> Made {
    let Some(to) = stanza.to() else { return Ok(Vec::new()) };
    let ty = stanza.ty();
    if to.local().is_none() {
        // XEP-0045 says nothing of the service's own address.
        return unless_error(&stanza);
    }
    match (ty.as_deref(), to.resource()) {
        (Some("error"), _) => failed(&cx, &stanza).await,
        (Some("groupchat"), None) => say(cx, stanza, ticket).await,
        (_, None) => {
            let hold = room_of(&cx, &stanza).await?;
            invite::message(cx, hold, stanza, ticket).await
        }
        (_, Some(_)) => {
            let hold = room_of(&cx, &stanza).await?;
            routed(&cx, &hold, |room, out| room.whisper(&stanza, out))
        }
    }
}

/// As in the examples of XEP-0045 (§7.2, §7.5, §7.6, §8.1): an error says that it is the room's, and not that of who is
/// behind the address that it comes from.
fn signed(error: StanzaError, to: Option<&Jid>) -> StanzaError {
    match to.filter(|to| to.local().is_some()) {
        Some(to) => error.by(to.bare()),
        None => error,
    }
}

fn unless_error(stanza: &Stanza) -> Made {
    match stanza.ty().as_deref() {
        Some("error" | "result") => Ok(Vec::new()),
        _ => Err(StanzaError::service_unavailable()),
    }
}

/// What a room made of an event.
fn routed(
    cx: &Cx,
    hold: &Arc<Hold>,
    event: impl FnOnce(&mut Room, &mut Outputs) -> Result<(), StanzaError>,
) -> Made {
    let (done, delivered) = run(cx, hold, event);
    delivered.charge(cx);
    done.map(|()| delivered.routed)
}

/// §7.4, §8.1: its row is queued and it is in all boxes before anything else happens in the room.
async fn say(cx: Cx, stanza: Stanza, ticket: Option<Ticket>) -> Made {
    let hold = room_of(&cx, &stanza).await?;
    // Who writes for others waits while the store has more than enough to do.
    let grant = cx.store.room_if_crowded().await;
    let (said, delivered) = run(&cx, &hold, |room, out| {
        let mut said = room.hear(&stanza, cx.now)?;
        if let Some(burial) = &mut said.burial {
            burial.locate(&cx.store, said.archive);
        }
        let id = room.id.filter(|_| said.archive.is_some() || said.is_subject);
        let placed = match id {
            Some(_) if cx.store.is_refusing() => {
                cx.store.count_refused();
                return Err(not_stored());
            }
            Some(id) => {
                let sender = cx.client().map(|client| (stanza.clone(), client.outbox.clone()));
                let write = Write {
                    store: cx.store.clone(),
                    room: id,
                    archive: said.archive,
                    is_subject: said.is_subject,
                    frame: said.frame.clone(),
                    speaker: std::mem::take(&mut said.speaker),
                    burial: said.burial.clone(),
                    from: said.from.clone(),
                    id: said.id.clone(),
                    seq: 0,
                    at: 0,
                    ticket,
                    sender,
                    told: None,
                };
                write.queue()?
            }
            None => (crate::base::time::micros(cx.now), 0),
        };
        let stamp = said.archive.map(|archive| {
            let id = cx.store.id_of_position(archive, placed.1);
            stanza_id(room.jid.as_str(), &id)
        });
        let is_kept = said.is_kept;
        let is_overheard = is_kept && room.overhear(&said.frame);
        room.say(said, placed, &stamp.unwrap_or_default(), out);
        let stirred = is_kept.then(|| room.jid.clone());
        Ok::<_, StanzaError>((stirred, is_overheard))
    });
    drop(grant);
    let (stirred, is_overheard) = said?;
    if is_overheard {
        away::tell(&cx, &hold);
    }
    if let Some(room) = stirred {
        activity::stir(&cx, &room);
    }
    slow_down(delivered.slow).await;
    Ok(delivered.routed)
}

/// An error that came back: who cannot be reached any more is out (§11.1, §18.1 "Ghost Users"); other errors are for
/// whoever wrote to the occupant.
async fn failed(cx: &Cx, stanza: &Stanza) -> Made {
    let Some(hold) = stanza.to().and_then(|to| cx.rooms().find(&to.bare())) else {
        return Ok(Vec::new());
    };
    let gone = is_gone(stanza);
    routed(cx, &hold, |room, out| {
        if gone {
            let _ = room.leave(stanza.from(), &Gone::lost(), out);
        } else if stanza.to().is_some_and(Jid::is_full) {
            // Of what nobody here sent, nobody hears.
            let _ = room.relay(stanza, out);
        }
        if stanza.to().is_some_and(Jid::is_bare) {
            room.invitation_failed(stanza, out);
        }
        Ok(())
    })
}

fn is_gone(stanza: &Stanza) -> bool {
    let doc = stanza.element().view();
    let error = doc.root().child(ns::CLIENT, "error");
    let conditions = error.into_iter().flat_map(|error| error.children());
    conditions.filter(|child| child.ns() == STANZAS).any(|child| {
        matches!(
            Condition::parse(child.name(), ""),
            Condition::Gone(_)
                | Condition::ItemNotFound
                | Condition::RecipientUnavailable
                | Condition::Redirect(_)
                | Condition::RemoteServerNotFound
                | Condition::RemoteServerTimeout
        )
    })
}

const STANZAS: &str = "urn:ietf:params:xml:ns:xmpp-stanzas";

/// Presence (XEP-0045 §17.3).
pub(super) fn presence(cx: Cx, stanza: Stanza) -> Answer<Made> {
    Box::pin(async move {
        let shown = shown(&cx, &stanza).await;
        shown.map_err(|error| signed(error, stanza.to()))
    })
}

async fn shown(cx: &Cx, stanza: &Stanza) -> Made {
    let Some(to) = stanza.to().filter(|to| to.local().is_some()) else {
        return activity::presence(cx, stanza).await;
    };
    match PresenceType::parse(stanza.ty().as_deref())? {
        PresenceType::Available => match Entry::read(stanza, cx.now) {
            // §7.2.1: without a nickname.
            _ if to.is_bare() => Err(StanzaError::jid_malformed().text("a nickname is missing")),
            Some(entry) => {
                let entered = enter(cx, stanza, &entry).await;
                entered.or_else(|error| Ok(refusal(stanza, error)))
            }
            None => update(cx, stanza).await,
        },
        PresenceType::Unavailable => {
            let Some(hold) = cx.rooms().find(&to.bare()) else { return Ok(Vec::new()) };
            let is_cut = !cx.router.is_bound(stanza.from());
            routed(cx, &hold, |room, out| room.quit(stanza, is_cut, out))
        }
        PresenceType::Error => {
            let Some(hold) = cx.rooms().find(&to.bare()) else { return Ok(Vec::new()) };
            routed(cx, &hold, |room, out| {
                let _ = room.leave(stanza.from(), &Gone::lost(), out);
                Ok(())
            })
        }
        PresenceType::Subscribe => Err(StanzaError::not_allowed().text("rooms have no roster")),
        // §17.3 rule 4 leaves probes to the service.
        _ => Ok(Vec::new()),
    }
}

/// Why somebody is not let in: with the extension, by which some clients know the answer (examples of §7.2.5 to
/// §7.2.10), and without what was in it.
fn refusal(stanza: &Stanza, error: StanzaError) -> Vec<Stanza> {
    let error = signed(error, stanza.to());
    let mut xml = Xml::new();
    xml.start("presence").attr("type", "error");
    xml.attr_opt("from", stanza.to().map(Jid::as_str)).attr("to", stanza.from().as_str());
    xml.attr_opt("id", stanza.id().as_deref()).element("x", ns::MUC, "");
    xml.raw(error.to_xml().as_bytes()).end();
    Stanza::ours(xml.finish()).into_iter().collect()
}

/// §7.2
async fn enter(cx: &Cx, stanza: &Stanza, entry: &Entry) -> Made {
    let Some(to) = stanza.to() else { return Ok(Vec::new()) };
    // A room may vanish between the look and the step.
    for _ in 0..TRIES {
        let (hold, is_new) = match room_at(cx, &to.bare()).await? {
            Some(hold) => (hold, false),
            None => create(cx, stanza).await?,
        };
        let fits = cx.client().map_or(usize::MAX, |client| client.outbox.free());
        let from_elsewhere = !cx.router.serves(stanza.from().domain());
        let entering = Entering { is_new, from_elsewhere, fits };
        let (done, delivered) = run(cx, &hold, |room, out| match room.is_gone {
            true => None,
            false => Some(room.enter(stanza, entry, &entering, out)),
        });
        if let Some(done) = done {
            delivered.charge(cx);
            slow_down(delivered.slow).await;
            return done.map(|()| delivered.routed);
        }
    }
    Err(StanzaError::resource_constraint().text("this room comes and goes too fast"))
}

async fn update(cx: &Cx, stanza: &Stanza) -> Made {
    let Some(to) = stanza.to() else { return Ok(Vec::new()) };
    match room_at(cx, &to.bare()).await? {
        Some(hold) => {
            let (done, delivered) = run(cx, &hold, |room, out| room.update(stanza, out));
            delivered.charge(cx);
            slow_down(delivered.slow).await;
            done.map(|()| delivered.routed)
        }
        None => {
            let mut out = Outputs::default();
            super::enter::not_here(stanza, &mut out);
            Ok(out.routed)
        }
    }
}

/// §10.1.1: a room for whoever is the first to enter it, if it may.
async fn create(cx: &Cx, stanza: &Stanza) -> Result<(Arc<Hold>, bool), StanzaError> {
    let Some(to) = stanza.to() else { return Err(no_room()) };
    let config = &cx.config.muc;
    let creator = stanza.from().bare();
    if !cx.is_among(config.create) {
        // §7.2.17
        return Err(StanzaError::not_allowed().text("you may not create rooms here"));
    }
    let by = creator.clone();
    let stored = cx.store.read(move |tx| rows::created_by(tx, by.as_str())).await?;
    let locked = cx.rooms().locked_by(&creator);
    if cx.role() < Role::Operator && stored + locked >= config.rooms_per_account_max {
        let text = format!(
            "you have created {} rooms, which is as many as you may",
            config.rooms_per_account_max
        );
        return Err(StanzaError::resource_constraint().text(text));
    }
    let mut secret = [0; 32];
    OsRng.fill(&mut secret);
    let settings = config.preset.settings();
    Ok(cx.rooms().create(&to.bare(), creator, settings, secret, config.bounds()))
}

/// How often a room that vanishes meanwhile is looked for again.
const TRIES: usize = 5;

/// IQs for any address of the service but its domain.
pub(super) fn iq(cx: Cx, stanza: Stanza) -> Answer<Made> {
    Box::pin(async move {
        let Some(to) = stanza.to().filter(|to| to.local().is_some()) else {
            return unless_error(&stanza);
        };
        if to.is_full() {
            let asked = requests::to_occupant(&cx, &stanza).await;
            return asked.map_err(|error| signed(error, Some(to)));
        }
        match Iq::request(&stanza)? {
            Some(iq) => requests::to_room(cx, iq).await,
            None => Ok(Vec::new()),
        }
    })
}
