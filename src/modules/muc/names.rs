//! Namespaces of what rooms say of their occupants.

/// Occupant ids (XEP-0421).
pub(super) const OCCUPANT_ID: &str = "urn:xmpp:occupant-id:0";
/// Hats (XEP-0317).
pub(super) const HATS: &str = "urn:xmpp:hats:0";
/// Ids of origin (XEP-0359).
pub(super) const ORIGIN_ID: &str = "urn:xmpp:sid:0";
