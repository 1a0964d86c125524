//! Authentication of clients (RFC 6120 §6) without I/O: one [`Exchange`] is one attempt.
//!
//! The caller passes in what the client sent and does what each [`Step`] asks for: send a challenge, look
//! up keys, run the expensive part elsewhere, or end the attempt. Every input ends in one of these. An
//! unknown user gets exactly the answers of a known one with a wrong password.

pub mod failure;
mod hash;
pub mod ht;
pub mod keys;
pub mod offer;
pub mod payload;
mod plain;
mod scram;
pub mod throttle;
pub mod upgrade;

pub use failure::{Refusal, SaslFailure};
pub use offer::{ChannelBindings, Mechanism, Offer, channel_binding_types};
pub use payload::{decode_payload, encode_challenge, encode_success};
pub use plain::{Work, WorkDone};

use sasl::server::{MechanismError, Response};

use crate::base::credential::{HashName, ScramKeys};
use crate::base::hash::base64;
use crate::base::id::Rng;
use crate::base::limits::SASL_BYTES_MAX;
use crate::jid::{BareJid, prep};
use plain::PlainMessage;
use scram::{ClientFirst, Gs2Flag};

/// The next step. No `Debug`: [`Work`] holds a password.
pub enum Step {
    /// Send it and pass the answer to [`Exchange::respond`].
    Challenge(Vec<u8>),
    /// Look up the account's keys for this hash and pass them to [`Exchange::keys`].
    NeedKeys {
        /// The localpart in normal form.
        localpart: String,
        /// The hash; keys of another one do not help.
        hash: HashName,
    },
    /// Look up any keys of the account and pass them to [`Exchange::keys`].
    NeedAnyKeys {
        /// The localpart in normal form.
        localpart: String,
        /// The hash to choose if there are several. Unknown users are checked against it, so that both take
        /// equally long.
        prefer: HashName,
    },
    /// Look up the tokens of this user and of the device that the client claims to be, compare the message
    /// with them, and pass the outcome to [`Exchange::checked`].
    NeedTokens(Box<ht::Ht>),
    /// Run it outside the network threads and pass the result to [`Exchange::worked`].
    Work(Work),
    /// The client has proved its identity. If its account is disabled, this is the moment to answer
    /// `account-disabled` instead: only a client with the password may learn that.
    Success {
        /// The identity that the stream belongs to from now on.
        who: Identity,
        /// Additional data with success.
        data: Option<Vec<u8>>,
    },
    /// The attempt is over.
    Failure(Refusal),
}

impl Step {
    fn refused(failure: SaslFailure) -> Self {
        Self::Failure(failure.into())
    }
}

/// The identity that a client has proved. The authorization identity is always the same.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Identity {
    /// An account of the domain.
    Account {
        /// The localpart in normal form.
        localpart: String,
    },
    /// Not an account; make a localpart for it (XEP-0175 §3).
    Anonymous,
}

/// One attempt, from `<auth/>` to `<success/>` or `<failure/>`. A second `<auth/>` drops this one and
/// begins another (RFC 6120 §6.4.2); `<abort/>` drops it, too.
pub struct Exchange {
    context: Context,
    state: State,
}

/// The values that stay the same during an attempt.
struct Context {
    offer: Offer,
    domain: String,
    server_nonce: String,
    secret: [u8; 32],
    iterations: u32,
}

enum State {
    /// The client sent no initial response and was asked for it.
    Asked(Mechanism),
    /// SCRAM waits for keys, with the client-first-message and the channel binding data.
    ScramKeys {
        localpart: String,
        hash: HashName,
        first: Vec<u8>,
        binding: Vec<u8>,
    },
    /// SCRAM waits for the client-final-message.
    ScramFinal {
        localpart: String,
        /// Whether the keys belong to an account.
        known: bool,
        scram: Box<dyn sasl::server::Mechanism + Send>,
    },
    /// PLAIN waits for keys.
    PlainKeys {
        localpart: String,
        password: String,
    },
    /// PLAIN waits for its comparison.
    PlainWork {
        localpart: String,
    },
    /// The message is being compared with tokens.
    Token {
        localpart: String,
    },
    Over,
}

impl Exchange {
    /// Begins an attempt. `domain` is the stream's, in normal form; `initial` is the decoded initial
    /// response; `secret` makes the salts of accounts that do not exist and must survive restarts;
    /// `iterations` is the number that new accounts get.
    pub fn start(
        offer: &Offer,
        domain: &str,
        mechanism: &str,
        initial: Option<&[u8]>,
        rng: &mut dyn Rng,
        secret: &[u8; 32],
        iterations: u32,
    ) -> (Self, Step) {
        let mut nonce = [0; 18];
        rng.fill(&mut nonce);
        let context = Context {
            offer: offer.clone(),
            domain: domain.to_owned(),
            server_nonce: base64(&nonce),
            secret: *secret,
            iterations,
        };
        let mut exchange = Self { context, state: State::Over };
        let offered = Mechanism::parse(mechanism).filter(|m| offer.mechanisms.contains(m));
        let step = match (offered, initial) {
            (None, _) => Step::refused(SaslFailure::InvalidMechanism),
            (Some(mechanism), Some(initial)) => exchange.first(mechanism, initial),
            // XEP-0175 §4 shows ANONYMOUS without a challenge for the trace data.
            (Some(Mechanism::Anonymous), None) => exchange.first(Mechanism::Anonymous, b""),
            (Some(mechanism), None) => {
                exchange.state = State::Asked(mechanism);
                Step::Challenge(Vec::new())
            }
        };
        (exchange, step)
    }

    /// Begins an attempt by token (XEP-0484), whose one message is already read.
    pub fn by_token(offer: &Offer, domain: &str, message: ht::Ht) -> (Self, Step) {
        let context = Context {
            offer: offer.clone(),
            domain: domain.to_owned(),
            server_nonce: String::new(),
            secret: [0; 32],
            iterations: 0,
        };
        let state = State::Token { localpart: message.localpart().to_owned() };
        (Self { context, state }, Step::NeedTokens(Box::new(message)))
    }

    /// Takes the result of [`ht::Ht::check`]: the additional data with success.
    pub fn checked(&mut self, outcome: Result<Vec<u8>, SaslFailure>) -> Step {
        match (std::mem::replace(&mut self.state, State::Over), outcome) {
            (State::Token { localpart }, Ok(data)) => {
                Step::Success { who: Identity::Account { localpart }, data: Some(data) }
            }
            (State::Token { .. }, Err(failure)) => Step::refused(failure),
            _ => Step::refused(SaslFailure::TemporaryAuthFailure),
        }
    }

    /// Takes the decoded payload of a `<response/>`; no payload counts as an empty one.
    pub fn respond(&mut self, payload: &[u8]) -> Step {
        match std::mem::replace(&mut self.state, State::Over) {
            State::Asked(mechanism) => self.first(mechanism, payload),
            State::ScramFinal { localpart, known, scram } => {
                scram_final(localpart, known, scram, payload)
            }
            // A client that responds out of turn has lost its attempt.
            _ => Step::refused(SaslFailure::MalformedRequest),
        }
    }

    /// Takes the keys from the store; `None` for an account that does not exist or lacks such keys.
    /// Disabled accounts' keys are passed, too: see [`Step::Success`]. The keys must be the answer to this
    /// attempt's question, never to that of an attempt that it replaced: a client that proves these keys is
    /// taken for the account that this attempt asked for.
    pub fn keys(&mut self, keys: Option<ScramKeys>) -> Step {
        match std::mem::replace(&mut self.state, State::Over) {
            State::ScramKeys { localpart, hash, first, binding } => {
                let keys = keys.filter(|keys| keys.hash == hash);
                let known = keys.is_some();
                let keys = keys.unwrap_or_else(|| self.fake_keys(&localpart, hash));
                self.scram_challenge(localpart, &first, binding, keys, known)
            }
            State::PlainKeys { localpart, password } => {
                let known = keys.is_some();
                let keys = keys.unwrap_or_else(|| self.fake_keys(&localpart, PLAIN_HASH));
                self.state = State::PlainWork { localpart: localpart.clone() };
                Step::Work(Work { password, keys, known, localpart })
            }
            _ => Step::refused(SaslFailure::TemporaryAuthFailure),
        }
    }

    /// Takes the result of [`Work::run`].
    pub fn worked(&mut self, done: WorkDone) -> Step {
        match std::mem::replace(&mut self.state, State::Over) {
            State::PlainWork { localpart } if done.matches && done.localpart == localpart => {
                Step::Success { who: Identity::Account { localpart }, data: None }
            }
            State::PlainWork { .. } if done.known => Step::Failure(Refusal::WrongPassword),
            State::PlainWork { .. } => Step::Failure(Refusal::NoAccount),
            _ => Step::refused(SaslFailure::TemporaryAuthFailure),
        }
    }

    fn fake_keys(&self, localpart: &str, hash: HashName) -> ScramKeys {
        keys::fake(localpart, hash, self.context.iterations, &self.context.secret)
    }

    /// Handles the client's first message, whether it came with `<auth/>` or was requested.
    fn first(&mut self, mechanism: Mechanism, payload: &[u8]) -> Step {
        if payload.len() > SASL_BYTES_MAX {
            return Step::refused(SaslFailure::MalformedRequest);
        }
        let step = match mechanism.hash() {
            Some(hash) => self.scram_first(mechanism, hash, payload),
            None if mechanism == Mechanism::Plain => self.plain(payload),
            None => anonymous(payload),
        };
        step.unwrap_or_else(Step::Failure)
    }

    fn scram_first(
        &mut self,
        mechanism: Mechanism,
        hash: HashName,
        payload: &[u8],
    ) -> Result<Step, Refusal> {
        let first = std::str::from_utf8(payload).ok().and_then(ClientFirst::parse);
        let first = first.ok_or(SaslFailure::MalformedRequest)?;
        let offer = &self.context.offer;
        let binding = match (first.flag, mechanism.is_plus()) {
            // RFC 5802 §6: a type of channel binding that the server does not have.
            (Gs2Flag::Bound(name), true) => {
                offer.bindings.get(name).ok_or_else(|| no_binding(name))?.to_vec()
            }
            // RFC 5802 §6: the -PLUS names were removed from the offer on its way to the client.
            (Gs2Flag::NotOffered, false) if offer.binds() => return Err(Refusal::Downgrade),
            (Gs2Flag::NotOffered | Gs2Flag::Unsupported, false) => Vec::new(),
            // RFC 5801 §5: `p` belongs to the -PLUS name, and the -PLUS name requires `p`.
            (Gs2Flag::Bound(_), false) | (_, true) => return Err(Refusal::WrongFlag),
        };
        let localpart = self.identity(&first.username, first.authzid.as_deref())?;
        self.state = State::ScramKeys {
            localpart: localpart.clone(),
            hash,
            first: payload.to_vec(),
            binding,
        };
        Ok(Step::NeedKeys { localpart, hash })
    }

    fn scram_challenge(
        &mut self,
        localpart: String,
        first: &[u8],
        binding: Vec<u8>,
        keys: ScramKeys,
        known: bool,
    ) -> Step {
        let protected = hash::digest(keys.hash, self.context.offer.protected_text().as_bytes());
        let mut scram = scram::mechanism(scram::Setup {
            keys,
            known,
            binding,
            server_nonce: self.context.server_nonce.clone(),
            downgrade_hash: Some(base64(&protected)),
        });
        match scram.respond(first) {
            Ok(Response::Proceed(challenge)) => {
                self.state = State::ScramFinal { localpart, known, scram };
                Step::Challenge(challenge)
            }
            Ok(Response::Success(..)) => Step::refused(SaslFailure::TemporaryAuthFailure),
            Err(error) => Step::Failure(refusal_of(&error, known)),
        }
    }

    fn plain(&mut self, payload: &[u8]) -> Result<Step, Refusal> {
        let message = PlainMessage::parse(payload).ok_or(SaslFailure::MalformedRequest)?;
        let localpart = self.identity(message.authcid, message.authzid)?;
        // RFC 4616 §2: verification fails if preparation does.
        let password = message.password().ok_or(Refusal::NoPassword)?;
        self.state = State::PlainKeys { localpart: localpart.clone(), password };
        Ok(Step::NeedAnyKeys { localpart, prefer: PLAIN_HASH })
    }

    /// Returns the account's localpart. RFC 5802 and RFC 4616 prepare user names with SASLprep, but an
    /// account is a localpart (RFC 6120 §6.3.7), so the rules of localparts apply (RFC 7622 §3.3).
    fn identity(&self, username: &str, authzid: Option<&str>) -> Result<String, Refusal> {
        let localpart = prep::localpart(username).map_err(|_| Refusal::NoName)?;
        // RFC 6120 §6.3.8: the client's own bare JID. COMPAT(many): or the localpart alone.
        let own = match authzid {
            None => true,
            Some(authzid) if authzid.contains('@') => BareJid::parse(authzid).is_ok_and(|jid| {
                jid.local() == Some(&*localpart) && jid.domain() == self.context.domain
            }),
            Some(authzid) => prep::localpart(authzid).is_ok_and(|authzid| authzid == localpart),
        };
        if own { Ok(localpart.into_owned()) } else { Err(SaslFailure::InvalidAuthzid.into()) }
    }
}

fn scram_final(
    localpart: String,
    known: bool,
    mut scram: Box<dyn sasl::server::Mechanism + Send>,
    payload: &[u8],
) -> Step {
    if payload.len() > SASL_BYTES_MAX {
        return Step::refused(SaslFailure::MalformedRequest);
    }
    match scram.respond(payload) {
        Ok(Response::Success(_, data)) => {
            Step::Success { who: Identity::Account { localpart }, data: Some(data) }
        }
        Ok(Response::Proceed(_)) => Step::refused(SaslFailure::TemporaryAuthFailure),
        Err(error) => Step::Failure(refusal_of(&error, known)),
    }
}

/// RFC 4505 §2: at most 255 characters of trace data, which are not used. RFC 6120 §6.5.8 has the example
/// of a longer one.
fn anonymous(payload: &[u8]) -> Result<Step, Refusal> {
    let trace = std::str::from_utf8(payload).map_err(|_| SaslFailure::MalformedRequest)?;
    if trace.chars().count() > TRACE_CHARS_MAX || trace.chars().any(char::is_control) {
        return Err(SaslFailure::MalformedRequest.into());
    }
    Ok(Step::Success { who: Identity::Anonymous, data: None })
}

/// Translates the `sasl` crate's errors to those of RFC 6120 §6.5.
fn refusal_of(error: &MechanismError, known: bool) -> Refusal {
    match error {
        MechanismError::FailedToDecodeMessage
        | MechanismError::CannotDecodeInitialMessage
        | MechanismError::CannotDecodeResponse
        | MechanismError::CannotDecodeProof
        | MechanismError::SaslSessionAlreadyOver => SaslFailure::MalformedRequest.into(),
        MechanismError::InvalidKeyLength(_) => SaslFailure::TemporaryAuthFailure.into(),
        MechanismError::ChannelBindingMechanismIncorrect => Refusal::OtherChannel,
        _ if known => Refusal::WrongPassword,
        _ => Refusal::NoAccount,
    }
}

/// The type that a client wants to bind to and cannot, for the log.
fn no_binding(name: &str) -> Refusal {
    let known = ["tls-unique", "tls-exporter", "tls-server-end-point"];
    Refusal::NoBinding(known.into_iter().find(|one| *one == name).unwrap_or("something else"))
}

/// PLAIN is checked against these keys if the account has them: they take a quarter of SHA-512's time.
const PLAIN_HASH: HashName = HashName::Sha256;
/// RFC 4505 §2.
const TRACE_CHARS_MAX: usize = 255;

#[cfg(test)]
mod tests;
