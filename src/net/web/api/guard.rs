//! What is looked at before anything else: for whom a request is, whose page sent it, and how many come from there.
//!
//! A browser on this machine reaches loopback for whatever page is open in it. The API has no cookies, so such a page
//! has no rights of its own; but no page of another site is heard at all, none that made its name point here (DNS
//! rebinding) either, and there are no headers of CORS that would let one read an answer.

use std::net::IpAddr;

use axum::extract::Request;
use axum::http::header::{HOST, ORIGIN};
use axum::http::uri::Authority;
use axum::http::{HeaderMap, HeaderValue};

use super::ApiSettings;
use super::problem::Trouble;
use super::rates::Rates;
use crate::net::web::clock::now;
use crate::net::web::state::authority;
use crate::net::web::visitor::Visitor;

/// What the API knows of those who ask.
pub struct Guard {
    settings: ApiSettings,
    pub(super) addresses: Rates<IpAddr>,
    pub(super) tokens: Rates<String>,
    /// Wrong tokens: each address may show a few at once.
    pub(super) wrong: Rates<IpAddr>,
}

impl Guard {
    pub(super) fn new(settings: ApiSettings) -> Self {
        let ApiSettings { requests_per_second: rate, requests_burst: burst, .. } = settings;
        let wrong = if rate == 0 { Rates::new(0, 0) } else { Rates::new(1, WRONG_AT_ONCE) };
        Self {
            settings,
            addresses: Rates::new(rate, burst),
            tokens: Rates::new(rate, burst),
            wrong,
        }
    }

    /// Why a request is not looked at any further.
    pub(super) fn refusal(
        &self,
        visitor: &Visitor,
        request: &Request,
        domains: &[String],
    ) -> Option<Trouble> {
        let headers = request.headers();
        let named = authority(request.uri(), headers);
        if !named.is_some_and(|named| self.is_for_us(&named, domains)) {
            return Some(Trouble::FOREIGN_HOST);
        }
        if is_foreign(headers) {
            return Some(Trouble::FOREIGN_PAGE);
        }
        let wait = self.addresses.take(visitor.ip, now()).err()?;
        Some(Trouble::too_many("this address", wait))
    }

    /// Whether a request names this server. What has an address for a name cannot have been made to point here.
    fn is_for_us(&self, named: &Authority, domains: &[String]) -> bool {
        let host = named.host();
        let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
        let is = |name: &String| name.eq_ignore_ascii_case(host);
        bare.parse::<IpAddr>().is_ok()
            || host.eq_ignore_ascii_case("localhost")
            || self.settings.names.iter().any(is)
            || domains.iter().any(is)
    }
}

/// Whether a page of another site sent it (Fetch §3.2; Fetch Metadata §2.2).
fn is_foreign(headers: &HeaderMap) -> bool {
    let own = headers.get(HOST).map(HeaderValue::as_bytes);
    let is_own = |origin: &HeaderValue| {
        let origin = origin.as_bytes();
        let host = origin.strip_prefix(b"http://").or_else(|| origin.strip_prefix(b"https://"));
        host.is_some() && host == own
    };
    let site = headers.get("sec-fetch-site").map(HeaderValue::as_bytes);
    headers.get_all(ORIGIN).iter().any(|origin| !is_own(origin))
        || site.is_some_and(|site| site != b"same-origin" && site != b"none")
}

/// Wrong tokens that one address may show without waiting.
const WRONG_AT_ONCE: u32 = 5;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_of_other_sites_are_told_apart() {
        let foreign = |headers: &[(&'static str, &str)]| {
            let mut map = HeaderMap::new();
            for (name, value) in headers {
                map.append(*name, value.parse().unwrap());
            }
            is_foreign(&map)
        };
        let host = ("host", "127.0.0.1:5445");
        assert!(!foreign(&[host]));
        assert!(!foreign(&[host, ("origin", "http://127.0.0.1:5445")]));
        assert!(!foreign(&[host, ("sec-fetch-site", "none")]));
        for wrong in [
            ("origin", "http://127.0.0.1"),
            ("origin", "null"),
            ("origin", "https://evil.example"),
            ("sec-fetch-site", "cross-site"),
            ("sec-fetch-site", "same-site"),
        ] {
            assert!(foreign(&[host, wrong]), "{wrong:?}");
        }
    }

    #[test]
    fn a_name_that_was_made_to_point_here_is_none_of_ours() {
        let names = vec!["admin.example".to_owned()];
        let guard = Guard::new(ApiSettings { names, ..ApiSettings::default() });
        let hosts = ["chat.example".to_owned()];
        let ours = |host: &str| guard.is_for_us(&host.parse().unwrap(), &hosts);
        for host in
            ["127.0.0.1:5445", "[::1]:5445", "localhost", "Admin.Example:80", "chat.example"]
        {
            assert!(ours(host), "{host}");
        }
        assert!(!ours("evil.example:5445") && !ours("localhost.evil.example"));
    }
}
