//! What a request for a page says of itself: where to, in which language, from what device.

use std::convert::Infallible;
use std::sync::Arc;

use axum::extract::FromRequestParts;
use axum::http::header::{ACCEPT_LANGUAGE, ORIGIN, USER_AGENT};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderName, Method};

use super::apps::Platform;
use super::language::Language;
use super::state::Pages;
use super::texts::Texts;
use crate::jid::FullJid;
use crate::modules::api::{Admission, Channel, Cx, Guest, Requester, Via};
use crate::net::web::state::authority;
use crate::net::web::visitor::Visitor;
use crate::store::invitations::Invitation;

/// See the fields.
pub struct Asked {
    /// What all pages share.
    pub pages: Arc<Pages>,
    /// The served domain that it is for.
    pub host: String,
    /// Where the door is, as the visitor sees it.
    pub base: String,
    /// The language of the answer.
    pub language: Language,
    /// Whether the address names it.
    pub has_chosen: bool,
    /// What the visitor's device runs on.
    pub platform: Option<Platform>,
    /// Whether it is a form that was sent: the answer is not there again.
    pub is_form: bool,
    /// Whether another site has it sent.
    pub is_foreign: bool,
    visitor: Option<Visitor>,
}

impl FromRequestParts<Arc<Pages>> for Asked {
    type Rejection = Infallible;

    async fn from_request_parts(
        parts: &mut Parts,
        pages: &Arc<Pages>,
    ) -> Result<Self, Self::Rejection> {
        let visitor = parts.extensions.get::<Visitor>().cloned();
        let secure = visitor.as_ref().is_some_and(|visitor| visitor.secure);
        let (uri, headers) = (&parts.uri, &parts.headers);
        let base = pages.web.url(secure, uri, headers);
        let query = uri.query().unwrap_or_default();
        let mut named = form_urlencoded::parse(query.as_bytes());
        let chosen = named.find_map(|(key, value)| Language::of(&value).filter(|_| key == "lang"));
        let accept = text(headers, ACCEPT_LANGUAGE).unwrap_or_default();
        let to = authority(uri, headers).map(|authority| authority.to_string());
        Ok(Self {
            host: pages.web.host(uri, headers).to_owned(),
            language: chosen.unwrap_or_else(|| Language::best(accept)),
            has_chosen: chosen.is_some(),
            platform: Platform::of(text(headers, USER_AGENT).unwrap_or_default()),
            is_form: parts.method == Method::POST,
            is_foreign: is_foreign(headers, &[without_scheme(&base), &to.unwrap_or_default()]),
            pages: pages.clone(),
            base,
            visitor,
        })
    }
}

impl Asked {
    /// The texts of the answer.
    pub fn texts(&self) -> &Texts {
        self.pages.catalogues.of(self.language)
    }

    /// A path of ours that keeps a language that was chosen.
    pub fn link(&self, path: &str) -> String {
        match self.has_chosen {
            true => format!("{path}?lang={}", self.language.tag()),
            false => path.to_owned(),
        }
    }

    /// The visitor as a stranger on a domain who has shown this: what a stream before its login is. `None` if
    /// nobody knows who it is.
    pub fn guest(&self, host: &str, shown: Option<Invitation>) -> Option<Cx> {
        let visitor = self.visitor.as_ref()?;
        let jid = FullJid::parse(&format!("{host}/web")).ok()?;
        let admission = Admission::default();
        admission.set(shown);
        // By plain HTTP, as BOSH is; it has no session that would be counted by it.
        let (via, secure) = (Via::Bosh, visitor.secure);
        let channel = Channel { peer: visitor.ip, secure, via, by_token: false };
        Some(self.pages.web.context.cx(Requester::Guest(Guest { jid, channel, admission })))
    }
}

/// Whether a form is sent by a page of another site. Browsers say so (Fetch Metadata §2.1); older ones name the
/// origin, or `null`, as our pages have told them to keep where they are to themselves. Then, as ever, the
/// token in the address is what nobody else has.
fn is_foreign(headers: &HeaderMap, own: &[&str]) -> bool {
    if let Some(site) = text(headers, SEC_FETCH_SITE) {
        return !["same-origin", "none"].contains(&site);
    }
    let origin = text(headers, ORIGIN).filter(|origin| *origin != "null");
    origin.is_some_and(|origin| !own.contains(&without_scheme(origin)))
}

fn without_scheme(url: &str) -> &str {
    url.split_once("://").map_or(url, |(_, rest)| rest)
}

fn text(headers: &HeaderMap, name: HeaderName) -> Option<&str> {
    headers.get(name)?.to_str().ok()
}

const SEC_FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_form_of_another_site_is_foreign() {
        let own = &["chat.x", "x:5443"];
        for (headers, foreign) in [
            (&[][..], false),
            (&[("sec-fetch-site", "same-origin")], false),
            (&[("sec-fetch-site", "none")], false),
            (&[("sec-fetch-site", "same-site")], true),
            (&[("sec-fetch-site", "cross-site")], true),
            (&[("sec-fetch-site", "same-origin"), ("origin", "null")], false),
            (&[("sec-fetch-site", "cross-site"), ("origin", "https://x:5443")], true),
            (&[("origin", "null")], false),
            (&[("origin", "https://chat.x")], false),
            (&[("origin", "https://x:5443")], false),
            (&[("origin", "https://x")], true),
            (&[("origin", "https://evil.example")], true),
            (&[("origin", "https://chat.x.evil.example")], true),
        ] {
            let mut all = HeaderMap::new();
            for (name, value) in headers {
                all.insert(HeaderName::from_static(name), value.parse().unwrap());
            }
            assert_eq!(is_foreign(&all, own), foreign, "{headers:?}");
        }
        // A request that says nothing of where it goes allows no origin.
        let mut empty = HeaderMap::new();
        empty.insert(ORIGIN, "https://x".parse().unwrap());
        assert!(is_foreign(&empty, &["y", ""]));
    }
}
