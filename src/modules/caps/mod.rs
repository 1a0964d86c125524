//! XEP-0115 and XEP-0390: Entity Capabilities. The server's own are a stream feature. Those of clients are
//! passed on unchanged in presence; the server learns from them which nodes' news a session wants
//! (`NODE+notify`, XEP-0163 §4.2).
//!
//! A client says a hash, and is asked what it stands for: one session for each hash. What comes back is shared
//! with others only if it hashes to what was said, and only as far as the hashed text itself tells it
//! (`info.rs`): so whoever is asked first cannot tell others' clients something wrong.

mod info;
mod known;
mod learn;
mod places;
mod remote;
mod said;
mod server;
mod shared;
mod state;
#[cfg(test)]
mod tests;
mod wanted;

pub use remote::{Remote, heard, remote};
pub use server::{node, server_features, server_forms, sorted};
pub use shared::Shared;
pub use state::{State, wanted_by, wants};

use super::api::{Module, On, Spec, Stage};

/// The module.
pub const MODULE: Module = Module {
    name: "caps",
    specs: &[
        Spec::partial(
            "XEP-0115",
            "1.6.0",
            "no caps optimisation (§8.4), which is optional",
            "features/caps.rs",
        ),
        Spec::partial(
            "XEP-0390",
            "0.3.2",
            "clients' are read; the server publishes no hashes of its own and answers for no client",
            "features/caps.rs",
        ),
    ],
    features: &[On::Server(server::NS), On::Server(said::NS_2)],
    stream_features: Some(|config, stage| match stage {
        // Before SASL a client may not send the disco query for the hash, so it gets the hash afterwards.
        Stage::Authenticate => None,
        Stage::Bind => Some(server::stream_feature(config)),
    }),
    presence_changed: Some(learn::presence_changed),
    ..Module::EMPTY
};

/// `[modules.caps]`
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Clients' hashes whose meaning is remembered: one for each version of each program, roughly.
    pub known_max: usize,
}

impl Default for Config {
    fn default() -> Self {
        Self { known_max: 1_000 }
    }
}
