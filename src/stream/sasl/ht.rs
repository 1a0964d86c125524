//! The Hashed Token mechanisms HT-* (draft-schmaus-kitten-sasl-ht-09), with which a client that has a
//! token logs in (XEP-0484): one message each way.
//!
//! They carry no authorization identity and no password. A token is valid with one mechanism only, so a
//! token that was given for a bound mechanism is useless to anybody who cannot bind to the channel.

use hmac::{Hmac, Mac};
use sha2::{Sha256, Sha512};

use super::{ChannelBindings, Refusal, SaslFailure};
use crate::base::credential::HashName;
use crate::base::hash::same_secret;
use crate::base::limits::SASL_BYTES_MAX;
use crate::jid::prep;

/// One mechanism of the family.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum HtMechanism {
    /// SHA-512 and tls-exporter
    Sha512Exporter,
    /// SHA-256 and tls-exporter
    Sha256Exporter,
    /// SHA-512 and tls-server-end-point
    Sha512EndPoint,
    /// SHA-256 and tls-server-end-point
    Sha256EndPoint,
    /// SHA-512, for clients that cannot bind to the channel
    Sha512None,
    /// SHA-256, for clients that cannot bind to the channel
    Sha256None,
}

impl HtMechanism {
    /// All of them, in the order of our preference.
    pub const ALL: [Self; 6] = [
        Self::Sha512Exporter,
        Self::Sha256Exporter,
        Self::Sha512EndPoint,
        Self::Sha256EndPoint,
        Self::Sha512None,
        Self::Sha256None,
    ];

    /// The name; XEP-0484 defines the names without channel binding (§3.1).
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Sha512Exporter => "HT-SHA-512-EXPR",
            Self::Sha256Exporter => "HT-SHA-256-EXPR",
            Self::Sha512EndPoint => "HT-SHA-512-ENDP",
            Self::Sha256EndPoint => "HT-SHA-256-ENDP",
            Self::Sha512None => "HT-SHA-512-NONE",
            Self::Sha256None => "HT-SHA-256-NONE",
        }
    }

    /// The reverse of [`Self::as_str`].
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|mechanism| mechanism.as_str() == name)
    }

    /// Its hash.
    pub const fn hash(self) -> HashName {
        match self {
            Self::Sha512Exporter | Self::Sha512EndPoint | Self::Sha512None => HashName::Sha512,
            Self::Sha256Exporter | Self::Sha256EndPoint | Self::Sha256None => HashName::Sha256,
        }
    }

    /// The channel binding that it requires, by its registered name.
    pub const fn binding(self) -> Option<&'static str> {
        match self {
            Self::Sha512Exporter | Self::Sha256Exporter => Some("tls-exporter"),
            Self::Sha512EndPoint | Self::Sha256EndPoint => Some("tls-server-end-point"),
            Self::Sha512None | Self::Sha256None => None,
        }
    }

    /// The mechanisms that a channel can be offered. XEP-0484 §6 forbids all of them without TLS, which the
    /// caller ensures; §3.1 asks for one without channel binding in addition to those with it.
    pub fn offered(bindings: &ChannelBindings) -> impl Iterator<Item = Self> {
        Self::ALL.into_iter().filter(|mechanism| mechanism.data(bindings).is_some())
    }

    /// The cb-data of the draft; `None` if the channel cannot give it.
    fn data(self, bindings: &ChannelBindings) -> Option<&[u8]> {
        match self.binding() {
            None => Some(&[]),
            Some(name) => bindings.get(name),
        }
    }
}

/// A client's message, to be compared with the tokens of its device. No `Debug`: whoever has it and the
/// channel can log in.
pub struct Ht {
    mechanism: HtMechanism,
    /// The localpart in normal form.
    localpart: String,
    mac: Vec<u8>,
    data: Vec<u8>,
}

/// A token that is stored for the user and the device that the client claims to be.
#[derive(Clone, Copy)]
pub struct Token<'a> {
    /// The name of the mechanism that the token was requested for.
    pub mechanism: &'a str,
    /// The text that the client was given; its very characters are the key.
    pub secret: &'a str,
    /// Whether it is too old.
    pub expired: bool,
}

/// A token that matches.
#[derive(Debug, PartialEq, Eq)]
pub struct Fits {
    /// Its index among the tokens that were compared.
    pub index: usize,
    /// Additional data with success: proves to the client that the server knows the token too.
    pub answer: Vec<u8>,
}

impl Ht {
    /// Reads an initial response. Without TLS, `offered` must be empty.
    pub fn start(
        name: &str,
        offered: &[HtMechanism],
        bindings: &ChannelBindings,
        payload: &[u8],
    ) -> Result<Self, Refusal> {
        let mechanism = HtMechanism::parse(name).filter(|one| offered.contains(one));
        let mechanism = mechanism.ok_or(SaslFailure::InvalidMechanism)?;
        let data = mechanism.data(bindings).ok_or(SaslFailure::InvalidMechanism)?.to_vec();
        if payload.len() > SASL_BYTES_MAX {
            return Err(SaslFailure::MalformedRequest.into());
        }
        // initiator-msg = authcid NUL initiator-hashed-token; only the latter may contain a NUL.
        let nul = payload.iter().position(|byte| *byte == 0);
        let (authcid, mac) = nul
            .and_then(|nul| payload.split_at_checked(nul))
            .and_then(|(authcid, rest)| Some((authcid, rest.split_first()?.1)))
            .ok_or(SaslFailure::MalformedRequest)?;
        let authcid = std::str::from_utf8(authcid).map_err(|_| SaslFailure::MalformedRequest)?;
        if authcid.is_empty() || mac.is_empty() {
            return Err(SaslFailure::MalformedRequest.into());
        }
        let localpart = prep::localpart(authcid).map_err(|_| Refusal::NoName)?;
        Ok(Self { mechanism, localpart: localpart.into_owned(), mac: mac.to_vec(), data })
    }

    /// The account whose tokens are needed.
    pub fn localpart(&self) -> &str {
        &self.localpart
    }

    /// The mechanism of the login.
    pub fn mechanism(&self) -> HtMechanism {
        self.mechanism
    }

    /// Compares the message with all of them, without revealing which one came close. An unknown user or
    /// device has no tokens.
    pub fn check(&self, tokens: &[Token<'_>]) -> Result<Fits, SaslFailure> {
        let mut found = None;
        for (index, token) in tokens.iter().enumerate() {
            let same = same_secret(&self.hmac(token.secret, INITIATOR), &self.mac);
            // XEP-0484 §3.4: a token for another mechanism MUST fail.
            let fits = same & (token.mechanism == self.mechanism.as_str());
            if fits && found.is_none() {
                found = Some((index, token));
            }
        }
        for _ in tokens.len()..TOKENS {
            // Takes as long as with a token.
            let _ = same_secret(&self.hmac("", INITIATOR), &self.mac);
        }
        match found {
            // XEP-0484 §4.2: a client that has the token may learn that it is too old.
            Some((_, token)) if token.expired => Err(SaslFailure::CredentialsExpired),
            Some((index, token)) => Ok(Fits { index, answer: self.hmac(token.secret, RESPONDER) }),
            // XEP-0484 §4: the answer for a token that is no longer trusted; the server cannot tell one
            // that was revoked from one that never existed.
            None => Err(SaslFailure::CredentialsExpired),
        }
    }

    /// HMAC(token, "Initiator" || cb-data), and likewise for "Responder".
    fn hmac(&self, token: &str, who: &[u8]) -> Vec<u8> {
        let parts = [who, &self.data];
        match self.mechanism.hash() {
            HashName::Sha512 => mac::<Hmac<Sha512>>(token.as_bytes(), &parts),
            _ => mac::<Hmac<Sha256>>(token.as_bytes(), &parts),
        }
    }
}

/// HMAC takes keys of any length, so the empty result, which matches nothing, never occurs.
fn mac<M: Mac + hmac::digest::KeyInit>(key: &[u8], parts: &[&[u8]]) -> Vec<u8> {
    let Ok(mut mac) = <M as Mac>::new_from_slice(key) else { return Vec::new() };
    for part in parts {
        mac.update(part);
    }
    mac.finalize().into_bytes().to_vec()
}

const INITIATOR: &[u8] = b"Initiator";
const RESPONDER: &[u8] = b"Responder";
/// Maximum number of tokens of a device: its current one and the next (XEP-0484 §5.1).
const TOKENS: usize = 2;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::hash::{hex, unbase64};

    fn bindings() -> ChannelBindings {
        ChannelBindings {
            tls_exporter: Some(b"exporter".to_vec()),
            tls_server_end_point: Some(b"end point".to_vec()),
            lacks_default: false,
        }
    }

    fn message(mac: &str) -> Vec<u8> {
        let mac: Vec<u8> = mac
            .as_bytes()
            .chunks(2)
            .map(|two| u8::from_str_radix(std::str::from_utf8(two).unwrap(), 16).unwrap())
            .collect();
        [b"romeo\0", &mac[..]].concat()
    }

    fn start(name: &str, payload: &[u8]) -> Result<Ht, Refusal> {
        Ht::start(name, &HtMechanism::ALL, &bindings(), payload)
    }

    fn token(mechanism: HtMechanism, secret: &str) -> Token<'_> {
        Token { mechanism: mechanism.as_str(), secret, expired: false }
    }

    #[test]
    fn names_read_back() {
        for mechanism in HtMechanism::ALL {
            assert_eq!(HtMechanism::parse(mechanism.as_str()), Some(mechanism));
            assert!(mechanism.as_str()["HT-".len()..].starts_with(mechanism.hash().as_str()));
            // XEP-0388 §8: SaslMechName
            assert!(mechanism.as_str().len() <= 20);
        }
        assert_eq!(HtMechanism::parse("HT-SHA-256-UNIQ"), None);
    }

    #[test]
    fn what_is_offered_can_be_bound_to() {
        let names = |bindings: &ChannelBindings| {
            HtMechanism::offered(bindings).map(HtMechanism::as_str).collect::<Vec<_>>().join(" ")
        };
        assert_eq!(names(&ChannelBindings::default()), "HT-SHA-512-NONE HT-SHA-256-NONE");
        let exporter = ChannelBindings { tls_server_end_point: None, ..bindings() };
        assert_eq!(
            names(&exporter),
            "HT-SHA-512-EXPR HT-SHA-256-EXPR HT-SHA-512-NONE HT-SHA-256-NONE"
        );
        assert_eq!(HtMechanism::offered(&bindings()).count(), 6);
    }

    /// Vectors made with Python's hmac module: HMAC(token, "Initiator" || cb) and "Responder".
    #[test]
    fn vectors() {
        for (mechanism, initiator, responder) in VECTORS {
            let fits = start(mechanism, &message(initiator)).ok().unwrap();
            assert_eq!(fits.localpart(), "romeo");
            let fits = fits.check(&[token(HtMechanism::parse(mechanism).unwrap(), TOKEN)]);
            let fits = fits.unwrap();
            assert_eq!((fits.index, hex(&fits.answer).as_str()), (0, *responder), "{mechanism}");
        }
    }

    #[test]
    fn a_token_is_for_one_mechanism_and_one_channel_and_until_it_is_too_old() {
        use HtMechanism::{Sha256Exporter, Sha256None};
        use SaslFailure::CredentialsExpired;
        let (_, bound, _) = VECTORS[1];
        let (_, unbound, _) = VECTORS[5];
        let good = token(Sha256Exporter, TOKEN);
        let none = token(Sha256None, TOKEN);
        let other = token(Sha256Exporter, "another");
        let old = Token { expired: true, ..good };
        for (name, mac, tokens, want) in [
            (Sha256Exporter, bound, &[good][..], Ok(0)),
            (Sha256Exporter, bound, &[other, good], Ok(1)),
            (Sha256Exporter, bound, &[none, good], Ok(1)),
            (Sha256Exporter, bound, &[old], Err(CredentialsExpired)),
            (Sha256Exporter, bound, &[], Err(CredentialsExpired)),
            (Sha256Exporter, bound, &[other], Err(CredentialsExpired)),
            (Sha256Exporter, bound, &[none], Err(CredentialsExpired)),
            // The HMAC of a mechanism without channel binding under the name of one with it.
            (Sha256Exporter, unbound, &[good], Err(CredentialsExpired)),
            (Sha256None, unbound, &[good], Err(CredentialsExpired)),
            (Sha256None, unbound, &[none], Ok(0)),
            (Sha256None, &unbound[2..], &[none], Err(CredentialsExpired)),
        ] {
            let got = start(name.as_str(), &message(mac)).ok().unwrap().check(tokens);
            assert_eq!(got.map(|fits| fits.index), want, "{}", name.as_str());
        }
        let elsewhere = ChannelBindings { tls_exporter: Some(b"other".to_vec()), ..bindings() };
        let payload = message(bound);
        let ht = Ht::start("HT-SHA-256-EXPR", &HtMechanism::ALL, &elsewhere, &payload);
        assert_eq!(ht.ok().unwrap().check(&[good]), Err(CredentialsExpired));
    }

    #[test]
    fn odd_messages_fail() {
        let malformed = SaslFailure::MalformedRequest.into();
        let not_offered = SaslFailure::InvalidMechanism.into();
        let long = [b"romeo\0".as_slice(), &vec![1; SASL_BYTES_MAX]].concat();
        for (payload, want) in [
            (&b""[..], malformed),
            (b"romeo", malformed),
            (b"romeo\0", malformed),
            (b"\0mac", malformed),
            (b"rom\xffeo\0mac", malformed),
            (&long, malformed),
            (b"ro meo\0mac", Refusal::NoName),
            (b"romeo@x\0mac", Refusal::NoName),
        ] {
            assert_eq!(start("HT-SHA-256-NONE", payload).err(), Some(want), "{payload:?}");
        }
        // A NUL may be part of the hash.
        assert!(start("HT-SHA-256-NONE", b"romeo\0a\0b").is_ok());
        for name in ["HT-SHA-256-UNIQ", "ht-sha-256-none", "PLAIN", ""] {
            assert_eq!(start(name, b"romeo\0mac").err(), Some(not_offered), "{name}");
        }
        let none = ChannelBindings::default();
        let refused = Ht::start("HT-SHA-256-EXPR", &HtMechanism::ALL, &none, b"romeo\0mac");
        assert_eq!(refused.err(), Some(not_offered));
        let refused = Ht::start("HT-SHA-256-NONE", &[], &bindings(), b"romeo\0mac");
        assert_eq!(refused.err(), Some(not_offered));
    }

    /// The example token of XEP-0484 §3.3; its characters are the key, not what they decode to.
    const TOKEN: &str = "WXZzciBwYmFmdmZnZiBqdmd1IGp2eXFhcmZm";

    const VECTORS: &[(&str, &str, &str)] = &[
        (
            "HT-SHA-512-EXPR",
            "9375ae7013c6e68449733dcee7e645eaf9948c16d039203af40005c56a16f04b\
             62624741f33eaa58355562358c94b628f82f83961981749d0a48ecd45f4973ed",
            "f1947b7c28ddff71149eee27b291daadd4035e3f84ad172d24c6514b82a8e465\
             9cde9358d823be594a0c598813ee6878305a13bb15e3d7d476ff997a401ff6d8",
        ),
        (
            "HT-SHA-256-EXPR",
            "6c0592ae3ee84ace57194e3c3c435d76865c8166b8415543708bad3f3ca5afbe",
            "f88882403809e5680effb322d36bb70db61b55c83fc6e1260315aaa869e8565a",
        ),
        (
            "HT-SHA-512-ENDP",
            "7985bd40a542b7581b66ceadc7a25cb23949b40a3f5bce61fe6c532cab23f81b\
             04e4f2f57ad8316072a2686fbcff0b55b9d429c90ce093cce036d4c9ce9c72cf",
            "9f7989ea5f5b1cc9f49122349d814ff9dae0787e3a889aa12bc00120b33d1068\
             67a2931146f9d4c6d2e35a72fdec70974d9bf9487765a2eb0f51e6ea877a2c2d",
        ),
        (
            "HT-SHA-256-ENDP",
            "18968069a486cf035be9475e9f1e9e9ffb9798e72292de27498d290593888a52",
            "3648772e1cc7f50dedc918dd4580a8d988b7b5c8703f7d1a7a1cc60e74c5d5d1",
        ),
        (
            "HT-SHA-512-NONE",
            "9af06d375557c568be9af234647f0fa742ebd929396ac27cf49341d11d7a8e4f\
             1ea89da47068e21b41e7e354a597dca2af786c4cc37d6b2ab9226824446177fc",
            "9f3ac30753446c046ecd53d85762c073d8d3abaa0daa196e4c4410f8ad20d45d\
             4110e5f9a2bd0cdee49a8d048c7a040803cbbfa0ffb8db2a3bac13cbea23a104",
        ),
        (
            "HT-SHA-256-NONE",
            "9097787461a184e0fa84ec00c1381190b6c4d16a8ec4453c7b2ac5e7fcf935ed",
            "4e513409631474863b986c9f3e8c1e27ca29d1d7ab9ed4097e7afd6007bf9c62",
        ),
    ];

    #[test]
    fn the_key_is_the_text() {
        let (name, mac, _) = VECTORS[5];
        let decoded = String::from_utf8(unbase64(TOKEN).unwrap()).unwrap();
        let got = start(name, &message(mac)).ok().unwrap();
        assert!(got.check(&[token(HtMechanism::Sha256None, &decoded)]).is_err());
    }
}
