//! What an operator's change of an account does to its sessions and contacts.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use crate::admin::accounts::AdminError;
use crate::admin::{Effects, Ending, Gone, Setting};
use crate::base::credential::AgentId;
use crate::base::role::Role;
use crate::base::time::micros;
use crate::jid::BareJid;
use crate::modules::api::Module;
use crate::modules::register::removal;
use crate::router::Router;
use crate::store::ids::AccountId;
use crate::store::{Store, StoreError, Tx, accounts};
use crate::stream::error::StreamError;
use tokio::sync::Notify;

/// On a router: the running server's, or one without sessions for a command beside no server.
pub struct Live {
    /// Who is where.
    pub router: Arc<Router>,
    /// Whose tables an account has rows in.
    pub modules: &'static [&'static Module],
    /// `modules.register.grace_days`
    pub grace_days: u32,
    /// Told when an account is deleted, so that what it left goes too.
    pub deleted: Arc<Notify>,
}

impl Effects for Live {
    fn end_account<'a>(
        &'a self,
        _store: &'a Store,
        jid: &'a BareJid,
        account: AccountId,
        now: bool,
    ) -> Ending<'a> {
        let keep = self.grace_days > 0 && !now;
        #[allow(clippy::disallowed_methods)] // the wall clock, at the floor that has one
        let now = SystemTime::now();
        Box::pin(async move {
            let ended = removal::end(&self.router, self.modules, jid, account, keep, now).await;
            ended.map_err(|error| AdminError::Store(StoreError::Other(error.to_string())))?;
            let grace = Duration::from_secs(u64::from(self.grace_days) * 86_400);
            Ok(keep.then(|| micros(now + grace)))
        })
    }

    fn set_role<'a>(
        &'a self,
        _store: &'a Store,
        jid: &'a BareJid,
        account: AccountId,
        role: Role,
    ) -> Setting<'a> {
        let write = move |tx: &mut dyn Tx| accounts::set_role(tx, account, role).map(drop);
        Box::pin(async move {
            self.router.change(jid.clone(), write, move |entry| entry.role = role).await?;
            Ok(())
        })
    }

    fn account_made(&self, jid: &BareJid) {
        // The name may be remembered as nobody's.
        self.router.registry.forget_missing(jid.as_str());
    }

    fn device_gone(&self, jid: &BareJid, device: &AgentId) {
        let why = StreamError::NotAuthorized.text("the device was revoked");
        self.router.end_device(jid.as_str(), device, 0, &why);
    }

    fn account_gone(&self, jid: &BareJid, why: Gone) {
        let text = match why {
            Gone::Deleted => "the account was deleted",
            Gone::Disabled => "the account was disabled",
            Gone::PasswordChanged => "the password was changed",
            Gone::Revoked => "all devices were revoked",
        };
        if why == Gone::Deleted {
            self.router.registry.removed(jid.as_str());
            self.deleted.notify_one();
        }
        self.router.end_sessions(jid.as_str(), &StreamError::NotAuthorized.text(text));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::limits::Limits;
    use crate::modules::testing::keeps_rows;
    use crate::store::accounts::Creation;
    use crate::store::{Options, Store};
    use std::sync::atomic::Ordering;

    keeps_rows!(KEEPS_ROWS, ERASED);

    /// What modules keep goes when the operator deletes an account, as it does in-band.
    #[tokio::test]
    async fn the_operator_deletes_what_modules_keep() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(Options::new(folder.path().join("x.db"))).unwrap();
        let made = store.write(|tx| accounts::create(tx, "a", "x", &[], 1)).await.unwrap();
        let Creation::Created(id) = made else { panic!("{made:?}") };
        let limits = Arc::new(Limits::default());
        let live = Live {
            router: Arc::new(Router::new(["x".to_owned()], store.clone(), limits)),
            modules: &[&KEEPS_ROWS],
            grace_days: 7,
            deleted: Arc::default(),
        };
        let jid = BareJid::parse("a@x").unwrap();
        assert!(live.end_account(&store, &jid, id, false).await.unwrap().is_some());
        assert_eq!(ERASED.load(Ordering::Relaxed), 0);
        assert_eq!(live.end_account(&store, &jid, id, true).await.unwrap(), None);
        assert_eq!(ERASED.load(Ordering::Relaxed), 1);
        assert_eq!(store.read(move |tx| accounts::name(tx, id)).await.unwrap(), None);
    }
}
