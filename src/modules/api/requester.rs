//! The requester: the entity whose request a handler answers.

use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};

use crate::jid::{FullJid, Jid};
use crate::router::home::Home;
use crate::router::outbox::Outbox;
use crate::store::ids::AccountId;
use crate::store::invitations::Invitation;

/// The requester.
#[derive(Debug, Clone)]
pub enum Requester {
    /// A client of this server.
    Client(Arc<Client>),
    /// A stream that is not authenticated yet.
    Guest(Guest),
    /// An entity known only by its address: a service of this server, or the server itself. It has the
    /// permissions of that address.
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
    /// The permission to access its account's entry.
    pub home: Home,
    /// How it is connected.
    pub channel: Channel,
}

/// A stream before it is authenticated.
#[derive(Debug, Clone)]
pub struct Guest {
    /// The domain that the stream was opened to, with a generated resource.
    pub jid: FullJid,
    /// How it is connected.
    pub channel: Channel,
    /// What it has shown so far.
    pub admission: Admission,
}

/// The invitation that a stranger has shown on its stream: with it, it may do what others may not.
#[derive(Debug, Clone, Default)]
pub struct Admission(Arc<Mutex<Option<Invitation>>>);

impl Admission {
    /// The invitation, if it showed one.
    pub fn get(&self) -> Option<Invitation> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Another one, or none any more.
    pub fn set(&self, shown: Option<Invitation>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = shown;
    }
}

/// A client's connection.
#[derive(Debug, Clone, Copy)]
pub struct Channel {
    /// Its network address.
    pub peer: IpAddr,
    /// Whether the stream is encrypted.
    pub secure: bool,
    /// Whether it was authenticated by a token rather than the password (XEP-0484).
    pub by_token: bool,
    /// How it came.
    pub via: Via,
}

/// How a connection came to the server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Via {
    /// TCP, with STARTTLS inside (RFC 6120 §5) or without TLS.
    Tcp,
    /// TLS from the first byte (XEP-0368).
    Tls,
    /// WebSocket (RFC 7395).
    WebSocket,
    /// BOSH (XEP-0206).
    Bosh,
}

impl Via {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Tcp, Self::Tls, Self::WebSocket, Self::Bosh];

    /// Its name in figures.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Tcp => "tcp",
            Self::Tls => "tls",
            Self::WebSocket => "websocket",
            Self::Bosh => "bosh",
        }
    }
}

impl Requester {
    /// The requester's address.
    pub fn jid(&self) -> &Jid {
        match self {
            Self::Client(client) => &client.jid,
            Self::Guest(guest) => &guest.jid,
            Self::Entity(jid) => jid,
        }
    }

    /// The session, if the requester is one.
    pub fn client(&self) -> Option<&Client> {
        match self {
            Self::Client(client) => Some(client),
            Self::Guest(_) | Self::Entity(_) => None,
        }
    }

    /// The stranger, if the requester is one.
    pub fn guest(&self) -> Option<&Guest> {
        match self {
            Self::Guest(guest) => Some(guest),
            Self::Client(_) | Self::Entity(_) => None,
        }
    }

    /// The requester's connection, if it has one.
    pub fn channel(&self) -> Option<Channel> {
        match self {
            Self::Client(client) => Some(client.channel),
            Self::Guest(guest) => Some(guest.channel),
            Self::Entity(_) => None,
        }
    }
}
