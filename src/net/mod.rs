//! Sockets and TLS: accepting connections, securing them, and the transports that sessions run over.

pub mod acceptor;
pub mod acme;
pub mod c2s;
pub mod component;
pub mod dial;
pub mod dns;
pub mod listener;
pub mod local_ca;
pub mod proxies;
mod proxy_protocol;
mod rate;
pub mod s2s;
pub mod tcp;
pub mod tls;
pub mod web;
