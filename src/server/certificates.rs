//! Certificates are joined here: what TLS uses, who orders it, and what an operator asks of both.

use std::sync::Arc;
use std::time::SystemTime;

use super::clock::now;
use super::config::Config;
use crate::admin::{CertError, CertVerb, Doing, Keeping};
use crate::base::time::stamp;
use crate::net::acme::{Keeper, Ordered};
use crate::net::tls::{HostInfo, Tls};

/// Whoever orders certificates, if somebody does.
pub fn keeper(config: &Config, tls: &Tls) -> Option<Arc<Keeper>> {
    Some(Arc::new(Keeper::new(config.acme_settings()?, tls.clone())))
}

/// What an operator asks.
pub struct Verbs {
    /// The certificates in use.
    pub tls: Tls,
    /// Whoever orders them.
    pub keeper: Option<Arc<Keeper>>,
}

impl Keeping for Verbs {
    fn run<'a>(&'a self, verb: &'a CertVerb) -> Doing<'a, Vec<String>> {
        Box::pin(async move {
            match verb {
                CertVerb::List => {
                    let hosts = self.tls.certificate_info();
                    let mut lines: Vec<_> = hosts.iter().map(|host| line(host, now())).collect();
                    lines.extend(self.status());
                    Ok(lines)
                }
                CertVerb::Renew { now } => {
                    let keeper = self.keeper.as_ref().ok_or(CertError::Off)?;
                    match keeper.renew(*now).await {
                        Ordered::Done(until) => {
                            let until = stamp(until);
                            Ok(vec![format!("a new certificate is in use, good until {until}")])
                        }
                        Ordered::NotDue(at) => Ok(vec![format!(
                            "nothing is to be done: the next one is due about {}; `--now` orders one in any case",
                            stamp(at)
                        )]),
                        Ordered::Failed(why) => Err(CertError::Failed(why).into()),
                    }
                }
            }
        })
    }

    fn status(&self) -> Vec<String> {
        self.keeper.iter().flat_map(|keeper| keeper.status()).collect()
    }
}

/// `example.org  until 2026-01-31T12:00:00Z (60 days)  by CN=…  for DNS:example.org  FILE`
fn line(host: &HostInfo, now: SystemTime) -> String {
    let left = host.not_after.duration_since(now).unwrap_or_default().as_secs() / 86_400;
    let by = match host.is_own {
        true => "this server itself".to_owned(),
        false => host.issuer.clone(),
    };
    format!(
        "{}  until {} ({left} days)  by {by}  for {}  {}",
        host.domain,
        stamp(host.not_after),
        host.names.join(", "),
        host.chain_file.display()
    )
}
