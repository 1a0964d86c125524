//! Logins by token in one round trip (XEP-0388, XEP-0386, XEP-0484), and resumptions with them
//! (XEP-0198 §9). A server that offers no tokens has an empty row.

use super::conn::Conn;
use super::crowd::{accounts, each, user};
use super::fault::{Res, fault};
use super::framer::{attr, has, is};
use super::process::Meter;
use super::results::Row;
use super::target::{PASSWORD, Security, Target};
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use hmac::{Hmac, Mac};
use sha2::Sha256;
use std::sync::{Arc, Mutex};

/// What each login asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wanted {
    /// A new session.
    Bound,
    /// The session of before.
    Resumed,
}

/// What a device keeps.
#[derive(Debug, Clone, Default)]
struct Kept {
    token: String,
    /// SM-ID.
    id: String,
}

type Devices = Arc<Vec<Mutex<Kept>>>;

/// So many logins by a few devices.
pub async fn run(target: &Arc<Target>, wanted: Wanted, count: usize) -> Res<Row> {
    accounts(target, DEVICES).await?;
    let (mut conn, features) = target.connect(Security::Tls).await?;
    let offered = has(&features, FAST);
    conn.send(b"</stream:stream>").await?;
    if !offered {
        return Ok(Row::new());
    }
    let owned = Arc::clone(target);
    let first = move |index: usize| {
        let target = Arc::clone(&owned);
        async move { enrol(&target, index).await }
    };
    let kept = each(DEVICES, super::login::WIDTH, first).await?;
    let devices: Devices = Arc::new(kept.into_iter().map(Mutex::new).collect());
    logins(target, wanted, &devices, DEVICES).await?;
    super::process::settle(target.pid).await?;
    let meter = Meter::start(target.pid)?;
    logins(target, wanted, &devices, count).await?;
    let wall = meter.wall_secs();
    let cpu = meter.settled_cpu_secs().await?;
    #[allow(clippy::cast_precision_loss)]
    let count = count as f64;
    Ok(Row::new().with("cpu", cpu * 1000.0 / count).with("rate", count / wall))
}

/// The first login, which brings a token and a session to resume.
async fn enrol(target: &Target, index: usize) -> Res<Kept> {
    let (mut conn, _) = target.connect(Security::Tls).await?;
    let secret = BASE64_STANDARD.encode(format!("\0{}\0{PASSWORD}", user(index)));
    let request = format!("<request-token xmlns='{FAST}' mechanism='{MECHANISM}'/>");
    let inner = format!("{}{request}{BIND}", agent(index));
    conn.send(authenticate("PLAIN", &secret, &inner).as_bytes()).await?;
    let success = conn.until(|piece| is(piece, "success") || is(piece, "failure")).await?;
    let kept =
        Kept { token: inside(&success, "token", "token")?, id: inside(&success, "enabled", "id")? };
    // Cut, not closed: the session sleeps.
    drop(conn);
    Ok(kept)
}

async fn logins(target: &Arc<Target>, wanted: Wanted, devices: &Devices, count: usize) -> Res<()> {
    let (target, devices) = (Arc::clone(target), Arc::clone(devices));
    let login = move |index: usize| {
        let (target, devices) = (Arc::clone(&target), Arc::clone(&devices));
        async move {
            let index = index % DEVICES;
            let Some(place) = devices.get(index) else { return fault("no such device") };
            let mut kept = place.lock().expect("no holder panics").clone();
            login(&target, wanted, index, &mut kept).await?;
            *place.lock().expect("no holder panics") = kept;
            Ok(())
        }
    };
    each(count, super::login::WIDTH, login).await?;
    Ok(())
}

/// One round trip from TLS to ready: everything is in the first write.
async fn login(target: &Target, wanted: Wanted, index: usize, kept: &mut Kept) -> Res<()> {
    let mut mac = Hmac::<Sha256>::new_from_slice(kept.token.as_bytes())
        .expect("HMAC takes keys of every length");
    mac.update(b"Initiator");
    let mut initial = user(index).into_bytes();
    initial.push(0);
    initial.extend(mac.finalize().into_bytes());
    let resume = match wanted {
        Wanted::Bound => String::new(),
        Wanted::Resumed => format!("<resume xmlns='urn:xmpp:sm:3' h='0' previd='{}'/>", kept.id),
    };
    let inner = format!("{}<fast xmlns='{FAST}'/>{resume}{BIND}", agent(index));
    let first = authenticate(MECHANISM, &BASE64_STANDARD.encode(initial), &inner);
    let mut conn = target.pipelined(&first).await?;
    let success = conn.until(|piece| is(piece, "success") || is(piece, "failure")).await?;
    if !is(&success, "success") {
        return fault(format!("no login: {}", String::from_utf8_lossy(&success)));
    }
    if has(&success, "<token") {
        kept.token = inside(&success, "token", "token")?;
    }
    finish(conn, wanted, &success).await
}

async fn finish(conn: Conn, wanted: Wanted, success: &[u8]) -> Res<()> {
    match wanted {
        Wanted::Resumed if has(success, "<resumed") => Ok(()),
        Wanted::Bound if has(success, "<bound") => conn.close().await,
        _ => fault(format!("not what was wanted: {}", String::from_utf8_lossy(success))),
    }
}

/// An attribute of an element somewhere inside.
fn inside(piece: &[u8], name: &str, key: &str) -> Res<String> {
    let open = format!("<{name} ");
    let at = piece.windows(open.len()).position(|part| part == open.as_bytes());
    let value = at.and_then(|at| attr(piece.get(at..)?, key));
    match value {
        Some(value) => Ok(String::from_utf8_lossy(value).into_owned()),
        None => fault(format!("no {name}: {}", String::from_utf8_lossy(piece))),
    }
}

fn authenticate(mechanism: &str, initial: &str, inner: &str) -> String {
    format!(
        "<authenticate xmlns='urn:xmpp:sasl:2' mechanism='{mechanism}'>\
         <initial-response>{initial}</initial-response>{inner}</authenticate>"
    )
}

/// Each account has one device.
fn agent(index: usize) -> String {
    format!("<user-agent id='0b5a2e2c-9b4e-4f3c-8f62-{index:012x}'/>")
}

const FAST: &str = "urn:xmpp:fast:0";
const MECHANISM: &str = "HT-SHA-256-NONE";
const BIND: &str = "<bind xmlns='urn:xmpp:bind:0'><tag>bench</tag>\
    <enable xmlns='urn:xmpp:sm:3' resume='true'/></bind>";
const DEVICES: usize = 50;
