//! Many at once: jobs side by side, a watch over them, accounts and their contacts.

use super::conn::Conn;
use super::fault::{Fault, Res, fault};
use super::framer::{attr, has, is};
use super::target::{PASSWORD, Security, Target};
use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;
use tokio::task::JoinSet;
use tokio::time::timeout;

/// Does `count` jobs, `width` at a time; answers in their order.
pub async fn each<T, F, Job>(count: usize, width: usize, make: F) -> Res<Vec<T>>
where
    T: Send + 'static,
    F: Fn(usize) -> Job + Send + Sync + 'static,
    Job: Future<Output = Res<T>> + Send,
{
    let (make, next) = (Arc::new(make), Arc::new(AtomicUsize::new(0)));
    let mut workers = JoinSet::new();
    for _ in 0..width.min(count) {
        let (make, next) = (Arc::clone(&make), Arc::clone(&next));
        workers.spawn(async move {
            let mut done = Vec::new();
            loop {
                let index = next.fetch_add(1, Ordering::Relaxed);
                if index >= count {
                    return Ok::<_, Fault>(done);
                }
                let job = timeout(JOB_MAX, make(index)).await;
                let told = format!("{index} of {count}");
                let job = job.unwrap_or_else(|_| fault("no end in time"));
                done.push((index, job.map_err(|error| error.during(&told))?));
            }
        });
    }
    let mut all = Vec::with_capacity(count);
    while let Some(done) = workers.join_next().await {
        all.extend(done.map_err(|e| Fault(e.to_string()))??);
    }
    all.sort_by_key(|(index, _)| *index);
    Ok(all.into_iter().map(|(_, done)| done).collect())
}

/// Counts what is done, so that a stall is seen.
#[derive(Debug, Default)]
pub struct Watch(AtomicU64);

impl Watch {
    /// So much more was done.
    pub fn progress(&self, done: u64) {
        self.0.fetch_add(done, Ordering::Relaxed);
    }

    /// Runs the work until it ends, or until nothing was done for `patience`: then `None`.
    pub async fn over<T>(&self, patience: Duration, work: impl Future<Output = T>) -> Option<T> {
        let mut work = std::pin::pin!(work);
        let mut last = self.0.load(Ordering::Relaxed);
        loop {
            if let Ok(done) = timeout(patience, &mut work).await {
                return Some(done);
            }
            let now = self.0.load(Ordering::Relaxed);
            if now == last {
                return None;
            }
            last = now;
        }
    }
}

/// The name of an account of the bench.
pub fn user(number: usize) -> String {
    format!("u{number}")
}

/// Makes the first `count` accounts by in-band registration (XEP-0077), unless they are there.
pub async fn accounts(target: &Arc<Target>, count: usize) -> Res<()> {
    named(target, "u", count).await
}

/// The same with names of another prefix.
pub async fn named(target: &Arc<Target>, prefix: &'static str, count: usize) -> Res<()> {
    let made = target.accounts_made(prefix, count);
    let owned = Arc::clone(target);
    let register = move |index: usize| {
        let target = Arc::clone(&owned);
        async move { register(&target, &format!("{prefix}{}", made + index)).await }
    };
    each(count.saturating_sub(made), WIDTH, register).await?;
    Ok(())
}

async fn register(target: &Target, name: &str) -> Res<()> {
    let (mut conn, _) = target.connect(Security::Plain).await?;
    let query = format!(
        "<query xmlns='jabber:iq:register'><username>{name}</username>\
         <password>{PASSWORD}</password></query>"
    );
    let answer = super::target::ask(&mut conn, "set", &target.domain, &query).await?;
    if attr(&answer, "type") != Some(b"result") && !has(&answer, "<conflict") {
        return fault(format!("registration: {}", String::from_utf8_lossy(&answer)));
    }
    conn.close().await
}

/// Gives each of the first `count` accounts this many contacts that never come online.
pub async fn contacts(target: &Arc<Target>, count: usize, each_has: usize) -> Res<()> {
    accounts(target, count).await?;
    let owned = Arc::clone(target);
    let fill = move |index: usize| {
        let target = Arc::clone(&owned);
        async move {
            let mut client = target.session(Security::Plain, &user(index)).await?;
            let there = roster(&mut client.conn).await?;
            let mut sets = String::new();
            for contact in there..each_has {
                let jid = target.jid(&format!("contact{contact}"));
                sets.push_str(&format!(
                    "<iq type='set' id='bench-add-{contact}'><query xmlns='jabber:iq:roster'>\
                     <item jid='{jid}' name='Contact {contact}'/></query></iq>"
                ));
            }
            client.conn.send(sets.as_bytes()).await?;
            for _ in there..each_has {
                let result = |piece: &[u8]| {
                    is(piece, "iq")
                        && attr(piece, "id").is_some_and(|id| id.starts_with(b"bench-add-"))
                };
                let answer = client.conn.until(result).await?;
                if attr(&answer, "type") != Some(b"result") {
                    return fault(format!("roster: {}", String::from_utf8_lossy(&answer)));
                }
            }
            client.conn.close().await
        }
    };
    each(count, WIDTH, fill).await?;
    Ok(())
}

/// Fetches the roster: how many are in it.
pub async fn roster(conn: &mut Conn) -> Res<usize> {
    let roster =
        super::target::request(conn, "get", "", "<query xmlns='jabber:iq:roster'/>").await?;
    Ok(memchr::memmem::find_iter(&roster, b"<item").count())
}

/// Jobs side by side while something is prepared.
pub const WIDTH: usize = 20;
const JOB_MAX: Duration = Duration::from_secs(120);
