//! Ten thousand persistent rooms: what each takes while its owner sits in it, and when everybody has left.

use super::chat::base;
use super::crowd::{WIDTH, each, named};
use super::fault::{Fault, Res};
use super::process::{memory, settle};
use super::results::Row;
use super::room;
use super::target::{Security, Target, ask};
use std::sync::Arc;
use std::time::Duration;

/// Bytes a room with its owner in it, and bytes a room that nobody is in; so many owners, each with as many rooms as one
/// may have.
pub async fn run(target: &Arc<Target>, owners: usize, rest: Duration) -> Res<Row> {
    named(target, "m", owners).await?;
    settle(target.pid).await?;
    let (before, base, owned) = (memory(target.pid)?.rss, base(), Arc::clone(target));
    let come = move |owner: usize| {
        let target = Arc::clone(&owned);
        async move {
            let mut client = target.session(Security::Plain, &format!("m{owner}")).await?;
            for number in 0..ROOMS_EACH {
                let name = format!("i{base}-{owner}-{number}@conference.{}", target.domain);
                room::enter(&mut client.conn, &name, owner, false).await?;
                ask(&mut client.conn, "set", &name, PERSISTENT).await?;
            }
            Ok(client)
        }
    };
    let clients = each(owners, WIDTH, come).await?;
    let rooms = owners * ROOMS_EACH;
    #[allow(clippy::cast_precision_loss)]
    let of_each = |now: u64| now.saturating_sub(before) as f64 / rooms as f64;
    tokio::time::sleep(rest).await;
    settle(target.pid).await?;
    let busy = of_each(memory(target.pid)?.rss);
    for client in clients {
        client.conn.close().await.map_err(|e| Fault(format!("leaving: {}", e.0)))?;
    }
    tokio::time::sleep(IDLE).await;
    settle(target.pid).await?;
    let idle = of_each(memory(target.pid)?.rss);
    Ok(Row::new().with("busy", busy).with("idle", idle))
}

const PERSISTENT: &str = "<query xmlns='http://jabber.org/protocol/muc#owner'><x xmlns='jabber:x:data' \
     type='submit'><field var='FORM_TYPE'><value>http://jabber.org/protocol/muc#roomconfig</value>\
     </field><field var='muc#roomconfig_persistentroom'><value>1</value></field></x></query>";
/// As many as one may own by default.
const ROOMS_EACH: usize = 100;
/// Longer than the bench's servers keep a room that nobody is in: they look once a minute.
const IDLE: Duration = Duration::from_secs(70);
