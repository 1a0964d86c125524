//! `a.example` calls `b.example`.

use std::sync::Arc;

use super::world::{dialback_policy, element, header, of_outgoing, policy, self_signed, valid};
use crate::stream::error::StreamError;
use crate::stream::s2s::certificate::Secured;
use crate::stream::s2s::outgoing::{Input, Outgoing, Purpose};
use crate::stream::s2s::{Certificates, Policy};
use crate::xml::header::Header;

struct World(Outgoing);

impl World {
    fn new(policy: impl Into<Arc<Policy>>, purpose: Purpose) -> Self {
        Self(Outgoing::new(policy.into(), "a.example", "b.example", purpose, None))
    }

    /// A stream under TLS, whose header was answered.
    fn secured(policy: impl Into<Arc<Policy>>, secured: Secured) -> Self {
        let mut world = Self::new(policy, Purpose::Stanzas);
        world.feed(Input::Connected);
        world.feed(Input::Open(answer()));
        world.offers(STARTTLS);
        world.says("<proceed xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>");
        world.feed(Input::Secured(secured));
        world.feed(Input::Open(answer()));
        world
    }

    /// A stream that is ready by EXTERNAL.
    fn ready(features: &str) -> Self {
        let mut world = Self::secured(policy("a.example"), valid(&["b.example", "*.b.example"]));
        world.offers(&[EXTERNAL, features].concat());
        world.says(SUCCESS);
        world.feed(Input::Open(answer()));
        let ready = world.offers(features);
        assert!(ready.last().unwrap().starts_with("ready external"), "{ready:?}");
        world
    }

    fn feed(&mut self, input: Input) -> Vec<String> {
        of_outgoing(&self.0.feed(input))
    }

    fn offers(&mut self, features: &str) -> Vec<String> {
        self.says(&format!("<stream:features>{features}</stream:features>"))
    }

    fn says(&mut self, xml: &str) -> Vec<String> {
        self.feed(Input::Element(element(xml)))
    }

    fn result(&mut self, from: &str, to: &str, ty: &str) -> Vec<String> {
        self.says(&format!("<db:result from='{from}' to='{to}' type='{ty}'/>"))
    }

    fn add(&mut self, local: &str, remote: &str) -> Vec<String> {
        self.feed(Input::AddPair { local: local.to_owned(), remote: remote.to_owned() })
    }
}

fn answer() -> Header {
    header("b.example", "a.example")
}

fn question() -> Purpose {
    Purpose::Verify { stream_id: "s1".to_owned(), key: "key".to_owned() }
}

const STARTTLS: &str = "<starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>";
const EXTERNAL: &str = "<mechanisms xmlns='urn:ietf:params:xml:ns:xmpp-sasl'><mechanism>EXTERNAL\
                        </mechanism></mechanisms>";
const DIALBACK: &str = "<dialback xmlns='urn:xmpp:features:dialback'><errors/></dialback>";
const BIDI: &str = "<bidi xmlns='urn:xmpp:features:bidi'/>";
const SM: &str = "<sm xmlns='urn:xmpp:sm:3'/><limits xmlns='urn:xmpp:stream-limits:0'><max-bytes>9000\
                  </max-bytes></limits>";
const SUCCESS: &str = "<success xmlns='urn:ietf:params:xml:ns:xmpp-sasl'/>";
const FAILURE: &str =
    "<failure xmlns='urn:ietf:params:xml:ns:xmpp-sasl'><not-authorized/></failure>";
const MESSAGE: &str = "<message from='x@b.example' to='y@a.example'/>";

/// RFC 6120 §5, RFC 7590 §3.1
#[test]
fn without_tls_there_is_no_stream() {
    let no_tls = ["failed: the server offers no encryption", "close", "end"];
    let mut world = World::new(policy("a.example"), Purpose::Stanzas);
    assert_eq!(world.feed(Input::Connected), ["header a.example b.example"]);
    assert!(world.feed(Input::Connected).is_empty());
    assert!(world.feed(Input::Open(answer())).is_empty());
    assert_eq!(world.offers(&[EXTERNAL, DIALBACK].concat()), no_tls);
    assert!(world.feed(Input::Close).is_empty());
    let mut world = World::new(policy("a.example"), Purpose::Stanzas);
    world.feed(Input::Connected);
    assert_eq!(world.feed(Input::Open(Header { version: None, ..answer() })), no_tls);
    let mut world = World::new(policy("a.example"), Purpose::Stanzas);
    world.feed(Input::Connected);
    world.feed(Input::Open(answer()));
    assert_eq!(world.offers(STARTTLS), ["<starttls>"]);
    assert_eq!(world.says("<failure xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>"), no_tls);
    for early in
        [MESSAGE, "<db:result from='b.example' to='a.example' type='valid'/>", SUCCESS, "<x/>"]
    {
        let mut world = World::new(policy("a.example"), Purpose::Stanzas);
        world.feed(Input::Connected);
        world.feed(Input::Open(answer()));
        assert_eq!(world.says(early)[0], "error not-authorized", "{early}");
    }
}

/// RFC 6120 §13.7.2: nothing is said to somebody else.
#[test]
fn the_certificate_must_be_the_peers() {
    for (policy, secured, want) in [
        (Arc::new(policy("a.example")), valid(&["b.example"]), None),
        (
            Arc::new(policy("a.example")),
            valid(&["c.example"]),
            Some("b.example, but for c.example"),
        ),
        (Arc::new(policy("a.example")), self_signed(), Some("self-signed")),
        (Arc::new(policy("a.example")), Secured(None), Some("no certificate")),
        (dialback_policy("a.example"), self_signed(), None),
    ] {
        for direct in [false, true] {
            let tls = direct.then(|| secured.clone());
            let machine =
                Outgoing::new(Arc::clone(&policy), "a.example", "b.example", Purpose::Stanzas, tls);
            let mut world = World(machine);
            let mut said = world.feed(Input::Connected);
            if !direct {
                world.feed(Input::Open(answer()));
                world.offers(STARTTLS);
                assert_eq!(
                    world.says("<proceed xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>"),
                    ["tls"]
                );
                said = world.feed(Input::Secured(secured.clone()));
            }
            match want {
                None => assert_eq!(said, ["header a.example b.example"]),
                Some(why) => {
                    assert!(said[0].starts_with("failed: ") && said[0].contains(why), "{said:?}");
                    assert!(!said.iter().any(|one| one.starts_with("header")));
                    assert_eq!(said.last().unwrap(), "end");
                }
            }
        }
    }
}

/// RFC 6120 §4.7.1
#[test]
fn headers_are_judged() {
    for header in
        [Header { from: Some("c.example".into()), ..answer() }, Header { id: None, ..answer() }]
    {
        let mut world = World::new(policy("a.example"), Purpose::Stanzas);
        world.feed(Input::Connected);
        let said = world.feed(Input::Open(header));
        assert!(said[0].starts_with("error ") && said[1].starts_with("failed: "), "{said:?}");
        assert_eq!(said[2..], ["close", "end"]);
    }
}

/// XEP-0178 §3, XEP-0198, XEP-0288 §2.2, XEP-0478
#[test]
fn external_comes_first() {
    let mut world = World::secured(policy("a.example"), valid(&["b.example"]));
    assert_eq!(world.offers(&[EXTERNAL, DIALBACK, BIDI].concat()), ["<bidi limits>", "<auth>"]);
    assert_eq!(world.says(SUCCESS), ["authenticated true", "header a.example b.example"]);
    assert!(world.feed(Input::Open(answer())).is_empty());
    assert_eq!(world.offers(&[SM, BIDI].concat()), ["ready external sm bidi 9000"]);
    assert_eq!(world.says("<enabled xmlns='urn:xmpp:sm:3'/>"), ["managed enabled"]);
    assert_eq!(world.says(MESSAGE), ["stanza message"]);
    assert_eq!(
        world.says("<message from='x@c.example' to='y@a.example'/>")[0],
        "error invalid-from"
    );
    // Without it, the stream goes one way.
    let mut world = World::ready("");
    assert_eq!(world.says(MESSAGE)[0], "error not-authorized");
    let mut world = World::secured(
        Policy { external: false, bidi: false, sm: false, ..policy("a.example") },
        valid(&["b.example"]),
    );
    let said = world.offers(&[EXTERNAL, DIALBACK, BIDI, SM].concat());
    assert_eq!(said, ["<db:result a.example b.example>"]);
    let ready = world.result("b.example", "a.example", "valid");
    assert_eq!(ready, ["authenticated false", "ready dialback dialback 9000"]);
}

/// XEP-0178 §3, XEP-0220 §2.1.1
#[test]
fn dialback_is_what_is_left() {
    let no_way = "failed: the server offers no way to authenticate";
    let mut world = World::secured(policy("a.example"), valid(&["b.example"]));
    assert_eq!(world.offers(""), [no_way, "close", "end"]);
    let mut world = World::secured(policy("a.example"), valid(&["b.example"]));
    world.offers(EXTERNAL);
    let refused = "failed: the server refused our certificate (not-authorized)";
    assert_eq!(world.says(FAILURE), [refused, "close", "end"]);
    let mut world = World::secured(policy("a.example"), valid(&["b.example"]));
    world.offers(&[EXTERNAL, DIALBACK].concat());
    assert_eq!(world.says("<challenge xmlns='urn:ietf:params:xml:ns:xmpp-sasl'/>"), ["<response>"]);
    assert_eq!(world.says(FAILURE), ["<db:result a.example b.example>"]);
    // XEP-0220 §3.1: what nobody asked for is nothing.
    assert!(world.result("c.example", "a.example", "valid").is_empty());
    assert!(world.result("b.example", "rooms.a.example", "valid").is_empty());
    let mut refused = World::secured(policy("a.example"), valid(&["b.example"]));
    refused.offers(DIALBACK);
    let said = refused.result("b.example", "a.example", "invalid");
    assert_eq!(said[1..], ["close", "end"]);
    assert!(said[0].starts_with("failed: the server says that our dialback key"));
    let said = world.result("b.example", "a.example", "error");
    assert_eq!(said[0], "failed: the server could not verify us (undefined-condition)");
    // By the namespace alone (§2.4.1).
    let direct = Some(valid(&["b.example"]));
    let machine = Outgoing::new(
        policy("a.example").into(),
        "a.example",
        "b.example",
        Purpose::Stanzas,
        direct,
    );
    let mut world = World(machine);
    world.feed(Input::Connected);
    let old = Header { version: None, dialback: Some("db".to_owned()), ..answer() };
    assert_eq!(world.feed(Input::Open(old)), ["<db:result a.example b.example>"]);
}

/// XEP-0220 §2.6
#[test]
fn pairs_are_added() {
    let mut world = World::ready(DIALBACK);
    assert_eq!(world.add("a.example", "b.example"), ["paired a.example b.example"]);
    assert_eq!(
        world.add("rooms.a.example", "b.example"),
        ["<db:result rooms.a.example b.example>"]
    );
    assert!(world.add("rooms.a.example", "b.example").is_empty());
    assert_eq!(
        world.add("a.example", "rooms.b.example"),
        ["<db:result a.example rooms.b.example>"]
    );
    assert!(world.add("rooms.a.example", "rooms.b.example")[0].contains("resource-constraint"));
    let paired = world.result("b.example", "rooms.a.example", "valid");
    assert_eq!(paired, ["paired rooms.a.example b.example"]);
    assert!(world.result("b.example", "rooms.a.example", "valid").is_empty());
    let failed = world.result("rooms.b.example", "a.example", "invalid");
    assert!(failed[0].starts_with("no pair a.example rooms.b.example: "), "{failed:?}");
    assert!(world.add("a.example", "c.example")[0].contains("certificate is refused"));
    // What waits fails with the stream, the stream's own pair not.
    world.add("a.example", "rooms.b.example");
    let said = world.feed(Input::Close);
    assert!(said[0].starts_with("no pair a.example rooms.b.example"), "{said:?}");
    assert_eq!(said[1..], ["close", "end"]);
    // §2.6.2
    let old = "<dialback xmlns='urn:xmpp:features:dialback'/>";
    let mut world = World::ready(old);
    assert!(world.add("a.example", "rooms.b.example")[0].starts_with("no pair"));
    assert_eq!(world.add("rooms.a.example", "b.example").len(), 1);
    assert!(World::ready("").add("rooms.a.example", "b.example")[0].starts_with("no pair"));
    let mut early = World::secured(policy("a.example"), valid(&["b.example"]));
    assert!(early.add("rooms.a.example", "b.example")[0].starts_with("no pair"));
}

/// XEP-0288 §2.2, XEP-0220 §2.5, §3.1
#[test]
fn a_peer_that_asks_here_is_sent_elsewhere() {
    let ask = "<db:result from='rooms.b.example' to='a.example'>k</db:result>";
    let mut world = World::ready(&[DIALBACK, BIDI].concat());
    let want = "<db:result a.example rooms.b.example error resource-constraint>";
    assert_eq!(world.says(ask), [want]);
    let verify = "<db:verify from='b.example' to='a.example' id='1'>k</db:verify>";
    assert_eq!(world.says(verify), ["<db:verify a.example b.example invalid>"]);
    let mut world = World::ready(DIALBACK);
    assert_eq!(world.says(ask)[0], "error not-authorized");
}

/// XEP-0220 §2.1.2
#[test]
fn a_key_is_verified_without_more_ado() {
    let verified =
        |ty: &str| format!("<db:verify from='b.example' to='a.example' id='s1' type='{ty}'/>");
    let asked = |policy: Arc<Policy>| {
        let tls = Some(valid(&["b.example"]));
        let mut world = World(Outgoing::new(policy, "a.example", "b.example", question(), tls));
        assert_eq!(world.feed(Input::Connected), ["header a.example b.example"]);
        assert_eq!(world.feed(Input::Open(answer())), ["<db:verify a.example b.example>"]);
        assert!(world.offers(&[EXTERNAL, DIALBACK].concat()).is_empty());
        world
    };
    for (ty, outcome) in
        [("valid", "valid"), ("invalid", "invalid"), ("error", "remote-server-not-found")]
    {
        let mut world = asked(policy("a.example").into());
        assert!(world.says(&verified(ty).replace("s1", "s2")).is_empty());
        assert!(world.says(&verified(ty).replace("b.example", "c.example")).is_empty());
        let want = format!("verified b.example s1 {outcome}");
        assert_eq!(world.says(&verified(ty)), [&want, "close", "end"]);
    }
    let mut world = asked(policy("a.example").into());
    let gone =
        ["verified b.example s1 remote-server-timeout", "failed: the server closed the stream"];
    assert_eq!(world.feed(Input::Close)[..2], gone);
    let mut world = asked(policy("a.example").into());
    let unknown =
        "<stream:error><host-unknown xmlns='urn:ietf:params:xml:ns:xmpp-streams'/></stream:error>";
    assert_eq!(world.says(unknown)[1], "verified b.example s1 remote-server-not-found");
    let mut world = asked(policy("a.example").into());
    assert_eq!(world.says(MESSAGE)[0], "error not-authorized");
    // A wrong certificate proves nothing.
    let tls = Some(valid(&["c.example"]));
    let policy = Arc::new(policy("a.example"));
    let mut world = World(Outgoing::new(policy, "a.example", "b.example", question(), tls));
    assert_eq!(world.feed(Input::Connected)[0], gone[0]);
    // On a stream that is there.
    let mut world = World::ready("");
    let input = Input::Verify {
        local: "rooms.a.example".to_owned(),
        remote: "b.example".to_owned(),
        stream_id: "s9".to_owned(),
        key: "k".to_owned(),
    };
    assert_eq!(world.feed(input), ["<db:verify rooms.a.example b.example>"]);
    let said = "<db:verify from='b.example' to='rooms.a.example' id='s9' type='valid'/>";
    assert_eq!(world.says(said), ["verified b.example s9 valid"]);
    assert!(world.says(said).is_empty());
}

/// RFC 6120 §4.9
#[test]
fn errors_of_the_peer_say_what_became_of_it() {
    let error = |inner: &str| {
        format!("<stream:error>{inner}</stream:error>")
            .replace("/>", " xmlns='urn:ietf:params:xml:ns:xmpp-streams'/>")
    };
    let mut world = World::new(policy("a.example"), Purpose::Stanzas);
    world.feed(Input::Connected);
    world.feed(Input::Open(answer()));
    let said = world.says(&error("<host-unknown/>"));
    assert_eq!(
        said,
        [
            "peer failed host-unknown",
            "failed: the server ended the stream (host-unknown)",
            "close",
            "end"
        ]
    );
    let elsewhere = "<stream:error><see-other-host xmlns='urn:ietf:params:xml:ns:xmpp-streams'>\
                     c.example:9</see-other-host></stream:error>";
    let mut world = World::new(policy("a.example"), Purpose::Stanzas);
    world.feed(Input::Connected);
    world.feed(Input::Open(answer()));
    assert_eq!(world.says(elsewhere)[0], "elsewhere c.example:9");
    let mut world = World::ready("");
    assert_eq!(world.says(&error("<reset/>")), ["peer failed reset", "close", "end"]);
    let mut world = World::ready("");
    let fail = Input::Fail(StreamError::PolicyViolation.into());
    assert_eq!(world.feed(fail), ["error policy-violation", "close", "end"]);
    let mut world = World::ready("");
    assert_eq!(world.feed(Input::Leave), ["close", "end"]);
    assert_eq!(Certificates::default(), Certificates::Require);
}
