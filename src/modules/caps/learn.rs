//! Finds out what clients' hashes stand for.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::{sleep, timeout};

use super::super::ResourceState;
use super::super::api::{Client, Cx};
use super::info::{self, Info};
use super::known::Turn;
use super::said::Said;
use super::state::{State, Step};
use super::wanted::Wanted;
use crate::base::time::micros;
use crate::jid::Jid;
use crate::stanza::Stanza;
use crate::stanza::iq::IqType;
use crate::stanza::presence::PresenceType;
use crate::xml::writer::Xml;

/// A session said something of its capabilities, or is gone for its contacts. Presence without a word of them
/// leaves them as they are (XEP-0115 §8.4).
pub(super) fn presence_changed(cx: &Cx, client: &Client, stanza: &Stanza) {
    if matches!(PresenceType::parse(stanza.ty().as_deref()), Ok(PresenceType::Unavailable)) {
        with_state(cx, client, State::forget);
        return;
    }
    let Some(said) = Said::of(stanza) else { return };
    let known = said.key.as_ref().and_then(|key| cx.server.shared().caps.known.get(key));
    match with_state(cx, client, |state| state.hear(said, known)) {
        None | Some(Step::Nothing) => {}
        Some(Step::Changed(before, now)) => tell(cx, &before, &now),
        Some(Step::Ask(said)) => {
            let (cx, router) = (cx.clone(), cx.router.clone());
            router.tasks.spawn("caps", async move {
                tokio::select! {
                    () = cx.router.questions.closed() => {}
                    () = learn(&cx, said) => {}
                }
            });
        }
    }
}

fn tell(cx: &Cx, before: &Wanted, now: &Wanted) {
    cx.server.wanted_changed(cx, before.nodes(), now.nodes());
}

fn with_state<T>(cx: &Cx, client: &Client, change: impl FnOnce(&mut State) -> T) -> Option<T> {
    let changed = |state: &mut ResourceState| change(&mut state.caps);
    cx.own(|entry| ResourceState::made(entry.session_mut(client.session)?).map(changed)).flatten()
}

/// One after the other, what a session says meanwhile: the last one is known in the end.
async fn learn(cx: &Cx, mut said: Said) {
    let Some(client) = cx.client() else { return };
    loop {
        let found = find(cx, &said, ask(cx, client, &said)).await;
        let learnt = with_state(cx, client, |state| state.learnt(said.mark, found));
        let Some((step, next)) = learnt else { return };
        if let Step::Changed(before, now) = step {
            tell(cx, &before, &now);
        }
        match next {
            Some(next) => said = next,
            None => return,
        }
    }
}

/// What a client's word stands for: known already, or as `ask` says. One client is asked about each hash.
pub(super) async fn find(
    cx: &Cx,
    said: &Said,
    ask: impl Future<Output = Option<Info>>,
) -> Option<Arc<Wanted>> {
    let known = &cx.server.shared().caps.known;
    let Some(key) = &said.key else {
        // XEP-0115 §5.4 rules 1 and 2: for this session alone.
        return ask.await.map(|info| Arc::new(info.wanted()));
    };
    let asking = match known.turn(key) {
        Turn::Known(wanted) => return Some(wanted),
        Turn::Ask(asking) => Some(asking),
        Turn::Wait(mut other) => {
            let _ = timeout(ANSWER_TIME, other.changed()).await;
            match known.turn(key) {
                Turn::Known(wanted) => return Some(wanted),
                Turn::Ask(asking) => Some(asking),
                // Nobody waits twice, lest clients that do not answer hold up the others.
                Turn::Wait(_) => None,
            }
        }
    };
    let info = ask.await?;
    let found = match info.proved(key) {
        Some(wanted) => {
            let wanted = Arc::new(wanted);
            known.learn(key, &wanted, cx.config.caps.known_max);
            wanted
        }
        // XEP-0115 §5.4 rule 3.9, XEP-0390 §6.2.1: it says nothing about others, but much about itself.
        None => Arc::new(info.wanted()),
    };
    drop(asking);
    Some(found)
}

/// XEP-0115 §6.2, XEP-0390 §5.5. The account asks its session: nobody blocks itself.
async fn ask(cx: &Cx, client: &Client, said: &Said) -> Option<Info> {
    let wait = with_state(cx, client, |state| state.pace(micros(cx.now)))?;
    if wait > 0 {
        sleep(Duration::from_micros(wait.unsigned_abs())).await;
    }
    let mut query = Xml::new();
    query.start("query").attr("xmlns", info::NS).attr_opt("node", said.node.as_deref()).end();
    let (from, to) = (client.jid.bare_str(), Jid::from(client.jid.clone()));
    let asked = cx.ask(from, &to, IqType::Get, &query.finish(), ANSWER_TIME).await;
    let answer = asked.inspect_err(|why| tracing::debug!(?why, "no answer about capabilities"));
    Info::of(&answer.ok()?)
}

/// How long a client may take to answer, on a slow network.
pub(super) const ANSWER_TIME: Duration = Duration::from_secs(30);
