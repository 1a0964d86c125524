//! Stonechat, an XMPP server: the library under the thin binary.
//!
//! The floors, in reading order; each may look only down (`tests/tidy` checks it):
//!
//! | floor | rooms | what it holds |
//! |---|---|---|
//! | 1 | [`base`] | limits, time stamps, ids, hashing |
//! | 2 | [`xml`] | bytes to pieces, the gate, the writer |
//! | 3 | [`jid`], [`stanza`] | addresses; a stanza is its bytes and an index |
//! | 4 | [`stream`], [`store`] | sans-I/O negotiation; transactions. Neither sees the other |
//! | 5 | [`router`] | who is where; the one verb `route` |
//! | 6 | [`modules`], [`admin`] | the XEPs; the operator's verbs |
//! | 7 | [`session`], [`peer`], [`net`], [`moving`] | one task per stream, of clients and of servers; sockets and TLS; moving in and out |
//! | 8 | [`server`] | wiring, config file, command line, signals |
//!
//! `docs/architecture.md` describes the data flow and the invariants.
#![forbid(unsafe_code)]
#![cfg_attr(
    test,
    allow(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::indexing_slicing,
        clippy::panic,
        clippy::disallowed_methods
    )
)]

pub mod base;
pub mod jid;
pub mod stanza;
pub mod stream;
pub mod xml;

#[cfg(feature = "server")]
pub mod admin;
#[cfg(feature = "server")]
pub mod modules;
#[cfg(feature = "server")]
pub mod moving;
#[cfg(feature = "server")]
pub mod net;
#[cfg(feature = "server")]
pub mod peer;
#[cfg(feature = "server")]
pub mod router;
#[cfg(feature = "server")]
pub mod server;
#[cfg(feature = "server")]
pub mod session;
#[cfg(feature = "server")]
pub mod store;
