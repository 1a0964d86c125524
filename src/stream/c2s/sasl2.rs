//! The Extensible SASL Profile (XEP-0388): one request authenticates and then does what else the client
//! requested with it, in this order: tasks (XEP-0480), a token (XEP-0484), a former stream (XEP-0198 §9.2), a
//! resource (XEP-0386). All of that happens only after the one gate that all logins pass.

use super::inline::{Entry, Given, Inline, Issue, Success};
use super::machine::{C2s, State};
use super::request::{Fast, Request, UserAgent, decode};
use super::step::{Output, Outputs, write};
use crate::base::id::Rng;
use crate::jid::{BareJid, FullJid};
use crate::stanza::{Condition, StanzaError};
use crate::stream::error::StreamError;
use crate::stream::features;
use crate::stream::framing::Item;
use crate::stream::sasl::ht::{Ht, HtMechanism};
use crate::stream::sasl::{Exchange, Mechanism, Offer, Refusal, SaslFailure, Step};
use crate::stream::sm::{self, BadCommand};
use crate::xml::element::Element;
use crate::xml::ns;
use crate::xml::writer::Xml;

impl C2s {
    pub(super) fn authenticate(&mut self, element: &Element, rng: &mut dyn Rng) -> Outputs {
        // XEP-0388 §2.4: only responses are allowed during an attempt; §4.8: no attempt after a successful
        // one.
        let State::Offered(offer) = &self.state else {
            return self.close(Some(StreamError::NotAuthorized.into()), rng);
        };
        let offer = offer.clone();
        self.asked = None;
        let named = element.attr("mechanism").unwrap_or_default();
        self.mechanism = Mechanism::parse(&named)
            .map(Mechanism::as_str)
            .or_else(|| HtMechanism::parse(&named).map(HtMechanism::as_str));
        self.inline = Some(Box::default());
        if self.tries.are_over(self.policy.limits.auth_attempts_max) {
            return self.sasl_failure(SaslFailure::MalformedRequest);
        }
        // XEP-0388 §3: never without TLS.
        if !self.secured {
            return self.sasl_failure(SaslFailure::EncryptionRequired);
        }
        let request = match Request::read(element) {
            Ok(request) => request,
            Err(failure) => return self.sasl_failure(failure),
        };
        if request.version.is_some_and(|version| version != self.policy.offered(&offer).version) {
            return self.mismatch(rng);
        }
        let Request { mechanism, initial, agent, resume, bind, fast, token, mut upgrades, .. } =
            request;
        let issue = self.issue(&offer, agent.as_deref(), fast, token);
        let by_token = fast.is_some() || HtMechanism::parse(&mechanism).is_some();
        if by_token || !self.policy.inline.upgrade {
            upgrades.clear();
        }
        let success = Success::default();
        let inline = Inline { agent, fast, issue, upgrades, resume, bind, success };
        self.inline = Some(Box::new(inline));
        let begun = if by_token {
            self.by_token(&offer, &mechanism, fast, initial.as_deref())
        } else {
            Ok(self.begin(&offer, &mechanism, initial.as_deref(), rng))
        };
        let (exchange, step) = match begun {
            Ok(begun) => begun,
            Err(failure) => return self.sasl_failure(failure),
        };
        self.state = State::Authenticating(offer, Box::new(exchange));
        self.step(step)
    }

    /// XEP-0484 §3.4: the login is one message, which has to be the initial response.
    fn by_token(
        &self,
        offer: &Offer,
        mechanism: &str,
        fast: Option<Fast>,
        initial: Option<&[u8]>,
    ) -> Result<(Exchange, Step), Refusal> {
        let offered: Vec<_> = self.tokens_for(offer).collect();
        if !offered.iter().any(|one| one.as_str() == mechanism) {
            return Err(SaslFailure::InvalidMechanism.into());
        }
        // `<fast/>` marks it as a token.
        let (Some(_), Some(initial)) = (fast, initial) else {
            return Err(SaslFailure::MalformedRequest.into());
        };
        let message = Ht::start(mechanism, &offered, &offer.bindings, initial)?;
        let domain = self.host.as_deref().unwrap_or_default();
        Ok(Exchange::by_token(offer, domain, message))
    }

    /// The mechanisms that tokens are issued for; none if the server issues no tokens.
    fn tokens_for(&self, offer: &Offer) -> impl Iterator<Item = HtMechanism> {
        let given = self.policy.inline.fast;
        HtMechanism::offered(&offer.bindings).filter(move |_| given)
    }

    /// XEP-0484 §3.2: a client that requests a token for an offered mechanism gets it; §3.5: a client that
    /// uses a token may get another; §3.6: one that ends its token does not. All of that is for clients that
    /// identify their installation (§4.1).
    fn issue(
        &self,
        offer: &Offer,
        agent: Option<&UserAgent>,
        fast: Option<Fast>,
        wanted: Option<HtMechanism>,
    ) -> Option<Issue> {
        agent?.id?;
        let wanted = wanted.filter(|wanted| self.tokens_for(offer).any(|one| one == *wanted));
        let rotates = fast.is_some_and(|fast| !fast.invalidate);
        (wanted.is_some() || rotates).then_some(Issue { wanted })
    }

    /// XEP-0509 §2.2: this is no failed login, because the client did not see the current features.
    fn mismatch(&mut self, rng: &mut dyn Rng) -> Outputs {
        self.inline = None;
        self.mismatches += 1;
        let mut xml = Xml::new();
        xml.start("failure").attr("xmlns", ns::SASL2);
        xml.element(SaslFailure::Aborted.condition(), ns::SASL, "");
        xml.element("config-version-mismatch", ns::IAP, "").end();
        let mut outputs = write(xml.finish());
        if self.mismatches >= MISMATCHES_MAX {
            let why = StreamError::PolicyViolation.text("too many requests for other features");
            outputs.extend(self.close(Some(why), rng));
        }
        outputs
    }

    pub(super) fn response2(&mut self, element: &Element) -> Outputs {
        match decode(element.view().root().text()) {
            Ok(payload) => self.exchange(|exchange| exchange.respond(&payload)),
            Err(failure) => self.attempt_failed(failure),
        }
    }

    /// The client is authenticated and may have a stream.
    pub(super) fn admitted2(&mut self, account: BareJid, data: Option<Vec<u8>>) -> Outputs {
        self.account = Some(account);
        if let Some(inline) = &mut self.inline {
            inline.success.data = data;
        }
        let mut outputs = Outputs::from_iter([Output::Authenticated { restart: false }]);
        outputs.extend(self.proceed());
        outputs
    }

    /// Does the next of the client's requests; after the last one, sends `<success/>`.
    pub(super) fn proceed(&mut self) -> Outputs {
        let Some(inline) = &mut self.inline else { return Outputs::new() };
        self.state = State::Inlining;
        if !inline.upgrades.is_empty() {
            return Outputs::from_iter([Output::Hashes]);
        }
        if let Some(Issue { wanted }) = inline.issue.take() {
            return Outputs::from_iter([Output::Issue { wanted }]);
        }
        match inline.resume.take() {
            Some(Ok((previd, h))) => {
                let success = Some(Box::new(inline.success.clone()));
                return Outputs::from_iter([Output::Resume { previd, h, success }]);
            }
            Some(Err(BadCommand)) => {
                inline.success.failed = sm::failed(Condition::BadRequest, None)
            }
            None => {}
        }
        match inline.bind.take() {
            Some(bind) => Outputs::from_iter([Output::Bind2(bind)]),
            None => self.succeed(),
        }
    }

    pub(super) fn issued(&mut self, given: Option<Given>) -> Outputs {
        if let Some(inline) = &mut self.inline {
            inline.success.token = given;
        }
        self.proceed()
    }

    /// XEP-0198 §9.2.1: the success contains the failure, and a resource is bound instead.
    pub(super) fn not_resumed2(&mut self, h: Option<u32>) -> Outputs {
        if let Some(inline) = &mut self.inline {
            inline.success.failed = sm::failed(Condition::ItemNotFound, h);
        }
        self.proceed()
    }

    pub(super) fn bound2(
        &mut self,
        bound: Result<(FullJid, Vec<u8>, Element), StanzaError>,
        rng: &mut dyn Rng,
    ) -> Outputs {
        if !matches!(self.state, State::Inlining) {
            return Outputs::new();
        }
        match bound {
            Ok((full, told, request)) => {
                let success = self.inline.take().unwrap_or_default().success;
                self.state = State::Ended;
                let entry = Entry { full, success, told, request };
                Outputs::from_iter([Output::Enter(Box::new(entry))])
            }
            // The account was disabled meanwhile.
            Err(error) if error.condition == Condition::NotAuthorized => {
                self.close(Some(StreamError::NotAuthorized.into()), rng)
            }
            // The XEP defines no error for this: a bare address shows that nothing is bound, and the features
            // show that the client can try an ordinary bind request, which has errors for it (RFC 6120
            // §7.7.2).
            Err(_) => self.succeed(),
        }
    }

    /// XEP-0388 §2.6.1: without a restart; the next features follow at once.
    fn succeed(&mut self) -> Outputs {
        let success = self.inline.take().unwrap_or_default().success;
        let address = self.account.as_ref().map_or("", |account| account.as_str());
        let mut outputs = write(success.write(address, &[]));
        let features = features::bind(&self.policy.bind_features, &self.policy.limits);
        outputs.push(Output::Write(Item::Features(features)));
        self.state = State::Binding;
        outputs
    }
}

/// XEP-0388 §2.6.2: a condition of RFC 6120 in an element of the new namespace.
pub(super) fn failure(failure: SaslFailure) -> String {
    let mut xml = Xml::new();
    xml.start("failure").attr("xmlns", ns::SASL2);
    xml.element(failure.condition(), ns::SASL, "").end();
    xml.into_string()
}

/// Mismatches after which the stream ends. The client has received the current features by the first one.
const MISMATCHES_MAX: u32 = 5;
