//! What a room says while a member of it has no session there: nothing is delivered to its account, and its devices
//! are told all the same, if it is mentioned or asked for all (XEP-0492).

use std::time::Duration;

use smallvec::SmallVec;

use super::super::Config;
use super::super::api::Cx;
use super::super::bookmarks::{self, Notice};
use super::alert::{alert, is_sealed};
use super::notice::last;
use super::queue::{self, Wake};
use super::registration::{self, Place};
use super::waiting::{Held, Last};
use crate::jid::{BareJid, Jid};
use crate::router::registry::AccountEntry;
use crate::router::rules::StanzaClass;
use crate::stanza::Stanza;
use crate::stanza::message::MessageType;
use crate::store::StoreError;

/// A message of a room.
#[derive(Debug)]
pub struct Heard {
    /// The occupant.
    from: Jid,
    last: Last,
    /// Its words cannot be read here.
    pub sealed: bool,
}

impl Heard {
    /// What somebody said; `None` if nobody is woken for it.
    pub fn of(message: &Stanza) -> Option<Self> {
        alert(message, None)?;
        let sealed = is_sealed(message.element().view().root());
        Some(Self { from: message.from().clone(), last: last(message), sealed })
    }
}

/// What a message is to a member.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Meant {
    /// Said to all.
    All,
    /// It may be meant for each: the group is small and private, or it cannot be seen whom it mentions.
    Perhaps,
    /// It mentions the member.
    Named,
}

/// Those who want to be told of all that is said in a room; at most so many.
pub async fn listeners(cx: &Cx, room: &BareJid, max: usize) -> Result<Vec<BareJid>, StoreError> {
    let room = room.clone();
    cx.store.read(move |tx| bookmarks::listeners(tx, room.as_str(), max)).await
}

/// Which of these accounts have a bookmark of a room.
pub async fn keepers(
    cx: &Cx,
    room: &BareJid,
    of: Vec<BareJid>,
) -> Result<Vec<BareJid>, StoreError> {
    let room = room.clone();
    cx.store.read(move |tx| bookmarks::given::keepers(tx, room.as_str(), of)).await
}

/// Has a member's devices told of what was said in a room in which it has no session, if it wants to be.
pub async fn absent(
    cx: &Cx,
    member: &BareJid,
    room: &BareJid,
    said: &[(&Heard, Meant)],
) -> Result<(), StoreError> {
    if !cx.config.push.enabled {
        return Ok(());
    }
    let Some(home) = cx.router.home(member).await? else { return Ok(()) };
    let class = StanzaClass::Message(MessageType::Groupchat);
    // Whom it blocks does not wake it.
    let heard = |(heard, _): &&(&Heard, Meant)| cx.router.admits(&home, class, &heard.from);
    let said: Vec<_> = said.iter().filter(heard).copied().collect();
    let now = queue::now();
    let woken = cx.router.own(&home, |account| note(&cx.config, account, room, &said, now));
    for wake in woken.unwrap_or_default() {
        cx.server.shared().push.put(now, &home, cx.now, wake, cx.config.push.queue_max);
    }
    Ok(())
}

/// What it wants to be told of waits for the devices that are not there.
fn note(
    config: &Config,
    account: &mut AccountEntry,
    room: &BareJid,
    said: &[(&Heard, Meant)],
    now: tokio::time::Instant,
) -> SmallVec<[Wake; 2]> {
    let mut wakes = SmallVec::new();
    let Some(all) = registration::all(account) else { return wakes };
    let notice = bookmarks::notice(account, room.as_str());
    let wanted = |meant: Meant| wants(notice, meant, config.push.rooms);
    let said: Vec<_> = said.iter().filter(|(_, meant)| wanted(*meant)).collect();
    let places: SmallVec<[Place; 4]> =
        all.0.iter().map(|one| one.target.place(&account.resources)).collect();
    let earlier = account.unclaimed();
    let peer = room.as_str();
    let Some(all) = registration::all_mut(account) else { return wakes };
    for (one, place) in all.0.iter_mut().zip(places) {
        // A client that is there and not in the room does not want to be; one that nobody looks at may show a mention.
        let counts = |meant: Meant| match place {
            Place::Away | Place::Asleep(_) => true,
            Place::Quiet(_) => meant == Meant::Named,
            Place::Here => false,
        };
        let mut wake: Option<Wake> = None;
        for (heard, meant) in said.iter().filter(|(_, meant)| counts(*meant)) {
            let urgent = *meant == Meant::Named;
            one.waiting.begin(|| earlier);
            let held = Held { peer: peer.into(), seq: None, urgent, due: Some(now) };
            one.waiting.push(held, one.target.summary.of(&config.push, &heard.last));
            let urgent = urgent || wake.is_some_and(|wake| wake.urgent);
            wake = Some(Wake { id: one.id, delay: Duration::ZERO, urgent });
        }
        wakes.extend(wake);
    }
    wakes
}

/// XEP-0492 §3; `rooms`: messages that mention nobody wake, too. Where nothing is set a member is told of mentions,
/// and of what may be one.
fn wants(notice: Option<Notice>, meant: Meant, rooms: bool) -> bool {
    match (notice, meant) {
        (Some(Notice::Never), _) => false,
        (_, Meant::Named) => true,
        (Some(Notice::Always), _) | (None, Meant::Perhaps) => rooms,
        (Some(Notice::OnMention) | None, _) => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_member_is_told_of_what_it_wants_to_be_told() {
        use Meant::{All, Named, Perhaps};
        use Notice::{Always, Never, OnMention};
        for (notice, meant, expected) in [
            (None, All, false),
            (None, Perhaps, true),
            (None, Named, true),
            (Some(OnMention), All, false),
            (Some(OnMention), Perhaps, false),
            (Some(OnMention), Named, true),
            (Some(Always), All, true),
            (Some(Always), Perhaps, true),
            (Some(Always), Named, true),
            (Some(Never), All, false),
            (Some(Never), Perhaps, false),
            (Some(Never), Named, false),
        ] {
            assert_eq!(wants(notice, meant, true), expected, "{notice:?} {meant:?}");
            let only_mentions = expected && meant == Named;
            assert_eq!(wants(notice, meant, false), only_mentions, "{notice:?} {meant:?}");
        }
    }
}
