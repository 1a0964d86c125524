//! What the gate accepts, rxml and roxmltree accept; the index and the view say what roxmltree
//! says; the open tag can be rebuilt from its attributes.
#![no_main]

use bytes::Bytes;
use libfuzzer_sys::fuzz_target;
use stonechat::xml::{Doc, Element, Rules, check, check_header, ns};
use testing::{agrees, rebuilds, rxml_accepts};

#[path = "../../src/xml/testing.rs"]
mod testing;

const RULES: Rules =
    Rules { content_ns: ns::CLIENT, depth_max: 100, attributes_max: 64, children_max: 64 };

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
    rebuilds(&element, &RULES);
});

/// XML 1.0 §4.1 lets a number begin with as many zeros as it likes; rxml stops behind eight digits.
fn has_long_reference(raw: &str) -> bool {
    let mut numbers = raw.match_indices("&#").map(|(at, mark)| &raw[at + mark.len()..]);
    numbers.any(|number| number.find(';').is_some_and(|digits| digits >= 8))
}
