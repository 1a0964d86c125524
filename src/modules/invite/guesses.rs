//! Who tries tokens that are none.

use crate::base::hourly::Hourly;
use crate::modules::api::Cx;

/// How many wrong tokens came from which address.
#[derive(Debug, Default)]
pub struct Guesses(Hourly);

impl Guesses {
    /// Counts a token before it is looked at; false if too many of this address were wrong.
    pub(super) fn may_try(&self, cx: &Cx) -> bool {
        let peer = cx.who.channel().map(|channel| channel.peer);
        peer.is_none_or(|peer| self.0.take(peer, WRONG_MAX, cx.now))
    }

    /// It was a right one.
    pub(super) fn was_right(&self, cx: &Cx) {
        if let Some(channel) = cx.who.channel() {
            self.0.give_back(channel.peer);
        }
    }
}

/// Wrong tokens of one address in an hour: more than people mistype, and nothing against 130 bits.
pub(super) const WRONG_MAX: u32 = 20;
