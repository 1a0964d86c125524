//! The archive (XEP-0313): one row for each message of an account or a room that is worth storing.

mod append;
mod catalogue;
mod moved;
mod pages;
mod retention;
mod retracted;
mod times;
mod unindexed;
mod weight;

pub use append::{Entry, RowKind, append, append_behind, append_old};
pub(super) use catalogue::catalogue;
pub use moved::{around, free_from, of_moment};
pub use pages::{
    Archived, Direction, Filter, Head, Page, Peer, Point, TABLE, bounds, count, first, get, head,
    page, position_of,
};
pub use retention::{BATCH, Left, archives_after, clear, leave, left_after, purge};
pub use retracted::{By, LOOK, newest_of, replace};
pub use times::narrowed;
pub use unindexed::{index_new, last_indexed, last_seq, owed};
pub use weight::{ROW_BYTES, Weight, shed, weigh};

#[cfg(test)]
mod tests;
