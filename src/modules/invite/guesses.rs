//! Who tries tokens that are none, and who has many invitations made.

use crate::base::hourly::Hourly;
use crate::modules::api::Cx;

/// How many wrong tokens came from which address, and how many invitations to accounts its users made.
#[derive(Debug)]
pub struct Guesses {
    wrong: Hourly,
    made: Hourly,
}

impl Default for Guesses {
    fn default() -> Self {
        // No number of guesses finds one of 2^130 tokens: nobody is shut out because of others.
        Self { wrong: Hourly::lenient(), made: Hourly::default() }
    }
}

impl Guesses {
    /// Counts a token before it is looked at; false if too many of this address were wrong.
    pub(super) fn may_try(&self, cx: &Cx) -> bool {
        let peer = cx.who.channel().map(|channel| channel.peer);
        peer.is_none_or(|peer| self.wrong.take(peer, WRONG_MAX, cx.now))
    }

    /// It was a right one.
    pub(super) fn was_right(&self, cx: &Cx) {
        if let Some(channel) = cx.who.channel() {
            self.wrong.give_back(channel.peer);
        }
    }

    /// Counts an invitation of a user's with which an account can be made; false if its address has made too
    /// many. Else the accounts of one spammer invite each other without end.
    pub(super) fn may_make(&self, cx: &Cx, most: u32) -> bool {
        let peer = cx.who.channel().map(|channel| channel.peer);
        peer.is_none_or(|peer| self.made.take(peer, most, cx.now))
    }

    /// It was not made.
    pub(super) fn not_made(&self, cx: &Cx) {
        if let Some(channel) = cx.who.channel() {
            self.made.give_back(channel.peer);
        }
    }
}

/// Wrong tokens of one address in an hour: more than people mistype, and nothing against 130 bits.
pub(super) const WRONG_MAX: u32 = 20;
