//! The conditions of a `<failure/>` (RFC 6120 §6.5).

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
