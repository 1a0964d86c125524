//! The conditions of a `<failure/>` (RFC 6120 §6.5), and the reasons behind them.

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
    /// RFC 6120 §6.5.8: against the syntax of the mechanism, or not expected at this point.
    MalformedRequest,
    /// RFC 6120 §6.5.9: policy wants a stronger mechanism.
    MechanismTooWeak,
    /// RFC 6120 §6.5.10: wrong credentials, an unknown user, and all that must look like them.
    NotAuthorized,
    /// RFC 6120 §6.5.11: a fault of the server's; the client may try later.
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

/// Why an attempt ended. The client receives only the condition; the log and the throttle get the rest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// The condition says everything.
    Failed(SaslFailure),
    /// The account exists, and its password is another.
    WrongPassword,
    /// There is no such account, or none with keys for this mechanism.
    NoAccount,
    /// The user name is not a localpart, so no account has it.
    NoName,
    /// The password cannot be prepared, so no account has it.
    NoPassword,
    /// The client wants to bind to something that this stream does not have (RFC 5802 §6).
    NoBinding(&'static str),
    /// RFC 5802 §6: the client believes that the server cannot bind to the channel, but the server offered
    /// it.
    Downgrade,
    /// RFC 5801 §5: the client's flag does not match the mechanism's name.
    WrongFlag,
    /// The password is right, but bound to another channel than this one.
    OtherChannel,
    /// The secret is right, but the stream's header is in another name.
    OtherName,
}

impl Refusal {
    /// The condition that the client receives.
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

    /// The name of that condition's element.
    pub const fn condition(self) -> &'static str {
        self.failure().condition()
    }

    /// Whether the client's secret was checked and did not log it in, as with a guess, after keys were
    /// looked up. All other failures reveal nothing about any password, and delay nobody.
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

    /// Whether the client knows the password, but is refused all the same.
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
