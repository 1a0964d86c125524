//! What is wrong with a request, whatever its path: what proxies and servers read in different ways is refused, so
//! that nobody smuggles one request inside another past a proxy (RFC 9112 §11.2).

use axum::extract::Request;
use axum::http::header::{
    ACCEPT_ENCODING, CONNECTION, CONTENT_ENCODING, HOST, HeaderName, TRANSFER_ENCODING,
};
use axum::http::uri::Authority;
use axum::http::{HeaderMap, HeaderValue, StatusCode, Version};
use axum::response::{IntoResponse, Response};

/// Why a request is refused, for the person who looks at the client.
pub type Refusal = (StatusCode, &'static str);

/// Judges a request. hyper has judged its lengths: of Content-Length and Transfer-Encoding the latter counts, and
/// the connection ends (RFC 9112 §6.1).
pub fn judge(request: &Request) -> Result<(), Refusal> {
    let headers = request.headers();
    let old = matches!(request.version(), Version::HTTP_09 | Version::HTTP_10);
    let mut codings = headers.get_all(TRANSFER_ENCODING).iter();
    let is_chunked = |coding: &HeaderValue| coding.as_bytes().eq_ignore_ascii_case(b"chunked");
    if codings.next().is_some_and(|coding| !is_chunked(coding)) || codings.next().is_some() {
        return Err((StatusCode::NOT_IMPLEMENTED, "only chunked is understood\n"));
    }
    let hosts = headers.get_all(HOST).iter().count();
    let asked = request.uri().authority();
    if hosts > 1 || (hosts == 0 && request.version() == Version::HTTP_11) {
        return Err((StatusCode::BAD_REQUEST, "a request names one host (RFC 9112 section 3.2)\n"));
    }
    let named = headers.get(HOST).map(|host| Authority::try_from(host.as_bytes()));
    match (named, asked) {
        // §3.2: empty where the address has no authority.
        (Some(Err(_)), _) if !headers.get(HOST).is_some_and(HeaderValue::is_empty) => {
            return Err((StatusCode::BAD_REQUEST, "a host that is none\n"));
        }
        // RFC 9113 §8.3.1
        (Some(Ok(named)), Some(asked)) if !old && named != *asked => {
            return Err((StatusCode::BAD_REQUEST, "two hosts in one request\n"));
        }
        _ => {}
    }
    // RFC 9110 §8.4: a few bytes that become a gigabyte are nobody's.
    let coded = |coding: &HeaderValue| !coding.as_bytes().eq_ignore_ascii_case(b"identity");
    if headers.get_all(CONTENT_ENCODING).iter().any(coded) {
        return Err((StatusCode::UNSUPPORTED_MEDIA_TYPE, "send it without Content-Encoding\n"));
    }
    Ok(())
}

/// The answer. After one the connection ends: what follows may be part of what was wrong.
pub fn refused((status, reason): Refusal, version: Version) -> Response {
    let mut headers = HeaderMap::new();
    let mut add = |name: HeaderName, value| headers.insert(name, HeaderValue::from_static(value));
    if status == StatusCode::UNSUPPORTED_MEDIA_TYPE {
        // RFC 9110 §15.5.16
        add(ACCEPT_ENCODING, "identity");
    }
    if version <= Version::HTTP_11 {
        add(CONNECTION, "close");
    }
    (status, headers, reason).into_response()
}

#[cfg(test)]
mod tests {
    use axum::body::Body;

    use super::*;

    fn status(version: Version, uri: &str, headers: &[(&str, &str)]) -> u16 {
        let mut request = Request::builder().uri(uri).version(version);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        match judge(&request.body(Body::empty()).unwrap()) {
            Ok(()) => 200,
            Err((status, _)) => status.as_u16(),
        }
    }

    #[test]
    fn what_can_be_read_in_two_ways_is_refused() {
        let (old, new) = (Version::HTTP_11, Version::HTTP_2);
        for (version, uri, headers, expected) in [
            (old, "/", &[("host", "x")][..], 200),
            (old, "/", &[("host", "x:5443")], 200),
            (old, "/", &[("host", "[::1]:5443")], 200),
            (old, "/", &[("host", "")], 200),
            (old, "/", &[], 400),
            (old, "/", &[("host", "x"), ("host", "x")], 400),
            (old, "/", &[("host", "x y")], 400),
            (old, "http://x/", &[("host", "x")], 200),
            (old, "http://x/", &[("host", "y")], 400),
            (Version::HTTP_10, "/", &[], 200),
            (new, "https://x/", &[], 200),
            (new, "https://x/", &[("host", "x")], 200),
            (new, "https://x/", &[("host", "y")], 400),
            (old, "/", &[("host", "x"), ("transfer-encoding", "chunked")], 200),
            (old, "/", &[("host", "x"), ("transfer-encoding", "gzip, chunked")], 501),
            (old, "/", &[("host", "x"), ("content-encoding", "identity")], 200),
            (old, "/", &[("host", "x"), ("content-encoding", "gzip")], 415),
            (new, "https://x/", &[("content-encoding", "br")], 415),
        ] {
            assert_eq!(status(version, uri, headers), expected, "{uri} {headers:?}");
        }
    }
}
