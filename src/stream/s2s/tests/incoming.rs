//! `b.example` is called.

use std::sync::Arc;

use super::world::{
    certificate, dialback_policy, element, header, of_incoming, policy, self_signed, valid,
};
use crate::base::id::OsRng;
use crate::stanza::StanzaError;
use crate::stream::error::StreamError;
use crate::stream::s2s::certificate::{Secured, Trust};
use crate::stream::s2s::incoming::{Incoming, Input, Output};
use crate::stream::s2s::{DialbackSecret, Outcome, Policy};

struct World(Incoming);

impl World {
    fn new(policy: impl Into<Arc<Policy>>) -> Self {
        Self(Incoming::new(policy.into(), None))
    }

    /// A stream under TLS whose features are sent.
    fn secured(policy: impl Into<Arc<Policy>>, secured: Secured) -> Self {
        let mut world = Self::new(policy);
        world.open("a.example", "b.example");
        world.says("<starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>");
        assert!(world.feed(Input::Secured(secured)).is_empty());
        world.open("a.example", "b.example");
        world
    }

    fn feed(&mut self, input: Input) -> Vec<String> {
        of_incoming(&self.0.feed(input, &mut OsRng))
    }

    fn open(&mut self, from: &str, to: &str) -> Vec<String> {
        self.feed(Input::Open(header(from, to)))
    }

    fn says(&mut self, xml: &str) -> Vec<String> {
        self.feed(Input::Element(element(xml)))
    }

    fn asks(&mut self, from: &str, to: &str) -> Vec<String> {
        self.says(&format!("<db:result from='{from}' to='{to}'>key</db:result>"))
    }

    fn verified(&mut self, local: &str, remote: &str, outcome: Outcome) -> Vec<String> {
        self.feed(Input::Verified { local: local.to_owned(), remote: remote.to_owned(), outcome })
    }
}

const STARTTLS: &str = "<starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>";
const AUTH: &str = "<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='EXTERNAL'>=</auth>";
const MESSAGE: &str = "<message from='x@a.example' to='y@b.example'/>";

/// RFC 6120 §5, §8.1.2.1, §4.9.3.12; XEP-0220 §2.5
#[test]
fn before_tls_there_is_starttls_and_nothing_else() {
    for (said, condition) in [
        (MESSAGE, "not-authorized"),
        ("<iq from='a.example' to='b.example' type='get'/>", "not-authorized"),
        ("<db:result from='a.example' to='b.example'>k</db:result>", "policy-violation"),
        ("<db:verify from='a.example' to='b.example' id='1'>k</db:verify>", "policy-violation"),
        ("<bidi xmlns='urn:xmpp:bidi'/>", "policy-violation"),
        (AUTH, "policy-violation"),
        ("<enable xmlns='urn:xmpp:sm:3'/>", "policy-violation"),
        ("<foo/>", "policy-violation"),
    ] {
        let mut world = World::new(policy("b.example"));
        let first = world.open("a.example", "b.example");
        assert_eq!(first, ["header b.example a.example", "features starttls"]);
        assert_eq!(world.says(said), [&format!("error {condition}"), "close", "end"], "{said}");
        assert!(world.says(STARTTLS).is_empty() && world.feed(Input::Close).is_empty());
    }
    let mut world = World::new(policy("b.example"));
    world.open("a.example", "b.example");
    assert_eq!(world.says(STARTTLS), ["<proceed>", "tls"]);
    // During the handshake nothing can be said.
    assert_eq!(world.feed(Input::Fail(StreamError::PolicyViolation.into())), ["end"]);
    let mut world = World::secured(policy("b.example"), valid(&["a.example"]));
    assert_eq!(world.says(STARTTLS), ["<failure>", "close", "end"]);
}

/// RFC 6120 §4.9.1.2: a header comes first, whatever happens.
#[test]
fn headers_are_judged_and_answered() {
    for (from, to, said) in [
        ("a.example", "c.example", vec!["header b.example a.example", "error host-unknown"]),
        ("b.example", "b.example", vec!["header b.example b.example", "error invalid-from"]),
        ("x@a.example", "b.example", vec!["header b.example -", "error invalid-from"]),
        (
            "evil.example",
            "rooms.b.example",
            vec![
                "refused evil.example",
                "header rooms.b.example evil.example",
                "error policy-violation",
            ],
        ),
    ] {
        let mut world = World::new(policy("b.example"));
        assert_eq!(world.open(from, to), [said, vec!["close", "end"]].concat(), "{from} {to}");
    }
    let failure = || Input::Fail(StreamError::ConnectionTimeout.into());
    let all = ["header b.example -", "error connection-timeout", "close", "end"];
    assert_eq!(World::new(policy("b.example")).feed(failure()), all);
    // The certificate that was shown is that of the first domain.
    let mut world = World::new(policy("b.example"));
    world.open("a.example", "b.example");
    world.says(STARTTLS);
    world.feed(Input::Secured(valid(&["a.example"])));
    let other = world.open("a.example", "rooms.b.example");
    assert_eq!(other[1..], ["error not-authorized", "close", "end"]);
}

/// XEP-0178 §3, XEP-0220 §2.4, XEP-0288 §2.1
#[test]
fn features_are_what_can_be_used() {
    let require = || Arc::new(policy("b.example"));
    for (policy, secured, from, features) in [
        (require(), valid(&["a.example"]), "a.example", "features external dialback bidi"),
        (require(), certificate(Trust::Dane, &[]), "a.example", "features external dialback bidi"),
        (require(), valid(&["b.example"]), "a.example", "features"),
        (require(), self_signed(), "a.example", "features"),
        (require(), Secured(None), "a.example", "features"),
        (require(), Secured(None), "old.example", "features dialback bidi sm limits"),
        (
            dialback_policy("b.example"),
            Secured(None),
            "a.example",
            "features dialback bidi sm limits",
        ),
    ] {
        let mut world = World(Incoming::new(policy, Some(secured.clone())));
        assert_eq!(world.open(from, "b.example")[1], features, "{secured:?}");
    }
}

/// XEP-0178 §3
#[test]
fn external_is_what_the_certificate_proves() {
    let auth = |mechanism: &str, text: &str| {
        format!(
            "<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='{mechanism}'>{text}</auth>"
        )
    };
    // `a.example`, `A.Example`, `c.example`, not UTF-8
    for (auth, said) in [
        (auth("EXTERNAL", "="), "<success>"),
        (auth("EXTERNAL", "YS5leGFtcGxl"), "<success>"),
        (auth("EXTERNAL", "QS5FeGFtcGxl"), "<success>"),
        (auth("EXTERNAL", "Yy5leGFtcGxl"), "<failure invalid-authzid>"),
        (auth("EXTERNAL", "/w=="), "<failure invalid-authzid>"),
        (auth("EXTERNAL", "YS5leGFtcGxl "), "<success>"),
        (auth("EXTERNAL", "a.example"), "<failure incorrect-encoding>"),
        (auth("EXTERNAL", ""), "<challenge>"),
        (auth("PLAIN", "="), "<failure invalid-mechanism>"),
        ("<abort xmlns='urn:ietf:params:xml:ns:xmpp-sasl'/>".to_owned(), "<failure aborted>"),
        (
            "<response xmlns='urn:ietf:params:xml:ns:xmpp-sasl'/>".to_owned(),
            "<failure malformed-request>",
        ),
    ] {
        let mut world = World::secured(policy("b.example"), valid(&["a.example"]));
        assert_eq!(world.says(&auth)[0], said, "{auth}");
    }
    for secured in [valid(&["c.example"]), self_signed(), Secured(None)] {
        let mut world = World::secured(policy("b.example"), secured);
        assert_eq!(world.says(AUTH), ["refused a.example", "<failure not-authorized>"]);
        assert_eq!(world.says(MESSAGE)[0], "error not-authorized");
    }
    let mut world = World::secured(policy("b.example"), valid(&["a.example"]));
    assert_eq!(world.says(&auth("EXTERNAL", "")), ["<challenge>"]);
    let response = "<response xmlns='urn:ietf:params:xml:ns:xmpp-sasl'/>";
    assert_eq!(world.says(response), ["<success>", "authenticated true"]);
}

/// RFC 6120 §6.4.5, §6.4.6, §4.3.3; XEP-0288 §2.2, XEP-0478 §3.2
#[test]
fn external_begins_a_new_stream() {
    let mut world = World::secured(policy("b.example"), valid(&["a.example"]));
    let bidi = "<bidi xmlns='urn:xmpp:bidi'><limits xmlns='urn:xmpp:stream-limits:0'/></bidi>";
    assert_eq!(world.says(bidi), ["bidi true"]);
    assert!(world.says(bidi).is_empty() && world.0.is_bidi());
    assert_eq!(world.says(AUTH), ["<success>", "authenticated true"]);
    assert_eq!(
        world.open("a.example", "b.example"),
        [
            "header b.example a.example",
            "features dialback sm limits",
            "paired b.example a.example external"
        ]
    );
    assert_eq!(world.says(MESSAGE), ["stanza message"]);
    assert_eq!(world.says("<enable xmlns='urn:xmpp:sm:3'/>"), ["managed enable"]);
    // One more pair by its certificate, and none that it does not prove.
    assert_eq!(world.asks("a.example", "rooms.b.example").len(), 2);
    assert_eq!(
        world.asks("c.example", "b.example")[0],
        "<db:result b.example c.example error not-authorized>"
    );
    assert_eq!(world.says(AUTH)[0], "error policy-violation");
    // Somebody else than the certificate proves may not go on.
    let mut world = World::secured(policy("b.example"), valid(&["a.example", "c.example"]));
    world.says(AUTH);
    assert_eq!(world.open("c.example", "b.example")[1], "error not-authorized");
    // Failures are counted.
    let mut world = World::secured(dialback_policy("b.example"), self_signed());
    for _ in 0..4 {
        assert_eq!(world.says(AUTH).len(), 2);
    }
    assert_eq!(world.says(AUTH)[2..], ["error policy-violation", "close", "end"]);
}

/// XEP-0220 §2.2.1, §2.5
#[test]
fn keys_are_verified_elsewhere() {
    let valid_answer = "<db:result b.example a.example valid>";
    let mut world = World::secured(dialback_policy("b.example"), self_signed());
    assert_eq!(world.asks("a.example", "b.example"), ["verify b.example a.example"]);
    assert_eq!(
        world.asks("A.example", "b.example"),
        ["<db:result b.example a.example error unexpected-request>", "refused a.example"]
    );
    assert_eq!(world.asks("c.example", "b.example"), ["verify b.example c.example"]);
    assert!(world.verified("b.example", "d.example", Outcome::Valid).is_empty());
    assert_eq!(
        world.verified("b.example", "a.example", Outcome::Valid),
        [valid_answer, "authenticated false", "paired b.example a.example dialback"]
    );
    assert!(world.verified("b.example", "a.example", Outcome::Valid).is_empty());
    assert_eq!(world.asks("a.example", "b.example"), [valid_answer]);
    assert_eq!(world.says(MESSAGE), ["stanza message"]);
    // The stream goes on for the pair that is there.
    assert_eq!(
        world.verified("b.example", "c.example", Outcome::Invalid),
        ["<db:result b.example c.example error forbidden>", "refused c.example"]
    );
    world.asks("c.example", "b.example");
    let error = Outcome::Error(StanzaError::remote_server_timeout());
    assert_eq!(
        world.verified("b.example", "c.example", error)[0],
        "<db:result b.example c.example error remote-server-timeout>"
    );
    for (from, to, condition) in [
        ("c.example", "d.example", "item-not-found"),
        ("rooms.b.example", "b.example", "forbidden"),
        ("evil.example", "b.example", "policy-violation"),
    ] {
        let want = format!("<db:result {to} {from} error {condition}>");
        assert_eq!(world.asks(from, to)[0], want);
    }
    world.asks("c.example", "b.example");
    world.asks("d.example", "b.example");
    assert_eq!(
        world.asks("e.example", "b.example")[0],
        "<db:result b.example e.example error resource-constraint>"
    );
    assert_eq!(world.says(MESSAGE), ["stanza message"]);
    // Alone and forged, it ends.
    let mut world = World::secured(dialback_policy("b.example"), self_signed());
    world.asks("a.example", "b.example");
    assert_eq!(
        world.verified("b.example", "a.example", Outcome::Invalid),
        ["<db:result b.example a.example invalid>", "refused a.example", "close", "end"]
    );
}

/// XEP-0344 §2.4
#[test]
fn a_certificate_spares_the_call_back() {
    let mut world = World::secured(policy("b.example"), valid(&["a.example", "*.a.example"]));
    assert_eq!(
        world.asks("rooms.a.example", "b.example"),
        [
            "<db:result b.example rooms.a.example valid>",
            "authenticated false",
            "paired b.example rooms.a.example dialback-by-certificate"
        ]
    );
    // What DANE proved for one domain is nothing for another.
    let mut world = World::secured(policy("b.example"), certificate(Trust::Dane, &["a.example"]));
    assert_eq!(
        world.asks("c.example", "b.example")[0],
        "<db:result b.example c.example error not-authorized>"
    );
    assert_eq!(world.asks("a.example", "b.example")[0], "<db:result b.example a.example valid>");
}

/// XEP-0220 §2.2.2, §3.1
#[test]
fn the_authoritative_server_knows_its_keys() {
    let secret = DialbackSecret::new(b"b.example");
    let key = secret.key("a.example", "b.example", "s1");
    let ask = |to: &str, id: &str| {
        format!("<db:verify from='a.example' to='{to}' id='{id}'>{key}</db:verify>")
    };
    let mut world = World::secured(policy("b.example"), Secured(None));
    for (to, id, said) in [
        ("b.example", "s1", "<db:verify b.example a.example valid>"),
        ("b.example", "s2", "<db:verify b.example a.example invalid>"),
        ("rooms.b.example", "s1", "<db:verify rooms.b.example a.example invalid>"),
        ("c.example", "s1", "<db:verify c.example a.example error item-not-found>"),
    ] {
        assert_eq!(world.says(&ask(to, id)), [said]);
    }
    for answer in [
        "<db:verify from='a.example' to='b.example' id='1' type='valid'/>",
        "<db:result from='a.example' to='b.example' type='valid'/>",
        "<db:result from='a.example' to='b.example' type='error'/>",
    ] {
        let mut world = World::secured(policy("b.example"), valid(&["a.example"]));
        assert_eq!(world.says(answer), ["error not-authorized", "close", "end"]);
    }
    let mut world = World::secured(policy("b.example"), Secured(None));
    assert_eq!(
        world.says("<db:result from='@' to='b.example'>k</db:result>")[0],
        "error improper-addressing"
    );
}

/// RFC 6120 §4.9.1.1, §4.9.3.24
#[test]
fn whatever_else_comes_ends_the_stream() {
    for (said, want) in [
        ("<foo xmlns='urn:foo'/>", vec!["error unsupported-stanza-type", "close", "end"]),
        ("<foo/>", vec!["error unsupported-stanza-type", "close", "end"]),
        ("<stream:features/>", vec!["error unsupported-stanza-type", "close", "end"]),
        (
            "<stream:error><conflict xmlns='urn:ietf:params:xml:ns:xmpp-streams'/></stream:error>",
            vec!["peer failed conflict", "close", "end"],
        ),
        ("<stream:error/>", vec!["peer failed undefined-condition", "close", "end"]),
    ] {
        let mut world = World::secured(policy("b.example"), valid(&["a.example"]));
        world.asks("a.example", "b.example");
        assert_eq!(world.says(said), want, "{said}");
    }
    let mut world = World::secured(policy("b.example"), Secured(None));
    let refusals = (0..20).flat_map(|n| world.asks(&format!("c{n}.example"), "b.example")).count();
    assert_eq!(refusals, 40);
    assert_eq!(
        world.asks("c.example", "b.example")[2..],
        ["error policy-violation", "close", "end"]
    );
    let mut world = World::secured(policy("b.example"), Secured(None));
    assert_eq!(world.feed(Input::Leave), ["close", "end"]);
    assert!(!world.0.feed(Input::Leave, &mut OsRng).iter().any(|one| matches!(one, Output::End)));
}

/// XEP-0220 §3: whoever may be anybody makes us call few others.
#[test]
fn a_stranger_is_given_little() {
    let policy = || {
        let policy = super::world::policy("b.example");
        Policy { certificates: crate::stream::s2s::Certificates::Dialback, ..policy }
    };
    let refused =
        |domain: &str| format!("<db:result b.example {domain} error resource-constraint>");
    let many = || Arc::new(Policy { domains_per_stream_max: 50, ..policy() });
    let mut world = World::secured(many(), self_signed());
    for n in 0..3 {
        assert_eq!(world.asks(&format!("c{n}.example"), "b.example").len(), 1, "{n}");
    }
    assert_eq!(world.asks("d.example", "b.example")[0], refused("d.example"), "three at a time");
    let error = || Outcome::Error(StanzaError::remote_server_timeout());
    for n in 0..7 {
        world.verified("b.example", &format!("c{n}.example"), error());
        let next = format!("c{}.example", n + 3);
        assert_eq!(world.asks(&next, "b.example"), [format!("verify b.example {next}")]);
    }
    world.verified("b.example", "c8.example", error());
    assert_eq!(world.asks("e.example", "b.example")[0], refused("e.example"), "ten in all");
    // Who is known may ask for more.
    world.verified("b.example", "c9.example", Outcome::Valid);
    for n in 0..9 {
        assert_eq!(world.asks(&format!("f{n}.example"), "b.example").len(), 1, "{n}");
    }
    let mut world = World::secured(many(), Secured(None));
    let verify = "<db:verify from='a.example' to='b.example' id='1'>k</db:verify>";
    for _ in 0..5 {
        assert_eq!(world.says(verify), ["<db:verify b.example a.example invalid>"]);
    }
    assert_eq!(world.says(verify), ["error policy-violation", "close", "end"]);
    // XEP-0198 §3
    let mut world = World::secured(many(), Secured(None));
    let said = world.says("<enable xmlns='urn:xmpp:sm:3'/>");
    assert_eq!(said, ["<failed unexpected-request>", "error policy-violation", "close", "end"]);
}
