//! The ways in which TLS begins, which differ in what may be spoken inside.

/// How a TLS session begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind<'a> {
    /// After `<proceed/>`; `to` is the domain of the stream header.
    StartTls {
        /// The `to` of the stream header, if it had one.
        to: Option<&'a str>,
    },
    /// From the first byte (XEP-0368).
    Direct,
    /// HTTPS (RFC 7301, RFC 9113 §3.2).
    Web,
    /// What the client names of [`Self::Direct`] and [`Self::Web`]: one port for both.
    Any,
}
