//! A room of a thousand in which ten messages a second are said, and what a small room beside it feels of that. The
//! big one is a thread of its own.

use super::chat::base;
use super::crowd::{WIDTH, Watch, each, named};
use super::fault::{Res, fault};
use super::results::Row;
use super::room::{self, Listener};
use super::target::{Client, Security, Target};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

/// How many, and how often.
#[derive(Debug, Clone, Copy)]
pub struct Plan {
    /// In the big room.
    pub occupants: usize,
    /// In the small one, for one figure.
    pub messages: u64,
    /// Nothing coming for so long is a loss.
    pub patience: Duration,
}

/// The time until all of a small room have heard a message, quiet and disturbed, so many times.
pub async fn run(target: &Arc<Target>, plan: &Plan, times: usize) -> Res<Vec<Row>> {
    named(target, SMALL, SMALL_OCCUPANTS).await?;
    named(target, BIG, plan.occupants).await?;
    let base = base();
    let name = format!("small{base}@conference.{}", target.domain);
    let mut small = Vec::new();
    for nick in 0..SMALL_OCCUPANTS {
        let mut client = target.session(Security::Plain, &format!("{SMALL}{nick}")).await?;
        room::enter(&mut client.conn, &name, nick, nick == 0).await?;
        small.push(Listener::new(client, base));
    }
    let state = Arc::new(State::default());
    let (owned, told, of_big) = (Arc::clone(target), Arc::clone(&state), *plan);
    let hall = std::thread::Builder::new().spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let done = runtime.block_on(hall(&owned, &of_big, &told));
        told.ended.store(true, Relaxed);
        done
    })?;
    let (mut rows, mut said) = (Vec::new(), 0);
    state.until(|state| state.is_ready.load(Relaxed)).await?;
    for _ in 0..times {
        let quiet = p95(&mut small, &name, base, &mut said, plan.messages).await?;
        state.speaks.store(true, Relaxed);
        let begun = state.heard.load(Relaxed);
        state.until(|state| state.heard.load(Relaxed) > begun).await?;
        let disturbed = p95(&mut small, &name, base, &mut said, plan.messages).await;
        state.speaks.store(false, Relaxed);
        let disturbed = disturbed?;
        let row = Row::new().with("quiet", quiet).with("disturbed", disturbed);
        rows.push(row.with("factor", disturbed / quiet));
    }
    state.stop.store(true, Relaxed);
    state.until(|state| state.ended.load(Relaxed)).await?;
    hall.join().unwrap_or_else(|_| fault("the big room broke off"))?;
    for (at, listener) in small.iter().enumerate() {
        listener.verdict(&format!("messages to occupant {at} of the small room"), said)?;
    }
    Ok(rows)
}

/// Microseconds until the last one has heard it, in 95 of 100 messages.
async fn p95(
    small: &mut [Listener],
    name: &str,
    base: u64,
    said: &mut u64,
    messages: u64,
) -> Res<f64> {
    let mut took = Vec::new();
    for _ in 0..messages {
        tokio::time::sleep(PAUSE).await;
        let speaker = usize::try_from(*said).unwrap_or_default() % small.len();
        let begun = Instant::now();
        if let Some(speaker) = small.get_mut(speaker) {
            speaker.say(name, base + *said).await?;
        }
        *said += 1;
        for listener in &mut *small {
            listener.hear(*said).await?;
        }
        took.push(begun.elapsed().as_secs_f64() * 1e6);
    }
    took.sort_by(f64::total_cmp);
    Ok(took.get(took.len() * 95 / 100).copied().unwrap_or_default())
}

/// What the threads know of each other.
#[derive(Debug, Default)]
struct State {
    is_ready: AtomicBool,
    speaks: AtomicBool,
    stop: AtomicBool,
    ended: AtomicBool,
    heard: AtomicU64,
}

impl State {
    async fn until(&self, is: impl Fn(&Self) -> bool) -> Res<()> {
        let until = Instant::now() + ENTRY_MAX;
        while !is(self) {
            if Instant::now() > until {
                return fault("the big room does not go on");
            }
            if self.ended.load(Relaxed) {
                return Ok(());
            }
            tokio::time::sleep(STEP).await;
        }
        Ok(())
    }
}

/// Enters with all, and speaks when it is told to.
async fn hall(target: &Arc<Target>, plan: &Plan, state: &State) -> Res<()> {
    let owned = Arc::clone(target);
    let come = move |index: usize| {
        let target = Arc::clone(&owned);
        async move { target.session(Security::Plain, &format!("{BIG}{index}")).await }
    };
    let base = base();
    let name = format!("big{base}@conference.{}", target.domain);
    let mut listeners = Vec::new();
    let mut entered: Vec<Client> = Vec::new();
    for (nick, mut client) in each(plan.occupants, WIDTH, come).await?.into_iter().enumerate() {
        room::enter(&mut client.conn, &name, nick, nick == 0).await?;
        entered.push(client);
    }
    for mut client in entered {
        room::calm(&mut client.conn).await?;
        listeners.push(Listener::new(client, base));
    }
    state.is_ready.store(true, Relaxed);
    let (watch, mut said) = (Watch::default(), 0);
    while !state.stop.load(Relaxed) {
        if !state.speaks.load(Relaxed) {
            tokio::time::sleep(STEP).await;
            continue;
        }
        let next = tokio::time::Instant::now() + BETWEEN;
        let speaker = usize::try_from(said).unwrap_or_default() % listeners.len();
        if let Some(speaker) = listeners.get_mut(speaker) {
            speaker.say(&name, base + said).await?;
        }
        said += 1;
        let all = async {
            for listener in &mut listeners {
                listener.hear(said).await?;
                watch.progress(1);
            }
            Ok(())
        };
        let heard = watch.over(plan.patience, all).await;
        heard.unwrap_or_else(|| fault("messages to the big room stay away"))?;
        state.heard.fetch_add(1, Relaxed);
        tokio::time::sleep_until(next).await;
    }
    for (at, listener) in listeners.iter().enumerate() {
        listener.verdict(&format!("messages to occupant {at} of the big room"), said)?;
    }
    Ok(())
}

const SMALL: &str = "little";
const BIG: &str = "m";
const SMALL_OCCUPANTS: usize = 5;
/// Ten a second.
const BETWEEN: Duration = Duration::from_millis(100);
const PAUSE: Duration = Duration::from_millis(7);
const STEP: Duration = Duration::from_millis(5);
/// A thousand enter.
const ENTRY_MAX: Duration = Duration::from_secs(180);
