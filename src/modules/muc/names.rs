//! Names of protocols that rooms speak, and small pieces of service discovery.

use crate::xml::writer::Xml;

/// Occupant ids (XEP-0421).
pub const OCCUPANT_ID: &str = "urn:xmpp:occupant-id:0";
/// Hats (XEP-0317).
pub const HATS: &str = "urn:xmpp:hats:0";
/// Ids of origin (XEP-0359).
pub const ORIGIN_ID: &str = "urn:xmpp:sid:0";
/// What moderators do (XEP-0425).
pub const MODERATE: &str = "urn:xmpp:message-moderate:1";
/// The same in its version 0.2, which Gajim and Converse.js know.
pub const MODERATE_OLD: &str = "urn:xmpp:message-moderate:0";
/// What that is wrapped in (XEP-0422).
pub const FASTEN: &str = "urn:xmpp:fasten:0";
/// XEP-0424 in its version 0.3, which goes with that.
pub const RETRACT_OLD: &str = "urn:xmpp:message-retract:0";
/// A vCard of XEP-0486.
pub const VCARD: &str = "vcard-temp";
/// Service discovery: questions for identities and features.
pub const INFO: &str = "http://jabber.org/protocol/disco#info";
/// Questions for items.
pub const ITEMS: &str = "http://jabber.org/protocol/disco#items";

/// What something is, in an answer of service discovery.
pub fn identity(xml: &mut Xml, category: &str, ty: &str, name: Option<&str>) {
    xml.start("identity").attr("category", category).attr("type", ty).attr_opt("name", name).end();
}
