//! The operator's verbs.

use std::sync::Arc;

use super::membership::{self, Followed};
use super::table::{self, MEMBERS_MAX, Member, Team};
use crate::admin::accounts::{self as verbs, AdminError};
use crate::admin::{TeamError, TeamVerb};
use crate::jid::BareJid;
use crate::router::Router;
use crate::store::accounts;
use crate::store::tx::{StoreError, Tx};

/// Carries out one verb; returns lines for people.
pub async fn run(router: &Arc<Router>, verb: TeamVerb) -> Result<Vec<String>, AdminError> {
    match verb {
        TeamVerb::Add { name } => add(router, label("a team", &name)?).await,
        TeamVerb::Remove { name } => remove(router, name).await,
        TeamVerb::List => list(router).await,
        TeamVerb::Show { name } => show(router, name).await,
        TeamVerb::Join { name, jid, called } => {
            let jid = verbs::parse(&jid)?;
            let called = called.map(|called| label("a member", &called)).transpose()?;
            join(router, name, jid, called).await
        }
        TeamVerb::Leave { name, jid } => leave(router, name, verbs::parse(&jid)?).await,
    }
}

async fn add(router: &Arc<Router>, name: String) -> Result<Vec<String>, AdminError> {
    let wanted = name.clone();
    match router.store.write(move |tx| table::add(tx, &wanted)).await? {
        Some(Team { name, .. }) => Ok(vec![format!("the team {name} is there, without members")]),
        None => Err(TeamError::Exists(name).into()),
    }
}

/// Takes the members out one by one, so that no transaction is as large as the whole team. Stopped between
/// two of them it is a smaller team, and can be removed again.
async fn remove(router: &Arc<Router>, name: String) -> Result<Vec<String>, AdminError> {
    let mut left: usize = 0;
    loop {
        let wanted = name.clone();
        let gone = membership::change(router, move |tx, followed| {
            let Some(team) = table::find(tx, &wanted)? else { return Ok(None) };
            let next = table::all_members(tx, &team)?.into_iter().find(|member| member.shown);
            match &next {
                Some(member) => membership::leave(tx, &team, member, followed)?,
                None => table::delete(tx, &team)?,
            }
            Ok(Some((team.name, next.is_none())))
        });
        let (name, is_gone) =
            gone.await?.ok_or_else(|| AdminError::from(TeamError::Unknown(name.clone())))?;
        if is_gone {
            return Ok(vec![format!("the team {name} is gone, and {left} accounts are out of it")]);
        }
        left += 1;
    }
}

async fn list(router: &Arc<Router>) -> Result<Vec<String>, AdminError> {
    let teams = router.store.read(|tx| table::list(tx)).await?;
    Ok(teams.into_iter().map(|(name, members)| format!("{name}  {members}")).collect())
}

async fn show(router: &Arc<Router>, name: String) -> Result<Vec<String>, AdminError> {
    let wanted = name.clone();
    let members = router.store.read(move |tx| match table::find(tx, &wanted)? {
        Some(team) => table::members(tx, &team).map(Some),
        None => Ok(None),
    });
    let members = members.await?.ok_or(TeamError::Unknown(name))?;
    let line = |Member { jid, name, shown, .. }: &Member| {
        format!("{jid}  {name}{}", if *shown { "" } else { " (shut)" })
    };
    Ok(members.iter().map(line).collect())
}

async fn join(
    router: &Arc<Router>,
    name: String,
    jid: BareJid,
    called: Option<String>,
) -> Result<Vec<String>, AdminError> {
    let joined = membership::change(router, move |tx, followed| {
        let (team, account) = match both(tx, &name, &jid)? {
            Ok(both) => both,
            Err(error) => return Ok(Err(error)),
        };
        let known = table::member(tx, &team, account.id)?;
        if known.is_none() && table::count(tx, &team)? >= MEMBERS_MAX {
            return Ok(Err(TeamError::Full(team.name, MEMBERS_MAX).into()));
        }
        let is_new = known.is_none();
        let before = known.map(|(name, _)| name);
        let local = jid.local().unwrap_or_default().to_owned();
        let name = called.or(before.clone()).unwrap_or(local);
        if before.as_deref() == Some(&name) {
            return Ok(Ok(format!("{jid} is in the team {} already, as {name}", team.name)));
        }
        let member = Member { account: account.id, jid, name, shown: !account.disabled };
        membership::join(tx, &team, &member, followed)?;
        let Member { jid, name, .. } = member;
        let now = if is_new { "in the team" } else { "called another name in the team" };
        Ok(Ok(format!("{jid} is {now} {} now, as {name}", team.name)))
    });
    Ok(vec![joined.await??])
}

async fn leave(
    router: &Arc<Router>,
    name: String,
    jid: BareJid,
) -> Result<Vec<String>, AdminError> {
    let left = membership::change(router, move |tx, followed: &mut Followed| {
        let (team, account) = match both(tx, &name, &jid)? {
            Ok(both) => both,
            Err(error) => return Ok(Err(error)),
        };
        let Some((name, shown)) = table::member(tx, &team, account.id)? else {
            return Ok(Err(TeamError::NoMember(jid, team.name).into()));
        };
        let member = Member { account: account.id, jid, name, shown };
        membership::leave(tx, &team, &member, followed)?;
        Ok(Ok(format!("{} is not in the team {} any more", member.jid, team.name)))
    });
    Ok(vec![left.await??])
}

/// The team and the account of these names.
fn both(
    tx: &mut dyn Tx,
    name: &str,
    jid: &BareJid,
) -> Result<Result<(Team, accounts::Account), AdminError>, StoreError> {
    let Some(team) = table::find(tx, name)? else {
        return Ok(Err(TeamError::Unknown(name.to_owned()).into()));
    };
    let local = jid.local().unwrap_or_default();
    match accounts::find(tx, local, jid.domain())? {
        Some(account) => Ok(Ok((team, account))),
        None => Ok(Err(AdminError::Unknown(jid.clone()))),
    }
}

/// What clients show in a line: no control characters, which XML may not have either (XML 1.0 §2.2).
fn label(of: &'static str, text: &str) -> Result<String, AdminError> {
    let text = text.trim();
    if text.is_empty() || text.len() > LABEL_BYTES_MAX || text.chars().any(char::is_control) {
        return Err(TeamError::Name(of, LABEL_BYTES_MAX).into());
    }
    Ok(text.to_owned())
}

/// An invitation names a team within the same bounds.
const LABEL_BYTES_MAX: usize = 128;
