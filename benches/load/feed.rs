//! News (XEP-0163): one account publishes, and each of many contacts that want to hear of it gets each item
//! once.

use super::caps::Caps;
use super::chat::base;
use super::check::Seen;
use super::conn::Conn;
use super::crowd::{WIDTH, Watch, each, named, roster};
use super::fault::{Fault, Res, fault};
use super::framer::{attr, has, is, text};
use super::process::Meter;
use super::results::Row;
use super::target::{Client, Security, Target, request};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;
use tokio::task::JoinSet;

/// Who hears, and how much.
#[derive(Debug, Clone, Copy)]
pub struct Plan {
    /// Contacts.
    pub contacts: usize,
    /// Items.
    pub items: u64,
    /// Nothing coming for so long is a loss.
    pub patience: Duration,
}

/// Runs it.
pub async fn run(target: &Arc<Target>, plan: &Plan) -> Res<Row> {
    let (mut publisher, contacts) = friends(target, plan.contacts).await?;
    super::process::settle(target.pid).await?;
    let base = base();
    let counts = Arc::new(Watch::default());
    let (done, heard) = tokio::sync::mpsc::channel::<u64>(plan.contacts * 2);
    let mut heard = heard;
    let meter = Meter::start(target.pid)?;
    let mut readers = JoinSet::new();
    for client in contacts {
        let (done, counts, items) = (done.clone(), Arc::clone(&counts), plan.items);
        readers.spawn(async move { hear(client, base, items, &counts, &done).await });
    }
    drop(done);
    let mut seen = Vec::new();
    let work = async {
        for item in 0..plan.items {
            publish(&mut publisher.conn, base + item).await?;
            for _ in 0..plan.contacts {
                if heard.recv().await.is_none() {
                    return fault("a contact went");
                }
            }
        }
        while let Some(one) = readers.join_next().await {
            seen.push(one.map_err(|e| Fault(e.to_string()))??);
        }
        Ok(())
    };
    let ended = counts.over(plan.patience, work).await;
    let wall = meter.wall_secs();
    let cpu = meter.settled_cpu_secs().await?;
    publisher.conn.close().await?;
    let (seen, clients): (Vec<Seen>, Vec<Client>) = seen.into_iter().unzip();
    drop(clients);
    ended.unwrap_or_else(|| fault("news stays away"))?;
    for (contact, seen) in seen.iter().enumerate() {
        seen.verdict(&format!("news to contact {contact}"), plan.items)?;
    }
    #[allow(clippy::cast_precision_loss)]
    let told = (plan.items * plan.contacts as u64) as f64;
    Ok(Row::new().with("cpu", cpu * 1000.0 / told).with("rate", told / wall))
}

/// One account, and as many contacts of it as are wanted, all online and wanting the news.
pub async fn friends(target: &Arc<Target>, count: usize) -> Res<(Client, Vec<Client>)> {
    named(target, PREFIX, count + 1).await?;
    let mut publisher = target.session(Security::Plain, &format!("{PREFIX}0")).await?;
    roster(&mut publisher.conn).await?;
    publisher.conn.send(b"<presence/>").await?;
    let (stop, stopped) = watch::channel(false);
    let host = tokio::spawn(approve(publisher, stopped));
    let owned = Arc::clone(target);
    let come = move |index: usize| {
        let target = Arc::clone(&owned);
        async move { contact(&target, index + 1).await }
    };
    let contacts = each(count, WIDTH, come).await?;
    let _ = stop.send(true);
    let publisher = host.await.map_err(|e| Fault(e.to_string()))??;
    Ok((publisher, contacts))
}

/// Lets everybody see its presence who asks, and asks to see theirs, until it is told to stop.
async fn approve(mut client: Client, mut stop: watch::Receiver<bool>) -> Res<Client> {
    loop {
        let piece = tokio::select! {
            piece = client.conn.next() => piece?,
            _ = stop.changed() => return Ok(client),
        };
        let mut out = Vec::new();
        if attr(&piece, "type") == Some(b"subscribe") {
            let from = String::from_utf8_lossy(attr(&piece, "from").unwrap_or_default());
            out.extend_from_slice(
                format!(
                    "<presence type='subscribed' to='{from}'/><presence type='subscribe' to='{from}'/>"
                )
                .as_bytes(),
            );
        }
        caps().answer(&piece, &mut out);
        client.conn.send(&out).await?;
    }
}

/// A contact that sees the publisher's presence and shows its own, online, and wanting the news.
async fn contact(target: &Target, index: usize) -> Res<Client> {
    let caps = caps();
    let mut client = target.session(Security::Plain, &format!("{PREFIX}{index}")).await?;
    let publisher = target.jid(&format!("{PREFIX}0"));
    let rows = request(&mut client.conn, "get", "", "<query xmlns='jabber:iq:roster'/>").await?;
    client.conn.send(caps.presence().as_bytes()).await?;
    if !has(&rows, "both") {
        let ask = format!("<presence type='subscribe' to='{publisher}'/>");
        client.conn.send(ask.as_bytes()).await?;
        let mut waits = (true, true);
        while waits.0 || waits.1 {
            let piece = client.conn.next().await?;
            let mut out = Vec::new();
            match attr(&piece, "type") {
                Some(b"subscribe") => {
                    let yes = format!("<presence type='subscribed' to='{publisher}'/>");
                    out.extend_from_slice(yes.as_bytes());
                    waits.0 = false;
                }
                Some(b"subscribed") => waits.1 = false,
                _ => drop(caps.answer(&piece, &mut out)),
            }
            client.conn.send(&out).await?;
        }
    }
    // Until the server knows what is wanted: it may ask, of whomever it likes.
    let until = tokio::time::Instant::now() + QUIET;
    while let Ok(piece) = tokio::time::timeout_at(until, client.conn.next()).await {
        let mut out = Vec::new();
        caps.answer(&piece?, &mut out);
        client.conn.send(&out).await?;
    }
    Ok(client)
}

/// Reads until all items came; tells of each. Gives the client back, as its end is no news.
async fn hear(
    mut client: Client,
    base: u64,
    items: u64,
    watch: &Watch,
    done: &tokio::sync::mpsc::Sender<u64>,
) -> Res<(Seen, Client)> {
    let (caps, mut seen) = (caps(), Seen::from(base));
    let mut out = Vec::new();
    while seen.count() < items {
        client.conn.fill().await?;
        while let Some(range) = client.conn.take() {
            let piece = client.conn.piece(range);
            caps.answer(piece, &mut out);
            let number =
                text(piece, "n").and_then(|text| std::str::from_utf8(text).ok()?.parse().ok());
            if let Some(number) = number.filter(|_| is(piece, "message")) {
                seen.note(number);
                watch.progress(1);
                let _ = done.try_send(number);
            }
        }
        client.conn.send(&out).await?;
        out.clear();
    }
    Ok((seen, client))
}

async fn publish(conn: &mut Conn, number: u64) -> Res<()> {
    let item = format!("<item id='current'><n xmlns='urn:bench'>{number}</n></item>");
    let pubsub = format!(
        "<pubsub xmlns='http://jabber.org/protocol/pubsub'><publish node='{NODE}'>{item}</publish>\
         </pubsub>"
    );
    request(conn, "set", "", &pubsub).await.map(drop)
}

fn caps() -> Caps {
    Caps::of(vec![NODE.to_owned()])
}

/// Names of the accounts.
pub const PREFIX: &str = "f";
const NODE: &str = "urn:bench:news";
const QUIET: Duration = Duration::from_millis(200);
