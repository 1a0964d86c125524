//! Teams: accounts that an administrator puts together see each other in their rosters, without asking.
//!
//! No XEP says how. To clients these are contacts like others (RFC 6121 §2), subscribed both ways, in a group
//! with the team's name; the server gives them, beside what is the account's own (`store/given.rs`).

mod bring;
mod invited;
mod membership;
mod rooms;
mod table;
mod verbs;

pub use bring::settle;
pub use verbs::run;

use std::time::Duration;

use super::api::{AccountTurn, Answer, Module};
use crate::store::StoreError;
use crate::store::ids::AccountId;
use crate::store::tx::Tx;

/// The module.
pub const MODULE: Module = Module {
    name: "teams",
    sql: &[rooms::CATALOGUE, table::CATALOGUE],
    weights: &[table::WEIGHED, rooms::WEIGHED],
    account_created: Some(invited::join),
    account_deleted: Some(deleted),
    account_turned: Some(turned),
    every: Some((Duration::from_secs(60), |job| Box::pin(bring::periodic(job)))),
    ..Module::EMPTY
};

/// Nobody sees an account that is shut or deleted. It stays on the list, and is back when it is open again.
fn turned(turn: AccountTurn) -> Answer<Result<(), StoreError>> {
    let AccountTurn { account, open, router } = turn;
    Box::pin(async move {
        let teams = router.store.read(move |tx| table::teams_of(tx, account)).await?;
        for team in teams {
            let turn = membership::change(&router, move |tx, followed| {
                membership::turn(tx, &team, account, open, followed)
            });
            turn.await?;
        }
        Ok(())
    })
}

/// Whoever was put into a team while it was being deleted leaves nothing behind, either.
fn deleted(tx: &mut dyn Tx, account: AccountId) -> Result<(), StoreError> {
    membership::forget(tx, account)
}

#[cfg(test)]
mod tests;
