//! What an account wants to have archived (XEP-0441), in memory beside the store.

use std::sync::Arc;

use tokio::sync::oneshot;

use super::{Origin, Router};
use crate::jid::BareJid;
use crate::stanza::Stanza;
use crate::store::accounts::AccountId;
use crate::store::preferences::{self, Preferences};
use crate::store::tx::Tx;
use crate::store::{Job, StoreError};

impl Router {
    /// Stores what an account wants; durable, and heeded, when it answers. To be called for an account
    /// that has a session, so that its entry is in memory and whoever reads it anew finds this write
    /// queued.
    pub async fn prefer(
        self: &Arc<Self>,
        bare: BareJid,
        account: AccountId,
        preferences: Preferences,
    ) -> Result<(), StoreError> {
        let (told, done) = oneshot::channel();
        let (router, room) = (self.clone(), self.store.room_if_crowded().await);
        self.store.submit(Box::new(Prefer { router, bare, account, preferences, told }))?;
        drop(room);
        done.await.unwrap_or(Err(StoreError::Closed))
    }

    /// Does the sender's archive keep it? Asked for with the account's lock, but only where the session
    /// knows that there is something to ask.
    pub(super) fn prefers_sent(&self, stanza: &Stanza, origin: &Origin<'_>) -> bool {
        let choosy = origin.sender.is_some_and(|(_, outbox)| outbox.is_choosy());
        let Some(to) = stanza.to().filter(|_| choosy) else { return true };
        let own = stanza.from().bare_str();
        self.registry.with(own, |user| user.keeps(own, to)).unwrap_or(true)
    }
}

struct Prefer {
    router: Arc<Router>,
    bare: BareJid,
    account: AccountId,
    preferences: Preferences,
    told: oneshot::Sender<Result<(), StoreError>>,
}

impl Job for Prefer {
    fn run(&mut self, tx: &mut dyn Tx) -> Result<(), StoreError> {
        preferences::save(tx, self.account, &self.preferences)
    }

    /// Jobs are told in the order of their commits, so memory follows the store whoever else changes
    /// the same.
    fn settled(self: Box<Self>, outcome: Result<(), StoreError>) {
        if outcome.is_ok() {
            let wanted = Some(self.preferences).filter(|wanted| !wanted.is_default());
            let wanted = wanted.map(Box::new);
            self.router.registry.with(self.bare.as_str(), |user| {
                user.resources.iter().for_each(|each| each.outbox.set_choosy(wanted.is_some()));
                user.preferences = wanted;
            });
        }
        let _ = self.told.send(outcome);
    }

    fn repeats(&self) -> bool {
        true
    }
}

#[cfg(test)]
mod tests {
    use super::super::outbox::Outbox;
    use super::super::registry::{Bound, Conflict, Resource};
    use super::*;
    use crate::base::limits::Limits;
    use crate::jid::{FullJid, Jid};
    use crate::store::preferences::Policy;
    use crate::store::testing;

    /// However many change them at once, memory has what the store has, and a new session asks for it.
    #[tokio::test]
    async fn memory_follows_the_store() {
        let (_folder, store) = testing::store();
        let account = store.write(|tx| Ok(testing::account(tx, "romeo"))).await.unwrap();
        let hosts = ["montague.example".to_owned()];
        let router = Arc::new(Router::new(hosts, store.clone(), Arc::new(Limits::default())));
        let bare = BareJid::parse("romeo@montague.example").unwrap();
        router.load(&bare).await.unwrap();
        let bind = |session, resource: &str| {
            let jid = FullJid::parse(&format!("romeo@montague.example/{resource}")).unwrap();
            let outbox = Arc::new(Outbox::new(9));
            let resource = Resource::new(jid, session, outbox.clone());
            let bound = router.registry.bind(resource, false, Conflict::Replace, 9);
            assert!(matches!(bound, Bound::Done(None)));
            outbox
        };
        let first = bind(1, "one");
        assert!(!first.is_choosy());
        for round in 0..10 {
            let wanted = (0..9).map(|n| {
                let never = [Jid::parse(&format!("foe-{round}-{n}@x")).unwrap()];
                Preferences::new(Policy::ALL[n % 3], &[], &never)
            });
            let mut changes = tokio::task::JoinSet::new();
            for wanted in wanted {
                let (router, bare) = (router.clone(), bare.clone());
                changes.spawn(async move { router.prefer(bare, account, wanted).await });
            }
            while let Some(changed) = changes.join_next().await {
                changed.unwrap().unwrap();
            }
            let stored = store.read(move |tx| preferences::load(tx, account)).await.unwrap();
            let held = router.registry.with(bare.as_str(), |user| user.preferences.clone());
            assert_eq!(held.flatten().as_deref(), stored.as_ref());
        }
        assert!(first.is_choosy() && bind(2, "two").is_choosy());
        router.prefer(bare, account, Preferences::default()).await.unwrap();
        assert!(!first.is_choosy() && !bind(3, "three").is_choosy());
    }
}
