//! SCRAM written out (RFC 5802), where a test must say what an honest client would not.

use super::client::{Client, Outcome, SASL};
use super::element::Element;
use super::process::wrong;
use base64::{Engine, engine::general_purpose::STANDARD as BASE64};
use hmac::{Hmac, Mac};
use sha1::Sha1;
use sha2::{Digest, Sha256, Sha512};

/// The hash of a mechanism.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hash {
    Sha1,
    Sha256,
    Sha512,
}

impl Hash {
    /// From the name of a SCRAM mechanism, -PLUS or not.
    pub fn of(mechanism: &str) -> Hash {
        match mechanism.trim_end_matches("-PLUS") {
            "SCRAM-SHA-1" => Hash::Sha1,
            "SCRAM-SHA-256" => Hash::Sha256,
            "SCRAM-SHA-512" => Hash::Sha512,
            other => panic!("{other}"),
        }
    }

    pub fn digest(self, data: &[u8]) -> Vec<u8> {
        match self {
            Hash::Sha1 => Sha1::digest(data).to_vec(),
            Hash::Sha256 => Sha256::digest(data).to_vec(),
            Hash::Sha512 => Sha512::digest(data).to_vec(),
        }
    }

    fn hmac(self, key: &[u8], data: &[u8]) -> Vec<u8> {
        fn run<M: Mac + hmac::digest::KeyInit>(key: &[u8], data: &[u8]) -> Vec<u8> {
            let mut mac = <M as Mac>::new_from_slice(key).unwrap();
            mac.update(data);
            mac.finalize().into_bytes().to_vec()
        }
        match self {
            Hash::Sha1 => run::<Hmac<Sha1>>(key, data),
            Hash::Sha256 => run::<Hmac<Sha256>>(key, data),
            Hash::Sha512 => run::<Hmac<Sha512>>(key, data),
        }
    }

    /// SaltedPassword
    pub fn salted(self, password: &str, salt: &[u8], rounds: u32) -> Vec<u8> {
        let mut out = vec![0; self.digest(b"").len()];
        let password = password.as_bytes();
        match self {
            Hash::Sha1 => pbkdf2::pbkdf2::<Hmac<Sha1>>(password, salt, rounds, &mut out),
            Hash::Sha256 => pbkdf2::pbkdf2::<Hmac<Sha256>>(password, salt, rounds, &mut out),
            Hash::Sha512 => pbkdf2::pbkdf2::<Hmac<Sha512>>(password, salt, rounds, &mut out),
        }
        .unwrap();
        out
    }
}

/// One exchange, every part of which can be made wrong.
#[derive(Clone, Debug)]
pub struct Scram {
    pub mechanism: String,
    /// `n,,`, `y,,`, `p=tls-exporter,,`, with an authzid or without.
    pub gs2: String,
    pub user: String,
    pub password: String,
    /// Channel binding data behind the gs2 header in `c=`.
    pub binding: Vec<u8>,
    /// The gs2 header that `c=` claims, where it is another one.
    pub claimed_gs2: Option<String>,
}

/// What the server's first message holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Challenge {
    pub nonce: String,
    pub salt: Vec<u8>,
    pub rounds: u32,
    /// All of it.
    pub text: String,
}

pub const NONCE: &str = "fyko+d2lbbFgONRv9qkxdawL";

impl Scram {
    pub fn new(mechanism: &str, user: &str, password: &str) -> Scram {
        Scram {
            mechanism: mechanism.into(),
            gs2: "n,,".into(),
            user: user.into(),
            password: password.into(),
            binding: Vec::new(),
            claimed_gs2: None,
        }
    }

    /// With channel binding of this type.
    pub fn bound(mut self, kind: &str, data: Vec<u8>) -> Scram {
        (self.gs2, self.binding) = (format!("p={kind},,"), data);
        self
    }

    pub fn gs2(mut self, gs2: &str) -> Scram {
        self.gs2 = gs2.into();
        self
    }

    fn bare(&self) -> String {
        format!("n={},r={NONCE}", self.user)
    }

    /// Sends `<auth/>`; answers what came, a challenge or not.
    pub async fn begin(&self, client: &mut Client) -> Outcome<Element> {
        let first = BASE64.encode(format!("{}{}", self.gs2, self.bare()));
        let name = &self.mechanism;
        client.send(&format!("<auth xmlns='{SASL}' mechanism='{name}'>{first}</auth>")).await?;
        client.receive().await
    }

    /// The whole exchange; the last element, `<success/>` only with a right server signature.
    pub async fn run(&self, client: &mut Client) -> Outcome<Element> {
        let answer = self.begin(client).await?;
        if answer.name != "challenge" {
            return Ok(answer);
        }
        let wanted = self.prove(client, &answer).await?;
        let answer = client.receive().await?;
        if answer.name == "success" && answer.text != wanted {
            return wrong(format!("the server's signature is wrong: {answer}"));
        }
        Ok(answer)
    }

    /// Answers a challenge; what a success must hold.
    pub async fn prove(&self, client: &mut Client, challenge: &Element) -> Outcome<String> {
        let challenge = Challenge::parse(challenge);
        let hash = Hash::of(&self.mechanism);
        let salted = hash.salted(&self.password, &challenge.salt, challenge.rounds);
        let client_key = hash.hmac(&salted, b"Client Key");
        let mut header = self.claimed_gs2.as_ref().unwrap_or(&self.gs2).clone().into_bytes();
        header.extend(&self.binding);
        let without = format!("c={},r={}", BASE64.encode(header), challenge.nonce);
        let signed = format!("{},{},{without}", self.bare(), challenge.text);
        let signature = hash.hmac(&hash.digest(&client_key), signed.as_bytes());
        let proof: Vec<u8> = client_key.iter().zip(&signature).map(|(a, b)| a ^ b).collect();
        let last = BASE64.encode(format!("{without},p={}", BASE64.encode(proof)));
        client.send(&format!("<response xmlns='{SASL}'>{last}</response>")).await?;
        let server_key = hash.hmac(&salted, b"Server Key");
        let verifier = BASE64.encode(hash.hmac(&server_key, signed.as_bytes()));
        Ok(BASE64.encode(format!("v={verifier}")))
    }
}

impl Challenge {
    pub fn parse(element: &Element) -> Challenge {
        let text = String::from_utf8(BASE64.decode(&element.text).unwrap()).unwrap();
        let field = |name: &str| {
            let found = text.split(',').find_map(|part| part.strip_prefix(name));
            found.unwrap_or_else(|| panic!("no {name} in {text}")).to_owned()
        };
        Challenge {
            nonce: field("r="),
            salt: BASE64.decode(field("s=")).unwrap(),
            rounds: field("i=").parse().unwrap(),
            text: text.clone(),
        }
    }

    /// The names of its fields, in their order.
    pub fn shape(&self) -> String {
        self.text.split(',').map(|part| part.split('=').next().unwrap_or_default()).collect()
    }
}
