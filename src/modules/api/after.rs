//! What hooks on stanzas leave to be done when the account's lock is free: with a [`Cx`], and other locks may
//! be taken.

use std::fmt;
use std::sync::Arc;
use std::time::SystemTime;

use super::super::Config;
use super::module::{Cx, Pipeline};
use super::requester::Requester;
use crate::jid::BareJid;
use crate::router::passage::{Event, Passage};
use crate::router::registry::RosterChange;
use crate::router::{Afterwards, Router};
use crate::store::ids::AccountId;

pub use crate::router::passage::Passed;

type Work = Box<dyn FnOnce(&Cx, &Passed) + Send>;

/// One piece of such work.
struct Later(Work);

/// Has this done when the stanza has passed, if it does: in the task that routed it, without waiting. The one
/// who asks (`Cx::who`) is the account. Whatever has to wait goes into a bounded queue of the module's own.
pub fn later(passage: &mut Passage<'_>, work: impl FnOnce(&Cx, &Passed) + Send + 'static) {
    passage.events.push(Box::new(Later(Box::new(work))));
}

/// For the router. `clock` tells the time where no stanza does.
pub fn after(
    config: Arc<Config>,
    server: Arc<Pipeline>,
    clock: fn() -> SystemTime,
) -> Arc<dyn Afterwards> {
    Arc::new(After { config, server, clock })
}

struct After {
    config: Arc<Config>,
    server: Arc<Pipeline>,
    clock: fn() -> SystemTime,
}

impl fmt::Debug for After {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("After")
    }
}

impl After {
    /// For what is done on behalf of an account.
    fn cx(&self, router: &Arc<Router>, account: &BareJid, now: SystemTime) -> Cx {
        Cx {
            who: Requester::Entity(account.clone().into()),
            now,
            config: self.config.clone(),
            store: router.store.clone(),
            router: router.clone(),
            server: self.server.clone(),
        }
    }
}

impl Afterwards for After {
    fn passed(&self, router: &Arc<Router>, passed: Passed, events: Vec<Event>) {
        let cx = self.cx(router, passed.home.bare(), passed.now);
        for event in events {
            if let Ok(later) = event.downcast::<Later>() {
                (later.0)(&cx, &passed);
            }
        }
    }

    fn approved(&self, router: &Arc<Router>, owner: &BareJid, contact: &BareJid) {
        let cx = self.cx(router, owner, (self.clock)());
        self.server.approved(&cx, owner, contact);
    }

    fn roster_changed(
        &self,
        router: &Arc<Router>,
        account: AccountId,
        owner: &BareJid,
        change: &RosterChange,
    ) {
        let cx = self.cx(router, owner, (self.clock)());
        self.server.roster_changed(&cx, account, change);
    }

    fn contact_changed(
        &self,
        router: &Arc<Router>,
        account: AccountId,
        owner: &BareJid,
        contact: &BareJid,
    ) {
        let cx = self.cx(router, owner, (self.clock)());
        self.server.contact_changed(&cx, account, contact);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::super::super::testing::Server;
    use super::super::super::{ALL, Sender, features};
    use super::super::module::Module;
    use super::*;
    use crate::router::handled_count::HandledCount;
    use crate::router::held::Asks;
    use crate::router::passage::{Phase, Side, Verdict};
    use crate::stanza::{Kind, Stanza};

    /// Side, account, whether a row is in the archive.
    static SEEN: Mutex<Vec<(Side, String, Option<bool>)>> = Mutex::new(Vec::new());

    const NOTICE: Module = Module {
        name: "notice",
        incoming: &[(Phase::Notify, |_, _, passage| notice(passage))],
        outgoing: &[(Phase::Notify, |_, _, passage| notice(passage))],
        sessions: Some(|_, asks| {
            asks.iter_mut().for_each(|asks| *asks = asks.and(Asks::after(Kind::Message)));
        }),
        ..Module::EMPTY
    };
    const REFUSAL: Module = Module {
        name: "refusal",
        incoming: &[(Phase::Notify, |_, _, passage| match passage.stanza.id().as_deref() {
            Some("refused") => Verdict::Drop,
            _ => Verdict::Continue,
        })],
        ..Module::EMPTY
    };

    fn notice(passage: &mut Passage<'_>) -> Verdict {
        let side = passage.side;
        later(passage, move |cx, passed| {
            // It would wait for ever if the lock were held.
            let account = cx.router.own(&passed.home, |_| cx.jid().as_str().to_owned());
            let archived = passed.row.map(|(_, archived)| archived);
            SEEN.lock().unwrap().push((side, account.unwrap(), archived));
        });
        Verdict::Continue
    }

    #[tokio::test]
    async fn it_is_done_for_what_passes_when_the_lock_is_free() {
        let mut server = Server::with(&["a", "b"]).await;
        let modules: Vec<&Module> = ALL.iter().copied().chain([&NOTICE, &REFUSAL]).collect();
        let (store, limits) = (server.cx.store.clone(), server.cx.router.limits.clone());
        let router = Router::new(["x".to_owned()], store, limits)
            .with_features(features(&modules, server.cx.config.clone()))
            .with_afterwards(after(server.cx.config.clone(), server.cx.server.clone(), || {
                SystemTime::UNIX_EPOCH
            }));
        server.cx.router = Arc::new(router);
        let cx = server.session("a@x/1").await;
        let client = cx.client().unwrap();
        let sender = Sender {
            handled_count: Arc::new(HandledCount::new(&cx.router.limits)),
            outbox: client.outbox.clone(),
            account: client.account,
            foreign: false,
        };
        for id in ["refused", "1"] {
            let said = format!(
                "<message from='a@x/1' to='b@x' type='chat' id='{id}'><body>x</body></message>"
            );
            let said = Stanza::ours(said.into()).unwrap();
            cx.drive(&said, Some(&sender), None, None).await;
        }
        let both = [
            (Side::Outgoing, "a@x".to_owned(), Some(true)),
            (Side::Incoming, "b@x".to_owned(), Some(true)),
            (Side::Outgoing, "a@x".to_owned(), Some(true)),
        ];
        assert_eq!(*SEEN.lock().unwrap(), both);
    }
}
