//! The XEPs, each in a file of its own; [`ALL`] is the only list.

pub mod api;
mod pipeline;
#[cfg(test)]
mod testing;

pub use pipeline::Pipeline;

use std::sync::Arc;

use crate::store::accounts::{self, AccountId};
use crate::store::tx::{StoreError, Tx};
use tokio::sync::Notify;

/// Declares the modules: a `pub mod`, an entry in [`ALL`], and for a module that keeps
/// per-session state (`name: name::State`) a field in [`SessionState`].
macro_rules! modules {
    ($($name:ident $(: $state:ty)?),* $(,)?) => {
        $(pub mod $name;)*

        /// Every module of the server, in name order.
        pub const ALL: &[&api::Module] = &[$(&$name::MODULE),*];

        /// What modules keep for one session. Its size is pinned by a test.
        #[derive(Debug, Default)]
        pub struct SessionState {
            $($(
                #[doc = concat!("State of `", stringify!($name), "`.")]
                pub $name: $state,
            )?)*
        }

        impl SessionState {
            /// For a session that sleeps over a restart: name, version and bytes of each.
            pub fn save(&self) -> Vec<(String, u16, Vec<u8>)> {
                vec![$($((
                    stringify!($name).to_owned(),
                    <$state as api::Keep>::VERSION,
                    api::Keep::save(&self.$name),
                ),)?)*]
            }

            /// The reverse; `None` when one cannot be read.
            pub fn load(saved: &[(String, u16, Vec<u8>)]) -> Option<Self> {
                Some(Self {
                    $($($name: api::restore::<$state>(stringify!($name), saved)?,)?)*
                })
            }
        }
    };
}

modules! {
    caps,
    carbons,
    commands,
    csi: csi::State,
    devices,
    disco,
    last,
    mam,
    offline,
    ping,
    presence: presence::State,
    quota,
    register,
    retraction,
    roster,
    search,
    session,
    subscription,
    time,
    version,
}

/// Deletes an account with its rows in every table, the modules' first: the one list of deletions,
/// whoever asks. False if there was none.
pub fn erase(
    modules: &[&api::Module],
    tx: &mut dyn Tx,
    account: AccountId,
) -> Result<bool, StoreError> {
    modules.iter().filter_map(|m| m.account_deleted).try_for_each(|hook| hook(tx, account))?;
    accounts::delete(tx, account)
}

/// What modules keep in memory for the whole server: bounded, each behind a short lock of its own.
#[derive(Debug, Default)]
pub struct Shared {
    /// XEP-0050
    pub commands: commands::Sessions,
    /// What was told of quotas.
    pub quota: quota::Watch,
    /// XEP-0077
    pub register: register::Gate,
    /// XEP-0431
    pub search: search::Shelf,
    /// Told when an account was deleted and its rows elsewhere may go.
    pub account_deleted: Arc<Notify>,
}

/// Settings of all modules: the `[modules.…]` tables of the config file.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// XEP-0484, and what is known of devices.
    pub devices: devices::Config,
    /// XEP-0352
    pub csi: csi::Config,
    /// XEP-0313
    pub mam: mam::Config,
    /// What one account may store.
    pub quota: quota::Config,
    /// XEP-0077
    pub register: register::Config,
    /// XEP-0431
    pub search: search::Config,
    /// XEP-0092
    pub version: version::Config,
    /// PBKDF2 rounds for new passwords: `sasl.iterations`.
    #[serde(skip)]
    pub scram_iterations: u32,
    /// Passwords may travel unencrypted: `c2s.require_tls` is off.
    #[serde(skip)]
    pub unencrypted: bool,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            devices: devices::Config::default(),
            csi: csi::Config::default(),
            mam: mam::Config::default(),
            quota: quota::Config::default(),
            register: register::Config::default(),
            search: search::Config::default(),
            version: version::Config::default(),
            scram_iterations: 10_000,
            unencrypted: false,
        }
    }
}
