//! The XEPs, each in a file of its own; [`ALL`] is the only list.

#[macro_use]
mod declare;

pub mod api;
mod drive;
mod features;
mod pipeline;
pub mod sql;
#[cfg(test)]
pub(crate) mod testing;

pub use api::{Pipeline, Saved};
pub use drive::{Driven, Sender, attend};
pub use features::{erase, features, in_order};

modules! {
    blocking { account: Option<Box<blocking::List>>, resource: blocking::State, },
    caps,
    carbons { account: Option<Box<carbons::Recent>>, resource: carbons::State, },
    commands { shared: commands::Sessions, },
    csi { config: csi::Config, session: csi::State, },
    devices { config: devices::Config, },
    disco,
    echo { config: echo::Config, },
    last,
    mam { config: mam::Config, account: Option<Box<mam::Preferences>>, },
    offline,
    ping,
    presence,
    quota { config: quota::Config, shared: quota::Watch, },
    register { config: register::Config, shared: register::Gate, },
    retraction,
    roster,
    search { config: search::Config, shared: search::IndexQueue, },
    session,
    subscription,
    time,
    version { config: version::Config, },
}
