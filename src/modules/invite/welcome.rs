//! XEP-0401 §5.5: who was invited and who invited are contacts from the beginning.

use crate::jid::BareJid;
use crate::modules::api::{AfterCommit, Cx, NewAccount};
use crate::modules::subscription::{Circumstances, carry_out, has_room, settle};
use crate::store::accounts;
use crate::store::roster::Subscription;
use crate::store::tx::{StoreError, Tx};

/// Writes both rosters in the transaction that makes the account; the pushes follow its commit.
pub(super) fn befriend(
    cx: &Cx,
    tx: &mut dyn Tx,
    made: &NewAccount,
) -> Result<Option<AfterCommit>, StoreError> {
    let terms = made.invitation.as_ref().map(|invitation| &invitation.terms);
    let Some(inviter) = terms.filter(|terms| terms.befriends).and_then(|terms| terms.account)
    else {
        return Ok(None);
    };
    let inviter = accounts::get(tx, inviter)?.filter(|account| !account.disabled);
    let Some(inviter) = inviter else { return Ok(None) };
    let Ok(host) = BareJid::from_parts(Some(&inviter.localpart), &inviter.host) else {
        return Ok(None);
    };
    let circumstances = Circumstances::new(&cx.router, cx.now);
    if !has_room(tx, inviter.id, &made.jid, &circumstances)? {
        return Ok(None);
    }
    let both = Subscription::Both;
    let steps = [
        settle(tx, &host, inviter.id, &made.jid, both)?,
        settle(tx, &made.jid, made.id, &host, both)?,
    ];
    Ok(Some(Box::new(move |cx| carry_out(&cx.router, &steps))))
}
