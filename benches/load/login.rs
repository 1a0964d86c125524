//! Logins: connection, stream, TLS, SCRAM-SHA-1, bound resource, closed stream; again and again.

use super::crowd::{accounts, each, user};
use super::fault::Res;
use super::process::Meter;
use super::results::Row;
use super::target::{Security, Target};
use std::sync::Arc;

/// So many logins by a few accounts.
pub async fn run(target: &Arc<Target>, security: Security, count: usize) -> Res<Row> {
    accounts(target, ACCOUNTS).await?;
    // The clients know their salted passwords, the server its accounts.
    logins(target, security, ACCOUNTS).await?;
    super::process::settle(target.pid).await?;
    let meter = Meter::start(target.pid)?;
    logins(target, security, count).await?;
    let wall = meter.wall_secs();
    let cpu = meter.settled_cpu_secs().await?;
    #[allow(clippy::cast_precision_loss)]
    let count = count as f64;
    Ok(Row::new().with("cpu", cpu * 1000.0 / count).with("rate", count / wall))
}

async fn logins(target: &Arc<Target>, security: Security, count: usize) -> Res<()> {
    let owned = Arc::clone(target);
    let login = move |index: usize| {
        let target = Arc::clone(&owned);
        async move {
            let client = target.session(security, &user(index % ACCOUNTS)).await?;
            client.conn.close().await
        }
    };
    each(count, WIDTH, login).await?;
    Ok(())
}

const ACCOUNTS: usize = 100;
/// Logins at the same time; fewer than accounts, or a resource would meet itself.
pub const WIDTH: usize = 10;
