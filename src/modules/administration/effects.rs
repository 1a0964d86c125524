//! What an operator's verbs ([`crate::admin`]) do to sessions, contacts and everybody's messages.

use std::sync::{Arc, PoisonError};
use std::time::Duration;

use super::super::api::{Cx, WebAddress};
use super::{announce, notices};
use crate::admin::accounts::AdminError;
use crate::admin::invitations::Settings;
use crate::admin::{
    Audience, Doing, Effects, Gone, Notice, NoticeChange, Online, Operator, Outcome, Presence,
    RoomPage, RoomQuery, RoomVerb, TeamVerb,
};
use crate::base::credential::AgentId;
use crate::base::role::Role;
use crate::base::time::micros;
use crate::jid::{BareJid, Jid};
use crate::modules::register::removal;
use crate::modules::{Config, muc, teams, turned};
use crate::store::ids::AccountId;
use crate::store::{Store, StoreError, Tx, accounts};
use crate::stream::error::StreamError;

impl Cx {
    /// The operator's verbs: for commands in forms, and for the command line.
    pub fn operator(&self) -> Operator {
        let effects = Arc::new(Live(self.clone()));
        let (hosts, iterations) = (self.router.hosts(), self.config.scram_iterations);
        let shared = self.server.shared();
        let operator = Operator::new(self.store.clone(), hosts, iterations, effects)
            .with_admins(self.config.admins.clone())
            .inviting(inviting(&self.config, &shared.web_address));
        let peering = shared.peering.lock().unwrap_or_else(PoisonError::into_inner).clone();
        match peering.and_then(|peering| peering.upgrade()) {
            Some(peering) => operator.with_peering(peering),
            None => operator,
        }
    }
}

/// On a router: the running server's, or one without sessions for a command beside no server.
pub(super) struct Live(pub(super) Cx);

impl Effects for Live {
    fn end_account<'a>(
        &'a self,
        _store: &'a Store,
        jid: &'a BareJid,
        account: AccountId,
        now: bool,
    ) -> Doing<'a, Option<i64>> {
        let Cx { router, server, now: at, .. } = &self.0;
        let grace = grace_days(&self.0);
        let keep = grace > 0 && !now;
        Box::pin(async move {
            let ended = removal::end(router, server.modules(), jid, account, keep, *at).await;
            ended.map_err(|error| AdminError::Store(StoreError::Other(error.to_string())))?;
            // The next one to have the name is somebody else.
            let _ = teams::settle(&self.0).await;
            let grace = Duration::from_secs(u64::from(grace) * 86_400);
            Ok(keep.then(|| micros(*at + grace)))
        })
    }

    fn set_role<'a>(
        &'a self,
        _store: &'a Store,
        jid: &'a BareJid,
        account: AccountId,
        role: Role,
    ) -> Doing<'a, ()> {
        let write = move |tx: &mut dyn Tx| accounts::set_role(tx, account, role).map(drop);
        Box::pin(async move {
            let change = self.0.router.change(jid.clone(), write, move |entry| entry.role = role);
            change.await?;
            Ok(())
        })
    }

    fn account_made(&self, jid: &BareJid) {
        // The name may be remembered as nobody's.
        self.0.router.registry.forget_missing(jid.as_str());
    }

    fn account_turned<'a>(&'a self, account: AccountId, open: bool) -> Doing<'a, ()> {
        let Cx { router, server, .. } = &self.0;
        Box::pin(async move {
            turned(server.modules(), router, account, open).await?;
            let _ = teams::settle(&self.0).await;
            Ok(())
        })
    }

    fn team<'a>(&'a self, verb: TeamVerb) -> Doing<'a, Outcome> {
        Box::pin(teams::run(&self.0, verb))
    }

    fn room<'a>(&'a self, verb: RoomVerb) -> Doing<'a, Outcome> {
        Box::pin(async move {
            let ends = matches!(verb, RoomVerb::Destroy { .. });
            let outcome = muc::run(&self.0, verb).await?;
            if ends {
                // A team has it no longer. What cannot be done now is done later.
                let _ = teams::settle(&self.0).await;
            }
            Ok(outcome)
        })
    }

    fn rooms<'a>(&'a self, query: RoomQuery) -> Doing<'a, RoomPage> {
        Box::pin(muc::list(&self.0, query))
    }

    fn device_gone(&self, jid: &BareJid, device: &AgentId) {
        let why = StreamError::NotAuthorized.text("the device was revoked");
        self.0.router.end_device(jid.as_str(), device, 0, &why);
    }

    fn account_gone(&self, jid: &BareJid, why: Gone) {
        let text = match why {
            Gone::Deleted => "the account was deleted",
            Gone::Disabled => "the account was disabled",
            Gone::PasswordChanged => "the password was changed",
            Gone::Revoked => "all devices were revoked",
        };
        if why == Gone::Deleted {
            self.0.router.registry.removed(jid.as_str());
            self.0.server.shared().account_deleted.notify_one();
        }
        self.0.router.end_sessions(jid.as_str(), &StreamError::NotAuthorized.text(text));
    }

    /// §4.5: whoever is logged out may come back.
    fn log_out(&self, jid: &Jid) -> usize {
        let why = StreamError::PolicyViolation.text("an admin ended the session");
        self.0.router.end_some(jid, &why)
    }

    fn online(&self) -> Vec<Online> {
        let online = self.0.router.online().into_iter().map(|present| Online {
            jid: present.bare,
            resources: present.resources.iter().map(|one| one.0.resource().to_owned()).collect(),
            presence: match present
                .resources
                .iter()
                .any(|(_, frame)| announce::is_active(frame.as_ref()))
            {
                true => Presence::Active,
                false => Presence::Idle,
            },
        });
        online.collect()
    }

    fn announce<'a>(&'a self, text: &'a str, to: Audience) -> Doing<'a, usize> {
        Box::pin(announce::to_all(&self.0, text, to))
    }

    fn notice<'a>(&'a self, which: Notice, change: NoticeChange) -> Doing<'a, Option<String>> {
        Box::pin(notices::change(&self.0, which, change))
    }
}

/// How the operator's invitations are made.
fn inviting(config: &Config, web: &WebAddress) -> Settings {
    let (invite, register) = (&config.invite, &config.register);
    Settings {
        registers: register.takes_invited(),
        days: invite.days,
        landing_url: invite.landing(web),
    }
}

/// Days for which a deleted account can be restored.
pub(super) fn grace_days(cx: &Cx) -> u32 {
    cx.config.register.grace_days
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::modules::Pipeline;
    use crate::modules::api::Module;
    use crate::modules::testing::{Server, keeps_rows};
    use std::sync::atomic::Ordering;
    use std::time::SystemTime;

    keeps_rows!(KEEPS_ROWS, ERASED);

    const MODULES: &[&Module] = &[&KEEPS_ROWS];

    /// What modules keep goes when the operator deletes an account, as it does in-band.
    #[tokio::test]
    async fn the_operator_deletes_what_modules_keep() {
        let mut server = Server::with(&["a"]).await;
        server.cx.server = Pipeline::build(MODULES, &server.cx.config, SystemTime::UNIX_EPOCH);
        let store = server.store();
        let id = store.read(|tx| accounts::find(tx, "a", "x")).await.unwrap().unwrap().id;
        let live = Live(server.cx.clone());
        let jid = BareJid::parse("a@x").unwrap();
        assert!(live.end_account(store, &jid, id, false).await.unwrap().is_some());
        assert_eq!(ERASED.load(Ordering::Relaxed), 0);
        assert_eq!(live.end_account(store, &jid, id, true).await.unwrap(), None);
        assert_eq!(ERASED.load(Ordering::Relaxed), 1);
        assert_eq!(store.read(move |tx| accounts::name(tx, id)).await.unwrap(), None);
    }
}
