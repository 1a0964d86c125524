//! The pairs of domains that a stream was authenticated for (XEP-0220 §1.3), and the stanzas that may pass.

use std::borrow::Cow;

use super::policy::How;
use crate::jid::prep;
use crate::stream::error::{StreamError, StreamFailure};
use crate::xml::element::Element;

/// The pairs of one stream. There are few: they are bounded, and most streams have one.
#[derive(Debug, Default)]
pub struct Pairs(Vec<Pair>);

/// One of ours and one of the peer's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pair {
    /// The domain that is served here.
    pub local: String,
    /// The peer's.
    pub remote: String,
    /// How it was authenticated.
    pub how: How,
    /// Whether a certificate of the peer proves the remote domain.
    proved: bool,
}

impl Pairs {
    /// Adds a pair of a stream that the peer opened, once.
    pub fn add(&mut self, local: &str, remote: &str, how: How) {
        let proved = matches!(how, How::External | How::DialbackByCertificate);
        self.push(local, remote, how, proved);
    }

    /// Adds a pair of a stream that we opened, once: EXTERNAL there proves who we are, and nothing of the peer
    /// (XEP-0178 §3). `proved` is whether its certificate does.
    pub fn add_ours(&mut self, local: &str, remote: &str, how: How, proved: bool) {
        self.push(local, remote, how, proved);
    }

    fn push(&mut self, local: &str, remote: &str, how: How, proved: bool) {
        if !self.has(local, remote) {
            let (local, remote) = (local.to_owned(), remote.to_owned());
            self.0.push(Pair { local, remote, how, proved });
        }
    }

    /// Whether there is this pair; both in normal form.
    pub fn has(&self, local: &str, remote: &str) -> bool {
        self.0.iter().any(|pair| pair.local == local && pair.remote == remote)
    }

    /// Whether a certificate proves that the stream is this domain's: then it may speak to each of ours. A dialback
    /// key is for one pair.
    fn is_proved(&self, remote: &str) -> bool {
        self.0.iter().any(|pair| pair.remote == remote && pair.proved)
    }

    /// Their number.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether nothing is authenticated.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// All of them, in the order in which they came.
    pub fn iter(&self) -> impl Iterator<Item = &Pair> {
        self.0.iter()
    }

    /// Whether a peer may send this stanza: only the domains of its addresses are judged (RFC 6120 §8.1.2.2,
    /// §4.9.3.7, §4.9.3.9). The rest of them whoever takes it has to look at: a malformed localpart is one
    /// user's fault, for which a whole stream should not end.
    pub fn judge(
        &self,
        stanza: &Element,
        ours: impl Fn(&str) -> bool,
    ) -> Result<(), StreamFailure> {
        if self.is_empty() {
            return Err(StreamError::NotAuthorized.text("nothing is authenticated yet"));
        }
        let (Some(from), Some(to)) = (stanza.attr("from"), stanza.attr("to")) else {
            return Err(StreamError::ImproperAddressing.text("a stanza without 'from' or 'to'"));
        };
        let (Some(from), Some(to)) = (domain_of(&from), domain_of(&to)) else {
            return Err(StreamError::ImproperAddressing.text("an address without a domain"));
        };
        if self.has(&to, &from) || (ours(&to) && self.is_proved(&from)) {
            return Ok(());
        }
        Err(if !self.0.iter().any(|pair| pair.remote == from) {
            StreamError::InvalidFrom
                .text("the domain of 'from' is not authenticated on this stream")
        } else if ours(&to) {
            StreamError::ImproperAddressing
                .text("the domain of 'to' was not asked for on this stream")
        } else {
            StreamError::HostUnknown.text("the domain of 'to' is not served here")
        })
    }
}

/// The domain of an address, in normal form (RFC 7622 §3.1): behind the first `@` before the first `/`.
pub fn domain_of(address: &str) -> Option<Cow<'_, str>> {
    let bare = address.split_once('/').map_or(address, |(bare, _)| bare);
    let domain = bare.split_once('@').map_or(bare, |(_, domain)| domain);
    prep::domainpart(domain).ok()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::jid::Jid;
    use crate::xml::gate::{self, Rules};
    use crate::xml::ns;

    fn judged(addresses: &str) -> &'static str {
        let mut pairs = Pairs::default();
        let rules =
            Rules { content_ns: ns::CLIENT, depth_max: 9, attributes_max: 9, children_max: 9 };
        let stanza = gate::check(format!("<message {addresses}/>").into(), &rules).unwrap();
        let ours = |domain: &str| matches!(domain, "us.example" | "rooms.us.example");
        assert_eq!(pairs.judge(&stanza, ours).unwrap_err().error, StreamError::NotAuthorized);
        pairs.add("us.example", "a.example", How::External);
        pairs.add("us.example", "a.example", How::Dialback);
        pairs.add("rooms.us.example", "bücher.example", How::Dialback);
        assert_eq!(pairs.len(), 2);
        match pairs.judge(&stanza, ours) {
            Ok(()) => "ok",
            Err(failure) => failure.error.condition(),
        }
    }

    /// RFC 6120 §4.9.3.6, §4.9.3.7, §4.9.3.9, §8.1.2.2
    #[test]
    fn stanzas_pass_between_the_domains_of_a_pair_only() {
        for (addresses, want) in [
            ("from='x@a.example/r' to='y@us.example/s'", "ok"),
            ("from='a.example' to='us.example'", "ok"),
            ("from='A.Example.' to='US.example'", "ok"),
            ("from='x@xn--bcher-kva.example' to='r@rooms.us.example/n@x/y'", "ok"),
            ("from='x y@a.example' to='@us.example/'", "ok"),
            ("to='y@us.example'", "improper-addressing"),
            ("from='x@a.example'", "improper-addressing"),
            ("from='' to='y@us.example'", "improper-addressing"),
            ("from='x@a.example' to=''", "improper-addressing"),
            ("from='x@' to='y@us.example'", "improper-addressing"),
            ("from='x@a b' to='y@us.example'", "improper-addressing"),
            ("from='x@evil.example' to='y@us.example'", "invalid-from"),
            ("from='us.example' to='us.example'", "invalid-from"),
            ("from='x@sub.a.example' to='y@us.example'", "invalid-from"),
            ("from='x@evil.example/@a.example' to='y@us.example'", "invalid-from"),
            ("from='x@evil.example@a.example' to='y@us.example'", "improper-addressing"),
            ("from='x@a.example' to='y@rooms.us.example'", "ok"),
            ("from='x@bücher.example' to='y@us.example'", "improper-addressing"),
            ("from='x@a.example' to='y@elsewhere.example'", "host-unknown"),
        ] {
            assert_eq!(judged(addresses), want, "{addresses}");
        }
    }

    /// XEP-0178 §3: that a peer believes us does not make it believed.
    #[test]
    fn a_stream_of_ours_is_proved_by_the_certificate_alone() {
        let rules =
            Rules { content_ns: ns::CLIENT, depth_max: 9, attributes_max: 9, children_max: 9 };
        let stanza = |to: &str| {
            let xml = format!("<message from='x@a.example' to='y@{to}'/>");
            gate::check(xml.into(), &rules).unwrap()
        };
        for (proved, elsewhere) in [(true, true), (false, false)] {
            let mut pairs = Pairs::default();
            pairs.add_ours("us.example", "a.example", How::External, proved);
            assert!(pairs.judge(&stanza("us.example"), |_| true).is_ok());
            assert_eq!(pairs.judge(&stanza("rooms.us.example"), |_| true).is_ok(), elsewhere);
        }
    }

    proptest! {
        /// Whoever parses the address later sees the domain that was judged.
        #[test]
        fn the_domain_is_that_of_the_whole_address(text in "[a-cA@/.é\\[\\]: -]{0,12}") {
            if let Ok(jid) = Jid::parse(&text) {
                let domain = domain_of(&text);
                prop_assert_eq!(domain.as_deref(), Some(jid.domain()));
            }
        }
    }
}
