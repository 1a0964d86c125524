//! The server's processor time and memory, from /proc: of the whole process tree.

use super::fault::{Fault, Res};
use std::fs;
use std::time::{Duration, Instant};

/// What a server used while something was done.
#[derive(Debug)]
pub struct Meter {
    pid: u32,
    cpu: f64,
    begun: Instant,
}

impl Meter {
    /// Begins to measure.
    pub fn start(pid: u32) -> Res<Self> {
        Ok(Self { pid, cpu: cpu_secs(pid)?, begun: Instant::now() })
    }

    /// Seconds since the beginning.
    pub fn wall_secs(&self) -> f64 {
        self.begun.elapsed().as_secs_f64()
    }

    /// Seconds of the processor since the beginning.
    pub fn cpu_secs(&self) -> Res<f64> {
        Ok(cpu_secs(self.pid)? - self.cpu)
    }

    /// The same, once the server has come to rest: what it does behind belongs to what was asked.
    pub async fn settled_cpu_secs(&self) -> Res<f64> {
        settle(self.pid).await?;
        self.cpu_secs()
    }
}

/// Waits until the server does next to nothing, but not for ever.
pub async fn settle(pid: u32) -> Res<()> {
    let mut last = cpu_secs(pid)?;
    for _ in 0..SETTLE_STEPS {
        tokio::time::sleep(SETTLE_STEP).await;
        let now = cpu_secs(pid)?;
        if now - last < 1.5 / TICKS_PER_SECOND {
            break;
        }
        last = now;
    }
    Ok(())
}

/// User and system time of a process, all its threads, and all its descendants.
pub fn cpu_secs(pid: u32) -> Res<f64> {
    let mut ticks = 0;
    for pid in tree(pid)? {
        let Some(stat) = Stat::read(pid) else { continue };
        ticks += stat.ticks;
    }
    #[allow(clippy::cast_precision_loss)]
    Ok(ticks as f64 / TICKS_PER_SECOND)
}

/// Memory in bytes.
#[derive(Debug, Clone, Copy, Default)]
pub struct Memory {
    /// Resident, shared pages counted whole.
    pub rss: u64,
    /// Shared pages counted by their share.
    pub pss: u64,
}

/// The memory of the process tree.
pub fn memory(pid: u32) -> Res<Memory> {
    let mut sum = Memory::default();
    for pid in tree(pid)? {
        let Ok(text) = fs::read_to_string(format!("/proc/{pid}/smaps_rollup")) else { continue };
        let of = |key: &str| {
            let line = text.lines().find_map(|line| line.strip_prefix(key))?;
            line.split_whitespace().next()?.parse::<u64>().ok()
        };
        sum.rss += of("Rss:").unwrap_or(0) * 1024;
        sum.pss += of("Pss:").unwrap_or(0) * 1024;
    }
    Ok(sum)
}

/// The process and its descendants.
pub fn tree(root: u32) -> Res<Vec<u32>> {
    let entries = fs::read_dir("/proc")?;
    let pids = entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
    let all: Vec<(u32, u32)> =
        pids.filter_map(|pid| Some((pid, Stat::read(pid)?.parent))).collect();
    if !all.iter().any(|(pid, _)| *pid == root) {
        return Err(Fault(format!("the server's process {root} is gone")));
    }
    let mut found = vec![root];
    let mut at = 0;
    while let Some(parent) = found.get(at).copied() {
        found.extend(all.iter().filter(|(_, of)| *of == parent).map(|(pid, _)| *pid));
        at += 1;
    }
    Ok(found)
}

/// What /proc/PID/stat says (proc(5)).
struct Stat {
    parent: u32,
    /// Its own and of the children it waited for.
    ticks: u64,
}

impl Stat {
    fn read(pid: u32) -> Option<Self> {
        let text = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        // The name, in parentheses, may hold anything.
        let fields: Vec<&str> = text.rsplit_once(')')?.1.split_whitespace().collect();
        let number = |at: usize| fields.get(at)?.parse::<u64>().ok();
        let ticks = (11..15).filter_map(number).sum();
        Some(Self { parent: fields.get(1)?.parse().ok()?, ticks })
    }
}

/// The unit of /proc on Linux, whatever the kernel's own.
const TICKS_PER_SECOND: f64 = 100.0;
const SETTLE_STEP: Duration = Duration::from_millis(200);
const SETTLE_STEPS: usize = 50;
