//! Roster items on the wire, and roster pushes (RFC 6121 §2.1.6).

use bytes::Bytes;

use crate::base::id::{OsRng, short};
use crate::router::contacts::{Contact, Contacts};
use crate::router::registry::{Push, RosterChange};
use crate::router::subscription::{self, State};
use crate::stanza::Frame;
use crate::store::ids::AccountId;
use crate::xml::ns;
use crate::xml::writer::Xml;

/// Sends one change to one interested resource. It has no `from`, so it comes from the account itself.
/// The `id` is unguessable, so that nobody else can answer in place of the client.
pub(super) fn push(account: AccountId, change: &RosterChange, to: &Push) {
    let mut xml = Xml::new();
    xml.start("iq")
        .attr("type", "set")
        .attr("id", &short(&mut OsRng))
        .attr("to", to.jid.as_str())
        .raw(&changed_xml(account, change))
        .end();
    // A session that ends needs no push; the next one gets the whole roster.
    let _ = to.outbox.push(Frame::whole(xml.finish()));
}

/// The payload of a roster push.
pub(in crate::modules) fn changed_xml(account: AccountId, change: &RosterChange) -> Bytes {
    let mut xml = Xml::new();
    xml.start("query").attr("xmlns", ns::ROSTER).attr("ver", &ver(Some(account), change.ver));
    match change.item.as_ref().filter(|item| item.listed) {
        Some(item) => Contacts::from(item).iter().for_each(|item| item_xml(&mut xml, &item)),
        None => {
            xml.start("item").attr("jid", &change.jid).attr("subscription", "remove").end();
        }
    }
    xml.end();
    xml.finish()
}

/// `<item/>` (RFC 6121 §2.1.2).
pub(in crate::modules) fn item_xml(xml: &mut Xml, item: &Contact<'_>) {
    let state = State { subscription: item.state, approved: item.approved };
    xml.start("item")
        .attr("jid", item.jid)
        .attr_opt("name", item.name)
        .attr("subscription", subscription::attribute(state))
        .attr_opt("ask", subscription::ask(state).then_some("subscribe"))
        .attr_opt("approved", item.approved.then_some("true"));
    for group in item.groups() {
        xml.element("group", None, group);
    }
    xml.end();
}

/// The opaque version of RFC 6121 §2.1.1. It contains the account's key, which is never reused: an
/// account that is created again under an old name must not match its predecessor's roster in a
/// client's cache.
pub(in crate::modules) fn ver(account: Option<AccountId>, ver: i64) -> String {
    format!("{}-{ver}", account.map_or(0, |id| id.0))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::roster::{Item, Subscription};

    #[test]
    fn items_show_what_rfc_6121_2_1_2_names() {
        let groups = vec!["a&b".to_owned(), "c".to_owned()];
        let item = Item { jid: "r@x".into(), ..Item::default() };
        let named =
            Item { name: Some("<R>".into()), groups, state: Subscription::Both, ..item.clone() };
        let asking = Item { state: Subscription::FromPendingOut, ..item.clone() };
        let approved = Item { approved: true, ..item.clone() };
        for (item, expected) in [
            (item, "<item jid='r@x' subscription='none'/>"),
            (
                named,
                "<item jid='r@x' name='&lt;R&gt;' subscription='both'>\
                 <group>a&amp;b</group><group>c</group></item>",
            ),
            (asking, "<item jid='r@x' subscription='from' ask='subscribe'/>"),
            (approved, "<item jid='r@x' subscription='none' approved='true'/>"),
        ] {
            let mut xml = Xml::new();
            Contacts::from(&item).iter().for_each(|item| item_xml(&mut xml, &item));
            assert_eq!(xml.into_string(), expected);
        }
    }
}
