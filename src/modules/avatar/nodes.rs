//! The nodes of XEP-0084.

/// The node of images, and the namespace of its payloads.
pub const DATA: &str = "urn:xmpp:avatar:data";
/// The node that says which image counts, and the namespace of its payloads.
pub const METADATA: &str = "urn:xmpp:avatar:metadata";
