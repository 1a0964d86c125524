//! Certificates are joined here: what TLS uses, who orders it, and what an operator asks of both.

use std::sync::Arc;
use std::time::SystemTime;

use super::clock::now;
use super::config::Config;
use crate::admin::told::{CertLine, CertList, CertOrders, CertRenewed};
use crate::admin::{CertError, CertVerb, Doing, Keeping, Outcome};
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
    fn run<'a>(&'a self, verb: &'a CertVerb) -> Doing<'a, Outcome> {
        Box::pin(async move {
            match verb {
                CertVerb::List => {
                    let hosts = self.tls.certificate_info();
                    let certificates = hosts.iter().map(|host| line(host, now())).collect();
                    Ok(CertList { certificates, orders: self.status() }.into())
                }
                CertVerb::Renew { now } => {
                    let keeper = self.keeper.as_ref().ok_or(CertError::Off)?;
                    let (until, due) = match keeper.renew(*now).await {
                        Ordered::Done(until) => (Some(until), None),
                        Ordered::NotDue(due) => (None, Some(due)),
                        Ordered::Failed(why) => return Err(CertError::Failed(why).into()),
                    };
                    Ok(CertRenewed { until: until.map(stamp), due: due.map(stamp) }.into())
                }
            }
        })
    }

    fn status(&self) -> Option<CertOrders> {
        self.keeper.as_ref().map(|keeper| keeper.status())
    }
}

fn line(host: &HostInfo, now: SystemTime) -> CertLine {
    let left = host.not_after.duration_since(now).unwrap_or_default();
    CertLine {
        domain: host.domain.clone(),
        until: stamp(host.not_after),
        days: left.as_secs() / 86_400,
        own: host.is_own,
        issuer: host.issuer.clone(),
        names: host.names.clone(),
        file: host.chain_file.display().to_string(),
    }
}
