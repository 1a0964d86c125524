//! What an operator's change of an account does to its sessions and contacts.

use std::sync::Arc;
use std::time::SystemTime;

use crate::admin::accounts::AdminError;
use crate::admin::{Effects, Gone, Leaving};
use crate::base::credential::AgentId;
use crate::jid::BareJid;
use crate::modules::roster;
use crate::router::Router;
use crate::store::StoreError;
use crate::store::accounts::AccountId;
use crate::stream::error::StreamError;
use tokio::sync::Notify;

/// On a router: the running server's, or one without sessions for a command beside no server.
///
/// The second is told when an account is deleted, so that what it left goes too.
pub struct Live(pub Arc<Router>, pub Arc<Notify>);

impl Effects for Live {
    fn account_leaving<'a>(&'a self, jid: &'a BareJid, account: AccountId) -> Leaving<'a> {
        #[allow(clippy::disallowed_methods)] // the wall clock, at the floor that has one
        let now = SystemTime::now();
        Box::pin(async move {
            let left = roster::leave(&self.0, jid, account, now).await;
            left.map_err(|error| AdminError::Store(StoreError::Other(error.to_string())))
        })
    }

    fn account_made(&self, jid: &BareJid) {
        // The name may be remembered as nobody's.
        self.0.registry.forget_missing(jid.as_str());
    }

    fn device_gone(&self, jid: &BareJid, device: &AgentId) {
        let why = StreamError::NotAuthorized.text("the device was revoked");
        self.0.end_device(jid.as_str(), device, 0, &why);
    }

    fn account_gone(&self, jid: &BareJid, why: Gone) {
        let text = match why {
            Gone::Deleted => "the account was deleted",
            Gone::Disabled => "the account was disabled",
            Gone::PasswordChanged => "the password was changed",
            Gone::Revoked => "all devices were revoked",
        };
        if why == Gone::Deleted {
            self.0.registry.removed(jid.as_str());
            self.1.notify_one();
        }
        self.0.end_sessions(jid.as_str(), &StreamError::NotAuthorized.text(text));
    }
}
