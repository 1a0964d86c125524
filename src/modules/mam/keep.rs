//! Which messages are stored in an account's archive (XEP-0313 §3, XEP-0441).

use super::super::api::{AccountPart, Passage, Verdict};
use super::super::{AccountState, Config};
use super::policy::{self, Preferences};
use crate::jid::Jid;
use crate::router::held::Asks;
use crate::router::registry::{AccountEntry, AccountStatus};
use crate::router::rules::Decision;
use crate::stanza::Kind;
use crate::stanza::ids::stanza_id;
use crate::store::Store;
use crate::store::ids::{AccountId, ArchiveId};
use crate::store::tx::{StoreError, Tx};

/// An account's preferences; `None`: every message is archived.
impl AccountPart for Option<Box<Preferences>> {
    fn load(tx: &mut dyn Tx, account: AccountId) -> Result<Self, StoreError> {
        Ok(policy::load(tx, account)?.map(Box::new))
    }

    fn bytes(&self) -> usize {
        self.as_ref().map_or(0, |preferences| preferences.bytes())
    }

    fn is_nothing(&self) -> bool {
        self.is_none()
    }
}

pub(super) fn received(
    config: &Config,
    account: &mut AccountEntry,
    passage: &mut Passage<'_>,
) -> Verdict {
    let heard = passage.policy.archived && passage.decision != Decision::Ignore;
    if heard
        && matches!(account.account, AccountStatus::Stored(_))
        && let Some(to) = passage.stanza.to()
        && config.mam.archives_domain(to.domain())
        && keeps(account, to.bare_str(), passage.stanza.from())
    {
        passage.archive = Some(stamp);
    }
    Verdict::Continue
}

/// The sender's own copy. A message to the account itself is archived as a received one (XEP-0313 §3.3.1).
pub(super) fn sent(
    config: &Config,
    account: Option<&mut AccountEntry>,
    passage: &mut Passage<'_>,
) -> Verdict {
    let from = passage.stanza.from();
    if passage.policy.archived
        && !passage.is_to_self()
        && config.mam.archives_domain(from.domain())
        && let Some(to) = passage.stanza.to()
        && account.is_none_or(|account| keeps(account, from.bare_str(), to))
    {
        passage.archive = Some(stamp);
    }
    Verdict::Continue
}

/// A session of an account with preferences is asked about each message before it is sent.
pub(super) fn sessions(account: &mut AccountEntry, asks: &mut [Asks]) {
    if preferred(account).is_some() {
        asks.iter_mut().for_each(|asks| *asks = asks.and(Asks::before(Kind::Message)));
    }
}

/// The account's preferences, if it has set any.
pub(super) fn preferred(account: &AccountEntry) -> Option<&Preferences> {
    AccountState::of(account)?.mam.as_deref()
}

/// Whether the archive of this bare JID, which is the account's own, stores messages to or from this address
/// (XEP-0441). The own address counts as a contact: §2.1.1 does not mention it, and the preferences are not
/// meant to exclude notes to oneself.
fn keeps(account: &AccountEntry, own: &str, with: &Jid) -> bool {
    let listed = |bare: &str| account.roster.get(bare).is_some_and(|contact| contact.listed);
    let is_contact = |bare: &str| bare == own || listed(bare);
    preferred(account).is_none_or(|preferences| preferences.keep(with, is_contact))
}

/// The `<stanza-id/>` that names the archive and the message's id in it (XEP-0313 §3.5).
fn stamp(store: &Store, archive: ArchiveId, seq: i64, own: &str) -> Vec<u8> {
    stanza_id(own, &store.id_of_position(archive, seq))
}
