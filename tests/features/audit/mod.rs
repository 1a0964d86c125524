//! The audit of the promise (promise.md): clients that keep books, over a server that is killed,
//! stopped, or runs out of disk, and a judgement over the books at the end. It sees the server as
//! any client does, and shares no code with it.
//!
//! What a server does not offer is passed over with a printed line: without XEP-0198 an answered ping
//! is the acknowledgement, without XEP-0313 the archives are not judged. Rooms (XEP-0045) are on our own server only;
//! `judge_rooms` judges them; `uploads` are files, and what became of them. Some clients come by WebSocket.
//!
//! `remote` is about recipients at another server: either is killed.
//!
//! `settings` lists what the environment may say. The reported run, with release builds of both
//! sides: `STONECHAT_AUDIT_KILLS=1000 STONECHAT_AUDIT_RATE=1000 cargo test --release --test features
//! audit::runs::nothing_acknowledged -- --nocapture`. With `STONECHAT_TEST_SUBJECT` and its like only
//! `audit::speaks` and `audit::runs::cuts` run, against that server.

mod archive;
mod driver;
mod inbox;
mod judge;
mod judge_rooms;
mod ledger;
mod load;
mod place;
mod remote;
mod rooms;
mod run;
mod runs;
pub mod settings;
mod speaks;
mod uploads;
