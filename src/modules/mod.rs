//! The XEPs, each in a file of its own; [`ALL`] is the only list.

pub mod api;
mod pipeline;

pub use pipeline::Pipeline;

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
    };
}

modules! {
    caps,
    disco,
    last,
    offline,
    ping,
    presence: presence::State,
    register,
    roster,
    session,
    subscription,
    time,
    version,
}

/// Settings of all modules: the `[modules.…]` tables of the config file.
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// XEP-0077
    pub register: register::Config,
    /// XEP-0092
    pub version: version::Config,
}
