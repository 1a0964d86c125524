//! The last step of a stream's negotiation: binds a resource (RFC 6120 §7), or resumes a former stream
//! (XEP-0198 §5).

use super::machine::{C2s, State};
use super::step::{Output, Outputs, write};
use crate::base::id::Rng;
use crate::jid::{FullJid, Jid};
use crate::stanza::{Condition, Kind, StanzaError, error_reply};
use crate::stream::error::StreamError;
use crate::stream::sm::{self, Command};
use crate::xml::element::Element;
use crate::xml::ns;
use crate::xml::writer::Xml;

impl C2s {
    pub(super) fn iq(&mut self, element: Element, rng: &mut dyn Rng) -> Outputs {
        match self.state {
            State::Offered(ref offer) if !offer.mechanisms.is_empty() => {
                Outputs::from_iter([Output::Request(element)])
            }
            State::Binding => self.bind(element, rng),
            _ => self.close(Some(StreamError::NotAuthorized.into()), rng),
        }
    }

    /// XEP-0198 §3 and §5: a client resumes a stream before it binds a resource, or enables one after that.
    pub(super) fn manage(&mut self, element: &Element, rng: &mut dyn Rng) -> Outputs {
        match (Command::read(element), &self.state) {
            (Ok(Command::Resume { previd, h }), State::Binding) => {
                self.state = State::Resuming;
                Outputs::from_iter([Output::Resume { previd, h, success: None }])
            }
            (Ok(_), _) => self.unmanaged(Condition::UnexpectedRequest, None, rng),
            (Err(_), _) => self.unmanaged(Condition::BadRequest, None, rng),
        }
    }

    /// XEP-0198 §5: the client may bind a resource instead.
    pub(super) fn not_resumed(&mut self, h: Option<u32>, rng: &mut dyn Rng) -> Outputs {
        if matches!(self.state, State::Inlining) {
            return self.not_resumed2(h);
        }
        self.state = State::Binding;
        self.unmanaged(Condition::ItemNotFound, h, rng)
    }

    fn unmanaged(&mut self, why: Condition, h: Option<u32>, rng: &mut dyn Rng) -> Outputs {
        let mut outputs = write(sm::failed(why, h));
        self.bind_failures += 1;
        if self.bind_failures > BIND_RETRIES_MAX {
            let why = StreamError::PolicyViolation.text("too many failed requests");
            outputs.extend(self.close(Some(why), rng));
        }
        outputs
    }

    fn bind(&mut self, element: Element, rng: &mut dyn Rng) -> Outputs {
        let is_set = element.attr("type").as_deref() == Some("set");
        if !is_set || !element.has_child(ns::BIND, "bind") {
            // RFC 6120 §7.1: before a resource is bound, only binding is allowed.
            return self.close(Some(StreamError::NotAuthorized.into()), rng);
        }
        if element.attr("id").is_none_or(|id| id.is_empty()) {
            // RFC 6120 §8.2.3 rule 1
            self.state = State::Bound(element);
            let why = StanzaError::bad_request().text("an iq needs an id");
            return self.bound(Err(why), rng);
        }
        let wanted = wanted(&element);
        self.state = State::Bound(element);
        Outputs::from_iter([Output::Bind(wanted.filter(|wanted| !wanted.is_empty()))])
    }

    pub(super) fn bound(
        &mut self,
        bound: Result<FullJid, StanzaError>,
        rng: &mut dyn Rng,
    ) -> Outputs {
        let State::Bound(request) = std::mem::replace(&mut self.state, State::Binding) else {
            return Outputs::new();
        };
        let full = match bound {
            Ok(full) => full,
            Err(error) => {
                let to = self.account.clone().map(Jid::from);
                let reply = to.and_then(|to| error_reply(&request, None, &to, &error));
                let mut outputs = reply.map(write).unwrap_or_default();
                self.bind_failures += 1;
                if self.bind_failures > BIND_RETRIES_MAX {
                    let why = StreamError::PolicyViolation.text("too many failed bind requests");
                    outputs.extend(self.close(Some(why), rng));
                }
                return outputs;
            }
        };
        let mut xml = Xml::new();
        xml.start(Kind::Iq.as_str())
            .attr("type", "result")
            .attr_opt("id", request.attr("id").as_deref());
        xml.start("bind")
            .attr("xmlns", ns::BIND)
            .start("jid")
            .text(full.as_str())
            .end()
            .end()
            .end();
        self.state = State::Ended;
        let mut outputs = write(xml.finish());
        outputs.push(Output::Done(full));
        outputs
    }
}

/// Returns the requested resource (RFC 6120 §7.7.1). The form that most clients write is read without a view.
fn wanted(request: &Element) -> Option<String> {
    if let Some(plain) = plain_resource(request.as_str()) {
        return Some(plain.to_owned());
    }
    let view = request.view();
    let bind = view.root().child(ns::BIND, "bind")?;
    Some(bind.child(ns::BIND, "resource")?.text().to_owned())
}

fn plain_resource(request: &str) -> Option<&str> {
    let (before, bind) = request.split_once("<bind xmlns=")?;
    let bind = bind.get(1..)?.strip_prefix(ns::BIND)?.get(1..)?;
    let resource = bind.strip_prefix("><resource>")?;
    let resource = resource.strip_suffix("</resource></bind></iq>")?;
    // It must be the only payload, with a text without markup, references or `\r`.
    let only = !before.get(1..)?.contains('<');
    (only && !resource.contains(['<', '>', '&', '\r'])).then_some(resource)
}

/// RFC 6120 §7.7.3: at least 5 and no more than 10.
const BIND_RETRIES_MAX: u32 = 10;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::xml::gate::{self, Rules};

    #[test]
    fn the_plain_way_reads_what_the_view_reads() {
        let rules =
            Rules { content_ns: ns::CLIENT, depth_max: 9, attributes_max: 9, children_max: 9 };
        let bind = "<bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'>";
        for (inner, plain, expected) in [
            (format!("{bind}<resource>r</resource></bind>"), true, Some("r")),
            (format!("{bind}<resource></resource></bind>"), true, Some("")),
            (bind.replace('\'', "\"") + "<resource>r s</resource></bind>", true, Some("r s")),
            (format!("{bind}<resource>&lt;</resource></bind>"), false, Some("<")),
            (format!("{bind}<resource>a>b</resource></bind>"), false, Some("a>b")),
            (format!("{bind}<resource><![CDATA[r]]></resource></bind>"), false, Some("r")),
            (format!("{bind}<x/><resource>r</resource></bind>"), false, Some("r")),
            (format!("{bind}<resource>r</resource></bind><y/>"), false, Some("r")),
            (format!("{bind}<resource>r</resource>{bind}</bind></bind>"), false, Some("r")),
            (format!("{bind}<resource>r</resource> </bind>"), false, Some("r")),
            (format!("{bind}<resource xmlns='x'>r</resource></bind>"), false, None),
            (format!("{bind}</bind>"), false, None),
            (format!("<y/>{bind}<resource>r</resource></bind>"), false, Some("r")),
        ] {
            let text = format!("<iq type='set' id='b'>{inner}</iq>");
            let element = gate::check(text.clone().into(), &rules).unwrap();
            assert_eq!(wanted(&element).as_deref(), expected, "{text}");
            assert_eq!(plain_resource(&text).is_some(), plain, "{text}");
        }
    }
}
