//! What a ready session costs in the heap. A process of its own, for the allocator counts all of it.
#![allow(
    dead_code,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::disallowed_methods,
    missing_docs
)]

#[path = "features/harness/mod.rs"]
mod harness;

use harness::client::{Client, Security, Target};
use harness::io::Io;
use stats_alloc::{INSTRUMENTED_SYSTEM, StatsAlloc};
use std::alloc::System;
use std::net::TcpStream;
use stonechat::base::hash::{base64, sha1};
use stonechat::server::build::{self, Running};
use stonechat::server::config::{self, Inputs};

#[global_allocator]
static HEAP: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

/// Bytes of the heap that one more ready session may take: the 6,500 of today (some 50 more or less, as
/// tables grow by chance), and a little. What accounts publish, and what is kept of it and of push services
/// beside each account, took 255 of them.
const MOST: usize = 6_650;
/// Bytes more that a session may take whose client says its capabilities: the 130 to 310 of today, and a little.
const CAPS_MOST: usize = 400;
/// Bytes that an occupant of a room adds to it: its presence there, its nickname, its addresses.
const OCCUPANT_MOST: usize = 1_024;
const CONTACTS: usize = 20;
const MESSAGES: usize = 10;
/// What is there once (a table, a buffer of a thread) is there after so many.
const BEFORE: usize = 32;
const MEASURED: usize = 96;

/// Bound, roster of 20 contacts fetched, available, resumable XEP-0198, ten messages each way: the
/// "ready session" of docs/performance.md.
#[tokio::test]
async fn a_ready_session_costs_little() {
    let folder = tempfile::tempdir().unwrap();
    let running = start(folder.path()).await;
    let target = Target {
        domain: "localhost".to_owned(),
        c2s: running.places.c2s[0],
        c2s_tls: None,
        web: None,
        ca: None,
    };
    let mut held = Vec::new();
    let each = measured(&target, &running, Kind::Plain, &mut held).await;
    println!("{each} bytes each");
    assert!(
        each <= MOST,
        "a ready session takes {each} bytes of the heap, and {MOST} are allowed. Find what grew: \
         size_of of Session, Managed, Outbox, User, Resource; queues and maps that keep room while \
         they are empty; or heaptrack (docs/performance.md, \"Memory\"). If it is worth it, raise MOST \
         and say why",
    );
    assert!(each >= MOST / 2, "{each} bytes: lower MOST, so that this is not lost again");
    let with_caps = measured(&target, &running, Kind::Caps, &mut held).await;
    println!("{with_caps} bytes each with capabilities");
    assert!(
        with_caps <= each + CAPS_MOST,
        "a session whose client says its capabilities takes {with_caps} bytes, one that says none \
         {each}; {CAPS_MOST} more are allowed: look at the states of caps and pep, and at the presence \
         that is kept",
    );
    let in_room = measured(&target, &running, Kind::Room, &mut held).await;
    println!("{in_room} bytes each in a room");
    assert!(
        in_room <= each + OCCUPANT_MOST,
        "a session in a room takes {in_room} bytes, one in none {each}; {OCCUPANT_MOST} more are \
         allowed: look at the occupant and its seat (modules/muc/room.rs)",
    );
    drop(held);
}

/// Bytes of the heap that one more session of a kind takes.
async fn measured(
    target: &Target,
    running: &Running,
    kind: Kind,
    held: &mut Vec<TcpStream>,
) -> usize {
    ready(target, 0..BEFORE, kind, held).await;
    let before = heap(running).await;
    // The clients' own share: a socket each, and no heap.
    held.reserve_exact(MEASURED);
    let room = MEASURED * size_of::<TcpStream>();
    ready(target, BEFORE..BEFORE + MEASURED, kind, held).await;
    (heap(running).await - before).saturating_sub(room) / MEASURED
}

/// What the client of a session says of itself.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// Nothing.
    Plain,
    /// Capabilities (XEP-0115), with the news of twenty nodes that it wants.
    Caps,
    /// In a room, with presence of three hundred bytes there.
    Room,
}

async fn start(data: &std::path::Path) -> Running {
    let mut inputs = Inputs::from_process(None, Vec::new());
    inputs.search.clear();
    inputs.env.clear();
    inputs.base = inputs.base.lab(&["localhost".to_owned()], data.to_owned());
    let sets = [
        ("sasl.iterations", "4096"),
        ("c2s.require_tls", "false"),
        ("modules.mam.enabled", "false"),
        ("modules.muc.preset", "public"),
    ];
    inputs.sets = sets.map(|(key, value)| (key.to_owned(), value.to_owned())).to_vec();
    let loaded = config::load(&inputs).unwrap_or_else(|problems| panic!("{problems:?}"));
    match build::start(&loaded.config, &loaded.origins).await {
        Ok(running) => running,
        Err(problem) => panic!("{problem:?}"),
    }
}

/// Bytes in use once nothing is on its way to the store.
async fn heap(running: &Running) -> usize {
    running.store.barrier().await.unwrap();
    let stats = HEAP.stats();
    stats.bytes_allocated - stats.bytes_deallocated
}

/// Makes pairs ready, and keeps of each client the bare socket.
async fn ready(
    target: &Target,
    users: std::ops::Range<usize>,
    kind: Kind,
    held: &mut Vec<TcpStream>,
) {
    for first in users.step_by(2) {
        let mut pair = [online(target, first, kind).await, online(target, first + 1, kind).await];
        for round in 0..MESSAGES {
            for (from, to) in [(0, 1), (1, 0)] {
                let text = format!("{}{round}", "0123456789".repeat(20));
                let peer = pair[to].jid.clone();
                let message =
                    format!("<message to='{peer}' type='chat'><body>{text}</body></message>");
                pair[from].send(&message).await.unwrap();
                pair[to].expect(|e| e.name == "message").await.unwrap();
            }
        }
        for mut client in pair {
            client.fence().await.unwrap();
            let h = client.handled;
            // Answered behind the acknowledgement: when it comes, that has had its effect.
            client.send(&format!("<a xmlns='{SM}' h='{h}'/><r xmlns='{SM}'/>")).await.unwrap();
            client.expect(|e| e.is(SM, "a")).await.unwrap();
            let Io::Plain(tcp) = client.io else { panic!("not plain") };
            held.push(tcp.into_std().unwrap());
        }
    }
}

async fn online(target: &Target, user: usize, kind: Kind) -> Client {
    let name = match kind {
        Kind::Plain => format!("user-{user}"),
        Kind::Caps => format!("caps-{user}"),
        Kind::Room => format!("room-{user}"),
    };
    let mut client = Client::connect(target, Security::Plain).await.unwrap();
    client.register(&name, "pencil").await.unwrap();
    client.authenticate(&name, "pencil").await.unwrap();
    client.bind(Some("phone")).await.unwrap();
    for contact in 0..CONTACTS {
        let item = format!("<item jid='contact-{contact}@localhost' name='Contact {contact}'/>");
        let query = format!("<query xmlns='jabber:iq:roster'>{item}</query>");
        client.send(&format!("<iq type='set' id='set-{contact}'>{query}</iq>")).await.unwrap();
    }
    client.fence().await.unwrap();
    client.enable().await.unwrap();
    client.become_available().await.unwrap();
    match kind {
        Kind::Plain => {}
        Kind::Caps => says_capabilities(&mut client, user == 0).await,
        Kind::Room => enters(&mut client, user).await,
    }
    client
}

/// Into a room that shows nobody's presence to the others: what a session has to acknowledge is no part of the
/// room. The first one makes it.
async fn enters(client: &mut Client, user: usize) {
    let (room, status) = ("hall@conference.localhost", "s".repeat(283));
    let join = format!(
        "<presence to='{room}/nick-{user}'><status>{status}</status>\
         <x xmlns='http://jabber.org/protocol/muc'/></presence>"
    );
    client.send(&join).await.unwrap();
    client.expect(|e| e.find("subject").is_some()).await.unwrap();
    if user == 0 {
        let form = "<x xmlns='jabber:x:data' type='submit'>\
                    <field var='muc#roomconfig_presencebroadcast'/></x>";
        let query = format!("<query xmlns='http://jabber.org/protocol/muc#owner'>{form}</query>");
        client.send(&format!("<iq type='set' id='form' to='{room}'>{query}</iq>")).await.unwrap();
        client.expect(|e| e.attr("id") == Some("form")).await.unwrap();
    }
}

/// The first one is asked what its hash stands for.
async fn says_capabilities(client: &mut Client, is_asked: bool) {
    let wants = (0..WANTED).map(|n| format!("urn:example:node:{n:02}+notify"));
    let wants: Vec<String> = wants.collect();
    let text: String = wants.iter().map(|feature| format!("{feature}<")).collect();
    let ver = base64(&sha1(format!("client/pc//x<{text}").as_bytes()));
    let c = format!("<c xmlns='{CAPS}' hash='sha-1' node='http://example.org' ver='{ver}'/>");
    client.send(&format!("<presence>{c}</presence>")).await.unwrap();
    if is_asked {
        let asked = client.expect(|e| e.name == "iq" && e.attr("type") == Some("get"));
        let id = asked.await.unwrap().attr("id").unwrap().to_owned();
        let all: String = wants.iter().map(|one| format!("<feature var='{one}'/>")).collect();
        let (bare, _) = client.jid.split_once('/').unwrap();
        let info = format!("<identity category='client' type='pc' name='x'/>{all}");
        let query =
            format!("<query xmlns='{DISCO}' node='http://example.org#{ver}'>{info}</query>");
        let answer = format!("<iq type='result' to='{bare}' id='{id}'>{query}</iq>");
        client.send(&answer).await.unwrap();
    }
    client.fence().await.unwrap();
}

const SM: &str = "urn:xmpp:sm:3";
const CAPS: &str = "http://jabber.org/protocol/caps";
const DISCO: &str = "http://jabber.org/protocol/disco#info";
/// As many nodes as clients want that want most.
const WANTED: usize = 20;
