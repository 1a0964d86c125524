//! From what a room wants sent to the sessions: under the room's lock, so that all see one order.

use std::sync::{Arc, PoisonError};

use super::called::Unsaved;
use super::leave::Gone;
use super::outputs::{Outputs, Sent};
use super::room::Room;
use super::rooms::Hold;
use crate::base::time::micros;
use crate::jid::BareJid;
use crate::modules::api::Cx;
use crate::router::HandedOut;
use crate::router::handled_count::Ticket;
use crate::router::outbox::{Outbox, slow_down};
use crate::stanza::{Stanza, StanzaError};
use crate::store::ids::RoomId;
use crate::store::tx::Tx;
use crate::store::{Job, StoreError};

/// What is left to do when the room's lock is free.
#[derive(Debug, Default)]
pub(super) struct Delivered {
    /// Stanzas with ways of their own.
    pub(super) routed: Vec<Stanza>,
    /// Boxes with little room left.
    pub(super) slow: Vec<Arc<Outbox>>,
    /// Sessions that hear of it.
    heard_by: usize,
}

impl Delivered {
    /// What everybody in a room hears is no one stanza: presence is paid for by who causes it, as presence to contacts
    /// is.
    pub(super) fn charge(&self, cx: &Cx) {
        if let Some(client) = cx.client() {
            client.outbox.charge(self.heard_by);
        }
    }
}

/// Does something in a room, and sends what comes of it.
pub(super) fn run<T>(
    cx: &Cx,
    hold: &Arc<Hold>,
    event: impl FnOnce(&mut Room, &mut Outputs) -> T,
) -> (T, Delivered) {
    let mut room = hold.lock();
    let mut out = Outputs::default();
    let done = event(&mut room, &mut out);
    let (mut delivered, mut handed) = (Delivered::default(), HandedOut::default());
    let mut vanished = deliver(cx, &mut room, out, &mut delivered, &mut handed);
    let mut last = Outputs::default();
    room.settle(cx.now, &mut last);
    vanished |= last.vanished;
    let unsaved = room.id.map(|id| (id, room.called.unsaved())).filter(|(_, all)| !all.is_empty());
    if let Some((_, unsaved)) = &unsaved {
        cx.rooms().indicators.saw(&room, unsaved.gone(), micros(cx.now));
    }
    if vanished {
        bury(cx, &room, hold);
    }
    drop(room);
    cx.router.nudge(&mut handed);
    delivered.slow = handed.slow;
    if let Some((room, unsaved)) = unsaved.filter(|_| !vanished) {
        write_members(cx, hold, room, unsaved);
    }
    (done, delivered)
}

/// Nobody waits for it: who is called by a name that is not written is not found for a while. Those who leave all at
/// once take nobody's place in the store's queue: while that is crowded, all of a room waits to be one write.
fn write_members(cx: &Cx, hold: &Arc<Hold>, room: RoomId, unsaved: Unsaved) {
    let now = micros(cx.now);
    let mut unwritten = hold.unwritten.lock().unwrap_or_else(PoisonError::into_inner);
    if unwritten.is_empty() && !cx.store.is_crowded() {
        let of_members = OfMembers { room, unsaved, now };
        if let Err((_, error)) = cx.store.submit_or_return(Box::new(of_members)) {
            not_written(&error);
        }
        return;
    }
    unwritten.push((unsaved, now));
    if unwritten.len() > 1 {
        return;
    }
    let (store, hold) = (cx.store.clone(), hold.clone());
    cx.router.tasks.spawn("muc", async move {
        // This waits in line for a place.
        let take = |hold: &Hold| {
            std::mem::take(&mut *hold.unwritten.lock().unwrap_or_else(PoisonError::into_inner))
        };
        let of = hold.clone();
        let write = move |tx: &mut dyn Tx| {
            let mut all = take(&of).into_iter();
            all.try_for_each(|(unsaved, now)| super::called::save(tx, room, &unsaved, now))
        };
        if let Err(error) = store.write(write).await {
            take(&hold);
            not_written(&error);
        }
    });
}

fn not_written(error: &StoreError) {
    tracing::debug!(%error, "how members are called could not be stored");
}

/// Bytes of a stanza that count as one.
const HEARD_BYTES: usize = 4_096;

/// Deletes a room that is gone, and forgets it: in this order and under its lock, so that whoever looks for it finds
/// neither the room nor its row.
fn bury(cx: &Cx, room: &Room, hold: &Arc<Hold>) {
    if let Some(id) = room.id {
        // Nobody waits for it: a room that is found after a crash with nobody in it is deleted then.
        let end = End { room: id, jid: room.jid.clone() };
        if let Err((end, error)) = cx.store.submit_or_return(Box::new(end)) {
            tracing::debug!(%error, "a room that everybody has left is deleted later");
            let (store, id) = (cx.store.clone(), end.room);
            cx.router.tasks.spawn("muc", async move {
                if let Err(error) = store.write(move |tx| super::rows::destroy(tx, id)).await {
                    end_failed(&end.jid, &error);
                }
            });
        }
    }
    cx.rooms().forget(&room.jid, hold);
}

/// Deletes the row of a room.
struct End {
    room: RoomId,
    jid: BareJid,
}

impl Job for End {
    fn run(&mut self, tx: &mut dyn Tx) -> Result<(), StoreError> {
        super::rows::destroy(tx, self.room)
    }

    fn settled(self: Box<Self>, outcome: Result<(), StoreError>) {
        if let Err(error) = outcome {
            end_failed(&self.jid, &error);
        }
    }

    fn repeats(&self) -> bool {
        true
    }
}

fn end_failed(room: &BareJid, error: &StoreError) {
    tracing::warn!(%error, %room, "a room that everybody has left could not be deleted");
}

/// Writes how members are called, and when they were there.
struct OfMembers {
    room: RoomId,
    unsaved: Unsaved,
    now: i64,
}

impl Job for OfMembers {
    fn run(&mut self, tx: &mut dyn Tx) -> Result<(), StoreError> {
        super::called::save(tx, self.room, &self.unsaved, self.now)
    }

    fn settled(self: Box<Self>, outcome: Result<(), StoreError>) {
        if let Err(error) = outcome {
            not_written(&error);
        }
    }

    fn repeats(&self) -> bool {
        true
    }
}

/// Sends, and takes out who is not there any more; whether the room is gone.
fn deliver(
    cx: &Cx,
    room: &mut Room,
    mut out: Outputs,
    delivered: &mut Delivered,
    handed: &mut HandedOut,
) -> bool {
    let mut vanished = false;
    // Each round takes out at least one session.
    loop {
        for Sent { from, class, frame, to } in out.sent.drain(..) {
            // What is long is more work.
            let heard = to.len().saturating_mul(1 + frame.len() / HEARD_BYTES);
            delivered.heard_by = delivered.heard_by.saturating_add(heard);
            cx.router.hand_out((&from, class), &frame, &to, cx.now, handed);
        }
        delivered.routed.append(&mut out.routed);
        vanished |= out.vanished;
        let absent = std::mem::take(&mut handed.absent);
        let mut any = false;
        for session in absent {
            any |= room.leave(&session, &Gone::lost(), &mut out);
        }
        if !any {
            return vanished;
        }
    }
}

/// A durable change that was judged and found right.
pub(super) struct Plan<W, T> {
    /// Writes it.
    pub(super) write: Writing<W>,
    /// Does and tells it, when it is committed; what it gives is the answer.
    pub(super) apply: Applying<W, T>,
}

/// Writes a change.
type Writing<W> = Box<dyn FnOnce(&mut dyn Tx) -> Result<W, StoreError> + Send>;
/// Does a change that is committed.
type Applying<W, T> = Box<dyn FnOnce(&mut Room, W, &mut Outputs) -> T + Send>;

/// A durable change of a room: judged, written, then done and told. Changes of one room happen one after the other;
/// what is said, and who comes and goes, does not wait for them.
pub(super) async fn change<W: Send + 'static, T: Send + 'static>(
    cx: &Cx,
    hold: &Arc<Hold>,
    plan: impl FnOnce(&Room) -> Result<Plan<W, T>, StanzaError> + Send + 'static,
) -> Result<T, StanzaError> {
    change_for(cx, hold, None, plan).await
}

/// The same for a message with this ticket: it is not acknowledged before what the room writes to people is durable,
/// too (promise.md 4).
pub(super) async fn change_for<W: Send + 'static, T: Send + 'static>(
    cx: &Cx,
    hold: &Arc<Hold>,
    ticket: Option<Ticket>,
    plan: impl FnOnce(&Room) -> Result<Plan<W, T>, StanzaError> + Send + 'static,
) -> Result<T, StanzaError> {
    let (work, hold) = (cx.clone(), hold.clone());
    // To its end, though the session that asked for it end meanwhile.
    cx.finish("muc", async move {
        let permit = hold.changes.acquire().await;
        let permit = permit.map_err(|_| StanzaError::internal_server_error())?;
        let planned = {
            let room = hold.lock();
            match room.is_gone {
                true => return Err(StanzaError::item_not_found()),
                false => plan(&room)?,
            }
        };
        let written = work.store.write(planned.write).await?;
        let apply = planned.apply;
        let (done, delivered) = run(&work, &hold, |room, out| apply(room, written, out));
        delivered.charge(&work);
        for stanza in &delivered.routed {
            work.send_as(stanza, ticket.clone()).await;
        }
        // Others' changes do not wait for slow clients.
        drop(permit);
        slow_down(delivered.slow).await;
        Ok(done)
    })
    .await
}

#[cfg(test)]
mod tests {
    use super::super::rows;
    use super::super::settings::Preset;
    use super::*;
    use crate::modules::testing::Server;
    use crate::store::testing;

    /// §7.14: it is gone with the last one, and is not read back while its row is being deleted.
    #[tokio::test]
    async fn a_room_that_goes_is_not_found_again() {
        let server = Server::with(&["ann"]).await;
        let cx = server.session("ann@x/r").await;
        let settings = Preset::Temporary.settings();
        let make = move |tx: &mut dyn Tx| {
            rows::create(tx, "tent@rooms.x", "ann@x", &settings, &[0; 32], 0)
        };
        server.store().write(make).await.unwrap();
        let jid = BareJid::parse("tent@rooms.x").unwrap();
        let open = async || cx.rooms().open(&cx.store, &jid, cx.config.muc.bounds()).await.unwrap();
        let hold = open().await.expect("the room");
        let held = testing::hold(&cx.store);
        let before = cx.store.load().queued;
        run(&cx, &hold, |_, _| ());
        assert!(hold.lock().is_gone && cx.rooms().find(&jid).is_none());
        // Whoever reads from now on waits for it.
        assert_eq!(cx.store.load().queued, before + 1);
        drop(held);
        assert!(open().await.is_none());
    }
}
