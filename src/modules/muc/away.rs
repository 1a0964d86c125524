//! What is said in a persistent room is told to the devices of members that have no session in it (XEP-0357), if they
//! are mentioned or asked for it. It is looked at in a task of its own after it was delivered: one for a room, that
//! takes together what came meanwhile. Sessions that hibernate in the room get it by an ordinary passage, and push
//! hears of it there.

use std::collections::{BTreeMap, HashSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use super::absent::Stamp;
use super::clock;
use super::members::Members;
use super::rights::Affiliation;
use super::room::{Room, Standing};
use super::rooms::Hold;
use super::settings::Whois;
use crate::jid::{BareJid, Jid};
use crate::modules::api::{Cx, Requester};
use crate::modules::push::{self, Heard, Meant};
use crate::router::Leads;
use crate::stanza::{Frame, Stanza};

/// What is to be told at a time.
struct Round {
    room: BareJid,
    heard: VecDeque<Frame>,
    members: Arc<Members>,
    everyone: Arc<[Jid]>,
    /// Members only, who see each other.
    is_private: bool,
    /// All of its members; `members` are those with an account here, whose devices can be told.
    size: usize,
    /// Of a private room with so many members they are told of all.
    all_up_to: usize,
}

impl Room {
    fn stamp(&self) -> Stamp {
        (self.version, self.called.changes, self.standing.len())
    }

    /// Keeps a message for those who are away; whether somebody has to begin to tell them.
    pub(super) fn overhear(&mut self, frame: &Frame) -> bool {
        if self.id.is_none() || !self.settings.persistent {
            return false;
        }
        let (stamp, everyone) = (self.stamp(), self.everyone());
        let max = self.bounds.history_bytes_max;
        !self.absent.is_nobody(stamp, &everyone) && self.absent.keep(frame.clone(), max)
    }

    /// What is to be told now.
    fn round(&mut self, is_account: impl Fn(&Jid) -> bool) -> Option<Round> {
        let heard = self.absent.take();
        if heard.is_empty() {
            return None;
        }
        let (stamp, everyone) = (self.stamp(), self.everyone());
        let members = self.absent.members(stamp).unwrap_or_else(|| self.members(is_account));
        self.absent.set_members(stamp, members.clone());
        // With more members than sessions somebody is away.
        if members.len() <= everyone.len() && away(&members, &everyone).next().is_none() {
            self.absent.nobody(stamp, everyone.clone());
        }
        let is_private = self.settings.members_only && self.settings.whois == Whois::Anyone;
        let (room, all_up_to) = (self.jid.clone(), self.bounds.push_all_up_to);
        let size = if is_private { self.member_count() } else { 0 };
        Some(Round { room, heard, members, everyone, is_private, size, all_up_to })
    }

    /// All members, of whichever server.
    fn member_count(&self) -> usize {
        self.standing.values().filter(|one| one.affiliation >= Affiliation::Member).count()
    }

    /// Those that are accounts of this server.
    fn members(&self, is_account: impl Fn(&Jid) -> bool) -> Arc<Members> {
        let is_one = |jid: &Jid, standing: &Standing| {
            standing.affiliation >= Affiliation::Member && is_account(jid)
        };
        let all = self.standing.iter().filter(|(jid, standing)| is_one(jid, standing));
        let named = all.map(|(jid, standing)| {
            (jid, [standing.nick.as_deref(), self.called.name(jid.as_str())])
        });
        Arc::new(Members::of(self.secret, named))
    }
}

/// The members that have no session in the room.
fn away<'a>(members: &'a Members, everyone: &'a [Jid]) -> impl Iterator<Item = usize> + 'a {
    let here: HashSet<&str> = everyone.iter().map(|jid| jid.bare_str()).collect();
    let is_away = move |number: &usize| {
        members.get(*number).is_some_and(|member| !here.contains(member.as_str()))
    };
    (0..members.len()).filter(is_away)
}

/// Tells those who are away, in a task of its own.
pub(super) fn tell(cx: &Cx, hold: &Arc<Hold>) {
    let who = Requester::Entity(hold.lock().jid.clone().into());
    let (telling, mut cx) = (Telling(Some(hold.clone())), Cx { who, ..cx.clone() });
    let (began, since) = (cx.now, clock::now());
    cx.router.tasks.clone().spawn("muc", async move {
        let mut telling = telling;
        while let Some(hold) = &telling.0 {
            let is_account = |jid: &Jid| cx.router.leads(jid) == Leads::Account;
            let Some(round) = hold.lock().round(is_account) else {
                telling.0 = None;
                return;
            };
            // It may go on for long.
            cx.now = began + since.elapsed();
            tell_of(&cx, &round).await;
            tokio::select! {
                () = tokio::time::sleep(PAUSE) => {}
                () = cx.router.questions.closed() => return,
            }
        }
    });
}

/// Somebody tells them; if it could not go on the next message begins again.
struct Telling(Option<Arc<Hold>>);

impl Drop for Telling {
    fn drop(&mut self) {
        if let Some(hold) = &self.0 {
            hold.lock().absent.stopped();
        }
    }
}

async fn tell_of(cx: &Cx, round: &Round) {
    let read = |frame: &Frame| {
        let message = Stanza::ours(frame.to_vec().into())?;
        Heard::of(&message).map(|heard| (message, heard))
    };
    let heard: Vec<(Stanza, Heard)> = round.heard.iter().filter_map(read).collect();
    if heard.is_empty() {
        return;
    }
    let meant = match meant(cx, round, &heard).await {
        Ok(meant) => meant,
        Err(error) => return tracing::warn!(%error, "nobody who is away was told of a room"),
    };
    for (number, meant) in meant {
        let Some(member) = round.members.get(number) else { continue };
        let said = heard.iter().zip(meant);
        let said: Vec<(&Heard, Meant)> =
            said.filter_map(|((_, heard), meant)| Some((heard, meant?))).collect();
        if let Err(error) = push::absent(cx, member, &round.room, &said).await {
            tracing::warn!(%error, "a member who is away was not told of a room");
        }
    }
}

/// What each message is to those whom it may concern, by their numbers.
async fn meant(
    cx: &Cx,
    round: &Round,
    heard: &[(Stanza, Heard)],
) -> Result<BTreeMap<usize, Vec<Option<Meant>>>, crate::store::StoreError> {
    let Round { members, everyone, .. } = round;
    let here: HashSet<&str> = everyone.iter().map(|jid| jid.bare_str()).collect();
    let is_away =
        |number: &usize| members.get(*number).is_some_and(|member| !here.contains(member.as_str()));
    // XEP-0492 §3: of private groups one wants to hear all. Of larger ones that is so for what cannot be read, as
    // it may mention anybody.
    let is_group = |heard: &Heard| {
        let max = if heard.sealed { round.all_up_to.max(GROUP_MAX) } else { round.all_up_to };
        round.is_private && round.size <= max
    };
    let group: Vec<usize> = match heard.iter().any(|(_, heard)| is_group(heard)) {
        true => willing(cx, round, (0..members.len()).filter(is_away)).await?,
        false => Vec::new(),
    };
    let to_all = |heard: &Heard| if heard.sealed { Meant::Perhaps } else { Meant::All };
    let mut all: BTreeMap<usize, Vec<Option<Meant>>> = BTreeMap::new();
    let listeners = push::listeners(cx, &round.room, cx.config.muc.affiliations_max).await?;
    for number in listeners.iter().filter_map(|jid| members.find(jid.as_str())).filter(is_away) {
        all.insert(number, heard.iter().map(|(_, heard)| Some(to_all(heard))).collect());
    }
    let mut add = |number: usize, at: usize, meant: Meant| {
        let one = all.entry(number).or_insert_with(|| vec![None; heard.len()]);
        one.get_mut(at).into_iter().for_each(|known| *known = (*known).max(Some(meant)));
    };
    for (at, (message, said)) in heard.iter().enumerate() {
        members
            .mentioned(message)
            .into_iter()
            .filter(is_away)
            .for_each(|n| add(n, at, Meant::Named));
        if is_group(said) {
            group.iter().for_each(|n| add(*n, at, Meant::Perhaps));
        }
    }
    Ok(all)
}

/// Those of some members that took part by their own doing: they were in the room, or have it among their bookmarks, as
/// whoever is given it by a team. Anybody may make others members of a room, and wakes nobody by that.
async fn willing(
    cx: &Cx,
    round: &Round,
    of: impl Iterator<Item = usize>,
) -> Result<Vec<usize>, crate::store::StoreError> {
    let members = &round.members;
    let (mut willing, others): (Vec<usize>, Vec<usize>) = of.partition(|n| members.came(*n));
    let others: Vec<BareJid> = others.iter().filter_map(|n| members.get(*n).cloned()).collect();
    if !others.is_empty() {
        let keepers = push::keepers(cx, &round.room, others).await?;
        willing.extend(keepers.iter().filter_map(|jid| members.find(jid.as_str())));
    }
    Ok(willing)
}

/// From one look to the next.
const PAUSE: Duration = Duration::from_secs(1);
/// Members of a group in which each message that is encrypted may be meant for each.
const GROUP_MAX: usize = 250;
