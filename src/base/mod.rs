//! The ground floor: limits, time stamps, ids and hashing. It does no I/O and has no clock or randomness of
//! its own.

pub mod archive_id;
pub mod credential;
pub mod figures;
pub mod hash;
pub mod hourly;
pub mod id;
pub mod limits;
pub mod role;
pub mod size;
pub mod tally;
pub mod time;
