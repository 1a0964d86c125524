//! What a resource hears of that comes online, or wants to hear of more: the last item of each node, of its
//! own account and of those whose presence it sees (XEP-0163 §4.3.4).
//!
//! One task at a time works for a session. It asks first which nodes there are, and reads an item only when
//! the session has room for it; so what waits for a slow client is names.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use super::fan_out::frame;
use super::heard::Heard;
use super::owner::Owner;
use crate::jid::{BareJid, FullJid, Jid};
use crate::modules::api::{Client, Cx};
use crate::modules::pubsub::{self, Asker, Event, To};
use crate::modules::{Config, ResourceState, caps};
use crate::router::outbox::Outbox;
use crate::router::registry::Resource;
use crate::store::tx::{StoreError, Tx};
use crate::store::{accounts, roster};

/// A session wants to hear of other nodes than before: those that are new to it send their last items.
pub(super) fn wanted(cx: &Cx, _: &[Arc<str>], now: &[Arc<str>]) {
    let Some(client) = cx.client() else { return };
    let Some(account) = client.account else { return };
    let begins = with_heard(cx, client, |heard| heard.want(now));
    if begins != Some(true) {
        return;
    }
    let (cx, client) = (cx.clone(), client.clone());
    cx.router.clone().tasks.spawn("last items", async move {
        let jid = client.jid.bare();
        let own = Source { owner: Some(Owner { account, jid: jid.clone() }), jid };
        let viewer = Viewer::of(&client);
        while let Some(nodes) = with_heard(&cx, &client, Heard::next).flatten() {
            let sources = [own.clone()].into_iter().chain(contacts(&cx, &client)).collect();
            if !send_all(&cx, &viewer, sources, &nodes).await {
                return;
            }
        }
    });
}

/// Forgets what a session heard when its client becomes unavailable: it hears the last items again with its
/// next initial presence.
pub(super) fn unavailable(cx: &Cx, client: &Client) {
    with_heard(cx, client, Heard::forget);
}

fn with_heard<T>(cx: &Cx, client: &Client, change: impl FnOnce(&mut Heard) -> T) -> Option<T> {
    let changed = |state: &mut ResourceState| change(&mut state.pep);
    cx.own(|entry| ResourceState::made(entry.session_mut(client.session)?).map(changed)).flatten()
}

/// Contacts of this server whose presence the session's account sees.
fn contacts(cx: &Cx, client: &Client) -> Vec<Source> {
    let roster = cx.router.roster(&client.jid.bare());
    let seen = roster.iter().filter(|item| item.state.sees_presence());
    let jids = seen.filter_map(|item| BareJid::parse(item.jid).ok());
    let local = jids.filter(|jid| jid.local().is_some() && cx.router.has_accounts(jid.domain()));
    local.map(|jid| Source { jid, owner: None }).collect()
}

/// An account whose items are sent.
#[derive(Debug, Clone)]
struct Source {
    jid: BareJid,
    /// Known for the session's own alone.
    owner: Option<Owner>,
}

/// A session to which items are sent.
#[derive(Debug, Clone)]
struct Viewer {
    jid: FullJid,
    session: u64,
    outbox: Arc<Outbox>,
}

impl Viewer {
    fn of(client: &Client) -> Self {
        let (jid, outbox) = (client.jid.clone(), client.outbox.clone());
        Self { jid, session: client.session, outbox }
    }

    fn is(&self, resource: &Resource) -> bool {
        resource.session == self.session
    }
}

/// Sends the last items of these nodes, account by account. False if the session is over.
async fn send_all(cx: &Cx, viewer: &Viewer, sources: Vec<Source>, nodes: &[Arc<str>]) -> bool {
    let wanted: Arc<[Arc<str>]> = nodes.into();
    let mut sources = sources.into_iter().peekable();
    while sources.peek().is_some() {
        let some: Vec<Source> = sources.by_ref().take(SOURCES_AT_ONCE).collect();
        let wanted = wanted.clone();
        let find = move |tx: &mut dyn Tx| {
            let mut found = Vec::new();
            for source in some {
                let nodes = nodes_of(tx, &source, &wanted)?;
                if !nodes.is_empty() {
                    found.push((source, nodes));
                }
            }
            Ok(found)
        };
        let Some(found) = read(cx, viewer, find).await else { return false };
        for (source, nodes) in found {
            if !send(cx, viewer, &source, nodes).await {
                return false;
            }
        }
    }
    true
}

/// Which of the nodes that are wanted an account has and sends.
fn nodes_of(
    tx: &mut dyn Tx,
    source: &Source,
    wanted: &[Arc<str>],
) -> Result<Vec<String>, StoreError> {
    let account = match &source.owner {
        Some(owner) => Some(owner.account),
        None => account_of(tx, &source.jid)?,
    };
    let Some(account) = account else { return Ok(Vec::new()) };
    let mut nodes = pubsub::nodes_on_presence(tx, pubsub::ServiceKey::of(account))?;
    nodes.retain(|node| wanted.iter().any(|wanted| **wanted == **node));
    Ok(nodes)
}

fn account_of(
    tx: &mut dyn Tx,
    jid: &BareJid,
) -> Result<Option<crate::store::ids::AccountId>, StoreError> {
    let found = accounts::find(tx, jid.local().unwrap_or_default(), jid.domain())?;
    Ok(found.map(|account| account.id))
}

/// Sends the items of one account. False if the session is over.
async fn send(cx: &Cx, viewer: &Viewer, source: &Source, nodes: Vec<String>) -> bool {
    // §4.3.3 rule 3: not past the guards of either, of which the owner's may have to be read.
    if source.owner.is_none() {
        let address = Jid::from(viewer.jid.clone());
        let related = cx.router.relation(&source.jid, &address).await;
        if !matches!(related, Ok(Some(_))) || !cx.router.hears(&viewer.jid.bare(), &source.jid) {
            return true;
        }
    }
    for node in nodes {
        if !has_room(cx, viewer).await || !send_one(cx, viewer, source, &node).await {
            return false;
        }
    }
    true
}

/// Waits until the session has room. False if it is over, or not available any more.
async fn has_room(cx: &Cx, viewer: &Viewer) -> bool {
    let mut wait = WAIT;
    loop {
        if !cx.router.is_there(viewer.jid.as_ref(), |resource| viewer.is(resource)) {
            return false;
        }
        if !viewer.outbox.is_half_full() {
            return true;
        }
        tokio::time::sleep(wait).await;
        wait = WAIT_MAX.min(wait * 2);
    }
}

/// Reads the item and hands it over, unless somebody publishes in between: then it is read again, as what
/// comes last must be the latest.
async fn send_one(cx: &Cx, viewer: &Viewer, source: &Source, node: &str) -> bool {
    let feeds = &cx.server.shared().pep;
    for _ in 0..LOOKS {
        let version = feeds.version(&source.jid);
        let (config, source_, address, name, now) = (
            cx.config.clone(),
            source.clone(),
            Jid::from(viewer.jid.clone()),
            node.to_owned(),
            cx.now,
        );
        let find = move |tx: &mut dyn Tx| last_of(tx, &config, &source_, &address, &name, now);
        let Some(event) = read(cx, viewer, find).await else { return false };
        let Some(event) = event else { return true };
        let frame = frame(&source.jid, &event, None).addressed(viewer.jid.as_str());
        let pushed = feeds.if_still(&source.jid, version, || viewer.outbox.push(frame).is_ok());
        match pushed {
            Some(pushed) => return pushed,
            None => continue,
        }
    }
    // Whoever publishes that often is heard by what it publishes.
    true
}

/// The last item of an account's node, if it is for the viewer.
fn last_of(
    tx: &mut dyn Tx,
    config: &Config,
    source: &Source,
    viewer: &Jid,
    node: &str,
    now: SystemTime,
) -> Result<Option<Event>, StoreError> {
    let found = match &source.owner {
        Some(owner) => Some((owner.clone(), owner.asker())),
        None => contact(tx, &source.jid, viewer)?,
    };
    let Some((owner, asker)) = found else { return Ok(None) };
    let events = pubsub::last_items(tx, &owner.service(config), &[node], now)?;
    Ok(events.into_iter().find(|event| match &event.to {
        To::Audience(audience) => audience.admits(&asker),
        To::Only(_) => false,
    }))
}

/// A contact's account, and what the viewer is to it.
fn contact(
    tx: &mut dyn Tx,
    jid: &BareJid,
    viewer: &Jid,
) -> Result<Option<(Owner, Asker)>, StoreError> {
    let Some(account) = account_of(tx, jid)? else { return Ok(None) };
    let item = roster::item(tx, account, viewer.bare_str())?;
    let Some(item) = item.filter(|item| item.state.shows_presence()) else { return Ok(None) };
    let asker = Asker {
        sees_presence: true,
        groups: item.groups.into_iter().collect(),
        ..Asker::stranger(viewer.clone())
    };
    Ok(Some((Owner { account, jid: jid.clone() }, asker)))
}

async fn read<T: Send + 'static>(
    cx: &Cx,
    viewer: &Viewer,
    find: impl FnOnce(&mut dyn Tx) -> Result<T, StoreError> + Send + 'static,
) -> Option<T> {
    let found = cx.store.read(find).await;
    if let Err(error) = &found {
        tracing::error!(%error, account = viewer.jid.bare_str(), "last items were not read");
    }
    found.ok()
}

/// A contact was let see the account's presence: it is a new subscriber (XEP-0060 §9.1).
pub(super) fn approved(cx: &Cx, owner: &BareJid, contact: &BareJid) {
    if !cx.router.has_accounts(owner.domain()) || !cx.router.has_accounts(contact.domain()) {
        return;
    }
    let (cx, owner, contact) = (cx.clone(), owner.clone(), contact.clone());
    cx.router.clone().tasks.spawn("last items", async move {
        let wanting = cx.router.resources(&contact, |resource| {
            let nodes = caps::wanted_by(resource).to_vec();
            let (jid, outbox) = (resource.jid.clone(), resource.outbox.clone());
            let viewer = Viewer { jid, session: resource.session, outbox };
            (!nodes.is_empty()).then_some((viewer, nodes))
        });
        for (viewer, nodes) in wanting {
            let source = Source { jid: owner.clone(), owner: None };
            send_all(&cx, &viewer, vec![source], &nodes).await;
        }
    });
}

/// Accounts of which one read looks for nodes: others read meanwhile.
const SOURCES_AT_ONCE: usize = 50;
/// How often an item is read that changes all the time.
const LOOKS: usize = 4;
/// How soon to look again whether a client's box has room; later each time, as it may hibernate for hours.
const WAIT: Duration = Duration::from_millis(50);
const WAIT_MAX: Duration = Duration::from_secs(2);
