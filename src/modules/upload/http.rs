//! Files by HTTP: downloads, whole or in part, and what browsers ask before an upload.

use axum::Router;
use axum::body::Body;
use axum::extract::{Path, State};
use axum::http::header::{
    ACCEPT_RANGES, ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS,
    ACCESS_CONTROL_ALLOW_ORIGIN, ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_MAX_AGE, ALLOW,
    CACHE_CONTROL, CONTENT_DISPOSITION, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_SECURITY_POLICY,
    CONTENT_TYPE, ETAG, IF_NONE_MATCH, IF_RANGE, RANGE, REFERRER_POLICY, X_CONTENT_TYPE_OPTIONS,
};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use axum::middleware::map_response;
use axum::response::{IntoResponse, Response};
use axum::routing::get;

use super::body::FileBody;
use super::name::disposition;
use super::place::Place;
use super::put::put;
use super::range::Wanted;
use crate::base::id::is_random;
use crate::base::time::micros;
use crate::modules::api::WebCx;
use crate::store::uploads::{self as rows, File};

/// The paths of files.
pub(super) fn routes(cx: &WebCx) -> Router {
    let methods = get(download).put(put).options(preflight);
    let routes = Router::new().route("/upload/{id}/{name}", methods);
    routes.route_layer(map_response(guarded)).with_state(cx.clone())
}

/// §8: what a page of any origin may do; without credentials, as there are none.
async fn preflight() -> Response {
    let headers = [
        (ALLOW, METHODS),
        (ACCESS_CONTROL_ALLOW_METHODS, METHODS),
        (ACCESS_CONTROL_ALLOW_HEADERS, "Content-Type, Range, If-Range, If-None-Match"),
        (ACCESS_CONTROL_MAX_AGE, "7200"),
    ];
    (StatusCode::NO_CONTENT, headers).into_response()
}

const METHODS: &str = "OPTIONS, HEAD, GET, PUT";

/// §9.1: whatever a file is, nothing in it runs here, and nobody guesses what it may be.
async fn guarded(mut response: Response) -> Response {
    let headers = response.headers_mut();
    for (name, value) in [
        (ACCESS_CONTROL_ALLOW_ORIGIN, "*"),
        (ACCESS_CONTROL_EXPOSE_HEADERS, "Accept-Ranges, Content-Range, Content-Disposition, ETag"),
        (CONTENT_SECURITY_POLICY, "default-src 'none'; frame-ancestors 'none'; sandbox"),
        (X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (REFERRER_POLICY, "no-referrer"),
        (HeaderName::from_static("cross-origin-resource-policy"), "cross-origin"),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    response
}

/// GET and HEAD. The name in the path is for people; it is not looked at.
async fn download(
    State(cx): State<WebCx>,
    Path((id, _name)): Path<(String, String)>,
    headers: HeaderMap,
) -> Response {
    match serve(&cx, &id, &headers).await {
        Ok(response) => response,
        Err(status) => status.into_response(),
    }
}

async fn serve(cx: &WebCx, id: &str, headers: &HeaderMap) -> Result<Response, StatusCode> {
    let of = is_random(id).then(|| id.to_owned()).ok_or(StatusCode::NOT_FOUND)?;
    let row = cx.store.read(move |tx| rows::find(tx, &of)).await;
    let row = row.map_err(|_| StatusCode::INTERNAL_SERVER_ERROR)?;
    let now = micros((cx.clock)());
    let row = row.filter(|row| row.token.is_none() && row.expires > now);
    let row = row.ok_or(StatusCode::NOT_FOUND)?;
    let etag = format!("\"{id}\"");
    let text = |name| headers.get(name).and_then(|value| value.to_str().ok());
    let size = u64::try_from(row.size).unwrap_or(0);
    let named = |list: &str| list.split(',').any(|one| one.trim().trim_start_matches("W/") == etag);
    if text(IF_NONE_MATCH).is_some_and(|list| list.trim() == "*" || named(list)) {
        let mut response = StatusCode::NOT_MODIFIED.into_response();
        cached(&mut response, &row, &etag, now);
        return Ok(response);
    }
    // RFC 9110 §13.1.5
    let is_same = text(IF_RANGE).is_none_or(|tag| tag.trim() == etag);
    let wanted = text(RANGE).filter(|_| is_same).map_or(Wanted::Whole, |of| Wanted::of(of, size));
    let (status, from, length) = match wanted {
        Wanted::Whole => (StatusCode::OK, 0, size),
        Wanted::Part(from, length) => (StatusCode::PARTIAL_CONTENT, from, length),
        Wanted::Nothing => {
            let range = [(CONTENT_RANGE, format!("bytes */{size}"))];
            return Ok((StatusCode::RANGE_NOT_SATISFIABLE, range).into_response());
        }
    };
    let body = open(cx, id, size, from, length).await?;
    cx.server.shared().upload.moved.given(length);
    let mut response = (status, Body::new(body)).into_response();
    described(&mut response, &row);
    cached(&mut response, &row, &etag, now);
    let out = response.headers_mut();
    out.insert(CONTENT_LENGTH, HeaderValue::from(length));
    if status == StatusCode::PARTIAL_CONTENT {
        let last = from.saturating_add(length).saturating_sub(1);
        put_header(out, CONTENT_RANGE, &format!("bytes {from}-{last}/{size}"));
    }
    Ok(response)
}

async fn open(
    cx: &WebCx,
    id: &str,
    size: u64,
    from: u64,
    length: u64,
) -> Result<FileBody, StatusCode> {
    let place = Place::of(&cx.server, &cx.config.upload);
    place.open(id, size, from, length).await.map_err(|error| {
        tracing::error!(id, %error, "an uploaded file cannot be read");
        StatusCode::INTERNAL_SERVER_ERROR
    })
}

fn described(response: &mut Response, row: &File) {
    let media_type = row.media_type.as_deref().unwrap_or("application/octet-stream");
    let headers = response.headers_mut();
    put_header(headers, CONTENT_TYPE, media_type);
    put_header(headers, CONTENT_DISPOSITION, &disposition(&row.name, media_type));
    headers.insert(ACCEPT_RANGES, HeaderValue::from_static("bytes"));
}

/// What is at an address never changes; but it may have an end.
fn cached(response: &mut Response, row: &File, etag: &str, now: i64) {
    let age = (row.expires.saturating_sub(now) / 1_000_000).clamp(0, YEAR);
    let headers = response.headers_mut();
    put_header(headers, CACHE_CONTROL, &format!("private, max-age={age}, immutable"));
    put_header(headers, ETAG, etag);
}

fn put_header(headers: &mut HeaderMap, name: HeaderName, value: &str) {
    if let Ok(value) = HeaderValue::from_str(value) {
        headers.insert(name, value);
    }
}

/// In seconds.
const YEAR: i64 = 31_536_000;
