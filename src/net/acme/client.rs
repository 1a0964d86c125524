//! Requests to the authority: HTTPS alone, one connection each, bounded in time and bytes. Nobody is followed
//! elsewhere, and what is no answer of an ACME server is told as that.

use std::future::Future;
use std::pin::{Pin, pin};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::body::{Body, to_bytes};
use axum::http::header::{CONTENT_TYPE, HOST, LOCATION, RETRY_AFTER};
use axum::http::response::Parts;
use axum::http::{HeaderMap, HeaderValue, StatusCode, Uri};
use bytes::Bytes;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use instant_acme::{BodyWrapper, BytesResponse, Error, HttpClient};
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, RootCertStore};
use tokio::net::{TcpStream, lookup_host};
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

use super::failure::{Failure, clean};
use super::settings::Settings;
use crate::net::tls::MinVersion;
use crate::net::tls::pair;

/// One for an order.
#[derive(Clone)]
pub(super) struct Client {
    config: Arc<ClientConfig>,
    heard: Arc<Mutex<Option<Duration>>>,
}

impl Client {
    /// Reads whom to believe.
    pub(super) fn new(settings: &Settings) -> Result<Self, Failure> {
        let mut roots = RootCertStore::empty();
        match &settings.authority {
            Some(file) => {
                let chain = pair::read(file)
                    .and_then(|text| pair::chain(&text).map_err(|problem| problem.at(file)))
                    .map_err(|error| Failure::of(format!("acme.authority: {error}"), ""))?;
                roots.add_parsable_certificates(chain);
            }
            None => {
                roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
            }
        }
        if roots.is_empty() {
            return Err(Failure::of(
                "there is nobody by whom the authority's own certificate could be believed",
                "install ca-certificates, or name a file in acme.authority",
            ));
        }
        let config = ClientConfig::builder_with_provider(Arc::new(pair::provider()))
            .with_protocol_versions(pair::versions(MinVersion::Tls12))
            .map_err(|error| Failure::here(format!("TLS cannot be set up: {error}")))?
            .with_root_certificates(roots)
            .with_no_client_auth();
        Ok(Self { config: Arc::new(config), heard: Arc::default() })
    }

    /// How long the authority wants to be left alone, if it refused because of too much (RFC 8555 §6.6).
    pub(super) fn heard(&self) -> Option<Duration> {
        *self.heard.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn ask(
        self,
        request: hyper::Request<BodyWrapper<Bytes>>,
    ) -> Result<BytesResponse, String> {
        let (parts, body) = Box::pin(exchange(self.config, request)).await?;
        let wait = wait_of(&parts.headers);
        let busy = [StatusCode::TOO_MANY_REQUESTS, StatusCode::SERVICE_UNAVAILABLE];
        if busy.contains(&parts.status) {
            *self.heard.lock().unwrap_or_else(PoisonError::into_inner) = wait;
        }
        judge(&parts, &body)?;
        Ok(BytesResponse { parts: bounded(parts, wait), body: Box::new(body) })
    }
}

impl HttpClient for Client {
    fn request(
        &self,
        request: hyper::Request<BodyWrapper<Bytes>>,
    ) -> Pin<Box<dyn Future<Output = Result<BytesResponse, Error>> + Send>> {
        let (client, place) = (self.clone(), clean(&request.uri().to_string()));
        Box::pin(async move {
            match timeout(REQUEST_TIME, client.ask(request)).await {
                Ok(done) => done.map_err(|why| Error::Other(format!("{place}: {why}").into())),
                Err(_) => {
                    let secs = REQUEST_TIME.as_secs();
                    Err(Error::Other(format!("{place}: no answer within {secs} seconds").into()))
                }
            }
        })
    }
}

async fn exchange(
    config: Arc<ClientConfig>,
    mut request: hyper::Request<BodyWrapper<Bytes>>,
) -> Result<(Parts, Bytes), String> {
    let (host, port) = place(request.uri())?;
    let stream = connect(&host, port).await?;
    let name = ServerName::try_from(host).map_err(|_| "this is no name of a server".to_owned())?;
    let secured = TlsConnector::from(config).connect(name, stream).await;
    let secured = secured.map_err(|error| format!("TLS cannot be begun: {error}"))?;
    let authority = request.uri().authority().map_or("", |authority| authority.as_str());
    let host = HeaderValue::from_str(authority).map_err(|error| error.to_string())?;
    request.headers_mut().insert(HOST, host);
    let path = request.uri().path_and_query().map_or("/", |path| path.as_str());
    *request.uri_mut() = path.parse().map_err(|_| "this is no address".to_owned())?;
    let broken = |error: hyper::Error| format!("the connection broke: {error}");
    let mut builder = http1::Builder::new();
    builder.max_buf_size(HEAD_BYTES_MAX);
    let (mut sender, connection) =
        builder.handshake(TokioIo::new(secured)).await.map_err(broken)?;
    let answer = async {
        let response = sender.send_request(request).await.map_err(broken)?;
        let (parts, body) = response.into_parts();
        let body = to_bytes(Body::new(body), BODY_BYTES_MAX).await;
        let body =
            body.map_err(|error| format!("the answer is no whole one, or too large: {error}"))?;
        Ok((parts, body))
    };
    let (mut answer, mut connection) = (pin!(answer), pin!(connection));
    tokio::select! {
        answer = &mut answer => answer,
        // It may end with the answer; what is left of that is at hand.
        _ = &mut connection => answer.await,
    }
}

/// Host and port.
fn place(uri: &Uri) -> Result<(String, u16), String> {
    if uri.scheme_str() != Some("https") {
        return Err("only https:// is asked".to_owned());
    }
    let host = uri.host().ok_or_else(|| "this is no address".to_owned())?;
    let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    Ok((bare.to_owned(), uri.port_u16().unwrap_or(443)))
}

/// One address after the other.
async fn connect(host: &str, port: u16) -> Result<TcpStream, String> {
    let found = lookup_host((host, port)).await;
    let found = found.map_err(|error| format!("the address cannot be found: {error}"))?;
    let mut last = "it has no address".to_owned();
    for address in found.take(ADDRESSES_MAX) {
        match timeout(CONNECT_TIME, TcpStream::connect(address)).await {
            Ok(Ok(stream)) => return Ok(stream),
            Ok(Err(error)) => last = format!("{address}: {error}"),
            Err(_) => last = format!("{address}: nobody answers"),
        }
    }
    Err(format!("it cannot be reached: {last}"))
}

/// Whether it is an answer of an ACME server, or at least a problem that one tells (RFC 8555 §6.7).
fn judge(parts: &Parts, body: &Bytes) -> Result<(), String> {
    let status = parts.status;
    if status.is_redirection() {
        let there = parts.headers.get(LOCATION).and_then(|there| there.to_str().ok());
        let there = there.map_or_else(|| "elsewhere".to_owned(), clean);
        return Err(format!(
            "it leads to {there}, which is not followed: if that is right, write it into acme.directory"
        ));
    }
    let kind = parts.headers.get(CONTENT_TYPE).and_then(|kind| kind.to_str().ok());
    let kind = kind.unwrap_or_default().split(';').next().unwrap_or_default().trim();
    let kind = kind.to_ascii_lowercase();
    if !status.is_success() && !JSON.contains(&kind.as_str()) {
        return Err(format!("the answer is {status}, without a reason"));
    }
    if !body.is_empty() && !JSON.contains(&kind.as_str()) && kind != CHAIN {
        return Err(format!("this is no ACME server: it answers with `{}`", clean(&kind)));
    }
    Ok(())
}

/// `Retry-After` in seconds (RFC 9110 §10.2.3), within reason.
fn wait_of(headers: &HeaderMap) -> Option<Duration> {
    let text = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    // So many that they are no number are as good as the most.
    let secs = digits.then(|| text.parse().unwrap_or(WAIT_MAX));
    secs.map(|secs: u64| Duration::from_secs(secs.min(WAIT_MAX)))
}

/// The wait as it can be counted with; dates are not worth the trouble.
fn bounded(mut parts: Parts, wait: Option<Duration>) -> Parts {
    match wait {
        Some(wait) => parts.headers.insert(RETRY_AFTER, HeaderValue::from(wait.as_secs())),
        None => parts.headers.remove(RETRY_AFTER),
    };
    parts
}

const JSON: [&str; 2] = ["application/json", "application/problem+json"];
/// RFC 8555 §9.1
const CHAIN: &str = "application/pem-certificate-chain";
/// A chain has some 10 kB.
const BODY_BYTES_MAX: usize = 262_144;
const HEAD_BYTES_MAX: usize = 32_768;
const ADDRESSES_MAX: usize = 4;
const CONNECT_TIME: Duration = Duration::from_secs(8);
const REQUEST_TIME: Duration = Duration::from_secs(30);
const WAIT_MAX: u64 = 86_400;

#[cfg(test)]
mod tests {
    use super::*;

    fn parts(status: u16, headers: &[(&str, &str)]) -> Parts {
        let mut response = hyper::Response::builder().status(status);
        for (name, value) in headers {
            response = response.header(*name, *value);
        }
        response.body(()).unwrap().into_parts().0
    }

    #[test]
    fn only_https_is_asked() {
        let of = |text: &str| place(&text.parse().unwrap());
        assert_eq!(of("https://[::1]:14000/dir").unwrap(), ("::1".to_owned(), 14_000));
        assert_eq!(of("https://ca.example/dir").unwrap(), ("ca.example".to_owned(), 443));
        for wrong in ["http://ca.example/dir", "/dir"] {
            assert!(of(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn what_is_no_answer_of_an_acme_server_is_told() {
        let some = Bytes::from_static(b"x");
        let json = ("content-type", "application/json; charset=utf-8");
        let html = ("content-type", "text/html");
        for (status, headers, told) in [
            (200, &[json][..], None),
            (200, &[("content-type", "application/pem-certificate-chain")], None),
            (400, &[("content-type", "application/problem+json")], None),
            (200, &[html], Some("no ACME server")),
            (200, &[], Some("no ACME server")),
            (502, &[html], Some("502")),
            (301, &[("location", "https://b.example/d")], Some("https://b.example/d")),
            (302, &[json], Some("elsewhere")),
        ] {
            let error = judge(&parts(status, headers), &some).err();
            match (told, error) {
                (None, None) => {}
                (Some(told), Some(error)) => assert!(error.contains(told), "{error}"),
                (told, error) => panic!("{status} {headers:?}: {told:?} but {error:?}"),
            }
        }
        assert!(judge(&parts(200, &[]), &Bytes::new()).is_ok());
    }

    /// The sum of now and the largest number of seconds is no time.
    #[test]
    fn a_wait_is_within_reason() {
        for (text, secs) in [
            ("7", Some(7)),
            ("18446744073709551615", Some(WAIT_MAX)),
            ("99999999999999999999999999", Some(WAIT_MAX)),
            ("Fri, 31 Dec 9999 23:59:59 GMT", None),
            ("-1", None),
            ("+7", None),
            ("", None),
        ] {
            let parts = parts(200, &[("retry-after", text)]);
            let wait = wait_of(&parts.headers);
            assert_eq!(wait.map(|wait| wait.as_secs()), secs, "{text}");
            let left = bounded(parts, wait).headers.remove(RETRY_AFTER);
            assert_eq!(left.map(|value| value.to_str().unwrap().parse().unwrap()), secs);
        }
    }
}
