//! Anything, in any order: nothing panics, and nobody gets in.

use std::collections::BTreeSet;
use std::sync::Arc;

use proptest::prelude::*;

use super::world::{dialback_policy, element, header, policy, self_signed, valid};
use crate::base::id::OsRng;
use crate::stanza::StanzaError;
use crate::stream::error::StreamError;
use crate::stream::framing::Item;
use crate::stream::s2s::certificate::Secured;
use crate::stream::s2s::incoming::{self, Incoming};
use crate::stream::s2s::outgoing::{self, Outgoing, Purpose};
use crate::stream::s2s::{DialbackSecret, Outcome};

#[derive(Debug, Clone)]
enum Event {
    Open(String, String),
    Element(String),
    Secured(Secured),
    Answer(String, String, Outcome),
    Connected,
    AddPair(String, String),
    Question(String, String),
    End(u8),
}

fn domain() -> impl Strategy<Value = String> {
    let domains = [
        "a.example",
        "rooms.a.example",
        "b.example",
        "rooms.b.example",
        "c.example",
        "evil.example",
        "old.example",
        "x@a.example",
        "",
    ];
    prop::sample::select(domains.to_vec()).prop_map(str::to_owned)
}

fn ty() -> impl Strategy<Value = &'static str> {
    prop::sample::select(
        &["", " type='valid'", " type='invalid'", " type='error'", " type='x'"][..],
    )
}

fn said() -> impl Strategy<Value = String> {
    let fixed = [
        "<starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>",
        "<proceed xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>",
        "<failure xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>",
        "<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='EXTERNAL'>=</auth>",
        "<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='EXTERNAL'/>",
        "<response xmlns='urn:ietf:params:xml:ns:xmpp-sasl'/>",
        "<challenge xmlns='urn:ietf:params:xml:ns:xmpp-sasl'/>",
        "<success xmlns='urn:ietf:params:xml:ns:xmpp-sasl'/>",
        "<failure xmlns='urn:ietf:params:xml:ns:xmpp-sasl'/>",
        "<bidi xmlns='urn:xmpp:bidi'/>",
        "<enable xmlns='urn:xmpp:sm:3'/>",
        "<r xmlns='urn:xmpp:sm:3'/>",
        "<stream:error/>",
        "<stream:features/>",
        "<stream:features><starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'/></stream:features>",
        "<stream:features><mechanisms xmlns='urn:ietf:params:xml:ns:xmpp-sasl'><mechanism>EXTERNAL\
         </mechanism></mechanisms><dialback xmlns='urn:xmpp:features:dialback'><errors/></dialback>\
         <bidi xmlns='urn:xmpp:features:bidi'/></stream:features>",
        "<foo xmlns='urn:foo'/>",
    ];
    let key = |from: &str, to: &str| DialbackSecret::new(b"b.example").key(from, to, "7");
    prop_oneof![
        6 => prop::sample::select(fixed.to_vec()).prop_map(str::to_owned),
        2 => (domain(), domain(), ty()).prop_map(|(from, to, ty)| {
            format!("<db:result from='{from}' to='{to}'{ty}>k</db:result>")
        }),
        2 => (domain(), domain(), ty()).prop_map(move |(from, to, ty)| {
            let key = key(&from, &to);
            format!("<db:verify from='{from}' to='{to}' id='7'{ty}>{key}</db:verify>")
        }),
        4 => (domain(), domain()).prop_map(|(from, to)| {
            format!("<message from='u@{from}' to='{to}/r'/>")
        }),
    ]
}

fn event() -> impl Strategy<Value = Event> {
    let outcome = prop_oneof![
        3 => Just(Outcome::Valid),
        1 => Just(Outcome::Invalid),
        1 => Just(Outcome::Error(StanzaError::item_not_found())),
    ];
    let secured = prop_oneof![
        3 => Just(valid(&["a.example", "rooms.a.example", "b.example"])),
        1 => Just(self_signed()),
        1 => Just(Secured(None)),
    ];
    prop_oneof![
        4 => Just(Event::Open("a.example".to_owned(), "b.example".to_owned())),
        3 => Just(Event::Open("b.example".to_owned(), "a.example".to_owned())),
        1 => (domain(), domain()).prop_map(|(from, to)| Event::Open(from, to)),
        12 => said().prop_map(Event::Element),
        4 => secured.prop_map(Event::Secured),
        3 => (domain(), domain(), outcome).prop_map(|(to, from, outcome)| Event::Answer(to, from, outcome)),
        2 => Just(Event::Connected),
        2 => (domain(), domain()).prop_map(|(local, remote)| Event::AddPair(local, remote)),
        1 => (domain(), domain()).prop_map(|(local, remote)| Event::Question(local, remote)),
        1 => (0_u8..3).prop_map(Event::End),
    ]
}

/// A beginning that gets somewhere, then anything.
fn events() -> impl Strategy<Value = Vec<Event>> {
    let open = |from: &str, to: &str| Event::Open(from.to_owned(), to.to_owned());
    let say = |xml: &str| Event::Element(xml.to_owned());
    let secured = Event::Secured(valid(&["a.example", "b.example"]));
    let called = vec![
        open("a.example", "b.example"),
        say("<starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>"),
        secured.clone(),
        open("a.example", "b.example"),
    ];
    let calls = vec![
        Event::Connected,
        open("b.example", "a.example"),
        say(
            "<stream:features><starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'/></stream:features>",
        ),
        say("<proceed xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>"),
        secured,
        open("b.example", "a.example"),
    ];
    let begin = prop_oneof![Just(Vec::new()), Just(called), Just(calls)];
    (begin, prop::collection::vec(event(), 0..24)).prop_map(|(begin, rest)| [begin, rest].concat())
}

/// The pairs that were announced, and whether a stanza is one of theirs.
#[derive(Default)]
struct Seen {
    pairs: BTreeSet<(String, String)>,
    ended: bool,
    secured: bool,
}

impl Seen {
    fn stanza(&self, stanza: &crate::xml::element::Element) {
        let domain = |name| {
            let address = crate::jid::Jid::parse(&stanza.attr(name).unwrap()).unwrap();
            address.domain().to_owned()
        };
        let pair = (domain("to"), domain("from"));
        assert!(self.pairs.contains(&pair), "{pair:?} was never announced");
    }

    fn end(&mut self) {
        assert!(!std::mem::replace(&mut self.ended, true), "it ended twice");
    }

    /// Before TLS there is STARTTLS and nothing else.
    fn wrote(&self, item: &Item) {
        if self.secured {
            return;
        }
        match item {
            Item::Features(features) => {
                assert!(
                    features.starts_with("<starttls") && features.matches("xmlns").count() == 1
                );
            }
            Item::Element(element) => {
                let text = String::from_utf8_lossy(element);
                assert!(text.contains("urn:ietf:params:xml:ns:xmpp-tls"), "{text} before TLS");
            }
            Item::Header(_) | Item::Failure(_) | Item::Close => {}
        }
    }
}

fn call(mut machine: Incoming, events: Vec<Event>) {
    use incoming::{Input, Output};
    let mut seen = Seen::default();
    for event in events {
        let input = match event {
            Event::Open(from, to) => Input::Open(header(&from, &to)),
            Event::Element(xml) => Input::Element(element(&xml)),
            Event::Secured(secured) => Input::Secured(secured),
            Event::Answer(local, remote, outcome) => Input::Verified { local, remote, outcome },
            Event::End(0) => Input::Leave,
            Event::End(1) => Input::Close,
            Event::End(_) => Input::Fail(StreamError::PolicyViolation.into()),
            Event::Connected | Event::AddPair(..) | Event::Question(..) => continue,
        };
        for output in machine.feed(input, &mut OsRng) {
            assert!(!seen.ended, "{output:?} after the end");
            match output {
                Output::Write(item) => seen.wrote(&item),
                Output::StartTls => seen.secured = true,
                Output::Paired { local, remote, .. } => {
                    assert!(seen.secured && machine.pairs().has(&local, &remote));
                    assert_ne!(remote, "evil.example");
                    seen.pairs.insert((local, remote));
                    assert!(seen.pairs.len() <= 3);
                }
                Output::Stanza(stanza) => seen.stanza(&stanza),
                Output::Managed(_) => assert!(!seen.pairs.is_empty()),
                Output::End => seen.end(),
                Output::Verify { .. } | Output::Authenticated { .. } | Output::Bidi(_) => {
                    assert!(seen.secured);
                }
                Output::Refused { .. } | Output::PeerFailed(_) => {}
            }
        }
    }
}

fn called(mut machine: Outgoing, events: Vec<Event>) {
    use outgoing::{Input, Output};
    let mut seen = Seen::default();
    let (mut ready, mut failed) = (false, false);
    for event in events {
        let input = match event {
            Event::Open(from, to) => Input::Open(header(&from, &to)),
            Event::Element(xml) => Input::Element(element(&xml)),
            Event::Secured(secured) => Input::Secured(secured),
            Event::Connected => Input::Connected,
            Event::AddPair(local, remote) => Input::AddPair { local, remote },
            Event::Question(local, remote) => {
                let (stream_id, key) = ("7".to_owned(), "k".to_owned());
                Input::Verify { local, remote, stream_id, key }
            }
            Event::End(0) => Input::Leave,
            Event::End(1) => Input::Close,
            Event::End(_) => Input::Fail(StreamError::PolicyViolation.into()),
            Event::Answer(..) => continue,
        };
        for output in machine.feed(input) {
            assert!(!seen.ended, "{output:?} after the end");
            match output {
                Output::Write(item) => seen.wrote(&item),
                Output::StartTls => seen.secured = true,
                Output::Ready(_) => {
                    assert!(seen.secured && !std::mem::replace(&mut ready, true));
                    seen.pairs.insert(("a.example".to_owned(), "b.example".to_owned()));
                }
                Output::Paired { local, remote } => {
                    assert!(ready);
                    seen.pairs.insert((local, remote));
                }
                Output::Stanza(stanza) => seen.stanza(&stanza),
                Output::Managed(_) => assert!(ready),
                Output::Failed(_) => assert!(!ready && !std::mem::replace(&mut failed, true)),
                Output::End => {
                    assert!(ready || failed || matches!(machine.purpose(), Purpose::Verify { .. }));
                    seen.end();
                }
                Output::Authenticated { .. } => assert!(seen.secured),
                Output::PairFailed { .. }
                | Output::Verified { .. }
                | Output::Elsewhere(_)
                | Output::PeerFailed(_) => {}
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, ..ProptestConfig::default() })]

    #[test]
    fn whoever_calls_gets_in_only_as_it_should(events in events(), weak in any::<bool>()) {
        let policy = if weak { dialback_policy("b.example") } else { Arc::new(policy("b.example")) };
        call(Incoming::new(policy, None), events);
    }

    #[test]
    fn whoever_is_called_gets_in_only_as_it_should(
        events in events(), weak in any::<bool>(), verify in any::<bool>(),
    ) {
        let policy = if weak { dialback_policy("a.example") } else { Arc::new(policy("a.example")) };
        let purpose = match verify {
            true => Purpose::Verify { stream_id: "7".to_owned(), key: "k".to_owned() },
            false => Purpose::Stanzas,
        };
        called(Outgoing::new(policy, "a.example", "b.example", purpose, None), events);
    }
}
