//! The XEPs, each in a file of its own; [`ALL`] is the only list.

#[macro_use]
mod declare;

pub mod api;
mod ask;
mod beside;
mod drive;
mod features;
mod pipeline;
mod serve;
pub mod sql;
#[cfg(test)]
pub(crate) mod testing;

pub use api::{Pipeline, Saved};
pub use drive::{Driven, Sender, attend};
pub use features::{equip, erase, features, in_order, turned};

modules! {
    administration { shared: administration::Notices, account: administration::Seen, },
    avatar { account: avatar::Current, resource: avatar::State, },
    blocking { account: Option<Box<blocking::List>>, resource: blocking::State, },
    bookmarks { account: Option<Box<bookmarks::Notices>>, },
    caps { config: caps::Config, shared: caps::Shared, resource: caps::State, },
    carbons { account: Option<Box<carbons::Recent>>, resource: carbons::State, },
    commands { shared: commands::Sessions, },
    components,
    contacts { config: contacts::Config, },
    csi { config: csi::Config, session: csi::State, },
    data_policy { config: data_policy::Config, },
    delegation { shared: delegation::Nested, },
    devices { config: devices::Config, },
    disco,
    echo { config: echo::Config, },
    external { config: external::Config, },
    invite { config: invite::Config, shared: invite::Guesses, },
    last,
    mam { config: mam::Config, account: Option<Box<mam::Preferences>>, },
    muc { config: muc::Config, shared: muc::Rooms, resource: muc::Subscriptions, },
    offline,
    pep { config: pep::Config, shared: pep::Told, resource: pep::Heard, },
    ping,
    presence,
    private { config: private::Config, },
    privilege { resource: privilege::State, },
    pubsub,
    pubsub_service { config: pubsub_service::Config, shared: pubsub_service::Services, },
    push { config: push::Config, shared: push::Queue, account: Option<Box<push::Registrations>>, },
    quota { config: quota::Config, shared: quota::Watch, },
    read_marks,
    register { config: register::Config, shared: register::Gate, },
    reports { config: reports::Config, },
    retraction,
    roster,
    search { config: search::Config, shared: search::IndexQueue, },
    session,
    strangers { config: strangers::Config, account: Option<Box<strangers::Own>>, },
    subscription,
    teams,
    time,
    upload { config: upload::Config, shared: upload::Uploading, },
    vcard,
    version { config: version::Config, },
}
