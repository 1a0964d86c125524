//! Turns the list of modules into types that hold a part for each module that has one.

/// Declares the modules: a `pub mod`, an entry in [`ALL`], a module's settings (`config`), and its state: for
/// the whole server (`shared`), for an account (next to its entry in the router), for a session there
/// (`resource`) and in the session's own task (`session`).
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
            /// Whom `[admin]` names.
            #[serde(skip)]
            pub admins: $crate::admin::Admins,
            /// What `[[component]]` names, by domain.
            #[serde(skip)]
            pub components: std::sync::Arc<[$crate::modules::api::Component]>,
            /// Whether passwords may travel unencrypted: `c2s.require_tls` is off.
            #[serde(skip)]
            pub unencrypted: bool,
        }

        impl Default for Config {
            fn default() -> Self {
                Self {
                    $($($($name: <$config>::default(),)?)?)*
                    scram_iterations: 10_000,
                    admins: $crate::admin::Admins::default(),
                    components: std::sync::Arc::default(),
                    unencrypted: false,
                }
            }
        }

        /// State of modules for the whole server: bounded, each behind a short lock of its own.
        #[derive(Debug, Default)]
        pub struct Shared {
            $($($(
                #[doc = concat!("What `", stringify!($name), "` keeps.")]
                pub $name: $shared,
            )?)?)*
            /// Notified when an account was deleted and its rows in other tables may be deleted.
            pub account_deleted: std::sync::Arc<tokio::sync::Notify>,
            /// Where the web door is seen from outside.
            pub web_address: $crate::modules::api::WebAddress,
            /// What is between the running server and others: set once it runs.
            pub peering: std::sync::Mutex<Option<std::sync::Weak<dyn $crate::admin::Peering>>>,
        }

        /// State of modules for one account while the router has its entry.
        #[derive(Debug, Default)]
        pub struct AccountState {
            $($($(
                #[doc = concat!("State of `", stringify!($name), "`.")]
                pub $name: $account,
            )?)?)*
        }

        impl AccountState {
            /// Reads the state; `None` if every part is empty.
            fn load(tx: &mut dyn $crate::store::tx::Tx, account: $crate::store::ids::AccountId) -> Result<$crate::router::held::State, $crate::store::StoreError> {
                let state = Self {
                    $($($($name: <$account as $crate::modules::api::AccountPart>::load(tx, account)?,)?)?)*
                };
                Ok((!state.is_nothing()).then(|| Box::new(state) as _))
            }

            fn is_nothing(&self) -> bool {
                true $($($(&& <$account as $crate::modules::api::AccountPart>::is_nothing(&self.$name))?)?)*
            }

            /// The account's state, if there is any.
            pub fn of(account: &$crate::router::registry::AccountEntry) -> Option<&Self> {
                $crate::modules::features::held(&account.features)
            }

            /// Like [`Self::of`], but mutable.
            pub fn of_mut(account: &mut $crate::router::registry::AccountEntry) -> Option<&mut Self> {
                $crate::modules::features::held_mut(&mut account.features)
            }

            /// Changes the account's state; drops it if nothing is left afterwards.
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

        /// State of modules for one session in the entry of its account.
        #[derive(Debug, Default)]
        pub struct ResourceState {
            $($($(
                #[doc = concat!("State of `", stringify!($name), "`.")]
                pub $name: $resource,
            )?)?)*
        }

        impl ResourceState {
            /// The session's state, if there is any.
            pub fn of(resource: &$crate::router::registry::Resource) -> Option<&Self> {
                $crate::modules::features::held(&resource.features)
            }

            /// The session's state, made on first use.
            pub fn made(resource: &mut $crate::router::registry::Resource) -> Option<&mut Self> {
                $crate::modules::features::made(&mut resource.features)
            }
        }

        impl $crate::router::held::FeatureState for ResourceState {
            fn bytes(&self) -> usize {
                size_of::<Self>()
            }
        }

        /// State of modules in one session's task. A test fixes its size.
        #[derive(Debug, Default)]
        pub struct SessionState {
            $($($(
                #[doc = concat!("State of `", stringify!($name), "`.")]
                pub $name: $session,
            )?)?)*
        }

        /// The parts of all modules, of both kinds, for a session that is saved over a restart: name, version
        /// and bytes.
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

        /// The reverse of [`save`]; `None` if a part cannot be read.
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
