//! What went wrong, as `application/problem+json` (RFC 9457): what it is, and what to do.

use std::borrow::Cow;
use std::time::Duration;

use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE};
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use serde_json::json;

use crate::admin::accounts::{AdminError, Kind};

/// What went wrong.
#[derive(Debug, Clone)]
pub struct Trouble {
    status: StatusCode,
    /// The last part of its type, for programs.
    kind: &'static str,
    title: &'static str,
    detail: Cow<'static, str>,
    todo: Cow<'static, str>,
    /// When it may be tried again.
    retry: Option<Duration>,
}

impl Trouble {
    pub const NO_PATH: Self = Self::fixed(
        StatusCode::NOT_FOUND,
        "no-such-path",
        "There is no such path",
        "no verb has this path",
        "see /api/v1/openapi.json for all that there are",
    );
    pub const NO_METHOD: Self = Self::fixed(
        StatusCode::METHOD_NOT_ALLOWED,
        "no-such-method",
        "The path has no such method",
        "no verb has this method on this path",
        "see /api/v1/openapi.json for those that there are",
    );
    pub const NO_TOKEN: Self = Self::fixed(
        StatusCode::UNAUTHORIZED,
        "token",
        "Who are you?",
        "the request has no token that is good",
        "send Authorization: Bearer with a token that `stonechat token add` made and that is neither expired nor revoked",
    );
    pub const FOREIGN_HOST: Self = Self::fixed(
        StatusCode::MISDIRECTED_REQUEST,
        "host",
        "The request is for somebody else",
        "its Host is neither an address, nor localhost, nor a served domain",
        "name the host in admin.names, if this server is meant by it",
    );
    pub const FOREIGN_PAGE: Self = Self::fixed(
        StatusCode::FORBIDDEN,
        "origin",
        "A page of another site sent this",
        "browsers may use this API from pages of its own alone",
        "have a program send it, which has no Origin",
    );
    pub const NOT_JSON: Self = Self::fixed(
        StatusCode::UNSUPPORTED_MEDIA_TYPE,
        "media-type",
        "The body is not JSON",
        "the body has another type than application/json",
        "send Content-Type: application/json",
    );
    pub const TOO_LARGE: Self = Self::fixed(
        StatusCode::PAYLOAD_TOO_LARGE,
        "too-large",
        "The body is too large",
        "the body has more than 64 KiB",
        "send less at once",
    );
    pub const TOO_SLOW: Self = Self::fixed(
        StatusCode::REQUEST_TIMEOUT,
        "too-slow",
        "The body came too slowly",
        "the body did not come in the time that it has",
        "send it at once",
    );
    pub const STOPPING: Self = Self::fixed(
        StatusCode::SERVICE_UNAVAILABLE,
        "unavailable",
        "The server cannot do that now",
        "the server is stopping",
        "try again when it runs",
    );

    const fn fixed(
        status: StatusCode,
        kind: &'static str,
        title: &'static str,
        detail: &'static str,
        todo: &'static str,
    ) -> Self {
        let (detail, todo) = (Cow::Borrowed(detail), Cow::Borrowed(todo));
        Self { status, kind, title, detail, todo, retry: None }
    }

    /// The arguments make no sense.
    pub fn arguments(detail: String) -> Self {
        Self {
            status: StatusCode::BAD_REQUEST,
            kind: "arguments",
            title: "The arguments make no sense",
            detail: detail.into(),
            todo: "see /api/v1/openapi.json for what the verb takes".into(),
            retry: None,
        }
    }

    /// Too many requests; how long to wait.
    pub fn too_many(whose: &'static str, wait: Duration) -> Self {
        Self {
            status: StatusCode::TOO_MANY_REQUESTS,
            kind: "too-many",
            title: "Too many requests",
            detail: format!("too many requests come from {whose}").into(),
            todo: "wait as long as Retry-After says".into(),
            retry: Some(wait),
        }
    }
}

impl From<AdminError> for Trouble {
    fn from(error: AdminError) -> Self {
        let (status, kind, title) = match error.kind() {
            Kind::Invalid => (StatusCode::BAD_REQUEST, "arguments", "The arguments make no sense"),
            Kind::Unknown => (StatusCode::NOT_FOUND, "unknown", "There is no such thing"),
            Kind::Conflict => (StatusCode::CONFLICT, "conflict", "That does not fit with what is"),
            Kind::Forbidden => (StatusCode::FORBIDDEN, "forbidden", "The token may not do that"),
            Kind::Unavailable => {
                (StatusCode::SERVICE_UNAVAILABLE, "unavailable", "The server cannot do that now")
            }
            Kind::Failed => (StatusCode::INTERNAL_SERVER_ERROR, "failed", "It went wrong"),
        };
        let text = error.to_string();
        let (detail, todo) = text.split_once("; ").unwrap_or((&text, "look at the server's log"));
        let (detail, todo) = (detail.to_owned().into(), todo.to_owned().into());
        Self { status, kind, title, detail, todo, retry: None }
    }
}

impl IntoResponse for Trouble {
    fn into_response(self) -> Response {
        let Self { status, kind, title, detail, todo, retry } = self;
        let body = json!({
            "type": format!("urn:stonechat:problem:{kind}"),
            "title": title,
            "status": status.as_u16(),
            "detail": detail,
            "todo": todo,
        });
        let headers = [(CONTENT_TYPE, "application/problem+json"), (CACHE_CONTROL, "no-store")];
        let mut response = (status, headers, body.to_string()).into_response();
        if let Some(wait) = retry {
            let seconds = wait.as_secs().saturating_add(1);
            response.headers_mut().insert(RETRY_AFTER, seconds.into());
        }
        if status == StatusCode::UNAUTHORIZED {
            // RFC 6750 §3
            let scheme =
                HeaderValue::from_static("Bearer realm=\"stonechat\", error=\"invalid_token\"");
            response.headers_mut().insert(WWW_AUTHENTICATE, scheme);
        }
        response
    }
}
