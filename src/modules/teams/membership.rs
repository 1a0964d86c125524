//! Who sees whom: what joining and leaving write into rosters, and what others notice of it.
//!
//! Each change is one transaction over the rosters of one team, and only what the server gives is written
//! (`store/given.rs`). So leaving needs no memory of what was there before.

use std::sync::Arc;

use tokio::sync::{Semaphore, oneshot};

use super::super::subscription::{Step, carry_out};
use super::table::{self, Member, Team};
use crate::router::Router;
use crate::router::registry::RosterChange;
use crate::router::subscription::PresenceToContact;
use crate::store::given::{self, Given};
use crate::store::ids::AccountId;
use crate::store::roster;
use crate::store::tx::{StoreError, Tx};

/// What follows a commit.
#[derive(Debug, Default)]
pub(super) struct Followed {
    /// Changes of rosters.
    changes: Vec<Step>,
    /// Presence that is shown or withdrawn, when all rosters say so.
    presence: Vec<Step>,
}

/// Writes, and does what follows, one change after the other: a roster that is still behind shows nobody. It
/// is done to its end though nobody wait for it.
pub(super) async fn change<T: Send + 'static>(
    router: &Arc<Router>,
    write: impl FnOnce(&mut dyn Tx, &mut Followed) -> Result<T, StoreError> + Send + 'static,
) -> Result<T, StoreError> {
    let (answer, answered) = oneshot::channel();
    let work = router.clone();
    router.tasks.spawn("team", async move {
        let _turn = TURN.acquire().await;
        let wrote = work.store.write(move |tx| {
            let mut followed = Followed::default();
            Ok((write(tx, &mut followed)?, followed))
        });
        let done = match wrote.await {
            Ok((done, followed)) => {
                follow(&work, followed).await;
                Ok(done)
            }
            Err(error) => Err(error),
        };
        let _ = answer.send(done);
    });
    answered.await.unwrap_or(Err(StoreError::Closed))
}

/// Does what follows a commit.
pub(super) async fn follow(router: &Arc<Router>, followed: Followed) {
    carry_out(router, &followed.changes);
    // A large team's presence is a lot of it: others get their turns in between.
    for some in followed.presence.chunks(SHOWN_AT_ONCE) {
        carry_out(router, some);
        tokio::task::yield_now().await;
    }
}

/// Puts an account into a team, or says how it is called there. It is shown if it may log in.
pub(super) fn join(
    tx: &mut dyn Tx,
    team: &Team,
    member: &Member,
    followed: &mut Followed,
) -> Result<(), StoreError> {
    table::put(tx, team, member)?;
    if member.shown { show(tx, team, member, followed) } else { Ok(()) }
}

/// Takes an account out of a team.
pub(super) fn leave(
    tx: &mut dyn Tx,
    team: &Team,
    member: &Member,
    followed: &mut Followed,
) -> Result<(), StoreError> {
    hide(tx, team, member, followed)?;
    table::strike(tx, team, member.account)
}

/// Takes a member out of all rosters while its account is shut or deleted, but not off the list; or puts it
/// back. Nothing if it is so already.
pub(super) fn turn(
    tx: &mut dyn Tx,
    team: &Team,
    account: AccountId,
    open: bool,
    followed: &mut Followed,
) -> Result<(), StoreError> {
    let written = table::member(tx, team, account)?;
    let (Some((name, shown)), Some((jid, may))) = (written, table::account(tx, account)?) else {
        return Ok(());
    };
    // It may have been shut again since.
    let open = open && may;
    if open == shown {
        return Ok(());
    }
    let member = Member { account, jid, name, shown: open };
    table::put(tx, team, &member)?;
    if open { show(tx, team, &member, followed) } else { hide(tx, team, &member, followed) }
}

/// Takes an account that is erased out of the rosters that it is still in: the next one to have its name is
/// somebody else. It has left already ([`turn`]), unless somebody put it into a team at that very moment; then
/// rosters in memory are behind until they are read again.
pub(super) fn forget(tx: &mut dyn Tx, account: AccountId) -> Result<(), StoreError> {
    for team in table::teams_of(tx, account)? {
        let members = table::all_members(tx, &team)?;
        let Some(gone) = members.iter().find(|member| member.account == account) else { continue };
        for member in members.iter().filter(|_| gone.shown) {
            given::take(tx, member.account, gone.jid.as_str(), &team.name)?;
        }
    }
    Ok(())
}

fn show(
    tx: &mut dyn Tx,
    team: &Team,
    member: &Member,
    followed: &mut Followed,
) -> Result<(), StoreError> {
    for other in others(table::members(tx, team)?, member) {
        for (owner, contact) in [(&other, member), (member, &other)] {
            let name = Some(contact.name.clone());
            let given = Given { group: team.name.clone(), name };
            differ(tx, owner, contact, &team.name, Some(given), followed)?;
        }
    }
    Ok(())
}

fn hide(
    tx: &mut dyn Tx,
    team: &Team,
    member: &Member,
    followed: &mut Followed,
) -> Result<(), StoreError> {
    for other in others(table::all_members(tx, team)?, member) {
        for (owner, contact) in [(&other, member), (member, &other)] {
            differ(tx, owner, contact, &team.name, None, followed)?;
        }
    }
    Ok(())
}

fn others(mut all: Vec<Member>, member: &Member) -> impl Iterator<Item = Member> {
    all.retain(|other| other.shown && other.account != member.account);
    all.into_iter()
}

/// One contact is given, or not, in one group of one roster.
fn differ(
    tx: &mut dyn Tx,
    owner: &Member,
    contact: &Member,
    group: &str,
    now: Option<Given>,
    followed: &mut Followed,
) -> Result<(), StoreError> {
    let (account, jid) = (owner.account, contact.jid.as_str());
    let before = given::of(tx, account, jid)?;
    let mut after: Vec<Given> =
        before.iter().filter(|given| given.group != group).cloned().chain(now.clone()).collect();
    after.sort_by(|a, b| a.group.cmp(&b.group));
    if before == after {
        return Ok(());
    }
    match now {
        Some(now) => given::give(tx, account, jid, &now)?,
        None => given::take(tx, account, jid, group)?,
    }
    let own = roster::own(tx, account, jid)?;
    let (before, after) = (roster::seen(own.clone(), jid, before), roster::seen(own, jid, after));
    let ver = roster::raise_ver(tx, account)?;
    let shows =
        |item: &Option<roster::Item>| item.as_ref().is_some_and(|item| item.state.shows_presence());
    let presence = match (shows(&before), shows(&after)) {
        (false, true) => Some(PresenceToContact::Available),
        (true, false) => Some(PresenceToContact::Unavailable),
        _ => None,
    };
    let change = RosterChange { ver, jid: jid.to_owned(), item: after, push: true };
    followed.changes.push(step(owner, contact, Some(change), None));
    if presence.is_some() {
        followed.presence.push(step(owner, contact, None, presence));
    }
    Ok(())
}

fn step(
    owner: &Member,
    contact: &Member,
    change: Option<RosterChange>,
    presence: Option<PresenceToContact>,
) -> Step {
    let (owner, account, peer) = (owner.jid.clone(), owner.account, contact.jid.clone());
    Step { owner, account, peer, change, deliver: None, presence, leaves: None }
}

/// Two changes at once would follow their commits in any order.
static TURN: Semaphore = Semaphore::const_new(1);
/// How many contacts are shown somebody, or no more, before others get their turn.
const SHOWN_AT_ONCE: usize = 64;
