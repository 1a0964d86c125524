//! XEP-0160: messages for accounts that are offline: decides which are owed to an account. `stanza/policy.rs`
//! classifies a message; the router keeps the books (`router/owed.rs`), the archive or the mailbox holds the
//! row, and a session that accepts messages claims it.

mod moves;

use super::Config;
use super::api::{Module, On, Passage, Phase, Spec, Verdict};
use crate::router::registry::{AccountEntry, AccountStatus};
use crate::xml::ns;

/// The module.
pub const MODULE: Module = Module {
    name: "offline",
    specs: &[
        Spec::whole("XEP-0160", "1.0.1", "transcripts/0160-offline.scs"),
        Spec::whole("XEP-0203", "2.0", "transcripts/0160-offline.scs"),
        Spec::whole("XEP-0085", "2.1", "transcripts/0160-not-stored.scs"),
        Spec::whole("XEP-0334", "1.0.0", "transcripts/0160-not-stored.scs"),
    ],
    // XEP-0160 §4
    features: &[
        On::Server("msgoffline"),
        // XEP-0359 §5: forged ids of the server are removed on every domain.
        On::Server(ns::STANZA_ID),
        On::Account(ns::STANZA_ID),
    ],
    incoming: &[(Phase::Archive, keep)],
    moves: moves::MOVES,
    ..Module::EMPTY
};

/// A message that may be owed is owed to an account that owns rows, until one of its sessions has it
/// (promise.md 1).
fn keep(_: &Config, account: &mut AccountEntry, passage: &mut Passage<'_>) -> Verdict {
    passage.owed = passage.policy.owed && matches!(account.account, AccountStatus::Stored(_));
    Verdict::Continue
}
