//! The server side of SCRAM (RFC 5802, RFC 7677), as a `Mechanism` of the `sasl` crate.

use std::marker::PhantomData;

use sasl::common::Identity;
use sasl::common::scram::{ScramProvider, Sha1, Sha256};
use sasl::server::{Mechanism, MechanismError, Response};

use super::hash::Sha512;
use crate::base::credential::{HashName, ScramKeys};
use crate::base::hash::{base64, same_secret, unbase64};

/// Everything that goes into an exchange, except the client's messages.
pub(super) struct Setup {
    /// The account's keys, or fake ones.
    pub keys: ScramKeys,
    /// Whether the keys belong to an account. A second safeguard: no proof matches fake keys.
    pub known: bool,
    /// The data of the channel binding that the client chose; empty without one.
    pub binding: Vec<u8>,
    /// Printable ASCII without a comma.
    pub server_nonce: String,
    /// The `h` of XEP-0474, base64.
    pub downgrade_hash: Option<String>,
}

/// The mechanism for the hash of these keys. Pass it the client's two messages.
pub(super) fn mechanism(setup: Setup) -> Box<dyn Mechanism + Send> {
    match setup.keys.hash {
        HashName::Sha1 => Box::new(Scram::<Sha1>::new(setup)),
        HashName::Sha256 => Box::new(Scram::<Sha256>::new(setup)),
        HashName::Sha512 => Box::new(Scram::<Sha512>::new(setup)),
    }
}

struct Scram<S> {
    setup: Setup,
    state: State,
    /// `fn() -> S`, because the crate's providers promise nothing about threads.
    hash: PhantomData<fn() -> S>,
}

enum State {
    /// Waits for the client-first-message.
    First,
    /// Waits for the client-final-message.
    Final {
        username: String,
        /// The value that `c=` must have, in base64.
        cbind_input: String,
        nonce: String,
        /// client-first-message-bare "," server-first-message ","
        auth_message: String,
    },
    Over,
}

impl<S: ScramProvider> Scram<S> {
    fn new(setup: Setup) -> Self {
        Self { setup, state: State::First, hash: PhantomData }
    }

    fn first(&mut self, payload: &[u8]) -> Result<Response, MechanismError> {
        let text = utf8(payload)?;
        let first = ClientFirst::parse(text).ok_or(MechanismError::CannotDecodeInitialMessage)?;
        let nonce = [first.nonce, &self.setup.server_nonce].concat();
        let salt = base64(&self.setup.keys.salt);
        let iterations = self.setup.keys.iterations.to_string();
        let mut server_first = ["r=", &nonce, ",s=", &salt, ",i=", &iterations].concat();
        if let Some(hash) = &self.setup.downgrade_hash {
            server_first.push_str(",h=");
            server_first.push_str(hash);
        }
        self.state = State::Final {
            username: first.username,
            cbind_input: base64(&[first.gs2_header.as_bytes(), &self.setup.binding].concat()),
            nonce,
            auth_message: [first.bare, ",", &server_first, ","].concat(),
        };
        Ok(Response::Proceed(server_first.into_bytes()))
    }

    fn last(&self, payload: &[u8], expected: Expected<'_>) -> Result<Vec<u8>, MechanismError> {
        let text = utf8(payload)?;
        let last = ClientFinal::parse(text).ok_or(MechanismError::CannotDecodeResponse)?;
        let proof = unbase64(last.proof).ok_or(MechanismError::CannotDecodeProof)?;
        let keys = &self.setup.keys;
        let auth_message = [expected.auth_message, last.without_proof].concat();
        let client_signature = S::hmac(auth_message.as_bytes(), &keys.stored_key)?;
        let server_signature = S::hmac(auth_message.as_bytes(), &keys.server_key)?;
        let client_key: Vec<u8> = proof.iter().zip(&client_signature).map(|(p, s)| p ^ s).collect();
        // Nothing returns early from here: every kind of wrong message takes as long and gets the same
        // answer.
        let proved = [
            same_secret(last.nonce.as_bytes(), expected.nonce.as_bytes()),
            proof.len() == client_signature.len(),
            same_secret(&S::hash(&client_key), &keys.stored_key),
            self.setup.known,
        ];
        let proved = proved.iter().fold(true, |all, one| all & one);
        // RFC 5802 §5.1: `c` and `r` must be exactly what was agreed.
        let bound = same_secret(last.cbind_input.as_bytes(), expected.cbind_input.as_bytes());
        match proved & bound {
            true => Ok(["v=", &base64(&server_signature)].concat().into_bytes()),
            // For the log: the client gets the same answer.
            false if proved => Err(MechanismError::ChannelBindingMechanismIncorrect),
            false => Err(MechanismError::AuthenticationFailed),
        }
    }
}

/// The values that the client-final-message must match.
struct Expected<'a> {
    cbind_input: &'a str,
    nonce: &'a str,
    auth_message: &'a str,
}

impl<S: ScramProvider> Mechanism for Scram<S> {
    fn name(&self) -> &str {
        S::name()
    }

    fn respond(&mut self, payload: &[u8]) -> Result<Response, MechanismError> {
        match std::mem::replace(&mut self.state, State::Over) {
            State::First => self.first(payload),
            State::Final { username, cbind_input, nonce, auth_message } => {
                let expected = Expected {
                    cbind_input: &cbind_input,
                    nonce: &nonce,
                    auth_message: &auth_message,
                };
                let data = self.last(payload, expected)?;
                Ok(Response::Success(Identity::Username(username), data))
            }
            State::Over => Err(MechanismError::SaslSessionAlreadyOver),
        }
    }
}

/// gs2-cbind-flag of RFC 5802 §7.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Gs2Flag<'a> {
    /// `n`: the client cannot bind.
    Unsupported,
    /// `y`: the client can, but believes that the server cannot.
    NotOffered,
    /// `p=name`: the client binds.
    Bound(&'a str),
}

/// client-first-message of RFC 5802 §7, names unescaped.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct ClientFirst<'a> {
    pub flag: Gs2Flag<'a>,
    pub authzid: Option<String>,
    pub username: String,
    gs2_header: &'a str,
    bare: &'a str,
    nonce: &'a str,
}

impl<'a> ClientFirst<'a> {
    /// `None` for text that the grammar does not allow, a reserved `m=` included.
    pub fn parse(text: &'a str) -> Option<Self> {
        let (flag, rest) = text.split_once(',')?;
        let (authzid, bare) = rest.split_once(',')?;
        let flag = match flag {
            "n" => Gs2Flag::Unsupported,
            "y" => Gs2Flag::NotOffered,
            _ => Gs2Flag::Bound(flag.strip_prefix("p=").filter(|name| is_cb_name(name))?),
        };
        let authzid = match authzid {
            "" => None,
            _ => Some(saslname(authzid.strip_prefix("a=")?)?),
        };
        let mut attributes = bare.split(',');
        let username = saslname(attributes.next()?.strip_prefix("n=")?)?;
        let nonce = attributes.next()?.strip_prefix("r=").filter(|nonce| is_nonce(nonce))?;
        let gs2_header = text.strip_suffix(bare)?;
        extensions_ok(attributes).then_some(Self {
            flag,
            authzid,
            username,
            gs2_header,
            bare,
            nonce,
        })
    }
}

/// client-final-message of RFC 5802 §7.
struct ClientFinal<'a> {
    cbind_input: &'a str,
    nonce: &'a str,
    without_proof: &'a str,
    proof: &'a str,
}

impl<'a> ClientFinal<'a> {
    fn parse(text: &'a str) -> Option<Self> {
        // The proof comes last and has no comma.
        let (without_proof, proof) = text.rsplit_once(',')?;
        let proof = proof.strip_prefix("p=")?;
        let mut attributes = without_proof.split(',');
        let cbind_input = attributes.next()?.strip_prefix("c=")?;
        let nonce = attributes.next()?.strip_prefix("r=")?;
        extensions_ok(attributes).then_some(Self { cbind_input, nonce, without_proof, proof })
    }
}

/// Whether the extensions are valid. Unknown ones are ignored, but must be well-formed and may not occur
/// twice; `m`, and attributes that have their own place, are not extensions (RFC 5802 §5.1, §7).
fn extensions_ok<'a>(attributes: impl Iterator<Item = &'a str>) -> bool {
    let mut seen = Vec::new();
    for attribute in attributes {
        let (name, value) = match attribute.as_bytes() {
            [name, b'=', value @ ..] => (*name, value),
            _ => return false,
        };
        let known = b"anmrcsipve".contains(&name);
        if known || !name.is_ascii_alphabetic() || value.is_empty() || value.contains(&0) {
            return false;
        }
        if seen.contains(&name) {
            return false;
        }
        seen.push(name);
    }
    true
}

/// saslname of RFC 5802 §7: `=2C` and `=3D` are the only escapes; any other `=` is invalid.
fn saslname(text: &str) -> Option<String> {
    if text.is_empty() || text.contains('\0') {
        return None;
    }
    let mut pieces = text.split('=');
    let mut name = pieces.next()?.to_owned();
    for piece in pieces {
        if let Some(rest) = piece.strip_prefix("2C") {
            name.push(',');
            name.push_str(rest);
        } else {
            name.push('=');
            name.push_str(piece.strip_prefix("3D")?);
        }
    }
    Some(name)
}

fn is_cb_name(name: &str) -> bool {
    !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'.' || b == b'-')
}

fn is_nonce(nonce: &str) -> bool {
    !nonce.is_empty() && nonce.bytes().all(|b| b.is_ascii_graphic() && b != b',')
}

fn utf8(payload: &[u8]) -> Result<&str, MechanismError> {
    std::str::from_utf8(payload).map_err(|_| MechanismError::FailedToDecodeMessage)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stream::sasl::{hash, keys};

    fn setup(hash: HashName, salt: &str, nonce: &str) -> Setup {
        let salt = unbase64(salt).unwrap();
        Setup {
            keys: keys::derive("pencil", hash, &salt, 4096).ok().unwrap(),
            known: true,
            binding: Vec::new(),
            server_nonce: nonce.to_owned(),
            downgrade_hash: None,
        }
    }

    /// Takes the messages of client and server in turn, as a specification prints them.
    fn check(setup: Setup, [c1, s1, c2, s2]: [&str; 4]) {
        let mut scram = mechanism(setup);
        assert_eq!(scram.respond(c1.as_bytes()), Ok(Response::Proceed(s1.into())));
        let success = Response::Success(Identity::Username("user".to_owned()), s2.into());
        assert_eq!(scram.respond(c2.as_bytes()), Ok(success));
        let over = Err(MechanismError::SaslSessionAlreadyOver);
        assert_eq!(scram.respond(c2.as_bytes()), over);
    }

    #[test]
    fn the_example_of_rfc_5802() {
        check(
            setup(HashName::Sha1, "QSXCR+Q6sek8bf92", "3rfcNHYJY1ZVvWVs7j"),
            [
                "n,,n=user,r=fyko+d2lbbFgONRv9qkxdawL",
                "r=fyko+d2lbbFgONRv9qkxdawL3rfcNHYJY1ZVvWVs7j,s=QSXCR+Q6sek8bf92,i=4096",
                "c=biws,r=fyko+d2lbbFgONRv9qkxdawL3rfcNHYJY1ZVvWVs7j,\
                 p=v0X8v3Bz2T0CJGbJQyF0X+HI4Ts=",
                "v=rmF9pqV8S7suAoZWja4dJRkFsKQ=",
            ],
        );
    }

    #[test]
    fn the_example_of_rfc_7677() {
        check(
            setup(HashName::Sha256, "W22ZaJ0SNY7soEsUEjb6gQ==", "%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0"),
            [
                "n,,n=user,r=rOprNGfwEbeRWgbNEkqO",
                "r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,\
                 s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096",
                "c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,\
                 p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=",
                "v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=",
            ],
        );
    }

    /// XEP-0474 §6.3: channel binding, `h`, and an extension by the client.
    #[test]
    fn the_example_of_xep_0474() {
        let protected = "SCRAM-SHA-1\x1eSCRAM-SHA-1-PLUS\x1ftls-exporter\x1etls-server-end-point";
        let nonce = "a09117a6-ac50-4f2f-93f1-93799c2bddf6";
        check(
            Setup {
                binding: b"THIS IS FAKE CB DATA".to_vec(),
                downgrade_hash: Some(base64(&hash::digest(HashName::Sha1, protected.as_bytes()))),
                ..setup(HashName::Sha1, "QSXCR+Q6sek8bf92", nonce)
            },
            [
                "p=tls-exporter,,n=user,r=12C4CD5C-E38E-4A98-8F6D-15C38F51CCC6",
                "r=12C4CD5C-E38E-4A98-8F6D-15C38F51CCC6a09117a6-ac50-4f2f-93f1-93799c2bddf6,\
                 s=QSXCR+Q6sek8bf92,i=4096,h=G6k/rBLDqgOhRRaCuuatSDFkJ08=",
                "c=cD10bHMtZXhwb3J0ZXIsLFRISVMgSVMgRkFLRSBDQiBEQVRB,\
                 r=12C4CD5C-E38E-4A98-8F6D-15C38F51CCC6a09117a6-ac50-4f2f-93f1-93799c2bddf6,\
                 x=19C6532F-1CF4-4A27-A18D-DC9CEA41BBB3,p=M/SIDjT+dfcxUh89jZEypRvFxB4=",
                "v=MQrMPvv7yv4x4Cq4W4Ih25EqS2c=",
            ],
        );
    }

    /// The right proof for an account that is not known does not help.
    #[test]
    fn an_unknown_account_never_succeeds() {
        let known = setup(HashName::Sha1, "QSXCR+Q6sek8bf92", "3rfcNHYJY1ZVvWVs7j");
        let mut scram = mechanism(Setup { known: false, ..known });
        scram.respond(b"n,,n=user,r=fyko+d2lbbFgONRv9qkxdawL").unwrap();
        let last = b"c=biws,r=fyko+d2lbbFgONRv9qkxdawL3rfcNHYJY1ZVvWVs7j,\
                     p=v0X8v3Bz2T0CJGbJQyF0X+HI4Ts=";
        assert_eq!(scram.respond(last), Err(MechanismError::AuthenticationFailed));
    }

    #[test]
    fn first_messages() {
        for (text, username, authzid) in [
            ("n,,n=user,r=a", "user", None),
            ("y,,n=user,r=a", "user", None),
            ("p=tls-exporter,,n=user,r=a,x=1,y=a=b", "user", None),
            ("n,a=adm=2Cin,n=u=3Dser=2C,r=!~", "u=ser,", Some("adm,in")),
            ("n,,n=\u{e9},r=a", "\u{e9}", None),
        ] {
            let first = ClientFirst::parse(text).expect(text);
            assert_eq!((first.username.as_str(), first.authzid.as_deref()), (username, authzid));
            assert_eq!(format!("{}{}", first.gs2_header, first.bare), text);
        }
        for bad in [
            "",
            ",",
            ",,",
            "n",
            "n,",
            "n,,",
            "n=user,r=a",
            ",,n=user,r=a",
            "x,,n=user,r=a",
            "N,,n=user,r=a",
            "p,,n=user,r=a",
            "p=,,n=user,r=a",
            "p=a_b,,n=user,r=a",
            "y=,,n=user,r=a",
            "n,user,n=user,r=a",
            "n,a=,n=user,r=a",
            "n,a==,n=user,r=a",
            "n,n=user,r=a",
            "n,,n=user",
            "n,,n=user,",
            "n,,n=user,r=",
            "n,,n=,r=a",
            "n,,r=a,n=user",
            "n,,n=us=er,r=a",
            "n,,n=us=2cer,r=a",
            "n,,n=user=,r=a",
            "n,,n=user=2,r=a",
            "n,,n=u\0,r=a",
            "n,,m=x,n=user,r=a",
            "n,,n=user,m=x,r=a",
            "n,,n=user,r=a,m=x",
            "n,,n=user,r=a,n=other",
            "n,,n=user,r=a,r=b",
            "n,,n=user,r=a,",
            "n,,n=user,r=a,x",
            "n,,n=user,r=a,x=",
            "n,,n=user,r=a,1=a",
            "n,,n=user,r=a,x=1,x=2",
            "n,,n=user,r=a b",
            "n,,n=user,r=\u{e9}",
            "n,,n=user,r=a\x7f",
            "n,,n=user,r=a,xy=1",
            "n,,n=user,r=a,x=\0",
        ] {
            assert_eq!(ClientFirst::parse(bad), None, "{bad:?}");
        }
    }

    #[test]
    fn final_messages() {
        for good in ["c=biws,r=a,p=YQ==", "c=biws,r=a,x=1,p=YQ=="] {
            assert!(ClientFinal::parse(good).is_some(), "{good:?}");
        }
        for bad in [
            "",
            "p=YQ==",
            "c=biws,p=YQ==",
            "r=a,c=biws,p=YQ==",
            "c=biws,r=a",
            "c=biws,p=YQ==,r=a",
            "c=biws,r=a,p=YQ==,x=1",
            "c=biws,r=a,m=1,p=YQ==",
            "c=biws,r=a,r=b,p=YQ==",
            "c=biws,r=a,p=YQ==,p=YQ==",
            "c=biws,r=a,,p=YQ==",
            "m=1,c=biws,r=a,p=YQ==",
        ] {
            assert!(ClientFinal::parse(bad).is_none(), "{bad:?}");
        }
    }
}
