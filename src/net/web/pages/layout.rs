//! What is around every page.

use axum::http::header::{
    CACHE_CONTROL, CONTENT_LANGUAGE, CONTENT_TYPE, HeaderName, RETRY_AFTER, VARY,
};
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use maud::{DOCTYPE, Markup, html};

use super::asked::Asked;
use super::language::Language;

/// A page to be shown.
pub struct Page<'a> {
    /// What came of the request.
    pub status: StatusCode,
    /// The domain that it is about.
    pub host: &'a str,
    /// Its headline.
    pub title: &'a str,
    /// What is below.
    pub body: Markup,
    /// What its address is.
    pub kind: Kind,
}

/// What the address of a page is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Anybody's; the page is the same for a while.
    Public,
    /// A secret, or the page is the answer to a form: it is kept nowhere and found by nobody.
    Secret,
}

/// Makes it.
pub fn show(asked: &Asked, page: Page<'_>) -> Response {
    let Page { status, host, title, body, kind } = page;
    let markup = document(asked, host, title, &body).into_string();
    let mut response = (status, markup).into_response();
    let cache = if kind == Kind::Public { "no-cache" } else { "no-store" };
    let headers = response.headers_mut();
    for (name, value) in [
        (CONTENT_TYPE, "text/html; charset=utf-8"),
        (CONTENT_LANGUAGE, asked.language.tag()),
        (CACHE_CONTROL, cache),
        (VARY, "Accept-Language, User-Agent"),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    if kind != Kind::Public {
        let name = HeaderName::from_static("x-robots-tag");
        headers.insert(name, HeaderValue::from_static("noindex"));
    }
    let wait = match status {
        StatusCode::TOO_MANY_REQUESTS => Some("3600"),
        StatusCode::SERVICE_UNAVAILABLE => Some("10"),
        _ => None,
    };
    if let Some(wait) = wait {
        headers.insert(RETRY_AFTER, HeaderValue::from_static(wait));
    }
    response
}

fn document(asked: &Asked, host: &str, title: &str, body: &Markup) -> Markup {
    let (t, assets) = (asked.texts(), &asked.pages.assets);
    html! {
        (DOCTYPE)
        html lang=(asked.language.tag()) {
            (head(asked, title, &assets.style(), html! {
                meta name="color-scheme" content="light dark";
            }))
            body {
                a.skip href="#main" { (t.skip) }
                header {
                    a href=(asked.link("/")) { (host) }
                }
                main #main tabindex="-1" {
                    h1 { (title) }
                    (body)
                }
                footer {
                    @if !asked.is_form { (languages(asked)) }
                    p { (t.runs_on) }
                }
            }
        }
    }
}

/// The head of any page of HTML: its title, its style, and what else it needs.
pub fn head(asked: &Asked, title: &str, style: &str, more: Markup) -> Markup {
    html! {
        head {
            meta charset="utf-8";
            meta name="viewport" content="width=device-width, initial-scale=1";
            title { (title) }
            link rel="stylesheet" href=(style);
            link rel="icon" type="image/svg+xml" href=(asked.pages.assets.icon());
            (more)
        }
    }
}

/// The same page in other languages.
fn languages(asked: &Asked) -> Markup {
    html! {
        nav aria-label=(asked.texts().languages) {
            ul {
                @for language in Language::ALL {
                    @let name = asked.pages.catalogues.of(language).language;
                    li {
                        @if language == asked.language {
                            span aria-current="true" { (name) }
                        } @else {
                            a href={ "?lang=" (language.tag()) } lang=(language.tag())
                                hreflang=(language.tag()) { (name) }
                        }
                    }
                }
            }
        }
    }
}
