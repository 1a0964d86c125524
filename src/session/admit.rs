//! Admission of logins: keys are looked up, and every login passes one gate.

use std::sync::{MutexGuard, PoisonError};

use tokio::time::sleep;

use super::clock::now;
use super::context::{Context, named};
use super::fast::seen;
use super::negotiate::Negotiation;
use super::stage::{Admitted, Asked, Login, Stage};
use crate::base::credential::HashName;
use crate::base::id::{self, OsRng};
use crate::jid::BareJid;
use crate::router::registry::Access;
use crate::stanza::StanzaError;
use crate::store::accounts::{self, Account};
use crate::store::devices;
use crate::store::tx::Tx;
use crate::stream::c2s::{Failed, Fast, Input, UserAgent};
use crate::stream::sasl::throttle::{Counted, How, Key, Throttle};
use crate::stream::sasl::{Identity, Refusal, SaslFailure};

impl Negotiation {
    /// Looks up keys, after the delay that earlier failures of the account call for.
    pub(super) async fn keys(&mut self, localpart: &str, hash: HashName, or_other: bool) -> Input {
        let host = self.machine.host().unwrap_or_default().to_owned();
        let bare = [localpart, "@", &host].concat();
        self.wait_for(&bare).await;
        self.stage = Stage::stranger();
        let router = &self.context.router;
        // Read first: a change that the read of the keys misses makes another version.
        let version = router.store.access_version();
        if let Some((id, epoch, keys)) =
            router.remembered(&bare, version, &Key::from(self.peer), hash)
        {
            // A disabled account has had no login since.
            let asked =
                Asked { bare, id, epoch, disabled: false, version, keys: None, token: None };
            self.stage = Stage::Stranger { asked: Some(Box::new(asked)) };
            return Input::Keys(Some(keys));
        }
        let local = localpart.to_owned();
        let read = router.store.read(move |tx| match or_other {
            false => accounts::keys(tx, &local, &host, hash),
            true => accounts::any_keys(tx, &local, &host, hash),
        });
        match read.await {
            Ok(found) => Input::Keys(found.map(|(account, keys)| {
                let Account { id, epoch, disabled, .. } = account;
                let kept = Some(keys.clone());
                let asked = Asked { bare, id, epoch, disabled, version, keys: kept, token: None };
                self.stage = Stage::Stranger { asked: Some(Box::new(asked)) };
                keys
            })),
            Err(error) => {
                tracing::error!(%error, "credentials could not be read");
                // RFC 6120 §6.5.11
                Input::Unknown
            }
        }
    }

    /// Waits as long as failures of the account call for, whoever asks and whether the account exists or
    /// not.
    async fn wait_for(&mut self, bare: &str) {
        let delay = self.throttle().delay(&Key::Account(bare.into()), now());
        if !delay.is_zero() {
            sleep(delay).await;
        }
    }

    /// Delays the answer after the secret was checked, as long as failures from the address call for. A
    /// login with the right secret that got in from here before does not wait for what others did there,
    /// unless the account itself failed here recently. So strangers see no difference between names.
    async fn weigh(&mut self, bare: &str, right: bool, again: bool) {
        let counted = self.count(bare, right, again);
        let wait = counted.iter().map(|(_, counted)| counted.wait).max().unwrap_or_default();
        if !wait.is_zero() {
            let (peer, wait_ms) = (self.peer, wait.as_millis());
            tracing::debug!(%peer, wait_ms, "the answer to a login waits: others from its address failed");
            sleep(wait).await;
        }
        if right {
            let mut throttle = self.throttle();
            counted.into_iter().for_each(|(key, counted)| throttle.take_back(&key, counted));
        }
    }

    /// Counts a try, before its wait. During the wait a right secret counts like a wrong one: otherwise the
    /// next try, on another stream, would tell them apart.
    fn count(&self, bare: &str, right: bool, again: bool) -> Vec<(Key, Counted)> {
        let from = Key::from(self.peer);
        if right && self.throttle().delay(&from, now()).is_zero() {
            return Vec::new();
        }
        let (was_here, now) = (self.context.router.was_entered_from(bare, &from), now());
        let both = Key::both(self.peer, bare);
        let mut throttle = self.throttle();
        let spared = was_here && throttle.may_spare(&from, now) && !throttle.is_wary(&both, now);
        if right && spared {
            return Vec::new();
        }
        let how = How { again, spared: false };
        let keys = [(Key::Account(bare.into()), how), (from, How { spared, ..how })];
        let both = was_here.then_some((both, how));
        let keys = keys.into_iter().chain(both);
        keys.map(|(key, how)| (key.clone(), throttle.failed(&key, how, now))).collect()
    }

    /// The one gate that every login passes, by whatever mechanism.
    pub(super) async fn admit(
        &mut self,
        identity: Identity,
        agent: Option<Box<UserAgent>>,
        fast: Option<Fast>,
        again: bool,
    ) -> Result<BareJid, SaslFailure> {
        let (id, seen) =
            (agent.as_ref().and_then(|agent| agent.id), agent.and_then(|agent| seen(&agent)));
        let (bare, login) = match identity {
            Identity::Anonymous => (self.anonymous()?, None),
            Identity::Account { localpart } => {
                let (bare, by) = self.open(localpart, again).await?;
                let login = Login { by, seen };
                login.arrive(&self.context, &bare, fast).await?;
                self.remember(&bare, &login.by);
                self.throttle().succeeded(&Key::Account(bare.as_str().into()));
                (bare, Some(login))
            }
        };
        self.unheard = None;
        self.stage = Stage::Admitted(Admitted { bare: bare.clone(), login, agent: id });
        Ok(bare)
    }

    fn anonymous(&self) -> Result<BareJid, SaslFailure> {
        let local = format!("anon-{}", id::random(&mut OsRng).to_lowercase());
        BareJid::from_parts(Some(&local), self.machine.host().unwrap_or_default())
            .map_err(|_| SaslFailure::TemporaryAuthFailure)
    }

    /// Checks that the account is still what it was when its secret was checked.
    async fn open(
        &mut self,
        localpart: String,
        again: bool,
    ) -> Result<(BareJid, Box<Asked>), SaslFailure> {
        let asked = self.stage.take_asked();
        let host = self.machine.host().unwrap_or_default().to_owned();
        let bare = BareJid::from_parts(Some(&localpart), &host)
            .map_err(|_| SaslFailure::TemporaryAuthFailure)?;
        if asked.as_ref().is_none_or(|asked| asked.token.is_none()) {
            self.weigh(bare.as_str(), true, again).await;
        }
        let failed = |error: crate::store::StoreError| {
            tracing::error!(%error, "an account could not be read");
            SaslFailure::TemporaryAuthFailure
        };
        let router = &self.context.router;
        router.load(&bare).await.map_err(failed)?;
        let asked = asked.filter(|asked| asked.bare == bare.as_str());
        let asked = asked.ok_or(SaslFailure::NotAuthorized)?;
        let (disabled, same) = if router.store.access_version() == asked.version {
            (asked.disabled, true)
        } else {
            let found = router.store.read(move |tx| accounts::find(tx, &localpart, &host));
            let account = found.await.map_err(failed)?.ok_or(SaslFailure::NotAuthorized)?;
            // Otherwise the password was changed, or the account made anew, since its keys were looked up.
            (account.disabled, (account.id, account.epoch) == (asked.id, asked.epoch))
        };
        match (disabled, same) {
            (true, _) => Err(SaslFailure::AccountDisabled),
            (false, false) => Err(SaslFailure::NotAuthorized),
            (false, true) => Ok((bare, asked)),
        }
    }

    /// Remembers the login, so that the account's next one from this address need not ask the store.
    fn remember(&self, bare: &BareJid, asked: &Asked) {
        let from = Key::from(self.peer);
        let access = asked
            .keys
            .as_ref()
            .map(|keys| Access::new(asked.id, asked.epoch, asked.version, from.clone(), keys));
        self.context.router.entered(bare.as_str(), &from, access);
    }

    /// Handles a failed attempt: the log says why, and a guess delays this answer and the next ones.
    pub(super) async fn failed(&mut self, failed: &Failed) {
        self.stage = Stage::stranger();
        let bare = failed.localpart.as_ref().map(|local| {
            let host = self.machine.host().unwrap_or_default();
            [local, "@", host].concat()
        });
        self.log_failure(bare.as_deref(), failed);
        let Some(bare) = bare else { return };
        // A right password must not be told from a wrong one sooner here than by a login. Other refusals of
        // a right password come from the gate, after its wait.
        let right = failed.refusal == Refusal::OtherChannel;
        if right || failed.is_guess() {
            self.weigh(&bare, right, failed.again).await;
        }
    }

    fn log_failure(&mut self, bare: Option<&str>, failed: &Failed) {
        let host = self.machine.host().unwrap_or_default();
        let (peer, mechanism) = (self.peer, failed.mechanism.unwrap_or("unknown"));
        let (account, refusal) = (bare.and_then(named), failed.refusal);
        if failed.is_guess() || refusal.is_of_a_right_password() {
            tracing::info!(%peer, host, account, mechanism, reason = refusal.to_string(), "failed login");
            self.unheard = None;
        } else {
            // Clients that go through all mechanisms do this at each login.
            tracing::debug!(%peer, host, account, mechanism, reason = refusal.to_string(), "login attempt refused");
            self.unheard = Some(refusal);
        }
    }

    /// Logs, at the end of the stream, a client that could use no mechanism at all: otherwise nothing would
    /// show it.
    pub(super) fn log_unheard(&self) {
        if let Some(refusal) = self.unheard {
            let (host, peer) = (self.machine.host().unwrap_or_default(), self.peer);
            tracing::info!(%peer, host, reason = refusal.to_string(), "left without a login");
        }
    }

    /// RFC 6120 §4.9.3.6: the first mistake of people who set up a server, and clients do not show it.
    pub(super) fn log_unknown_host(&self, asked: Option<&str>) {
        let served = self.context.policy.hosts.join(", ");
        let asked = asked.map_or("no domain", domain_of);
        tracing::info!(
            peer = %self.peer,
            ?asked,
            served,
            "a client asked for a domain that is not served here: add it as a [[host]], or mend the \
             address that is set up in the client"
        );
    }

    fn throttle(&self) -> MutexGuard<'_, Throttle> {
        self.context.throttle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Admitted {
    /// Whether the login still opens the account. Looked up once the stream is among the account's
    /// sessions: whoever disables the account later finds it there and ends it, because the access version
    /// rises before that.
    pub(super) async fn is_welcome(&self, context: &Context) -> Result<(), StanzaError> {
        let Some(Login { by: asked, .. }) = &self.login else { return Ok(()) };
        let store = &context.router.store;
        if store.access_version() == asked.version {
            return Ok(());
        }
        let (id, epoch) = (asked.id, asked.epoch);
        // A revoked device is gone; it may come back with the password, but not by token.
        let device = asked.token.as_ref().map(|token| token.device).zip(self.agent);
        let look = move |tx: &mut dyn Tx| {
            let account = accounts::get(tx, id)?;
            let same = account.is_some_and(|account| account.epoch == epoch && !account.disabled);
            Ok(match device {
                Some((device, agent)) if same => {
                    devices::find(tx, id, &agent)?.is_some_and(|found| found.id == device)
                }
                _ => same,
            })
        };
        if store.read(look).await? { Ok(()) } else { Err(StanzaError::not_authorized()) }
    }
}

/// What a stranger gave as the domain, for the log: without a user's name, and no longer than fits a line.
/// A name alone, without a dot, may be a user's, with the domain forgotten.
fn domain_of(asked: &str) -> &str {
    let bare = asked.split_once('/').map_or(asked, |(bare, _)| bare);
    let domain = match bare.rsplit_once('@') {
        Some((_, domain)) => domain,
        None if bare.is_empty() || bare.contains(['.', ':']) || bare == "localhost" => bare,
        None => "a name without a dot",
    };
    domain.get(..domain.floor_char_boundary(HOST_BYTES_MAX)).unwrap_or_default()
}

/// Maximum length of a DNS domain.
const HOST_BYTES_MAX: usize = 255;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_domain_is_logged_without_a_user() {
        for (asked, want) in [
            ("example.org", "example.org"),
            ("alice@example.org/phone", "example.org"),
            ("example.org/a@b", "example.org"),
            ("alice@intranet", "intranet"),
            ("alice", "a name without a dot"),
            ("alice/phone", "a name without a dot"),
            ("localhost", "localhost"),
            ("[2001:db8::1]", "[2001:db8::1]"),
            ("", ""),
        ] {
            assert_eq!(domain_of(asked), want);
        }
        assert_eq!(domain_of(&[&"\u{e9}".repeat(300), ".org"].concat()).len(), 254);
    }
}
