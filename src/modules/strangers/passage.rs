//! A stranger's message on its way into an account, and the account's own ways out, which let others in.

use super::held;
use super::policy::{Own, Policy, put_let_in};
use crate::jid::Jid;
use crate::modules::Config;
use crate::modules::api::{Client, Cx, Passage, Verdict, later};
use crate::router::held::Asks;
use crate::router::passage::Side;
use crate::router::registry::{AccountEntry, AccountStatus};
use crate::stanza::message::MessageType;
use crate::stanza::{Kind, Stanza, StanzaError};
use crate::store::Job;
use crate::store::ids::AccountId;
use crate::store::tx::{StoreError, Tx};

pub(super) fn received(
    config: &Config,
    account: &mut AccountEntry,
    passage: &mut Passage<'_>,
) -> Verdict {
    let stanza = passage.stanza;
    let Some(to) = stanza.to().filter(|_| stanza.kind() == Kind::Message) else {
        return Verdict::Continue;
    };
    let policy = policy(config, account, to.domain());
    // An error answers what the account itself sent.
    let is_error = MessageType::parse(stanza.ty().as_deref()) == MessageType::Error;
    if policy == Policy::Deliver || is_error || !is_stranger(account, passage, to) {
        return Verdict::Continue;
    }
    match policy {
        // What is worth nothing to who comes later: chat states, headlines (RFC 6121 §5.2.2).
        _ if !passage.policy.owed => Verdict::Drop,
        Policy::Hold => {
            passage.kept_by = Some(held::hold);
            Verdict::Continue
        }
        // RFC 6121 §8.5.1: as from an account that does not exist, so that this tells nothing.
        Policy::Deliver | Policy::Refuse => Verdict::Bounce(StanzaError::service_unavailable()),
    }
}

/// Who is written to may answer.
pub(super) fn sent(
    config: &Config,
    account: Option<&mut AccountEntry>,
    passage: &mut Passage<'_>,
) -> Verdict {
    let (Some(account), Some(to)) = (account, passage.stanza.to()) else {
        return Verdict::Continue;
    };
    let from = passage.stanza.from();
    let speaks = passage.side == Side::Outgoing
        && passage.stanza.kind() == Kind::Message
        && passage.policy.owed;
    if !speaks
        || policy(config, account, from.domain()) == Policy::Deliver
        || !is_stranger(account, passage, from)
    {
        return Verdict::Continue;
    }
    let mut is_new = false;
    Own::change(account, |own| is_new = own.let_in(to.bare_str()));
    if let (true, AccountStatus::Stored(account)) = (is_new, account.account) {
        let jid = to.bare_str().to_owned();
        later(passage, move |cx, _| cx.store.write_behind(Box::new(LetIn { account, jid })));
    }
    Verdict::Continue
}

/// The same in the store, soon: after a crash in between the account lets them in anew when it writes again.
struct LetIn {
    account: AccountId,
    jid: String,
}

impl Job for LetIn {
    fn run(&mut self, tx: &mut dyn Tx) -> Result<(), StoreError> {
        put_let_in(tx, self.account, &self.jid)
    }

    fn settled(self: Box<Self>, _outcome: Result<(), StoreError>) {}
}

/// Whether what the account's sessions say is looked at.
pub(super) fn sessions(account: &mut AccountEntry, asks: &mut [Asks]) {
    let own = Own::of(account);
    if own.is_some_and(|own| own.asks || own.policy.is_some_and(|one| one != Policy::Deliver)) {
        asks.iter_mut().for_each(|one| *one = one.and(Asks::after(Kind::Message)));
    }
}

/// Has it looked at where the host does not deliver: the hook above does not see the settings.
pub(super) fn presence_changed(cx: &Cx, client: &Client, _: &Stanza) {
    if cx.config.strangers.of_host(client.jid.domain()) != Policy::Deliver
        && cx.own(|entry| !Own::of(entry).is_some_and(|own| own.asks)) == Some(true)
    {
        cx.own_sessions(|entry| Own::change(entry, |own| own.asks = true));
    }
}

fn policy(config: &Config, account: &AccountEntry, domain: &str) -> Policy {
    let own = Own::of(account).and_then(|own| own.policy);
    own.filter(|_| config.strangers.own_choice).unwrap_or_else(|| config.strangers.of_host(domain))
}

fn is_stranger(account: &AccountEntry, passage: &Passage<'_>, own: &Jid) -> bool {
    let Some(peer) = passage.peer() else { return false };
    let bare = peer.bare_str();
    if bare == own.bare_str() || passage.is_server(peer) {
        return false;
    }
    // An item that is not listed stands for a request that waits.
    let is_contact = account.roster.get(bare).is_some_and(|item| item.listed);
    let met = |jid: &Jid| jid.bare_str() == bare;
    let is_met = || account.resources.iter().any(|one| one.directed.iter().any(met));
    let is_in = || Own::of(account).is_some_and(|own| own.has_let_in(bare));
    !is_contact && !is_met() && !is_in()
}
