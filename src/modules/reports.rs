//! XEP-0377: Blocking Command Reports: who blocks somebody may say why, to the operator of the server, who reads
//! it with `stonechat reports`. Nothing is passed on to anybody else.
//!
//! A report never changes what a block does (§6): one that cannot be understood is not kept, and that is all.

use std::time::Duration;

use super::api::{Cause, Cx, Module, On, PeriodicJob, Spec, Write};
use crate::base::time::micros;
use crate::jid::Jid;
use crate::store::reports::{self, Consent, NewReport};
use crate::store::tx::Tx;
use crate::xml::ns;
use crate::xml::view::Node;

/// The module.
pub const MODULE: Module = Module {
    name: "reports",
    shown: Some(|config| config.reports.per_account > 0),
    specs: &[Spec::whole("XEP-0377", "0.4.1", "features/reports.rs")],
    features: &[On::Server(NS)],
    blocks: Some(blocked),
    weights: &[reports::WEIGHT],
    every: Some((Duration::from_secs(3_600), |job| Box::pin(forget(job)))),
    ..Module::EMPTY
};

/// §3
const NS: &str = "urn:xmpp:reporting:1";

/// `[modules.reports]`
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Reports of one account that are kept: the newest. 0: none, and clients are not told of it.
    pub per_account: usize,
    /// Days after which a report is deleted.
    pub keep_days: u32,
}

impl Default for Config {
    fn default() -> Self {
        Self { per_account: 100, keep_days: 90 }
    }
}

/// §6: written with the block.
fn blocked(cx: &Cx, jid: &Jid, item: Node<'_>) -> Option<Write> {
    let most = cx.config.reports.per_account;
    let account = cx.account().ok().filter(|_| most > 0)?;
    let at = micros(cx.now);
    let report = match item.child(NS, "report") {
        Some(report) => read(report, jid, at)?,
        None => read_old(item.child(OLD, "report")?, jid, at)?,
    };
    Some(Box::new(move |tx: &mut dyn Tx| reports::put(tx, account, &report, most)))
}

/// COMPAT(Gajim with nbxmpp up to 7.4): the form of XEP-0377 0.2, where the reason is an element.
fn read_old(report: Node<'_>, jid: &Jid, at: i64) -> Option<NewReport> {
    let names = report.children().filter(|child| child.ns() == OLD).map(Node::name);
    let reason = names.filter_map(|name| match name {
        "spam" => Some("urn:xmpp:reporting:spam"),
        "abuse" => Some("urn:xmpp:reporting:abuse"),
        _ => None,
    });
    let said = line(report.child_text(OLD, "text").unwrap_or_default());
    let consent = Consent { origin: false, others: false };
    let (jid, reason) = (jid.as_str().to_owned(), reason.min()?.to_owned());
    Some(NewReport { at, jid, reason, said, consent, messages: Vec::new() })
}

/// The namespace that this form had.
const OLD: &str = "urn:xmpp:reporting:0";

/// None without a reason, which it must have (§4).
fn read(report: Node<'_>, jid: &Jid, at: i64) -> Option<NewReport> {
    let reason = report.attr("reason").filter(|reason| REASONS.contains(reason))?;
    let ids = report.children().filter(|child| child.is(ns::STANZA_ID, "stanza-id"));
    let messages = ids.filter_map(|id| {
        let (by, id) = (Jid::parse(id.attr("by")?).ok()?, id.attr("id")?);
        let fits = by.as_str().len() <= ID_BYTES_MAX && id.len() <= ID_BYTES_MAX && is_plain(id);
        fits.then(|| (by.as_str().to_owned(), id.to_owned()))
    });
    let text = report.child_text(NS, "text").unwrap_or_default();
    Some(NewReport {
        at,
        jid: jid.as_str().to_owned(),
        reason: reason.to_owned(),
        said: line(text),
        consent: Consent {
            origin: report.child(NS, "report-origin").is_some(),
            others: report.child(NS, "third-party").is_some(),
        },
        messages: messages.take(MESSAGES_MAX).collect(),
    })
}

/// On one line, as it is shown among others; nothing in it can garble them.
fn line(text: &str) -> String {
    let words = text.split(|c: char| c.is_control() || c.is_whitespace());
    let line = words.filter(|word| !word.is_empty()).collect::<Vec<_>>().join(" ");
    line.chars().filter(|c| !turns(*c)).take(TEXT_CHARS_MAX).collect()
}

/// Whether an id is one that an archive may have made: the operator reads it on a line, which it cannot break,
/// nor go on with words of its own.
fn is_plain(id: &str) -> bool {
    !id.is_empty() && !id.chars().any(|c| c.is_control() || c.is_whitespace() || turns(c))
}

/// Changes the direction of what follows it.
const fn turns(c: char) -> bool {
    matches!(c, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

async fn forget(job: PeriodicJob) {
    if job.cause != Cause::Due {
        return;
    }
    let days = i64::from(job.config.reports.keep_days);
    let before = micros(job.now).saturating_sub(days * DAY);
    loop {
        match job.store.write(move |tx| reports::forget_before(tx, before, BATCH)).await {
            Ok(BATCH..) => {}
            Ok(_) => return,
            Err(error) => {
                return tracing::warn!(%error, "old reports could not be deleted; tried again later");
            }
        }
    }
}

/// §4
const REASONS: &[&str] = &["urn:xmpp:reporting:spam", "urn:xmpp:reporting:abuse"];
/// Messages of one report.
const MESSAGES_MAX: usize = 50;
/// Bytes of the two parts of a stanza id: an address, and what the archive made up.
const ID_BYTES_MAX: usize = 1_024;
/// Characters of what a reporter says.
const TEXT_CHARS_MAX: usize = 1_000;
/// A day in microseconds.
const DAY: i64 = 86_400_000_000;
/// Reports that are deleted in one transaction.
const BATCH: usize = 500;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::xml::view::Doc;

    fn report(attrs: &str, inside: &str) -> Option<NewReport> {
        let xml = format!("<report xmlns='{NS}' {attrs}>{inside}</report>");
        let doc = Doc::of(xml.as_bytes(), ns::CLIENT).unwrap();
        read(doc.root(), &Jid::parse("spam@y").unwrap(), 7)
    }

    const SPAM: &str = "reason='urn:xmpp:reporting:spam'";

    #[test]
    fn a_report_needs_a_reason_that_is_known() {
        for attrs in ["", "reason=''", "reason='spam'", "reason='urn:xmpp:reporting:1'"] {
            assert_eq!(report(attrs, ""), None, "{attrs}");
        }
        let plain = report(SPAM, "").unwrap();
        assert_eq!((plain.at, plain.jid.as_str(), plain.said.as_str()), (7, "spam@y", ""));
        assert_eq!((plain.consent, plain.messages), (Consent::default(), Vec::new()));
        assert!(report("reason='urn:xmpp:reporting:abuse'", "").is_some());
        let full = report(
            SPAM,
            "<stanza-id xmlns='urn:xmpp:sid:0' by='a@x' id='1'/>\
             <text xml:lang='en'>Never\n came  trouble</text><report-origin/><third-party/>",
        );
        let full = full.unwrap();
        assert_eq!(full.messages, [("a@x".to_owned(), "1".to_owned())]);
        assert_eq!(full.said, "Never came trouble");
        assert_eq!(full.consent, Consent { origin: true, others: true });
    }

    #[test]
    fn all_of_it_is_bounded() {
        let id = |id: &str| format!("<stanza-id xmlns='urn:xmpp:sid:0' by='a@x' id='{id}'/>");
        let many: String = (0..MESSAGES_MAX + 9).map(|n| id(&n.to_string())).collect();
        let long = format!("<text>{}</text>", "\u{202e}x".repeat(TEXT_CHARS_MAX + 9));
        let found = report(SPAM, &format!("{many}{long}")).unwrap();
        assert_eq!(found.messages.len(), MESSAGES_MAX);
        assert_eq!(found.said, "x".repeat(TEXT_CHARS_MAX));
        for bad in ["", &*"x".repeat(ID_BYTES_MAX + 1)] {
            assert!(report(SPAM, &id(bad)).unwrap().messages.is_empty());
        }
    }

    /// What is shown in a list of the operator's cannot be taken for another line of it, or command a terminal.
    #[test]
    fn ids_cannot_garble_a_list() {
        let of = |by: &str, id: &str| {
            let id = format!("<stanza-id xmlns='urn:xmpp:sid:0' by='{by}' id='{id}'/>");
            report(SPAM, &id).unwrap().messages
        };
        assert_eq!(of("A@X", "28482-98726"), [("a@x".to_owned(), "28482-98726".to_owned())]);
        for id in [
            "1&#10;7",
            "1&#13;",
            "1 in the archive of boss@x",
            "\u{9b}2J",
            "1\u{202e}2",
            "\u{2028}",
        ] {
            assert!(of("a@x", id).is_empty(), "{id:?}");
        }
        for by in ["a@x&#10;7  spam", "a b@x", "@", ""] {
            assert!(of(by, "1").is_empty(), "{by:?}");
        }
    }
}
