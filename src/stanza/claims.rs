//! Payloads that only this server may add: those that name one of our addresses as their author.
//!
//! A payload of this kind from a client is forged, so it is removed before any other code sees the stanza.
//! Deeper ones, as in `<forwarded/>` (XEP-0297), are quotations and stay.

use std::ops::Range;

use super::Stanza;
use crate::jid::Jid;
use crate::xml::element::Child;
use crate::xml::ns;
use crate::xml::view::Node;

/// A payload with an attribute that names the entity which added it.
struct Claim {
    ns: &'static str,
    name: &'static str,
    /// The attribute with the address.
    by: &'static str,
    /// What the payload means without the attribute.
    nobody: Nobody,
    /// Whether a sender may write it in the name of its own account.
    own: Own,
}

/// What a payload means if it names no address.
#[derive(PartialEq)]
enum Nobody {
    /// It is treated as forged.
    Forged,
    /// It is the sender's own statement.
    Sender,
}

/// Whether the sender's own account may be named.
#[derive(PartialEq)]
enum Own {
    Forged,
    Honest,
}

/// All of these payloads. A feature with a payload that others could forge adds its line here.
const CLAIMS: &[Claim] = &[
    // XEP-0359 §3 rule 2: ids are given by archives; `by` is required.
    Claim {
        ns: ns::STANZA_ID,
        name: "stanza-id",
        by: "by",
        nobody: Nobody::Forged,
        own: Own::Forged,
    },
    // XEP-0203 §5. A client that sends late may say so in its own name (§2).
    Claim { ns: ns::DELAY, name: "delay", by: "from", nobody: Nobody::Sender, own: Own::Honest },
    // XEP-0091, which XEP-0203 replaced; old clients still read it.
    Claim { ns: ns::OLD_DELAY, name: "x", by: "from", nobody: Nobody::Sender, own: Own::Honest },
];

/// Returns the stanza without payloads that claim, in any spelling, to come from one of our domains or an
/// account there; the sender may name itself where `own` allows it. `None` if there are no such payloads.
pub fn stripped(stanza: &Stanza, is_local: impl Fn(&str) -> bool) -> Option<Stanza> {
    // Most stanzas have none, and cost only a look at the gate's index.
    if !stanza.element().children().any(|child| claim(&child).is_some()) {
        return None;
    }
    let doc = stanza.element().view();
    let forged: Vec<Range<usize>> = stanza
        .element()
        .children()
        .zip(doc.root().children())
        .filter(|(child, node)| {
            claim(child).is_some_and(|claim| claim.is_forged(node, stanza.from(), &is_local))
        })
        .map(|(child, _)| child.span)
        .collect();
    if forged.is_empty() { None } else { stanza.without(&forged) }
}

fn claim(child: &Child<'_>) -> Option<&'static Claim> {
    CLAIMS.iter().find(|claim| claim.name == child.name && claim.ns == child.ns)
}

impl Claim {
    fn is_forged(&self, node: &Node<'_>, sender: &Jid, is_local: &dyn Fn(&str) -> bool) -> bool {
        let Some(by) = node.attr(self.by) else { return self.nobody == Nobody::Forged };
        // An invalid address is removed too: a client might still take it for one of ours.
        let Ok(by) = Jid::parse(by) else { return true };
        let own = by.local().is_some() && by.bare_str() == sender.bare_str();
        is_local(by.domain()) && !(own && self.own == Own::Honest)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(payloads: &str, left: &str) {
        let of = |payloads: &str| {
            let xml = format!("<message from='a@x/r' to='b@x'>{payloads}</message>");
            Stanza::ours(xml.into()).unwrap()
        };
        let stanza = of(payloads);
        let kept = stripped(&stanza, |domain| domain == "x").unwrap_or(stanza);
        assert_eq!(kept.frame().to_vec(), of(left).frame().to_vec());
        assert_eq!(kept.element().children().count(), of(left).element().children().count());
    }

    /// `<name/>` that names `by`.
    fn of(claim: &Claim, by: &str) -> String {
        format!("<{} xmlns='{}' stamp='t' id='1' {}='{by}'/>", claim.name, claim.ns, claim.by)
    }

    #[test]
    fn what_claims_to_be_ours_goes_in_any_spelling() {
        for claim in CLAIMS {
            for by in [
                "b@x",
                "B@X",
                "b@x/phone",
                "x",
                "X",
                "x.",
                "x/r",
                "anyone@x",
                "&#98;@x",
                "",
                "@",
                "a@@x",
                "ｂ@x",
                "ｘ",
                "b@x。",
            ] {
                let forged = of(claim, by);
                check(&forged, "");
                let around = format!("<body>1</body>{forged}<body>2</body>");
                check(&around, "<body>1</body><body>2</body>");
            }
            let (name, ns, by) = (claim.name, claim.ns, claim.by);
            check(&format!("<s:{name} xmlns:s='{ns}' {by}='b@x'>t</s:{name}>"), "");
            check(&(of(claim, "b@x") + &of(claim, "b@y") + &of(claim, "x")), &of(claim, "b@y"));
        }
    }

    #[test]
    fn what_is_anothers_stays() {
        for claim in CLAIMS {
            let (name, ns, by) = (claim.name, claim.ns, claim.by);
            for kept in [
                of(claim, "b@y"),
                of(claim, "a@x.y"),
                format!("<{name} xmlns='urn:other' {by}='b@x'/>"),
                format!("<other xmlns='{ns}' {by}='b@x'/>"),
                // Quoted (XEP-0297).
                format!("<wrap xmlns='u'>{}</wrap>", of(claim, "b@x")),
            ] {
                check(&kept, &kept);
            }
        }
    }

    /// A sender may state its own delay (XEP-0203 §2), but may not give ids (XEP-0359 §3).
    #[test]
    fn ones_own_name_and_no_name_are_ruled_for_each() {
        for claim in CLAIMS {
            let (name, ns) = (claim.name, claim.ns);
            for by in ["a@x", "A@X", "a@x/r", "a@x/other"] {
                let own = of(claim, by);
                check(&own, if claim.own == Own::Honest { &own } else { "" });
            }
            let unnamed = format!("<{name} xmlns='{ns}' stamp='t'/>");
            check(&unnamed, if claim.nobody == Nobody::Sender { &unnamed } else { "" });
        }
    }
}
