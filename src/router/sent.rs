//! A stanza's way through its sender's account after it is routed: who of the account hears of it.

use std::sync::Arc;
use std::time::SystemTime;

use bytes::Bytes;
use smallvec::SmallVec;

use super::account::Home;
use super::held::Asks;
use super::outbox::{Level, Outbox, Outgoing};
use super::passage::{Part, Passage, Passed, Side};
use super::{Origin, Routed, Router};
use crate::base::time::micros;
use crate::stanza::policy::{MessagePolicy, policy_of};
use crate::stanza::{Frame, Stanza};

/// After routing: sends copies to other sessions of the account, wherever the stanza went.
pub(super) fn end(
    router: &Arc<Router>,
    stanza: &Stanza,
    policy: MessagePolicy,
    now: SystemTime,
    origin: &Origin<'_>,
    routed: Routed,
) -> Routed {
    let Some(outbox) = asked_after(origin.sender.map(|(_, outbox)| outbox), stanza) else {
        return routed;
    };
    let mut passage = Passage::new(router.here(), stanza, policy, Side::Outgoing, Some(outbox));
    let frame = || match passage_stamp(router, stanza, origin) {
        Some(stamp) => stanza.frame_with(&stamp),
        None => stanza.frame(),
    };
    let row = origin.kept.map(|(_, seq)| (seq, true));
    let slow = tell(router, &mut passage, now, row, frame);
    match (routed, slow) {
        (Routed::Done, Some(slow)) => Routed::Slow(slow),
        (routed, _) => routed,
    }
}

fn passage_stamp(router: &Router, stanza: &Stanza, origin: &Origin<'_>) -> Option<Vec<u8>> {
    let ((archive, seq), stamp) = origin.kept.zip(origin.stamp)?;
    Some(stamp(&router.store, archive, seq, stanza.from().bare_str()))
}

/// Handles the server's own error for a message of a session: sessions that got a copy of the message get
/// the error, too.
pub(super) fn returned(
    router: &Arc<Router>,
    stanza: &Stanza,
    reply: &Bytes,
    outbox: &Arc<Outbox>,
    now: SystemTime,
) {
    let Some(outbox) = asked_after(Some(outbox), stanza) else { return };
    let mut passage =
        Passage::new(router.here(), stanza, policy_of(stanza), Side::Returned, Some(outbox));
    tell(router, &mut passage, now, None, || Frame::whole(reply.clone()));
}

/// The sender's outbox, if its account is asked about stanzas after they are sent.
fn asked_after<'a>(outbox: Option<&'a Arc<Outbox>>, stanza: &Stanza) -> Option<&'a Arc<Outbox>> {
    outbox.filter(|outbox| outbox.asks().has(Asks::after(stanza.kind())))
}

/// Puts copies into the outboxes of the account's other sessions; returns one that is over half full.
fn tell(
    router: &Arc<Router>,
    passage: &mut Passage<'_>,
    now: SystemTime,
    row: Option<(i64, bool)>,
    frame: impl FnOnce() -> Frame,
) -> Option<Arc<Outbox>> {
    let mut slow = None;
    let mut wake: SmallVec<[Arc<Outbox>; 2]> = SmallVec::new();
    router.registry.with(passage.stanza.from().bare_str(), |account| {
        // The stanza is already sent, so a verdict cannot stop it.
        let _ = router.features.pass(Part::Sent, Some(account), passage);
        if passage.copies.is_empty() {
            return;
        }
        let frame = frame();
        for copies in &passage.copies {
            let copy = (copies.wrap)(passage.side, passage.stanza, &frame);
            for (jid, taker) in &copies.to {
                let frame = copy.addressed(jid.as_str());
                let item = Outgoing { frame, owed: None, at: micros(now) };
                // A full or closed box ends its session, or has; the archive has the message.
                let Ok(put) = taker.put(item) else { continue };
                if put.level == Level::OverHalf {
                    slow = Some(taker.outbox.clone());
                }
                if put.wake {
                    wake.push(taker.outbox.clone());
                }
            }
        }
    });
    wake.iter().for_each(|outbox| outbox.nudge());
    let home = || Home::of(passage.stanza.from().bare());
    let events = std::mem::take(&mut passage.events);
    router.passed(events, || Passed { home: home(), now, row });
    slow
}
