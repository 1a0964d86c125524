//! The audit of the promise (promise.md): clients that keep books, over a server that is killed,
//! stopped, or runs out of disk, and a judgement over the books at the end. It sees the server as
//! any client does, and shares no code with it.
//!
//! `settings` lists what the environment may say: for the reported run, a release build of both
//! sides and `STONECHAT_AUDIT_KILLS=1000 STONECHAT_AUDIT_RATE=1000`.

mod archive;
mod driver;
mod inbox;
mod judge;
mod ledger;
mod load;
mod mount;
mod place;
mod run;
mod runs;
mod settings;
mod speaks;
