//! The conditions of a `<failure/>` (RFC 6120 §6.5), and what is behind them.

use std::fmt;

/// Why an attempt failed; each is an element in the SASL namespace.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum SaslFailure {
    /// RFC 6120 §6.5.1: the client sent `<abort/>`.
    Aborted,
    /// RFC 6120 §6.5.2: right credentials, but the account may not be used for now.
    AccountDisabled,
    /// RFC 6120 §6.5.3: right credentials, but too old.
    CredentialsExpired,
    /// RFC 6120 §6.5.4: the mechanism needs TLS first.
    EncryptionRequired,
    /// RFC 6120 §6.5.5: not base64.
    IncorrectEncoding,
    /// RFC 6120 §6.5.6: an authorization identity that is malformed or not the client's own.
    InvalidAuthzid,
    /// RFC 6120 §6.5.7: no mechanism named, or none of those offered.
    InvalidMechanism,
    /// RFC 6120 §6.5.8: against the syntax of the mechanism, or not what the moment asks for.
    MalformedRequest,
    /// RFC 6120 §6.5.9: policy wants a stronger mechanism.
    MechanismTooWeak,
    /// RFC 6120 §6.5.10: wrong credentials, an unknown user, and all that must look like them.
    NotAuthorized,
    /// RFC 6120 §6.5.11: our own trouble; try later.
    TemporaryAuthFailure,
}

impl SaslFailure {
    /// All of them, in the order of RFC 6120.
    pub const ALL: [Self; 11] = [
        Self::Aborted,
        Self::AccountDisabled,
        Self::CredentialsExpired,
        Self::EncryptionRequired,
        Self::IncorrectEncoding,
        Self::InvalidAuthzid,
        Self::InvalidMechanism,
        Self::MalformedRequest,
        Self::MechanismTooWeak,
        Self::NotAuthorized,
        Self::TemporaryAuthFailure,
    ];

    /// The name of the element.
    pub const fn condition(self) -> &'static str {
        match self {
            Self::Aborted => "aborted",
            Self::AccountDisabled => "account-disabled",
            Self::CredentialsExpired => "credentials-expired",
            Self::EncryptionRequired => "encryption-required",
            Self::IncorrectEncoding => "incorrect-encoding",
            Self::InvalidAuthzid => "invalid-authzid",
            Self::InvalidMechanism => "invalid-mechanism",
            Self::MalformedRequest => "malformed-request",
            Self::MechanismTooWeak => "mechanism-too-weak",
            Self::NotAuthorized => "not-authorized",
            Self::TemporaryAuthFailure => "temporary-auth-failure",
        }
    }

    /// The reverse of [`Self::condition`].
    pub fn parse(condition: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|failure| failure.condition() == condition)
    }
}

/// Why an attempt ended. The client is told the condition alone; the log and the throttle get the rest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// The condition says it all.
    Failed(SaslFailure),
    /// The account is there, and its password is another.
    WrongPassword,
    /// There is no such account, or none with keys for this mechanism.
    NoAccount,
    /// The user name is no localpart, so it is nobody's.
    NoName,
    /// The password cannot be prepared, so it is nobody's.
    NoPassword,
    /// The client wants to bind to what this stream does not have (RFC 5802 §6).
    NoBinding(&'static str),
    /// RFC 5802 §6: the client was told that we cannot bind, which is not so.
    Downgrade,
    /// RFC 5801 §5: the client's flag does not go with the mechanism's name.
    WrongFlag,
    /// The password is right, and bound to another channel than this one.
    OtherChannel,
    /// The secret is right, and the stream's header is in another name.
    OtherName,
}

impl Refusal {
    /// What the client is told.
    pub const fn failure(self) -> SaslFailure {
        match self {
            Self::Failed(failure) => failure,
            Self::WrongFlag => SaslFailure::MalformedRequest,
            Self::OtherName => SaslFailure::InvalidAuthzid,
            Self::WrongPassword
            | Self::NoAccount
            | Self::NoName
            | Self::NoPassword
            | Self::NoBinding(_)
            | Self::Downgrade
            | Self::OtherChannel => SaslFailure::NotAuthorized,
        }
    }

    /// The name of its element.
    pub const fn condition(self) -> &'static str {
        self.failure().condition()
    }

    /// The secret of an account was looked at and let nobody in: what a guess ends with, where keys were
    /// looked up. All else tells a guesser nothing of any password, and slows nobody down.
    pub const fn is_guess(self) -> bool {
        match self {
            Self::WrongPassword | Self::NoAccount | Self::OtherName => true,
            Self::Failed(_)
            | Self::NoName
            | Self::NoPassword
            | Self::NoBinding(_)
            | Self::Downgrade
            | Self::WrongFlag
            | Self::OtherChannel => false,
        }
    }

    /// The client knows the password, and may not come in all the same.
    pub const fn is_of_a_right_password(self) -> bool {
        matches!(self, Self::OtherChannel | Self::Failed(SaslFailure::AccountDisabled))
    }
}

impl From<SaslFailure> for Refusal {
    fn from(failure: SaslFailure) -> Self {
        Self::Failed(failure)
    }
}

/// For the log.
impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Failed(failure) => failure.condition(),
            Self::WrongPassword => "wrong password",
            Self::NoAccount => "no such account, or it has no keys for this mechanism",
            Self::NoName => "the user name can be nobody's",
            Self::NoPassword => "the password can be nobody's",
            Self::NoBinding(name) => {
                return write!(f, "the client binds to {name}, which this stream does not have");
            }
            Self::Downgrade => {
                "the client says that the server cannot bind to the channel, though it offered to: an \
                 old client, or somebody in between"
            }
            Self::WrongFlag => "the client's channel binding does not go with the mechanism",
            Self::OtherChannel => {
                "the password is right, but bound to another channel: somebody is in between, such as \
                 a TLS proxy"
            }
            Self::OtherName => "the stream's header is in another name",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_condition_reads_back() {
        for failure in SaslFailure::ALL {
            assert_eq!(SaslFailure::parse(failure.condition()), Some(failure));
        }
        assert!(SaslFailure::ALL.is_sorted_by_key(|failure| failure.condition()));
        assert_eq!(SaslFailure::parse("bad-auth"), None);
    }
}
