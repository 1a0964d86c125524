//! Who asks a handler for something.

use std::net::IpAddr;
use std::sync::Arc;

use crate::jid::{FullJid, Jid};
use crate::router::home::Home;
use crate::router::outbox::Outbox;
use crate::store::ids::AccountId;

/// Who asks.
#[derive(Debug, Clone)]
pub enum Requester {
    /// A client of this server.
    Client(Arc<Client>),
    /// Somebody on a stream that is not authenticated yet.
    Guest(Guest),
    /// Known by its address alone: a service of this server, or the server itself. It may do what that
    /// address lets it do.
    Entity(Jid),
}

/// A client's session, bound to its resource.
#[derive(Debug, Clone)]
pub struct Client {
    /// Its address.
    pub jid: FullJid,
    /// Its account; none for anonymous users.
    pub account: Option<AccountId>,
    /// Its number in the registry.
    pub session: u64,
    /// Its outbox.
    pub outbox: Arc<Outbox>,
    /// The right to its account's entry.
    pub home: Home,
    /// How it is connected.
    pub channel: Channel,
}

/// A stream before it is authenticated.
#[derive(Debug, Clone)]
pub struct Guest {
    /// The domain that it came for, with a made-up resource.
    pub jid: FullJid,
    /// How it is connected.
    pub channel: Channel,
}

/// What is known of a client's connection.
#[derive(Debug, Clone, Copy)]
pub struct Channel {
    /// Its network address.
    pub peer: IpAddr,
    /// The stream is encrypted.
    pub secure: bool,
    /// A token opened it, and not the password (XEP-0484).
    pub by_token: bool,
}

impl Requester {
    /// The address that speaks.
    pub fn jid(&self) -> &Jid {
        match self {
            Self::Client(client) => &client.jid,
            Self::Guest(guest) => &guest.jid,
            Self::Entity(jid) => jid,
        }
    }

    /// The session, if it is one.
    pub fn client(&self) -> Option<&Client> {
        match self {
            Self::Client(client) => Some(client),
            Self::Guest(_) | Self::Entity(_) => None,
        }
    }

    /// The connection that it speaks through, if there is one.
    pub fn channel(&self) -> Option<Channel> {
        match self {
            Self::Client(client) => Some(client.channel),
            Self::Guest(guest) => Some(guest.channel),
            Self::Entity(_) => None,
        }
    }
}
