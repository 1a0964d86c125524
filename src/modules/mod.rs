//! The XEPs, each in a file of its own; [`ALL`] is the only list.

pub mod api;
mod drive;
mod features;
mod pipeline;
pub mod sql;
#[cfg(test)]
mod testing;

pub use drive::{Driven, Sender, attend};
pub use features::{features, in_order};
pub use pipeline::Pipeline;

use std::sync::Arc;

use crate::router::features::{Held, State};
use crate::router::registry::{Resource, User};
use crate::store::accounts;
use crate::store::ids::AccountId;
use crate::store::tx::{StoreError, Tx};
use tokio::sync::Notify;

/// Declares the modules: a `pub mod`, an entry in [`ALL`], a module's settings (`config`), and what it
/// keeps: for the whole server (`shared`), for an account (beside its entry in the router), for a
/// session there (`resource`) and in the session's own task (`session`).
macro_rules! modules {
    ($($name:ident $({
        $(config: $config:ty,)?
        $(shared: $shared:ty,)?
        $(account: $account:ty,)?
        $(resource: $resource:ty,)?
        $(session: $session:ty,)?
    })?),* $(,)?) => {
        $(pub mod $name;)*

        /// Every module of the server, in name order.
        pub const ALL: &[&api::Module] = &[$(&$name::MODULE),*];

        /// Settings of all modules: the `[modules.…]` tables of the config file.
        #[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
        #[serde(default, deny_unknown_fields)]
        pub struct Config {
            $($($(
                #[doc = concat!("`[modules.", stringify!($name), "]`")]
                pub $name: $config,
            )?)?)*
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
                    $($($($name: <$config>::default(),)?)?)*
                    scram_iterations: 10_000,
                    unencrypted: false,
                }
            }
        }

        /// What modules keep in memory for the whole server: bounded, each behind a short lock of its own.
        #[derive(Debug, Default)]
        pub struct Shared {
            $($($(
                #[doc = concat!("What `", stringify!($name), "` keeps.")]
                pub $name: $shared,
            )?)?)*
            /// Told when an account was deleted and its rows elsewhere may go.
            pub account_deleted: Arc<Notify>,
        }

        /// What modules keep for one account while the router has its entry.
        #[derive(Debug, Default)]
        pub struct AccountState {
            $($($(
                #[doc = concat!("State of `", stringify!($name), "`.")]
                pub $name: $account,
            )?)?)*
        }

        impl AccountState {
            /// Reads it; none where there is nothing.
            fn load(tx: &mut dyn Tx, account: AccountId) -> Result<State, StoreError> {
                let state = Self {
                    $($($($name: <$account as api::OfAccount>::load(tx, account)?,)?)?)*
                };
                Ok((!state.is_nothing()).then(|| Box::new(state) as _))
            }

            fn is_nothing(&self) -> bool {
                true $($($(&& <$account as api::OfAccount>::is_nothing(&self.$name))?)?)*
            }

            /// What is kept of an account, if there is anything.
            pub fn of(account: &User) -> Option<&Self> {
                features::held(&account.features)
            }

            /// The same, to be changed.
            pub fn of_mut(account: &mut User) -> Option<&mut Self> {
                features::held_mut(&mut account.features)
            }

            /// Changes what is kept of an account; what is nothing afterwards is not kept.
            pub fn change(account: &mut User, change: impl FnOnce(&mut Self)) {
                if let Some(state) = features::made::<Self>(&mut account.features) {
                    change(state);
                    if state.is_nothing() {
                        account.features = None;
                    }
                }
            }
        }

        impl Held for AccountState {
            fn bytes(&self) -> usize {
                size_of::<Self>()
                    $($($(+ <$account as api::OfAccount>::bytes(&self.$name))?)?)*
            }
        }

        /// What modules keep for one session in the entry of its account.
        #[derive(Debug, Default)]
        pub struct ResourceState {
            $($($(
                #[doc = concat!("State of `", stringify!($name), "`.")]
                pub $name: $resource,
            )?)?)*
        }

        impl ResourceState {
            /// What is kept for a session, if there is anything.
            pub fn of(resource: &Resource) -> Option<&Self> {
                features::held(&resource.features)
            }

            /// The same, to be changed.
            pub fn made(resource: &mut Resource) -> Option<&mut Self> {
                features::made(&mut resource.features)
            }
        }

        impl Held for ResourceState {
            fn bytes(&self) -> usize {
                size_of::<Self>()
            }
        }

        /// What modules keep in one session's task. Its size is pinned by a test.
        #[derive(Debug, Default)]
        pub struct SessionState {
            $($($(
                #[doc = concat!("State of `", stringify!($name), "`.")]
                pub $name: $session,
            )?)?)*
        }

        /// For a session that is written down over a restart: name, version and bytes of each module's
        /// part, of both kinds.
        pub fn save(session: &SessionState, resource: &Resource) -> Vec<Saved> {
            let mut saved = vec![$($($(
                api::saved::<$session>(stringify!($name), &session.$name),
            )?)?)*];
            if let Some(resource) = ResourceState::of(resource) {
                saved.extend([$($($(
                    api::saved::<$resource>(concat!(stringify!($name), "/resource"), &resource.$name),
                )?)?)*]);
            }
            saved
        }

        /// The reverse; `None` when one cannot be read.
        pub fn load(saved: &[Saved]) -> Option<(SessionState, State)> {
            let session = SessionState {
                $($($($name: api::restore::<$session>(stringify!($name), saved)?,)?)?)*
            };
            let is_there = saved.iter().any(|(name, ..)| name.ends_with("/resource"));
            let resource = match is_there {
                true => Some(Box::new(ResourceState {
                    $($($($name: api::restore::<$resource>(
                        concat!(stringify!($name), "/resource"),
                        saved,
                    )?,)?)?)*
                }) as _),
                false => None,
            };
            Some((session, resource))
        }
    };
}

/// A module's part of what is written down of a session: name, version, bytes.
pub type Saved = (String, u16, Vec<u8>);

modules! {
    blocking { account: Option<Box<blocking::List>>, resource: blocking::State, },
    caps,
    carbons { account: Option<Box<carbons::Recent>>, resource: carbons::State, },
    commands { shared: commands::Sessions, },
    csi { config: csi::Config, session: csi::State, },
    devices { config: devices::Config, },
    disco,
    echo { config: echo::Config, },
    last,
    mam { config: mam::Config, account: Option<Box<mam::Preferences>>, },
    offline,
    ping,
    presence,
    quota { config: quota::Config, shared: quota::Watch, },
    register { config: register::Config, shared: register::Gate, },
    retraction,
    roster,
    search { config: search::Config, shared: search::Shelf, },
    session,
    subscription,
    time,
    version { config: version::Config, },
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
