//! What shows the authority that a name is ours: a page, a handshake, or a record (RFC 8555 §8, RFC 8737).

use std::collections::HashMap;
use std::net::IpAddr;
use std::process::Stdio;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use instant_acme::KeyAuthorization;
use rcgen::{CertificateParams, CustomExtension, KeyPair, PKCS_ECDSA_P256_SHA256, SanType};
use rustls::ServerConfig;
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::sign::CertifiedKey;
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::process::Command;
use tokio::time::{sleep, timeout};

use super::failure::{Failure, clean};
use super::memory::Notes;
use super::settings::{Challenge, Settings};
use crate::net::tls::{MinVersion, Tls, pair};

/// What is answered on port 80, by token (RFC 8555 §8.3).
#[derive(Clone, Default)]
pub struct Answers(Arc<Mutex<HashMap<String, String>>>);

impl Answers {
    /// The answer to a request for this token, while an order waits for it.
    pub fn get(&self, token: &str) -> Option<String> {
        self.all().get(token).cloned()
    }

    fn all(&self) -> MutexGuard<'_, HashMap<String, String>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What one order shows; at most one for each of its names. Dropped, it shows no page and no handshake any more; records
/// are still in the [`Notes`].
pub(super) struct Proofs<'a> {
    settings: &'a Settings,
    answers: &'a Answers,
    tls: &'a Tls,
    notes: &'a Notes,
    shown: Vec<Shown>,
    /// Name and value.
    records: Vec<(String, String)>,
}

enum Shown {
    Page(String),
    Handshake(String),
}

impl<'a> Proofs<'a> {
    /// None yet.
    pub(super) fn new(
        settings: &'a Settings,
        answers: &'a Answers,
        tls: &'a Tls,
        notes: &'a Notes,
    ) -> Self {
        Self { settings, answers, tls, notes, shown: Vec::new(), records: Vec::new() }
    }

    /// Shows that a name is ours.
    pub(super) async fn show(
        &mut self,
        name: &str,
        token: &str,
        authorization: &KeyAuthorization,
    ) -> Result<(), Failure> {
        if !is_token(token) {
            return Err(Failure::of(
                format!("the authority gives a token for {name} that is none"),
                "look whether acme.directory is right",
            ));
        }
        match self.settings.challenge {
            Challenge::Http01 => {
                let answer = authorization.as_str().to_owned();
                self.answers.all().insert(token.to_owned(), answer);
                self.shown.push(Shown::Page(token.to_owned()));
            }
            Challenge::TlsAlpn01 => {
                let config = handshake(name, authorization.digest().as_ref())
                    .map_err(|why| Failure::here(format!("no handshake for {name}: {why}")))?;
                let sni = sni(name);
                self.tls.challenges().answer(sni.clone(), Arc::new(config));
                self.shown.push(Shown::Handshake(sni));
            }
            Challenge::Dns01 => {
                let record = format!("_acme-challenge.{name}");
                let value = authorization.dns_value();
                // Before it runs: what half did its work is cleaned up, too, if need be by the next process.
                self.notes.record(&record, &value)?;
                self.records.push((record.clone(), value.clone()));
                dns(self.settings, "add", &record, &value).await?;
            }
        }
        Ok(())
    }

    /// Waits until all see what is shown.
    pub(super) async fn settle(&self) {
        if !self.records.is_empty() {
            sleep(self.settings.dns_wait).await;
        }
    }

    /// Takes everything back. What cannot be is told, and does no harm; [`sweep`] tries it once more.
    pub(super) async fn clear(&mut self) {
        self.hide();
        while let Some((name, value)) = self.records.pop() {
            match dns(self.settings, "remove", &name, &value).await {
                Ok(()) => self.notes.forget(&name, &value),
                Err(failure) => tracing::warn!("the record {name} stays in the DNS: {failure}"),
            }
        }
    }

    fn hide(&mut self) {
        for one in std::mem::take(&mut self.shown) {
            match one {
                Shown::Page(token) => {
                    self.answers.all().remove(&token);
                }
                Shown::Handshake(sni) => self.tls.challenges().forget(&sni),
            }
        }
    }
}

impl Drop for Proofs<'_> {
    fn drop(&mut self) {
        self.hide();
    }
}

/// Removes the records of orders that did not come to their end. Each is tried once, and then forgotten: a command that
/// always fails must not hold up every order.
pub(super) async fn sweep(settings: &Settings, notes: &Notes) {
    loop {
        let next = notes.look().records.first().cloned();
        let Some((name, value)) = next else { return };
        if let Err(failure) = dns(settings, "remove", &name, &value).await {
            tracing::warn!(
                "the record {name} of an earlier order may still be in the DNS: {failure}"
            );
        }
        notes.forget(&name, &value);
    }
}

/// RFC 8555 §8.3: base64url, so nothing else can stand in a path.
fn is_token(token: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_".contains(&byte);
    !token.is_empty() && token.len() <= TOKEN_MAX && token.bytes().all(plain)
}

/// The name that the authority's handshake names (RFC 8737 §3; RFC 8738 §6 for addresses).
fn sni(name: &str) -> String {
    match name.parse() {
        Ok(IpAddr::V4(four)) => {
            let [a, b, c, d] = four.octets();
            format!("{d}.{c}.{b}.{a}.in-addr.arpa")
        }
        Ok(IpAddr::V6(six)) => {
            let nibbles = six.octets().into_iter().rev().flat_map(|byte| [byte & 15, byte >> 4]);
            let digits: Vec<_> = nibbles.map(|nibble| format!("{nibble:x}")).collect();
            format!("{}.ip6.arpa", digits.join("."))
        }
        Err(_) => name.to_owned(),
    }
}

/// A handshake with a certificate that carries the proof (RFC 8737 §3), and says nothing else.
fn handshake(name: &str, digest: &[u8]) -> Result<ServerConfig, String> {
    let told = |error: rcgen::Error| error.to_string();
    let mut params = CertificateParams::default();
    params.distinguished_name = rcgen::DistinguishedName::new();
    params.subject_alt_names = vec![match name.parse() {
        Ok(address) => SanType::IpAddress(address),
        Err(_) => SanType::DnsName(name.try_into().map_err(told)?),
    }];
    params.custom_extensions = vec![CustomExtension::new_acme_identifier(digest)];
    let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).map_err(told)?;
    let certificate = params.self_signed(&key).map_err(told)?.der().clone();
    let provider = pair::provider();
    let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
    let key = provider.key_provider.load_private_key(key).map_err(|error| error.to_string())?;
    let certified = Arc::new(CertifiedKey::new(vec![certificate], key));
    let config = pair::server_config(certified, MinVersion::Tls12, Arc::new(provider));
    let mut config = config.map_err(|error| error.to_string())?;
    config.alpn_protocols = vec![crate::net::tls::ALPN_ACME.to_vec()];
    Ok(config)
}

/// Runs the operator's command: `COMMAND… add|remove NAME VALUE`, without a shell, within its time.
async fn dns(settings: &Settings, verb: &str, name: &str, value: &str) -> Result<(), Failure> {
    let Some((program, arguments)) = settings.dns_command.split_first() else {
        return Err(Failure::of("there is no acme.dns_command", "name one"));
    };
    let failed = |why: String| {
        let what = format!("acme.dns_command did not {verb} the record {name}: {why}");
        Failure::of(what, "run it by hand and see what it says")
    };
    let mut command = Command::new(program);
    command.args(arguments).args([verb, name, value]);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped()).kill_on_drop(true);
    let mut child = command.spawn().map_err(|error| failed(format!("{program}: {error}")))?;
    let errors = child.stderr.take();
    let work = async move {
        let said = match errors {
            Some(errors) => beginning(errors).await,
            None => String::new(),
        };
        (child.wait().await, said)
    };
    match timeout(settings.dns_command_time, work).await {
        Ok((Ok(status), _)) if status.success() => Ok(()),
        Ok((Ok(status), said)) => Err(failed(format!("{status}; it says: {}", clean(said.trim())))),
        Ok((Err(error), _)) => Err(failed(error.to_string())),
        Err(_) => {
            let secs = settings.dns_command_time.as_secs();
            Err(failed(format!("it was not done within {secs} seconds")))
        }
    }
}

/// The first of what is said; the rest is read and forgotten, so that nobody waits for a reader.
async fn beginning(mut from: impl AsyncRead + Unpin) -> String {
    let (mut said, mut some) = (Vec::new(), [0; 1_024]);
    while let Ok(read @ 1..) = from.read(&mut some).await {
        let room = SAID_MAX.saturating_sub(said.len());
        said.extend_from_slice(some.get(..read.min(room)).unwrap_or_default());
    }
    String::from_utf8_lossy(&said).into_owned()
}

const TOKEN_MAX: usize = 256;
const SAID_MAX: usize = 2_048;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net::acme::Names;
    use std::path::PathBuf;
    use std::time::Duration;

    fn settings(command: &[&str], secs: u64) -> Settings {
        Settings {
            directory: String::new(),
            email: String::new(),
            authority: None,
            challenge: Challenge::Dns01,
            dns_command: command.iter().map(|&word| word.to_owned()).collect(),
            dns_command_time: Duration::from_secs(secs),
            dns_wait: Duration::ZERO,
            names: Names::default(),
            folder: PathBuf::new(),
        }
    }

    #[test]
    fn a_token_is_a_word() {
        for (token, good) in [
            ("evaGxfADs6pSRb2LAv9IZf17Dt3juxGJ-PCt92wr-oA", true),
            ("", false),
            ("a/b", false),
            ("..", false),
            ("a b", false),
            (&"x".repeat(300), false),
        ] {
            assert_eq!(is_token(token), good, "{token}");
        }
    }

    /// RFC 8738 §6
    #[test]
    fn an_address_is_named_as_in_the_dns() {
        assert_eq!(sni("a.example"), "a.example");
        assert_eq!(sni("192.0.2.1"), "1.2.0.192.in-addr.arpa");
        let six = sni("2001:db8::1");
        assert!(six.starts_with("1.0.0.0.") && six.ends_with(".8.b.d.0.1.0.0.2.ip6.arpa"), "{six}");
        assert_eq!(six.split('.').count(), 34);
    }

    /// RFC 8737 §3: the extension is critical, and has the digest as an octet string.
    #[test]
    fn a_handshake_carries_the_proof() {
        use x509_parser::prelude::{FromDer, X509Certificate};
        for name in ["a.example", "192.0.2.1", "2001:db8::1"] {
            let mut params = CertificateParams::default();
            params.custom_extensions = vec![CustomExtension::new_acme_identifier(&[7; 32])];
            let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).unwrap();
            let der = params.self_signed(&key).unwrap().der().to_vec();
            let (_, read) = X509Certificate::from_der(&der).unwrap();
            let proof = read
                .extensions()
                .iter()
                .find(|one| one.oid.to_id_string() == "1.3.6.1.5.5.7.1.31")
                .unwrap();
            assert!(proof.critical);
            assert_eq!(proof.value, [&[4, 32][..], &[7; 32]].concat());
            let config = handshake(name, &[7; 32]).unwrap();
            assert_eq!(config.alpn_protocols, [b"acme-tls/1"]);
        }
    }

    /// What a name or a value has in it is no command.
    #[tokio::test]
    async fn the_command_gets_its_arguments_as_they_are() {
        let folder = tempfile::tempdir().unwrap();
        let out = folder.path().join("out");
        let script = r#"for a in "$@"; do printf '[%s]' "$a"; done > "$0""#;
        let command = ["/bin/sh", "-c", script, out.to_str().unwrap(), "mine"];
        dns(&settings(&command, 10), "add", "_acme-challenge.a.example", "$(x); v").await.unwrap();
        let got = std::fs::read_to_string(&out).unwrap();
        assert_eq!(got, "[mine][add][_acme-challenge.a.example][$(x); v]");
    }

    /// A stop or a timeout drops an order wherever it is.
    #[tokio::test]
    async fn what_a_dropped_order_showed_is_taken_back() {
        use crate::net::acme::Memory;
        use crate::net::tls::testing::{self, Authority};
        let folder = tempfile::tempdir().unwrap();
        let host = Authority::new().put(folder.path(), "a.example", &["a.example"]);
        let tls = Tls::load(testing::settings(folder.path(), vec![host])).unwrap();
        let out = folder.path().join("out");
        let script = r#"echo "$@" >> "$0"; [ "$2" != bad ]"#;
        let settings = settings(&["/bin/sh", "-c", script, out.to_str().unwrap()], 10);
        let (answers, notes) = (Answers::default(), Notes::open(folder.path()));
        let mut proofs = Proofs::new(&settings, &answers, &tls, &notes);
        answers.all().insert("token".to_owned(), "answer".to_owned());
        proofs.shown.push(Shown::Page("token".to_owned()));
        for name in ["kept", "bad", "gone"] {
            notes.record(name, "v").unwrap();
        }
        proofs.records.push(("gone".to_owned(), "v".to_owned()));
        proofs.clear().await;
        assert_eq!(answers.get("token"), None);
        answers.all().insert("token".to_owned(), "answer".to_owned());
        proofs.shown.push(Shown::Page("token".to_owned()));
        drop(proofs);
        assert_eq!(answers.get("token"), None);
        assert_eq!(Memory::read(folder.path()).records.len(), 2);
        sweep(&settings, &Notes::open(folder.path())).await;
        assert_eq!(Memory::read(folder.path()).records, []);
        let removed = std::fs::read_to_string(&out).unwrap();
        assert_eq!(removed, "remove gone v\nremove kept v\nremove bad v\n");
    }

    #[tokio::test]
    async fn a_command_that_fails_or_hangs_is_told() {
        let noisy = "head -c 300000 /dev/zero | tr '\\0' x >&2; echo y >&2; exit 3";
        for (command, secs, told) in [
            (&["/bin/sh", "-c", "echo no such zone >&2; exit 3"][..], 10, "no such zone"),
            (&["/bin/sh", "-c", noisy], 10, "xxx"),
            (&["/nonexistent/hook"], 10, "/nonexistent/hook"),
            (&["/bin/sleep", "600"], 0, "not done within 0 seconds"),
            (&[], 10, "no acme.dns_command"),
        ] {
            // `sleep` takes the other arguments for more times.
            let settings = settings(command, secs);
            let verb = if secs == 0 { "1" } else { "add" };
            let failure = dns(&settings, verb, "1", "1").await.unwrap_err().to_string();
            assert!(failure.contains(told) && failure.len() < 1_000, "{failure}");
        }
    }
}
