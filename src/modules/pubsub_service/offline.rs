//! Nodes that keep what their publishers published only as long as those are online (`purge_offline`).

use super::act::change;
use super::services::service;
use crate::jid::{BareJid, Jid};
use crate::modules::api::Cx;
use crate::modules::pubsub::{self, Asker, Outcome};
use crate::stanza::StanzaError;
use crate::store::tx::Tx;

/// A session of this account is gone, or unavailable. Looks further if it was the last one.
pub(super) fn gone(cx: &Cx, jid: &BareJid) {
    if cx.services().purging.get() == Some(false)
        || !cx.router.resources(jid, |_| Some(())).is_empty()
    {
        return;
    }
    let label = &cx.config.pubsub_service.label;
    if label.is_empty() {
        return;
    }
    let hosts = cx.router.hosts();
    let at = hosts.iter().filter_map(|host| BareJid::parse(&format!("{label}.{host}")).ok());
    let (at, jid, cx): (Vec<_>, _, _) = (at.collect(), Jid::from(jid), cx.clone());
    cx.router.clone().tasks.spawn("pubsub", async move {
        if let Err(error) = purge(&cx, at, jid).await {
            tracing::debug!(%error, "items of a publisher that is offline were not deleted");
        }
    });
}

async fn purge(cx: &Cx, at: Vec<BareJid>, jid: Jid) -> Result<(), StanzaError> {
    let mut services = Vec::new();
    for at in at {
        services.push(service(cx, &at, false).await?);
    }
    let purging = &cx.services().purging;
    if purging.get().is_none() {
        let keys: Vec<_> = services.iter().map(|service| service.key).collect();
        let find = move |tx: &mut dyn Tx| {
            keys.iter().try_fold(false, |any, key| Ok(any || pubsub::purges_offline(tx, *key)?))
        };
        purging.found(cx.store.read(find).await?);
    }
    if purging.get() != Some(true) {
        return Ok(());
    }
    for service in services {
        let (at, publisher) = (service.jid.clone(), Asker::stranger(jid.clone()));
        let run = move |tx: &mut dyn Tx| {
            let events = pubsub::gone_offline(tx, &service, &publisher)?;
            Ok(Ok((Outcome { payload: Vec::new(), events }, false)))
        };
        change(cx, at, run).await?;
    }
    Ok(())
}
