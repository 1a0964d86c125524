//! XEP-0133: Service Administration, as commands of hosted domains. The verbs are those of
//! [`crate::admin`], which the command line has, too.

mod announce;
mod effects;
mod figures;
mod forms;
mod notices;
mod peers;
mod rooms;
mod texts;
mod users;

pub use notices::{Notices, Seen};

use super::api::{Answer, Answers, Command, Cx, Module, RunCommand, Spec};
use crate::base::role::Role;
use figures::Of;
use users::Done;

/// The module.
pub const MODULE: Module = Module {
    name: "administration",
    specs: &[Spec::partial(
        "XEP-0133",
        "1.3.1",
        "lists of blocked and allowed domains (§4.11, §4.12) are commands of our own, and `stonechat s2s`; restarts and stops \
         (§4.30, §4.31) are the service manager's",
        "features/administration.rs",
    )],
    server_commands: &[
        verb("http://jabber.org/protocol/admin#add-user", "Add a user", |cx, it| {
            Box::pin(users::add(cx, it))
        }),
        verb("http://jabber.org/protocol/admin#delete-user", "Delete users", |cx, it| {
            Box::pin(users::delete(cx, it))
        }),
        verb("http://jabber.org/protocol/admin#disable-user", "Disable users", |cx, it| {
            Box::pin(users::disable(cx, it))
        }),
        verb("http://jabber.org/protocol/admin#reenable-user", "Re-enable users", |cx, it| {
            Box::pin(users::reenable(cx, it))
        }),
        verb("http://jabber.org/protocol/admin#end-user-session", "End sessions", |cx, it| {
            Box::pin(users::end_session(cx, it))
        }),
        verb(
            "http://jabber.org/protocol/admin#change-user-password",
            "Change a user's password",
            |cx, it| Box::pin(users::change_password(cx, it)),
        ),
        owners_verb(
            "http://jabber.org/protocol/admin#get-user-roster",
            "Get a user's roster",
            |cx, it| Box::pin(figures::roster_of(cx, it)),
        ),
        verb(
            "http://jabber.org/protocol/admin#get-user-lastlogin",
            "Get a user's last login",
            |cx, it| Box::pin(figures::last_login(cx, it)),
        ),
        verb("http://jabber.org/protocol/admin#user-stats", "Get user statistics", |cx, it| {
            Box::pin(figures::statistics(cx, it))
        }),
        verb(
            "http://jabber.org/protocol/admin#get-registered-users-num",
            "Get the number of registered users",
            |cx, _| number(cx, Of::Registered),
        ),
        verb(
            "http://jabber.org/protocol/admin#get-disabled-users-num",
            "Get the number of disabled users",
            |cx, _| number(cx, Of::Disabled),
        ),
        verb(
            "http://jabber.org/protocol/admin#get-online-users-num",
            "Get the number of online users",
            |cx, _| number(cx, Of::Online),
        ),
        verb(
            "http://jabber.org/protocol/admin#get-active-users-num",
            "Get the number of active users",
            |cx, _| number(cx, Of::Active),
        ),
        verb(
            "http://jabber.org/protocol/admin#get-idle-users-num",
            "Get the number of idle users",
            |cx, _| number(cx, Of::Idle),
        ),
        verb(
            "http://jabber.org/protocol/admin#get-registered-users-list",
            "List registered users",
            |cx, it| names(cx, it, Of::Registered),
        ),
        verb(
            "http://jabber.org/protocol/admin#get-disabled-users-list",
            "List disabled users",
            |cx, it| names(cx, it, Of::Disabled),
        ),
        verb(
            "http://jabber.org/protocol/admin#get-online-users-list",
            "List online users",
            |cx, it| names(cx, it, Of::Online),
        ),
        verb("http://jabber.org/protocol/admin#get-active-users", "List active users", |cx, it| {
            names(cx, it, Of::Active)
        }),
        verb("http://jabber.org/protocol/admin#get-idle-users", "List idle users", |cx, it| {
            names(cx, it, Of::Idle)
        }),
        verb("http://jabber.org/protocol/admin#announce", "Tell all who are online", |cx, it| {
            Box::pin(texts::announce_online(cx, it))
        }),
        verb("http://jabber.org/protocol/admin#announce-all", "Tell all users", |cx, it| {
            Box::pin(texts::announce_all(cx, it))
        }),
        verb(
            "http://jabber.org/protocol/admin#set-motd",
            "Set the message of the day",
            |cx, it| Box::pin(texts::set_motd(cx, it)),
        ),
        verb(
            "http://jabber.org/protocol/admin#edit-motd",
            "Edit the message of the day",
            |cx, it| Box::pin(texts::edit_motd(cx, it)),
        ),
        verb(
            "http://jabber.org/protocol/admin#delete-motd",
            "Delete the message of the day",
            |cx, _| Box::pin(texts::delete_motd(cx)),
        ),
        verb(
            "http://jabber.org/protocol/admin#set-welcome",
            "Set the welcome message",
            |cx, it| Box::pin(texts::set_welcome(cx, it)),
        ),
        verb(
            "http://jabber.org/protocol/admin#delete-welcome",
            "Delete the welcome message",
            |cx, _| Box::pin(texts::delete_welcome(cx)),
        ),
        owners_verb(
            "http://jabber.org/protocol/admin#edit-admin",
            "Edit the admin list",
            |cx, it| Box::pin(users::edit_admins(cx, it)),
        ),
        verb("https://stonechat.im/muc#list-rooms", "List rooms", |cx, it| {
            Box::pin(rooms::list(cx, it))
        }),
        verb("https://stonechat.im/muc#create-room", "Make a room", |cx, it| {
            Box::pin(rooms::create(cx, it))
        }),
        verb("https://stonechat.im/muc#destroy-room", "Destroy a room", |cx, it| {
            Box::pin(rooms::destroy(cx, it))
        }),
        verb(
            "https://stonechat.im/muc#set-affiliation",
            "Set an affiliation in a room",
            |cx, it| Box::pin(rooms::affiliation(cx, it)),
        ),
        verb("https://stonechat.im/muc#purge-room", "Delete the archive of a room", |cx, it| {
            Box::pin(rooms::purge(cx, it))
        }),
        verb("https://stonechat.im/s2s#list", "List streams with other servers", |cx, _| {
            Box::pin(peers::list(cx))
        }),
        verb("https://stonechat.im/s2s#why", "Why is a server not reached?", |cx, it| {
            Box::pin(peers::why(cx, it))
        }),
        verb("https://stonechat.im/s2s#test", "Try a server", |cx, it| {
            Box::pin(peers::test(cx, it))
        }),
        verb("https://stonechat.im/s2s#retry", "Try a server again now", |cx, it| {
            Box::pin(peers::retry(cx, it))
        }),
        verb("https://stonechat.im/s2s#drop", "Give up what waits for a server", |cx, it| {
            Box::pin(peers::give_up(cx, it))
        }),
        verb("https://stonechat.im/s2s#allow", "Let a server in", |cx, it| {
            Box::pin(peers::allow(cx, it))
        }),
        verb("https://stonechat.im/s2s#deny", "Keep a server out", |cx, it| {
            Box::pin(peers::deny(cx, it))
        }),
        verb("https://stonechat.im/s2s#forget", "Forget a rule about a server", |cx, it| {
            Box::pin(peers::forget(cx, it))
        }),
        verb("https://stonechat.im/s2s#rules", "List the rules about servers", |cx, _| {
            Box::pin(peers::rules(cx))
        }),
    ],
    broadcast: Some(notices::arrived),
    sql: &[notices::CATALOGUE],
    ..Module::EMPTY
};

/// For every admin.
const fn verb(node: &'static str, name: &'static str, run: RunCommand) -> Command {
    Command { node, name, allowed: |cx| cx.role().is_admin(), run }
}

/// For owners.
const fn owners_verb(node: &'static str, name: &'static str, run: RunCommand) -> Command {
    Command { node, name, allowed: |cx| cx.role() == Role::Owner, run }
}

fn number(cx: Cx, of: Of) -> Answer<Done> {
    Box::pin(figures::number(cx, of))
}

fn names(cx: Cx, stages: Vec<Answers>, of: Of) -> Answer<Done> {
    Box::pin(figures::names(cx, stages, of))
}
