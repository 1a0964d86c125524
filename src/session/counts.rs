//! What is counted of all sessions.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::base::figures::Figures;
use crate::base::tally::Tally;
use crate::modules::api::Via;
use crate::stanza::{Frame, Kind};
use crate::stream::sasl::ht::HtMechanism;
use crate::stream::sasl::{Mechanism, Refusal, SaslFailure};

/// Counts of all sessions since the start.
#[derive(Debug, Default)]
pub struct Counts {
    /// What happens for each stanza.
    often: Tally<{ OFTEN + Via::ALL.len() }>,
    /// By mechanism: how many got in, and how many did not.
    logins: [[AtomicU64; 2]; MECHANISMS],
    refusals: [AtomicU64; REASONS.len()],
    resumed: AtomicU64,
}

impl Counts {
    /// A stanza came from a client.
    pub(super) fn stanza_in(&self, kind: Kind) {
        self.often.add(of(kind), 1);
    }

    /// A stanza goes to a client.
    pub(super) fn stanza_out(&self, frame: &Frame) {
        let kind = match frame.head.get(1) {
            Some(b'm') => Kind::Message,
            Some(b'p') => Kind::Presence,
            _ => Kind::Iq,
        };
        self.often.add(STANZAS_OUT + of(kind), 1);
    }

    /// Bytes of a stream came.
    pub(super) fn bytes_in(&self, bytes: usize) {
        self.often.add(BYTES_IN, bytes as u64);
    }

    /// Bytes of a stream were written.
    pub(super) fn bytes_out(&self, bytes: u32) {
        if bytes > 0 {
            self.often.add(BYTES_OUT, bytes.into());
        }
    }

    /// A session has a connection now.
    pub(super) fn connected(&self, via: Via) {
        self.often.add(OFTEN + via as usize, 1);
    }

    /// It has it no longer.
    pub(super) fn disconnected(&self, via: Via) {
        self.often.subtract(OFTEN + via as usize, 1);
    }

    /// A session goes on with another connection.
    pub(super) fn resumed(&self) {
        self.resumed.fetch_add(1, Ordering::Relaxed);
    }

    /// A client was authenticated.
    pub(super) fn login(&self, mechanism: Option<&str>) {
        self.attempt(mechanism, 0);
    }

    /// An attempt failed.
    pub(super) fn refused(&self, mechanism: Option<&str>, refusal: Refusal) {
        self.attempt(mechanism, 1);
        let reason = reason(refusal);
        let at = REASONS.iter().position(|known| *known == reason);
        if let Some(count) = at.and_then(|at| self.refusals.get(at)) {
            count.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// One that this server does not know is not counted by name.
    fn attempt(&self, mechanism: Option<&str>, outcome: usize) {
        let at = mechanisms().position(|known| Some(known) == mechanism);
        let count = at.and_then(|at| self.logins.get(at)?.get(outcome));
        if let Some(count) = count {
            count.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Adds the figures of the sessions.
    pub(super) fn figures(&self, out: &mut Figures) {
        let vias = Via::ALL.map(|via| (via.as_str(), self.often.level(OFTEN + via as usize)));
        out.gauge("stonechat_sessions", "Bound sessions that have a connection, by how it came.")
            .by("transport", vias);
        let stanzas = out.counter(
            "stonechat_stanzas",
            "Stanzas between clients and their sessions: in is from the client, out to it.",
        );
        for (kind, name) in KINDS {
            let (came, went) = (of(kind), STANZAS_OUT + of(kind));
            for (direction, at) in [("in", came), ("out", went)] {
                stanzas.with([("kind", name), ("direction", direction)], self.often.sum(at));
            }
        }
        out.counter(
            "stonechat_bytes",
            "Bytes of XMPP between clients and the server, inside TLS and HTTP.",
        )
        .by(
            "direction",
            [("in", BYTES_IN), ("out", BYTES_OUT)].map(|(name, at)| (name, self.often.sum(at))),
        );
        let read = |count: &AtomicU64| count.load(Ordering::Relaxed);
        let logins = out.counter("stonechat_logins", "Logins by mechanism and outcome.");
        for (mechanism, [got_in, failed]) in mechanisms().zip(&self.logins) {
            for (outcome, count) in [("success", got_in), ("failure", failed)] {
                logins.with([("mechanism", mechanism), ("outcome", outcome)], read(count));
            }
        }
        out.counter(
            "stonechat_login_failures",
            "Logins that failed, by the reason: some clients try several mechanisms for one login.",
        )
        .by("reason", REASONS.into_iter().zip(self.refusals.iter().map(read)));
        out.counter("stonechat_resumptions", "Sessions that went on with another connection.")
            .is(read(&self.resumed));
    }
}

const fn of(kind: Kind) -> usize {
    match kind {
        Kind::Message => 0,
        Kind::Presence => 1,
        Kind::Iq => 2,
    }
}

/// All mechanisms of both kinds, by name.
fn mechanisms() -> impl Iterator<Item = &'static str> {
    let tokens = HtMechanism::ALL.into_iter().map(HtMechanism::as_str);
    Mechanism::ALL.into_iter().map(Mechanism::as_str).chain(tokens)
}

/// One of [`REASONS`].
const fn reason(refusal: Refusal) -> &'static str {
    match refusal {
        // security.md 15: whoever sees figures and tries names learns nothing.
        Refusal::WrongPassword
        | Refusal::NoAccount
        | Refusal::NoName
        | Refusal::NoPassword
        | Refusal::Failed(SaslFailure::NotAuthorized) => "not-authorized",
        Refusal::NoBinding(_) | Refusal::Downgrade | Refusal::WrongFlag | Refusal::OtherChannel => {
            "channel-binding"
        }
        Refusal::OtherName => "other-name",
        Refusal::Failed(failure) => match failure {
            SaslFailure::Aborted
            | SaslFailure::AccountDisabled
            | SaslFailure::CredentialsExpired
            | SaslFailure::TemporaryAuthFailure => failure.condition(),
            _ => "malformed",
        },
    }
}

/// Why logins fail: conditions of RFC 6120 §6.5, two of which are told more exactly, then all against the rules.
const REASONS: [&str; 8] = [
    "not-authorized",
    "channel-binding",
    "other-name",
    "aborted",
    "account-disabled",
    "credentials-expired",
    "temporary-auth-failure",
    "malformed",
];
const KINDS: [(Kind, &str); 3] =
    [(Kind::Message, "message"), (Kind::Presence, "presence"), (Kind::Iq, "iq")];
const MECHANISMS: usize = Mechanism::ALL.len() + HtMechanism::ALL.len();
/// Places in the tally: stanzas that came, stanzas that went, bytes, and then the connections.
const STANZAS_OUT: usize = 3;
const BYTES_IN: usize = 6;
const BYTES_OUT: usize = 7;
const OFTEN: usize = 8;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_refusal_has_a_reason_that_is_counted() {
        let counts = Counts::default();
        let mut refusals: Vec<Refusal> = SaslFailure::ALL.map(Refusal::Failed).to_vec();
        refusals.extend([
            Refusal::WrongPassword,
            Refusal::NoAccount,
            Refusal::NoName,
            Refusal::NoPassword,
            Refusal::NoBinding("x"),
            Refusal::Downgrade,
            Refusal::WrongFlag,
            Refusal::OtherChannel,
            Refusal::OtherName,
        ]);
        for refusal in &refusals {
            counts.refused(Some("PLAIN"), *refusal);
        }
        counts.refused(Some("NEVER-HEARD-OF"), Refusal::NoAccount);
        counts.login(Some("HT-SHA-256-NONE"));
        let read = |count: &AtomicU64| count.load(Ordering::Relaxed);
        let all: u64 = counts.refusals.iter().map(read).sum();
        assert_eq!(all, refusals.len() as u64 + 1);
        assert!(counts.refusals.iter().all(|count| read(count) > 0));
        let by_name: u64 = counts.logins.iter().flatten().map(read).sum();
        assert_eq!(by_name, all, "one mechanism is unknown, one login succeeded");
    }

    #[test]
    fn a_frame_is_counted_by_its_kind() {
        let counts = Counts::default();
        for text in ["<message/>", "<presence/>", "<presence/>", "<iq/>"] {
            counts.stanza_out(&Frame::whole(text.into()));
        }
        let sums = [0, 1, 2].map(|kind| counts.often.sum(STANZAS_OUT + kind));
        assert_eq!(sums, [1, 2, 1]);
    }
}
