//! What a module is: plain data that the server reads at start. `docs/modules.md` shows by example
//! how to add one.

mod command;
mod cx;
mod module;
mod reply;
mod requester;
mod spec;
mod state;

pub use command::{Answers, Note, Said};
pub use module::{
    AccountDeleted, Answer, Broadcast, Cause, Chore, Command, Cx, Directed, Every, Gone, Guard,
    Incoming, Inline, IqHandler, IqIndex, IqRoute, Module, Nonza, OnBound, OnInline, OnStanza,
    Outgoing, Pipeline, Release, RunCommand, Serves, Service, Serving, Sessions, Stage,
    StreamFeature, Target, ToClient, Unbound,
};
pub use reply::{Effect, Goodbye, Presented, Reply, Turn};
pub use requester::{Channel, Client, Guest, Requester};
pub use spec::{Identity, On, Spec, State};
pub use state::{Keep, OfAccount, Saved, restore, saved};

pub use crate::router::passage::{Meeting, Passage, Phase, Verdict};
