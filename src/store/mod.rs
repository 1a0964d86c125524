//! The store: all durable data, written in short transactions to one SQLite file.
//!
//! One thread writes, in batches with one COMMIT each; a few threads read. A write gets its outcome after the
//! COMMIT of its batch, never before: the acknowledgement means durable (invariant I8).

pub mod accounts;
pub mod api_tokens;
pub mod archive;
mod archived;
pub mod audit;
mod commits;
mod copies;
pub mod damage;
pub mod devices;
mod errors;
mod figures;
pub mod given;
mod growth;
mod handle;
pub mod handled;
pub mod ids;
pub mod imported;
pub mod invitations;
mod job;
mod line;
pub mod mailbox;
pub mod meta;
pub mod migrate;
mod node;
mod options;
pub mod peer_queue;
pub mod peer_rules;
mod queue;
mod readers;
pub mod reports;
pub mod roster;
pub mod search;
mod sql;
mod sqlite;
#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod tests;
pub mod tokens;
pub mod tx;
mod unindexed;
pub mod uploads;
pub mod usage;
mod wire;
mod writer;

pub use errors::{BackupError, OpenError};
pub use growth::{Grown, grown_step};
pub use handle::Store;
pub use job::Job;
pub use line::Load;
pub use node::AccessVersion;
pub use options::{Clock, Options, Synchronous};
pub use queue::Grant;
pub(crate) use sql::sql;
pub use sqlite::backup::Snapshot;
pub use sqlite::restore::{RestoreError, Restored};
pub use sqlite::uploaded::{FOLDER as UPLOADS_FOLDER, Uploads};
pub use tx::{Row, StoreError, Tx, Value, query_all, query_one, query_optional};
pub use unindexed::Placings;

/// Every statement of this floor by name (`modules::sql` has all), except those of the search, which are
/// SQLite's own (`search::of_sqlite`).
pub fn sql_catalogue() -> Vec<(&'static str, &'static str)> {
    [
        accounts::CATALOGUE,
        api_tokens::CATALOGUE,
        &archive::catalogue().concat(),
        audit::CATALOGUE,
        devices::CATALOGUE,
        given::CATALOGUE,
        handled::CATALOGUE,
        imported::CATALOGUE,
        invitations::CATALOGUE,
        reports::CATALOGUE,
        roster::CATALOGUE,
        search::catalogue(),
        mailbox::CATALOGUE,
        meta::CATALOGUE,
        peer_queue::CATALOGUE,
        peer_rules::CATALOGUE,
        tokens::CATALOGUE,
        &uploads::catalogue().concat(),
        usage::CATALOGUE,
    ]
    .concat()
}
