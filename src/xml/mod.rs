//! The bytes floor: a byte stream is cut into pieces ([`framer`]), each piece is proved once
//! ([`gate`]), payloads are read through one view ([`view`]) and written by one writer ([`writer`]).
//!
//! Nothing here knows a clock, a socket or a JID; RFC 6120 §11 is the law of this floor.

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
