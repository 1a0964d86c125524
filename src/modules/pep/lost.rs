//! Whoever loses access to an account's nodes, because its roster says something else of them now, is no longer
//! subscribed (XEP-0163 §7.1).

use super::owner::Owner;
use crate::jid::{BareJid, Jid};
use crate::modules::api::Cx;
use crate::modules::pubsub;
use crate::store::ids::AccountId;

/// Looks whether the contact subscribed to anything, and if so, whether it still may.
pub(super) fn contact_changed(cx: &Cx, account: AccountId, contact: &BareJid) {
    let owner = Owner { account, jid: cx.bare() };
    let (service, contact) = (owner.service(&cx.config), Jid::from(contact));
    let (store, now) = (cx.store.clone(), cx.now);
    cx.router.tasks.spawn("subscriptions", async move {
        let (key, jid) = (service.key, contact.clone());
        let done = match store.read(move |tx| pubsub::is_subscribed(tx, key, &jid)).await {
            Ok(false) => return,
            // The end of a subscription MAY be told, too; whoever it is may not even see who is online.
            Ok(true) => store.write(move |tx| pubsub::recheck(tx, &service, &contact, now)).await,
            Err(error) => Err(error),
        };
        if let Err(error) = done {
            let account = owner.jid.as_str();
            tracing::error!(%error, account, "subscriptions of a contact were not looked at");
        }
    });
}
