//! What all privileges have in common: accounts, whom components act for.

use super::super::api::Cx;
use crate::jid::Jid;

/// The namespace of XEP-0356.
pub(super) const NS: &str = "urn:xmpp:privilege:2";

/// Whether this is the bare address of an account, which need not exist.
pub(super) fn is_account(cx: &Cx, jid: &Jid) -> bool {
    jid.is_bare() && jid.local().is_some() && cx.router.hosts().iter().any(|it| it == jid.domain())
}
