//! What the gate accepts, rxml and roxmltree accept; the index and the view say what roxmltree
//! says; the open tag can be rebuilt from its attributes.
#![no_main]

use bytes::Bytes;
use libfuzzer_sys::fuzz_target;
use rxml::Parse;
use stonechat::xml::{Doc, Element, Rules, check, check_header, ns};

const RULES: Rules =
    Rules { content_ns: ns::CLIENT, depth_max: 100, attributes_max: 64, children_max: 64 };
const HEAD: &str =
    "<stream:stream xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams'>";
const TAIL: &str = "</stream:stream>";

fuzz_target!(|data: &[u8]| {
    if let Ok(header) = check_header(data, &RULES) {
        assert!(!header.local.is_empty());
    }
    let _ = Doc::of(data, ns::CLIENT).map(|doc| doc.root().children().count());
    let Ok(element) = check(Bytes::copy_from_slice(data), &RULES) else { return };
    // rxml bounds its tokens at 8 KiB, the fuzzer its inputs below.
    if let Err(error) = rxml_accepts(element.as_str())
        && !has_long_reference(element.as_str())
    {
        panic!("rxml refuses what the gate accepts: {error}");
    }
    agrees(&element);
    rebuilds(&element);
});

/// rxml, the strict judge: the whole stream must parse to its end.
fn rxml_accepts(raw: &str) -> Result<(), String> {
    let text = format!("{HEAD}{raw}{TAIL}");
    let mut bytes = text.as_bytes();
    let mut parser = rxml::Parser::new();
    loop {
        match parser.parse(&mut bytes, true) {
            Ok(Some(_)) => {}
            Ok(None) => return Ok(()),
            Err(error) => return Err(format!("{error:?}")),
        }
    }
}

/// XML 1.0 §4.1 lets a number begin with as many zeros as it likes; rxml stops behind eight digits.
fn has_long_reference(raw: &str) -> bool {
    let mut numbers = raw.match_indices("&#").map(|(at, mark)| &raw[at + mark.len()..]);
    numbers.any(|number| number.find(';').is_some_and(|digits| digits >= 8))
}

/// The gate's index and the view say what roxmltree says.
fn agrees(element: &Element) {
    let text = format!("{HEAD}{}{TAIL}", element.as_str());
    let judge = roxmltree::Document::parse(&text).expect("roxmltree refuses what the gate accepts");
    let root = judge.root_element().first_element_child().expect("no element");
    let tag = root.tag_name();
    assert_eq!((element.name(), element.ns()), (tag.name(), tag.namespace().unwrap_or_default()));
    let children: Vec<_> = root.children().filter(roxmltree::Node::is_element).collect();
    assert_eq!(element.children().count(), children.len());
    for (ours, theirs) in element.children().zip(&children) {
        let tag = theirs.tag_name();
        assert_eq!((ours.name, ours.ns), (tag.name(), tag.namespace().unwrap_or_default()));
        let range = theirs.range();
        assert_eq!(ours.span, range.start - HEAD.len()..range.end - HEAD.len());
    }
    for attr in root.attributes().filter(|attr| attr.namespace().is_none()) {
        assert_eq!(element.attr(attr.name()).as_deref(), Some(attr.value()));
    }
    let doc = element.view();
    let mut pairs = vec![(doc.root(), root)];
    while let Some((ours, theirs)) = pairs.pop() {
        let tag = theirs.tag_name();
        assert_eq!((ours.name(), ours.ns()), (tag.name(), tag.namespace().unwrap_or_default()));
        let text: String =
            theirs.children().filter(roxmltree::Node::is_text).filter_map(|n| n.text()).collect();
        assert_eq!(ours.text(), text);
        let range = theirs.range();
        assert_eq!(ours.span(), range.start - HEAD.len()..range.end - HEAD.len());
        assert_eq!(ours.attrs().count(), theirs.attributes().count());
        for (ours, theirs) in ours.attrs().zip(theirs.attributes()) {
            assert_eq!(ours.1, theirs.value());
        }
        let below: Vec<_> = theirs.children().filter(roxmltree::Node::is_element).collect();
        assert_eq!(ours.children().count(), below.len());
        pairs.extend(ours.children().zip(below));
    }
}

/// The open tag written again from its attributes still passes, and means the same.
fn rebuilds(element: &Element) {
    let mut raw = format!("<{}", element.tag_name());
    for attr in element.attributes() {
        raw.push(' ');
        raw.push_str(attr.whole);
    }
    raw.push_str(&element.as_str()[element.tag_end()..]);
    let again = check(Bytes::from(raw), &RULES).expect("the rebuilt tag is refused");
    assert_eq!((again.name(), again.ns()), (element.name(), element.ns()));
    assert!(again.attributes().eq(element.attributes()));
    assert_eq!(again.is_empty_tag(), element.is_empty_tag());
}
