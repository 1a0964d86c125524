//! What a module is: plain data that the server reads at start. `docs/modules.md` shows by example
//! how to add one.

mod after;
mod command;
mod component;
mod create;
mod cx;
mod module;
mod moves;
mod reply;
mod requester;
mod spec;
mod state;
mod web;

pub use after::{Passed, after, later};
pub use command::{Answers, Note, StageOutcome};
pub use component::{
    Access, Component, Delegate, IqAccess, MessageAccess, PresenceAccess, Privileges, Push,
};
pub use create::Create;
pub use module::{
    AccountCreated, AccountDeleted, AccountNodes, AccountTurn, AccountTurned, AfterCommit, Answer,
    Answerer, Approved, Blocks, Broadcast, Cause, Command, Cx, Described, Directed, Every, Follow,
    Followed, Guard, Hibernates, Incoming, Inline, Instruction, IqHandler, IqIndex, IqRoute,
    Measure, Module, NewAccount, NodeChanged, NodeInfo, NodeItems, NodeMirror, NodeWatch, Nonza,
    OnBound, OnInline, OnInstruction, OnStanza, Outgoing, PeriodicJob, Pipeline, PresenceChanged,
    PresencePayload, PresenceStamp, PrivateXml, Quiet, Release, ResourceRemoved, RunCommand,
    Serves, Service, Serving, SessionEnded, Sessions, Stage, StreamFeature, Target, ToClient,
    WantedChanged, WebCx, WebRoutes, Write,
};
pub use moves::{
    Give, Giving, Holder, Moved, MovedRooms, Moves, Opened, Out, Own, Owner, RoomsAfter, Settle,
    Tag, Take, Taken, Taking, Untaken,
};
pub use reply::{ClientDelivery, Effect, PresenceEffect, Reply, SessionEnd, Unanswered};
pub use requester::{Admission, Channel, Client, Guest, Requester, Via};
pub use spec::{Identity, InfoField, InfoForm, On, Spec, State, is_uri};
pub use state::{AccountPart, Persist, Saved, restore, saved};
pub use web::WebAddress;

pub use crate::router::passage::{GuardQuery, Passage, Phase, Verdict};
