//! A stanza's passage through its sender's account: before it is routed, and after.

use super::account::AccountEntry;
use super::held::Asks;
use super::incoming::kind_of;
use super::outbox::Outbox;
use super::passage::{GuardQuery, Part, Passage, Side, Verdict};
use super::{Origin, Routed, Router};
use crate::stanza::Stanza;
use crate::stanza::policy::MessagePolicy;

/// Before routing: whether the stanza may be sent, and whether the sender's archive stores it.
pub(super) fn begin(
    router: &Router,
    stanza: &Stanza,
    policy: MessagePolicy,
    origin: &mut Origin<'_>,
) -> Result<(), Routed> {
    let Some((_, outbox)) = origin.sender.filter(|_| !origin.foreign) else { return Ok(()) };
    let asks = outbox.asks().has(Asks::before(stanza.kind()));
    if !asks && !router.features.has(Part::Sending) {
        return Ok(());
    }
    let mut passage = Passage::new(router.here(), stanza, policy, Side::Outgoing, Some(outbox));
    let features = &router.features;
    let verdict = if asks {
        let locked = router.registry.with(stanza.from().bare_str(), |account| {
            match guarded(router, account, stanza) {
                Verdict::Continue => features.pass(Part::Sending, Some(account), &mut passage),
                ended => ended,
            }
        });
        // Without an entry there are no guards to ask.
        locked.unwrap_or_else(|| features.pass(Part::Sending, None, &mut passage))
    } else {
        features.pass(Part::Sending, None, &mut passage)
    };
    verdict.ended()?;
    origin.keep(passage);
    Ok(())
}

fn guarded(router: &Router, account: &AccountEntry, stanza: &Stanza) -> Verdict {
    let (Some(peer), Ok(kind)) = (stanza.to(), kind_of(stanza)) else { return Verdict::Continue };
    let own = stanza.from().bare_str();
    let query = GuardQuery { side: Side::Outgoing, kind, own, peer };
    router.features.guard(account, &query)
}

impl Router {
    /// Asks the sender's guards about a stanza that a handler answers.
    pub fn guard_sent(&self, stanza: &Stanza, outbox: &Outbox) -> Verdict {
        if !outbox.asks().has(Asks::before(stanza.kind())) {
            return Verdict::Continue;
        }
        let of = |account: &mut AccountEntry| guarded(self, account, stanza);
        self.registry.with(stanza.from().bare_str(), of).unwrap_or(Verdict::Continue)
    }
}
