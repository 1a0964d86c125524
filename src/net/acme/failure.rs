//! Why there is no certificate, for people: what, for which name, what the authority says, what to do.

use std::fmt;
use std::time::SystemTime;

use instant_acme::{Error, Identifier, Problem};

use super::settings::Challenge;

/// One failed order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// What failed.
    pub what: String,
    /// What to do about it.
    pub fix: String,
    /// The names that the authority refused, if it was for them.
    pub names: Vec<String>,
    /// The authority wants to be left alone until then.
    pub not_before: Option<SystemTime>,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.fix.is_empty() {
            true => f.write_str(&self.what),
            false => write!(f, "{}; {}", self.what, self.fix),
        }
    }
}

impl Failure {
    /// One whose text has both the fault and the remedy.
    pub(super) fn here(what: String) -> Self {
        Self { what, fix: String::new(), names: Vec::new(), not_before: None }
    }

    /// One that is not about a name.
    pub(super) fn of(what: impl Into<String>, fix: &str) -> Self {
        Self { fix: fix.to_owned(), ..Self::here(what.into()) }
    }

    /// What an authority, or the way to it, did not do.
    pub(super) fn said(doing: &str, error: &Error, challenge: Challenge) -> Self {
        match error {
            Error::Api(problem) => Self::problem(doing, problem, challenge),
            Error::Timeout(_) => Self::of(
                format!("the authority did not get done in time ({doing})"),
                "it is tried again by itself; if that lasts, look at the authority's status page",
            ),
            Error::Json(error) => Self::of(
                format!("the authority's answer cannot be read ({doing}): {error}"),
                DIRECTORY,
            ),
            // The client's own, which say all.
            Error::Other(error) => {
                Self::of(format!("{} ({doing})", clean(&error.to_string())), DIRECTORY)
            }
            error => Self::of(format!("{} ({doing})", clean(&error.to_string())), DIRECTORY),
        }
    }

    fn problem(doing: &str, problem: &Problem, challenge: Challenge) -> Self {
        let about = |one: &instant_acme::Subproblem| one.identifier.as_ref().and_then(name);
        let names: Vec<String> = problem.subproblems.iter().filter_map(about).collect();
        let mut what = format!("the authority refuses ({doing}): {}", detail(problem));
        for one in problem.subproblems.iter().take(SHOWN_MAX) {
            let (name, said) = (about(one).unwrap_or_default(), one.detail.as_deref());
            what += &format!("; {name}: {}", clean(said.unwrap_or("no reason given")));
        }
        let first = problem.subproblems.first().and_then(|one| one.r#type.as_deref());
        let kind = first.or(problem.r#type.as_deref()).unwrap_or_default();
        Self { what, fix: advice(kind, challenge).to_owned(), names, not_before: None }
    }

    /// Names that were not proved, with what the authority says of each.
    pub(super) fn unproved(refused: Vec<(String, Option<Problem>)>, challenge: Challenge) -> Self {
        let told = refused.iter().take(SHOWN_MAX).map(|(name, problem)| {
            let why = problem.as_ref().map_or_else(|| "no reason given".to_owned(), detail);
            format!("{name}: {why}")
        });
        let what = format!(
            "the authority could not see by {} that these names are ours: {}",
            challenge.as_str(),
            told.collect::<Vec<_>>().join("; ")
        );
        let first = refused.iter().find_map(|(_, problem)| problem.as_ref()?.r#type.as_deref());
        let fix = advice(first.unwrap_or_default(), challenge).to_owned();
        Self {
            what,
            fix,
            names: refused.into_iter().map(|(name, _)| name).collect(),
            not_before: None,
        }
    }
}

/// What a problem document says (RFC 9457), and its type.
fn detail(problem: &Problem) -> String {
    let said = clean(problem.detail.as_deref().unwrap_or("no reason given"));
    let kind = problem.r#type.as_deref().map(|kind| kind.rsplit(':').next().unwrap_or(kind));
    match kind {
        Some(kind) => format!("{said} ({})", clean(kind)),
        None => said,
    }
}

/// An identifier as it stands in a certificate.
pub(super) fn name(identifier: &Identifier) -> Option<String> {
    match identifier {
        Identifier::Dns(name) => Some(clean(name)),
        Identifier::Ip(address) => Some(address.to_string()),
        _ => None,
    }
}

/// What a stranger says, on one line of bounded length.
pub(super) fn clean(text: &str) -> String {
    let plain = text.chars().map(|c| if c.is_control() { ' ' } else { c });
    let mut short: String = plain.take(TEXT_MAX).collect();
    if text.chars().nth(TEXT_MAX).is_some() {
        short.push('…');
    }
    short
}

/// What to do about the errors of RFC 8555 §6.7.
fn advice(kind: &str, challenge: Challenge) -> &'static str {
    match (kind.rsplit(':').next().unwrap_or_default(), challenge) {
        ("dns", Challenge::Http01 | Challenge::TlsAlpn01) => {
            "give each of these names an A or AAAA record that leads here, or leave services out \
             (acme.services = false)"
        }
        ("connection" | "tls", Challenge::Http01) => {
            "port 80 of these names must lead to acme.listen of this server, from everywhere: look at the DNS, \
             the firewall and the router"
        }
        ("connection" | "tls", Challenge::TlsAlpn01) => {
            "port 443 of these names must lead to a TLS port of this server (web.listen), from everywhere, and \
             nothing before it may end TLS: look at the DNS, the firewall and the router"
        }
        ("unauthorized" | "incorrectResponse", Challenge::Http01) => {
            "something else answers on port 80 of these names: have it pass /.well-known/acme-challenge/ on to \
             acme.listen, or look at the DNS"
        }
        ("unauthorized" | "incorrectResponse", Challenge::TlsAlpn01) => {
            "something else answers on port 443 of these names: have it pass connections on as they are, or look \
             at the DNS"
        }
        ("unauthorized" | "incorrectResponse" | "dns", Challenge::Dns01) => {
            "look whether acme.dns_command sets the record, and set acme.dns_wait_secs higher if it takes longer \
             until all see it"
        }
        ("rateLimited", _) => {
            "the authority takes no more for now; it is tried again by itself, later (acme.directory may name \
             another one)"
        }
        ("caa", _) => {
            "a CAA record in the DNS forbids it to this authority: add the authority to it"
        }
        ("rejectedIdentifier" | "unsupportedIdentifier", _) => {
            "this authority signs no such name: give that host a certificate of its own (host.certificate), or \
             leave the name out"
        }
        ("externalAccountRequired", _) => {
            "this authority takes only accounts that were made on its site, which is not supported: name another \
             one in acme.directory"
        }
        ("invalidContact" | "unsupportedContact", _) => "correct acme.email, or leave it out",
        ("badNonce" | "serverInternal", _) => {
            "the fault is the authority's; it is tried again by itself"
        }
        _ => DIRECTORY,
    }
}

const DIRECTORY: &str = "it is tried again by itself; if that lasts, look whether acme.directory and acme.authority are right";
/// Of what a stranger says.
const TEXT_MAX: usize = 400;
/// Names that are told one by one.
const SHOWN_MAX: usize = 10;

#[cfg(test)]
mod tests {
    use super::*;

    fn problem(kind: &str, detail: &str) -> Problem {
        let text = format!(r#"{{"type":"urn:ietf:params:acme:error:{kind}","detail":"{detail}"}}"#);
        serde_json::from_str(&text).unwrap()
    }

    #[test]
    fn what_the_authority_says_is_told_with_what_to_do() {
        for (kind, challenge, advice) in [
            ("connection", Challenge::Http01, "port 80"),
            ("connection", Challenge::TlsAlpn01, "port 443"),
            ("dns", Challenge::Http01, "AAAA record"),
            ("unauthorized", Challenge::Dns01, "acme.dns_command"),
            ("rateLimited", Challenge::Http01, "later"),
            ("caa", Challenge::Http01, "CAA"),
            ("somethingNew", Challenge::Http01, "acme.directory"),
        ] {
            let error = Error::Api(problem(kind, "the reason"));
            let told = Failure::said("a new order", &error, challenge).to_string();
            assert!(told.contains("the reason") && told.contains(kind), "{told}");
            assert!(told.contains(advice), "{told}");
            let refused = vec![("a.example".to_owned(), Some(problem(kind, "the reason")))];
            let told = Failure::unproved(refused, challenge).to_string();
            assert!(told.contains("a.example: the reason") && told.contains(advice), "{told}");
        }
    }

    #[test]
    fn what_a_stranger_says_stays_on_one_line() {
        let long = format!("a\nb\u{1b}[31m{}", "x".repeat(10_000));
        let told = clean(&long);
        assert!(!told.contains('\n') && !told.contains('\u{1b}') && told.len() < 1_000);
    }

    #[test]
    fn the_names_that_were_refused_are_known() {
        let text = r#"{"type":"urn:ietf:params:acme:error:compound","detail":"some","subproblems":[
            {"type":"urn:ietf:params:acme:error:rejectedIdentifier","detail":"no",
             "identifier":{"type":"dns","value":"b.example"}}]}"#;
        let error = Error::Api(serde_json::from_str(text).unwrap());
        let failure = Failure::said("a new order", &error, Challenge::Http01);
        assert_eq!(failure.names, ["b.example"]);
        assert!(failure.fix.contains("signs no such name"), "{failure}");
    }
}
