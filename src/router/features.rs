//! The interface through which the floor above adds features to accounts, to sessions and to the
//! passage of stanzas. The router carries their state and depends on no feature.

use std::fmt::Debug;

use super::account::AccountEntry;
use super::held::{Asks, State};
use super::passage::{GuardQuery, Part, Passage, Verdict};
use crate::stanza::{Kind, Stanza};
use crate::store::ids::AccountId;
use crate::store::tx::{StoreError, Tx};

/// All features of the server.
pub trait Features: Debug + Send + Sync {
    /// Whether anything is done in this part; otherwise no passage is made for it.
    fn has(&self, part: Part) -> bool;

    /// Reads the features' state of an account.
    fn load(&self, tx: &mut dyn Tx, account: AccountId) -> Result<State, StoreError>;

    /// Whether presence passes through accounts without sessions, too: it reaches nobody there, but is read along.
    fn follows_presence(&self) -> bool {
        false
    }

    /// Whether this is such presence.
    fn follows(&self, stanza: &Stanza) -> bool {
        stanza.kind() == Kind::Presence
            && matches!(stanza.ty().as_deref(), None | Some("unavailable"))
            && self.follows_presence()
    }

    /// Called when sessions of the account came, went or changed: decides which of their stanzas the
    /// features look at under the account's lock. `asks` has one entry for each of the account's
    /// resources.
    fn sessions(&self, account: &mut AccountEntry, asks: &mut [Asks]);

    /// Whether the two may reach each other, as far as this account decides.
    fn guard(&self, account: &AccountEntry, query: &GuardQuery<'_>) -> Verdict;

    /// One phase of a passage. `account` is `None` where the features asked for nothing ([`Asks`]) and
    /// no lock was taken.
    fn pass(
        &self,
        part: Part,
        account: Option<&mut AccountEntry>,
        passage: &mut Passage<'_>,
    ) -> Verdict;
}

/// No features: messages reach only sessions that are there.
#[derive(Debug)]
pub struct NoFeatures;

impl Features for NoFeatures {
    fn has(&self, _: Part) -> bool {
        false
    }

    fn load(&self, _: &mut dyn Tx, _: AccountId) -> Result<State, StoreError> {
        Ok(None)
    }

    fn sessions(&self, _: &mut AccountEntry, _: &mut [Asks]) {}

    fn guard(&self, _: &AccountEntry, _: &GuardQuery<'_>) -> Verdict {
        Verdict::Continue
    }

    fn pass(&self, _: Part, _: Option<&mut AccountEntry>, _: &mut Passage<'_>) -> Verdict {
        Verdict::Continue
    }
}
