//! Nicknames (RFC 8266): as they are shown, and as they are compared.

use crate::jid::precis;
use crate::stanza::StanzaError;

/// A nickname that can be used in a room.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Nick {
    /// As it is shown: the resourcepart of the occupant's address.
    pub text: Box<str>,
    /// Equal for nicknames that people take for the same (RFC 8266 §2.4).
    pub key: Box<str>,
}

impl Nick {
    /// The nickname for a resourcepart that a client wrote. The room's form of it may differ: then the client is told
    /// so (XEP-0045 §7.2.3).
    pub fn of(resource: &str, bytes_max: usize) -> Result<Self, StanzaError> {
        let (Some(text), Some(key)) = (precis::nickname(resource), precis::nickname_key(resource))
        else {
            return Err(StanzaError::not_acceptable().text(
                "this nickname has characters that cannot be used in one, or nothing but spaces",
            ));
        };
        if text.len() > bytes_max {
            return Err(StanzaError::not_acceptable().text("this nickname is too long"));
        }
        Ok(Self { text: text.into(), key: key.into() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn nick(text: &str) -> Nick {
        Nick::of(text, 100).unwrap()
    }

    #[test]
    fn what_looks_the_same_is_the_same() {
        for (one, other) in [("Ann", "ann"), ("Ann ", "Ann"), ("a  b", "A b"), ("ﬁsh", "fish")] {
            assert_eq!(nick(one).key, nick(other).key, "{one} {other}");
        }
        assert_ne!(nick("ann").key, nick("anna").key);
        assert_eq!(&*nick(" Foo  Bar ").text, "Foo Bar");
    }

    #[test]
    fn what_is_no_nickname_is_refused_with_a_reason() {
        for text in ["", "  ", "\u{200e}", "a\u{7}b", &"x".repeat(101)] {
            assert!(Nick::of(text, 100).unwrap_err().text.is_some(), "{text:?}");
        }
    }
}
