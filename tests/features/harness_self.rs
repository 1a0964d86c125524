//! The harness itself, held against whatever server is under test.

use crate::harness::element::{Cutter, Element, Piece};

#[test]
fn a_stream_is_cut_alike_however_it_is_split() {
    let text = "<?xml version='1.0'?><stream:stream xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams' \
        id='1'><message to='a'><body>x &amp; y</body><x xmlns='y' a='1'/></message> <iq/></stream:stream>";
    for split in 0..text.len() {
        let mut cutter = Cutter::new();
        let (left, right) = text.as_bytes().split_at(split);
        let mut pieces = cutter.feed(left).unwrap();
        pieces.extend(cutter.feed(right).unwrap());
        let [Piece::Open(open), Piece::Element(message), Piece::Element(iq), Piece::Close] =
            &pieces[..]
        else {
            panic!("{pieces:?}");
        };
        assert_eq!(open.attr("id"), Some("1"));
        assert_eq!(message.text_of("body"), Some("x & y"));
        assert_eq!(
            message.to_string(),
            "<message to='a'><body>x &amp; y</body><x xmlns='y' a='1'/></message>"
        );
        assert_eq!(iq, &Element::parse("<iq/>").unwrap());
    }
}
