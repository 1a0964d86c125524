//! Servers of our own that federate on loopback, each at an address that nobody else has.

use super::client::Outcome;
use super::process::{LOG, Lab, OPEN_ROOMS, PASSWORD};
use super::raw_peer::{Fake, Identity};
use super::tls::Authority;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener};
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicU8, Ordering};
use tempfile::TempDir;

/// The port of other servers (RFC 6120 §14.7).
const PORT: u16 = 5269;

/// A loopback address that no other test has: of this process and a counter, as long as nobody sits there.
pub fn place() -> SocketAddr {
    static NEXT: AtomicU8 = AtomicU8::new(1);
    let [_, _, high, low] = std::process::id().to_be_bytes();
    // 127.0.*.* is where people have their own things.
    let high = if high == 0 { 250 } else { high };
    loop {
        let last = NEXT.fetch_add(1, Ordering::Relaxed);
        let address = SocketAddr::from((Ipv4Addr::new(127, high, low, last), PORT));
        if last != 0 && TcpListener::bind(address).is_ok() {
            return address;
        }
    }
}

/// A domain with its address.
#[derive(Clone, Debug)]
pub struct Site {
    pub domain: String,
    pub address: SocketAddr,
}

impl Site {
    pub fn new(domain: &str) -> Site {
        Site { domain: domain.to_owned(), address: place() }
    }

    /// One that is reached by IPv6 alone.
    pub fn six(domain: &str) -> Site {
        let free = TcpListener::bind((Ipv6Addr::LOCALHOST, 0)).unwrap();
        Site { domain: domain.to_owned(), address: free.local_addr().unwrap() }
    }

    /// `--peer` for the domain and its services.
    fn routes(&self) -> Vec<String> {
        let domain = &self.domain;
        let names = [domain.clone(), format!("conference.{domain}"), format!("pubsub.{domain}")];
        names.iter().map(|name| format!("{name}={}", self.address)).collect()
    }
}

/// A lab of this site that knows the others, and trusts this authority; with what else it is told.
pub fn lab(site: &Site, others: &[&Site], authority: &Path, users: &[&str], set: &[&str]) -> Lab {
    let domain = &site.domain;
    let users: Vec<String> =
        users.iter().map(|user| format!("{user}@{domain}:{PASSWORD}")).collect();
    let routes: Vec<String> = others.iter().flat_map(|other| other.routes()).collect();
    let listen = format!("s2s.listen={}", site.address);
    let shared = authority.display().to_string();
    let mut args = vec!["--domain", domain, "--authority", &shared];
    args.extend(users.iter().flat_map(|user| ["--user", user]));
    args.extend(routes.iter().flat_map(|route| ["--peer", route]));
    let base = ["sasl.iterations=4096", OPEN_ROOMS, LOG, &listen];
    args.extend(base.iter().chain(set).flat_map(|set| ["--set", set]));
    Lab::start(&args)
}

/// Two servers, a.test and b.test.
pub struct Two {
    pub a: Lab,
    pub b: Lab,
    pub sites: [Site; 2],
    pub folder: TempDir,
}

impl Two {
    /// With alice and carol at the one, bob and dave at the other.
    pub fn new() -> Two {
        Two::with(&[])
    }

    /// The same with these settings of both.
    pub fn with(set: &[&str]) -> Two {
        Two::at([Site::new("a.test"), Site::new("b.test")], set)
    }

    /// The same where they are told to be.
    pub fn at(sites: [Site; 2], set: &[&str]) -> Two {
        let folder = tempfile::tempdir().unwrap();
        let authority = folder.path().join("authority");
        let a = lab(&sites[0], &[&sites[1]], &authority, &["alice", "carol"], set);
        let b = lab(&sites[1], &[&sites[0]], &authority, &["bob", "dave"], set);
        Two { a, b, sites, folder }
    }

    /// alice@a.test and bob@b.test see each other's presence. Both are offline afterwards.
    pub async fn friends(&self) -> Outcome<()> {
        let mut alice = self.a.online("alice", "first").await?;
        let mut bob = self.b.online("bob", "first").await?;
        let (to_bob, to_alice) = ("bob@b.test", "alice@a.test");
        // A request that meets one of the addressee's own is approved (RFC 6121 §3.1.3 and §3.4).
        bob.send(&format!("<presence type='subscribed' to='{to_alice}'/>")).await?;
        bob.fence().await?;
        alice.send(&format!("<presence type='subscribe' to='{to_bob}'/>")).await?;
        alice.expect(|e| e.attr("type") == Some("subscribed")).await?;
        alice.send(&format!("<presence type='subscribed' to='{to_bob}'/>")).await?;
        alice.fence().await?;
        bob.send(&format!("<presence type='subscribe' to='{to_alice}'/>")).await?;
        bob.expect(|e| e.attr("type") == Some("subscribed")).await?;
        alice.close().await?;
        bob.close().await
    }
}

/// A server with a folder of its own, which outlives it.
pub struct Kept {
    pub site: Site,
    pub folder: TempDir,
    args: Vec<String>,
}

impl Kept {
    /// With a certificate of this authority, which it trusts, and these settings.
    pub fn new(site: &Site, others: &[&Site], authority: &Authority, set: &[&str]) -> Kept {
        let folder = tempfile::tempdir().unwrap();
        let domain = &site.domain;
        let names = [domain.clone(), format!("conference.{domain}"), format!("pubsub.{domain}")];
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        let (certificate, key) = authority.put(folder.path(), "host", &names);
        let routes: Vec<String> = others.iter().flat_map(|other| other.routes()).collect();
        let routes = routes.iter().filter_map(|route| route.split_once('='));
        let routes: Vec<String> =
            routes.map(|(domain, place)| format!("\"{domain}\" = \"{place}\"")).collect();
        let mut args = Vec::new();
        let own = [
            format!("host.0.domain={domain}"),
            format!("host.0.certificate={}", certificate.display()),
            format!("host.0.key={}", key.display()),
            format!("s2s.listen={}", site.address),
            format!("s2s.trust={}", authority.ca.display()),
            "s2s.trust_system=false".to_owned(),
            format!("s2s.routes={{ {} }}", routes.join(", ")),
        ];
        for one in own.into_iter().chain(set.iter().map(|set| (*set).to_owned())) {
            args.extend(["--set".to_owned(), one]);
        }
        Kept { site: site.clone(), folder, args }
    }

    /// Starts it, with accounts made before.
    pub fn serve(&self, authority: &Authority, users: &[&str]) -> Lab {
        self.serve_as(authority, users, |_| {})
    }

    pub fn serve_as(
        &self,
        authority: &Authority,
        users: &[&str],
        change: impl FnOnce(&mut Command),
    ) -> Lab {
        let args: Vec<&str> = self.args.iter().map(String::as_str).collect();
        let mut lab =
            Lab::serve_domain(&self.site.domain, self.folder.path(), &args, users, change);
        lab.target.ca = Some(authority.ca.clone());
        lab
    }
}

/// One server of ours, a.test, and an address for whatever other servers a test makes up.
pub struct One {
    pub lab: Lab,
    pub site: Site,
    /// Where all of [`STRANGERS`] are.
    pub peer: Site,
    /// Signs for them, and is trusted.
    pub authority: Authority,
    pub folder: TempDir,
}

/// Domains that are where the test is.
pub const STRANGERS: [&str; 4] = ["peer.test", "weak.test", "other.test", "conference.peer.test"];

impl One {
    /// With alice and carol, and these settings.
    pub fn new(set: &[&str]) -> One {
        One::reached(set, "")
    }

    /// The same with the peer reached by `tls://`, if that is the scheme.
    pub fn reached(set: &[&str], scheme: &str) -> One {
        let folder = tempfile::tempdir().unwrap();
        let (site, peer) = (Site::new("a.test"), Site::new("peer.test"));
        let authority = Authority::new(folder.path());
        let routes = STRANGERS.map(|name| format!("\"{name}\" = \"{scheme}{}\"", peer.address));
        let mut all = vec![
            format!("s2s.trust={}", authority.ca.display()),
            "s2s.trust_system=false".to_owned(),
            format!("s2s.routes={{ {} }}", routes.join(", ")),
        ];
        all.extend(set.iter().map(|set| (*set).to_owned()));
        let all: Vec<&str> = all.iter().map(String::as_str).collect();
        let lab = lab(&site, &[], &folder.path().join("lab"), &["alice", "carol"], &all);
        One { lab, site, peer, authority, folder }
    }

    /// A certificate of the authority.
    pub fn identity(&self, domains: &[&str]) -> Identity {
        Identity::of(&self.authority, domains)
    }

    /// A server at the peer's address, with a certificate for all of its domains.
    pub async fn fake(&self) -> Fake {
        Fake::new(self.peer.address, "peer.test", self.identity(&STRANGERS)).await
    }
}
