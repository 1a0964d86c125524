//! Rosters of accounts for components (XEP-0356 §4).

use super::super::api::{Access, Answer, Cx};
use super::super::roster;
use super::super::subscription::changed_xml;
use crate::base::id::{OsRng, short};
use crate::router::registry::{AccountStatus, RosterChange};
use crate::router::rules::StanzaClass;
use crate::stanza::iq::{Iq, IqType};
use crate::stanza::{Frame, Stanza, StanzaError};
use crate::store::ids::AccountId;
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
                Some(roster::change(&cx, (owner, account), &iq).await?.payload)
            }
        };
        let payload = payload.ok_or_else(StanzaError::item_not_found)?;
        Ok(Stanza::ours(iq.result(&payload)).into_iter().collect())
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
