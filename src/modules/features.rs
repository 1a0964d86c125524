//! The modules' hooks for stanzas that pass through accounts, and their state for accounts and sessions, in
//! the form the router needs.

use std::any::Any;
use std::sync::Arc;

use super::api::{
    AccountTurn, AfterCommit, Cx, Guard, Incoming, Module, NewAccount, Outgoing, Sessions,
};
use super::{AccountState, Config};
use crate::router::Router;
use crate::router::features::Features;
use crate::router::held::{Asks, FeatureState, State};
use crate::router::passage::{GuardQuery, Part, Passage, Phase, Verdict};
use crate::router::registry::AccountEntry;
use crate::store::accounts;
use crate::store::ids::AccountId;
use crate::store::tx::{StoreError, Tx};

/// Deletes an account with its rows in every table, the modules' first. All deletions use this one list.
/// False if there was no account.
pub fn erase(modules: &[&Module], tx: &mut dyn Tx, account: AccountId) -> Result<bool, StoreError> {
    modules.iter().filter_map(|m| m.account_deleted).try_for_each(|hook| hook(tx, account))?;
    accounts::delete(tx, account)
}

/// What modules give a new account, in the transaction that makes it; returns what follows the commit.
pub fn equip(cx: &Cx, tx: &mut dyn Tx, made: &NewAccount) -> Result<Vec<AfterCommit>, StoreError> {
    let hooks = cx.server.modules().iter().filter_map(|module| module.account_created);
    let mut after = Vec::new();
    for hook in hooks {
        after.extend(hook(cx, tx, made)?);
    }
    Ok(after)
}

/// Does what it means to others that an account is shut, about to be deleted, or open again. Whoever shuts or
/// opens accounts calls it.
pub async fn turned(
    modules: &[&Module],
    router: &Arc<Router>,
    account: AccountId,
    open: bool,
) -> Result<(), StoreError> {
    for hook in modules.iter().filter_map(|module| module.account_turned) {
        hook(AccountTurn { account, open, router: router.clone() }).await?;
    }
    Ok(())
}

/// All hooks, in the order in which they are called.
#[derive(Debug)]
struct Hooks {
    config: Arc<Config>,
    guards: Vec<Guard>,
    sending: Vec<Outgoing>,
    receiving: Vec<Incoming>,
    sent: Vec<Outgoing>,
    sessions: Vec<Sessions>,
    follows_presence: bool,
}

/// The modules' hooks, for the router.
pub fn features(modules: &[&Module], config: Arc<Config>) -> Arc<dyn Features> {
    let active = |module: &&&Module| module.active.is_none_or(|active| active(&config));
    let modules: Vec<&Module> = modules.iter().filter(active).copied().collect();
    let incoming =
        in_order(modules.iter().flat_map(|m| m.incoming.iter().map(|h| (h.0, m.name, h.1))));
    let outgoing =
        in_order(modules.iter().flat_map(|m| m.outgoing.iter().map(|h| (h.0, m.name, h.1))));
    let sends = |phase: &Phase| *phase == Phase::Archive;
    let follows_presence = modules.iter().any(|m| m.follows_presence.is_some_and(|it| it(&config)));
    Arc::new(Hooks {
        config,
        guards: modules.iter().filter_map(|module| module.guard).collect(),
        sending: chosen(&outgoing, sends),
        receiving: chosen(&incoming, |_| true),
        sent: chosen(&outgoing, |phase| !sends(phase)),
        sessions: modules.iter().filter_map(|module| module.sessions).collect(),
        follows_presence,
    })
}

/// By phase, then by name.
pub fn in_order<H>(
    hooks: impl Iterator<Item = (Phase, &'static str, H)>,
) -> Vec<(Phase, &'static str, H)> {
    let mut hooks: Vec<_> = hooks.collect();
    hooks.sort_by_key(|(phase, name, _)| (*phase, *name));
    hooks
}

fn chosen<H: Copy>(hooks: &[(Phase, &str, H)], is: impl Fn(&Phase) -> bool) -> Vec<H> {
    hooks.iter().filter(|(phase, ..)| is(phase)).map(|(.., hook)| *hook).collect()
}

impl Features for Hooks {
    fn has(&self, part: Part) -> bool {
        match part {
            Part::Sending => !self.sending.is_empty(),
            Part::Receiving => !self.receiving.is_empty(),
            Part::Sent => !self.sent.is_empty(),
        }
    }

    fn load(&self, tx: &mut dyn Tx, account: AccountId) -> Result<State, StoreError> {
        AccountState::load(tx, account)
    }

    fn follows_presence(&self) -> bool {
        self.follows_presence
    }

    fn sessions(&self, account: &mut AccountEntry, asks: &mut [Asks]) {
        self.sessions.iter().for_each(|hook| hook(account, asks));
    }

    fn guard(&self, account: &AccountEntry, query: &GuardQuery<'_>) -> Verdict {
        for guard in &self.guards {
            match guard(account, query) {
                Verdict::Continue => {}
                ended => return ended,
            }
        }
        Verdict::Continue
    }

    fn pass(
        &self,
        part: Part,
        mut account: Option<&mut AccountEntry>,
        passage: &mut Passage<'_>,
    ) -> Verdict {
        let (incoming, outgoing) = match part {
            Part::Sending => (&[][..], &self.sending[..]),
            Part::Receiving => (&self.receiving[..], &[][..]),
            Part::Sent => (&[][..], &self.sent[..]),
        };
        for hook in outgoing {
            match hook(&self.config, account.as_deref_mut(), passage) {
                Verdict::Continue => {}
                ended => return ended,
            }
        }
        let Some(account) = account else { return Verdict::Continue };
        for hook in incoming {
            match hook(&self.config, account, passage) {
                Verdict::Continue => {}
                ended => return ended,
            }
        }
        Verdict::Continue
    }
}

/// The state as a `T`.
pub fn held<T: FeatureState>(state: &State) -> Option<&T> {
    let held: &dyn Any = state.as_deref()?;
    held.downcast_ref()
}

/// Like [`held`], but mutable.
pub fn held_mut<T: FeatureState>(state: &mut State) -> Option<&mut T> {
    let held: &mut dyn Any = state.as_deref_mut()?;
    held.downcast_mut()
}

/// Like [`held_mut`], but makes the state on first use.
pub fn made<T: FeatureState + Default>(state: &mut State) -> Option<&mut T> {
    let held: &mut dyn Any = state.get_or_insert_with(|| Box::<T>::default()).as_mut();
    held.downcast_mut()
}
