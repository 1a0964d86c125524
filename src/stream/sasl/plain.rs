//! PLAIN (RFC 4616): the password itself, checked against the stored keys.

use super::hash;
use super::keys;
use crate::base::credential::ScramKeys;
use crate::base::hash::same_secret;

/// The one message. No `Debug`: it holds the password.
pub(super) struct PlainMessage<'a> {
    pub authzid: Option<&'a str>,
    pub authcid: &'a str,
    password: &'a str,
}

impl<'a> PlainMessage<'a> {
    /// `None` for a message that RFC 4616 §2 does not allow: it has exactly two NULs, and neither name nor
    /// password is empty.
    pub fn parse(payload: &'a [u8]) -> Option<Self> {
        let text = std::str::from_utf8(payload).ok()?;
        let mut fields = text.split('\0');
        let (authzid, authcid, password) = (fields.next()?, fields.next()?, fields.next()?);
        if fields.next().is_some() || authcid.is_empty() || password.is_empty() {
            return None;
        }
        let authzid = Some(authzid).filter(|authzid| !authzid.is_empty());
        Some(Self { authzid, authcid, password })
    }

    /// The password after SASLprep; `None` if no account can have it.
    pub fn password(&self) -> Option<String> {
        keys::prepare(self.password).ok().map(String::from)
    }
}

/// The expensive part of an attempt: call `run` where blocking is allowed.
/// No `Debug`: it holds the password.
pub struct Work {
    /// The prepared password.
    pub(super) password: String,
    /// The account's keys, or fake ones, so that unknown users cost the same.
    pub(super) keys: ScramKeys,
    /// Whether the keys belong to an account.
    pub(super) known: bool,
    /// The account of the attempt.
    pub(super) localpart: String,
}

/// The result of [`Work::run`], for [`super::Exchange::worked`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WorkDone {
    pub(super) matches: bool,
    /// Whether there is such an account.
    pub(super) known: bool,
    /// The account of the attempt: a late result of one attempt must not decide another.
    pub(super) localpart: String,
}

impl Work {
    /// Runs PBKDF2 over the password and compares in constant time.
    pub fn run(self) -> WorkDone {
        let keys = &self.keys;
        let made = hash::keys(keys.hash, &self.password, &keys.salt, keys.iterations);
        let same = made.is_some_and(|(stored_key, _)| same_secret(&stored_key, &keys.stored_key));
        WorkDone { matches: same & self.known, known: self.known, localpart: self.localpart }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages() {
        for (payload, want) in [
            (&b"\0user\0pencil"[..], Some((None, "user", "pencil"))),
            (b"a@b\0user\0pen cil", Some((Some("a@b"), "user", "pen cil"))),
            (b"", None),
            (b"\0", None),
            (b"\0\0", None),
            (b"\0user\0", None),
            (b"\0\0pencil", None),
            (b"user\0pencil", None),
            (b"\0user\0pencil\0", None),
            (b"\0user\0pencil\0more", None),
            (b"\0us\xffer\0pencil", None),
        ] {
            let got = PlainMessage::parse(payload);
            let got = got.as_ref().map(|m| (m.authzid, m.authcid, m.password));
            assert_eq!(got, want, "{payload:?}");
        }
    }
}
