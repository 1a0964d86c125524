//! Files of XEP-0227, with our own elements where it has none.

mod file;
mod read;
mod write;

pub use read::open;
pub use write::Writer;

/// The namespace of XEP-0227.
pub const PIE: &str = "urn:xmpp:pie:0";
/// What it was before the XEP was a draft, which Openfire still writes.
const OLD: &str = "http://www.xmpp.org/extensions/xep-0227.html#ns";
/// Its credentials (§4.3).
const SCRAM: &str = "urn:xmpp:pie:0#scram";
/// What it lacks: rooms, and what an account is beside its name.
const OURS: &str = "urn:x-stonechat:moving:0";
/// XML Inclusions (§5).
const XINCLUDE: &str = "http://www.w3.org/2001/XInclude";
