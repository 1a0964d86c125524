//! The operator's verbs.

use std::sync::Arc;

use super::bring::settle;
use super::membership::{self, Followed};
use super::rooms::{self, ROOMS_MAX};
use super::table::{self, MEMBERS_MAX, Member, Team};
use crate::admin::accounts::{self as verbs, AdminError};
use crate::admin::told::{Done, MemberLine, TeamLine, TeamList, TeamRooms, TeamShown};
use crate::admin::{Outcome, RoomError, TeamError, TeamVerb};
use crate::jid::BareJid;
use crate::modules::api::Cx;
use crate::modules::muc;
use crate::router::Router;
use crate::store::accounts;
use crate::store::tx::{StoreError, Tx};

/// Carries out one verb; returns lines for people.
pub async fn run(cx: &Cx, verb: TeamVerb) -> Result<Outcome, AdminError> {
    let looks = verb.changes().is_none();
    let joined = match &verb {
        TeamVerb::Join { name, jid, .. } => Some((name.clone(), verbs::parse(jid)?)),
        _ => None,
    };
    let mut outcome = carry_out(cx, verb).await?;
    let Outcome::Done(Done { told: lines }) = &mut outcome else { return Ok(outcome) };
    if !looks {
        // Rooms follow, whoever came or went, or whichever.
        match settle(cx).await? {
            0 => {}
            left => lines.push(format!("{left} of its rooms' members follow later: see the log")),
        }
    }
    if let Some((team, jid)) = joined {
        lines.extend(bans(cx, team, &jid).await?);
    }
    Ok(outcome)
}

/// A ban outlasts the team's wish.
async fn bans(cx: &Cx, team: String, jid: &BareJid) -> Result<Vec<String>, AdminError> {
    let mut lines = Vec::new();
    for room in rooms_of(&cx.router, team).await? {
        let Ok(address) = BareJid::parse(&room) else { continue };
        if muc::is_banned(cx, &address, jid).await.map_err(RoomError::from)? {
            lines.push(format!(
                "{jid} is banned from the team's room {room}, and is no member of it: \
                 `stonechat room affiliation {room} {jid} member` lets it in"
            ));
        }
    }
    Ok(lines)
}

async fn carry_out(cx: &Cx, verb: TeamVerb) -> Result<Outcome, AdminError> {
    let router = &cx.router;
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
        TeamVerb::Rooms { name } => {
            Ok(TeamRooms { rooms: rooms_of(router, name).await? }.into())
        }
        TeamVerb::AddRoom { name, room } => add_room(cx, name, &room).await,
        TeamVerb::RemoveRoom { name, room } => remove_room(cx, name, &room).await,
    }
}

async fn add(router: &Arc<Router>, name: String) -> Result<Outcome, AdminError> {
    let wanted = name.clone();
    match router.store.write(move |tx| table::add(tx, &wanted)).await? {
        Some(Team { name, .. }) => Ok(Outcome::done(format!("the team {name} is there, without members"))),
        None => Err(TeamError::Exists(name).into()),
    }
}

/// Takes the members out one by one, so that no transaction is as large as the whole team. Stopped between
/// two of them it is a smaller team, and can be removed again.
async fn remove(router: &Arc<Router>, name: String) -> Result<Outcome, AdminError> {
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
            let accounts =
                if left == 1 { "1 account is".into() } else { format!("{left} accounts are") };
            let told = format!("the team {name} is gone, and {accounts} out of it");
            return Ok(Outcome::done(told));
        }
        left += 1;
    }
}

async fn list(router: &Arc<Router>) -> Result<Outcome, AdminError> {
    let teams = router.store.read(|tx| table::list(tx)).await?;
    let teams = teams.into_iter().map(|(name, members)| TeamLine { name, members });
    Ok(TeamList { teams: teams.collect() }.into())
}

async fn show(router: &Arc<Router>, name: String) -> Result<Outcome, AdminError> {
    let wanted = name.clone();
    let found = router.store.read(move |tx| match table::find(tx, &wanted)? {
        Some(team) => Ok(Some((table::members(tx, &team)?, rooms::list(tx, &team)?))),
        None => Ok(None),
    });
    let (members, rooms) = found.await?.ok_or_else(|| TeamError::Unknown(name.clone()))?;
    let line = |Member { jid, name, shown, .. }: Member| MemberLine {
        jid: jid.to_string(),
        name,
        shut: !shown,
    };
    Ok(TeamShown { name, members: members.into_iter().map(line).collect(), rooms }.into())
}

async fn join(
    router: &Arc<Router>,
    name: String,
    jid: BareJid,
    called: Option<String>,
) -> Result<Outcome, AdminError> {
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
    Ok(Outcome::done(joined.await??))
}

async fn leave(
    router: &Arc<Router>,
    name: String,
    jid: BareJid,
) -> Result<Outcome, AdminError> {
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
    Ok(Outcome::done(left.await??))
}

async fn rooms_of(router: &Arc<Router>, name: String) -> Result<Vec<String>, AdminError> {
    let wanted = name.clone();
    let rooms = router.store.read(move |tx| match table::find(tx, &wanted)? {
        Some(team) => rooms::list(tx, &team).map(Some),
        None => Ok(None),
    });
    Ok(rooms.await?.ok_or(TeamError::Unknown(name))?)
}

async fn add_room(cx: &Cx, name: String, room: &str) -> Result<Outcome, AdminError> {
    let jid = muc::address(cx, room)?;
    let known = muc::known(cx, &jid).await.map_err(RoomError::from)?;
    let known = known.ok_or_else(|| RoomError::Unknown(jid.to_string()))?;
    if !known.stays {
        return Err(RoomError::Temporary(jid.to_string()).into());
    }
    let added = cx.store.write(move |tx| {
        let Some(team) = table::find(tx, &name)? else {
            return Ok(Err(TeamError::Unknown(name)));
        };
        if rooms::list(tx, &team)?.len() >= ROOMS_MAX {
            return Ok(Err(TeamError::FullOfRooms(team.name, ROOMS_MAX)));
        }
        let already = if rooms::add(tx, &team, known.id, &jid)? { "" } else { " already" };
        let members = match table::count(tx, &team)? {
            1 => "1 member".to_owned(),
            count => format!("{count} members"),
        };
        Ok(Ok(format!("{jid} is a room of the team {}{already}, with {members}", team.name)))
    });
    Ok(Outcome::done(added.await??))
}

async fn remove_room(cx: &Cx, name: String, room: &str) -> Result<Outcome, AdminError> {
    let jid = muc::address(cx, room)?;
    let removed = cx.store.write(move |tx| {
        let Some(team) = table::find(tx, &name)? else {
            return Ok(Err(TeamError::Unknown(name)));
        };
        Ok(match rooms::remove(tx, &team, &jid)? {
            true => Ok(format!("{jid} is no room of the team {} any more", team.name)),
            false => Err(TeamError::NoRoom(jid.to_string(), team.name)),
        })
    });
    Ok(Outcome::done(removed.await??))
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
