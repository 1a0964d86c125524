//! SASL EXTERNAL with a server's certificate (XEP-0178 §3).

use super::machine::Incoming;
use super::step::{Output, Outputs};
use crate::base::id::Rng;
use crate::stream::error::StreamError;
use crate::stream::framing::Item;
use crate::stream::s2s::features::EXTERNAL;
use crate::stream::s2s::header;
use crate::stream::sasl::{SaslFailure, decode_payload};
use crate::xml::element::Element;
use crate::xml::ns;

impl Incoming {
    /// XEP-0178 §3: a server shows itself by its certificate.
    pub(super) fn auth(&mut self, element: &Element, rng: &mut dyn Rng) -> Outputs {
        if !self.pairs.is_empty() || !self.verifying.is_empty() {
            let failure = StreamError::PolicyViolation.text("the stream is authenticated already");
            return self.close(Some(failure), rng);
        }
        self.challenged = false;
        if element.attr("mechanism").as_deref() != Some(EXTERNAL) {
            return self.sasl_failure(SaslFailure::InvalidMechanism, rng);
        }
        match decode_payload(element.view().root().text().trim()) {
            Ok(Some(authzid)) => self.authorize(&authzid, rng),
            Ok(None) => {
                // RFC 4422 §5: the client speaks first, so it is asked to.
                self.challenged = true;
                let challenge = format!("<challenge xmlns='{}'/>", ns::SASL);
                Outputs::from_iter([Output::Write(Item::Element(challenge.into()))])
            }
            Err(failure) => self.sasl_failure(failure, rng),
        }
    }

    pub(super) fn response(&mut self, element: &Element, rng: &mut dyn Rng) -> Outputs {
        if !std::mem::take(&mut self.challenged) {
            return self.sasl_failure(SaslFailure::MalformedRequest, rng);
        }
        match decode_payload(element.view().root().text().trim()) {
            Ok(authzid) => self.authorize(&authzid.unwrap_or_default(), rng),
            Err(failure) => self.sasl_failure(failure, rng),
        }
    }

    /// The identity is that of the header, which the certificate must prove; another may not be named.
    fn authorize(&mut self, authzid: &[u8], rng: &mut dyn Rng) -> Outputs {
        let Some(remote) = self.remote().map(ToOwned::to_owned) else { return Outputs::new() };
        let named = || std::str::from_utf8(authzid).ok().and_then(header::domain);
        if !authzid.is_empty() && named().as_deref() != Some(&*remote) {
            return self.sasl_failure(SaslFailure::InvalidAuthzid, rng);
        }
        if let Some(Err(why)) = self.secured.as_ref().map(|secured| secured.proves(&remote)) {
            let mut outputs = Outputs::from_iter([Output::Refused { remote, why }]);
            outputs.extend(self.sasl_failure(SaslFailure::NotAuthorized, rng));
            return outputs;
        }
        self.external = true;
        self.restart();
        let success = format!("<success xmlns='{}'/>", ns::SASL);
        Outputs::from_iter([
            Output::Write(Item::Element(success.into())),
            Output::Authenticated { restart: true },
        ])
    }

    /// XEP-0178 §3: the stream may go on with dialback. RFC 6120 §6.4.5: not for ever.
    pub(super) fn sasl_failure(&mut self, failure: SaslFailure, rng: &mut dyn Rng) -> Outputs {
        self.challenged = false;
        let element = format!("<failure xmlns='{}'><{}/></failure>", ns::SASL, failure.condition());
        let mut outputs = Outputs::from_iter([Output::Write(Item::Element(element.into()))]);
        self.sasl_failures += 1;
        if self.sasl_failures >= SASL_FAILURES_MAX {
            let failure = StreamError::PolicyViolation.text("too many failed attempts");
            outputs.extend(self.close(Some(failure), rng));
        }
        outputs
    }
}

/// RFC 6120 §6.4.5 asks for two to five retries.
const SASL_FAILURES_MAX: u32 = 5;
