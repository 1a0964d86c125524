//! Property tests: independent parsers accept what the gate accepts, and read the same in it; no input
//! makes any part panic; how the input is split never matters.

use bytes::{Bytes, BytesMut};
use proptest::prelude::*;

use super::testing::{agrees, rebuilds, rxml_accepts};
use super::*;

const RULES: Rules =
    Rules { content_ns: ns::CLIENT, depth_max: 100, attributes_max: 64, children_max: 64 };
const LIMITS: FramerLimits = FramerLimits { bytes_max: 600, depth_max: 8 };

const SEEDS: &[&str] = &[
    "<message from='a@b/c' to='d@e' type='chat' id='x1'><body>hi &amp; &#x41;</body><active \
     xmlns='http://jabber.org/protocol/chatstates'/></message>",
    "<iq type='get' id=\"1\"><query xmlns='jabber:iq:roster' ver=''><item a='&lt;'/></query></iq>",
    "<presence/>",
    "<presence xml:lang='en'><show>away</show><x:c xmlns:x='urn:x' x:v='1' v='2'>\u{F6}</x:c></presence>",
    "<message><body><![CDATA[<a>&]]]></body>]] ></message>",
    "<stream:error><a xmlns='urn:ietf:params:xml:ns:xmpp-streams'/></stream:error>",
];

/// Text that mutations insert, and from which inputs close to the grammar are made.
const TOKENS: &[&str] = &[
    "<",
    ">",
    "/",
    "</",
    "/>",
    "=",
    "'",
    "\"",
    " ",
    "\n",
    "\r",
    "\t",
    "&",
    ";",
    "#",
    "x",
    "a",
    "b:c",
    ":",
    "<a>",
    "</a>",
    "<a/>",
    "<a b='1'",
    "<b:a>",
    "</b:a>",
    " a='1'",
    " b:a=''",
    " xmlns='urn:x'",
    " xmlns=''",
    " xmlns:b='urn:b'",
    " xmlns:c='urn:b'",
    " xmlns:b=''",
    " c:a='2'",
    " xml:lang='de'",
    " xmlns:xml='http://www.w3.org/XML/1998/namespace'",
    "<xml:a/>",
    " xml:a=''",
    "xmlns:",
    "stream:",
    "http://www.w3.org/XML/1998/namespace",
    "http://www.w3.org/2000/xmlns/",
    "jabber:client",
    "&lt;",
    "&#65;",
    "&#x0;",
    "&#1;",
    "&nbsp;",
    "]]>",
    "]]",
    "<![CDATA[",
    "<!--",
    "-->",
    "<?a?>",
    "<!DOCTYPE a>",
    "\u{0}",
    "\u{1}",
    "\u{85}",
    "\u{2028}",
    "\u{FEFF}",
    "\u{FFFE}",
    "\u{E9}",
    "\u{B7}",
    "\u{1F600}",
    "\u{300}",
    "-",
    ".",
    "1",
    "text",
    "{",
    "|",
];

fn token() -> impl Strategy<Value = String> {
    prop_oneof![
        8 => prop::sample::select(TOKENS).prop_map(ToOwned::to_owned),
        1 => any::<char>().prop_map(String::from),
    ]
}

/// A seed with a few insertions, replacements and deletions at any character.
fn mutated() -> impl Strategy<Value = String> {
    let edit = (any::<prop::sample::Index>(), 0..4_usize, token());
    (prop::sample::select(SEEDS), prop::collection::vec(edit, 0..4)).prop_map(|(seed, edits)| {
        let mut chars: Vec<char> = seed.chars().collect();
        for (at, cut, token) in edits {
            let at = at.index(chars.len() + 1);
            let end = (at + cut).min(chars.len());
            chars.splice(at..end, token.chars());
        }
        chars.into_iter().collect()
    })
}

fn babble() -> impl Strategy<Value = String> {
    prop::collection::vec(token(), 0..12).prop_map(|tokens| format!("<a{}</a>", tokens.concat()))
}

fn any_xml() -> impl Strategy<Value = String> {
    prop_oneof![3 => mutated(), 1 => babble()]
}

fn pieces(input: &[u8], cuts: &[usize]) -> (Vec<Piece>, Option<XmlError>) {
    let mut framer = Framer::new(LIMITS);
    let (mut buf, mut found, mut from) = (BytesMut::new(), Vec::new(), 0);
    for &end in cuts.iter().chain([&input.len()]) {
        let end = end.min(input.len());
        buf.extend_from_slice(input.get(from..end).unwrap_or_default());
        from = from.max(end);
        loop {
            match framer.next(&mut buf) {
                Ok(Some(Piece::Whitespace(n))) => match found.last_mut() {
                    Some(Piece::Whitespace(sum)) => *sum += n,
                    _ => found.push(Piece::Whitespace(n)),
                },
                Ok(Some(piece)) => found.push(piece),
                Ok(None) => break,
                Err(error) => return (found, Some(error)),
            }
        }
    }
    (found, None)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn what_the_gate_accepts_strict_parsers_accept_and_read_the_same(raw in any_xml()) {
        if let Ok(element) = check(Bytes::from(raw.clone()), &RULES) {
            let verdict = rxml_accepts(element.as_str());
            prop_assert!(verdict.is_ok(), "rxml refuses {raw:?}: {verdict:?}");
            agrees(&element);
            rebuilds(&element, &RULES);
            // The framer cuts what the gate accepts as one piece.
            let (found, error) = pieces(format!("<s>{raw}").as_bytes(), &[]);
            let small = raw.len() <= LIMITS.bytes_max && error != Some(XmlError::TooDeep { max: 8 });
            prop_assert!(!small || found.last() == Some(&Piece::Element(Bytes::from(raw))));
        }
    }

    #[test]
    fn how_the_input_is_split_does_not_matter(
        parts in prop::collection::vec(prop_oneof![any_xml(), token(), Just(" ".to_owned())], 0..5),
        header in prop::sample::select(&["<s>", "<?xml version='1.0'?><s>", "<s", " <s>", ""][..]),
        mut cuts in prop::collection::vec(0..900_usize, 0..8),
    ) {
        let input = format!("{header}{}</s>", parts.concat());
        cuts.sort_unstable();
        let whole = pieces(input.as_bytes(), &[]);
        prop_assert_eq!(&pieces(input.as_bytes(), &cuts), &whole);
        let every: Vec<usize> = (0..input.len()).collect();
        prop_assert_eq!(&pieces(input.as_bytes(), &every), &whole);
    }

    #[test]
    fn no_bytes_make_it_panic(raw in prop::collection::vec(any::<u8>(), 0..64), seed in mutated()) {
        let mut mixed = seed.into_bytes();
        let middle = mixed.len() / 2;
        mixed.splice(middle..middle, raw.iter().copied());
        for raw in [raw, mixed] {
            let _ = pieces(&raw, &[1, 2, 3]);
            let _ = check_header(&raw, &RULES);
            let _ = Doc::of(&raw, ns::CLIENT).map(|doc| doc.root().children().count());
            let _ = check(Bytes::from(raw), &RULES);
        }
    }

    #[test]
    fn what_the_writer_writes_passes_and_reads_back(value in any::<String>(), text in any::<String>()) {
        let mut xml = Xml::new();
        xml.start("message").attr("id", &value).element("body", None, &text).end();
        let element = check(xml.finish(), &RULES).expect("the writer's own text is refused");
        let clean = |s: &str| s.replace(|c| !names::is_char(c), "\u{FFFD}");
        let doc = element.view();
        let (value, text) = (clean(&value), clean(&text));
        prop_assert_eq!(doc.root().attr("id"), Some(value.as_str()));
        prop_assert_eq!(doc.root().child_text(ns::CLIENT, "body"), Some(text.as_str()));
    }
}
