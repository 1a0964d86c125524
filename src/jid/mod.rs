//! Addresses (RFC 7622): one shared string in normal form with the offsets of its parts.
//!
//! An address is normalised once, when it is parsed; from then on it is compared, hashed and sorted byte for
//! byte. A map keyed by addresses can be searched with a `&str` in normal form.

mod error;
pub mod precis;
pub mod prep;

pub use error::{JidError, Part};

use std::borrow::{Borrow, Cow};
use std::cmp::Ordering;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::ops::Deref;
use std::str::FromStr;
use std::sync::Arc;

/// Any address: `domain`, `local@domain`, `domain/resource` or `local@domain/resource`.
/// Always in normal form; cloning only increments a reference count.
#[derive(Clone)]
pub struct Jid {
    text: Arc<str>,
    /// Offset of `@`, or `NONE`.
    at: u16,
    /// Offset of the first `/` after the domain, or `NONE`.
    slash: u16,
}

/// An address without a resourcepart.
#[derive(Clone)]
pub struct BareJid(Jid);

/// An address with a resourcepart.
#[derive(Clone)]
pub struct FullJid(Jid);

impl Jid {
    /// Parses and normalises an address.
    pub fn parse(text: &str) -> Result<Self, JidError> {
        // RFC 7622 §3.2: the first `/`, then the first `@` before it, both before any mapping.
        let (rest, resource) = match text.split_once('/') {
            Some((rest, resource)) => (rest, Some(resource)),
            None => (text, None),
        };
        let (local, domain) = match rest.split_once('@') {
            Some((local, domain)) => (Some(local), domain),
            None => (None, rest),
        };
        let local = local.map(prep::localpart).transpose()?;
        let domain = prep::domainpart(domain)?;
        let resource = resource.map(prep::resourcepart).transpose()?;
        Ok(Self::join(local.as_deref(), &domain, resource.as_deref()))
    }

    /// An address that is known to be in normal form, as it was parsed before.
    pub fn normal(text: &str) -> Self {
        let slash = text.find('/');
        let at = text.get(..slash.unwrap_or(text.len())).and_then(|rest| rest.find('@'));
        let offset = |at: Option<usize>| at.and_then(|at| u16::try_from(at).ok()).unwrap_or(NONE);
        Self { text: text.into(), at: offset(at), slash: offset(slash) }
    }

    /// The whole address.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The part before `@`.
    pub fn local(&self) -> Option<&str> {
        if self.at == NONE { None } else { self.text.get(..usize::from(self.at)) }
    }

    /// The domainpart.
    pub fn domain(&self) -> &str {
        let start = if self.at == NONE { 0 } else { usize::from(self.at) + 1 };
        self.bare_str().get(start..).unwrap_or_default()
    }

    /// The part after the first `/`.
    pub fn resource(&self) -> Option<&str> {
        if self.slash == NONE { None } else { self.text.get(usize::from(self.slash) + 1..) }
    }

    /// The address without its resourcepart, as text.
    pub fn bare_str(&self) -> &str {
        if self.slash == NONE {
            &self.text
        } else {
            self.text.get(..usize::from(self.slash)).unwrap_or_default()
        }
    }

    /// The address without its resourcepart.
    pub fn bare(&self) -> BareJid {
        if self.slash == NONE {
            return BareJid(self.clone());
        }
        BareJid(Self { text: self.bare_str().into(), at: self.at, slash: NONE })
    }

    /// The domainpart as an address.
    pub fn domain_jid(&self) -> BareJid {
        if self.at == NONE && self.slash == NONE {
            return BareJid(self.clone());
        }
        BareJid(Self { text: self.domain().into(), at: NONE, slash: NONE })
    }

    /// This address as a [`FullJid`], if it has a resourcepart.
    pub fn to_full(self) -> Option<FullJid> {
        self.is_full().then_some(FullJid(self))
    }

    /// This address as a [`BareJid`], if it has no resourcepart; nothing is cut off.
    pub fn to_bare(self) -> Option<BareJid> {
        self.is_bare().then_some(BareJid(self))
    }

    /// Whether there is no resourcepart.
    pub fn is_bare(&self) -> bool {
        self.slash == NONE
    }

    /// Whether there is a resourcepart.
    pub fn is_full(&self) -> bool {
        self.slash != NONE
    }

    /// Whether there is only a domainpart.
    pub fn is_domain(&self) -> bool {
        self.at == NONE && self.slash == NONE
    }

    /// Joins prepared parts.
    fn join(local: Option<&str>, domain: &str, resource: Option<&str>) -> Self {
        let mut text = String::with_capacity(
            domain.len() + local.map_or(0, |s| s.len() + 1) + resource.map_or(0, |s| s.len() + 1),
        );
        let (mut at, mut slash) = (NONE, NONE);
        if let Some(local) = local {
            text.push_str(local);
            at = offset(&text);
            text.push('@');
        }
        text.push_str(domain);
        if let Some(resource) = resource {
            slash = offset(&text);
            text.push('/');
            text.push_str(resource);
        }
        Self { text: text.into(), at, slash }
    }
}

impl BareJid {
    /// Parses and normalises an address that must have no resourcepart.
    pub fn parse(text: &str) -> Result<Self, JidError> {
        Jid::parse(text)?.to_bare().ok_or(JidError::HasResource)
    }

    /// Prepares and joins the parts.
    pub fn from_parts(local: Option<&str>, domain: &str) -> Result<Self, JidError> {
        let local = local.map(prep::localpart).transpose()?;
        let domain = prep::domainpart(domain)?;
        Ok(Self(Jid::join(local.as_deref(), &domain, None)))
    }

    /// This address with a resourcepart, which is prepared first.
    pub fn with_resource(&self, resource: &str) -> Result<FullJid, JidError> {
        let resource: Cow<'_, str> = prep::resourcepart(resource)?;
        Ok(FullJid(Jid::join(self.local(), self.domain(), Some(&resource))))
    }
}

impl FullJid {
    /// Parses and normalises an address that must have a resourcepart.
    pub fn parse(text: &str) -> Result<Self, JidError> {
        Jid::parse(text)?.to_full().ok_or(JidError::NoResource)
    }

    /// The part after the first `/`.
    pub fn resource(&self) -> &str {
        self.0.resource().unwrap_or_default()
    }
}

// BareJid and FullJid have the methods of Jid; their own methods shadow those that differ.
impl Deref for BareJid {
    type Target = Jid;
    fn deref(&self) -> &Jid {
        &self.0
    }
}

impl Deref for FullJid {
    type Target = Jid;
    fn deref(&self) -> &Jid {
        &self.0
    }
}

impl From<BareJid> for Jid {
    fn from(jid: BareJid) -> Self {
        jid.0
    }
}

impl From<FullJid> for Jid {
    fn from(jid: FullJid) -> Self {
        jid.0
    }
}

impl From<&BareJid> for Jid {
    fn from(jid: &BareJid) -> Self {
        jid.0.clone()
    }
}

impl From<&FullJid> for Jid {
    fn from(jid: &FullJid) -> Self {
        jid.0.clone()
    }
}

impl AsRef<Jid> for Jid {
    fn as_ref(&self) -> &Jid {
        self
    }
}

impl AsRef<Jid> for BareJid {
    fn as_ref(&self) -> &Jid {
        &self.0
    }
}

impl AsRef<Jid> for FullJid {
    fn as_ref(&self) -> &Jid {
        &self.0
    }
}

/// All three types compare, hash, sort and print as their text, as `Borrow<str>` requires.
macro_rules! as_text {
    ($($ty:ty),*) => {$(
        impl PartialEq for $ty {
            fn eq(&self, other: &Self) -> bool {
                self.as_str() == other.as_str()
            }
        }
        impl Eq for $ty {}
        impl PartialEq<str> for $ty {
            fn eq(&self, other: &str) -> bool {
                self.as_str() == other
            }
        }
        impl PartialEq<&str> for $ty {
            fn eq(&self, other: &&str) -> bool {
                self.as_str() == *other
            }
        }
        impl Ord for $ty {
            fn cmp(&self, other: &Self) -> Ordering {
                self.as_str().cmp(other.as_str())
            }
        }
        impl PartialOrd for $ty {
            fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
                Some(self.cmp(other))
            }
        }
        impl Hash for $ty {
            fn hash<H: Hasher>(&self, state: &mut H) {
                self.as_str().hash(state);
            }
        }
        impl Borrow<str> for $ty {
            fn borrow(&self) -> &str {
                self.as_str()
            }
        }
        impl fmt::Display for $ty {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(self.as_str())
            }
        }
        impl fmt::Debug for $ty {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.as_str())
            }
        }
        impl FromStr for $ty {
            type Err = JidError;
            fn from_str(text: &str) -> Result<Self, JidError> {
                Self::parse(text)
            }
        }
    )*};
}

as_text!(Jid, BareJid, FullJid);

/// Prepared parts are at most 1023 bytes each, so an offset always fits.
fn offset(text: &str) -> u16 {
    u16::try_from(text.len()).unwrap_or(NONE)
}

/// Marks a part that is not there.
const NONE: u16 = u16::MAX;

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::{BTreeSet, HashMap};

    #[test]
    fn a_normal_address_has_the_parts_that_were_parsed() {
        for text in ["x", "a@x", "a@x/r", "x/r", "x/a@b", "a@x/r/s@t"] {
            let (parsed, normal) = (Jid::parse(text).unwrap(), Jid::normal(text));
            let parts = |jid: &Jid| (jid.at, jid.slash);
            assert_eq!((parts(&parsed), parsed.as_str()), (parts(&normal), normal.as_str()));
        }
    }

    /// RFC 7622 §3.5, table 1, and a few more.
    #[test]
    fn good_addresses() {
        for (input, local, domain, resource) in [
            ("juliet@example.com", Some("juliet"), "example.com", None),
            ("juliet@example.com/foo", Some("juliet"), "example.com", Some("foo")),
            ("juliet@example.com/foo bar", Some("juliet"), "example.com", Some("foo bar")),
            ("juliet@example.com/foo@bar", Some("juliet"), "example.com", Some("foo@bar")),
            ("foo\\20bar@example.com", Some("foo\\20bar"), "example.com", None),
            ("fussball@example.com", Some("fussball"), "example.com", None),
            ("fu\u{df}ball@example.com", Some("fu\u{df}ball"), "example.com", None),
            ("\u{3c0}@example.com", Some("\u{3c0}"), "example.com", None),
            ("\u{3a3}@example.com/foo", Some("\u{3c3}"), "example.com", Some("foo")),
            ("\u{3c3}@example.com/foo", Some("\u{3c3}"), "example.com", Some("foo")),
            ("\u{3c2}@example.com/foo", Some("\u{3c2}"), "example.com", Some("foo")),
            ("king@example.com/\u{265a}", Some("king"), "example.com", Some("\u{265a}")),
            ("example.com", None, "example.com", None),
            ("example.com/foobar", None, "example.com", Some("foobar")),
            ("a.example.com/b@example.net", None, "a.example.com", Some("b@example.net")),
            ("Juliet@EXAMPLE.com./Balcony", Some("juliet"), "example.com", Some("Balcony")),
            ("a@[::1]/b/c", Some("a"), "[::1]", Some("b/c")),
        ] {
            let jid = Jid::parse(input).expect(input);
            assert_eq!((jid.local(), jid.domain(), jid.resource()), (local, domain, resource));
            assert_eq!(jid.is_full(), resource.is_some());
            assert_eq!(jid.bare().as_str(), jid.bare_str());
            assert_eq!(jid.domain_jid(), domain);
            assert_eq!(jid.is_domain(), local.is_none() && resource.is_none());
            assert_eq!(BareJid::from_parts(local, domain).unwrap(), jid.bare());
            assert_eq!(jid.clone().to_full().is_some(), FullJid::parse(input).is_ok());
            assert_eq!(jid.clone().to_bare().is_some(), BareJid::parse(input).is_ok());
            if let Some(resource) = resource {
                assert_eq!(Jid::from(jid.bare().with_resource(resource).unwrap()), jid);
            }
        }
    }

    /// RFC 7622 §3.5, table 2, and a few more. None of them has changed with Unicode since.
    #[test]
    fn bad_addresses() {
        use JidError::{Empty, Forbidden};
        use Part::{Domain, Local, Resource};
        for (input, want) in [
            ("\"juliet\"@example.com", Forbidden(Local)),
            ("foo bar@example.com", Forbidden(Local)),
            ("juliet@example.com/ foo", Forbidden(Resource)),
            ("@example.com/", Empty(Local)),
            ("henry\u{2163}@example.com", Forbidden(Local)),
            ("\u{265a}@example.com", Forbidden(Local)),
            ("juliet@", Empty(Domain)),
            ("/foobar", Empty(Domain)),
            ("", Empty(Domain)),
            ("@", Empty(Local)),
            ("example.com/", Empty(Resource)),
            ("a@b@c", Forbidden(Domain)),
            ("\u{200b}@example.com", Forbidden(Local)),
        ] {
            assert_eq!(Jid::parse(input), Err(want), "{input:?}");
        }
        assert_eq!(BareJid::parse("a@b/c"), Err(JidError::HasResource));
        assert_eq!(FullJid::parse("a@b"), Err(JidError::NoResource));
        assert_eq!(Empty(Local).to_string(), "the localpart is empty");
    }

    #[test]
    fn a_map_of_addresses_answers_to_text() {
        let jid = FullJid::parse("A@b/C").unwrap();
        let map = HashMap::from([(jid.bare(), 1)]);
        assert_eq!(map.get("a@b"), Some(&1));
        assert_eq!(map.get(jid.bare_str()), Some(&1));
        assert!(BTreeSet::from([Jid::from(jid)]).contains("a@b/C"));
    }

    #[test]
    fn an_address_is_three_words() {
        assert!(size_of::<Jid>() <= 24);
    }

    proptest! {
        #[test]
        fn what_is_shown_is_what_is_read(text in "\\PC{0,20}|[a-cA-C@/.:\u{e9}\u{ff20}\u{3002} -]{0,12}") {
            if let Ok(jid) = Jid::parse(&text) {
                let again = Jid::parse(&jid.to_string());
                prop_assert_eq!(again.as_ref(), Ok(&jid));
                prop_assert_eq!(again.map(|j| (j.at, j.slash)), Ok((jid.at, jid.slash)));
            }
        }
    }
}
