//! XEP-0492: Chat Notification Settings. Of which messages of a room an account wants to be told is in the extensions
//! of its bookmark of that room. It is written in a row of its own in the transaction that changes the bookmark, so
//! that it costs no look at all bookmarks when an account is read or a room speaks.

use std::collections::BTreeMap;

use super::super::AccountState;
use super::convert::{BOOKMARKS, Item};
use crate::jid::{BareJid, Jid};
use crate::modules::api::{AccountPart, Cx, Followed};
use crate::modules::pubsub::{self, Request, Service};
use crate::router::registry::AccountEntry;
use crate::store::damage::query_sound;
use crate::store::ids::{AccountId, Owner};
use crate::store::tx::{Row, StoreError, Tx, query_all};
use crate::xml::view::{Doc, Node};

/// Of which messages of a room an account wants to be told (§2.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Notice {
    /// Of none.
    Never,
    /// Of those that mention it.
    OnMention,
    /// Of all.
    Always,
}

impl Notice {
    const ALL: [Self; 3] = [Self::Never, Self::OnMention, Self::Always];

    const fn name(self) -> &'static str {
        match self {
            Self::Never => "never",
            Self::OnMention => "on-mention",
            Self::Always => "always",
        }
    }

    const fn number(self) -> i64 {
        self as i64
    }

    fn of_number(number: i64) -> Option<Self> {
        Self::ALL.into_iter().find(|one| one.number() == number)
    }

    /// What a bookmark says, if it does. §3: what fits best counts. Who wants to be woken is taken for a phone: the
    /// server does not know what registered for it.
    fn of_bookmark(payload: &[u8]) -> Option<Self> {
        let doc = Doc::of(payload, BOOKMARKS).ok()?;
        let conference = Some(doc.root()).filter(|root| root.is(BOOKMARKS, "conference"))?;
        let extensions = conference.child(BOOKMARKS, "extensions")?;
        let notify = extensions.child(NS, "notify")?;
        let fit = |child: Node<'_>| {
            let setting = Self::ALL.into_iter().find(|one| child.is(NS, one.name()))?;
            match (child.attr("identity-category"), child.attr("identity-type")) {
                (Some("client"), Some("phone")) => Some((2, setting)),
                (Some("client"), None) => Some((1, setting)),
                (None, None) => Some((0, setting)),
                _ => None,
            }
        };
        let mut best: Option<(u8, Self)> = None;
        for (rank, setting) in notify.children().filter_map(fit) {
            // There SHALL be no two that fit as well: the first counts.
            if best.is_none_or(|(known, _)| known < rank) {
                best = Some((rank, setting));
            }
        }
        best.map(|(_, setting)| setting)
    }
}

/// What an account's bookmarks say, by room.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Notices(BTreeMap<Box<str>, Notice>);

/// What the account wants to be told of a room, if it says so.
pub fn notice(account: &AccountEntry, room: &str) -> Option<Notice> {
    AccountState::of(account)?.bookmarks.as_ref()?.0.get(room).copied()
}

/// The accounts that want to be told of all that is said in a room; at most so many.
pub fn listeners(tx: &mut dyn Tx, room: &str, max: usize) -> Result<Vec<BareJid>, StoreError> {
    let max = i64::try_from(max).unwrap_or(i64::MAX);
    let params = [room.into(), Notice::Always.number().into(), max.into()];
    let found = query_all(tx, LISTENERS, &params, |row| Ok((row.text(0)?, row.text(1)?)))?;
    let jid = |(local, host): (String, String)| BareJid::parse(&format!("{local}@{host}")).ok();
    Ok(found.into_iter().filter_map(jid).collect())
}

impl AccountPart for Option<Box<Notices>> {
    fn load(tx: &mut dyn Tx, account: AccountId) -> Result<Self, StoreError> {
        let all = stored(tx, account)?;
        Ok((!all.is_empty()).then(|| Box::new(Notices(all))))
    }

    fn bytes(&self) -> usize {
        let each = |room: &str| size_of::<(Box<str>, Notice)>() + room.len();
        let all = |own: &Notices| own.0.keys().map(|room| each(room)).sum::<usize>();
        self.as_ref().map_or(0, |own| size_of::<Notices>() + all(own))
    }

    fn is_nothing(&self) -> bool {
        self.is_none()
    }
}

fn stored(tx: &mut dyn Tx, account: AccountId) -> Result<BTreeMap<Box<str>, Notice>, StoreError> {
    let read = |row: &dyn Row| Ok((row.text(0)?.into_boxed_str(), Notice::of_number(row.int(1)?)));
    let all = query_sound(tx, ("room_notice", account), OF_ACCOUNT, &[account.into()], read)?;
    Ok(all.into_iter().filter_map(|(room, notice)| Some((room, notice?))).collect())
}

/// Takes note of what the bookmarks say in the transaction that changed them; they are not given if they are more than
/// are read with each change.
pub(super) fn follow(
    tx: &mut dyn Tx,
    service: &Service,
    request: &Request,
    items: Option<&[Item]>,
) -> Result<Followed, StoreError> {
    let Owner::Account(account) = service.key.owner() else { return Ok(Ok(Vec::new())) };
    let before = stored(tx, account)?;
    let after = match items {
        Some(items) => said(items),
        // Only what this change says is looked at.
        None => {
            let mut known = before.clone();
            for id in named(request) {
                let Some(room) = room(&id) else { continue };
                let item = pubsub::item(tx, service.key, BOOKMARKS, &id)?;
                match item.and_then(|item| Notice::of_bookmark(&item.payload)) {
                    Some(notice) => _ = known.insert(room, notice),
                    None => _ = known.remove(&room),
                }
            }
            known
        }
    };
    for room in before.keys().filter(|room| !after.contains_key(*room)) {
        tx.execute(REMOVE, &[account.into(), (&**room).into()])?;
    }
    for (room, notice) in after.iter().filter(|(room, now)| before.get(*room) != Some(*now)) {
        tx.execute(PUT, &[account.into(), (&**room).into(), notice.number().into()])?;
    }
    Ok(Ok(Vec::new()))
}

fn said(items: &[Item]) -> BTreeMap<Box<str>, Notice> {
    let says = |(id, payload): &Item| Some((room(id)?, Notice::of_bookmark(payload)?));
    items.iter().filter_map(says).take(NOTICES_MAX).collect()
}

fn room(id: &str) -> Option<Box<str>> {
    Some(Jid::parse(id).ok()?.bare_str().into())
}

/// The items that a request is about.
fn named(request: &Request) -> Vec<String> {
    match request {
        Request::Publish(publish) => {
            publish.item.iter().filter_map(|item| item.id.clone()).collect()
        }
        Request::Retract { ids, .. } => ids.clone(),
        _ => Vec::new(),
    }
}

/// The account's entry follows the bookmarks.
pub(super) async fn changed(cx: Cx, account: AccountId, owner: BareJid) {
    let read = cx.store.read(move |tx| stored(tx, account));
    let all = match read.await {
        Ok(all) => all,
        Err(error) => return tracing::warn!(%error, "notification settings of rooms are old ones"),
    };
    let held = (!all.is_empty()).then(|| Box::new(Notices(all)));
    let put = move |entry: &mut AccountEntry| {
        let known = AccountState::of(entry).and_then(|state| state.bookmarks.as_ref());
        if known != held.as_ref() {
            AccountState::change(entry, |state| state.bookmarks = held);
        }
    };
    if cx.client().is_some() && cx.bare() == owner {
        cx.own_sessions(put);
    } else if let Err(error) = cx.router.change(owner, |_| Ok(()), put).await {
        tracing::warn!(%error, "notification settings of rooms are old ones");
    }
}

/// The namespace.
const NS: &str = "urn:xmpp:notification-settings:1";
/// Rooms of one account that are remembered.
const NOTICES_MAX: usize = 1_000;
/// For the quota.
pub(super) const WEIGHTS: &[&str] = &[WEIGHT];

crate::store::sql! {
    OF_ACCOUNT = "SELECT room, notice FROM room_notice WHERE account = $1";
    PUT = "INSERT INTO room_notice (account, room, notice) VALUES ($1, $2, $3)
        ON CONFLICT (account, room) DO UPDATE SET notice = excluded.notice";
    REMOVE = "DELETE FROM room_notice WHERE account = $1 AND room = $2";
    LISTENERS = "SELECT account.localpart, account.host FROM room_notice \
        JOIN account ON account.id = room_notice.account \
        WHERE room_notice.room = $1 AND room_notice.notice = $2 ORDER BY account.id LIMIT $3";
    WEIGHT = "SELECT COALESCE(SUM(OCTET_LENGTH(room)), 0), COUNT(*) FROM room_notice WHERE account = $1";
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::modules::testing::{Server, ask};

    #[test]
    fn what_fits_a_phone_best_counts() {
        let said = |inner: &str| {
            let notify = format!("<notify xmlns='{NS}'>{inner}</notify>");
            let bookmark = format!(
                "<conference xmlns='{BOOKMARKS}'><extensions>{notify}</extensions></conference>"
            );
            Notice::of_bookmark(bookmark.as_bytes())
        };
        // §2.2
        let example = "<never identity-category='client' identity-type='pc'/>\
            <on-mention identity-category='client' identity-type='phone'/>\
            <on-mention identity-category='gateway'/><always/>";
        for (inner, expected) in [
            ("", None),
            ("<never/>", Some(Notice::Never)),
            ("<always><advanced><x xmlns='y'/></advanced></always>", Some(Notice::Always)),
            (example, Some(Notice::OnMention)),
            ("<always/><never identity-category='client'/>", Some(Notice::Never)),
            ("<never identity-type='phone'/>", None),
            ("<never identity-category='client' identity-type='pc'/>", None),
            ("<always/><never/>", Some(Notice::Always)),
            ("<always xmlns='other'/>", None),
        ] {
            assert_eq!(said(inner), expected, "{inner}");
        }
        assert_eq!(Notice::of_bookmark(b"<broken"), None);
        let outside =
            format!("<conference xmlns='{BOOKMARKS}'><notify xmlns='{NS}'/></conference>");
        assert_eq!(Notice::of_bookmark(outside.as_bytes()), None);
    }

    /// The account in memory and the row follow each change of the bookmark, by whatever way it comes.
    #[tokio::test]
    async fn it_follows_the_bookmark() {
        let server = Server::with(&["a"]).await;
        let cx = server.session("a@x/1").await;
        let pubsub = |inner: &str| {
            format!("<pubsub xmlns='http://jabber.org/protocol/pubsub'>{inner}</pubsub>")
        };
        let publish = |room: &str, setting: &str| {
            pubsub(&format!(
                "<publish node='{BOOKMARKS}'><item id='{room}'><conference xmlns='{BOOKMARKS}'>\
                 <extensions><notify xmlns='{NS}'>{setting}</notify></extensions></conference></item>\
                 </publish>"
            ))
        };
        let known = |room: &'static str| cx.own(move |entry| notice(entry, room)).unwrap();
        let listening = async || {
            let read = cx.store.read(|tx| listeners(tx, "r@c.x", 9));
            read.await.unwrap().iter().map(ToString::to_string).collect::<Vec<_>>()
        };
        ask(&cx, "set", "", &publish("R@c.x", "<always/>")).await;
        ask(&cx, "set", "", &publish("s@c.x", "<never/>")).await;
        assert_eq!((known("r@c.x"), known("s@c.x")), (Some(Notice::Always), Some(Notice::Never)));
        assert_eq!(listening().await, ["a@x"]);
        ask(&cx, "set", "", &publish("R@c.x", "<on-mention/>")).await;
        assert_eq!((known("r@c.x"), listening().await.len()), (Some(Notice::OnMention), 0));
        // An older client takes one out of its list.
        let list = "<query xmlns='jabber:iq:private'><storage xmlns='storage:bookmarks'>\
            <conference jid='r@c.x' name='R'/></storage></query>";
        ask(&cx, "set", "", list).await;
        assert_eq!((known("r@c.x"), known("s@c.x")), (Some(Notice::OnMention), None));
        let loaded = cx.store.read(|tx| stored(tx, AccountId(1))).await.unwrap();
        assert_eq!(loaded.len(), 1);
        let retract = format!("<retract node='{BOOKMARKS}'><item id='R@c.x'/></retract>");
        ask(&cx, "set", "", &pubsub(&retract)).await;
        assert_eq!(known("r@c.x"), None);
        assert!(
            cx.own(|entry| AccountState::of(entry).is_none_or(|s| s.bookmarks.is_none())).unwrap()
        );
    }
}
