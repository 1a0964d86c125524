//! Rosters of accounts for components (XEP-0356 §4).

use super::super::api::{Access, Answer, Cx};
use super::super::roster;
use super::super::subscription::{self, changed_xml};
use crate::base::id::{OsRng, short};
use crate::jid::{BareJid, Jid};
use crate::router::registry::{AccountStatus, RosterChange};
use crate::router::rules::StanzaClass;
use crate::stanza::iq::{Iq, IqType};
use crate::stanza::{Frame, Stanza, StanzaError};
use crate::store::ids::AccountId;
use crate::store::roster::Subscription;
use crate::xml::ns;
use crate::xml::writer::Xml;

/// §4.3
pub(super) fn answer(
    cx: Cx,
    stanza: Stanza,
    access: Access,
) -> Answer<Result<Vec<Stanza>, StanzaError>> {
    Box::pin(async move {
        let Some(iq) = Iq::request(&stanza)? else { return Ok(Vec::new()) };
        let may = match iq.ty() {
            IqType::Get => access.gets(),
            _ => access.sets(),
        };
        let owner = match iq.to() {
            Some(to) if may => to.bare(),
            _ => return Err(StanzaError::forbidden()),
        };
        // Whom the account blocks is refused before anything is done.
        let owner_jid = owner.clone().into();
        let verdict = cx.router.guard(StanzaClass::IqRequest, iq.from(), &owner_jid).await?;
        verdict.refused()?;
        let home = cx.router.home(&owner).await?.ok_or_else(StanzaError::item_not_found)?;
        let payload = match iq.ty() {
            IqType::Get => cx.router.own(&home, |entry| roster::of_account(entry)),
            _ => {
                let account = cx.router.own(&home, |entry| entry.account);
                let Some(AccountStatus::Stored(account)) = account else {
                    return Err(StanzaError::item_not_found());
                };
                let done = roster::change(&cx, (owner.clone(), account), &iq).await?;
                if let Some((contact, next)) = settled(&iq) {
                    settle(&cx, (owner, account), contact, next).await?;
                }
                Some(done.payload)
            }
        };
        let payload = payload.ok_or_else(StanzaError::item_not_found)?;
        Ok(Stanza::ours(iq.result(&payload)).into_iter().collect())
    })
}

/// What the component says of the subscription with a contact at its own domain. It could have the account ask, answer
/// for the contact, and so on: so it may say what comes of that. With others it is as with clients (RFC 6121 §2.1.2.5).
fn settled(iq: &Iq) -> Option<(BareJid, Subscription)> {
    let doc = iq.stanza().element().view();
    let item = doc.root().child(ns::ROSTER, "query")?.child(ns::ROSTER, "item")?;
    let contact = Jid::parse(item.attr("jid")?).ok()?.bare();
    let next = match item.attr("subscription")? {
        "to" => Subscription::To,
        "from" => Subscription::From,
        "both" => Subscription::Both,
        _ => return None,
    };
    (contact.domain() == iq.from().domain()).then_some((contact, next))
}

fn settle(
    cx: &Cx,
    (owner, account): (BareJid, AccountId),
    contact: BareJid,
    next: Subscription,
) -> Answer<Result<(), StanzaError>> {
    let work = cx.clone();
    subscription::detached(&cx.router, "roster set", async move {
        let write =
            work.store.write(move |tx| subscription::settle(tx, &owner, account, &contact, next));
        let step = write.await?;
        subscription::carry_out(&work.router, &[step]);
        Ok(())
    })
}

/// §4.4. In the order in which clients are told.
pub(super) fn changed(cx: &Cx, account: AccountId, change: &RosterChange) {
    for component in cx.config.components.iter().filter(|one| one.privileges.pushes()) {
        let mut xml = Xml::new();
        xml.start("iq").attr("type", "set").attr("id", &short(&mut OsRng));
        xml.attr("from", cx.jid().bare_str()).attr("to", &component.domain);
        xml.raw(&changed_xml(account, change)).end();
        let (local, frame) = (cx.jid().domain(), Frame::whole(xml.finish()));
        // A component that is away reads rosters when it is back.
        let _ = cx.router.peers.send(local, &component.domain, frame);
    }
}
