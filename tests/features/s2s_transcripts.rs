//! Plays every file of `tests/transcripts/s2s`: what another server and ours write, over real sockets and TLS. The
//! format is that of the other transcripts as far as there are names for it:
//!
//! ```text
//! # Title
//! ## set: s2s.some_key=value
//!
//! Initiating opens from weak.test to a.test with nothing
//! Initiating sends:
//!     <db:result from="weak.test" to="a.test">key</db:result>
//! Initiating receives:
//!     <db:result from="a.test" to="weak.test" type="valid"/>
//! Alice receives:
//!     <message/>
//! ```
//!
//! Ours is a.test. A name stands for a stream of another server, whose domains (`harness::peers::STRANGERS`) are all at
//! the test; Alice is a client of ours, online from the start.
//!
//! - `X dials`, `X is dialled`: a connection, by the other server or by ours;
//! - `X secures with CERTIFICATE`: the handshake, on either side. A certificate is `nothing`, some domains (of an
//!   authority that ours trusts), or `its own for` some domains (signed by itself);
//! - `X opens from FROM to TO with CERTIFICATE`: dials, starts TLS, opens a stream under it, and reads the features;
//! - `X is opened as DOMAIN`, with a block of features: the same when ours dials, with a certificate for all domains;
//! - `X sends:`, `X receives:` with one element, or a header; `X hangs up`; `X is closed`: with the closing tag.
//!
//! What is received is judged by the rules of `harness::matching`.

use crate::harness::client::Client;
use crate::harness::element::{CLIENT, Cutter, Element, Piece, SCANSION, STREAM};
use crate::harness::matching::{Captures, fits};
use crate::harness::peers::One;
use crate::harness::raw_peer::{DIALBACK, Fake, Identity, Raw, SERVER};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn transcripts_between_servers() {
    let files = found();
    assert!(!files.is_empty(), "no transcripts found");
    let places = Arc::new(Semaphore::new(4));
    let mut playing = JoinSet::new();
    for file in files {
        let places = places.clone();
        playing.spawn(async move {
            let _place = places.acquire_owned().await.unwrap();
            let text = std::fs::read_to_string(&file).unwrap();
            let outcome = play(&text).await;
            let title = file.file_stem().unwrap_or_default().to_string_lossy().into_owned();
            match &outcome {
                Ok(()) => println!("ok       {title}"),
                Err(why) => println!("FAILED   {title}: {why}\n"),
            }
            outcome.is_ok()
        });
    }
    let fine = playing.join_all().await;
    assert!(fine.iter().all(|fine| *fine), "transcripts failed");
}

fn found() -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/transcripts/s2s");
    let only = std::env::var("STONECHAT_TEST_ONLY").unwrap_or_default();
    let entries = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let mut files: Vec<_> = entries.filter(|path| path.to_string_lossy().contains(&only)).collect();
    files.sort();
    files
}

/// One line with the block that stands indented under it.
struct Step {
    line: usize,
    text: String,
    block: String,
}

fn steps(script: &str) -> Vec<Step> {
    let mut steps: Vec<Step> = Vec::new();
    for (at, line) in script.lines().enumerate() {
        match steps.last_mut() {
            _ if line.starts_with('#') || line.trim().is_empty() => {}
            Some(step) if line.starts_with([' ', '\t']) => {
                // White space between tags is layout.
                let gap = if step.block.ends_with('>') || step.block.is_empty() { "" } else { " " };
                step.block.push_str(gap);
                step.block.push_str(line.trim());
            }
            _ => steps.push(Step {
                line: at + 1,
                text: line.trim_end_matches(':').trim().to_owned(),
                block: String::new(),
            }),
        }
    }
    steps
}

async fn play(script: &str) -> Result<(), String> {
    let sets: Vec<&str> =
        script.lines().filter_map(|line| line.strip_prefix("## set: ")).map(str::trim).collect();
    let steps = steps(script);
    let one = One::new(&sets);
    // Where nobody is to be dialled, nobody listens.
    let dialled = steps
        .iter()
        .any(|step| step.text.contains(" is dialled") || step.text.contains(" is opened"));
    let fake = if dialled { Some(one.fake().await) } else { None };
    let alice = one.lab.online("alice", "a").await.map_err(|e| e.to_string())?;
    let mut stage = Stage { one, fake, alice, streams: BTreeMap::new(), captures: Captures::new() };
    for step in &steps {
        let done = stage.step(step).await;
        done.map_err(|why| format!("line {}, {}: {why}", step.line, step.text))?;
    }
    Ok(())
}

struct Stage {
    one: One,
    fake: Option<Fake>,
    alice: Client,
    streams: BTreeMap<String, Stream>,
    captures: Captures,
}

struct Stream {
    raw: Raw,
    /// Ours dialled.
    accepted: bool,
}

impl Stage {
    async fn step(&mut self, step: &Step) -> Result<(), String> {
        let (name, rest) = step.text.split_once(' ').ok_or("not understood")?;
        let block = self.filled(&step.block);
        if name == "Alice" {
            return self.alice(rest, &block).await;
        }
        if let Some(stream) = self.begun(rest, &block).await? {
            self.streams.insert(name.to_owned(), stream);
            return Ok(());
        }
        let mut stream = self.streams.remove(name).ok_or("there is no such stream")?;
        if rest == "hangs up" {
            return Ok(());
        }
        let outcome = self.on(&mut stream, rest, &block).await;
        self.streams.insert(name.to_owned(), stream);
        outcome
    }

    /// Puts in what was captured.
    fn filled(&self, block: &str) -> String {
        self.captures.iter().fold(block.to_owned(), |text, (name, value)| {
            text.replace(&format!("${{{name}}}"), value)
        })
    }

    async fn alice(&mut self, verb: &str, block: &str) -> Result<(), String> {
        match verb {
            "sends" => self.alice.send(block).await.map_err(|e| e.to_string()),
            "receives" => {
                let want = parsed(block, CLIENT)?;
                let got = self.alice.receive().await.map_err(|e| e.to_string())?;
                fits(&want, &got, &mut self.captures).map_err(|why| format!("{why}: {got}"))
            }
            "receives nothing" => self.alice.nothing().await.map_err(|e| e.to_string()),
            _ => Err("not understood".to_owned()),
        }
    }

    /// A new stream, if that is what the line is about.
    async fn begun(&mut self, verb: &str, block: &str) -> Result<Option<Stream>, String> {
        let wrong = |error: crate::harness::client::Failure| error.to_string();
        let place = self.one.site.address;
        if verb == "dials" {
            let raw = Raw::dial(place).await.map_err(wrong)?;
            return Ok(Some(Stream { raw, accepted: false }));
        }
        if let Some(names) = verb.strip_prefix("opens from ") {
            let (from, rest) = names.split_once(" to ").ok_or("to whom?")?;
            let (to, certificate) = rest.split_once(" with ").ok_or("with what?")?;
            let own = self.identity(certificate);
            let raw = Raw::secured(place, (from, to), own.as_ref()).await.map_err(wrong)?;
            return Ok(Some(Stream { raw, accepted: false }));
        }
        let Some(fake) = &mut self.fake else { return Ok(None) };
        if verb == "is dialled" {
            let raw = fake.accept().await.map_err(wrong)?;
            return Ok(Some(Stream { raw, accepted: true }));
        }
        if let Some(domain) = verb.strip_prefix("is opened as ") {
            fake.domain = domain.to_owned();
            let mut raw = fake.accept_secured().await.map_err(wrong)?;
            fake.answer(&mut raw, block).await.map_err(wrong)?;
            return Ok(Some(Stream { raw, accepted: true }));
        }
        Ok(None)
    }

    fn identity(&self, certificate: &str) -> Option<Identity> {
        let names = |text: &str| text.split(' ').map(str::to_owned).collect::<Vec<_>>();
        match (certificate, certificate.strip_prefix("its own for ")) {
            ("nothing", _) => None,
            (_, Some(own)) => {
                let names = names(own);
                Some(Identity::alone(&names.iter().map(String::as_str).collect::<Vec<_>>()))
            }
            (trusted, None) => {
                let names = names(trusted);
                Some(self.one.identity(&names.iter().map(String::as_str).collect::<Vec<_>>()))
            }
        }
    }

    async fn on(&mut self, stream: &mut Stream, verb: &str, block: &str) -> Result<(), String> {
        let wrong = |error: crate::harness::client::Failure| error.to_string();
        let raw = &mut stream.raw;
        if let Some(certificate) = verb.strip_prefix("secures with ") {
            let own = self.identity(certificate);
            if !stream.accepted {
                return raw.handshake("a.test", own.as_ref(), &[]).await.map_err(wrong);
            }
            raw.accept_tls(&own.ok_or("a server shows a certificate")?).await.map_err(wrong)?;
            raw.restart();
            return Ok(());
        }
        match verb {
            "sends" => {
                // RFC 6120 §6.4.6: a new stream begins with these.
                let begins = match stream.accepted {
                    true => block.starts_with("<success"),
                    false => block.starts_with("<stream:stream"),
                };
                if begins {
                    raw.restart();
                }
                raw.send(block).await.map_err(wrong)
            }
            "receives" if block.starts_with("<stream:stream") => {
                let want = parsed(&format!("{}/>", block.trim_end_matches(['/', '>'])), SERVER)?;
                let got = raw.greeted().await.map_err(wrong)?;
                fits(&want, &got, &mut self.captures).map_err(|why| format!("{why}: {got}"))
            }
            "receives" => {
                let want = parsed(block, SERVER)?;
                let got = raw.receive().await.map_err(wrong)?;
                let judged = fits(&want, &got, &mut self.captures);
                judged.or_else(|why| raw.fail(format!("{why}: {got}")).map_err(wrong))
            }
            "is closed" => match raw.gone().await.map_err(wrong)? {
                true => Ok(()),
                false => Err("no closing tag came".to_owned()),
            },
            _ => Err("not understood".to_owned()),
        }
    }
}

/// One element, as it stands on a stream between servers, or on a client's.
fn parsed(xml: &str, ns: &str) -> Result<Element, String> {
    let open = format!(
        "<r xmlns='{ns}' xmlns:db='{DIALBACK}' xmlns:stream='{STREAM}' xmlns:scansion='{SCANSION}'>"
    );
    let pieces = Cutter::new().feed(format!("{open}{xml}</r>").as_bytes())?;
    let element = pieces.into_iter().find_map(|piece| match piece {
        Piece::Element(element) => Some(element),
        _ => None,
    });
    element.ok_or_else(|| format!("no element: {xml}"))
}
