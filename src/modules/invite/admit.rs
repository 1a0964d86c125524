//! A token is shown, by a client or on a page: the invitation behind it, if it can be used.

use crate::base::time::micros;
use crate::modules::api::Cx;
use crate::stanza::StanzaError;
use crate::stanza::error::ErrorType;
use crate::store::StoreError;
use crate::store::invitations::{self, Ended, Invitation, Purpose};

/// Why a token opens nothing.
#[derive(Debug)]
pub enum NotAdmitted {
    /// Too many wrong ones came from this address.
    TooManyTries,
    /// What became of it.
    Ended(Ended),
    /// The store failed.
    Store(StoreError),
}

/// Finds the invitation of a token, on the domain that is asked or, without one, on any. The token's time is
/// checked here; whether it has a use left is asked again when it is used: a token that is only shown is not
/// used. Tries are counted for the address.
pub async fn admit(cx: &Cx, token: String, host: Option<&str>) -> Result<Invitation, NotAdmitted> {
    let guesses = &cx.server.shared().invite;
    if !guesses.may_try(cx) {
        return Err(NotAdmitted::TooManyTries);
    }
    let now = micros(cx.now);
    let found = cx.store.read(move |tx| invitations::open(tx, &token, now)).await;
    let found = found.map_err(NotAdmitted::Store)?;
    // Nobody guesses what there was.
    if found.as_ref().is_err_and(|ended| !matches!(ended, Ended::Unknown)) {
        guesses.was_right(cx);
    }
    let found = found.map_err(NotAdmitted::Ended)?;
    if host.is_some_and(|host| host != found.terms.host) {
        return Err(NotAdmitted::Ended(Ended::Unknown));
    }
    guesses.was_right(cx);
    Ok(found)
}

/// Whether an account can be made with it, or a password set.
pub fn registers(found: &Invitation) -> bool {
    found.terms.registers || found.terms.purpose == Purpose::Password
}

impl From<NotAdmitted> for StanzaError {
    fn from(why: NotAdmitted) -> Self {
        match why {
            NotAdmitted::TooManyTries => {
                let error = Self::resource_constraint().kind(ErrorType::Wait);
                error.text("too many wrong tokens came from this address; try again in an hour")
            }
            NotAdmitted::Ended(ended) => Self::item_not_found().text(text(ended)),
            NotAdmitted::Store(error) => error.into(),
        }
    }
}

/// Only who holds the token of an invitation learns that there was one.
fn text(ended: Ended) -> &'static str {
    match ended {
        Ended::Unknown => "The provided token is invalid or expired",
        Ended::Used => "This invitation was used already: ask for another one",
        Ended::Expired => "This invitation has expired: ask for another one",
        Ended::Revoked => "This invitation was taken back: ask for another one",
    }
}
