//! What a peer's certificate says of it.

/// What is known of a peer's certificate after the TLS handshake.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PeerCertificate {
    /// Whether it can be believed.
    pub trust: Trust,
    /// What it is for.
    pub names: Vec<CertName>,
}

/// Whether a certificate can be believed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Trust {
    /// Its chain leads to a trusted root, and the times are right.
    Valid,
    /// Why not, for people.
    Untrusted(String),
    /// DANE (RFC 7673) proved it for the domain.
    Dane,
}

/// A name in a certificate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CertName {
    /// dNSName, lower case, may begin with `*.`
    Dns(String),
    /// id-on-dnsSRV, such as `_xmpp-server.example.org`
    Srv(String),
    /// id-on-xmppAddr
    XmppAddr(String),
}
