//! What accounts upload (XEP-0363): what is known of files and slots. The bytes are the module's matter.

mod lists;
mod named;
mod rows;
mod slots;

pub use lists::{Listed, Sum, bury_own, bury_some, list, owners, sum};
pub use named::bury_named;
pub use rows::{
    BATCH, DAY, File, Kind, WEIGHTS, bury_all, bury_old, bury_slot, dead, find, finish, forget,
    lapsed, total,
};
pub use slots::{Bounds, Given, NewSlot, lapse, shed, slot};

/// The statements of the files in this folder.
pub(super) fn catalogue() -> [&'static [(&'static str, &'static str)]; 4] {
    [lists::CATALOGUE, named::CATALOGUE, rows::CATALOGUE, slots::CATALOGUE]
}
