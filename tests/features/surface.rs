//! The whole surface under random fire, judged by an independent parser: what arrives is what was
//! sent, and nothing that one client writes can break the stream of another.
//!
//! `STONECHAT_TEST_CASES=10000` shoots longer, `STONECHAT_TEST_SEED=random` elsewhere than
//! always; the number it prints repeats the run.

use crate::harness::client::Outcome;
use crate::harness::element::{Element, escape};
use crate::harness::server::{Place, subject};
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};
use std::fmt::Write;

/// A source of cases that says how to get the same ones again.
struct Source {
    runner: TestRunner,
    cases: usize,
}

impl Source {
    fn new(cases: usize) -> Source {
        let number =
            |name: &str| std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
        let clock = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
        let seed = match std::env::var("STONECHAT_TEST_SEED") {
            Ok(text) if text == "random" => clock.as_nanos() as u64,
            // The same run every time, so that a change is to blame for what it breaks.
            _ => number("STONECHAT_TEST_SEED").unwrap_or(1),
        };
        println!("STONECHAT_TEST_SEED={seed}");
        let mut bytes = [0; 32];
        bytes[..8].copy_from_slice(&seed.to_le_bytes());
        let rng = TestRng::from_seed(RngAlgorithm::ChaCha, &bytes);
        let cases = number("STONECHAT_TEST_CASES").map_or(cases, |n| n as usize);
        Source { runner: TestRunner::new_with_rng(Config::default(), rng), cases }
    }

    fn draw<S: Strategy>(&mut self, strategy: &S) -> S::Value {
        strategy.new_tree(&mut self.runner).unwrap().current()
    }
}

/// An element of another namespace, and one way among many to write it down.
#[derive(Clone, Debug)]
struct Written {
    xml: String,
    meant: Element,
}

/// Text as a peer may have it: any character that XML 1.0 has.
fn text() -> impl Strategy<Value = String> {
    let odd = prop::sample::select(vec![
        '&',
        '<',
        '>',
        '"',
        '\'',
        '\t',
        '\n',
        ']',
        '\u{85}',
        '\u{2028}',
        '\u{feff}',
        '\u{fffd}',
        '\u{10ffff}',
        'é',
        '🐎',
    ]);
    prop::collection::vec(prop_oneof![3 => prop::char::range(' ', '~'), 1 => odd], 0..12)
        .prop_map(|chars| chars.into_iter().collect())
}

fn name() -> impl Strategy<Value = String> {
    prop_oneof![
        Just("x".to_owned()),
        Just("body".to_owned()),
        "[a-z_][a-z0-9._-]{0,8}",
        Just("é-·".to_owned())
    ]
    .prop_filter("reserved", |name| !name.starts_with("xml"))
}

fn namespace() -> impl Strategy<Value = String> {
    prop_oneof![
        Just("urn:example:a".to_owned()),
        Just("urn:example:b?c=1".to_owned()),
        Just("urn:example:ü".to_owned())
    ]
}

/// How something is written: each bit is a choice.
fn style() -> impl Strategy<Value = u32> {
    any::<u32>()
}

fn tree() -> impl Strategy<Value = Written> {
    let attributes = || prop::collection::btree_map(name(), text(), 0..4);
    let leaf = (name(), namespace(), attributes(), text(), style())
        .prop_map(|(name, ns, attrs, text, style)| write(name, ns, attrs, text, Vec::new(), style));
    leaf.prop_recursive(4, 24, 4, move |inner| {
        let parts = (
            name(),
            namespace(),
            attributes(),
            text(),
            prop::collection::vec(inner, 0..4),
            style(),
        );
        parts.prop_map(|(name, ns, attrs, text, children, style)| {
            write(name, ns, attrs, text, children, style)
        })
    })
}

fn write(
    name: String,
    ns: String,
    attrs: std::collections::BTreeMap<String, String>,
    text: String,
    children: Vec<Written>,
    style: u32,
) -> Written {
    let bit = |n: u32| style >> n & 1 == 1;
    let attrs: std::collections::BTreeMap<_, _> =
        attrs.into_iter().filter(|(name, _)| name != "xmlns").collect();
    // A prefix, or the default namespace.
    let (tag, declaration) =
        if bit(0) { (format!("p:{name}"), "xmlns:p") } else { (name.clone(), "xmlns") };
    let quote = if bit(1) { '"' } else { '\'' };
    let space = if bit(2) { "\n\t " } else { " " };
    let mut xml = format!("<{tag}{space}{declaration}={quote}{}{quote}", attribute(&ns, false));
    for (name, value) in &attrs {
        let _ = write!(xml, "{space}{name}={quote}{}{quote}", attribute(value, bit(3)));
    }
    let inside: String = children.iter().map(|child| child.xml.as_str()).collect();
    if text.is_empty() && inside.is_empty() && bit(4) {
        xml.push_str("/>");
    } else {
        let _ = write!(xml, ">{}{inside}</{tag}>", characters(&text, bit(5), bit(6)));
    }
    let children = children.into_iter().map(|child| child.meant).collect();
    Written { xml, meant: Element { name, ns, attrs, children, text } }
}

/// In attributes white space other than the space must be a reference, else it becomes a space.
fn attribute(value: &str, references: bool) -> String {
    let plain = escape(value).replace('"', "&quot;").replace('\t', "&#9;").replace('\n', "&#xA;");
    if references { plain.replace('e', "&#101;") } else { plain }
}

fn characters(text: &str, cdata: bool, references: bool) -> String {
    if cdata && !text.contains("]]>") {
        return format!("<![CDATA[{text}]]>");
    }
    let plain = escape(text);
    if references { plain.replace('e', "&#x65;") } else { plain }
}

#[tokio::test]
async fn what_is_sent_is_what_arrives() -> Outcome<()> {
    let place = Place::with(&["alice", "bob"]).await;
    let mut source = Source::new(300);
    let mut alice = place.bound("alice").await;
    let mut bob = place.bound("bob").await;
    let strategy = prop::collection::vec(tree(), 0..4);
    for case in 0..source.cases {
        let payloads = source.draw(&strategy);
        let inside: String = payloads.iter().map(|p| p.xml.as_str()).collect();
        let xml =
            format!("<message to='{}' type='headline' id='{case}'>{inside}</message>", bob.jid);
        alice.send(&xml).await?;
        let got = bob.receive().await?;
        assert_eq!(got.attr("id"), Some(case.to_string().as_str()));
        assert_eq!(got.attr("from"), Some(alice.jid.as_str()));
        let meant: Vec<_> = payloads.into_iter().map(|p| p.meant).collect();
        // A server may add its own, never take away or change.
        let same = got.children.iter().filter(|c| c.ns != "urn:xmpp:sid:0").eq(meant.iter());
        assert!(same, "sent {xml}\ngot {got}");
    }
    Ok(())
}

/// Valid stanzas to damage: `@` is the victim, `%` the shooter.
const SEEDS: &[&str] = &[
    "<message to='@' type='headline'><body>hello &amp; <![CDATA[<b>]]></body><x xmlns='urn:example:x' a='1'/></message>",
    "<message to='@' xml:lang='en' type='headline'><p:x xmlns:p='urn:example:p' p:a='1'><p:y/></p:x></message>",
    "<presence to='@'><show>away</show><status>out</status><priority>5</priority></presence>",
    "<iq to='@' type='result' id='a1'><query xmlns='jabber:iq:version'><name>x</name></query></iq>",
    "<iq to='@' type='error' id='a2'><error type='cancel'><gone xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></error></iq>",
    "<presence to='@' type='unavailable'/>",
    "<message from='%' to='@' type='headline' id='q'><delay xmlns='urn:xmpp:delay' stamp='2020-01-01T00:00:00Z'/></message>",
];

/// Bits of markup that break parsers.
const SHARDS: &[&str] = &[
    "<",
    ">",
    "&",
    "'",
    "\"",
    "/>",
    "</",
    "<a>",
    "</a>",
    "</message>",
    "</stream:stream>",
    "]]>",
    "<![CDATA[",
    "<!--",
    "-->",
    "<?x?>",
    "&#0;",
    "&#x1F;",
    "&lol;",
    "&#xD800;",
    "xmlns=''",
    " xmlns:p='jabber:client'",
    "p:",
    "xml:",
    "xmlns:xml='x'",
    "\0",
    "\u{1}",
    "\u{fffe}",
    "\u{feff}",
    "\r\n",
    " a='1' a='2'",
    "<stream:error/>",
    "<p:body/>",
    " to='@'",
    " from='x@y'",
    "<message>",
];

#[derive(Clone, Debug)]
enum Damage {
    Insert(prop::sample::Index, usize),
    Remove(prop::sample::Index, usize),
    Swap(prop::sample::Index, u8),
    Double(prop::sample::Index, usize),
}

fn damage() -> impl Strategy<Value = Damage> {
    let at = || any::<prop::sample::Index>();
    prop_oneof![
        4 => (at(), 0..SHARDS.len()).prop_map(|(at, shard)| Damage::Insert(at, shard)),
        2 => (at(), 1..9usize).prop_map(|(at, n)| Damage::Remove(at, n)),
        2 => (at(), any::<u8>()).prop_map(|(at, byte)| Damage::Swap(at, byte)),
        1 => (at(), 1..20usize).prop_map(|(at, n)| Damage::Double(at, n)),
    ]
}

fn damaged(seed: &str, damages: &[Damage]) -> Vec<u8> {
    let mut bytes = seed.as_bytes().to_vec();
    for damage in damages {
        let length = bytes.len().max(1);
        match damage {
            Damage::Insert(at, shard) => {
                let at = at.index(length).min(bytes.len());
                bytes.splice(at..at, SHARDS[*shard].bytes());
            }
            Damage::Remove(at, n) => {
                let at = at.index(length).min(bytes.len());
                bytes.drain(at..(at + n).min(bytes.len()));
            }
            Damage::Swap(at, byte) => {
                if let Some(place) = bytes.get_mut(at.index(length)) {
                    *place = *byte;
                }
            }
            Damage::Double(at, n) => {
                let at = at.index(length).min(bytes.len());
                let part = bytes[at..(at + n).min(bytes.len())].to_vec();
                bytes.splice(at..at, part);
            }
        }
    }
    bytes
}

/// A remote kick would be malformed XML that passes: the victim's own parser is the judge.
#[tokio::test]
async fn damaged_stanzas_hurt_nobody_else() -> Outcome<()> {
    if subject().is_some() {
        return Ok(());
    }
    let place = Place::with(&["alice", "bob"]).await;
    let mut source = Source::new(400);
    let mut bob = place.bound("bob").await;
    let mut alice = place.bound("alice").await;
    let strategy = (prop::sample::select(SEEDS), prop::collection::vec(damage(), 1..4));
    for _ in 0..source.cases {
        let (seed, damages) = source.draw(&strategy);
        let seed = seed.replace('@', &bob.jid).replace('%', &alice.jid);
        let bytes = damaged(&seed, &damages);
        let _ = alice.io.write(&bytes).await;
        // An open tag may be left: only the end of the connection tells that all was handled.
        let _ = alice.io.shutdown().await;
        alice.gone().await?;
        alice = place.bound("alice").await;
        let shot = String::from_utf8_lossy(&bytes).into_owned();
        let alive = bob.fence().await;
        alive.unwrap_or_else(|e| panic!("after {shot:?}: {e}"));
        for stanza in bob.take() {
            let from = stanza.attr("from").unwrap_or_default().to_owned();
            let known = from == alice.jid || from.starts_with(&place.jid("alice"));
            assert!(known, "forged: {stanza} from {shot:?}");
        }
    }
    place.bound("alice").await.nothing().await
}

/// Every request gets one answer, whatever its payload (RFC 6120 §8.2.3 rule 3).
#[tokio::test]
async fn every_request_is_answered_once() -> Outcome<()> {
    let place = Place::with(&["alice", "bob"]).await;
    let mut source = Source::new(600);
    let mut alice = place.bound("alice").await;
    alice.ignores_presence = true;
    let namespaces = vec![
        "jabber:iq:roster",
        "jabber:iq:version",
        "jabber:iq:last",
        "jabber:iq:private",
        "jabber:iq:search",
        "http://jabber.org/protocol/disco#info",
        "http://jabber.org/protocol/disco#items",
        "urn:xmpp:ping",
        "urn:xmpp:time",
        "vcard-temp",
        "urn:xmpp:carbons:2",
        "urn:xmpp:blocking",
        "http://jabber.org/protocol/pubsub",
        "http://jabber.org/protocol/pubsub#owner",
        "urn:xmpp:mam:2",
        "http://jabber.org/protocol/commands",
        "urn:ietf:params:xml:ns:xmpp-session",
        "urn:ietf:params:xml:ns:xmpp-bind",
        "urn:xmpp:push:0",
        "jabber:iq:register",
    ];
    let names = vec![
        "query",
        "ping",
        "time",
        "vCard",
        "enable",
        "disable",
        "block",
        "unblock",
        "blocklist",
        "pubsub",
        "prefs",
        "command",
        "session",
        "bind",
        "other",
    ];
    // Of the register namespace only what cannot remove the account.
    let inner = prop::collection::vec(tree(), 0..3);
    let strategy = (
        prop::sample::select(namespaces),
        prop::sample::select(names),
        prop::bool::ANY,
        prop::sample::select(vec!["", "domain", "own", "full", "other", "nobody"]),
        prop::collection::btree_map(name(), text(), 0..3),
        inner,
        prop::option::of(prop::sample::select(vec![
            "<item/>",
            "<item jid=''/>",
            "<item jid='a@b' subscription='remove'/>",
            "<items node='x'/>",
            "<set xmlns='http://jabber.org/protocol/rsm'><max>x</max></set>",
            "<x xmlns='jabber:x:data' type='submit'/>",
        ])),
    );
    for case in 0..source.cases {
        let (ns, name, get, to, attrs, children, extra) = source.draw(&strategy);
        let to = match to {
            "domain" => place.target.domain.clone(),
            "own" => place.jid("alice"),
            "full" => format!("{}/gone", place.jid("bob")),
            "other" => place.jid("bob"),
            "nobody" => format!("nobody@{}", place.target.domain),
            _ => String::new(),
        };
        let to = if to.is_empty() { to } else { format!(" to='{to}'") };
        let kind = if get { "get" } else { "set" };
        let mut attributes = String::new();
        for (name, value) in attrs.iter().filter(|(name, _)| *name != "xmlns") {
            let _ = write!(attributes, " {name}='{}'", attribute(value, false));
        }
        let inside: String = children.iter().map(|c| c.xml.as_str()).collect();
        let extra = extra.unwrap_or_default();
        let iq = format!(
            "<iq type='{kind}' id='c{case}'{to}><{name} xmlns='{ns}'{attributes}>{inside}{extra}</{name}></iq>"
        );
        let answer = alice.ask(&iq).await;
        answer.unwrap_or_else(|e| panic!("no answer to {iq}: {e}"));
    }
    alice.fence().await?;
    // Pushes may have come; a second answer may not.
    let doubled: Vec<_> =
        alice.take().into_iter().filter(|e| e.attr("type") != Some("set")).collect();
    assert!(doubled.is_empty(), "{doubled:?}");
    Ok(())
}

#[tokio::test]
#[ignore = "the gate refuses any reference in a namespace declaration as restricted-xml"]
async fn a_namespace_may_be_written_with_predefined_entities() -> Outcome<()> {
    let place = Place::with(&["alice"]).await;
    let mut client = place.bound("alice").await;
    // RFC 6120 §11.1 forbids entity references "with the exception of the predefined entities".
    let to = client.jid.clone();
    client.send(&format!("<message to='{to}'><x xmlns='urn:x?a=1&amp;b=2'/></message>")).await?;
    assert!(client.receive().await?.child("urn:x?a=1&b=2", "x").is_some());
    Ok(())
}
