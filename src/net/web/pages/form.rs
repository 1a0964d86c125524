//! What a form sends, within bounds.

use std::time::Duration;

use axum::body::to_bytes;
use axum::extract::Request;
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use tokio::time::timeout;

/// The fields of a form. No `Debug`: one is a password.
pub struct Sent(Vec<(String, String)>);

impl Sent {
    /// Reads the body of a request.
    pub async fn read(request: Request) -> Result<Self, StatusCode> {
        Self::within(request, TIME).await
    }

    async fn within(request: Request, time: Duration) -> Result<Self, StatusCode> {
        let media_type = request.headers().get(CONTENT_TYPE).and_then(|value| value.to_str().ok());
        let essence = media_type.and_then(|value| value.split(';').next()).unwrap_or_default();
        if !essence.trim().eq_ignore_ascii_case("application/x-www-form-urlencoded") {
            return Err(StatusCode::UNSUPPORTED_MEDIA_TYPE);
        }
        let body = timeout(time, to_bytes(request.into_body(), BYTES_MAX)).await;
        let body = body.map_err(|_| StatusCode::REQUEST_TIMEOUT)?;
        let body = body.map_err(|_| StatusCode::PAYLOAD_TOO_LARGE)?;
        let fields = form_urlencoded::parse(&body).take(FIELDS_MAX);
        Ok(Self(fields.map(|(key, value)| (key.into_owned(), value.into_owned())).collect()))
    }

    /// A field; empty if it was not sent.
    pub fn get(&self, name: &str) -> &str {
        self.0.iter().find(|(key, _)| key == name).map_or("", |(_, value)| value.as_str())
    }
}

/// A password has at most a kilobyte, which percent signs make three of.
const BYTES_MAX: usize = 16_384;
const FIELDS_MAX: usize = 8;
/// For a few hundred bytes, on the slowest of lines.
const TIME: Duration = Duration::from_secs(20);

#[cfg(test)]
mod tests {
    use super::*;
    use axum::body::Body;

    async fn read(media_type: &str, body: impl Into<Body>) -> Result<Sent, StatusCode> {
        let request = Request::builder().header(CONTENT_TYPE, media_type);
        Sent::read(request.body(body.into()).unwrap()).await
    }

    #[tokio::test]
    async fn a_form_is_read_within_bounds() {
        let form = "application/x-www-form-urlencoded";
        let sent = read(form, "name=J%C3%BCrgen+A&password=%26%3D%2B&name=other").await.unwrap();
        assert_eq!(
            (sent.get("name"), sent.get("password"), sent.get("x")),
            ("Jürgen A", "&=+", "")
        );
        assert!(read("Application/X-WWW-form-urlencoded; charset=UTF-8", "").await.is_ok());
        for (media_type, body, status) in [
            ("text/plain", "name=a".to_owned(), StatusCode::UNSUPPORTED_MEDIA_TYPE),
            ("multipart/form-data", "name=a".to_owned(), StatusCode::UNSUPPORTED_MEDIA_TYPE),
            ("", "name=a".to_owned(), StatusCode::UNSUPPORTED_MEDIA_TYPE),
            (form, "a".repeat(BYTES_MAX + 1), StatusCode::PAYLOAD_TOO_LARGE),
        ] {
            assert_eq!(read(media_type, body).await.err(), Some(status), "{media_type}");
        }
        let many = "a=1&".repeat(FIELDS_MAX) + "name=late";
        assert_eq!(read(form, many).await.unwrap().get("name"), "");
        assert_eq!(read(form, "name=%FF%00").await.unwrap().get("name"), "\u{fffd}\0");
    }

    #[tokio::test]
    async fn a_slow_form_is_not_waited_for() {
        let slow = Request::builder().header(CONTENT_TYPE, "application/x-www-form-urlencoded");
        let slow = slow.body(Body::new(Never)).unwrap();
        let read = Sent::within(slow, Duration::from_millis(1)).await;
        assert_eq!(read.err(), Some(StatusCode::REQUEST_TIMEOUT));
    }

    struct Never;

    impl hyper::body::Body for Never {
        type Data = bytes::Bytes;
        type Error = std::io::Error;

        fn poll_frame(
            self: std::pin::Pin<&mut Self>,
            _: &mut std::task::Context<'_>,
        ) -> std::task::Poll<Option<Result<hyper::body::Frame<Self::Data>, Self::Error>>> {
            std::task::Poll::Pending
        }
    }
}
