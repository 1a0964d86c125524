//! What the list of modules is made into: types that hold a part of each module that has one.

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
        pub const ALL: &[&$crate::modules::api::Module] = &[$(&$name::MODULE),*];

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
            pub account_deleted: std::sync::Arc<tokio::sync::Notify>,
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
            fn load(tx: &mut dyn $crate::store::tx::Tx, account: $crate::store::ids::AccountId) -> Result<$crate::router::held::State, $crate::store::StoreError> {
                let state = Self {
                    $($($($name: <$account as $crate::modules::api::AccountPart>::load(tx, account)?,)?)?)*
                };
                Ok((!state.is_nothing()).then(|| Box::new(state) as _))
            }

            fn is_nothing(&self) -> bool {
                true $($($(&& <$account as $crate::modules::api::AccountPart>::is_nothing(&self.$name))?)?)*
            }

            /// What is kept of an account, if there is anything.
            pub fn of(account: &$crate::router::registry::AccountEntry) -> Option<&Self> {
                $crate::modules::features::held(&account.features)
            }

            /// The same, to be changed.
            pub fn of_mut(account: &mut $crate::router::registry::AccountEntry) -> Option<&mut Self> {
                $crate::modules::features::held_mut(&mut account.features)
            }

            /// Changes what is kept of an account; what is nothing afterwards is not kept.
            pub fn change(account: &mut $crate::router::registry::AccountEntry, change: impl FnOnce(&mut Self)) {
                if let Some(state) = $crate::modules::features::made::<Self>(&mut account.features) {
                    change(state);
                    if state.is_nothing() {
                        account.features = None;
                    }
                }
            }
        }

        impl $crate::router::held::FeatureState for AccountState {
            fn bytes(&self) -> usize {
                size_of::<Self>()
                    $($($(+ <$account as $crate::modules::api::AccountPart>::bytes(&self.$name))?)?)*
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
            pub fn of(resource: &$crate::router::registry::Resource) -> Option<&Self> {
                $crate::modules::features::held(&resource.features)
            }

            /// The same, to be changed.
            pub fn made(resource: &mut $crate::router::registry::Resource) -> Option<&mut Self> {
                $crate::modules::features::made(&mut resource.features)
            }
        }

        impl $crate::router::held::FeatureState for ResourceState {
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
        pub fn save(session: &SessionState, resource: &$crate::router::registry::Resource) -> Vec<$crate::modules::api::Saved> {
            let mut saved = vec![$($($(
                $crate::modules::api::saved::<$session>(stringify!($name), &session.$name),
            )?)?)*];
            if let Some(resource) = ResourceState::of(resource) {
                saved.extend([$($($(
                    $crate::modules::api::saved::<$resource>(concat!(stringify!($name), "/resource"), &resource.$name),
                )?)?)*]);
            }
            saved
        }

        /// The reverse; `None` when one cannot be read.
        pub fn load(saved: &[$crate::modules::api::Saved]) -> Option<(SessionState, $crate::router::held::State)> {
            let session = SessionState {
                $($($($name: $crate::modules::api::restore::<$session>(stringify!($name), saved)?,)?)?)*
            };
            let is_there = saved.iter().any(|(name, ..)| name.ends_with("/resource"));
            let resource = match is_there {
                true => Some(Box::new(ResourceState {
                    $($($($name: $crate::modules::api::restore::<$resource>(
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
