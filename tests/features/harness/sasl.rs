//! The client side of SASL: the `sasl` crate's mechanisms, and SHA-512 beside its two hashes.

use hmac::digest::InvalidLength;
use hmac::{Hmac, Mac};
use sasl::client::Mechanism;
use sasl::client::mechanisms::{Anonymous, Plain, Scram};
use sasl::common::scram::{DeriveError, ScramProvider, Sha1, Sha256};
use sasl::common::{ChannelBinding, Credentials, Password};
use sha2::Digest;

pub type Boxed = Box<dyn Mechanism + Send>;

/// The mechanism of this SASL name. `exporter` is the channel's binding, for the -PLUS names.
pub fn mechanism(
    name: &str,
    user: &str,
    password: &str,
    exporter: Option<Vec<u8>>,
) -> Result<Boxed, String> {
    let binding = match (name.ends_with("-PLUS"), exporter) {
        (true, Some(data)) => ChannelBinding::TlsExporter(data),
        (true, None) => return Err(format!("{name} without TLS")),
        // `n,,`: we do no channel binding. `y,,` is for the tests of downgrade.
        (false, _) => ChannelBinding::None,
    };
    let credentials = Credentials::default()
        .with_username(user)
        .with_password(password)
        .with_channel_binding(binding);
    Ok(match name.trim_end_matches("-PLUS") {
        "SCRAM-SHA-1" => boxed::<Scram<Sha1>>(credentials),
        "SCRAM-SHA-256" => boxed::<Scram<Sha256>>(credentials),
        "SCRAM-SHA-512" => boxed::<Scram<Sha512>>(credentials),
        "PLAIN" => boxed::<Plain>(credentials),
        "ANONYMOUS" => boxed::<Anonymous>(Credentials::default()),
        other => return Err(format!("no mechanism {other}")),
    })
}

/// The cheapest of the offered names that we know, bound where TLS allows: an unoptimised build
/// spends most of a test in hashes. `sasl.rs` of the tests tries all of them.
pub fn choose<'a>(offered: &[&'a str], bound: bool) -> Option<&'a str> {
    let known = ["SCRAM-SHA-1", "SCRAM-SHA-256", "SCRAM-SHA-512", "PLAIN", "ANONYMOUS"];
    let plus = known[..3].iter().map(|name| format!("{name}-PLUS")).filter(|_| bound);
    let names = plus.chain(known.iter().map(|name| (*name).to_owned()));
    names.into_iter().find_map(|name| offered.iter().find(|o| **o == name)).copied()
}

fn boxed<M: Mechanism + Send + 'static>(credentials: Credentials) -> Boxed {
    Box::new(M::from_credentials(credentials).expect("credentials of the right kind"))
}

struct Sha512;

impl ScramProvider for Sha512 {
    // Never used by a client; the crate has no type for this hash.
    type Secret = sasl::secret::Pbkdf2Sha256;

    fn name() -> &'static str {
        "SHA-512"
    }

    fn hash(data: &[u8]) -> Vec<u8> {
        sha2::Sha512::digest(data).to_vec()
    }

    fn hmac(data: &[u8], key: &[u8]) -> Result<Vec<u8>, InvalidLength> {
        let mut mac = Hmac::<sha2::Sha512>::new_from_slice(key)?;
        mac.update(data);
        Ok(mac.finalize().into_bytes().to_vec())
    }

    fn derive(password: &Password, salt: &[u8], rounds: u32) -> Result<Vec<u8>, DeriveError> {
        let Password::Plain(plain) = password else { return Err(DeriveError::IncorrectSalt) };
        let mut out = vec![0; 64];
        pbkdf2::pbkdf2::<Hmac<sha2::Sha512>>(plain.as_bytes(), salt, rounds, &mut out)?;
        Ok(out)
    }
}
