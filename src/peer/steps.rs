//! What was done to open a stream, for people.

use std::time::Duration;

use super::dial::Step;
use crate::session::transport::PeerSecured;
use crate::stream::s2s::certificate::{CertName, Trust};

/// TLS, and what the certificate is worth for this domain.
pub(super) fn of_tls(secured: &PeerSecured, remote: &str, took: Duration) -> Step {
    let PeerSecured { certificate, version, cipher } = secured;
    let what = format!("TLS: {version}, {cipher}");
    let Some(certificate) = certificate else {
        return Step { what: format!("{what}; it showed no certificate"), took, failed: false };
    };
    let trust = match &certificate.trust {
        Trust::Valid => "of a trusted authority".to_owned(),
        Trust::Untrusted(why) => why.clone(),
        Trust::Dane => "proved by DANE".to_owned(),
    };
    let names: Vec<_> = certificate.names.iter().take(NAMES_MAX).map(name).collect();
    let names = if names.is_empty() { "nobody".to_owned() } else { names.join(", ") };
    let verdict = match certificate.proves(remote) {
        Ok(()) => format!("it proves {remote}"),
        Err(_) => format!("it does not prove {remote}"),
    };
    let failed = certificate.proves(remote).is_err();
    Step { what: format!("{what}; certificate for {names}, {trust}: {verdict}"), took, failed }
}

/// With what it is, where that is not the DNS.
fn name(name: &CertName) -> String {
    match name {
        CertName::Dns(name) => name.clone(),
        CertName::Srv(name) => format!("SRV:{name}"),
        CertName::XmppAddr(name) => format!("XmppAddr:{name}"),
    }
}

/// Names that are shown.
const NAMES_MAX: usize = 10;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stream::s2s::certificate::PeerCertificate;

    #[test]
    fn a_certificate_is_told_with_its_names_and_the_verdict() {
        let of = |trust, names: &[&str]| {
            let names = names.iter().map(|name| CertName::Dns((*name).to_owned())).collect();
            let certificate = Some(PeerCertificate { trust, names });
            let secured = PeerSecured { certificate, version: "TLSv1.3", cipher: "X".to_owned() };
            let step = of_tls(&secured, "b.example", Duration::ZERO);
            (step.what, step.failed)
        };
        let (what, failed) = of(Trust::Valid, &["b.example"]);
        assert_eq!(
            what,
            "TLS: TLSv1.3, X; certificate for b.example, of a trusted authority: it proves b.example"
        );
        assert!(!failed);
        assert!(of(Trust::Valid, &["c.example"]).1);
        assert!(
            of(Trust::Untrusted("it has expired".into()), &["b.example"]).0.contains("expired")
        );
    }
}
