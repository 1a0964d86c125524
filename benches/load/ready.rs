//! The memory of ready sessions: bound, roster fetched, presence sent, carbons where there are any,
//! resumable XEP-0198, and ten messages each way.

use super::chat::{Plan, Talk};
use super::crowd::{WIDTH, contacts, each, roster, user};
use super::fault::{Res, fault};
use super::process::{memory, settle};
use super::results::Row;
use super::target::{Client, Security, Target, ask};
use std::sync::Arc;
use std::time::Duration;

/// Contacts of each account.
pub const CONTACTS: usize = 20;
const MESSAGES: u64 = 10;

/// Bytes a session with each of these numbers of sessions, which rise; what the server does behind,
/// and its allocator, have `rest` each time.
pub async fn run(
    target: &Arc<Target>,
    security: Security,
    counts: &[usize],
    rest: Duration,
) -> Res<Vec<Row>> {
    contacts(target, counts.last().copied().unwrap_or(0), CONTACTS).await?;
    settle(target.pid).await?;
    let plan = Plan {
        security,
        pairs: 0,
        window: 1,
        managed: true,
        mute: false,
        payloads: "",
        pause: Duration::ZERO,
        secs: 0.0,
        patience: Duration::from_secs(30),
    };
    let before = memory(target.pid)?;
    let (mut open, mut talks, mut rows) = (0, Vec::new(), Vec::new());
    for count in counts {
        let sessions = sessions(target, security, open, count - open).await?;
        let mut talk = Talk::new(target, &plan, sessions).await?;
        talk.say(MESSAGES, &plan).await?;
        talks.push(talk);
        open = *count;
        tokio::time::sleep(rest).await;
        settle(target.pid).await?;
        let now = memory(target.pid)?;
        #[allow(clippy::cast_precision_loss)]
        let each = |now: u64, before: u64| now.saturating_sub(before) as f64 / *count as f64;
        let row = Row::new().with("pss", each(now.pss, before.pss));
        rows.push(row.with("rss", each(now.rss, before.rss)));
    }
    for talk in talks {
        talk.finish().await?;
    }
    Ok(rows)
}

async fn sessions(
    target: &Arc<Target>,
    security: Security,
    from: usize,
    count: usize,
) -> Res<Vec<Client>> {
    if !count.is_multiple_of(2) {
        return fault("sessions come in pairs");
    }
    let owned = Arc::clone(target);
    let login = move |index: usize| {
        let target = Arc::clone(&owned);
        async move {
            let mut client = target.session(security, &user(from + index)).await?;
            if roster(&mut client.conn).await? < CONTACTS {
                return fault("contacts are missing");
            }
            client.conn.send(b"<presence/>").await?;
            // XEP-0280, where the server has it.
            ask(&mut client.conn, "set", "", "<enable xmlns='urn:xmpp:carbons:2'/>").await?;
            Ok(client)
        }
    };
    each(count, WIDTH, login).await
}
