//! A client's stream from its first byte to its bound resource (RFC 6120 §4 to §7), without I/O.
//!
//! The driver feeds [`Input`]s one at a time and performs the [`Output`]s in order before it feeds
//! the next. A stream that is bound leaves this machine.

mod auth;
mod bind;
mod request;
mod sasl2;
mod tasks;
mod tries;

pub use request::{BindRequest, Fast, UserAgent};
pub use sasl2::{Entry, Given, Success};

use std::borrow::Cow;
use std::sync::Arc;

use bytes::Bytes;
use bytestring::ByteString;
use smallvec::SmallVec;

use super::error::{StreamError, StreamFailure};
use super::features::{self, OverTls};
use super::framing::{Greeting, Item};
use super::open::{self, Opened};
use super::sasl::ht::{Ht, HtMechanism};
use super::sasl::{
    ChannelBindings, Exchange, Identity, Mechanism, Offer, Refusal, SaslFailure, Work, WorkDone,
    channel_binding_types,
};
use crate::base::credential::{AgentId, HashName, ScramKeys};
use crate::base::id::{self, Rng};
use crate::base::limits::Limits;
use crate::jid::{BareJid, FullJid, Jid};
use crate::stanza::StanzaError;
use crate::xml::element::Element;
use crate::xml::header::Header;
use crate::xml::ns;
use tries::Tries;

/// What does not change between the streams of one server.
pub struct Policy {
    /// Hosted domains in normal form; the first one speaks when a client names none of them.
    pub hosts: Vec<String>,
    /// TLS comes before SASL (RFC 7590 §3). False only by an explicit, loudly logged setting.
    pub require_tls: bool,
    /// Enabled mechanisms.
    pub mechanisms: Vec<Mechanism>,
    /// PBKDF2 rounds of new accounts, shown for accounts that do not exist.
    pub iterations: u32,
    /// Makes the salts of accounts that do not exist.
    pub secret: [u8; 32],
    /// Bounds.
    pub limits: Arc<Limits>,
    /// What modules offer beside SASL.
    pub authenticate_features: String,
    /// What modules offer beside resource binding.
    pub bind_features: String,
    /// What can be had along with a login (XEP-0388).
    pub inline: features::Inline,
    /// See [`Policy::prepared`].
    pub offers: Offers,
}

/// The features of streams under TLS, by the channel bindings that there are and whether the default is
/// among them; none: not made yet.
#[derive(Default)]
pub struct Offers(Vec<(Vec<&'static str>, bool, OverTls)>);

impl Policy {
    /// With the features of streams under TLS made ahead: they differ by the channel bindings alone.
    pub fn prepared(mut self) -> Self {
        let some = || Some(Vec::new());
        let bindings = [(None, None), (some(), None), (None, some()), (some(), some())];
        let bindings = bindings.iter().flat_map(|one| [(one, false), (one, true)]);
        let made = bindings.map(|((tls_exporter, tls_server_end_point), lacks_default)| {
            let (tls_exporter, tls_server_end_point) =
                (tls_exporter.clone(), tls_server_end_point.clone());
            let bindings = ChannelBindings { tls_exporter, tls_server_end_point, lacks_default };
            let offer = Offer::new(&self.mechanisms, bindings);
            let types = channel_binding_types(&offer.bindings).collect();
            (types, lacks_default, self.over_tls(&offer))
        });
        self.offers = Offers(made.collect());
        self
    }

    fn over_tls(&self, offer: &Offer) -> OverTls {
        features::over_tls(offer, &self.inline, &self.authenticate_features, &self.limits)
    }

    /// The features of a stream under TLS.
    fn offered(&self, offer: &Offer) -> Cow<'_, OverTls> {
        let Offers(made) = &self.offers;
        let fits =
            |types: &[&str]| channel_binding_types(&offer.bindings).eq(types.iter().copied());
        let lacks = offer.bindings.lacks_default;
        match made.iter().find(|(types, default, _)| *default == lacks && fits(types)) {
            Some((_, _, made)) => Cow::Borrowed(made),
            None => Cow::Owned(self.over_tls(offer)),
        }
    }
}

/// What happened.
pub enum Input {
    /// The client's header.
    Open(Header),
    /// A proved top-level element.
    Element(Element),
    /// The TLS handshake is done; a new header comes.
    Secured(ChannelBindings),
    /// The answer to [`Output::Keys`].
    Keys(Option<ScramKeys>),
    /// Instead of any answer to a question of the exchange: we cannot know for now.
    Unknown,
    /// The answer to [`Output::Work`].
    Worked(WorkDone),
    /// The answer to [`Output::Token`]: the additional data with success.
    Checked(Result<Vec<u8>, SaslFailure>),
    /// The answer to [`Output::Hashes`].
    Hashes(Vec<HashName>),
    /// The answer to [`Output::AddKeys`].
    KeysAdded,
    /// The answer to [`Output::Issue`].
    Issued(Option<Given>),
    /// The answer to [`Output::Admit`].
    Admitted(Result<BareJid, SaslFailure>),
    /// The answer to [`Output::Bind`].
    Bound(Result<FullJid, StanzaError>),
    /// The answer to [`Output::Bind2`]: the address, what `<bound/>` tells so far, and the request.
    Bound2(Result<(FullJid, Vec<u8>, Element), StanzaError>),
    /// The answer to [`Output::Resume`], if the former stream could not be resumed: its count, if
    /// that is known.
    NotResumed(Option<u32>),
    /// The client closed the stream.
    Close,
    /// Something outside the stream ends it (a limit, a deadline, bad XML).
    Fail(StreamFailure),
}

/// What is to be done.
#[allow(clippy::large_enum_variant)] // lives for one step, on the stack
pub enum Output {
    /// Say this.
    Write(Item),
    /// Let TLS take over, unless plain bytes wait behind the request: then close.
    StartTls,
    /// Look up keys.
    Keys {
        /// In normal form.
        localpart: String,
        /// Of this hash.
        hash: HashName,
        /// Others will do where the account has none of this hash.
        or_other: bool,
    },
    /// Run it off the network threads.
    Work(Work),
    /// Hold a message of XEP-0484's mechanisms against the tokens of this device.
    Token {
        /// The message.
        message: Box<Ht>,
        /// The device that the client says it is.
        agent: AgentId,
    },
    /// What has the account keys for (XEP-0480)?
    Hashes,
    /// Add these to them.
    AddKeys(Box<ScramKeys>),
    /// The client is to have a token (XEP-0484 §3.3), or may be due for another one (§3.5).
    Issue {
        /// For which mechanism, if it asked.
        wanted: Option<HtMechanism>,
    },
    /// The credentials are good: may this identity have a stream? The one gate of all logins.
    Admit {
        /// Whose credentials.
        who: Identity,
        /// What the client says of itself.
        agent: Option<Box<UserAgent>>,
        /// What it says of the token that it used.
        fast: Option<Fast>,
        /// See [`Failed::again`]: what it would be, had it failed.
        again: bool,
    },
    /// An attempt failed, for the throttle and the log.
    Failed(Failed),
    /// The client asked for a domain that is not here, in its own words, for the log.
    UnknownHost(Option<String>),
    /// Limits are those of an authenticated stream.
    Authenticated {
        /// The client's next bytes are a new header.
        restart: bool,
    },
    /// Bind this resource, or one of the server's choice.
    Bind(Option<String>),
    /// Bind a resource of the server's choice, and do what goes with it (XEP-0386 §3.2).
    Bind2(BindRequest),
    /// Go on with a former stream (XEP-0198 §5): this one has no more to do if that can be done.
    Resume {
        /// Its SM-ID.
        previd: String,
        /// What the client handled of it.
        h: u32,
        /// What is said around `<resumed/>`, where it was asked for inline (XEP-0198 §9.2).
        success: Option<Box<Success>>,
    },
    /// A request that a module may answer before authentication (XEP-0077).
    Request(Element),
    /// The stream belongs to a session now.
    Done(FullJid),
    /// The stream belongs to a session now, which has to say so.
    Enter(Box<Entry>),
    /// Close the connection; the closing tag has been written before.
    End,
}

/// An attempt that failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failed {
    /// Whose keys were looked up, if it came that far.
    pub localpart: Option<String>,
    /// By which mechanism, if that is one of ours.
    pub mechanism: Option<&'static str>,
    /// Why.
    pub refusal: Refusal,
    /// It is taken for the same mistake as another of this stream: another mechanism, and most likely the
    /// same secret.
    pub again: bool,
}

impl Failed {
    /// It counts: see [`Refusal::is_guess`].
    pub fn is_guess(&self) -> bool {
        self.localpart.is_some() && self.refusal.is_guess()
    }
}

/// Outputs of one step.
pub type Outputs = SmallVec<[Output; 2]>;

/// One stream before it is bound.
pub struct C2s {
    policy: Arc<Policy>,
    state: State,
    host: Option<String>,
    lang: Option<String>,
    secured: bool,
    bindings: ChannelBindings,
    account: Option<BareJid>,
    tries: Tries,
    /// The mechanism of the attempt.
    mechanism: Option<&'static str>,
    asked: Option<String>,
    bind_failures: u32,
    /// Requests for other features (XEP-0509).
    mismatches: u32,
    /// Whom our headers name in `to`: who the client's header is from.
    greets: Option<Jid>,
    /// A header of ours is out since the last restart.
    greeted: bool,
    /// The attempt under way is one of XEP-0388.
    inline: Option<Box<sasl2::Inline>>,
}

#[allow(clippy::large_enum_variant)] // one a stream, and only until it is bound
enum State {
    Opening,
    /// Features with STARTTLS, SASL or both are out.
    Offered(Offer),
    Securing,
    Authenticating(Offer, Box<Exchange>),
    Admitting(Offer, Option<Vec<u8>>),
    Binding,
    /// A bind request is being worked on.
    Bound(Element),
    /// A former stream is looked for.
    Resuming,
    /// What was asked for along with a login is being done.
    Inlining,
    /// The client makes keys that its account lacks (XEP-0480).
    Tasks(Box<tasks::Tasks>),
    Ended,
}

impl C2s {
    /// A stream whose header has not come. `bindings` are given when TLS is under it already.
    pub fn new(policy: Arc<Policy>, direct_tls: Option<ChannelBindings>) -> Self {
        Self {
            policy,
            state: State::Opening,
            host: None,
            lang: None,
            secured: direct_tls.is_some(),
            bindings: direct_tls.unwrap_or_default(),
            account: None,
            tries: Tries::default(),
            mechanism: None,
            asked: None,
            bind_failures: 0,
            mismatches: 0,
            greets: None,
            greeted: false,
            inline: None,
        }
    }

    /// The hosted domain, once the header named it.
    pub fn host(&self) -> Option<&str> {
        self.host.as_deref()
    }

    /// The stream's `xml:lang`.
    pub fn lang(&self) -> Option<&str> {
        self.lang.as_deref()
    }

    /// TLS is under the stream.
    pub fn is_secured(&self) -> bool {
        self.secured
    }

    /// The machine's one verb.
    pub fn feed(&mut self, input: Input, rng: &mut dyn Rng) -> Outputs {
        match input {
            Input::Open(header) => self.open(&header, rng),
            Input::Element(element) => self.element(element, rng),
            Input::Secured(bindings) => self.restart(Some(bindings)),
            Input::Keys(keys) => self.exchange(|exchange| exchange.keys(keys)),
            Input::Unknown => self.attempt_failed(SaslFailure::TemporaryAuthFailure),
            Input::Worked(done) => self.exchange(|exchange| exchange.worked(done)),
            Input::Checked(outcome) => self.exchange(|exchange| exchange.checked(outcome)),
            Input::Hashes(has) => self.hashes(&has, rng),
            Input::KeysAdded => self.keys_added(rng),
            Input::Issued(given) => self.issued(given),
            Input::Admitted(admitted) => self.admitted(admitted, rng),
            Input::Bound(bound) => self.bound(bound, rng),
            Input::Bound2(bound) => self.bound2(bound, rng),
            Input::NotResumed(h) => self.not_resumed(h, rng),
            Input::Close => self.close(None, rng),
            Input::Fail(failure) => self.close(Some(failure), rng),
        }
    }

    fn open(&mut self, header: &Header, rng: &mut dyn Rng) -> Outputs {
        if !matches!(self.state, State::Opening) {
            return self.close(Some(StreamError::BadFormat.into()), rng);
        }
        // RFC 6120 §4.7.2: also where the header is refused.
        self.greets = header.from.as_deref().and_then(|from| Jid::parse(from).ok());
        let hosts = &self.policy.hosts;
        let only = match (&self.host, hosts.as_slice()) {
            (Some(host), _) => Some(host.as_str()),
            (None, [single]) => Some(single.as_str()),
            _ => None,
        };
        let judged = open::judge(header, |host| hosts.iter().any(|known| known == host), only);
        let Opened { host, lang } = match judged {
            Ok(opened) => opened,
            Err(failure) => {
                let unknown = failure.error == StreamError::HostUnknown;
                let mut outputs = self.close(Some(failure), rng);
                if unknown {
                    outputs.insert(0, Output::UnknownHost(header.to.clone()));
                }
                return outputs;
            }
        };
        // The host is fixed by the first header; a certificate and an account belong to it.
        if self.host.as_ref().is_some_and(|fixed| *fixed != host) {
            let why = StreamError::NotAuthorized.text("the stream was opened for another domain");
            return self.close(Some(why), rng);
        }
        // XEP-0388 §2.1: a client of another domain has nothing to do here.
        if self.secured && self.greets.as_ref().is_some_and(|from| from.domain() != host) {
            self.host = Some(host);
            return self.close(Some(StreamError::InvalidFrom.into()), rng);
        }
        // RFC 6120 §4.9.3.9: after SASL a `from` must be the authenticated account.
        let own = |account: &BareJid| {
            self.greets.as_ref().is_some_and(|from| from.bare_str() == account.as_str())
        };
        if header.from.is_some() && self.account.as_ref().is_some_and(|account| !own(account)) {
            self.host = Some(host);
            return self.close(Some(StreamError::InvalidFrom.into()), rng);
        }
        self.lang = lang.or(self.lang.take());
        self.host = Some(host);
        let header = self.greeting(rng);
        Outputs::from_iter([header, Output::Write(Item::Features(self.offer()))])
    }

    /// Without a host (the client named none that we have, RFC 6120 §4.9.1.3) our first one speaks.
    fn greeting(&mut self, rng: &mut dyn Rng) -> Output {
        self.greeted = true;
        let from = self.host.as_ref().or(self.policy.hosts.first());
        let from = from.cloned().unwrap_or_default();
        let greeting = Greeting { id: id::random(rng), from, to: self.greets.clone() };
        Output::Write(Item::Header(greeting))
    }

    /// The features of the moment, and the state that waits for one of them.
    fn offer(&mut self) -> ByteString {
        if self.account.is_some() {
            self.state = State::Binding;
            return features::bind(&self.policy.bind_features, &self.policy.limits);
        }
        let sasl = self.secured || !self.policy.require_tls;
        let usable = |mechanism: &Mechanism| sasl && !self.lacks_tls(*mechanism);
        let enabled: Vec<_> = self.policy.mechanisms.iter().copied().filter(usable).collect();
        let offer = Offer::new(&enabled, self.bindings.clone());
        let text = match (offer.mechanisms.is_empty(), self.secured) {
            (true, true) => ByteString::new(),
            (true, false) => features::secure(self.policy.require_tls, ""),
            (false, true) => self.policy.offered(&offer).features.clone(),
            (false, false) => {
                let Policy { authenticate_features, limits, require_tls, .. } = &*self.policy;
                let parts = features::authenticate(&offer, authenticate_features, limits);
                features::secure(*require_tls, &parts)
            }
        };
        self.state = State::Offered(offer);
        text
    }

    /// RFC 4616 §5 and RFC 6120 §13.8.3: a password in the clear is neither asked for nor taken,
    /// though TLS be waived.
    fn lacks_tls(&self, mechanism: Mechanism) -> bool {
        mechanism == Mechanism::Plain && !self.secured
    }

    fn element(&mut self, element: Element, rng: &mut dyn Rng) -> Outputs {
        // XEP-0388 §2.4: nothing else while an attempt is under way.
        let strays = self.inline.is_some() && !matches!(element.ns(), ns::SASL2 | ns::STREAM);
        match (element.ns(), element.name()) {
            _ if strays => self.close(Some(StreamError::NotAuthorized.into()), rng),
            (ns::TLS, "starttls") => self.start_tls(rng),
            (ns::SASL2, _) if matches!(self.state, State::Tasks(_)) => self.task(&element, rng),
            (ns::SASL2, "authenticate") => self.authenticate(&element, rng),
            (ns::SASL2, "response") => self.response(&element, rng),
            (ns::SASL2, "abort") => self.abort(ns::SASL2, rng),
            (ns::SASL, "auth") => self.auth(&element, rng),
            (ns::SASL, "response") => self.response(&element, rng),
            (ns::SASL, "abort") => self.abort(ns::SASL, rng),
            (ns::CLIENT, "iq") => self.iq(element, rng),
            (ns::SM, _) => self.manage(&element, rng),
            // RFC 6120 §4.9.1.1: who receives a stream error closes, and has nothing to add.
            (ns::STREAM, "error") => self.close(None, rng),
            // RFC 6120 §4.9.3.12: whatever else comes now comes too early.
            _ => self.close(Some(StreamError::NotAuthorized.into()), rng),
        }
    }

    fn start_tls(&mut self, rng: &mut dyn Rng) -> Outputs {
        if self.secured || !matches!(self.state, State::Offered(_)) {
            // RFC 6120 §5.4.2.2: the failure case, and the stream is over.
            let mut outputs = write(format!("<failure xmlns='{}'/>", ns::TLS));
            self.state = State::Ended;
            outputs.extend([Output::Write(Item::Close), Output::End]);
            let _ = rng;
            return outputs;
        }
        self.state = State::Securing;
        let mut outputs = write(format!("<proceed xmlns='{}'/>", ns::TLS));
        outputs.push(Output::StartTls);
        outputs
    }

    fn restart(&mut self, bindings: Option<ChannelBindings>) -> Outputs {
        if let Some(bindings) = bindings {
            self.secured = true;
            self.bindings = bindings;
            // RFC 6120 §5.4.3.3: everything learnt before TLS is forgotten, but the host stays.
            self.lang = None;
        }
        self.greeted = false;
        self.greets = None;
        self.state = State::Opening;
        Outputs::new()
    }

    /// Ends the stream; a header of ours goes first if none is out (RFC 6120 §4.9.1.2).
    fn close(&mut self, failure: Option<StreamFailure>, rng: &mut dyn Rng) -> Outputs {
        if matches!(self.state, State::Ended) {
            return Outputs::from_iter([Output::End]);
        }
        let mut outputs = Outputs::new();
        if !self.greeted {
            outputs.push(self.greeting(rng));
        }
        outputs.extend(failure.map(|failure| Output::Write(Item::Failure(failure))));
        outputs.extend([Output::Write(Item::Close), Output::End]);
        self.state = State::Ended;
        outputs
    }
}

/// An element, and no more.
fn write(element: impl Into<Bytes>) -> Outputs {
    Outputs::from_iter([Output::Write(Item::Element(element.into()))])
}

#[cfg(test)]
mod tests;
