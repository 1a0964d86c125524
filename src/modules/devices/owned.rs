//! The devices and sessions of the requesting account.

use super::super::api::Cx;
use crate::base::credential::AgentId;
use crate::router::registry::Resource;
use crate::stanza::StanzaError;
use crate::store::devices::{self, Device};

/// Its devices, most recently seen first.
pub(super) async fn known(cx: &Cx) -> Result<Vec<Device>, StanzaError> {
    let account = cx.account()?;
    devices::noted(&cx.store).await?;
    Ok(cx.store.read(move |tx| devices::list(tx, account)).await?)
}

/// A session of the account.
pub(super) struct Online {
    pub(super) session: u64,
    pub(super) agent: Option<AgentId>,
}

/// Its sessions.
pub(super) fn online(cx: &Cx) -> Vec<Online> {
    let of = |one: &Resource| Online { session: one.session, agent: one.agent };
    cx.own(|entry| entry.resources.iter().map(of).collect()).unwrap_or_default()
}
