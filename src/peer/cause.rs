//! Why there is no stream with another server: what senders, the log, the operator and the figures are told of it.

use std::fmt;

use super::dial::DialError;
use crate::stanza::StanzaError;
use crate::stream::error::StreamError;
use crate::stream::s2s::Failure;

/// Why there is no stream that we wanted.
#[derive(Debug, Clone)]
pub(super) enum Cause {
    /// The operator does not want one.
    Denied(StanzaError),
    /// No connection came about.
    Dial(DialError),
    /// One did, but no stream on it.
    Stream(Failure),
    /// Nothing came of it in time.
    Slow,
    /// There was nothing to try.
    Nothing,
}

impl Cause {
    /// RFC 6120 §8.3.3.16, §8.3.3.17: what the senders of what waits are told.
    pub(super) fn error(&self) -> StanzaError {
        match self {
            Self::Denied(error) => error.clone(),
            Self::Dial(DialError::NotFound(_)) | Self::Nothing => {
                StanzaError::remote_server_not_found()
            }
            Self::Dial(DialError::Timeout(_) | DialError::Failed(_)) | Self::Slow => {
                StanzaError::remote_server_timeout()
            }
            Self::Stream(failure) => failure.bounce(),
        }
    }

    /// For the figures: one of [`OUTCOMES`], by its place.
    pub(super) fn outcome(&self) -> usize {
        match self {
            Self::Denied(_) => 1,
            Self::Dial(DialError::NotFound(_)) | Self::Nothing => 2,
            Self::Dial(DialError::Timeout(_)) | Self::Slow => 3,
            Self::Dial(DialError::Failed(_)) => 4,
            Self::Stream(Failure::NoTls | Failure::Certificate(_)) => 5,
            Self::Stream(
                Failure::NoWay | Failure::External(_) | Failure::Invalid | Failure::Dialback(_),
            ) => 6,
            Self::Stream(_) => 7,
        }
    }

    /// What to do about it.
    pub(super) fn advice(&self) -> &'static str {
        match self {
            Self::Denied(_) => DENIED,
            Self::Dial(DialError::NotFound(_)) | Self::Nothing => {
                "look at how the domain is written; if it is right, those who run it have to publish \
                 _xmpp-server._tcp or address records for it, or s2s.routes says here where it is"
            }
            Self::Dial(DialError::Timeout(_)) | Self::Slow => {
                "see whether this machine may connect to the outside (a firewall that drops port 5269 looks like \
                 this); if other servers are reached, theirs is down: `stonechat s2s retry` tries it at once"
            }
            Self::Dial(DialError::Failed(_)) => {
                "nothing listens there, or TLS fails at its first step: tell those who run it; `stonechat s2s \
                 retry` tries it at once"
            }
            Self::Stream(failure) => of_stream(failure),
        }
    }
}

fn of_stream(failure: &Failure) -> &'static str {
    match failure {
        Failure::NoTls => {
            "nothing is ever sent without encryption: those who run it have to offer TLS"
        }
        Failure::Certificate(_) => CERTIFICATE,
        Failure::NoWay | Failure::External(_) => {
            "it does not believe our certificate: have one of a public authority that has our domain among its \
             names (`stonechat check` looks at it)"
        }
        Failure::Invalid => {
            "it asked another server than this one about us: the _xmpp-server._tcp records of our domain have to \
             lead here (`stonechat check` looks at them)"
        }
        Failure::Dialback(_) => {
            "it could not ask us back: our records have to lead here, and our port has to be open from outside \
             (`stonechat check` looks at the records)"
        }
        Failure::Peer(failure) => match failure.error {
            StreamError::HostUnknown | StreamError::HostGone => {
                "its records lead to a server that does not serve it: tell those who run it"
            }
            StreamError::PolicyViolation | StreamError::NotAuthorized => {
                "it does not want to talk to us: ask those who run it"
            }
            _ => "ask those who run it what their log says at this time",
        },
        Failure::Elsewhere(_) => "its records have to lead to where it is: tell those who run it",
        Failure::Broken(_) | Failure::Closed => {
            "ask those who run it what their log says at this time"
        }
    }
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Denied(_) => f.write_str("this server does not talk to it"),
            Self::Dial(error) => error.fmt(f),
            Self::Stream(failure) => failure.fmt(f),
            Self::Slow => f.write_str("nothing came of it in time"),
            Self::Nothing => f.write_str("no server of it could be found"),
        }
    }
}

/// What to do about a server that we refused: the reason is in the words of the state machine.
pub(super) fn of_refused(why: &str, admitted: bool) -> (usize, &'static str) {
    match (admitted, why) {
        (false, _) => (0, DENIED),
        (true, why) if why.contains("certificate") => (1, CERTIFICATE),
        (true, why) if why.contains("authoritative") || why.contains("key") => (
            2,
            "the server at the domain's address did not vouch for it: somebody else may pretend to be it",
        ),
        (true, _) => (3, ""),
    }
}

/// How attempts end.
pub(super) const OUTCOMES: [&str; 8] =
    ["connected", "denied", "not-found", "timeout", "failed", "tls", "authentication", "stream"];
/// Why others are refused.
pub(super) const REASONS: [&str; 4] = ["denied", "certificate", "dialback", "other"];

const DENIED: &str = "`stonechat s2s rules` says which rule keeps it out; `stonechat s2s allow` or s2s.allow and \
    s2s.deny in the configuration let it in";
const CERTIFICATE: &str = "those who run it have to have a valid certificate for the domain; if its authority is a \
    private one, name that in s2s.trust; s2s.dialback_domains makes do with dialback";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_cause_has_an_outcome_and_says_what_to_do() {
        let text = || "x".to_owned();
        for (cause, outcome, word) in [
            (Cause::Denied(StanzaError::not_allowed()), "denied", "rules"),
            (Cause::Dial(DialError::NotFound(text())), "not-found", "records"),
            (Cause::Dial(DialError::Timeout(text())), "timeout", "firewall"),
            (Cause::Dial(DialError::Failed(text())), "failed", "listens"),
            (Cause::Stream(Failure::NoTls), "tls", "TLS"),
            (Cause::Stream(Failure::Certificate(text())), "tls", "s2s.trust"),
            (Cause::Stream(Failure::Invalid), "authentication", "records"),
            (Cause::Stream(Failure::Peer(StreamError::HostUnknown.into())), "stream", "serve"),
            (Cause::Stream(Failure::Closed), "stream", "log"),
            (Cause::Slow, "timeout", "retry"),
            (Cause::Nothing, "not-found", "_xmpp-server"),
        ] {
            assert_eq!(OUTCOMES[cause.outcome()], outcome, "{cause}");
            assert!(cause.advice().contains(word), "{cause}: {}", cause.advice());
        }
    }

    #[test]
    fn refusals_are_told_apart() {
        for (why, admitted, reason) in [
            ("this server does not talk to that domain", false, "denied"),
            ("the certificate has expired", true, "certificate"),
            ("its authoritative server could not be asked (x)", true, "dialback"),
            ("too many domains on one stream", true, "other"),
        ] {
            assert_eq!(REASONS[of_refused(why, admitted).0], reason, "{why}");
        }
    }
}
