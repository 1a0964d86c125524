//! XEP-0280: Message Carbons: messages that one session of an account receives or sends are copied to its
//! other sessions. For an account without a session that enabled copies, a message costs one look at its
//! entry. `stanza/policy.rs` decides which messages may be copied.

use std::collections::VecDeque;
use std::future::ready;
use std::sync::Arc;

use super::api::{
    AccountPart, Answer, Cx, Inline, IqRoute, Module, On, Passage, Persist, Phase, Reply, Spec,
    Target, Verdict,
};
use super::{AccountState, Config as Settings, ResourceState, SessionState};
use crate::jid::FullJid;
use crate::router::held::Asks;
use crate::router::passage::{Copies, Side, Taker};
use crate::router::registry::{AccountEntry, Resource};
use crate::stanza::forward::forwarded;
use crate::stanza::iq::IqType;
use crate::stanza::policy::Copied;
use crate::stanza::{Frame, Kind, Stanza, StanzaError};
use crate::store::ids::AccountId;
use crate::store::tx::{StoreError, Tx};
use crate::xml::ns;
use crate::xml::view::Node;
use crate::xml::writer::escape_attr;

/// The module.
pub const MODULE: Module = Module {
    name: "carbons",
    specs: &[Spec::whole("XEP-0280", "1.0.1", "features/carbons.rs")],
    // XEP-0280 §3, §6.2
    features: &[On::Server(ns::CARBONS), On::Server("urn:xmpp:carbons:rules:0")],
    iqs: &[
        IqRoute { name: "enable", handler: |cx, _| switch(&cx, enable), ..OWN },
        IqRoute { name: "disable", handler: |cx, _| switch(&cx, disable), ..OWN },
        IqRoute { name: "enable", ..OTHER },
        IqRoute { name: "disable", ..OTHER },
    ],
    // XEP-0386 §3.2
    inline: &[Inline { ns: ns::CARBONS, handler: inline }],
    incoming: &[(Phase::Copy, received)],
    outgoing: &[(Phase::Copy, sent)],
    sessions: Some(count),
    ..Module::EMPTY
};

const OWN: IqRoute = IqRoute {
    ty: IqType::Set,
    ns: ns::CARBONS,
    name: "",
    targets: &[Target::Own],
    handler: |cx, _| switch(&cx, |_| ()),
};

// XEP-0280 §4.1, §5.1: no session can switch another account's carbons, whether that account exists or not.
const OTHER: IqRoute = IqRoute {
    targets: &[Target::Other],
    handler: |_, _| Box::pin(ready(Err(StanzaError::not_allowed()))),
    ..OWN
};

/// A session's state. Copies stay enabled over a resumption and a restart (XEP-0198), until the client
/// disables them.
#[derive(Debug, Default)]
pub struct State {
    wanted: bool,
}

impl Persist for State {
    const VERSION: u16 = 1;

    fn save(&self) -> Vec<u8> {
        vec![u8::from(self.wanted)]
    }

    fn load(bytes: &[u8]) -> Option<Self> {
        Some(Self { wanted: bytes == [1] })
    }
}

/// An account's state while one of its sessions wants copies: marks of messages that could be copied, newest
/// last. An error that answers one of them is copied, too (§6.1).
#[derive(Debug, Default)]
pub struct Recent(VecDeque<u64>);

impl Recent {
    fn remember(&mut self, mark: u64) {
        if self.0.len() == RECENT_MAX {
            self.0.pop_front();
        }
        self.0.push_back(mark);
    }
}

impl AccountPart for Option<Box<Recent>> {
    fn load(_: &mut dyn Tx, _: AccountId) -> Result<Self, StoreError> {
        Ok(None)
    }

    fn bytes(&self) -> usize {
        self.as_ref()
            .map_or(0, |recent| size_of::<Recent>() + recent.0.capacity() * size_of::<u64>())
    }

    fn is_nothing(&self) -> bool {
        self.is_none()
    }
}

/// Enables copies for the session.
pub fn enable(cx: &Cx) {
    want(cx, true);
}

/// Disables copies for the session.
pub fn disable(cx: &Cx) {
    want(cx, false);
}

fn want(cx: &Cx, wanted: bool) {
    cx.own_sessions(|account| {
        let resource = account.session_mut(cx.session())?;
        ResourceState::made(resource)?.carbons.wanted = wanted;
        Some(())
    });
}

fn wants(resource: &Resource) -> bool {
    ResourceState::of(resource).is_some_and(|state| state.carbons.wanted)
}

/// A session is asked about each message it has sent if other sessions of the account want copies.
fn count(account: &mut AccountEntry, asks: &mut [Asks]) {
    let readers = account.resources.iter().filter(|resource| wants(resource)).count();
    let had = AccountState::of(account).is_some_and(|state| state.carbons.is_some());
    if had != (readers > 0) {
        AccountState::change(account, |state| {
            state.carbons = (readers > 0).then(Box::default);
        });
    }
    for (resource, asks) in account.resources.iter().zip(asks) {
        if readers > usize::from(wants(resource)) {
            *asks = asks.and(Asks::after(Kind::Message));
        }
    }
}

fn inline(cx: &Cx, _: &mut SessionState, wanted: Node<'_>) -> Vec<u8> {
    if wanted.name() == "enable" {
        enable(cx);
    }
    Vec::new()
}

/// XEP-0280 §10.1: a client may switch as often as it likes.
fn switch(cx: &Cx, switch: fn(&Cx)) -> Answer<Result<Reply, StanzaError>> {
    switch(cx);
    Box::pin(ready(Ok(Reply::empty())))
}

/// Copies for sessions of the recipient's account: those that want copies and neither get the message itself
/// (§7) nor sent it. A message that waits for a device of non-negative priority is not copied to a session
/// that has sent no presence. That session may become this device, and then gets the message in its turn,
/// after those that already wait.
fn received(_: &Settings, account: &mut AccountEntry, passage: &mut Passage<'_>) -> Verdict {
    if is_eligible(account, passage) {
        let gets = |resource: &Resource| {
            passage.takers.iter().any(|taker| taker.session == resource.session)
                || is_sender(passage, resource)
        };
        let may = |resource: &&Resource| {
            wants(resource) && (!passage.waits() || resource.presence.is_some()) && !gets(resource)
        };
        let to = account.resources.iter().filter(may).map(reader).collect();
        copy(passage, to);
    }
    Verdict::Continue
}

/// Copies for the sender's other sessions (§8). A message to the own account is copied, if at all, as a
/// received one: once for each device.
fn sent(_: &Settings, account: Option<&mut AccountEntry>, passage: &mut Passage<'_>) -> Verdict {
    if let Some(account) = account
        && !passage.is_to_self()
        && is_eligible(account, passage)
    {
        let to = others(account, passage);
        copy(passage, to);
    }
    Verdict::Continue
}

fn copy(passage: &mut Passage<'_>, to: Vec<(FullJid, Taker)>) {
    if !to.is_empty() {
        passage.copies.push(Copies { to, wrap });
    }
}

/// The table of §6.1, for one side. Remembers messages that pass, because an error may answer them.
fn is_eligible(account: &mut AccountEntry, passage: &Passage<'_>) -> bool {
    let Some(state) = AccountState::of_mut(account) else { return false };
    let Some(recent) = state.carbons.as_deref_mut() else { return false };
    let was_copied = |recent: &Recent| passage.mark().is_some_and(|mark| recent.0.contains(&mark));
    match (passage.policy.copied, passage.side) {
        (Copied::Nobody, _) | (Copied::AsAnswered, Side::Returned) => false,
        // A message that failed before it was copied is unknown to the other sessions, and so is its error.
        (Copied::Both | Copied::Sender, Side::Returned) => was_copied(recent),
        // An account is not a room, whatever its messages contain, so it cannot keep them from other devices.
        (Copied::Sender, Side::Incoming) if !passage.is_account(passage.stanza.from()) => false,
        (Copied::AsAnswered, _) => was_copied(recent),
        (Copied::Both | Copied::Sender, _) => {
            passage.mark().into_iter().for_each(|mark| recent.remember(mark));
            true
        }
    }
}

fn is_sender(passage: &Passage<'_>, resource: &Resource) -> bool {
    passage.sender.is_some_and(|sender| Arc::ptr_eq(sender, &resource.outbox))
}

/// Sessions of the sender's account that want copies, except the sending one. For a room's private message,
/// only those that joined the room under the same name, as far as the server knows (§6.1, footnote).
fn others(account: &AccountEntry, passage: &Passage<'_>) -> Vec<(FullJid, Taker)> {
    let room = passage.stanza.to().filter(|_| passage.policy.copied == Copied::Sender);
    let occupant = room.and_then(|room| {
        let sender = account.resources.iter().find(|resource| is_sender(passage, resource))?;
        sender.directed.iter().find(|known| known.bare_str() == room.bare_str())
    });
    let joined = |resource: &Resource| {
        occupant.is_none_or(|occupant| resource.directed.iter().any(|known| known == occupant))
    };
    let may =
        |resource: &&Resource| wants(resource) && !is_sender(passage, resource) && joined(resource);
    account.resources.iter().filter(may).map(reader).collect()
}

fn reader(resource: &Resource) -> (FullJid, Taker) {
    (resource.jid.clone(), Taker::of(resource))
}

fn wrap(side: Side, stanza: &Stanza, frame: &Frame) -> Frame {
    let (name, own) = match side {
        Side::Incoming => ("received", stanza.to().unwrap_or(stanza.from())),
        Side::Outgoing => ("sent", stanza.from()),
        Side::Returned => ("received", stanza.from()),
    };
    let ty = match side {
        Side::Incoming | Side::Outgoing => stanza.ty(),
        Side::Returned => Some("error".into()),
    };
    wrapped(name, own.bare_str(), ty.as_deref(), frame)
}

/// The copy without its 'to', built once for all sessions that get it. Its 'from' is the account's bare JID,
/// by which clients verify it (§11).
fn wrapped(name: &str, own: &str, ty: Option<&str>, frame: &Frame) -> Frame {
    let mut head = String::with_capacity(own.len() + 32);
    for (name, value) in [(" from=\"", Some(own)), (" type=\"", ty)] {
        if let Some(value) = value {
            head.push_str(name);
            head.push_str(&escape_attr(value));
            head.push('"');
        }
    }
    let inner = forwarded(b"", &frame.to_vec());
    let mut tail = Vec::with_capacity(inner.len() + 80);
    tail.extend_from_slice(format!("><{name} xmlns='{}'>", ns::CARBONS).as_bytes());
    tail.extend_from_slice(&inner);
    tail.extend_from_slice(format!("</{name}></message>").as_bytes());
    Frame::of(format!("<message{head}"), tail)
}

/// Messages of an account that an error may still answer: one kilobyte per account where copies are wanted.
const RECENT_MAX: usize = 128;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_copy_is_from_the_account_and_holds_the_message_as_it_came() {
        let xml = "<message from='j@x/1' to='r@y/2' type='chat' id='a'><body>&lt;</body></message>";
        let stanza = Stanza::ours(xml.into()).unwrap();
        let copy = wrapped("received", "r@y", stanza.ty().as_deref(), &stanza.frame());
        let bytes = copy.addressed("r@y/3'\"").to_vec();
        assert_eq!(
            String::from_utf8(bytes).unwrap(),
            "<message from=\"r@y\" type=\"chat\" to=\"r@y/3&apos;&quot;\">\
             <received xmlns='urn:xmpp:carbons:2'><forwarded xmlns='urn:xmpp:forward:0'>\
             <message xmlns='jabber:client' from='j@x/1' to='r@y/2' type='chat' id='a'>\
             <body>&lt;</body></message></forwarded></received></message>"
        );
        // A delayed copy gets its stamp on the outer message (XEP-0203 §4).
        let late = String::from_utf8(copy.with(b"<delay/>").to_vec()).unwrap();
        assert!(late.ends_with("</forwarded></received><delay/></message>"), "{late}");
    }

    #[test]
    fn what_is_remembered_is_bounded() {
        let mut recent = Recent::default();
        (0..1_000).for_each(|mark| recent.remember(mark));
        assert_eq!(recent.0.len(), RECENT_MAX);
        assert!(recent.0.contains(&999) && !recent.0.contains(&1));
    }
}
