//! A new account joins the team that its invitation names.

use super::bring;
use super::membership::{self, Followed};
use super::table::{self, MEMBERS_MAX, Member};
use crate::modules::api::{AfterCommit, Cx, NewAccount};
use crate::store::tx::{StoreError, Tx};

/// In the transaction that makes the account. A team that is gone or full by then keeps nobody out.
pub(super) fn join(
    _: &Cx,
    tx: &mut dyn Tx,
    made: &NewAccount,
) -> Result<Option<AfterCommit>, StoreError> {
    let named = made.invitation.as_ref().and_then(|invitation| invitation.terms.team.as_deref());
    let Some(named) = named else { return Ok(None) };
    let Some(team) = table::find(tx, named)? else {
        let account = made.jid.as_str();
        tracing::warn!(account, team = named, "the team of an invitation is not there any more");
        return Ok(None);
    };
    if table::count(tx, &team)? >= MEMBERS_MAX {
        let account = made.jid.as_str();
        tracing::warn!(account, team = named, "the team of an invitation is full");
        return Ok(None);
    }
    let name = made.jid.local().unwrap_or_default().to_owned();
    let member = Member { account: made.id, jid: made.jid.clone(), name, shown: true };
    let mut followed = Followed::default();
    membership::join(tx, &team, &member, &mut followed)?;
    Ok(Some(Box::new(move |cx: &Cx| {
        let cx = cx.clone();
        cx.router.clone().tasks.spawn("team", async move {
            membership::follow(&cx.router, followed).await;
            // What cannot be done now is tried again later.
            let _ = bring::settle(&cx).await;
        });
    })))
}
