//! System calls of the server per message, counted by strace. Slow, so nothing else is measured.

use super::chat::{Plan, Talk, sessions};
use super::fault::{Res, fault};
use super::process::tree;
use super::results::Row;
use super::target::Target;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

/// The plan's chat, `messages` from each end, under strace.
pub async fn run(target: &Arc<Target>, plan: &Plan, messages: u64) -> Res<Row> {
    let mut talk = Talk::new(target, plan, sessions(target, plan).await?).await?;
    talk.say(messages, plan).await?;
    let folder = tempfile::tempdir()?;
    let out = folder.path().join("counts");
    let mut command = Command::new("strace");
    command.args(["-f", "-c", "-o"]).arg(&out).stderr(Stdio::null());
    for pid in tree(target.pid)? {
        command.args(["-p", &pid.to_string()]);
    }
    let mut strace = command.spawn()?;
    // It says on standard error when it is attached, in words that differ between its versions.
    tokio::time::sleep(ATTACH).await;
    let said = talk.say(messages, plan).await;
    let _ = Command::new("kill").args(["-INT", &strace.id().to_string()]).status();
    strace.wait()?;
    said?;
    talk.finish().await?;
    let counts = std::fs::read_to_string(&out)?;
    eprintln!("{} {}\n{counts}", target.name, plan.window);
    #[allow(clippy::cast_precision_loss)]
    let total = (2 * messages * plan.pairs as u64) as f64;
    let (mut working, mut all) = (0.0, 0.0);
    for (name, calls) in counts.lines().filter_map(call) {
        all += calls;
        if !WAITING.contains(&name) {
            working += calls;
        }
    }
    if all == 0.0 {
        return fault("strace counted nothing: may it attach to that process?");
    }
    Ok(Row::new().with("calls", working / total).with("all", all / total))
}

/// A line of `strace -c`: `% time, seconds, usecs/call, calls, [errors,] name`.
fn call(line: &str) -> Option<(&str, f64)> {
    let fields: Vec<&str> = line.split_whitespace().collect();
    let name = *fields.last().filter(|name| **name != "total" && **name != "syscall")?;
    Some((name, fields.get(3)?.parse().ok()?))
}

/// What waits and wakes, counted apart.
const WAITING: &[&str] =
    &["epoll_wait", "epoll_pwait", "epoll_pwait2", "futex", "restart_syscall", "sched_yield"];
const ATTACH: Duration = Duration::from_millis(1500);
