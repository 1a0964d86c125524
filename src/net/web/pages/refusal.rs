//! Why a form was not done, in the words of the pages.

use axum::http::StatusCode;

use super::texts::{Texts, fill};
use crate::modules::register::Refused;
use crate::stream::sasl::keys::PasswordError;

/// What is said, and of which field.
pub struct Refusal {
    /// For the browser.
    pub status: StatusCode,
    /// The field that is to be corrected, if it is one.
    pub field: Option<Field>,
    /// For the person.
    pub text: String,
    /// Whether there is nothing to correct: the link was used, or nobody makes accounts here.
    pub is_final: bool,
}

/// The fields of the forms.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Field {
    /// The name of the account.
    Name,
    /// The password.
    Password,
    /// The password again.
    Again,
}

/// The two passwords differ.
pub fn differs(t: &Texts) -> Refusal {
    let text = t.error_password_differs.to_owned();
    let status = StatusCode::UNPROCESSABLE_ENTITY;
    Refusal { status, field: Some(Field::Again), text, is_final: false }
}

/// What is said of a refusal.
pub fn of(t: &Texts, refused: &Refused) -> Refusal {
    let wrong = |field, text: &str| {
        let (status, text) = (StatusCode::UNPROCESSABLE_ENTITY, text.to_owned());
        Refusal { status, field: Some(field), text, is_final: false }
    };
    let is_final = matches!(refused, Refused::Spent | Refused::Closed | Refused::Uninvited);
    let other =
        |status, text: &str| Refusal { status, field: None, text: text.to_owned(), is_final };
    match refused {
        Refused::NoName => wrong(Field::Name, t.error_name_missing),
        Refused::NameCharacters | Refused::NoAddress => wrong(Field::Name, t.error_name_characters),
        Refused::OtherName(name) => {
            wrong(Field::Name, &fill(t.error_name_other, &[("name", name)]))
        }
        Refused::Reserved => wrong(Field::Name, t.error_name_reserved),
        Refused::LooksReserved => wrong(Field::Name, t.error_name_like),
        Refused::MixesScripts => wrong(Field::Name, t.error_name_scripts),
        Refused::Taken => wrong(Field::Name, t.error_name_taken),
        Refused::NoPassword | Refused::Password(PasswordError::Empty) => {
            wrong(Field::Password, t.error_password_missing)
        }
        Refused::Password(PasswordError::TooLong) => wrong(Field::Password, t.error_password_long),
        Refused::Password(PasswordError::Forbidden) => {
            wrong(Field::Password, t.error_password_characters)
        }
        Refused::PasswordShort(least) => {
            let count = least.to_string();
            wrong(Field::Password, &fill(t.error_password_short, &[("count", &count)]))
        }
        Refused::TooManyAccounts => other(StatusCode::TOO_MANY_REQUESTS, t.error_accounts),
        Refused::TooManyNames => other(StatusCode::TOO_MANY_REQUESTS, t.error_names),
        Refused::Busy => other(StatusCode::SERVICE_UNAVAILABLE, t.error_busy),
        Refused::Unsafe => other(StatusCode::FORBIDDEN, t.error_unsafe),
        Refused::Closed => other(StatusCode::FORBIDDEN, t.join_closed),
        Refused::Uninvited => other(StatusCode::FORBIDDEN, t.join_invitation),
        Refused::Spent => other(StatusCode::GONE, t.ended_used),
        Refused::Failed(_) => other(StatusCode::SERVICE_UNAVAILABLE, t.error_failed),
    }
}
