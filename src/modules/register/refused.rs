//! Why no account is made, or no password set: what clients get as an error, and people on pages as a text.

use crate::stanza::StanzaError;
use crate::stanza::error::ErrorType;
use crate::store::tx::StoreError;
use crate::stream::sasl::keys::PasswordError;

/// The reasons.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Refused {
    /// Nobody makes accounts here but the operator.
    Closed,
    /// Only who was invited makes one.
    Uninvited,
    /// The way here is not encrypted.
    Unsafe,
    /// There is no name.
    NoName,
    /// The name has characters that an address cannot have.
    NameCharacters,
    /// The name makes no address.
    NoAddress,
    /// The invitation is for this name.
    OtherName(String),
    /// The name is one that only the operator gives.
    Reserved,
    /// The name looks like such a one.
    LooksReserved,
    /// The name mixes scripts.
    MixesScripts,
    /// Somebody has the name.
    Taken,
    /// There is no password.
    NoPassword,
    /// It cannot be one.
    Password(PasswordError),
    /// It has fewer characters than these.
    PasswordShort(usize),
    /// The address made as many accounts as it may in an hour.
    TooManyAccounts,
    /// The address found as many names taken as it may in an hour.
    TooManyNames,
    /// Too many others wait for their passwords to be hashed.
    Busy,
    /// The invitation was used or taken back meanwhile.
    Spent,
    /// Anything else.
    Failed(StanzaError),
}

impl From<StanzaError> for Refused {
    fn from(error: StanzaError) -> Self {
        Self::Failed(error)
    }
}

impl From<StoreError> for Refused {
    fn from(error: StoreError) -> Self {
        Self::Failed(error.into())
    }
}

impl From<PasswordError> for Refused {
    fn from(error: PasswordError) -> Self {
        Self::Password(error)
    }
}

impl From<Refused> for StanzaError {
    fn from(refused: Refused) -> Self {
        // XEP-0077 §3.1: missing or unusable fields get not-acceptable; a name that is not to be had
        // conflict, so that the client prompts for another one.
        let unacceptable = |text: &'static str| StanzaError::not_acceptable().text(text);
        let later =
            |text: &'static str| StanzaError::resource_constraint().kind(ErrorType::Wait).text(text);
        match refused {
            Refused::Closed => StanzaError::service_unavailable(),
            Refused::Uninvited => StanzaError::forbidden()
                .text("accounts are made by invitation here: open the link of one first"),
            // §3.3
            Refused::Unsafe => {
                StanzaError::not_authorized().text("passwords are taken over TLS only")
            }
            Refused::NoName => unacceptable("a username is needed"),
            Refused::NameCharacters => {
                unacceptable("the username has characters that an address cannot have")
            }
            Refused::NoAddress => unacceptable("the username makes no address"),
            Refused::OtherName(wanted) => StanzaError::not_acceptable()
                .text(format!("this invitation is for the username {wanted}")),
            Refused::Reserved => {
                StanzaError::conflict().text("this name is reserved; choose another one")
            }
            Refused::LooksReserved => unacceptable("the username looks like one that is reserved"),
            Refused::MixesScripts => unacceptable("the username mixes scripts"),
            Refused::Taken => StanzaError::conflict(),
            Refused::NoPassword => unacceptable("a password is needed"),
            Refused::Password(error) => StanzaError::not_acceptable().text(error.to_string()),
            Refused::PasswordShort(least) => StanzaError::not_acceptable()
                .text(format!("a password needs at least {least} characters here")),
            Refused::TooManyAccounts => {
                later("too many accounts were made from this address; try again in an hour")
            }
            Refused::TooManyNames => {
                later("too many names were tried from this address; try again in an hour")
            }
            Refused::Busy => later("too many passwords are being set; try again in a moment"),
            Refused::Spent => StanzaError::forbidden()
                .text("the link was used or taken back meanwhile; ask for another one"),
            Refused::Failed(error) => error,
        }
    }
}
