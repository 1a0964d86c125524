//! The machine, alone.

use bytes::BytesMut;
use proptest::prelude::{prop, prop_assert, proptest};

use super::*;
use crate::base::id::Rng;
use crate::base::limits::Limits;
use crate::stream::framing::{Event, Framing};

struct Irc;

struct Counter;

impl Rng for Counter {
    fn fill(&mut self, buf: &mut [u8]) {
        buf.fill(7);
    }
}

impl Secrets for Irc {
    fn secret(&self, domain: &str) -> Option<&str> {
        (domain == "irc.example").then_some("sesame")
    }
}

const HEADER: &str = "<stream:stream xmlns='jabber:component:accept' \
                      xmlns:stream='http://etherx.jabber.org/streams' to='irc.example'>";

/// A stream with its framing on both sides.
struct World {
    machine: Component,
    framing: Framing,
    said: String,
    rng: Counter,
}

impl World {
    fn new() -> Self {
        let framing = Framing::tcp(ns::COMPONENT, &Limits::default());
        let (machine, rng) = (Component::new(), Counter);
        Self { machine, framing, said: String::new(), rng }
    }

    fn feed(&mut self, input: Input) -> Vec<String> {
        let outputs = self.machine.feed(input, &Irc, &mut self.rng);
        let mut done = Vec::new();
        for output in outputs {
            match output {
                Output::Write(item) => {
                    let said = &mut self.said;
                    self.framing
                        .write(item, |bytes| said.push_str(std::str::from_utf8(&bytes).unwrap()));
                }
                Output::Stanza(element) => done.push(format!("stanza {}", element.as_str())),
                Output::Handshake { right, .. } => done.push(format!("handshake {right}")),
                Output::Ready => done.push("ready".to_owned()),
                Output::PeerFailed(failure) => {
                    done.push(format!("failed {}", failure.error.condition()))
                }
                Output::End => done.push("end".to_owned()),
            }
        }
        done
    }

    /// What comes of these bytes; a handshake is judged at once.
    fn hear(&mut self, bytes: &str) -> Vec<String> {
        let mut buffer = BytesMut::from(bytes.as_bytes());
        let mut done = Vec::new();
        while !buffer.is_empty() {
            let input = match self.framing.next(&mut buffer, |_| ()) {
                Ok(None) => break,
                Ok(Some(Event::Open(header))) => Input::Open(header),
                Ok(Some(Event::Element(element))) => Input::Element(element),
                Ok(Some(Event::Close | Event::Gone)) => Input::Close,
                Ok(Some(Event::Whitespace)) => continue,
                Err(error) => {
                    done.extend(self.feed(Input::Fail(error.into())));
                    break;
                }
            };
            let mut now = self.feed(input);
            if now.iter().any(|done| done.starts_with("handshake")) {
                now.extend(self.feed(Input::Judged(Ok(()))));
            }
            done.extend(now);
        }
        done
    }

    fn handshake(&self, secret: &str) -> String {
        let id = self.said.split(" id='").nth(1).unwrap().split('\'').next().unwrap();
        let hash = hex(&sha1(format!("{id}{secret}").as_bytes()));
        format!("<handshake>{hash}</handshake>")
    }

    fn open() -> Self {
        let mut world = Self::new();
        assert_eq!(world.hear(HEADER), Vec::<String>::new());
        let handshake = world.handshake("sesame");
        assert_eq!(world.hear(&handshake), ["handshake true", "ready"]);
        world
    }
}

/// XEP-0114 §3
#[test]
fn whoever_knows_the_secret_is_let_in() {
    let world = World::open();
    assert!(
        world
            .said
            .starts_with("<?xml version='1.0'?><stream:stream xmlns='jabber:component:accept'")
    );
    assert!(world.said.contains(" from='irc.example'") && world.said.ends_with("<handshake/>"));
    assert!(!world.said.contains("version='1.0' ") && !world.said.contains("xmlns:db"));
}

#[test]
fn all_others_are_not() {
    let mut world = World::new();
    world.hear(HEADER);
    let wrong = world.handshake("simsim");
    assert_eq!(world.hear(&wrong), ["handshake false", "end"]);
    assert!(world.said.contains("<not-authorized"), "{}", world.said);
    for wrong in ["<handshake/>", "<handshake>x</handshake>"] {
        let mut world = World::new();
        world.hear(HEADER);
        assert_eq!(world.hear(wrong), ["handshake false", "end"]);
    }
    // RFC 6120 §4.9.3.12: nothing before the handshake.
    for early in ["<message from='a@irc.example' to='b@c'/>", "<iq/>", "<x xmlns='y'/>"] {
        let mut world = World::new();
        world.hear(HEADER);
        assert_eq!(world.hear(early), ["end"]);
        assert!(world.said.contains("<not-authorized"), "{}", world.said);
    }
}

/// A domain that somebody else has: what is right is judged from outside.
#[test]
fn a_domain_may_be_taken() {
    let mut world = World::new();
    world.hear(HEADER);
    let handshake = world.handshake("sesame");
    let mut buffer = BytesMut::from(handshake.as_bytes());
    let Ok(Some(Event::Element(element))) = world.framing.next(&mut buffer, |_| ()) else {
        panic!()
    };
    assert_eq!(world.feed(Input::Element(element)), ["handshake true"]);
    assert_eq!(world.feed(Input::Judged(Err(StreamError::Conflict.into()))), ["end"]);
    assert!(world.said.contains("<conflict") && !world.said.contains("<handshake/>"));
    assert!(world.feed(Input::Judged(Ok(()))).is_empty(), "it has ended");
}

/// XEP-0114 §3, RFC 6120 §4.9.1.1
#[test]
fn headers_are_refused_in_a_stream() {
    for (header, condition) in [
        (HEADER.replace("irc.example", "xmpp.example"), "host-unknown"),
        (HEADER.replace("irc.example", "x@irc.example"), "host-unknown"),
        (HEADER.replace(" to='irc.example'", ""), "improper-addressing"),
        (HEADER.replace("component:accept", "client"), "invalid-namespace"),
        (HEADER.replace("component:accept", "component:connect"), "invalid-namespace"),
        (HEADER.replace("etherx", "example"), "invalid-namespace"),
    ] {
        let mut world = World::new();
        assert_eq!(world.hear(&header), ["end"], "{header}");
        let text = &world.said;
        assert!(text.contains("<stream:stream") && text.contains(condition), "{header}: {text}");
        assert!(text.ends_with("</stream:stream>"), "{text}");
    }
    let mut world = World::new();
    world.hear(&HEADER.replace("irc.example", "IRC.Example"));
    let handshake = world.handshake("sesame");
    assert_eq!(world.hear(&handshake), ["handshake true", "ready"], "in normal form");
}

/// XEP-0114 §3: any sender at its domain, and no other.
#[test]
fn stanzas_are_from_the_components_domain() {
    for (stanza, want) in [
        ("<message from='irc.example' to='u@x'/>", "stanza"),
        ("<message from='#a%b@irc.example/n' to='u@x/r'/>", "stanza"),
        ("<iq from='a@IRC.example' to='x' type='get' id='1'/>", "stanza"),
        ("<message xmlns='jabber:client' from='irc.example' to='u@x'/>", "stanza"),
        ("<message xmlns='jabber:component:accept' from='irc.example' to='u@x'/>", "stanza"),
        ("<message from='u@x' to='u@x'/>", "invalid-from"),
        ("<message from='u@sub.irc.example' to='u@x'/>", "invalid-from"),
        ("<message from='x/@irc.example' to='u@x'/>", "invalid-from"),
        ("<message from='irc.example'/>", "improper-addressing"),
        ("<message to='u@x'/>", "improper-addressing"),
        ("<message from='irc.example' to='u@'/>", "improper-addressing"),
        ("<handshake/>", "unsupported-stanza-type"),
        ("<message xmlns='jabber:server' from='irc.example' to='u@x'/>", "unsupported-stanza-type"),
    ] {
        let mut world = World::open();
        let done = world.hear(stanza);
        match want {
            "stanza" => {
                assert!(done.len() == 1 && done[0].starts_with("stanza"), "{stanza}: {done:?}")
            }
            condition => {
                assert_eq!(done, ["end"], "{stanza}");
                assert!(world.said.contains(condition), "{stanza}: {}", world.said);
            }
        }
    }
}

#[test]
fn streams_end_in_good_order() {
    let mut world = World::open();
    assert_eq!(world.hear("</stream:stream>"), ["end"]);
    assert!(world.said.ends_with("<handshake/></stream:stream>"));
    let mut world = World::open();
    let error =
        "<stream:error><conflict xmlns='urn:ietf:params:xml:ns:xmpp-streams'/></stream:error>";
    assert_eq!(world.hear(error), ["failed conflict", "end"]);
    let mut world = World::open();
    assert_eq!(world.feed(Input::Fail(StreamError::SystemShutdown.into())), ["end"]);
    assert!(world.said.contains("system-shutdown"));
}

proptest! {
    /// Whatever comes, nothing is relayed before a right handshake, and nothing after the end.
    #[test]
    fn nothing_passes_before_the_handshake(parts in prop::collection::vec(0..8_usize, 0..9)) {
        let mut world = World::new();
        let mut ready = false;
        for part in parts {
            let text = match part {
                0 => HEADER.to_owned(),
                1 if world.said.contains(" id='") => world.handshake("sesame"),
                2 if world.said.contains(" id='") => world.handshake("wrong"),
                3 => "<message from='irc.example' to='u@x'/>".to_owned(),
                4 => "<message from='u@x' to='u@x'/>".to_owned(),
                5 => "</stream:stream>".to_owned(),
                6 => "<handshake/>".to_owned(),
                _ => "<x/>".to_owned(),
            };
            let ended = world.machine.state == State::Ended;
            let done = world.hear(&text);
            prop_assert!(!ended || done.is_empty());
            for done in done {
                ready |= done == "ready";
                prop_assert!(ready || !done.starts_with("stanza"));
            }
        }
    }
}
