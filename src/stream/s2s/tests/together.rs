//! Both machines, with the framing between them, however the bytes are cut.

use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use proptest::prelude::*;

use super::world::{certificate, dialback_policy, of_incoming, of_outgoing, policy, valid};
use crate::base::id::OsRng;
use crate::base::limits::Limits;
use crate::stanza::{Frame, StanzaError};
use crate::stream::framing::{Event, Framing, Item};
use crate::stream::s2s::certificate::{Secured, Trust};
use crate::stream::s2s::incoming::{self, Incoming};
use crate::stream::s2s::outgoing::{self, Outgoing, Purpose};
use crate::stream::s2s::{Outcome, Policy};
use crate::xml::ns;

/// A connection between two servers.
struct Connection {
    caller: Outgoing,
    called: Incoming,
    /// Of the caller, then of the called.
    framings: [Framing; 2],
    /// What is on the way to the caller, and to the called.
    wires: [Vec<u8>; 2],
    /// What arrived and is not whole.
    buffers: [BytesMut; 2],
    /// What each sees of the other.
    certificates: [Secured; 2],
    /// What came out.
    caller_says: Vec<String>,
    called_says: Vec<String>,
    /// Questions of the called.
    questions: Vec<[String; 4]>,
    /// Stanzas that arrived, as they are routed.
    stanzas: Vec<String>,
}

impl Connection {
    fn new(
        caller: &Arc<Policy>,
        called: &Arc<Policy>,
        purpose: Purpose,
        certificates: [Secured; 2],
    ) -> Self {
        let (local, remote) = (caller.domains[0].clone(), called.domains[0].clone());
        let framing = || Framing::tcp(ns::SERVER, &Limits::default());
        let mut connection = Self {
            caller: Outgoing::new(Arc::clone(caller), &local, &remote, purpose, None),
            called: Incoming::new(Arc::clone(called), None),
            framings: [framing(), framing()],
            wires: [Vec::new(), Vec::new()],
            buffers: [BytesMut::new(), BytesMut::new()],
            certificates,
            caller_says: Vec::new(),
            called_says: Vec::new(),
            questions: Vec::new(),
            stanzas: Vec::new(),
        };
        connection.tell_caller(outgoing::Input::Connected);
        connection
    }

    /// Lets all bytes through, in pieces of these sizes.
    fn run(&mut self, sizes: &[usize]) {
        let mut sizes = sizes.iter().copied().cycle();
        while self.wires.iter().any(|wire| !wire.is_empty()) {
            for side in [0, 1] {
                let size = sizes.next().unwrap_or(1).min(self.wires[side].len());
                let piece: Vec<u8> = self.wires[side].drain(..size).collect();
                self.buffers[side].extend_from_slice(&piece);
                while let Some(event) = self.next(side) {
                    match side {
                        0 => self.caller_hears(event),
                        _ => self.called_hears(event),
                    }
                }
            }
        }
    }

    fn next(&mut self, side: usize) -> Option<Event> {
        self.framings[side].next(&mut self.buffers[side], |_| ()).unwrap()
    }

    fn caller_hears(&mut self, event: Event) {
        use outgoing::Input;
        match event {
            Event::Open(header) => self.tell_caller(Input::Open(header)),
            Event::Element(element) => self.tell_caller(Input::Element(element)),
            Event::Close | Event::Gone => self.tell_caller(Input::Close),
            Event::Whitespace => {}
        }
    }

    fn called_hears(&mut self, event: Event) {
        use incoming::Input;
        match event {
            Event::Open(header) => self.tell_called(Input::Open(header)),
            Event::Element(element) => self.tell_called(Input::Element(element)),
            Event::Close | Event::Gone => self.tell_called(Input::Close),
            Event::Whitespace => {}
        }
    }

    fn tell_caller(&mut self, input: outgoing::Input) {
        use outgoing::{Input, Output};
        let outputs = self.caller.feed(input);
        self.caller_says.extend(of_outgoing(&outputs));
        for output in outputs {
            match output {
                Output::Write(item) => self.write(0, item),
                Output::StartTls => {
                    self.framings[0].restart();
                    let secured = self.certificates[0].clone();
                    self.tell_caller(Input::Secured(secured));
                }
                Output::Authenticated { restart } => self.authenticated(0, restart),
                Output::Stanza(stanza) => self.stanzas.push(stanza.as_str().to_owned()),
                _ => {}
            }
        }
    }

    fn tell_called(&mut self, input: incoming::Input) {
        use incoming::{Input, Output};
        let outputs = self.called.feed(input, &mut OsRng);
        self.called_says.extend(of_incoming(&outputs));
        for output in outputs {
            match output {
                Output::Write(item) => self.write(1, item),
                Output::StartTls => {
                    self.framings[1].restart();
                    let secured = self.certificates[1].clone();
                    self.tell_called(Input::Secured(secured));
                }
                Output::Authenticated { restart } => self.authenticated(1, restart),
                Output::Verify { local, remote, stream_id, key } => {
                    self.questions.push([local, remote, stream_id, key]);
                }
                Output::Stanza(stanza) => self.stanzas.push(stanza.as_str().to_owned()),
                _ => {}
            }
        }
    }

    fn authenticated(&mut self, side: usize, restart: bool) {
        self.framings[side].authenticated(&Limits::default());
        if restart {
            self.framings[side].restart();
        }
    }

    fn write(&mut self, side: usize, item: Item) {
        let wire = &mut self.wires[1 - side];
        self.framings[side].write(item, |bytes| wire.extend_from_slice(&bytes));
    }

    fn send(&mut self, side: usize, stanza: &'static str) {
        let wire = &mut self.wires[1 - side];
        let frame = Frame::whole(Bytes::from_static(stanza.as_bytes()));
        self.framings[side].write_frame(frame, |bytes| wire.extend_from_slice(&bytes));
    }

    /// What both said, but what was written.
    fn outcome(&self) -> [Vec<&str>; 2] {
        let mark = |one: &&String| {
            let marks = ["ready", "paired", "failed", "refused", "no pair", "verified", "end"];
            marks.iter().any(|mark| one.starts_with(mark))
        };
        [&self.caller_says, &self.called_says]
            .map(|says| says.iter().filter(mark).map(String::as_str).collect())
    }
}

/// Asks the authoritative server, over a stream of its own (XEP-0220 §2.1.2).
fn ask(
    question: &[String; 4],
    asks: &Arc<Policy>,
    asked: &Arc<Policy>,
    sizes: &[usize],
) -> Outcome {
    let [_, _, stream_id, key] = question.clone();
    let purpose = Purpose::Verify { stream_id, key };
    let certificates = [certificate(Trust::Untrusted("self-signed".into()), &[]), Secured(None)];
    let mut connection = Connection::new(asks, asked, purpose, certificates);
    connection.run(sizes);
    match connection.outcome()[0][0].rsplit_once(' ').unwrap().1 {
        "valid" => Outcome::Valid,
        "invalid" => Outcome::Invalid,
        _ => Outcome::Error(StanzaError::remote_server_not_found()),
    }
}

fn self_signed() -> Secured {
    certificate(Trust::Untrusted("it is self-signed".into()), &["a.example", "b.example"])
}

const FROM_A: &str = "<message from='x@a.example' to='y@b.example' xmlns='jabber:client'><body>1</body>\
                      <f xmlns='urn:xmpp:forward:0'><message xmlns='jabber:client'/></f></message>";
const FROM_B: &str = "<message from='y@b.example' to='x@a.example'><body>2</body></message>";

proptest! {
    #![proptest_config(ProptestConfig { cases: 32, ..ProptestConfig::default() })]

    /// XEP-0178 §3, XEP-0288, XEP-0344
    #[test]
    fn certificates_are_enough(sizes in prop::collection::vec(1_usize..300, 1..9)) {
        let (a, b) = (Arc::new(policy("a.example")), Arc::new(policy("b.example")));
        let certificates =
            [valid(&["b.example", "*.b.example"]), valid(&["a.example", "*.a.example"])];
        let mut connection = Connection::new(&a, &b, Purpose::Stanzas, certificates);
        connection.run(&sizes);
        let [caller, called] = connection.outcome();
        prop_assert_eq!(caller, ["ready external sm bidi dialback 262144"]);
        prop_assert_eq!(called, ["paired b.example a.example external"]);
        connection.send(0, FROM_A);
        connection.send(1, FROM_B);
        let (local, remote) = ("rooms.a.example".to_owned(), "rooms.b.example".to_owned());
        connection.tell_caller(outgoing::Input::AddPair { local, remote });
        connection.run(&sizes);
        let [caller, called] = connection.outcome();
        prop_assert_eq!(caller[1], "paired rooms.a.example rooms.b.example");
        prop_assert_eq!(called[1], "paired rooms.b.example rooms.a.example dialback-by-certificate");
        // What was sent is what is routed.
        let mut stanzas = connection.stanzas.clone();
        stanzas.sort();
        let mut sent = [FROM_A.to_owned(), FROM_B.to_owned()];
        sent.sort();
        prop_assert_eq!(stanzas, sent);
        connection.tell_caller(outgoing::Input::Leave);
        connection.run(&sizes);
        prop_assert!(connection.outcome().iter().all(|says| says.last() == Some(&"end")));
    }

    /// XEP-0220 §2, whole
    #[test]
    fn whoever_has_no_certificate_is_called_back(sizes in prop::collection::vec(1_usize..300, 1..9)) {
        let (a, b) = (dialback_policy("a.example"), dialback_policy("b.example"));
        let certificates = [self_signed(), self_signed()];
        let mut connection = Connection::new(&a, &b, Purpose::Stanzas, certificates);
        connection.run(&sizes);
        let question = connection.questions.remove(0);
        let outcome = ask(&question, &b, &a, &sizes);
        prop_assert_eq!(&outcome, &Outcome::Valid);
        let [local, remote, ..] = question;
        connection.tell_called(incoming::Input::Verified { local, remote, outcome });
        connection.run(&sizes);
        let [caller, called] = connection.outcome();
        prop_assert_eq!(caller, ["ready dialback sm bidi dialback 262144"]);
        prop_assert_eq!(called, ["paired b.example a.example dialback"]);
        connection.send(0, FROM_A);
        connection.run(&sizes);
        prop_assert_eq!(&connection.stanzas, &[FROM_A.to_owned()]);
    }

    /// Somebody who says that it is `a.example`, but has not its secret.
    #[test]
    fn whoever_is_somebody_else_stays_outside(sizes in prop::collection::vec(1_usize..300, 1..9)) {
        let mut forger = policy("a.example");
        forger.secret = crate::stream::s2s::DialbackSecret::new(b"guessed");
        forger.certificates = crate::stream::s2s::Certificates::Dialback;
        let (a, b) = (dialback_policy("a.example"), dialback_policy("b.example"));
        let certificates = [self_signed(), self_signed()];
        let mut connection = Connection::new(&Arc::new(forger), &b, Purpose::Stanzas, certificates);
        connection.run(&sizes);
        let question = connection.questions.remove(0);
        let outcome = ask(&question, &b, &a, &sizes);
        prop_assert_eq!(&outcome, &Outcome::Invalid);
        let [local, remote, ..] = question;
        connection.tell_called(incoming::Input::Verified { local, remote, outcome });
        connection.run(&sizes);
        let [caller, called] = connection.outcome();
        prop_assert!(caller[0].starts_with("failed") && caller[1] == "end", "{:?}", caller);
        prop_assert_eq!(called, ["refused a.example", "end"]);
        connection.send(0, FROM_A);
        connection.run(&sizes);
        prop_assert!(connection.stanzas.is_empty());
    }

    /// Certificates are required, and one side has none that is valid.
    #[test]
    fn invalid_certificates_are_refused(sizes in prop::collection::vec(1_usize..300, 1..9)) {
        let (a, b) = (Arc::new(policy("a.example")), Arc::new(policy("b.example")));
        let certificates = [self_signed(), valid(&["a.example"])];
        let mut connection = Connection::new(&a, &b, Purpose::Stanzas, certificates);
        connection.run(&sizes);
        let want = "failed: the server's certificate is refused: it is self-signed";
        prop_assert_eq!(connection.outcome(), [vec![want, "end"], vec![]]);
        let certificates = [valid(&["b.example"]), self_signed()];
        let mut connection = Connection::new(&a, &b, Purpose::Stanzas, certificates);
        connection.run(&sizes);
        let [caller, called] = connection.outcome();
        prop_assert!(called.iter().all(|one| !one.starts_with("paired")), "{:?}", called);
        prop_assert!(caller[0].starts_with("failed"), "{:?}", caller);
    }
}
