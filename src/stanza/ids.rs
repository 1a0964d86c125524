//! XEP-0359: ids that this server gives to stanzas.

use crate::xml::ns;
use crate::xml::writer::Xml;

/// `<stanza-id/>`, given by an account's archive.
pub fn stanza_id(by: &str, id: &str) -> Vec<u8> {
    let mut xml = Xml::new();
    xml.start("stanza-id").attr("xmlns", ns::STANZA_ID).attr("by", by).attr("id", id).end();
    xml.finish().to_vec()
}
