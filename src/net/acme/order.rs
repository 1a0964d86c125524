//! One order (RFC 8555 §7.4), from the account to a certificate that is what was asked for.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use instant_acme::{
    Account, AuthorizationStatus, CertificateIdentifier, ChallengeType, Error, Identifier, Key,
    NewOrder, Order, OrderStatus, Problem, RetryPolicy,
};
use rcgen::{CertificateParams, DistinguishedName, KeyPair, PKCS_ECDSA_P256_SHA256};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::sign::CertifiedKey;
use x509_parser::prelude::{FromDer, X509Certificate, X509Error};

use super::client::Client;
use super::failure::{Failure, clean, name};
use super::files;
use super::proofs::Proofs;
use super::settings::{Challenge, Settings};
use crate::base::time::stamp;
use crate::net::tls::facts::Facts;
use crate::net::tls::pair;

/// A certificate with its chain, and its key, both PEM.
pub(super) struct Issued {
    pub(super) chain: String,
    pub(super) key: String,
    pub(super) until: SystemTime,
}

/// Does it again as long as the authority does not like its own nonces (RFC 8555 §6.5), which `instant-acme` gives up
/// after three times.
macro_rules! said {
    ($ask:expr) => {{
        let mut left = NONCES_MAX;
        loop {
            match $ask.await {
                Err(error) if left > 0 && is_bad_nonce(&error) => left -= 1,
                done => break done,
            }
        }
    }};
}

fn is_bad_nonce(error: &Error) -> bool {
    matches!(error, Error::Api(Problem { r#type: Some(kind), .. }) if kind.ends_with(":badNonce"))
}

/// The account of our key: the one that is there, or a new one, with the terms agreed to.
pub(super) async fn account(settings: &Settings, client: &Client) -> Result<Account, Failure> {
    let said_of = |error: Error| Failure::said("an account", &error, settings.challenge);
    let (pkcs8, _) = files::account_key(&settings.folder)?;
    let (account, _) = said!(async {
        let key = Key::from_pkcs8_der(pkcs8.clone_key())?;
        let key = (key, PrivateKeyDer::Pkcs8(pkcs8.clone_key()));
        let builder = Account::builder_with_http(Box::new(client.clone()));
        builder.create_from_key(key, settings.directory.clone()).await
    })
    .map_err(said_of)?;
    if !settings.email.is_empty() {
        let contact = format!("mailto:{}", settings.email);
        // Not worth a certificate.
        if let Err(error) = said!(account.update_contacts(&[contact.as_str()])) {
            tracing::warn!(
                "{}",
                Failure::said("the address of acme.email", &error, settings.challenge)
            );
        }
    }
    Ok(account)
}

/// Orders a certificate for these names, in the place of the one before, which ends at `least_end` if it is a good one.
pub(super) async fn obtain(
    account: &Account,
    names: &[String],
    replaces: Option<CertificateIdentifier<'static>>,
    challenge: Challenge,
    proofs: &mut Proofs<'_>,
    now: SystemTime,
    least_end: Option<SystemTime>,
) -> Result<Issued, Failure> {
    let said_of = |doing: &'static str| move |error: Error| Failure::said(doing, &error, challenge);
    let mut order = begin(account, names, replaces).await.map_err(said_of("a new order"))?;
    let listed = order.state().authorizations.len();
    if listed > names.len() {
        let what = format!("the authority wants {listed} proofs for {} names", names.len());
        return Err(Failure::of(what, "look whether acme.directory is right"));
    }
    if order.state().status == OrderStatus::Pending {
        read_all(&mut order).await.map_err(said_of("what is to be proved"))?;
        show(&mut order, names, challenge, proofs).await?;
        proofs.settle().await;
        ready(&mut order, challenge).await?;
        proved(&mut order, challenge).await?;
    }
    let (key, request) = request(names)?;
    said!(order.finalize_csr(&request)).map_err(said_of("the signing"))?;
    let chain = said!(order.poll_certificate(&POLLS)).map_err(said_of("the certificate"))?;
    judged(&key, chain, names, now, least_end)
}

/// An authority that does not know what is replaced, or does not want to, is asked without that (RFC 9773 §5).
async fn begin(
    account: &Account,
    names: &[String],
    replaces: Option<CertificateIdentifier<'static>>,
) -> Result<Order, Error> {
    let identifier = |name: &String| match name.parse() {
        Ok(address) => Identifier::Ip(address),
        Err(_) => Identifier::Dns(name.clone()),
    };
    let identifiers: Vec<_> = names.iter().map(identifier).collect();
    if let Some(replaces) = replaces {
        let order = NewOrder::new(&identifiers).replaces(replaces);
        match said!(account.new_order(&order)) {
            Ok(order) => return Ok(order),
            Err(error) if is_about_replacing(&error) => {
                tracing::debug!(%error, "the certificate is not replaced, but ordered anew")
            }
            Err(error) => return Err(error),
        }
    }
    let order = NewOrder::new(&identifiers);
    said!(account.new_order(&order))
}

/// Whether it may be what is replaced that the authority does not like. `unauthorized` is said of what another account
/// ordered. All else, above all `rateLimited`, would be the same without it.
fn is_about_replacing(error: &Error) -> bool {
    match error {
        Error::Api(problem) => {
            let kind = problem.r#type.as_deref().and_then(|kind| kind.rsplit(':').next());
            let kind = kind.unwrap_or_default();
            ["alreadyReplaced", "malformed", "conflict", "unauthorized"].contains(&kind)
        }
        // Of `instant-acme`, before it asks: the directory has no renewalInfo.
        Error::Unsupported(_) => true,
        // And after it asked: the authority passed over `replaces`.
        Error::Other(error) => error.to_string().starts_with("replaces field mismatch"),
        _ => false,
    }
}

/// Reads all authorizations. Those that were read stay.
async fn read_all(order: &mut Order) -> Result<(), Error> {
    said!(async {
        let mut all = order.authorizations();
        while let Some(one) = all.next().await {
            one?;
        }
        Ok(())
    })
}

/// Shows that each name is ours, before the authority is told to look at any.
async fn show(
    order: &mut Order,
    names: &[String],
    challenge: Challenge,
    proofs: &mut Proofs<'_>,
) -> Result<(), Failure> {
    let mut all = order.authorizations();
    while let Some(one) = all.next().await {
        let mut one =
            one.map_err(|error| Failure::said("what is to be proved", &error, challenge))?;
        let of = name(one.identifier().identifier).unwrap_or_default();
        if !names.contains(&of) {
            let what = format!("the authority wants a proof for `{of}`, which was not ordered");
            return Err(Failure::of(what, "look whether acme.directory is right"));
        }
        if one.status != AuthorizationStatus::Pending {
            continue;
        }
        let Some(wanted) = one.challenge(kind(challenge)) else {
            let what = format!("the authority offers no {} for {of}", challenge.as_str());
            let failure = Failure::of(what, "set acme.challenge to another one");
            return Err(Failure { names: vec![of], ..failure });
        };
        proofs.show(&of, &wanted.token, &wanted.key_authorization()).await?;
    }
    Ok(())
}

fn kind(challenge: Challenge) -> ChallengeType {
    match challenge {
        Challenge::Http01 => ChallengeType::Http01,
        Challenge::TlsAlpn01 => ChallengeType::TlsAlpn01,
        Challenge::Dns01 => ChallengeType::Dns01,
    }
}

/// Tells the authority to look.
async fn ready(order: &mut Order, challenge: Challenge) -> Result<(), Failure> {
    let mut all = order.authorizations();
    while let Some(one) = all.next().await {
        let mut one =
            one.map_err(|error| Failure::said("what is to be proved", &error, challenge))?;
        if one.status != AuthorizationStatus::Pending {
            continue;
        }
        let of = name(one.identifier().identifier).unwrap_or_default();
        if let Some(mut wanted) = one.challenge(kind(challenge)) {
            let told = said!(wanted.set_ready());
            told.map_err(|error| match error {
                Error::Api(problem) => Failure::unproved(vec![(of, Some(problem))], challenge),
                error => Failure::said("what is to be proved", &error, challenge),
            })?;
        }
    }
    Ok(())
}

/// Waits until the authority has looked at all names.
async fn proved(order: &mut Order, challenge: Challenge) -> Result<(), Failure> {
    let looked = said!(order.poll_ready(&POLLS));
    if matches!(looked, Ok(OrderStatus::Ready | OrderStatus::Valid)) {
        return Ok(());
    }
    let refused = refused(order, challenge).await;
    match (refused.is_empty(), looked) {
        (false, _) => Err(Failure::unproved(refused, challenge)),
        (true, Err(error)) => Err(Failure::said("the proofs", &error, challenge)),
        (true, Ok(_)) => Err(Failure::of(
            "the authority refuses the order, and says nothing of why",
            "it is tried again by itself",
        )),
    }
}

/// The names whose proofs failed, with the reasons.
async fn refused(order: &mut Order, challenge: Challenge) -> Vec<(String, Option<Problem>)> {
    let (mut found, kind) = (Vec::new(), kind(challenge));
    let mut all = order.authorizations();
    while let Some(Ok(mut one)) = all.next().await {
        if said!(one.refresh()).is_err() || one.status != AuthorizationStatus::Invalid {
            continue;
        }
        let why =
            one.challenges.iter().find(|it| it.r#type == kind).and_then(|it| it.error.clone());
        found.push((name(one.identifier().identifier).unwrap_or_default(), why));
    }
    found
}

/// A key of its own for each certificate, and the request to sign it (RFC 8555 §7.4).
fn request(names: &[String]) -> Result<(KeyPair, Vec<u8>), Failure> {
    let made = || -> Result<(KeyPair, Vec<u8>), rcgen::Error> {
        let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?;
        let mut params = CertificateParams::new(names.to_vec())?;
        params.distinguished_name = DistinguishedName::new();
        let request = params.serialize_request(&key)?.der().to_vec();
        Ok((key, request))
    };
    made().map_err(|error| Failure::here(format!("no certificate can be asked for: {error}")))
}

/// Whether it is what was ordered: otherwise the one before is better.
fn judged(
    key: &KeyPair,
    chain: String,
    names: &[String],
    now: SystemTime,
    least_end: Option<SystemTime>,
) -> Result<Issued, Failure> {
    let wrong = |why: String| {
        let what = format!("the authority's certificate is not what was ordered: {why}");
        Failure::of(what, "look whether acme.directory is right")
    };
    let certificates = pair::chain(chain.as_bytes())
        .map_err(|problem| wrong(clean(&problem.at(Path::new("it")).to_string())))?;
    if certificates.len() > CHAIN_MAX {
        return Err(wrong(format!("it comes with {} others", certificates.len())));
    }
    let leaf = certificates.first().ok_or_else(|| wrong("there is none".to_owned()))?;
    let facts = Facts::read(leaf).map_err(|why| wrong(clean(&why)))?;
    if let Some(name) = names.iter().find(|name| !facts.covers(name)) {
        return Err(wrong(format!("it is not for {name}")));
    }
    if facts.not_before > now + SLACK || facts.not_after <= now + SOON {
        return Err(wrong(
            "it is not valid now; if it should be, look at this machine's clock".to_owned(),
        ));
    }
    if let Some(least) = least_end.filter(|least| facts.not_after < *least) {
        let (ends, least) = (stamp(facts.not_after), stamp(least));
        let what = format!(
            "the authority's certificate ends at {ends}, before the one in use does, at {least}"
        );
        let fix = "it is tried again by itself; to have it nevertheless, move certificate.pem out of the folder acme";
        return Err(Failure::of(what, fix));
    }
    ordered(&certificates).map_err(&wrong)?;
    let provider = pair::provider();
    let secret = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
    let secret = provider.key_provider.load_private_key(secret);
    let secret = secret.map_err(|error| wrong(error.to_string()))?;
    CertifiedKey::new(certificates, Arc::clone(&secret))
        .keys_match()
        .map_err(|_| wrong("it is for another key".to_owned()))?;
    Ok(Issued { until: facts.not_after, key: key.serialize_pem(), chain })
}

/// RFC 8555 §9.1: each certificate is signed by the next one. What cannot be checked with the algorithms at hand is
/// believed if the names agree.
fn ordered(chain: &[CertificateDer<'_>]) -> Result<(), String> {
    let read = chain.iter().map(|der| X509Certificate::from_der(der).map(|(_, one)| one));
    let read: Result<Vec<_>, _> = read.collect();
    let read = read.map_err(|error| clean(&error.to_string()))?;
    for (one, by) in read.iter().zip(read.iter().skip(1)) {
        let signed = one.verify_signature(Some(by.public_key()));
        let unknown = matches!(signed, Err(X509Error::SignatureUnsupportedAlgorithm));
        if one.issuer().as_raw() != by.subject().as_raw() || (signed.is_err() && !unknown) {
            let (one, by) = (clean(&one.subject().to_string()), clean(&by.subject().to_string()));
            return Err(format!("in its chain `{one}` is not signed by the next one, `{by}`"));
        }
    }
    Ok(())
}

/// On top of the three times of `instant-acme` each.
const NONCES_MAX: u32 = 12;
/// How long the authority may take to look, or to sign.
const POLLS: RetryPolicy =
    RetryPolicy::new().initial_delay(Duration::from_millis(250)).backoff(1.5).timeout(POLLS_TIME);
const POLLS_TIME: Duration = Duration::from_secs(150);
const CHAIN_MAX: usize = 10;
/// Most authorities sign an hour back; clocks differ.
const SLACK: Duration = Duration::from_secs(60);
/// What ends so soon is of no use.
const SOON: Duration = Duration::from_secs(3_600);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net::tls::testing::Authority;
    use rcgen::{BasicConstraints, DnType, IsCa, Issuer};

    #[test]
    #[allow(clippy::disallowed_methods)]
    fn what_was_not_ordered_is_not_taken() {
        let now = SystemTime::now();
        let (chain, key) = Authority::new().issue(&["a.example", "b.example"]);
        let key = KeyPair::from_pem(&key).unwrap();
        let other = KeyPair::generate().unwrap();
        let names =
            |names: &[&str]| -> Vec<String> { names.iter().map(|&n| n.to_owned()).collect() };
        let both = names(&["a.example", "b.example"]);
        assert!(judged(&key, chain.clone(), &both, now, None).is_ok());
        let until = Facts::read(&pair::chain(chain.as_bytes()).unwrap()[0]).unwrap().not_after;
        assert!(judged(&key, chain.clone(), &both, now, Some(until)).is_ok());
        let told = judged(&key, chain.clone(), &both, now, Some(until + SLACK)).err().unwrap();
        assert!(told.to_string().contains("before the one in use does"), "{told}");
        let ever = now + Duration::from_secs(3_000 * 365 * 86_400);
        let long = chain.repeat(12);
        for (key, chain, names, now, told) in [
            (&key, chain.as_str(), names(&["a.example", "c.example"]), now, "not for c.example"),
            (&other, &chain, both.clone(), now, "another key"),
            (&key, &chain, both.clone(), ever, "not valid now"),
            (&key, &chain, both.clone(), SystemTime::UNIX_EPOCH, "not valid now"),
            (&key, "<html>", both.clone(), now, "not what was ordered"),
            (&key, "", both.clone(), now, "not what was ordered"),
            (&key, &long, both.clone(), now, "12 others"),
        ] {
            let told_is = judged(key, chain.to_owned(), &names, now, None);
            let told_is = told_is.err().unwrap().to_string();
            assert!(told_is.contains(told), "{told}: {told_is}");
        }
    }

    #[test]
    #[allow(clippy::disallowed_methods)]
    fn what_begins_later_is_not_taken() {
        let now = SystemTime::now();
        for (later, good) in [(30, true), (120, false)] {
            let key = KeyPair::generate().unwrap();
            let mut params = CertificateParams::new(["a.example".to_owned()]).unwrap();
            params.not_before = (now + Duration::from_secs(later)).into();
            let chain = params.self_signed(&key).unwrap().pem();
            let done = judged(&key, chain, &["a.example".to_owned()], now, None);
            assert_eq!(done.is_ok(), good, "{later}");
        }
    }

    /// RFC 8555 §9.1
    #[test]
    fn a_chain_is_in_order_and_signed() {
        let named = |name: &str, key: &KeyPair, by: Option<&Issuer<'_, KeyPair>>| {
            let mut params = CertificateParams::default();
            params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
            params.distinguished_name.push(DnType::CommonName, name);
            let made = match by {
                Some(by) => params.signed_by(key, by).unwrap(),
                None => params.self_signed(key).unwrap(),
            };
            (made.der().clone(), params)
        };
        let [root_key, middle_key, leaf_key, other_key] =
            [(); 4].map(|()| KeyPair::generate().unwrap());
        let (root, params) = named("root", &root_key, None);
        let (impostor, _) = named("root", &other_key, None);
        let by_root = Issuer::new(params, root_key);
        let (middle, params) = named("middle", &middle_key, Some(&by_root));
        let by_middle = Issuer::new(params, middle_key);
        let (leaf, _) = named("leaf", &leaf_key, Some(&by_middle));
        for (chain, good) in [
            (vec![&leaf], true),
            (vec![&leaf, &middle], true),
            (vec![&leaf, &middle, &root], true),
            (vec![&leaf, &root], false),
            (vec![&leaf, &root, &middle], false),
            (vec![&leaf, &middle, &impostor], false),
        ] {
            let chain: Vec<_> = chain.into_iter().cloned().collect();
            assert_eq!(super::ordered(&chain).is_ok(), good, "{}", chain.len());
        }
    }

    /// RFC 9773 §5
    #[test]
    fn a_limit_is_not_met_twice() {
        let api = |kind: &str| {
            let text = format!(r#"{{"type":"urn:ietf:params:acme:error:{kind}"}}"#);
            Error::Api(serde_json::from_str(&text).unwrap())
        };
        for (error, again) in [
            (api("alreadyReplaced"), true),
            (api("malformed"), true),
            (api("conflict"), true),
            (api("unauthorized"), true),
            (api("rateLimited"), false),
            (api("serverInternal"), false),
            (Error::Unsupported("ARI"), true),
            (Error::Other("replaces field mismatch: expected".into()), true),
            (Error::Other("https://ca.example/: no answer".into()), false),
        ] {
            assert_eq!(is_about_replacing(&error), again, "{error}");
        }
    }

    #[test]
    fn a_request_has_all_names() {
        let names = ["a.example".to_owned(), "192.0.2.1".to_owned(), "2001:db8::1".to_owned()];
        let (_, request) = request(&names).unwrap();
        assert!(request.windows(9).any(|part| part == b"a.example"));
        assert!(request.windows(4).any(|part| part == [192, 0, 2, 1]));
    }
}
