//! XEP-0484: logins by token, and tokens for clients that have logged in. Also records the device of a login
//! (XEP-0388 §2.3).

use std::time::Duration;

use super::clock::wall;
use super::context::Context;
use super::negotiate::Negotiation;
use super::stage::{Admitted, Asked, Login, Stage};
use crate::base::credential::AgentId;
use crate::base::id::{OsRng, Rng};
use crate::base::time::{from_micros, micros, stamp};
use crate::jid::BareJid;
use crate::store::StoreError;
use crate::store::accounts::Account;
use crate::store::devices::{self, Note, Seen};
use crate::store::tokens::{self, Known, Slot, Wanted};
use crate::store::tx::Tx;
use crate::stream::c2s::{Fast, Given, Input, UserAgent};
use crate::stream::sasl::SaslFailure;
use crate::stream::sasl::ht::{self, Ht, HtMechanism};

impl Negotiation {
    /// Checks a client's message against the tokens of its device.
    pub(super) async fn token(&mut self, message: &Ht, agent: AgentId) -> Input {
        let host = self.machine.host().unwrap_or_default().to_owned();
        let bare = [message.localpart(), "@", &host].concat();
        // No delay: 256 bits cannot be guessed, and failures of another device at this address must not slow
        // this one down.
        self.stage = Stage::stranger();
        let store = &self.context.router.store;
        // Taken before the read: a change that the read misses changes the version.
        let version = store.access_version();
        let local = message.localpart().to_owned();
        let found = store.read(move |tx| tokens::lookup(tx, &local, &host, &agent)).await;
        let known = match found {
            Ok(known) => known,
            Err(error) => {
                tracing::error!(%error, "tokens could not be read");
                return Input::Unknown;
            }
        };
        let tokens = known.as_ref().map(|known| known.tokens.as_slice()).unwrap_or_default();
        let now = micros(wall());
        let candidates: Vec<_> = tokens
            .iter()
            .map(|token| ht::Token {
                mechanism: &token.mechanism,
                secret: &token.secret,
                expired: token.expires <= now,
            })
            .collect();
        let fits = match message.check(&candidates) {
            Ok(fits) => fits,
            Err(failure) => return Input::Checked(Err(failure)),
        };
        let Some((Known { account, .. }, token)) = known.as_ref().zip(tokens.get(fits.index))
        else {
            return Input::Checked(Err(SaslFailure::CredentialsExpired));
        };
        let Account { id, epoch, disabled, .. } = *account;
        let token = Some(token.clone());
        let asked = Asked { bare, id, epoch, disabled, version, keys: None, token };
        self.stage = Stage::Stranger { asked: Some(Box::new(asked)) };
        Input::Checked(Ok(fits.answer))
    }
}

impl Login {
    /// Called when the account is open to the client: records its device, and marks the token that it used.
    pub(super) async fn arrive(
        &self,
        context: &Context,
        bare: &BareJid,
        fast: Option<Fast>,
    ) -> Result<(), SaslFailure> {
        let (store, account) = (&context.router.store, self.by.id);
        if let Some(seen) = &self.seen {
            let (mut seen, most) = (Seen::clone(seen), most_devices(context));
            seen.online = context.router.devices_online(bare.as_str());
            // News about the device is written with the next transaction. Before a token is issued it is
            // written at once, so this note then changes nothing.
            store.write_behind(Box::new(Note { account, seen, most }));
        }
        let (Some(token), Some(fast)) = (self.by.token.clone(), fast) else { return Ok(()) };
        if token.slot == Slot::Current && fast.count.is_none() && !fast.invalidate {
            return Ok(());
        }
        let used = store.write(move |tx| {
            let used = tokens::used(tx, &token, fast.count)?;
            if used && fast.invalidate {
                tokens::invalidate(tx, token.device)?;
            }
            Ok(used)
        });
        match used.await {
            Ok(true) => Ok(()),
            // XEP-0484 §3.4: a count that was used before, or a token that another login invalidated.
            Ok(false) => Err(SaslFailure::CredentialsExpired),
            Err(error) => {
                tracing::error!(%error, "the use of a token could not be noted");
                Err(SaslFailure::TemporaryAuthFailure)
            }
        }
    }
}

impl Admitted {
    /// XEP-0484 §3.3, §3.5: issues a token if the client asked for one, or if its token is due for rotation.
    pub(super) async fn issue(
        &self,
        context: &Context,
        wanted: Option<HtMechanism>,
    ) -> Option<Given> {
        let Login { by, seen } = self.login.as_ref()?;
        let (account, mut seen) = (by.id, Seen::clone(seen.as_deref()?));
        seen.online = context.router.devices_online(self.bare.as_str());
        let config = &context.config.devices;
        let at = micros(wall());
        let mechanism = match (wanted, &by.token) {
            (Some(wanted), _) => wanted.as_str().to_owned(),
            (None, Some(token))
                if is_due((token.issued, token.expires), at, config.rotate_hours) =>
            {
                token.mechanism.clone()
            }
            (None, _) => return None,
        };
        let lasts = Duration::from_secs(u64::from(config.token_days) * 86_400);
        let expires = micros(from_micros(at) + lasts);
        let mut nonce = [0; 32];
        OsRng.fill(&mut nonce);
        let (epoch, most) = (by.epoch, most_devices(context));
        let device = by.token.as_ref().map(|token| token.device);
        let write = move |tx: &mut dyn Tx| {
            // A client that logged in by token has a device, or had one that has been revoked since.
            let device = match device {
                Some(device) => device,
                None => devices::put_seen(tx, account, &seen, most)?,
            };
            tokens::issue(tx, device, &Wanted { mechanism: &mechanism, epoch, nonce, at, expires })
        };
        let issued: Result<Option<String>, StoreError> = context.router.store.write(write).await;
        match issued {
            Ok(token) => Some(Given { token: token?, expiry: stamp(from_micros(expires)) }),
            Err(error) => {
                // The login is valid without a token.
                tracing::warn!(%error, "a token could not be given");
                None
            }
        }
    }
}

fn most_devices(context: &Context) -> usize {
    usize::try_from(context.config.devices.per_account).unwrap_or(usize::MAX)
}

/// What the client sent about its device; none without an id.
pub(super) fn seen(agent: &UserAgent) -> Option<Box<Seen>> {
    let text = |text: &Option<String>| text.clone().unwrap_or_default();
    let (software, name) = (text(&agent.software), text(&agent.device));
    Some(Box::new(Seen::new(agent.id?, &software, &name, micros(wall()))))
}

/// XEP-0484 §3.5: whether the token is old enough, or half of its lifetime is over, or it was issued by a
/// clock that was ahead and would stay valid for too long.
fn is_due((issued, expires): (i64, i64), now: i64, rotate_hours: u32) -> bool {
    let age = now.saturating_sub(issued);
    let half = expires.saturating_sub(issued) / 2;
    age < 0 || age >= (i64::from(rotate_hours) * 3_600_000_000).min(half)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_rotated_when_it_is_old_or_from_a_clock_that_was_ahead() {
        let hour = 3_600_000_000;
        for (issued, expires, now, due) in [
            (0, 500 * hour, 23 * hour, false),
            (0, 500 * hour, 24 * hour, true),
            (0, 10 * hour, 5 * hour, true),
            (900 * hour, 1_400 * hour, 24 * hour, true),
        ] {
            assert_eq!(is_due((issued, expires), now, 24), due, "{issued} {expires} {now}");
        }
    }
}
