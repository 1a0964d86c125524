//! XEP-0203: Delayed Delivery.

use std::time::SystemTime;

use crate::base::time::stamp;
use crate::xml::ns;
use crate::xml::writer::Xml;

/// `<delay xmlns='urn:xmpp:delay' from=… stamp=…/>` (XEP-0203 §3), `from` is the entity that held it back.
pub fn delay(from: &str, at: SystemTime) -> Vec<u8> {
    let mut xml = Xml::new();
    xml.start("delay").attr("xmlns", ns::DELAY).attr("from", from).attr("stamp", &stamp(at)).end();
    xml.finish().to_vec()
}
