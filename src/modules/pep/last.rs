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

/// Contacts of this server whose presence the session's account sees, but for those that are known to have
/// nothing.
fn contacts(cx: &Cx, client: &Client) -> Vec<Source> {
    let roster = cx.router.roster(&client.jid.bare());
    let feeds = &cx.server.shared().pep.feeds;
    let seen = roster.iter().filter(|item| item.state.sees_presence());
    let told = seen.filter(|item| !feeds.is_silent(item.jid));
    let jids = told.filter_map(|item| item.address().to_bare());
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
async fn send_all(cx: &Cx, viewer: &Viewer, sources: Vec<Source>, wanted: &[Arc<str>]) -> bool {
    let feeds = &cx.server.shared().pep.feeds;
    let mut sources = sources.into_iter().peekable();
    while sources.peek().is_some() {
        let some = sources.by_ref().take(SOURCES_AT_ONCE);
        let some: Vec<_> = some.map(|one| (feeds.version(&one.jid), one)).collect();
        let find = move |tx: &mut dyn Tx| {
            let with_nodes = |(version, source): (u64, Source)| {
                nodes_of(tx, &source).map(|nodes| (version, source, nodes))
            };
            some.into_iter().map(with_nodes).collect::<Result<Vec<_>, StoreError>>()
        };
        let Some(found) = read(cx, viewer, find).await else { return false };
        for (version, source, mut nodes) in found {
            if nodes.is_empty() {
                feeds.note_silent(&source.jid, version);
            }
            nodes.retain(|node| wanted.iter().any(|wanted| **wanted == **node));
            if !nodes.is_empty() && !send(cx, viewer, &source, &nodes).await {
                return false;
            }
        }
    }
    true
}

/// Which nodes an account has that send their last items.
fn nodes_of(tx: &mut dyn Tx, source: &Source) -> Result<Vec<String>, StoreError> {
    let account = match &source.owner {
        Some(owner) => Some(owner.account),
        None => account_of(tx, &source.jid)?,
    };
    let Some(account) = account else { return Ok(Vec::new()) };
    pubsub::nodes_on_presence(tx, pubsub::ServiceKey::of(account))
}

fn account_of(
    tx: &mut dyn Tx,
    jid: &BareJid,
) -> Result<Option<crate::store::ids::AccountId>, StoreError> {
    let found = accounts::find(tx, jid.local().unwrap_or_default(), jid.domain())?;
    Ok(found.map(|account| account.id))
}

/// Sends the items of one account. False if the session is over.
async fn send(cx: &Cx, viewer: &Viewer, source: &Source, mut nodes: &[String]) -> bool {
    // §4.3.3 rule 3: not past the guards of either, of which the owner's may have to be read.
    if source.owner.is_none() {
        let address = Jid::from(viewer.jid.clone());
        let related = cx.router.relation(&source.jid, &address).await;
        if !matches!(related, Ok(Some(_))) || !cx.router.hears(&viewer.jid.bare(), &source.jid) {
            return true;
        }
    }
    while !nodes.is_empty() {
        if !has_room(cx, viewer).await {
            return false;
        }
        match send_some(cx, viewer, source, nodes).await {
            Some(done) => nodes = nodes.get(done..).unwrap_or_default(),
            None => return false,
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

/// Reads the items of the first of these nodes and hands them over, unless somebody publishes in between: then
/// they are read again, as what comes last must be the latest. How many nodes are done; `None` if the session
/// is over.
async fn send_some(cx: &Cx, viewer: &Viewer, source: &Source, nodes: &[String]) -> Option<usize> {
    let feeds = &cx.server.shared().pep.feeds;
    for _ in 0..LOOKS {
        let version = feeds.version(&source.jid);
        let look = Look {
            config: cx.config.clone(),
            source: source.clone(),
            viewer: viewer.jid.clone().into(),
            nodes: nodes.to_vec(),
            now: cx.now,
        };
        let (done, events) = read(cx, viewer, move |tx| look.last(tx)).await?;
        let to = viewer.jid.as_str();
        let frames = events.iter().map(|event| frame(&source.jid, event, None).addressed(to));
        let frames: Vec<_> = frames.collect();
        let push = || frames.into_iter().all(|frame| viewer.outbox.push(frame).is_ok());
        match feeds.if_still(&source.jid, version, push) {
            Some(true) => return Some(done),
            Some(false) => return None,
            None => {}
        }
    }
    // Whoever publishes that often is heard by what it publishes.
    Some(1)
}

/// A look at last items of an account for a viewer.
struct Look {
    config: Arc<Config>,
    source: Source,
    viewer: Jid,
    nodes: Vec<String>,
    now: SystemTime,
}

impl Look {
    /// The last items of the first nodes, as many as are read at once, that are for the viewer; and how many
    /// nodes these are.
    fn last(&self, tx: &mut dyn Tx) -> Result<(usize, Vec<Event>), StoreError> {
        let found = match &self.source.owner {
            Some(owner) => Some((owner.clone(), owner.asker())),
            None => contact(tx, &self.source.jid, &self.viewer)?,
        };
        let Some((owner, asker)) = found else { return Ok((self.nodes.len(), Vec::new())) };
        let service = owner.service(&self.config);
        let is_for_viewer = |event: &Event| match &event.to {
            To::Audience(audience) => audience.admits(&asker),
            To::Only(_) => false,
        };
        let (mut done, mut bytes, mut all) = (0, 0, Vec::new());
        for node in &self.nodes {
            let events = pubsub::last_items(tx, &service, &[node], self.now)?;
            let events = events.into_iter().filter(is_for_viewer);
            all.extend(events.inspect(|event| bytes += event.content.len()));
            done += 1;
            if bytes >= BYTES_AT_ONCE {
                break;
            }
        }
        Ok((done, all))
    }
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

/// Sends the last items of these nodes of an account to a client of another server, as far as it may have them.
pub(super) async fn send_abroad(cx: &Cx, owner: &BareJid, client: &Jid, nodes: &[Arc<str>]) {
    if cx.router.notifiable(owner, vec![client.clone()]).is_empty() {
        return;
    }
    let source = Source { jid: owner.clone(), owner: None };
    let feeds = &cx.server.shared().pep.feeds;
    for _ in 0..LOOKS {
        let version = feeds.version(owner);
        let (source, config, viewer, now) =
            (source.clone(), cx.config.clone(), client.clone(), cx.now);
        let wanted = nodes.to_vec();
        let found = cx.store.read(move |tx| {
            let mut nodes = nodes_of(tx, &source)?;
            nodes.retain(|node| wanted.iter().any(|wanted| **wanted == **node));
            Look { config, source, viewer, nodes, now }.last(tx)
        });
        let events = match found.await {
            Ok((_, events)) => events,
            Err(error) => {
                return tracing::error!(%error, account = owner.as_str(), "last items were not read");
            }
        };
        let send = || {
            for event in &events {
                let frame = frame(owner, event, None).addressed(client.as_str());
                // Whoever cannot be reached now is greeted when it comes back.
                if cx.router.peers.send(owner.domain(), client.domain(), frame).is_err() {
                    cx.server.shared().pep.abroad.missed(owner, client);
                }
            }
        };
        if feeds.if_still(owner, version, send).is_some() {
            return;
        }
    }
}

/// Accounts of which one read looks for nodes: others read meanwhile.
const SOURCES_AT_ONCE: usize = 50;
/// Bytes of items after which no more are read for a session at once.
const BYTES_AT_ONCE: usize = 32_768;
/// How often an item is read that changes all the time.
const LOOKS: usize = 4;
/// How soon to look again whether a client's box has room; later each time, as it may hibernate for hours.
const WAIT: Duration = Duration::from_millis(50);
const WAIT_MAX: Duration = Duration::from_secs(2);
