//! One order (RFC 8555 §7.4), from the account to a certificate that is what was asked for.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use instant_acme::{
    Account, AuthorizationStatus, CertificateIdentifier, ChallengeType, Error, Identifier, Key,
    NewOrder, Order, OrderStatus, Problem, RetryPolicy,
};
use rcgen::{CertificateParams, DistinguishedName, KeyPair, PKCS_ECDSA_P256_SHA256};
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::sign::CertifiedKey;

use super::client::Client;
use super::failure::{Failure, clean, name};
use super::files;
use super::proofs::Proofs;
use super::settings::{Challenge, Settings};
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

/// Orders a certificate for these names, in the place of the one before.
pub(super) async fn obtain(
    account: &Account,
    names: &[String],
    replaces: Option<CertificateIdentifier<'static>>,
    challenge: Challenge,
    proofs: &mut Proofs<'_>,
    now: SystemTime,
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
    judged(&key, chain, names, now)
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
            Err(error) => {
                tracing::debug!(%error, "the certificate is not replaced, but ordered anew")
            }
        }
    }
    let order = NewOrder::new(&identifiers);
    said!(account.new_order(&order))
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
    if facts.not_before > now + SKEW || facts.not_after <= now + SKEW {
        return Err(wrong(
            "it is not valid now; if it should be, look at this machine's clock".to_owned(),
        ));
    }
    let provider = pair::provider();
    let secret = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
    let secret = provider.key_provider.load_private_key(secret);
    let secret = secret.map_err(|error| wrong(error.to_string()))?;
    CertifiedKey::new(certificates, Arc::clone(&secret))
        .keys_match()
        .map_err(|_| wrong("it is for another key".to_owned()))?;
    Ok(Issued { until: facts.not_after, key: key.serialize_pem(), chain })
}

/// On top of the three times of `instant-acme` each.
const NONCES_MAX: u32 = 12;
/// How long the authority may take to look, or to sign.
const POLLS: RetryPolicy =
    RetryPolicy::new().initial_delay(Duration::from_millis(250)).backoff(1.5).timeout(POLLS_TIME);
const POLLS_TIME: Duration = Duration::from_secs(150);
const CHAIN_MAX: usize = 10;
/// Authorities sign an hour back.
const SKEW: Duration = Duration::from_secs(3_600);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net::tls::testing::Authority;

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
        assert!(judged(&key, chain.clone(), &both, now).is_ok());
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
            let told_is = judged(key, chain.to_owned(), &names, now).err().unwrap().to_string();
            assert!(told_is.contains(told), "{told}: {told_is}");
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
