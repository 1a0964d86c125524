//! Where the server listens.

use std::net::SocketAddr;

use tokio::net::TcpListener;

use super::check::bind_problem;
use super::config::{Config, Origins, Problem};
use crate::net::listener;

/// The addresses that are listened on.
pub struct Places {
    /// Where clients connect and start TLS.
    pub c2s: Vec<SocketAddr>,
    /// Where clients connect with TLS.
    pub c2s_tls: Vec<SocketAddr>,
    /// HTTPS and WebSocket.
    pub web: Vec<SocketAddr>,
    /// Plain HTTP for a proxy.
    pub web_plain: Vec<SocketAddr>,
    /// Figures for whoever watches the server.
    pub metrics: Vec<SocketAddr>,
    /// The operator's API.
    pub api: Vec<SocketAddr>,
    /// Where other servers connect and start TLS.
    pub s2s: Vec<SocketAddr>,
    /// Where other servers connect with TLS.
    pub s2s_tls: Vec<SocketAddr>,
    /// Where components connect.
    pub components: Vec<SocketAddr>,
    /// Where components connect with TLS.
    pub components_tls: Vec<SocketAddr>,
    /// Where an authority looks for proofs.
    pub acme: Vec<SocketAddr>,
}

impl Places {
    /// Of what is bound, in the order of [`Config::listeners`].
    pub(super) fn of(bound: &[Vec<TcpListener>; 11]) -> Self {
        let [
            c2s,
            c2s_tls,
            web,
            web_plain,
            metrics,
            api,
            s2s,
            s2s_tls,
            components,
            components_tls,
            acme,
        ] = bound.each_ref().map(|listeners| addresses(listeners));
        Self {
            c2s,
            c2s_tls,
            web,
            web_plain,
            metrics,
            api,
            s2s,
            s2s_tls,
            components,
            components_tls,
            acme,
        }
    }
}

/// Binds all listeners, in the order of [`Config::listeners`].
pub(super) async fn bind_all(
    config: &Config,
    origins: &Origins,
) -> Result<[Vec<TcpListener>; 11], Problem> {
    let mut bound: [Vec<TcpListener>; 11] = Default::default();
    for ((key, addresses), bound) in config.listeners().into_iter().zip(&mut bound) {
        for address in addresses {
            let failed = |error| bind_problem(*address, &error, origins.of(key));
            bound.push(listener::bind(*address, addresses).await.map_err(failed)?);
        }
    }
    Ok(bound)
}

fn addresses(listeners: &[TcpListener]) -> Vec<SocketAddr> {
    listeners.iter().filter_map(|listener| listener.local_addr().ok()).collect()
}
