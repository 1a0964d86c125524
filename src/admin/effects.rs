//! What verbs do to sessions, contacts and rooms: the running server does it, or one that nobody is connected to.

use std::pin::Pin;

use super::accounts::AdminError;
use super::{Audience, Notice, NoticeChange, Outcome, RoomPage, RoomQuery, RoomVerb, TeamVerb};
use crate::base::credential::AgentId;
use crate::base::role::Role;
use crate::jid::{BareJid, Jid};
use crate::store::Store;
use crate::store::ids::AccountId;

/// The future of an effect.
pub type Doing<'a, T> = Pin<Box<dyn Future<Output = Result<T, AdminError>> + Send + 'a>>;

/// An account that has sessions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Online {
    /// Its address.
    pub jid: BareJid,
    /// Its sessions' resources.
    pub resources: Vec<String>,
    /// Whether its owner seems to be there.
    pub presence: Presence,
}

/// Whether the owner of an account that has sessions seems to be there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Presence {
    /// One session is available and not away.
    Active,
    /// All are away, or not available.
    Idle,
}

/// What the live server does when an account changes under its sessions.
pub trait Effects: Send + Sync {
    /// Removes the account, or erases it if there is no grace period or `now` is set. Its contacts are
    /// notified, and their subscriptions to it are removed from their rosters: otherwise the next owner of
    /// the name would inherit them. Returns until when the account can be restored, in microseconds since
    /// 1970, or `None` if the account is erased.
    fn end_account<'a>(
        &'a self,
        store: &'a Store,
        jid: &'a BareJid,
        account: AccountId,
        now: bool,
    ) -> Doing<'a, Option<i64>>;

    /// Gives the account a role, in the store and for its sessions.
    fn set_role<'a>(
        &'a self,
        store: &'a Store,
        jid: &'a BareJid,
        account: AccountId,
        role: Role,
    ) -> Doing<'a, ()>;

    /// Ends the account's sessions. Called after the change is durable.
    fn account_gone(&self, jid: &BareJid, why: Gone);

    /// Ends the sessions of this device of the account. Called after the change is durable.
    fn device_gone(&self, jid: &BareJid, device: &AgentId);

    /// Announces that an account of this name exists now. Called after the change is durable.
    fn account_made(&self, jid: &BareJid);

    /// Does what it means to others that the account is shut, or open again. Called after the change is
    /// durable.
    fn account_turned<'a>(&'a self, account: AccountId, open: bool) -> Doing<'a, ()>;

    /// Carries out a verb over teams.
    fn team<'a>(&'a self, verb: TeamVerb) -> Doing<'a, Outcome>;

    /// Carries out a verb over rooms.
    fn room<'a>(&'a self, verb: RoomVerb) -> Doing<'a, Outcome>;

    /// Some rooms.
    fn rooms<'a>(&'a self, query: RoomQuery) -> Doing<'a, RoomPage>;

    /// Ends the session of a full JID, or all of a bare one; how many. They may come back.
    fn log_out(&self, jid: &Jid) -> usize;

    /// Who has sessions now.
    fn online(&self) -> Vec<Online>;

    /// Sends a text; to how many accounts. It is durable for those who are to get it later.
    fn announce<'a>(&'a self, text: &'a str, to: Audience) -> Doing<'a, usize>;

    /// Changes what accounts are told at login; what it is now.
    fn notice<'a>(&'a self, which: Notice, change: NoticeChange) -> Doing<'a, Option<String>>;
}

/// Why an account's sessions must end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Gone {
    /// The account no longer exists.
    Deleted,
    /// Logging in to it is disabled for now.
    Disabled,
    /// The password has changed; a session that knew only the old one must not stay.
    PasswordChanged,
    /// The device was revoked and must log in by password again.
    Revoked,
}
