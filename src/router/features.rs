//! What the floor above adds to accounts, to sessions, and to the way of stanzas through accounts. The
//! router carries it all, and knows no feature.

use std::fmt::Debug;

use super::account::AccountEntry;
use super::held::{Asks, State};
use super::passage::{GuardQuery, Part, Passage, Verdict};
use crate::store::ids::AccountId;
use crate::store::tx::{StoreError, Tx};

/// All features of the server.
pub trait Features: Debug + Send + Sync {
    /// Reads what they keep of an account.
    fn load(&self, tx: &mut dyn Tx, account: AccountId) -> Result<State, StoreError>;

    /// Sessions of the account came, went, or changed their minds: what of their stanzas is looked at
    /// with the account's lock. One entry in `asks` for each of the account's resources.
    fn sessions(&self, account: &mut AccountEntry, asks: &mut [Asks]);

    /// May they reach each other, for this account?
    fn guard(&self, account: &AccountEntry, query: &GuardQuery<'_>) -> Verdict;

    /// One part of a stanza's way through an account. `account` is none where its features asked for
    /// nothing ([`Asks`]), and no lock was taken.
    fn pass(
        &self,
        part: Part,
        account: Option<&mut AccountEntry>,
        passage: &mut Passage<'_>,
    ) -> Verdict;
}

/// No features: messages are for those who are there.
#[derive(Debug)]
pub struct NoFeatures;

impl Features for NoFeatures {
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
