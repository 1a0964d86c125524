//! Moving in and out: what other servers kept is read by a [`Source`](piece::Source), piece by piece, and written by
//! the modules that such things belong to (`Module.moves`). XEP-0227 is the common tongue.

pub mod ejabberd;
pub mod export;
pub mod import;
pub mod json;
pub mod keys;
mod marks;
pub mod open;
pub mod openfire;
mod parts;
pub mod piece;
pub mod prosody;
pub mod report;
#[cfg(test)]
mod samples;
mod scan;
mod sqlite;
pub mod table;
#[cfg(test)]
mod tests;
pub mod xep0227;
