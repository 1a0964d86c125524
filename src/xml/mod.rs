//! The bytes floor: [`framer`] cuts a byte stream into pieces, [`gate`] checks each piece once, [`view`]
//! reads payloads, and [`writer`] writes them.
//!
//! Nothing here uses a clock, a socket or a JID; RFC 6120 §11 sets the rules for this part.

pub mod element;
pub mod error;
pub mod escape;
pub mod framer;
pub mod gate;
pub mod header;
#[cfg(test)]
mod judged;
pub mod names;
mod names_wide;
pub mod ns;
mod scan;
#[cfg(test)]
mod testing;
pub mod view;
pub mod writer;

pub use element::{Child, Element, RawAttr};
pub use error::XmlError;
pub use framer::{Framer, FramerLimits, Piece};
pub use gate::{Rules, check, check_header};
pub use header::Header;
pub use view::{Doc, Node};
pub use writer::Xml;
