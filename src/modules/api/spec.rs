//! What a module declares about itself: specifications, identities, features.

/// A specification and how far it is implemented.
#[derive(Debug, Clone, Copy)]
pub struct Spec {
    /// An RFC with its section, or a XEP.
    pub name: &'static str,
    /// The version that was implemented, for XEPs.
    pub version: &'static str,
    /// How far it is implemented.
    pub state: State,
    /// The test that proves it: a file under `tests/`, or one under `src/` that contains tests.
    pub test: &'static str,
}

impl Spec {
    /// A specification that is implemented completely on the server's side.
    pub const fn whole(name: &'static str, version: &'static str, test: &'static str) -> Self {
        Self { name, version, state: State::Complete, test }
    }

    /// A specification of which `missing` is not implemented.
    pub const fn partial(
        name: &'static str,
        version: &'static str,
        missing: &'static str,
        test: &'static str,
    ) -> Self {
        Self { name, version, state: State::Partial(missing), test }
    }
}

/// How far a specification is implemented on the server's side.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// Everything that concerns a server is implemented.
    Complete,
    /// Parts are missing; this text goes into docs/specs.md.
    Partial(&'static str),
}

/// Where a disco feature is announced.
#[derive(Debug, Clone, Copy)]
pub enum On {
    /// On a hosted domain.
    Server(&'static str),
    /// On an account's bare JID.
    Account(&'static str),
    /// On the domain of every service.
    Service(&'static str),
}

impl On {
    /// The feature, if it belongs to hosted domains.
    pub const fn server(self) -> Option<&'static str> {
        match self {
            Self::Server(feature) => Some(feature),
            Self::Account(_) | Self::Service(_) => None,
        }
    }

    /// The feature, if it belongs to accounts.
    pub const fn account(self) -> Option<&'static str> {
        match self {
            Self::Account(feature) => Some(feature),
            Self::Server(_) | Self::Service(_) => None,
        }
    }

    /// The feature, if it belongs to services.
    pub const fn service(self) -> Option<&'static str> {
        match self {
            Self::Service(feature) => Some(feature),
            Self::Server(_) | Self::Account(_) => None,
        }
    }
}

/// A form about hosted domains, in what service discovery says of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InfoForm {
    /// Its FORM_TYPE; no other form has the same.
    pub form_type: &'static str,
    /// Its other fields.
    pub fields: Vec<InfoField>,
}

/// A field of such a form.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InfoField {
    /// `list-multi`, `boolean`, …
    pub ty: &'static str,
    /// Its name.
    pub var: &'static str,
    /// Its values.
    pub values: Vec<String>,
}

/// Whether a text is a URI, as far as that shows without its scheme's rules (RFC 3986 §3.1, §2).
pub fn is_uri(text: &str) -> bool {
    let Some((scheme, rest)) = text.split_once(':') else { return false };
    let mut letters = scheme.chars();
    letters.next().is_some_and(|first| first.is_ascii_alphabetic())
        && letters.all(|c| c.is_ascii_alphanumeric() || "+-.".contains(c))
        && !rest.is_empty()
        && text.len() <= URI_BYTES_MAX
        && !text.chars().any(|c| c.is_whitespace() || c.is_control() || "<>\"{}|\\^`".contains(c))
}

/// Everybody who asks is sent it.
const URI_BYTES_MAX: usize = 1_000;

/// An identity of an entity (XEP-0030 §3.1). Its order is that of XEP-0115 §5.1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Identity {
    /// `server`, `account`, …
    pub category: &'static str,
    /// `im`, `registered`, …
    pub ty: &'static str,
    /// A name for people.
    pub name: Option<&'static str>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_uri_has_a_scheme_and_no_spaces() {
        for (text, right) in [
            ("mailto:abuse@example.org", true),
            ("xmpp:admins@example.org?message", true),
            ("https://example.org/feedback.php", true),
            ("abuse@example.org", false),
            ("mailto:", false),
            (":x", false),
            ("1a:x", false),
            ("mail to:x", false),
            ("https://example.org/a b", false),
            ("https://example.org/<x>", false),
            (&format!("x:{}", "y".repeat(URI_BYTES_MAX)), false),
        ] {
            assert_eq!(is_uri(text), right, "{text}");
        }
    }
}
