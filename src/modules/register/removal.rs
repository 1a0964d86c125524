//! The end of an account, in two steps: it is removed, and erased when nobody can want it back. Every door
//! (in-band, the operator, the end of the grace) comes here.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use super::super::api::{Cause, Module, PeriodicJob};
use super::super::{erase, roster, turned};
use crate::base::time::micros;
use crate::jid::BareJid;
use crate::router::Router;
use crate::stanza::StanzaError;
use crate::store::accounts;
use crate::store::ids::AccountId;
use crate::store::tx::{StoreError, Tx};
use roster::Items;

/// Takes leave of the account's contacts (XEP-0077 §3.2); then it is removed and can be restored, if
/// `keep`, or erased. Its sessions are the caller's.
pub async fn end(
    router: &Arc<Router>,
    modules: &'static [&'static Module],
    bare: &BareJid,
    account: AccountId,
    keep: bool,
    now: SystemTime,
) -> Result<(), StanzaError> {
    let items = if keep { Items::Stay } else { Items::Go };
    turned(modules, router, account, false).await?;
    roster::leave(router, bare, account, items, now).await?;
    let at = micros(now);
    let write = router.store.write(move |tx| match keep {
        true => accounts::remove(tx, account, at),
        false => erase(modules, tx, account),
    });
    write.await?;
    Ok(())
}

/// Erases accounts whose grace is over.
pub(super) async fn erase_due(job: PeriodicJob, modules: &'static [&'static Module]) {
    if job.cause != Cause::Due {
        return;
    }
    match erase_before(&job, modules).await {
        Ok(0) | Err(StoreError::Closed) => {}
        Ok(accounts) => tracing::info!(accounts, "removed accounts were erased"),
        Err(error) => {
            tracing::warn!(%error, "removed accounts could not be erased; tried again later")
        }
    }
}

async fn erase_before(
    job: &PeriodicJob,
    modules: &'static [&'static Module],
) -> Result<usize, StoreError> {
    let grace = Duration::from_secs(u64::from(job.config.register.grace_days) * DAY);
    let before = job.now.checked_sub(grace).map_or(0, micros);
    let mut total = 0;
    loop {
        let due = move |tx: &mut dyn Tx| accounts::removed_before(tx, before, 1);
        let Some(next) = job.store.read(due).await?.pop() else { return Ok(total) };
        // Looked at again in the write: it may have been restored.
        let write = job.store.write(move |tx| {
            let due = accounts::removed_before(tx, before, 1)?;
            let still = due.iter().any(|removed| removed.account.id == next.account.id);
            if still { erase(modules, tx, next.account.id) } else { Ok(false) }
        });
        total += usize::from(write.await?);
    }
}

const DAY: u64 = 86_400;

#[cfg(test)]
mod tests {
    use super::super::super::testing::{Server, ask, keeps_rows};
    use super::*;
    use crate::modules::Config as All;
    use crate::store::roster::Subscription;
    use std::sync::atomic::Ordering;

    keeps_rows!(KEEPS_ROWS, ERASED);

    const MODULES: &[&Module] = &[&Module::EMPTY, &KEEPS_ROWS];
    const ROMEO: &str = "romeo@montague.example";

    fn job(server: &Server, days: u64) -> PeriodicJob {
        let now = server.cx.now + Duration::from_secs(days * DAY);
        PeriodicJob { now, ..server.job(Cause::Due) }
    }

    /// Both steps, and that what modules keep goes with the second one.
    #[tokio::test]
    async fn a_removed_account_is_erased_when_its_grace_is_over() {
        let server = Server::new(All::default());
        let contacts = &[("juliet@montague.example", Subscription::Both)];
        let account = server.account("romeo", contacts).await;
        server.account("juliet", &[(ROMEO, Subscription::Both)]).await;
        let (bare, cx, store) = (BareJid::parse(ROMEO).unwrap(), &server.cx, server.store());
        end(&cx.router, MODULES, &bare, account, true, cx.now).await.unwrap();
        // The name of the contact stays, the subscriptions do not (XEP-0077 §3.2).
        let item = |id, jid: &'static str| async move {
            let read = store.read(move |tx| crate::store::roster::item(tx, id, jid));
            read.await.unwrap().map(|item| item.state)
        };
        assert_eq!(item(account, "juliet@montague.example").await, Some(Subscription::None));
        let there =
            || async { store.read(move |tx| accounts::name(tx, account)).await.unwrap().is_some() };
        for (days, stays) in [(6, true), (8, false), (9, false)] {
            erase_due(job(&server, days), MODULES).await;
            assert_eq!(there().await, stays, "day {days}");
            assert_eq!(ERASED.load(Ordering::Relaxed), usize::from(!stays), "day {days}");
        }
        // Without a grace it is one step.
        let again = server.account("romeo", &[]).await;
        end(&cx.router, MODULES, &bare, again, false, cx.now).await.unwrap();
        assert_eq!(ERASED.load(Ordering::Relaxed), 2);
    }

    #[tokio::test]
    async fn nobody_takes_the_name_of_a_removed_account() {
        let mut config = All { scram_iterations: 2, ..All::default() };
        config.register.mode = super::super::Mode::Open;
        let server = Server::new(config);
        let account = server.account("romeo", &[]).await;
        let (bare, cx) = (BareJid::parse(ROMEO).unwrap(), &server.cx);
        end(&cx.router, MODULES, &bare, account, true, cx.now).await.unwrap();
        cx.router.registry.removed(ROMEO);
        let form = "<query xmlns='jabber:iq:register'><username>romeo</username>\
                    <password>Calliope</password></query>";
        assert_eq!(ask(cx, "set", "", form).await, "conflict");
        let back = move |tx: &mut dyn Tx| accounts::restore(tx, account);
        assert!(server.store().write(back).await.unwrap());
        erase_due(job(&server, 99), MODULES).await;
        let found = server.store().read(|tx| accounts::find(tx, "romeo", "montague.example"));
        assert_eq!(found.await.unwrap().map(|found| found.id), Some(account));
    }
}
