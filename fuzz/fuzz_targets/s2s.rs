//! Whatever another server sends, on a stream that it opened or that we did: nobody gets in by accident, nothing
//! is done before TLS, and the stream ends once.
#![no_main]

use std::sync::Arc;

use bytes::BytesMut;
use libfuzzer_sys::fuzz_target;
use stonechat::base::id::Rng;
use stonechat::base::limits::Limits;
use stonechat::jid::Jid;
use stonechat::stream::framing::{Event, Framing, Item};
use stonechat::stream::s2s::certificate::{CertName, PeerCertificate, Secured, Trust};
use stonechat::stream::s2s::{
    Admission, Certificates, DialbackSecret, Incoming, Outcome, Outgoing, PeerLimits, Policy, Purpose,
    incoming, outgoing,
};
use stonechat::xml::{Element, ns};

struct Zeros;

impl Rng for Zeros {
    fn fill(&mut self, buf: &mut [u8]) {
        buf.fill(0);
    }
}

struct All;

impl Admission for All {
    fn admits(&self, _: &str) -> bool {
        true
    }
}

fn policy(choice: u8) -> Arc<Policy> {
    let certificates = match choice & 1 {
        0 => Certificates::Require,
        _ => Certificates::Dialback,
    };
    Arc::new(Policy {
        domains: vec!["a.example".to_owned(), "rooms.a.example".to_owned()],
        secret: DialbackSecret::new(b"secret"),
        certificates,
        dialback_domains: Vec::new(),
        admission: Box::new(All),
        domains_per_stream_max: 4,
        external: true,
        bidi: true,
        sm: true,
        limits: PeerLimits::default(),
        limits_unauthenticated: PeerLimits::default(),
    })
}

fn secured(choice: u8) -> Secured {
    let trust = match choice & 2 {
        0 => Trust::Valid,
        _ => Trust::Untrusted("self-signed".to_owned()),
    };
    let names = vec![CertName::Dns("b.example".to_owned())];
    Secured(Some(PeerCertificate { trust, names }))
}

/// Both addresses of a stanza that passed: ours, and the peer's.
fn pair(stanza: &Element) -> [String; 2] {
    ["to", "from"].map(|name| {
        let text = stanza.attr(name).expect("a stanza that passes has addresses");
        let domain = text.split('/').next().unwrap_or_default();
        let domain = domain.split_once('@').map_or(domain, |(_, domain)| domain);
        Jid::parse(domain).expect("its domains are domains").domain().to_owned()
    })
}

fn before_tls(item: &Item) {
    if let Item::Element(element) = item {
        assert!(String::from_utf8_lossy(element).contains(ns::TLS), "something before TLS");
    }
}

// The first byte chooses; the rest is what the peer sends.
fuzz_target!(|data: &[u8]| {
    let Some((&choice, data)) = data.split_first() else { return };
    match choice & 4 {
        0 => called(choice, data),
        _ => calls(choice, data),
    }
});

/// The next thing that the peer says, if there is any.
fn heard(framing: &mut Framing, buffer: &mut BytesMut) -> Option<Event> {
    framing.next(buffer, |_| ()).ok().flatten()
}

fn called(choice: u8, data: &[u8]) {
    use incoming::{Input, Output};
    let direct = (choice & 8 != 0).then(|| secured(choice));
    let (mut tls, mut ended) = (direct.is_some(), false);
    let mut machine = Incoming::new(policy(choice), direct);
    let mut framing = Framing::tcp(ns::SERVER, &Limits::default());
    let mut buffer = BytesMut::from(data);
    let mut inputs = Vec::new();
    loop {
        let input = match inputs.pop() {
            Some(input) => input,
            None => match heard(&mut framing, &mut buffer) {
                Some(Event::Open(header)) => Input::Open(header),
                Some(Event::Element(element)) => Input::Element(element),
                Some(Event::Close | Event::Gone) => Input::Close,
                Some(Event::Whitespace) => continue,
                None => return,
            },
        };
        for output in machine.feed(input, &mut Zeros) {
            assert!(!ended, "something after the end");
            match output {
                Output::Write(item) if !tls => before_tls(&item),
                Output::StartTls => {
                    framing.restart();
                    tls = true;
                    inputs.push(Input::Secured(secured(choice)));
                }
                Output::Authenticated { restart: true } => framing.restart(),
                Output::Verify { local, remote, .. } => {
                    let outcome = if choice & 16 == 0 { Outcome::Valid } else { Outcome::Invalid };
                    inputs.push(Input::Verified { local, remote, outcome });
                }
                Output::Paired { remote, .. } => {
                    assert!(tls && (choice & 1 == 1 || remote == "b.example" && choice & 2 == 0));
                }
                Output::Stanza(stanza) => {
                    let [local, remote] = pair(&stanza);
                    assert!(machine.pairs().has(&local, &remote), "a stanza of no pair");
                }
                Output::End => ended = true,
                _ => {}
            }
        }
    }
}

fn calls(choice: u8, data: &[u8]) {
    use outgoing::{Input, Output};
    let direct = (choice & 8 != 0).then(|| secured(choice));
    let (mut tls, mut ended) = (direct.is_some(), false);
    let purpose = match choice & 16 {
        0 => Purpose::Stanzas,
        _ => Purpose::Verify { stream_id: "7".to_owned(), key: "key".to_owned() },
    };
    let mut machine = Outgoing::new(policy(choice), "a.example", "b.example", purpose, direct);
    let mut framing = Framing::tcp(ns::SERVER, &Limits::default());
    let mut buffer = BytesMut::from(data);
    let mut inputs = vec![Input::Connected];
    loop {
        let input = match inputs.pop() {
            Some(input) => input,
            None => match heard(&mut framing, &mut buffer) {
                Some(Event::Open(header)) => Input::Open(header),
                Some(Event::Element(element)) => Input::Element(element),
                Some(Event::Close | Event::Gone) => Input::Close,
                Some(Event::Whitespace) => continue,
                None => return,
            },
        };
        for output in machine.feed(input) {
            assert!(!ended, "something after the end");
            match output {
                Output::Write(item) if !tls => before_tls(&item),
                Output::StartTls => {
                    framing.restart();
                    tls = true;
                    inputs.push(Input::Secured(secured(choice)));
                }
                Output::Authenticated { restart: true } => framing.restart(),
                Output::Ready(_) => {
                    assert!(tls && choice & 3 != 2, "a certificate that is required and wrong");
                    let (local, remote) = ("rooms.a.example".to_owned(), "b.example".to_owned());
                    inputs.push(Input::AddPair { local, remote });
                }
                Output::Stanza(stanza) => {
                    let [local, remote] = pair(&stanza);
                    assert!(machine.pairs().has(&local, &remote), "a stanza of no pair");
                }
                Output::End => ended = true,
                _ => {}
            }
        }
    }
}
