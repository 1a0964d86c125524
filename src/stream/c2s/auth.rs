//! Authentication of a stream (RFC 6120 §6): runs one [`Exchange`] after another.

use std::borrow::Cow;

use super::machine::{C2s, State};
use super::sasl2;
use super::step::{Failed, Output, Outputs, write};
use crate::base::id::Rng;
use crate::jid::BareJid;
use crate::stream::error::StreamError;
use crate::stream::framing::Item;
use crate::stream::sasl::{
    Exchange, Identity, Mechanism, Offer, Refusal, SaslFailure, Step, decode_payload,
    encode_challenge, encode_success,
};
use crate::xml::element::Element;
use crate::xml::ns;

impl C2s {
    pub(super) fn auth(&mut self, element: &Element, rng: &mut dyn Rng) -> Outputs {
        if !matches!(self.state, State::Offered(_) | State::Authenticating(..)) {
            return self.close(Some(StreamError::NotAuthorized.into()), rng);
        }
        let offer = match std::mem::replace(&mut self.state, State::Ended) {
            State::Offered(offer) => offer,
            // RFC 6120 §6.4.2: a second <auth/> aborts the attempt in progress. That attempt counts, because
            // each one costs a read of the store.
            State::Authenticating(offer, _) => {
                self.tries.replaced();
                offer
            }
            _ => return Outputs::new(),
        };
        let mechanism = element.attr("mechanism").unwrap_or_default();
        self.asked = None;
        self.mechanism = Mechanism::parse(&mechanism).map(Mechanism::as_str);
        if self.tries.are_over(self.policy.limits.auth_attempts_max) {
            self.state = State::Offered(offer);
            return self.sasl_failure(SaslFailure::MalformedRequest);
        }
        let lacks_tls = Mechanism::parse(&mechanism).is_some_and(|named| self.lacks_tls(named));
        if lacks_tls || (offer.mechanisms.is_empty() && !self.secured) {
            self.state = State::Offered(offer);
            return self.sasl_failure(SaslFailure::EncryptionRequired);
        }
        let initial = match decode_payload(&text_of(element)) {
            Ok(initial) => initial,
            Err(failure) => {
                self.state = State::Offered(offer);
                return self.sasl_failure(failure);
            }
        };
        let (exchange, step) =
            self.begin(&offer.clone().of_sasl(), &mechanism, initial.as_deref(), rng);
        self.state = State::Authenticating(offer, Box::new(exchange));
        self.step(step)
    }

    /// Begins an exchange, in either profile of SASL.
    pub(super) fn begin(
        &self,
        offer: &Offer,
        mechanism: &str,
        initial: Option<&[u8]>,
        rng: &mut dyn Rng,
    ) -> (Exchange, Step) {
        let domain = self.host.as_deref().unwrap_or_default();
        let (secret, iterations) = (&self.policy.secret, self.policy.iterations);
        Exchange::start(offer, domain, mechanism, initial, rng, secret, iterations)
    }

    pub(super) fn response(&mut self, element: &Element, rng: &mut dyn Rng) -> Outputs {
        if !matches!(self.state, State::Authenticating(..)) {
            return self.close(Some(StreamError::NotAuthorized.into()), rng);
        }
        match (element.ns(), self.inline.is_some()) {
            (ns::SASL2, true) => return self.response2(element),
            (ns::SASL, false) => {}
            _ => return self.close(Some(StreamError::NotAuthorized.into()), rng),
        }
        match decode_payload(&text_of(element)) {
            Ok(payload) => {
                let payload = payload.unwrap_or_default();
                self.exchange(|exchange| exchange.respond(&payload))
            }
            Err(failure) => self.attempt_failed(failure),
        }
    }

    pub(super) fn abort(&mut self, profile: &str, rng: &mut dyn Rng) -> Outputs {
        let is_new = profile == ns::SASL2;
        match self.state {
            // RFC 6120 §6.4.4, XEP-0388 §4.5
            State::Offered(_) => {
                self.mechanism = None;
                self.inline = is_new.then(Box::default);
                self.attempt_failed(SaslFailure::Aborted)
            }
            State::Authenticating(..) if self.inline.is_some() == is_new => {
                self.attempt_failed(SaslFailure::Aborted)
            }
            _ => self.close(Some(StreamError::NotAuthorized.into()), rng),
        }
    }

    pub(super) fn exchange(&mut self, go: impl FnOnce(&mut Exchange) -> Step) -> Outputs {
        match &mut self.state {
            State::Authenticating(_, exchange) => {
                let step = go(exchange);
                self.step(step)
            }
            _ => Outputs::new(),
        }
    }

    pub(super) fn step(&mut self, step: Step) -> Outputs {
        let one = |output| Outputs::from_iter([output]);
        match step {
            Step::Challenge(data) => {
                let data = encode_challenge(&data);
                let profile = if self.inline.is_some() { ns::SASL2 } else { ns::SASL };
                write(["<challenge xmlns='", profile, "'>", &data, "</challenge>"].concat())
            }
            Step::NeedKeys { localpart, hash } => {
                self.asked = Some(localpart.clone());
                one(Output::Keys { localpart, hash, or_other: false })
            }
            Step::NeedAnyKeys { localpart, prefer } => {
                self.asked = Some(localpart.clone());
                one(Output::Keys { localpart, hash: prefer, or_other: true })
            }
            Step::NeedTokens(message) => {
                match self.inline.as_ref().and_then(|inline| inline.agent.as_ref()?.id) {
                    Some(agent) => one(Output::Token { message, agent }),
                    None => self.attempt_failed(SaslFailure::MalformedRequest),
                }
            }
            Step::Work(work) => one(Output::Work(work)),
            // XEP-0388 §2.3: another address in `from` is a failure here, before a token is used up.
            Step::Success { who, .. } if self.inline.is_some() && self.greets_but(&who) => {
                self.attempt_failed(Refusal::OtherName)
            }
            Step::Success { who, data } => {
                let State::Authenticating(offer, _) =
                    std::mem::replace(&mut self.state, State::Ended)
                else {
                    return Outputs::new();
                };
                let again = self.tries.is_again(self.begun(&offer), self.asked.as_deref());
                self.state = State::Admitting(offer, data);
                let inline = self.inline.as_mut();
                let (agent, fast) =
                    inline.map_or((None, None), |inline| (inline.agent.take(), inline.fast.take()));
                one(Output::Admit { who, agent, fast, again })
            }
            Step::Failure(failure) => self.attempt_failed(failure),
        }
    }

    pub(super) fn admitted(
        &mut self,
        admitted: Result<BareJid, SaslFailure>,
        rng: &mut dyn Rng,
    ) -> Outputs {
        let State::Admitting(offer, data) = std::mem::replace(&mut self.state, State::Ended) else {
            return Outputs::new();
        };
        match admitted {
            // As in `step`, for an anonymous client, which only now has an address.
            Ok(account) if self.inline.is_some() && self.greets_another(&account) => {
                self.state = State::Offered(offer);
                self.attempt_failed(Refusal::OtherName)
            }
            Ok(account) if self.inline.is_some() => self.admitted2(account, data),
            // RFC 6120 §6.4.6: a header sent under TLS must not have named another account.
            Ok(account) if self.secured && self.greets_another(&account) => {
                self.state = State::Offered(offer);
                self.close(Some(StreamError::InvalidFrom.into()), rng)
            }
            Ok(account) => {
                self.account = Some(account);
                let data = encode_success(data.as_deref());
                let mut outputs = write(format!("<success xmlns='{}'>{data}</success>", ns::SASL));
                outputs.extend(self.restart(None));
                outputs.push(Output::Authenticated { restart: true });
                outputs
            }
            Err(failure) => {
                self.state = State::Offered(offer);
                self.attempt_failed(failure)
            }
        }
    }

    fn greets_but(&self, who: &Identity) -> bool {
        let host = self.host.as_deref().unwrap_or_default();
        match who {
            Identity::Account { localpart } => BareJid::from_parts(Some(localpart), host)
                .is_ok_and(|account| self.greets_another(&account)),
            Identity::Anonymous => false,
        }
    }

    fn greets_another(&self, account: &BareJid) -> bool {
        self.greets.as_ref().is_some_and(|from| from.bare_str() != account.as_str())
    }

    pub(super) fn attempt_failed(&mut self, refusal: impl Into<Refusal>) -> Outputs {
        let mut begun = None;
        self.state = match std::mem::replace(&mut self.state, State::Ended) {
            State::Authenticating(offer, _) => {
                begun = self.begun(&offer);
                State::Offered(offer)
            }
            other => other,
        };
        self.refuse(begun, refusal.into())
    }

    /// Returns the mechanism of the exchange in progress, if it was offered.
    fn begun(&self, offer: &Offer) -> Option<Mechanism> {
        let named = self.mechanism.and_then(Mechanism::parse);
        named.filter(|named| offer.mechanisms.contains(named))
    }

    /// Reports a failure from before an exchange was begun.
    pub(super) fn sasl_failure(&mut self, refusal: impl Into<Refusal>) -> Outputs {
        self.refuse(None, refusal.into())
    }

    /// RFC 6120 §6.4.5: the client may try again, a limited number of times.
    fn refuse(&mut self, begun: Option<Mechanism>, refusal: Refusal) -> Outputs {
        let (localpart, mechanism) = (self.asked.take(), self.mechanism.take());
        let again = self.tries.is_again(begun, localpart.as_deref());
        self.tries.failed(begun, refusal, localpart.as_deref());
        let failed = Failed { localpart, mechanism, refusal, again };
        let mut outputs = Outputs::from_iter([Output::Failed(failed)]);
        let refused = match self.inline.take() {
            Some(_) => sasl2::failure(refusal.failure()),
            None => {
                let condition = refusal.condition();
                format!("<failure xmlns='{}'><{condition}/></failure>", ns::SASL)
            }
        };
        outputs.extend(write(refused));
        if self.tries.are_over(self.policy.limits.auth_attempts_max) {
            let why = StreamError::PolicyViolation.text("too many failed attempts");
            outputs.extend([Item::Failure(why), Item::Close].map(Output::Write));
            outputs.push(Output::End);
            self.state = State::Ended;
        }
        outputs
    }
}

/// Returns the character data of an element. SASL payloads in their usual form are read without a view: one
/// tag, and a text without markup, references or `\r`.
fn text_of(element: &Element) -> Cow<'_, str> {
    let raw = element.as_str();
    let plain = raw.rsplit_once("</").and_then(|(head, _)| {
        let (tag, text) = head.split_once('>')?;
        let plain = !tag.ends_with('/') && !text.contains(['<', '>', '&', '\r']);
        plain.then_some(text)
    });
    match plain {
        Some(text) => Cow::Borrowed(text),
        None => Cow::Owned(element.view().root().text().to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::xml::gate::{self, Rules};

    #[test]
    fn the_text_of_an_element_is_what_the_view_says() {
        let rules =
            Rules { content_ns: ns::CLIENT, depth_max: 9, attributes_max: 9, children_max: 9 };
        for (inner, plain) in [
            ("", true),
            ("=", true),
            ("YQ==", true),
            (" a\nb ", true),
            ("a>b", false),
            ("&#97;", false),
            ("<![CDATA[a>b]]>", false),
            ("a<b/>c", false),
            ("a\r\nb", false),
        ] {
            for open in ["<r>", "<r >", "<r a='x>y'>", "<r a='/'>"] {
                let element = gate::check(format!("{open}{inner}</r>").into(), &rules).unwrap();
                let text = text_of(&element);
                assert_eq!(text, element.view().root().text(), "{open}{inner}");
                let borrowed = plain && !open.contains("x>y");
                assert_eq!(matches!(text, Cow::Borrowed(_)), borrowed, "{open}{inner}");
            }
        }
        let element = gate::check("<r/>".into(), &rules).unwrap();
        assert_eq!(text_of(&element), "");
    }
}
