//! The operator's verbs, whatever way they come: the command line, ad-hoc commands, the JSON API, the admin's page.
//!
//! [`Request`] is a verb with its arguments, [`Outcome`] what it gives, [`VERBS`] the table of all, [`Operator`] who carries
//! them out: it looks whether who asks may, and writes down what was done.

pub mod accounts;
mod actor;
mod admins;
mod audit;
mod cert_verbs;
mod certificates;
mod effects;
pub mod invitations;
mod lines;
mod looks;
pub mod openapi;
mod operator;
mod outcome;
mod peer_verbs;
mod peers;
mod queries;
mod reports;
mod request;
mod response;
mod rooms;
mod running;
mod secret;
mod table;
mod teams;
mod texts;
mod tokens;
pub mod told;
mod upload_verbs;
mod uploads;
mod verb;

pub use actor::{Actor, Rank, Via};
pub use admins::Admins;
pub use audit::forget as forget_audit;
pub use cert_verbs::{CertError, CertVerb};
pub use certificates::Keeping;
pub use effects::{Doing, Effects, Gone, Online, Presence};
pub use looks::backup_made;
pub use operator::{Operator, Operators, served};
pub use outcome::Outcome;
pub use peer_verbs::{PeerError, PeerVerb};
pub use peers::{Peering, rules_of};
pub use queries::{AuditQuery, UserQuery};
pub use request::{Invite, Request};
pub use response::Response;
pub use rooms::{RoomError, RoomLine, RoomPage, RoomQuery, RoomVerb};
pub use running::{LOG_LINES_MAX, Surroundings};
pub use secret::Secret;
pub use table::VERBS;
pub use teams::{TeamError, TeamVerb};
pub use texts::{Audience, Notice, NoticeChange};
pub use tokens::PREFIX as TOKEN_PREFIX;
pub use upload_verbs::UploadVerb;
pub use verb::{AdHoc, Method, Verb};
