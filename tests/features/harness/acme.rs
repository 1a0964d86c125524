//! A small authority that speaks ACME (RFC 8555) and does what a test tells it: it looks at proofs for real, and it can
//! refuse, lie and hang. It does not check signatures; Pebble does (tests/interop/acme.py).

use super::client::DEADLINE;
use super::tls::{Authority, config};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD as BASE64};
use rcgen::{CertificateSigningRequestParams, SanType};
use rustls::ServerConfig;
use rustls::pki_types::{CertificateSigningRequestDer, PrivatePkcs8KeyDer, ServerName};
use rustls::version::TLS13;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use std::collections::{HashMap, HashSet};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, SystemTime};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio_rustls::{TlsAcceptor, TlsConnector};

/// What it does otherwise than it should, and where it looks.
#[derive(Debug, Clone, Default)]
pub struct Ways {
    /// So many nonces in a row are bad.
    pub bad_nonces: u32,
    /// Requests to this path are answered so, in place of what is right: head and body.
    pub says: HashMap<String, String>,
    /// Requests to this path are never answered.
    pub hangs: Option<String>,
    /// Names that are not proved, whatever is shown.
    pub refuses: Vec<String>,
    /// Names in certificates, in place of those that were ordered.
    pub signs: Option<Vec<String>>,
    /// Days before and after now for which certificates are good.
    pub days: Option<(u64, u64)>,
    /// When certificates are to be renewed, as RFC 3339 says.
    pub window: Option<(String, String)>,
    /// The file that a command keeps records in: `NAME VALUE` on each line.
    pub records: PathBuf,
}

#[derive(Default)]
struct State {
    ways: Ways,
    nonces: HashSet<String>,
    count: u64,
    accounts: HashMap<String, String>,
    orders: Vec<Order>,
}

struct Order {
    names: Vec<String>,
    /// None: nobody has looked.
    proofs: Vec<Option<Result<(), String>>>,
    token: String,
    thumb: String,
    chain: Option<String>,
    replaces: Option<String>,
}

/// One that runs.
pub struct Acme {
    pub directory: String,
    pub ca: PathBuf,
    /// The kind of its challenges.
    kind: &'static str,
    address: SocketAddr,
    authority: Authority,
    state: Mutex<State>,
    /// Where it looks.
    place: watch::Sender<Option<SocketAddr>>,
    /// How many orders it got.
    pub ordered: watch::Sender<usize>,
}

impl Acme {
    /// On a port of this address, with its certificates in the folder.
    pub async fn start(folder: &Path, host: &str, kind: &'static str, ways: Ways) -> Arc<Acme> {
        let authority = Authority::new(folder);
        let listener = TcpListener::bind(format!("{host}:0")).await.unwrap();
        let address = listener.local_addr().unwrap();
        let mut params = super::tls::params(&[]);
        params.subject_alt_names = vec![SanType::IpAddress(address.ip())];
        let (certificate, key) = authority.sign(params);
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let tls = ServerConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&TLS13])
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![certificate], PrivatePkcs8KeyDer::from(key).into())
            .unwrap();
        let acme = Arc::new(Acme {
            directory: format!("https://{address}/dir"),
            ca: authority.ca.clone(),
            kind,
            address,
            authority,
            state: Mutex::new(State { ways, ..State::default() }),
            place: watch::channel(None).0,
            ordered: watch::channel(0).0,
        });
        let (served, tls) = (acme.clone(), TlsAcceptor::from(Arc::new(tls)));
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (acme, tls) = (served.clone(), tls.clone());
                tokio::spawn(async move { acme.serve(tls, stream).await });
            }
        });
        acme
    }

    /// Where names lead.
    pub fn look_at(&self, place: SocketAddr) {
        self.place.send_replace(Some(place));
    }

    /// Changes its ways.
    pub fn now(&self, change: impl FnOnce(&mut Ways)) {
        change(&mut self.all().ways);
    }

    pub fn accounts(&self) -> usize {
        self.all().accounts.len()
    }

    /// What the last order is to replace.
    pub fn replaced(&self) -> Option<String> {
        self.all().orders.last().and_then(|order| order.replaces.clone())
    }

    fn all(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    async fn serve(&self, tls: TlsAcceptor, stream: TcpStream) {
        let Ok(mut stream) = tls.accept(stream).await else { return };
        let mut read = Vec::new();
        let (head, mut body) = loop {
            let mut some = [0; 4_096];
            match stream.read(&mut some).await {
                Ok(read_now @ 1..) => read.extend_from_slice(&some[..read_now]),
                _ => return,
            }
            if let Some(end) = read.windows(4).position(|part| part == b"\r\n\r\n") {
                let head = String::from_utf8_lossy(&read[..end]).to_lowercase();
                let whole = String::from_utf8_lossy(&read[..end]).into_owned();
                let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
                let length: usize = length.map_or(0, |length| length.trim().parse().unwrap());
                let mut body = read.split_off(end + 4);
                let had = body.len();
                body.resize(length.max(had), 0);
                if stream.read_exact(&mut body[had..]).await.is_err() {
                    return;
                }
                break (whole, body);
            }
        };
        let path = head.split(' ').nth(1).unwrap().to_owned();
        let hangs = self.all().ways.hangs.as_ref() == Some(&path);
        if hangs {
            std::future::pending::<()>().await;
        }
        let told = self.all().ways.says.get(&path).cloned();
        let answer = match told {
            Some(told) => told,
            None if body.is_empty() => self.get(&path),
            None => self.post(&path, std::mem::take(&mut body)).await,
        };
        let _ = stream.write_all(answer.as_bytes()).await;
        let _ = stream.shutdown().await;
    }

    fn url(&self, path: &str) -> String {
        format!("https://{}{path}", self.address)
    }

    fn answer(&self, status: &str, location: &str, kind: &str, body: &str) -> String {
        let mut all = self.all();
        all.count += 1;
        let nonce = BASE64.encode(all.count.to_be_bytes());
        all.nonces.insert(nonce.clone());
        let location = match location {
            "" => String::new(),
            path => format!("location: {}\r\n", self.url(path)),
        };
        format!(
            "HTTP/1.1 {status}\r\nreplay-nonce: {nonce}\r\n{location}content-type: {kind}\r\nretry-after: 1\r\n\
             content-length: {}\r\nconnection: close\r\n\r\n{body}",
            body.len()
        )
    }

    fn get(&self, path: &str) -> String {
        if path == "/nonce" {
            return self.answer("200 OK", "", "application/json", "");
        }
        let body = match path {
            "/dir" => json!({
                "newNonce": self.url("/nonce"), "newAccount": self.url("/account"),
                "newOrder": self.url("/order"), "renewalInfo": self.url("/renewal"),
            }),
            path if path.starts_with("/renewal/") => {
                let window = self.all().ways.window.clone();
                let Some((start, end)) = window else {
                    return self.problem("malformed", "no window");
                };
                json!({ "suggestedWindow": { "start": start, "end": end } })
            }
            _ => return self.problem("malformed", "no such thing"),
        };
        self.answer("200 OK", "", "application/json", &body.to_string())
    }

    fn problem(&self, kind: &str, detail: &str) -> String {
        let body =
            json!({ "type": format!("urn:ietf:params:acme:error:{kind}"), "detail": detail });
        self.answer("400 Bad Request", "", "application/problem+json", &body.to_string())
    }

    async fn post(&self, path: &str, body: Vec<u8>) -> String {
        let part = |value: &Value| -> Value {
            let bytes = BASE64.decode(value.as_str().unwrap()).unwrap();
            serde_json::from_slice(&bytes).unwrap_or_default()
        };
        let jws: Value = serde_json::from_slice(&body).unwrap();
        let (head, payload) = (part(&jws["protected"]), part(&jws["payload"]));
        assert_eq!(head["url"], self.url(path));
        let fine = {
            let mut all = self.all();
            all.ways.bad_nonces = all.ways.bad_nonces.saturating_sub(1);
            all.nonces.remove(head["nonce"].as_str().unwrap()) && all.ways.bad_nonces == 0
        };
        if !fine {
            return self.problem("badNonce", "JWS has an invalid anti-replay nonce");
        }
        let mut words = path.split('/').skip(1);
        let what = words.next().unwrap();
        let mut number = || words.next().map(|word| word.parse::<usize>().unwrap());
        match (what, number(), number()) {
            ("account", None, _) => self.account(&head["jwk"], &payload),
            ("account", Some(_), _) => self.answer("200 OK", "", JSON, r#"{"status":"valid"}"#),
            ("order", None, _) => self.new_order(&head["kid"], &payload),
            ("order", Some(order), _) => self.order("200 OK", order),
            ("proof", Some(order), Some(name)) => self.authorization(order, name),
            ("look", Some(order), Some(name)) => self.look(order, name).await,
            ("sign", Some(order), _) => self.sign(order, payload["csr"].as_str().unwrap()),
            ("chain", Some(order), _) => {
                let chain = self.all().orders[order].chain.clone().unwrap();
                self.answer("200 OK", "", "application/pem-certificate-chain", &chain)
            }
            _ => self.problem("malformed", "no such thing"),
        }
    }

    /// RFC 8555 §7.3, with the thumbprint of RFC 7638.
    fn account(&self, jwk: &Value, payload: &Value) -> String {
        assert_eq!(payload["termsOfServiceAgreed"], true);
        let canonical =
            format!(r#"{{"crv":"P-256","kty":"EC","x":{},"y":{}}}"#, jwk["x"], jwk["y"]);
        let thumb = BASE64.encode(Sha256::digest(canonical));
        let mut all = self.all();
        let next = format!("/account/{}", all.accounts.len());
        let (path, status) = match all.accounts.get(&thumb) {
            Some(path) => (path.clone(), "200 OK"),
            None => (next, "201 Created"),
        };
        all.accounts.insert(thumb, path.clone());
        drop(all);
        self.answer(status, &path, JSON, r#"{"status":"valid"}"#)
    }

    fn new_order(&self, kid: &Value, payload: &Value) -> String {
        let names = payload["identifiers"].as_array().unwrap().iter();
        let names: Vec<String> =
            names.map(|one| one["value"].as_str().unwrap().to_owned()).collect();
        let mut all = self.all();
        let thumb = all.accounts.iter().find(|(_, path)| self.url(path) == kid.as_str().unwrap());
        let thumb = thumb.expect("an account").0.clone();
        let order = all.orders.len();
        let replaces = payload["replaces"].as_str().map(str::to_owned);
        let (proofs, token) = (vec![None; names.len()], format!("token-{order}"));
        all.orders.push(Order { names, proofs, token, thumb, chain: None, replaces });
        drop(all);
        self.ordered.send_modify(|count| *count += 1);
        self.order("201 Created", order)
    }

    fn order(&self, status: &str, number: usize) -> String {
        let all = self.all();
        let order = &all.orders[number];
        let failed = order.proofs.iter().any(|proof| matches!(proof, Some(Err(_))));
        let proved = order.proofs.iter().all(|proof| *proof == Some(Ok(())));
        let state = match (failed, proved, &order.chain) {
            (true, ..) => "invalid",
            (_, _, Some(_)) => "valid",
            (_, true, _) => "ready",
            _ => "pending",
        };
        let proofs: Vec<_> = (0..order.names.len())
            .map(|name| self.url(&format!("/proof/{number}/{name}")))
            .collect();
        let body = json!({
            "status": state, "authorizations": proofs, "identifiers": [],
            "finalize": self.url(&format!("/sign/{number}")),
            "certificate": order.chain.as_ref().map(|_| self.url(&format!("/chain/{number}"))),
            "replaces": order.replaces,
        });
        drop(all);
        self.answer(status, &format!("/order/{number}"), JSON, &body.to_string())
    }

    fn challenge(&self, number: usize, name: usize) -> Value {
        let all = self.all();
        let order = &all.orders[number];
        let mut challenge = json!({
            "type": self.kind, "url": self.url(&format!("/look/{number}/{name}")),
            "token": format!("{}-{name}", order.token), "status": "pending",
        });
        match &order.proofs[name] {
            Some(Ok(())) => challenge["status"] = json!("valid"),
            Some(Err(why)) => {
                challenge["status"] = json!("invalid");
                challenge["error"] =
                    json!({ "type": "urn:ietf:params:acme:error:connection", "detail": why });
            }
            None => {}
        }
        challenge
    }

    fn authorization(&self, number: usize, name: usize) -> String {
        let challenge = self.challenge(number, name);
        let value = self.all().orders[number].names[name].clone();
        let kind = if value.parse::<std::net::IpAddr>().is_ok() { "ip" } else { "dns" };
        let body = json!({
            "identifier": { "type": kind, "value": value }, "status": challenge["status"],
            "challenges": [challenge],
        });
        self.answer("200 OK", "", JSON, &body.to_string())
    }

    async fn look(&self, number: usize, name: usize) -> String {
        let (value, token, thumb, ways) = {
            let all = self.all();
            let order = &all.orders[number];
            let token = format!("{}-{name}", order.token);
            (order.names[name].clone(), token, order.thumb.clone(), all.ways.clone())
        };
        let wanted = format!("{token}.{thumb}");
        let seen = match ways.refuses.contains(&value) {
            true => Err(format!("Fetching {value}: Connection refused")),
            false => match self.kind {
                "http-01" => self.page(&value, &token, &wanted).await,
                "tls-alpn-01" => self.handshake(&value, &wanted).await,
                _ => record(&ways.records, &value, &wanted),
            },
        };
        self.all().orders[number].proofs[name] = Some(seen);
        // As a real one does, it says nothing yet.
        let mut challenge = self.challenge(number, name);
        challenge["status"] = json!("processing");
        challenge.as_object_mut().unwrap().remove("error");
        self.answer("200 OK", "", JSON, &challenge.to_string())
    }

    async fn place(&self) -> Result<SocketAddr, String> {
        let mut place = self.place.subscribe();
        let known = tokio::time::timeout(DEADLINE, place.wait_for(Option::is_some)).await;
        Ok(known.map_err(|_| "nobody said where")?.unwrap().unwrap())
    }

    async fn page(&self, name: &str, token: &str, wanted: &str) -> Result<(), String> {
        let place = self.place().await?;
        let mut stream = TcpStream::connect(place).await.map_err(|error| error.to_string())?;
        let ask = format!(
            "GET /.well-known/acme-challenge/{token} HTTP/1.1\r\nhost: {name}\r\nconnection: close\r\n\r\n"
        );
        stream.write_all(ask.as_bytes()).await.map_err(|error| error.to_string())?;
        let mut text = String::new();
        stream.read_to_string(&mut text).await.map_err(|error| error.to_string())?;
        match text.starts_with("HTTP/1.1 200") && text.ends_with(wanted) {
            true => Ok(()),
            false => Err(format!("{text:?} is not {wanted}")),
        }
    }

    /// RFC 8737 §3
    async fn handshake(&self, name: &str, wanted: &str) -> Result<(), String> {
        let place = self.place().await?;
        let stream = TcpStream::connect(place).await.map_err(|error| error.to_string())?;
        let mut tls = (*config(&self.ca, &[&TLS13], &["acme-tls/1"])).clone();
        let seen = Arc::new(super::tls::Seen::default());
        tls.dangerous().set_certificate_verifier(seen.clone());
        let server = ServerName::try_from(name.to_owned()).unwrap();
        let stream = TlsConnector::from(Arc::new(tls)).connect(server, stream).await;
        let stream = stream.map_err(|error| error.to_string())?;
        if stream.get_ref().1.alpn_protocol() != Some(b"acme-tls/1") {
            return Err("another protocol".to_owned());
        }
        let proof = [&[4, 32][..], &Sha256::digest(wanted)].concat();
        let shown = seen.certificate();
        let has = |part: &[u8]| shown.windows(part.len()).any(|some| some == part);
        match has(&proof) && has(name.as_bytes()) {
            true => Ok(()),
            false => Err("a certificate without the proof".to_owned()),
        }
    }

    fn sign(&self, number: usize, request: &str) -> String {
        let der = CertificateSigningRequestDer::from(BASE64.decode(request).unwrap());
        let mut request = CertificateSigningRequestParams::from_der(&der).unwrap();
        let ways = self.all().ways.clone();
        let dns = |name: &String| SanType::DnsName(name.as_str().try_into().unwrap());
        let asked: Vec<_> = request.params.subject_alt_names.iter().filter_map(text).collect();
        assert_eq!(asked, self.all().orders[number].names);
        if let Some(names) = &ways.signs {
            request.params.subject_alt_names = names.iter().map(dns).collect();
        }
        let (before, after) = ways.days.unwrap_or((1, 90));
        let day = Duration::from_secs(86_400);
        let now = SystemTime::now();
        request.params.not_before = (now - day * u32::try_from(before).unwrap()).into();
        request.params.not_after = (now + day * u32::try_from(after).unwrap()).into();
        request.params.use_authority_key_identifier_extension = true;
        let chain = self.authority.sign_request(request);
        self.all().orders[number].chain = Some(chain);
        self.order("200 OK", number)
    }
}

fn text(name: &SanType) -> Option<String> {
    match name {
        SanType::DnsName(name) => Some(name.as_str().to_owned()),
        SanType::IpAddress(address) => Some(address.to_string()),
        _ => None,
    }
}

fn record(file: &Path, name: &str, wanted: &str) -> Result<(), String> {
    let line = format!("_acme-challenge.{name} {}", BASE64.encode(Sha256::digest(wanted)));
    let text = std::fs::read_to_string(file).map_err(|error| error.to_string())?;
    match text.lines().any(|one| one == line) {
        true => Ok(()),
        false => Err(format!("no {line} in {text}")),
    }
}

const JSON: &str = "application/json";
