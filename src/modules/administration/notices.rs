//! XEP-0133 §4.24 to §4.28: the message of the day, which every account is sent once, and the message that
//! welcomes a new one.

use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use serde::{Deserialize, Serialize};

use super::super::AccountState;
use super::super::api::{AccountPart, Client, Cx, PresenceEffect};
use super::announce::{self, Keep};
use crate::admin::accounts::AdminError;
use crate::admin::{Notice, NoticeChange};
use crate::base::time::micros;
use crate::jid::BareJid;
use crate::router::account::{AccountEntry, AccountStatus};
use crate::stanza::{Stanza, StanzaError};
use crate::store::ids::AccountId;
use crate::store::tx::{StoreError, Tx, query_optional};
use crate::store::{accounts, meta};

/// One of the two, as it is stored.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Told {
    /// Rises with each new one; a corrected one keeps it, and nobody gets it twice.
    number: i64,
    /// When it was first set since there was none, in microseconds since 1970.
    since: i64,
    text: Option<String>,
    /// How often it was changed.
    #[serde(default)]
    changes: u64,
}

/// Both.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Current {
    motd: Told,
    welcome: Told,
}

/// What is to be told; empty until somebody asks, after a start.
#[derive(Debug, Default)]
pub struct Notices(Mutex<Option<Arc<Current>>>);

impl Notices {
    fn known(&self) -> Option<Arc<Current>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Takes note of what was read or written, unless something later is known.
    fn learn(&self, current: Current) -> Arc<Current> {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let later = known.clone().filter(|later| later.changes() > current.changes());
        later.unwrap_or_else(|| known.insert(Arc::new(current)).clone())
    }
}

/// What an account was told.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Seen {
    motd: i64,
    welcome: bool,
}

impl AccountPart for Seen {
    fn load(tx: &mut dyn Tx, account: AccountId) -> Result<Self, StoreError> {
        let read = query_optional(tx, SEEN, &[account.into()], |row| {
            Ok(Self { motd: row.int(0)?, welcome: row.bool(1)? })
        });
        Ok(read?.unwrap_or_default())
    }

    fn bytes(&self) -> usize {
        0
    }

    fn is_nothing(&self) -> bool {
        *self == Self::default()
    }
}

impl Current {
    fn load(tx: &mut dyn Tx) -> Result<Self, StoreError> {
        Ok(Self { motd: told(tx, Notice::Motd)?, welcome: told(tx, Notice::Welcome)? })
    }

    fn of(&mut self, which: Notice) -> &mut Told {
        match which {
            Notice::Motd => &mut self.motd,
            Notice::Welcome => &mut self.welcome,
        }
    }

    /// Rises with each change of either.
    fn changes(&self) -> u64 {
        self.motd.changes.saturating_add(self.welcome.changes)
    }

    fn is_empty(&self) -> bool {
        self.motd.text.is_none() && self.welcome.text.is_none()
    }

    /// Whether somebody who was told this has not been told all.
    fn has_news(&self, seen: Seen) -> bool {
        (self.motd.text.is_some() && self.motd.number > seen.motd)
            || (self.welcome.text.is_some() && !seen.welcome)
    }
}

fn told(tx: &mut dyn Tx, which: Notice) -> Result<Told, StoreError> {
    // A damaged one is none.
    let read = meta::get(tx, name(which))?;
    Ok(read.and_then(|bytes| serde_json::from_slice(&bytes).ok()).unwrap_or_default())
}

const fn name(which: Notice) -> &'static str {
    match which {
        Notice::Motd => "notice motd",
        Notice::Welcome => "notice welcome",
    }
}

/// Shows or changes one; what it is now. A new message of the day goes to whoever is online at once (§4.24).
pub(super) async fn change(
    cx: &Cx,
    which: Notice,
    change: NoticeChange,
) -> Result<Option<String>, AdminError> {
    let (now, done) = (micros(cx.now), change.clone());
    let write = cx.store.write(move |tx| {
        let mut current = Current::load(tx)?;
        let told = current.of(which);
        let before = told.text.is_some();
        match &done {
            NoticeChange::Show => return Ok(current),
            NoticeChange::Delete => told.text = None,
            NoticeChange::Edit(text) if before => told.text = Some(text.clone()),
            NoticeChange::Edit(text) | NoticeChange::Set(text) => {
                told.number = told.number.saturating_add(1);
                told.text = Some(text.clone());
                told.since = if before { told.since } else { now };
            }
        }
        told.changes = told.changes.saturating_add(1);
        let stored = serde_json::to_vec(told).map_err(|e| StoreError::Other(e.to_string()))?;
        meta::set(tx, name(which), &stored)?;
        Ok(current)
    });
    let notices = &cx.server.shared().administration;
    let mut current = write.await?;
    let text = current.of(which).text.clone();
    let current = notices.learn(current);
    if which == Notice::Motd && matches!(change, NoticeChange::Set(_)) {
        for present in cx.router.online() {
            if let AccountStatus::Stored(account) = present.account
                && let Err(error) = tell(cx, &present.bare, account, &current).await
            {
                // It is set; whoever was not told is told with its next presence.
                tracing::warn!(%error, "a message of the day could not be sent to all at once");
            }
        }
    }
    Ok(text)
}

/// Somebody came online: nearly always there is nothing to tell.
pub(super) fn arrived(
    cx: &Cx,
    client: &Client,
    stanza: &Stanza,
) -> Result<PresenceEffect, StanzaError> {
    let Some(account) = client.account else { return Ok(PresenceEffect::default()) };
    let known = cx.server.shared().administration.known();
    let seen = |entry: &mut AccountEntry| AccountState::of(entry).map(|state| state.administration);
    let is_news = |current: &Arc<Current>| {
        !current.is_empty() && current.has_news(cx.own(seen).flatten().unwrap_or_default())
    };
    if stanza.ty().is_none() && known.as_ref().is_none_or(is_news) {
        let (cx, bare) = (cx.clone(), client.jid.bare());
        cx.router.tasks.clone().spawn("notices", async move {
            if let Err(error) = catch_up(&cx, &bare, account, known).await {
                tracing::warn!(%error, "a message of the day or a welcome could not be sent");
            }
        });
    }
    Ok(PresenceEffect::default())
}

async fn catch_up(
    cx: &Cx,
    bare: &BareJid,
    account: AccountId,
    known: Option<Arc<Current>>,
) -> Result<(), StoreError> {
    let current = match known {
        Some(current) => current,
        None => {
            let read = cx.store.read(Current::load).await?;
            cx.server.shared().administration.learn(read)
        }
    };
    tell(cx, bare, account, &current).await
}

/// Sends an account what it was not told yet. Noted first, so that two sessions do not send it twice.
async fn tell(
    cx: &Cx,
    bare: &BareJid,
    account: AccountId,
    current: &Arc<Current>,
) -> Result<(), StoreError> {
    let due = Arc::new(AtomicU8::new(0));
    let (found, now) = (due.clone(), current.clone());
    let after = Seen { motd: current.motd.number, welcome: current.welcome.text.is_some() };
    let write = move |tx: &mut dyn Tx| {
        found.store(claim(tx, account, &now)?, Ordering::Relaxed);
        Ok(())
    };
    if current.is_empty() {
        return Ok(());
    }
    let noted = cx.router.change(bare.clone(), write, move |entry| {
        AccountState::change(entry, |state| {
            let seen = &mut state.administration;
            seen.motd = seen.motd.max(after.motd);
            seen.welcome |= after.welcome;
        });
    });
    noted.await?;
    let due = due.load(Ordering::Relaxed);
    for (bit, subject, told) in
        [(WELCOME, "Welcome", &current.welcome), (MOTD, "Message of the day", &current.motd)]
    {
        if let Some(text) = told.text.as_ref().filter(|_| due & bit != 0) {
            announce::send(cx, bare, subject, text, Keep::UntilRead).await;
        }
    }
    Ok(())
}

/// Notes that an account is told all; what it had not been told. Only who registered since there is a welcome
/// message is new to it (§4.27).
fn claim(tx: &mut dyn Tx, account: AccountId, current: &Current) -> Result<u8, StoreError> {
    let Some(known) = accounts::get(tx, account)? else { return Ok(0) };
    let seen = Seen::load(tx, account)?;
    let Current { motd, welcome } = current;
    let motd_due = motd.text.is_some() && motd.number > seen.motd;
    let welcome_due = welcome.text.is_some() && !seen.welcome;
    if !motd_due && !welcome_due {
        return Ok(0);
    }
    let number = if motd_due { motd.number } else { seen.motd };
    let welcomed = i64::from(seen.welcome || welcome_due);
    tx.execute(NOTE, &[account.into(), number.into(), welcomed.into()])?;
    let is_new = welcome_due && known.created >= welcome.since;
    Ok((u8::from(motd_due) * MOTD) | (u8::from(is_new) * WELCOME))
}

const MOTD: u8 = 1;
const WELCOME: u8 = 2;

crate::store::sql! {
    SEEN = "SELECT motd, welcome FROM notice_seen WHERE account = $1";
    NOTE = "INSERT INTO notice_seen (account, motd, welcome) VALUES ($1, $2, $3)
        ON CONFLICT (account) DO UPDATE SET motd = excluded.motd, welcome = excluded.welcome";
}
