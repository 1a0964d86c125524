//! XEP-0198 §5: connections break, clients come back and resume.

use super::crowd::{accounts, each, user};
use super::fault::{Res, fault};
use super::framer::is;
use super::managed::{Managed, count};
use super::process::Meter;
use super::results::Row;
use super::target::{Client, Security, Target};
use std::sync::{Arc, Mutex};

/// `count` resumptions by a few sessions.
pub async fn run(target: &Arc<Target>, security: Security, resumptions: usize) -> Res<Row> {
    accounts(target, SESSIONS).await?;
    let owned = Arc::clone(target);
    let open = move |index: usize| {
        let target = Arc::clone(&owned);
        async move {
            let mut client = target.session(security, &user(index)).await?;
            let mut managed = Managed::enable(&mut client.conn).await?;
            if managed.id.is_empty() {
                return fault("the stream cannot be resumed");
            }
            client.conn.send(b"<presence/>").await?;
            managed.sent += 1;
            Ok(Some((client, managed)))
        }
    };
    let sessions = each(SESSIONS, super::login::WIDTH, open).await?;
    let sessions: Arc<Vec<_>> = Arc::new(sessions.into_iter().map(Mutex::new).collect());
    super::process::settle(target.pid).await?;
    let rounds = resumptions.div_ceil(SESSIONS);
    let meter = Meter::start(target.pid)?;
    for _ in 0..rounds {
        round(target, security, &sessions).await?;
    }
    let wall = meter.wall_secs();
    let cpu = meter.settled_cpu_secs().await?;
    close(&sessions).await?;
    #[allow(clippy::cast_precision_loss)]
    let resumptions = (rounds * SESSIONS) as f64;
    Ok(Row::new().with("cpu", cpu * 1000.0 / resumptions).with("rate", resumptions / wall))
}

type Sessions = Arc<Vec<Mutex<Option<(Client, Managed)>>>>;

async fn round(target: &Arc<Target>, security: Security, sessions: &Sessions) -> Res<()> {
    let (target, sessions) = (Arc::clone(target), Arc::clone(sessions));
    let again = move |index: usize| {
        let (target, sessions) = (Arc::clone(&target), Arc::clone(&sessions));
        async move {
            let Some(place) = sessions.get(index) else { return fault("no such session") };
            let taken = place.lock().expect("no holder panics").take();
            let Some((mut client, mut managed)) = taken else { return fault("no such session") };
            // Everything that came is counted; then the connection breaks.
            while let Some(range) = client.conn.take() {
                managed.note(client.conn.piece(range), &mut Vec::new())?;
            }
            drop(client.conn);
            client.conn = resume(&target, security, &user(index), &mut managed).await?;
            place.lock().expect("no holder panics").replace((client, managed));
            Ok(())
        }
    };
    each(SESSIONS, super::login::WIDTH, again).await?;
    Ok(())
}

async fn resume(
    target: &Target,
    security: Security,
    user: &str,
    managed: &mut Managed,
) -> Res<super::conn::Conn> {
    let (mut conn, _) = target.login(security, user).await?;
    let (id, came) = (&managed.id, managed.came);
    let resume = format!("<resume xmlns='urn:xmpp:sm:3' previd='{id}' h='{came}'/>");
    conn.send(resume.as_bytes()).await?;
    let answer = conn.until(|piece| is(piece, "resumed") || is(piece, "failed")).await?;
    if !is(&answer, "resumed") {
        return fault(format!("not resumed: {}", String::from_utf8_lossy(&answer)));
    }
    if count(&answer)? != managed.sent {
        return fault(format!("{} sent, but {}", managed.sent, String::from_utf8_lossy(&answer)));
    }
    Ok(conn)
}

async fn close(sessions: &Sessions) -> Res<()> {
    for place in sessions.iter() {
        let taken = place.lock().expect("no holder panics").take();
        if let Some((client, _)) = taken {
            client.conn.close().await?;
        }
    }
    Ok(())
}

const SESSIONS: usize = 50;
