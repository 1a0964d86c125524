//! What the tests stand on: a client of our own, a server to talk to, the transcript runner.
//!
//! None of it uses the server's own XML, JID or SASL code: a bug there must not hide itself.
#![allow(dead_code)] // A helper may wait for the test that needs it.

pub mod acme;
pub mod bosh;
pub mod client;
pub mod component;
pub mod element;
pub mod feeds;
pub mod frames;
pub mod h2;
pub mod https;
pub mod interest;
pub mod io;
pub mod matching;
pub mod mount;
pub mod nodes;
pub mod peer_tls;
pub mod peers;
pub mod preload;
pub mod process;
pub mod push_service;
pub mod raw_peer;
pub mod rooms;
pub mod sasl;
pub mod sasl2;
pub mod scram;
pub mod server;
pub mod sm;
pub mod tls;
pub mod transcript;
pub mod ws;
