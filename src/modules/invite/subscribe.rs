//! XEP-0379: a subscription request with the token of an invitation is answered by the account's server, which
//! asks back. A token that is none counts for nothing (§4.1): the request goes its way like any other, to the
//! module of subscriptions, which comes after this one.

use super::preauth::NS;
use crate::base::time::micros;
use crate::jid::{BareJid, Jid};
use crate::modules::api::{Answer, Cx};
use crate::modules::subscription::{
    Circumstances, Half, Step, carry_out, detached, has_room, outbound, settle,
};
use crate::router::subscription::Verb;
use crate::stanza::presence::PresenceType;
use crate::stanza::{Stanza, StanzaError};
use crate::store::accounts;
use crate::store::ids::AccountId;
use crate::store::invitations::{self, Purpose};
use crate::store::roster::{self, Subscription};
use crate::store::tx::{StoreError, Tx};

/// A request of a local account to another one.
pub(super) fn from_here(cx: Cx, stanza: Stanza) -> Answer<Result<Vec<Stanza>, StanzaError>> {
    // A token for somebody elsewhere is theirs to judge, and no guess here.
    let here = |request: &Request| cx.router.has_accounts(request.owner.domain());
    let Some(request) = Request::read(&stanza).filter(here) else { return nothing() };
    let Ok(account) = cx.account() else { return nothing() };
    if !cx.server.shared().invite.may_try(&cx) {
        return nothing();
    }
    let work = cx.clone();
    detached(&cx.router, "invited", async move {
        let (own, peer): (Jid, Jid) = (request.peer.clone().into(), request.owner.clone().into());
        let circumstances = Circumstances::new(&work.router, work.now).between(&own, &peer).await?;
        if circumstances.are_parted() {
            return Ok(Vec::new());
        }
        let now = micros(work.now);
        let write = work.store.write(move |tx| request.meet(tx, account, now, &circumstances));
        if let Some(steps) = write.await? {
            work.server.shared().invite.was_right(&work);
            carry_out(&work.router, &steps);
        }
        Ok(Vec::new())
    })
}

/// A request of somebody elsewhere to a local account.
pub(super) fn from_elsewhere(cx: Cx, stanza: Stanza) -> Answer<Result<Vec<Stanza>, StanzaError>> {
    let Some(request) = Request::read(&stanza) else { return nothing() };
    if !cx.server.shared().invite.may_try(&cx) {
        return nothing();
    }
    let work = cx.clone();
    detached(&cx.router, "invited", async move {
        let circumstances = Circumstances::new(&work.router, work.now);
        let now = micros(work.now);
        let write = work.store.write(move |tx| request.expect(tx, now, &circumstances));
        if let Some(steps) = write.await? {
            work.server.shared().invite.was_right(&work);
            carry_out(&work.router, &steps);
        }
        Ok(Vec::new())
    })
}

fn nothing() -> Answer<Result<Vec<Stanza>, StanzaError>> {
    Box::pin(std::future::ready(Ok(Vec::new())))
}

/// A request that shows a token.
struct Request {
    /// Who is asked, and should have given the token.
    owner: BareJid,
    /// Who asks.
    peer: BareJid,
    token: String,
}

impl Request {
    /// `None` for any other stanza.
    fn read(stanza: &Stanza) -> Option<Self> {
        if PresenceType::parse(stanza.ty().as_deref()).ok()? != PresenceType::Subscribe {
            return None;
        }
        let (owner, peer) = (stanza.to()?.bare(), stanza.from().bare());
        let doc = stanza.element().view();
        let token = doc.root().child(NS, "preauth")?.attr("token")?.to_owned();
        (owner != peer && !token.is_empty()).then_some(Self { owner, peer, token })
    }

    /// Whether the account that is asked, if there is one, and this contact see each other already: a client that
    /// registered with a token shows it again, and by then it may be used up.
    fn is_met(&self, tx: &mut dyn Tx) -> Result<bool, StoreError> {
        let (local, host) = (self.owner.local().unwrap_or_default(), self.owner.domain());
        let Some(owner) = accounts::find(tx, local, host)? else { return Ok(false) };
        let item = roster::item(tx, owner.id, self.peer.as_str())?;
        Ok(item.is_some_and(|item| item.state == Subscription::Both))
    }

    /// The account that gave the token, and the number of its invitation, if it is open and makes contacts.
    fn given(&self, tx: &mut dyn Tx, now: i64) -> Result<Option<(AccountId, i64)>, StoreError> {
        let Ok(found) = invitations::open(tx, &self.token, now)? else { return Ok(None) };
        if found.terms.purpose != Purpose::Invite || !found.terms.befriends {
            return Ok(None);
        }
        let Some(account) = found.terms.account else { return Ok(None) };
        let name = accounts::name(tx, account)?.flatten();
        let is_theirs = name.is_some_and(|(local, host)| {
            self.owner.local() == Some(&*local) && self.owner.domain() == host
        });
        Ok(is_theirs.then_some((account, found.id)))
    }

    /// Both live here. The inviter is subscribed both ways; who asks shows its presence, and has asked: so the
    /// request itself, which comes next, is answered at once. `None` if the token counts for nothing.
    fn meet(
        &self,
        tx: &mut dyn Tx,
        asker: AccountId,
        now: i64,
        circumstances: &Circumstances,
    ) -> Result<Option<Vec<Step>>, StoreError> {
        let own = roster::item(tx, asker, self.owner.as_str())?.map(|item| item.state);
        if own == Some(Subscription::Both) && self.is_met(tx)? {
            return Ok(Some(Vec::new()));
        }
        let Some((inviter, id)) = self.given(tx, now)? else { return Ok(None) };
        if !has_room(tx, inviter, &self.peer, circumstances)?
            || !has_room(tx, asker, &self.owner, circumstances)?
            || !invitations::spend(tx, id)?
        {
            return Ok(None);
        }
        let mut theirs = settle(tx, &self.owner, inviter, &self.peer, Subscription::Both)?;
        // The answer to the request shows it.
        theirs.presence = None;
        let sees = own.is_some_and(|state| state.sees_presence());
        let next = if sees { Subscription::Both } else { Subscription::FromPendingOut };
        Ok(Some(vec![theirs, settle(tx, &self.peer, asker, &self.owner, next)?]))
    }

    /// Only the inviter lives here: approves the request that comes next, and asks back (§3.5).
    fn expect(
        &self,
        tx: &mut dyn Tx,
        now: i64,
        circumstances: &Circumstances,
    ) -> Result<Option<Vec<Step>>, StoreError> {
        if self.is_met(tx)? {
            return Ok(Some(Vec::new()));
        }
        let Some((inviter, id)) = self.given(tx, now)? else { return Ok(None) };
        if !has_room(tx, inviter, &self.peer, circumstances)? || !invitations::spend(tx, id)? {
            return Ok(None);
        }
        let mut steps = Vec::new();
        for verb in [Verb::Subscribed, Verb::Subscribe] {
            let half = Half::made(self.owner.clone(), inviter, self.peer.clone(), verb);
            steps.extend(outbound(tx, half, circumstances)?.unwrap_or_default());
        }
        Ok(Some(steps))
    }
}
