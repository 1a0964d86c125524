//! What a module is: plain data that the server reads at start. `docs/modules.md` shows by example
//! how to add one.

mod after;
mod command;
mod cx;
mod module;
mod reply;
mod requester;
mod spec;
mod state;

pub use after::{Passed, after, later};
pub use command::{Answers, Note, StageOutcome};
pub use module::{
    AccountDeleted, Answer, Answerer, Broadcast, Cause, Command, Cx, Directed, Every, Guard,
    Incoming, Inline, IqHandler, IqIndex, IqRoute, Module, Nonza, OnBound, OnInline, OnStanza,
    Outgoing, PeriodicJob, Pipeline, Release, ResourceRemoved, RunCommand, Serves, Service,
    Serving, SessionEnded, Sessions, Stage, StreamFeature, Target, ToClient,
};
pub use reply::{ClientDelivery, Effect, PresenceEffect, Reply, SessionEnd};
pub use requester::{Channel, Client, Guest, Requester};
pub use spec::{Identity, On, Spec, State};
pub use state::{AccountPart, Persist, Saved, restore, saved};

pub use crate::router::passage::{GuardQuery, Passage, Phase, Verdict};
