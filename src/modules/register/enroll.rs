//! How a stranger makes an account, or sets a password by a link: the one way for clients and for pages.

use std::net::IpAddr;

use super::config::Config;
use super::names;
use super::refused::Refused;
use crate::base::credential::ScramKeys;
use crate::base::id::OsRng;
use crate::base::time::micros;
use crate::jid::{BareJid, prep};
use crate::modules::api::{Channel, Cx, NewAccount};
use crate::modules::equip;
use crate::stanza::StanzaError;
use crate::store::accounts::{self, Creation};
use crate::store::invitations::{self, Invitation, Purpose};
use crate::store::tx::{StoreError, Tx};
use crate::stream::error::{StreamError, StreamFailure};
use crate::stream::sasl::keys;

/// Whether this stranger may register here; the invitation that it showed.
pub fn admitted(cx: &Cx) -> Result<Option<Invitation>, Refused> {
    let config = &cx.config.register;
    if !config.takes_invited() {
        return Err(Refused::Closed);
    }
    let shown = cx.who.guest().and_then(|guest| guest.admission.get());
    if shown.is_none() && !config.is_open() {
        return Err(Refused::Uninvited);
    }
    Ok(shown)
}

/// XEP-0077 §3.3: the channel must be safe enough for a password.
pub(super) fn safe(cx: &Cx) -> Result<(), Refused> {
    if cx.who.channel().is_some_and(|one| one.secure) || cx.config.unencrypted {
        return Ok(());
    }
    Err(Refused::Unsafe)
}

/// XEP-0077 §3.1.1: makes an account on the domain of this stranger, or sets a password by the link that it
/// showed. To be run to its end ([`Cx::finish`]): memory must follow the store.
pub async fn enroll(
    cx: &Cx,
    username: Option<String>,
    password: Option<String>,
) -> Result<BareJid, Refused> {
    let shown = admitted(cx)?;
    safe(cx)?;
    let wanted = shown.as_ref().and_then(|shown| shown.terms.local.clone());
    let username = username.or_else(|| wanted.clone()).filter(|name| !name.is_empty());
    let bare = named(&cx.config.register, cx, &username.ok_or(Refused::NoName)?, wanted)?;
    let password = password.ok_or(Refused::NoPassword)?;
    usable(cx, &password)?;
    let done = match shown {
        Some(shown) if shown.terms.purpose == Purpose::Password => {
            reset(cx, &bare, shown, password).await
        }
        shown => counted(cx, &bare, shown, password).await,
    };
    let is_over = matches!(done, Ok(()) | Err(Refused::Spent));
    if let (true, Some(guest)) = (is_over, cx.who.guest()) {
        // One showing, one account; and what was used up meanwhile opens nothing more.
        guest.admission.set(None);
    }
    done.map(|()| bare)
}

/// The address that a name makes, if whoever comes with such an invitation may have it.
fn named(
    config: &Config,
    cx: &Cx,
    username: &str,
    wanted: Option<String>,
) -> Result<BareJid, Refused> {
    let local = prep::localpart(username).map_err(|_| Refused::NameCharacters)?.into_owned();
    let bare = BareJid::from_parts(Some(&local), cx.jid().domain());
    let bare = bare.map_err(|_| Refused::NoAddress)?;
    match wanted {
        Some(wanted) if wanted != local => return Err(Refused::OtherName(wanted)),
        // Whoever invites has chosen it.
        Some(_) => {}
        None => names::allowed(config, &local)?,
    }
    Ok(bare)
}

/// Makes an account of this name. Counts those that one address finds taken.
async fn counted(
    cx: &Cx,
    bare: &BareJid,
    shown: Option<Invitation>,
    password: String,
) -> Result<(), Refused> {
    let Some(Channel { peer, .. }) = cx.who.channel() else {
        return Err(StanzaError::not_allowed().into());
    };
    let gate = &cx.server.shared().register;
    gate.try_name(peer, cx.config.register.per_ip_per_hour, cx.now)?;
    let made = match shown {
        Some(shown) => create(cx, bare, Some(shown), password).await,
        None => uninvited(cx, bare, peer, password).await,
    };
    if !matches!(made, Err(Refused::Taken | Refused::Reserved)) {
        gate.was_free(peer);
    }
    made
}

/// Counts the accounts that come from one address.
async fn uninvited(
    cx: &Cx,
    bare: &BareJid,
    peer: IpAddr,
    password: String,
) -> Result<(), Refused> {
    let limit = cx.config.register.per_ip_per_hour;
    let gate = &cx.server.shared().register;
    gate.take(peer, limit, cx.now)?;
    let made = create(cx, bare, None, password).await;
    if made.is_err() {
        gate.give_back(peer);
    }
    made
}

async fn create(
    cx: &Cx,
    bare: &BareJid,
    shown: Option<Invitation>,
    password: String,
) -> Result<(), Refused> {
    // Whoever had this name would be an admin: only the operator of the machine gives it away.
    let by_operator = shown.as_ref().is_some_and(|shown| {
        shown.terms.account.is_none() && shown.terms.local.as_deref() == bare.local()
    });
    if cx.config.admins.role(bare.as_str()).is_admin() && !by_operator {
        return Err(Refused::Reserved);
    }
    // An anonymous user has the address as long as it is connected.
    if cx.router.is_taken(bare) {
        return Err(Refused::Taken);
    }
    let (at, but, name) = (micros(cx.now), shown.as_ref().map(|shown| shown.id), bare.clone());
    // Checked first, because the keys cost so much.
    cx.store
        .read(move |tx| match is_taken(tx, &name, at, but)? {
            true => Ok(Err(Refused::Taken)),
            false => has_use(tx, but),
        })
        .await??;
    let keys = derive(cx, password).await?;
    let (work, jid, by_invitation) = (cx.clone(), bare.clone(), shown.is_some());
    let write = cx.store.write(move |tx| {
        if is_taken(tx, &jid, at, but)? {
            return Ok(Err(Refused::Taken));
        }
        if let Some(shown) = &shown
            && !invitations::spend(tx, shown.id)?
        {
            return Ok(Err(Refused::Spent));
        }
        let local = jid.local().unwrap_or_default();
        match accounts::create(tx, local, jid.domain(), &keys, at)? {
            Creation::Exists | Creation::Removed => Ok(Err(Refused::Taken)),
            Creation::Created(id) => {
                let made = NewAccount { id, jid: jid.clone(), invitation: shown };
                equip(&work, tx, &made).map(Ok)
            }
        }
    });
    let after = write.await??;
    // The registry may remember that there was no such account.
    cx.router.registry.forget_missing(bare.as_str());
    after.into_iter().for_each(|done| done(cx));
    tracing::info!(by_invitation, "an account was registered");
    tracing::debug!(account = bare.as_str(), "registered");
    Ok(())
}

/// Whether somebody has the name, or an invitation other than this one keeps it.
fn is_taken(
    tx: &mut dyn Tx,
    jid: &BareJid,
    now: i64,
    but: Option<i64>,
) -> Result<bool, StoreError> {
    let (local, host) = (jid.local().unwrap_or_default(), jid.domain());
    Ok(accounts::is_taken(tx, local, host)? || invitations::is_reserved(tx, local, host, now, but)?)
}

/// Whether the invitation, if there is one, was not used up or taken back meanwhile.
fn has_use(tx: &mut dyn Tx, invitation: Option<i64>) -> Result<Result<(), Refused>, StoreError> {
    let Some(id) = invitation else { return Ok(Ok(())) };
    let has_use = invitations::get(tx, id)?.is_some_and(|found| found.has_use());
    Ok(if has_use { Ok(()) } else { Err(Refused::Spent) })
}

/// Sets the password of an account by a link. All that the old one opened is shut.
async fn reset(
    cx: &Cx,
    bare: &BareJid,
    shown: Invitation,
    password: String,
) -> Result<(), Refused> {
    let account = shown.terms.account.ok_or_else(StanzaError::internal_server_error)?;
    let id = shown.id;
    cx.store.read(move |tx| has_use(tx, Some(id))).await??;
    let keys = derive(cx, password).await?;
    let write = cx.store.write(move |tx| {
        // The account may have been removed, and its link with it.
        if accounts::get(tx, account)?.is_none() || !invitations::spend(tx, shown.id)? {
            return Ok(Err(Refused::Spent));
        }
        accounts::set_keys(tx, account, &keys)?;
        invitations::revoke_passwords(tx, account)?;
        Ok(Ok(()))
    });
    write.await??;
    cx.router.end_sessions(bare.as_str(), &changed());
    tracing::info!("a password was set by a link");
    tracing::debug!(account = bare.as_str(), "a new password");
    Ok(())
}

/// As when the operator changes it: no client may return with the old password.
pub(super) fn changed() -> StreamFailure {
    StreamError::NotAuthorized.text("the password was changed")
}

/// Checks a password that a client chose. Passwords that the operator sets are not checked here.
pub(super) fn usable(cx: &Cx, password: &str) -> Result<(), Refused> {
    keys::prepare(password)?;
    let least = cx.config.register.password_length_min;
    if password.chars().count() < least {
        return Err(Refused::PasswordShort(least));
    }
    Ok(())
}

/// The keys for a prepared password.
pub(super) async fn derive(cx: &Cx, password: String) -> Result<[ScramKeys; 3], Refused> {
    let turn = cx.server.shared().register.turn().await?;
    let iterations = cx.config.scram_iterations;
    // The one use of spawn_blocking here: PBKDF2 is a tenth of a second of pure arithmetic.
    #[allow(clippy::disallowed_methods)]
    let keys =
        tokio::task::spawn_blocking(move || keys::derive_all(&password, iterations, &mut OsRng));
    let keys = keys.await.map_err(|_| StanzaError::internal_server_error())?;
    drop(turn);
    Ok(keys?)
}
