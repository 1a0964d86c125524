//! Sockets and TLS: accepting, securing, and the transports that sessions run over.

mod arrivals;
pub mod listener;
pub mod local_ca;
pub mod tcp;
pub mod tls;
