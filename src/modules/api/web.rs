//! Where the web door is, for modules that give out addresses on it.

use std::sync::{Mutex, PoisonError};

/// Known once the server listens.
#[derive(Debug, Default)]
pub struct WebAddress(Mutex<Known>);

#[derive(Debug, Default)]
struct Known {
    url: String,
    port: Option<u16>,
    pages: bool,
}

impl WebAddress {
    /// What the operator says of it, the first port with TLS, and whether there are pages for people.
    pub fn set(&self, url: &str, port: Option<u16>, pages: bool) {
        let url = url.trim_end_matches('/').to_owned();
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Known { url, port, pages };
    }

    /// The same as [`Self::url`], if there are pages.
    pub fn pages(&self, host: &str) -> Option<String> {
        let has_pages = self.0.lock().unwrap_or_else(PoisonError::into_inner).pages;
        self.url(host).filter(|_| has_pages)
    }

    /// The address as clients of a host see it: `https://HOST:PORT`. None if there is no door.
    pub fn url(&self, host: &str) -> Option<String> {
        let known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match (known.url.as_str(), known.port) {
            ("", None) => None,
            ("", Some(443)) => Some(format!("https://{host}")),
            ("", Some(port)) => Some(format!("https://{host}:{port}")),
            (url, _) => Some(url.to_owned()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_operator_knows_best() {
        let address = WebAddress::default();
        assert_eq!(address.url("x"), None);
        address.set("", Some(5443), false);
        assert_eq!(address.url("x").as_deref(), Some("https://x:5443"));
        assert_eq!(address.pages("x"), None);
        address.set("", Some(443), true);
        assert_eq!(address.pages("x").as_deref(), Some("https://x"));
        assert_eq!(address.url("x").as_deref(), Some("https://x"));
        address.set("https://chat.x/", Some(443), true);
        assert_eq!(address.url("x").as_deref(), Some("https://chat.x"));
    }
}
