//! What only this server may say: payloads that name one of our addresses as who put them there.
//!
//! A client that writes one speaks in our name, so it is taken out before anything else sees the
//! stanza. What stands deeper, as in `<forwarded/>` (XEP-0297), is quoted and stays as it is.

use std::ops::Range;

use super::Stanza;
use crate::jid::Jid;
use crate::xml::element::Child;
use crate::xml::ns;
use crate::xml::view::Node;

/// A payload that says in an attribute who put it into the stanza.
struct Claim {
    ns: &'static str,
    name: &'static str,
    /// The attribute with the address.
    by: &'static str,
    /// What it says without the attribute.
    nobody: Nobody,
    /// May a sender write it in the name of its own account?
    own: Own,
}

/// What a payload says that names nobody.
#[derive(PartialEq)]
enum Nobody {
    /// Nothing that anybody may rely on.
    Forged,
    /// The sender's own word.
    Sender,
}

/// Whether the sender's own account may be named.
#[derive(PartialEq)]
enum Own {
    Forged,
    Honest,
}

/// All of them. A feature in whose name others could speak adds its line here.
const CLAIMS: &[Claim] = &[
    // XEP-0359 §3 rule 2: ids are given by archives; `by` is required.
    Claim {
        ns: ns::STANZA_ID,
        name: "stanza-id",
        by: "by",
        nobody: Nobody::Forged,
        own: Own::Forged,
    },
    // XEP-0203 §5. Who sends late what was written earlier may say so in its own name (§2).
    Claim { ns: ns::DELAY, name: "delay", by: "from", nobody: Nobody::Sender, own: Own::Honest },
    // XEP-0091, which XEP-0203 took the place of and old clients still read.
    Claim { ns: ns::OLD_DELAY, name: "x", by: "from", nobody: Nobody::Sender, own: Own::Honest },
];

/// The stanza without payloads that claim to come from one of our domains, or from anybody there but
/// the sender where that is honest, in any spelling; `None` when there are none.
pub fn stripped(stanza: &Stanza, is_local: impl Fn(&str) -> bool) -> Option<Stanza> {
    // Most stanzas have none: a look at the index of the gate is all that they cost.
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
        // What is no address may still be taken for one of ours by somebody.
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

    /// A sender may say for itself that it is late (XEP-0203 §2), and gives no ids (XEP-0359 §3).
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
