//! Checks an element that the gate accepted with independent parsers: whether they accept it, and read the
//! same. A fuzz target includes this file, too, so it imports what it needs from one level up.

use bytes::Bytes;
use rxml::Parse;

use super::{Element, Rules, check};

const HEAD: &str =
    "<stream:stream xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams'>";
const TAIL: &str = "</stream:stream>";

/// Asks rxml, the strict parser: the whole stream must parse to its end.
pub fn rxml_accepts(raw: &str) -> Result<(), String> {
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

/// Asserts that the gate's index and the view agree with roxmltree.
pub fn agrees(element: &Element) {
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

/// Asserts that the open tag, written again from its attributes, still passes and means the same.
pub fn rebuilds(element: &Element, rules: &Rules) {
    let mut raw = format!("<{}", element.tag_name());
    for attr in element.attributes() {
        raw.push(' ');
        raw.push_str(attr.whole);
    }
    raw.push_str(&element.as_str()[element.tag_end()..]);
    let again = check(Bytes::from(raw), rules).expect("the rebuilt tag is refused");
    assert_eq!((again.name(), again.ns()), (element.name(), element.ns()));
    assert!(again.attributes().eq(element.attributes()));
    assert_eq!(again.is_empty_tag(), element.is_empty_tag());
}
