//! Several devices of one person (XEP-0280, 0313, 0198): they come, go and are cut at random, and end
//! with one history.

use crate::audit::settings::{Dice, seed};
use crate::harness::client::{Client, Outcome};
use crate::harness::element::{CLIENT, Element, escape};
use crate::harness::process::Lab;
use crate::harness::sm::{Resumption, chat};
use std::collections::{BTreeMap, HashSet};

const CARBONS: &str = "urn:xmpp:carbons:2";
const MAM: &str = "urn:xmpp:mam:2";
const RSM: &str = "http://jabber.org/protocol/rsm";
const SID: &str = "urn:xmpp:sid:0";
const ALICE: &str = "alice@localhost";
const BOB: &str = "bob@localhost";
/// Small: a catch-up takes several.
const PAGE: usize = 7;

/// One device of alice's: what it knows, and how it keeps up.
struct Device {
    name: &'static str,
    client: Option<Client>,
    /// It uses stream management.
    manages: bool,
    /// What it could resume: SM-ID and its count.
    former: Option<(String, u32)>,
    /// Message ids by their places in the archive, and the order in which the places were learned.
    known: BTreeMap<String, String>,
    newest: Option<String>,
    /// Sent from here: no place is told for these.
    sent: HashSet<String>,
    /// Places that came on this stream by itself, to find doubles.
    live: HashSet<String>,
    faults: Vec<String>,
}

impl Device {
    fn new(name: &'static str, manages: bool) -> Device {
        Device {
            name,
            client: None,
            manages,
            former: None,
            known: BTreeMap::new(),
            newest: None,
            sent: HashSet::new(),
            live: HashSet::new(),
            faults: Vec::new(),
        }
    }

    /// Resumes what was cut, or begins again and asks the archive for what was missed.
    async fn come(&mut self, lab: &Lab) -> Outcome<()> {
        if let Some((id, h)) = self.former.take() {
            let mut client = lab.authenticated("alice").await?;
            client.answers_pings = true;
            if let Resumption::Resumed(_) = client.resume(&id, h).await? {
                client.jid = format!("{ALICE}/{}", self.name);
                self.former = Some((id, h));
                self.client = Some(client);
                return self.read().await;
            }
            client.bind(Some(self.name)).await?;
            return self.begin(client).await;
        }
        let mut client = lab.authenticated("alice").await?;
        client.answers_pings = true;
        client.bind(Some(self.name)).await?;
        self.begin(client).await
    }

    async fn begin(&mut self, mut client: Client) -> Outcome<()> {
        self.live.clear();
        if self.manages {
            self.former = Some((client.enable().await?, 0));
        }
        let enable = format!("<iq type='set' id='carbons'><enable xmlns='{CARBONS}'/></iq>");
        client.ask(&enable).await?;
        client.become_available().await?;
        self.client = Some(client);
        self.catch_up().await
    }

    /// XEP-0313 §3.4: everything after the newest place that is known.
    async fn catch_up(&mut self) -> Outcome<()> {
        let mut after = self.newest.clone();
        loop {
            self.read().await?;
            let Some(client) = &mut self.client else { return Ok(()) };
            let position = after.iter().map(|after| format!("<after>{}</after>", escape(after)));
            let set = format!("<max>{PAGE}</max>{}", position.collect::<String>());
            let query = format!("<query xmlns='{MAM}'><set xmlns='{RSM}'>{set}</set></query>");
            let iq = client.ask(&format!("<iq type='set' id='page'>{query}</iq>")).await?;
            let Some(fin) = iq.child(MAM, "fin") else {
                return client.fail(format!("no page: {iq}"));
            };
            let is_complete = fin.attr("complete") == Some("true");
            for message in client.take() {
                match message.child(MAM, "result") {
                    Some(result) => after = self.found(result).or(after),
                    None => self.take(&message),
                }
            }
            if is_complete {
                return Ok(());
            }
        }
    }

    fn found(&mut self, result: &Element) -> Option<String> {
        let place = result.attr("id")?.to_owned();
        let id = result.find("message")?.attr("id")?.to_owned();
        self.learn(&place, &id);
        Some(place)
    }

    fn learn(&mut self, place: &str, id: &str) {
        if let Some(other) = self.known.insert(place.to_owned(), id.to_owned())
            && other != id
        {
            self.faults.push(format!("{}: {place} is {other} and {id}", self.name));
        }
        self.newest = Some(place.to_owned());
    }

    /// What came live: to this device, or a carbon of what was for another or by another.
    fn take(&mut self, came: &Element) {
        if came.name != "message" {
            return;
        }
        let carbon = ["received", "sent"].iter().find_map(|name| came.child(CARBONS, name));
        if carbon.is_some() && came.attr("from") != Some(ALICE) {
            self.faults.push(format!("{}: a carbon by {came}", self.name));
        }
        let message = match carbon {
            Some(carbon) => carbon.find("message"),
            None => Some(came),
        };
        let Some(message) = message else { return };
        let mut ids = message.children.iter().filter(|child| child.is(SID, "stanza-id"));
        let place = ids.find(|id| id.attr("by") == Some(ALICE)).and_then(|id| id.attr("id"));
        match (place, message.attr("id")) {
            (Some(place), Some(id)) => {
                if !self.live.insert(place.to_owned()) {
                    self.faults.push(format!("{}: {id} came twice on one stream", self.name));
                }
                self.learn(place, id);
            }
            _ => self.faults.push(format!("{}: no place in {came}", self.name)),
        }
    }

    async fn read(&mut self) -> Outcome<()> {
        let Some(client) = &mut self.client else { return Ok(()) };
        for came in client.stanzas().await? {
            self.take(&came);
        }
        Ok(())
    }

    async fn say(&mut self, to: &str, id: &str) -> Outcome<()> {
        let Some(client) = &mut self.client else { return Ok(()) };
        client.send(&chat(to, id)).await?;
        self.sent.insert(id.to_owned());
        // A note to oneself is answered like any other: the fence is behind it.
        self.read().await
    }

    /// The connection is gone, perhaps with something on it that nobody read.
    fn cut(&mut self) {
        let Some(mut client) = self.client.take() else { return };
        let handled = client.handled;
        self.former = self.former.take().map(|(id, _)| (id, handled));
        for came in client.take() {
            self.take(&came);
        }
    }

    async fn leave(&mut self) -> Outcome<()> {
        self.read().await?;
        let Some(mut client) = self.client.take() else { return Ok(()) };
        self.former = None;
        client.close().await?;
        for came in client.take().iter().filter(|came| came.ns == CLIENT) {
            self.take(came);
        }
        Ok(())
    }

    /// Every message it knows of.
    fn history(&self) -> HashSet<&str> {
        self.known.values().chain(&self.sent).map(String::as_str).collect()
    }
}

/// The archive as it is: ids in order.
async fn archive(client: &mut Client) -> Outcome<Vec<(String, String)>> {
    let mut device = Device::new("reader", false);
    let (mut rows, mut after) = (Vec::new(), String::new());
    loop {
        let set = format!("<set xmlns='{RSM}'><max>100</max>{after}</set>");
        let query = format!("<query xmlns='{MAM}'>{set}</query>");
        let iq = client.ask(&format!("<iq type='set' id='all'>{query}</iq>")).await?;
        for message in client.take() {
            let Some(result) = message.child(MAM, "result") else { continue };
            let Some(place) = device.found(result) else { continue };
            after = format!("<after>{}</after>", escape(&place));
            rows.push((place.clone(), device.known[&place].clone()));
        }
        if iq.child(MAM, "fin").and_then(|fin| fin.attr("complete")) == Some("true") {
            return Ok(rows);
        }
    }
}

/// Three devices, two of which can resume, and a contact: whatever happens to their connections, each
/// ends up with every message once, all with the same places.
#[tokio::test]
async fn three_devices_end_with_one_history() -> Outcome<()> {
    let seed = seed();
    println!("seed {seed}");
    let mut dice = Dice::new(seed);
    let lab = Lab::new(&["alice", "bob"], &[]);
    let mut bob = lab.online("bob", "b").await?;
    bob.answers_pings = true;
    let mut devices =
        [Device::new("phone", true), Device::new("desk", true), Device::new("web", false)];
    for step in 0..STEPS {
        let device = &mut devices[dice.below(3) as usize];
        let online = device.client.is_some();
        match dice.below(10) {
            0 if online => device.cut(),
            1 if online => device.leave().await?,
            2 | 3 if online => device.say(BOB, &format!("a-{step}")).await?,
            4 if online => device.say(ALICE, &format!("self-{step}")).await?,
            0..4 if !online => device.come(&lab).await?,
            4 => device.read().await?,
            _ => {
                bob.send(&chat(ALICE, &format!("b-{step}"))).await?;
                bob.fence().await?;
                bob.forget();
            }
        }
    }
    for device in &mut devices {
        if device.client.is_none() {
            device.come(&lab).await?;
        }
    }
    for device in &mut devices {
        device.read().await?;
    }
    let mut reader = lab.login("alice").await?;
    let rows = archive(&mut reader).await?;
    let ids: HashSet<&str> = rows.iter().map(|(_, id)| id.as_str()).collect();
    assert_eq!(ids.len(), rows.len(), "a message was archived twice");
    for device in &devices {
        assert!(device.faults.is_empty(), "{:#?}", device.faults);
        let missing: Vec<_> = ids.difference(&device.history()).copied().collect::<Vec<_>>();
        assert!(missing.is_empty(), "{} has not: {missing:?}", device.name);
        assert_eq!(device.history().len(), ids.len(), "{} knows more than there is", device.name);
        for (place, id) in &device.known {
            assert!(rows.contains(&(place.clone(), id.clone())), "{}: {id} elsewhere", device.name);
        }
    }
    assert!(ids.len() > STEPS / 3, "hardly anything was said: {}", ids.len());
    Ok(())
}

const STEPS: usize = 300;
