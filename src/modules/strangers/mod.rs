//! Messages of strangers: of whoever is not among an account's contacts. By default they are delivered as all
//! others. A host, or an account for itself, may have them held until the account lets their sender in, or
//! refused.
//!
//! No stranger is who is in the roster, is subscribed either way, was sent directed presence (a room that was
//! joined), was written to, or was let in; nor are the account itself and this server. Only messages are looked
//! at: presence and requests have rules of their own (RFC 6121 §3, §8.5).

mod held;
mod passage;
mod policy;
mod requests;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::time::Duration;

pub use policy::{Own, Policy};

use super::Config as Settings;
use super::api::{Command, Module, Phase};

/// The module.
pub const MODULE: Module = Module {
    name: "strangers",
    active: Some(is_active),
    incoming: &[(Phase::Archive, passage::received)],
    outgoing: &[(Phase::Notify, passage::sent)],
    sessions: Some(passage::sessions),
    presence_changed: Some(passage::presence_changed),
    commands: &[
        Command {
            node: "strangers-policy",
            name: "Messages of strangers",
            allowed: |cx| cx.config.strangers.own_choice && cx.account().is_ok(),
            run: |cx, stages| Box::pin(policy::choose(cx, stages)),
        },
        Command {
            node: "strangers-requests",
            name: "Strangers who wait",
            allowed: |cx| is_active(&cx.config) && cx.account().is_ok(),
            run: |cx, stages| Box::pin(requests::decide(cx, stages)),
        },
    ],
    sql: &[held::CATALOGUE, policy::CATALOGUE],
    weights: &[held::WEIGHT, policy::WEIGHT],
    every: Some((Duration::from_secs(300), |job| Box::pin(requests::look(job)))),
    ..Module::EMPTY
};

/// `[modules.strangers]`
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// What is done with their messages.
    pub messages: Policy,
    /// The same on single hosts, by domain.
    pub by_host: BTreeMap<String, Policy>,
    /// Whether accounts may choose for themselves.
    pub own_choice: bool,
    /// Days after which a message that is held is deleted.
    pub hold_days: u32,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            messages: Policy::Deliver,
            by_host: BTreeMap::new(),
            own_choice: true,
            hold_days: 30,
        }
    }
}

impl Config {
    fn of_host(&self, domain: &str) -> Policy {
        self.by_host.get(domain).copied().unwrap_or(self.messages)
    }
}

fn is_active(config: &Settings) -> bool {
    let Config { messages, by_host, own_choice, .. } = &config.strangers;
    let differs = |policy: &Policy| *policy != Policy::Deliver;
    *own_choice || differs(messages) || by_host.values().any(differs)
}
