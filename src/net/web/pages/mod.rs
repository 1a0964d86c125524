//! Pages for people: what this server is (`front.rs`), invitations and new passwords (`invitation.rs`), accounts for
//! all where anybody may make one (`join.rs`), and a web client in a folder (`converse.rs`).
//!
//! They are rendered here, work without scripts, and are escaped by construction (`maud`). What they do is done by
//! the verbs of the modules `invite` and `register`, as for clients.

mod apps;
mod asked;
mod assets;
mod converse;
mod enroll;
mod fields;
mod form;
mod front;
mod guard;
mod invitation;
mod join;
mod language;
mod layout;
mod qr;
mod refusal;
mod routes;
mod state;
mod texts;

pub use converse::{SCRIPT as CONVERSE_SCRIPT, STYLE as CONVERSE_STYLE};
pub use routes::routes;
