//! What a room has acknowledged is in its archive after SIGKILL, once, in the order in which all have seen it
//! (promise.md 4 and 8; XEP-0045 §7.4, XEP-0198).

use std::collections::HashSet;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::harness::client::{Client, Outcome};
use crate::harness::element::Element;
use crate::harness::process::Lab;
use crate::harness::rooms::{at, enter, found};

const SPEAKERS: [&str; 3] = ["ann", "bob", "cat"];
const MESSAGES: usize = 2_000;
const BURST: usize = 20;

fn lab(folder: &Path, users: &[&str]) -> Lab {
    let wide = [
        "--set",
        "modules.muc.history_max=100000",
        "--set",
        "modules.muc.history_bytes_max=100000000",
    ];
    Lab::serve(folder, &wide, users)
}

/// What a speaker knows when the server is gone.
#[derive(Default)]
struct Known {
    /// How many of its messages were acknowledged.
    acked: usize,
    /// Ids of what it heard, in order.
    heard: Vec<String>,
}

impl Known {
    fn note(&mut self, one: &Element, acks: &AtomicUsize) {
        if one.name == "a" {
            let h = one.attr("h").and_then(|h| h.parse().ok()).unwrap_or(0);
            acks.fetch_add(h - self.acked, Ordering::Relaxed);
            self.acked = h;
        } else if let Some(id) = one.attr("id").filter(|_| one.find("body").is_some()) {
            self.heard.push(id.to_owned());
        }
    }
}

/// Speaks in bursts, and hears, until the server is gone.
async fn speak(mut client: Client, user: &str, acks: Arc<AtomicUsize>) -> Known {
    let (mut known, mut sent) = (Known::default(), 0);
    loop {
        if sent < MESSAGES {
            let burst: String = (sent..sent + BURST)
                .map(|n| {
                    format!(
                        "<message type='groupchat' id='{user}-{n}' to='{}'><body>{n}</body></message>",
                        at("hall")
                    )
                })
                .collect();
            sent += BURST;
            if client.send(&format!("{burst}<r xmlns='urn:xmpp:sm:3'/>")).await.is_err() {
                return known;
            }
        }
        let last = format!("{user}-{}", sent - 1);
        loop {
            let Ok(Some(one)) = client.next().await else { return known };
            known.note(&one, &acks);
            if sent < MESSAGES && one.attr("id") == Some(&*last) {
                break;
            }
        }
    }
}

#[tokio::test]
async fn what_a_room_acknowledged_survives_a_kill() -> Outcome<()> {
    for round in [30, 400, 1_000] {
        let folder = tempfile::tempdir().expect("a folder");
        let mut server = lab(folder.path(), &SPEAKERS);
        let acks = Arc::new(AtomicUsize::new(0));
        let mut speaking = Vec::new();
        for user in SPEAKERS {
            let mut client = server.online(user, "r").await?;
            match user {
                "ann" => {
                    found(&mut client, "hall", user, &[("muc#maxhistoryfetch", "100000")]).await?
                }
                _ => drop(enter(&mut client, "hall", user).await?),
            }
            client.forget();
            client.send("<enable xmlns='urn:xmpp:sm:3'/>").await?;
            client.expect(|e| e.name == "enabled").await?;
            speaking.push(tokio::spawn(speak(client, user, Arc::clone(&acks))));
        }
        let until = tokio::time::Instant::now() + crate::harness::client::DEADLINE;
        while acks.load(Ordering::Relaxed) < round && tokio::time::Instant::now() < until {
            tokio::task::yield_now().await;
        }
        server.process.kill();
        let server = lab(folder.path(), &[]);
        let mut reader = server.online("bob", "reader").await?;
        let seen = enter(&mut reader, "hall", "reader").await?;
        let said = seen.iter().filter(|one| one.find("body").is_some());
        let kept: Vec<&str> = said.filter_map(|one| one.attr("id")).collect();
        let once: HashSet<&str> = kept.iter().copied().collect();
        assert_eq!(once.len(), kept.len(), "each message once");
        for (user, known) in SPEAKERS.iter().zip(speaking) {
            let known = known.await.expect("a speaker");
            for n in 0..known.acked {
                let id = format!("{user}-{n}");
                assert!(
                    once.contains(&*id),
                    "{id} of {} was acknowledged and is lost",
                    known.acked
                );
            }
            let own: Vec<&str> =
                known.heard.iter().map(String::as_str).filter(|id| once.contains(id)).collect();
            let heard: HashSet<&str> = own.iter().copied().collect();
            let there: Vec<&str> = kept.iter().copied().filter(|id| heard.contains(id)).collect();
            assert_eq!(own, there, "one order for all");
        }
        assert!(acks.load(Ordering::Relaxed) >= round, "enough was acknowledged");
    }
    Ok(())
}
