//! Logins of somebody who has been here for years (contacts, nodes, items), beside one who has nothing: bound,
//! roster asked for by its version, as clients do that keep it (RFC 6121 §2.6), presence with capabilities, last
//! items, and a live message.

use super::caps::Caps;
use super::crowd::{named, roster};
use super::fault::{Fault, Res, fault};
use super::feed;
use super::framer::{attr, has, is};
use super::process::{Meter, settle};
use super::results::Row;
use super::target::{Client, Security, Target, request};
use std::sync::Arc;
use std::time::Instant;

/// What the full one has.
#[derive(Debug, Clone, Copy)]
pub struct Plan {
    /// Contacts, both ways, who are offline.
    pub contacts: usize,
    /// Nodes.
    pub nodes: usize,
    /// Items in all of them.
    pub items: usize,
    /// Logins of each of the two.
    pub logins: usize,
}

/// Runs it.
pub async fn run(target: &Arc<Target>, security: Security, plan: &Plan) -> Res<Row> {
    named(target, PREFIX, 2).await?;
    fill(target, plan).await?;
    let mut friend = target.session(security, &format!("{PREFIX}0")).await?;
    let mut figures = Vec::new();
    for (user, items) in [(format!("{PREFIX}1"), 0), (format!("{}0", feed::PREFIX), WANTED)] {
        // What a client wants is learnt from the first one.
        let mut ver = String::new();
        login(target, security, &mut friend, (&user, &mut ver), items).await?;
        settle(target.pid).await?;
        let meter = Meter::start(target.pid)?;
        let mut first = Vec::new();
        for _ in 0..plan.logins {
            let user = (user.as_str(), &mut ver);
            first.push(login(target, security, &mut friend, user, items).await?);
        }
        first.sort_by(f64::total_cmp);
        #[allow(clippy::cast_precision_loss)]
        let cpu = meter.settled_cpu_secs().await? * 1000.0 / plan.logins as f64;
        figures.push((cpu, first.get(first.len() / 2).copied().unwrap_or_default()));
    }
    friend.conn.close().await?;
    let [(empty, sooner), (cpu, first)] = figures[..] else { return fault("no figures") };
    let row = Row::new().with("cpu", cpu).with("empty", empty).with("factor", cpu / empty);
    Ok(row.with("first", first).with("later", first / sooner))
}

/// Microseconds from the connection to the live message, which is sent as soon as the server shows the
/// client its own presence. The roster and the last items must have come, too.
async fn login(
    target: &Target,
    security: Security,
    friend: &mut Client,
    (user, ver): (&str, &mut String),
    items: usize,
) -> Res<f64> {
    let begun = Instant::now();
    let caps = Caps::of((0..WANTED).map(node).collect());
    let mut client = target.session(security, user).await?;
    let get =
        format!("<iq type='get' id='roster'><query xmlns='jabber:iq:roster' ver='{ver}'/></iq>");
    client.conn.send(format!("{get}{}", caps.presence()).as_bytes()).await?;
    let (mut fetched, mut told, mut first) = (false, 0, None);
    while !fetched || told < items || first.is_none() {
        let piece = client.conn.next().await?;
        let mut out = Vec::new();
        caps.answer(&piece, &mut out);
        client.conn.send(&out).await?;
        if is(&piece, "presence") && attr(&piece, "from") == Some(client.jid.as_bytes()) {
            let to = target.jid(user);
            let message = format!("<message to='{to}' type='chat'><body>live</body></message>");
            friend.conn.send(message.as_bytes()).await?;
        }
        if attr(&piece, "id") == Some(b"roster") {
            fetched = true;
            // Nothing, if nothing has changed.
            let query = memchr::memmem::find(&piece, b"<query").and_then(|at| piece.get(at..));
            let now = query.and_then(|query| attr(query, "ver"));
            if let Some(now) = now {
                *ver = String::from_utf8_lossy(now).into_owned();
            }
        }
        told += usize::from(is(&piece, "message") && has(&piece, "#event"));
        if first.is_none() && has(&piece, "<body>live</body>") {
            first = Some(begun.elapsed().as_secs_f64() * 1e6);
        }
    }
    client.conn.close().await?;
    first.ok_or_else(|| Fault("nothing live".to_owned()))
}

/// Gives the account its contacts, nodes and items, unless it has them.
async fn fill(target: &Arc<Target>, plan: &Plan) -> Res<()> {
    named(target, feed::PREFIX, 1).await?;
    let mut owner = target.session(Security::Plain, &format!("{}0", feed::PREFIX)).await?;
    if roster(&mut owner.conn).await? < plan.contacts {
        owner.conn.close().await?;
        let (client, contacts) = feed::friends(target, plan.contacts).await?;
        (owner, _) = (client, contacts);
    }
    for number in 0..plan.nodes {
        let each = plan.items.div_ceil(plan.nodes);
        let items = (0..each).map(|item| publication(&node(number), item));
        let all: String = items.collect();
        owner.conn.send(all.as_bytes()).await?;
        for _ in 0..each {
            let is_answer = |piece: &[u8]| is(piece, "iq") && attr(piece, "id") == Some(b"fill");
            let answer = owner.conn.until(is_answer).await?;
            if attr(&answer, "type") != Some(b"result") {
                return fault(format!("an item: {}", String::from_utf8_lossy(&answer)));
            }
        }
    }
    request(&mut owner.conn, "get", "", "<ping xmlns='urn:xmpp:ping'/>").await?;
    owner.conn.close().await
}

fn publication(node: &str, item: usize) -> String {
    let field = |name: &str, value: &str| {
        format!("<field var='pubsub#{name}'><value>{value}</value></field>")
    };
    let form = "<field var='FORM_TYPE' type='hidden'><value>\
                http://jabber.org/protocol/pubsub#publish-options</value></field>";
    let fields = [field("persist_items", "true"), field("max_items", "1000")].concat();
    format!(
        "<iq type='set' id='fill'><pubsub xmlns='http://jabber.org/protocol/pubsub'>\
         <publish node='{node}'><item id='{item}'><n xmlns='urn:bench'>{}</n></item></publish>\
         <publish-options><x xmlns='jabber:x:data' type='submit'>{form}{fields}</x>\
         </publish-options></pubsub></iq>",
        "0123456789".repeat(20)
    )
}

fn node(number: usize) -> String {
    format!("urn:bench:node{number}")
}

const PREFIX: &str = "e";
/// Nodes of which the client wants the news, as many as common clients do.
const WANTED: usize = 10;
