//! Addresses (RFC 7622): one shared string in normal form with the places of its parts.

mod prep;

use std::borrow::Borrow;
use std::fmt;
use std::sync::Arc;

/// Any address: `domain`, `local@domain`, `domain/resource` or `local@domain/resource`.
/// Always in normal form; cloning is a reference count.
#[derive(Clone)]
pub struct Jid {
    text: Arc<str>,
    /// Offset of `@`, or `NONE`.
    at: u16,
    /// Offset of the first `/` after the domain, or `NONE`.
    slash: u16,
}

/// An address without a resourcepart.
#[derive(Clone)]
pub struct BareJid(Jid);

/// An address with a resourcepart.
#[derive(Clone)]
pub struct FullJid(Jid);
