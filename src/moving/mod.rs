//! Moving in and out: what other servers kept is read by a [`Source`](piece::Source), piece by piece, and written by
//! the modules that such things belong to (`Module.moves`). XEP-0227 is the common tongue.

pub mod export;
pub mod import;
pub mod json;
pub mod keys;
pub mod open;
pub mod piece;
pub mod report;
pub mod table;
#[cfg(test)]
mod tests;
pub mod xep0227;
