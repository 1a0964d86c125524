//! Streams between servers without I/O (RFC 6120, XEP-0220): one machine for the streams that others open to us
//! ([`incoming`]) and one for those that we open ([`outgoing`]). Like [`super::c2s`], they take what came in and
//! return what is to be done.

pub mod certificate;
pub mod dialback;
pub mod failure;
pub mod features;
pub mod header;
pub mod incoming;
pub mod outgoing;
pub mod pairs;
pub mod policy;
#[cfg(test)]
mod tests;

pub use certificate::{CertName, PeerCertificate, Secured, Trust};
pub use dialback::{DialbackSecret, Outcome};
pub use failure::Failure;
pub use features::PeerLimits;
pub use incoming::Incoming;
pub use outgoing::{Outgoing, Purpose};
pub use policy::{Admission, Certificates, How, Policy};
