//! The clients of a run and what they do: senders at a pace, recipients that stay, come now and
//! then, or share an account.

use super::driver::{Arrival, Driver};
use super::ledger::{Book, To};
use super::settings::Dice;
use crate::harness::client::{Outcome, Target};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep_until};

/// When a device is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Comes {
    Always,
    /// With every so-manieth server process, and at the end.
    Every(u32),
}

/// One device of the plan.
#[derive(Clone, Copy, Debug)]
pub struct Device {
    pub account: usize,
    pub manages: bool,
    pub sends: bool,
    pub comes: Comes,
    /// The rooms that it is in; if it sends, it speaks there, too.
    pub rooms: &'static [usize],
    /// By WebSocket.
    pub web: bool,
}

/// How hard they work.
#[derive(Clone, Copy, Debug)]
pub struct Load {
    /// Messages a second, of all senders.
    pub rate: u32,
    pub body: (usize, usize),
    pub in_flight_max: usize,
    pub seed: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd)]
pub enum Phase {
    Load,
    /// Nothing new is sent, everyone is there.
    Drain,
    /// Everyone leaves properly.
    Close,
}

/// The server as the clients see it.
#[derive(Clone)]
pub struct Place {
    pub generation: u32,
    /// False from the moment before its end.
    pub up: bool,
    pub target: Target,
    pub phase: Phase,
    /// It keeps archives.
    pub archives: bool,
}

/// One client: it lives until the run closes.
pub struct Actor {
    driver: Driver,
    device: Device,
    load: Load,
    accounts: usize,
    senders: u32,
    dice: Dice,
    place: watch::Receiver<Place>,
    /// Counts those that are online with the present server.
    online: watch::Sender<Vec<u32>>,
}

/// How a connection ended.
enum Left {
    /// By our own will, to come again.
    ByWill,
    /// Closed at the end of the run.
    ForGood,
    Broken,
}

impl Actor {
    pub fn new(
        driver: Driver,
        devices: &[Device],
        load: Load,
        place: watch::Receiver<Place>,
        online: watch::Sender<Vec<u32>>,
    ) -> Actor {
        Actor {
            device: devices[driver.device],
            load,
            accounts: driver.accounts.len(),
            senders: devices.iter().filter(|device| device.sends).count() as u32,
            dice: Dice::new(load.seed ^ (driver.device as u64 + 1)),
            place,
            online,
            driver,
        }
    }

    pub async fn live(mut self) {
        loop {
            let place = self.place.borrow_and_update().clone();
            if place.up && self.comes(&place) {
                match self.attend(&place).await {
                    Ok(Left::ByWill) => continue,
                    Ok(Left::ForGood) => return,
                    Ok(Left::Broken) => self.excuse(&place, "the stream ended"),
                    Err(failure) => self.excuse(&place, failure.0.lines().next().unwrap_or("")),
                }
                self.driver.cut();
                // It may be another one by now.
                if self.place.borrow().generation != place.generation {
                    continue;
                }
            }
            if self.place.changed().await.is_err() {
                return;
            }
        }
    }

    fn comes(&self, place: &Place) -> bool {
        match self.device.comes {
            Comes::Always => true,
            Comes::Every(n) => place.phase > Phase::Load || place.generation.is_multiple_of(n),
        }
    }

    /// An end is the server's fault while it should be up.
    fn excuse(&self, place: &Place, why: &str) {
        let now = self.place.borrow();
        let closed = self.driver.is_closed().then_some("the closing tag");
        let error = self.driver.stream_error.as_deref().or(closed);
        if now.up && now.generation == place.generation {
            let (name, last) = (self.driver.name(), self.driver.last_words());
            self.book().fault(format!("{name}: {why} {}\n{last}", error.unwrap_or("")));
        } else if let Some(error) = error
            && self.driver.is_managed()
        {
            // promise.md 11: an error or a closing tag would end the session.
            self.book().fault(format!("{}: at a stop: {error}", self.driver.name()));
        }
    }

    /// From the login to the end of the connection.
    async fn attend(&mut self, place: &Place) -> Outcome<Left> {
        self.driver.life = place.generation as usize;
        let arrival = self.driver.connect(&place.target).await?;
        self.online.send_modify(|all| all[self.driver.device] = place.generation);
        match arrival {
            Arrival::Fresh if place.archives => self.driver.ask_page().await?,
            Arrival::Fresh => {}
            Arrival::Resumed => self.driver.ask_rooms().await?,
        }
        let mut next = Instant::now() + self.pause();
        let mut asks = interval(ASK_EVERY);
        asks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let phase = self.place.borrow().phase;
            if phase == Phase::Close {
                return self.leave().await;
            }
            let sends = self.device.sends
                && phase == Phase::Load
                && self.driver.in_flight() < self.load.in_flight_max;
            tokio::select! {
                came = self.driver.next() => match came? {
                    Some(element) => self.driver.take(element).await?,
                    None => return Ok(Left::Broken),
                },
                // The pace of the load is a timer by purpose.
                () = sleep_until(next), if sends => {
                    next += self.pause();
                    self.send().await?;
                }
                _ = asks.tick() => {
                    if self.driver.in_flight() > 0 {
                        self.driver.ask().await?;
                    }
                    if let Some(left) = self.wander(phase).await? {
                        return Ok(left);
                    }
                }
                changed = self.place.changed() => if changed.is_err() {
                    return Ok(Left::ForGood);
                },
            }
        }
    }

    async fn send(&mut self) -> Outcome<()> {
        let to = self.choose();
        let (least, most) = self.load.body;
        let length = least + self.dice.below((most - least + 1) as u64) as usize;
        let device = self.driver.device;
        let key = self.book().write(|ledger| ledger.sends(device, to));
        match to {
            To::Account(to) => self.driver.message(key, to, length).await?,
            To::Room(room) => self.driver.say_in(key, room, length).await?,
        }
        match self.dice.one_in(5) {
            true => self.driver.ask().await,
            false => Ok(()),
        }
    }

    /// Whom it writes to.
    fn choose(&mut self) -> To {
        let rooms = self.device.rooms;
        if !rooms.is_empty() && self.dice.one_in(3) {
            return To::Room(rooms[self.dice.below(rooms.len() as u64) as usize]);
        }
        To::Account(match self.dice.one_in(10) {
            true => self.device.account,
            false => self.dice.below(self.accounts as u64) as usize,
        })
    }

    /// Clients come and go in the life of a server too: those with stream management are cut off and
    /// resume, the others leave properly, which confirms what they got.
    async fn wander(&mut self, phase: Phase) -> Outcome<Option<Left>> {
        if phase != Phase::Load {
            return Ok(None);
        }
        if self.driver.is_managed() {
            let lost = self.dice.one_in(CUT_ONE_IN);
            if lost {
                self.driver.cut();
            }
            return Ok(lost.then_some(Left::ByWill));
        }
        if self.driver.unconfirmed.len() < UNCONFIRMED_MANY {
            return Ok(None);
        }
        self.driver.close().await?;
        Ok(Some(Left::ByWill))
    }

    async fn leave(&mut self) -> Outcome<Left> {
        while self.driver.misses_something() {
            let Some(element) = self.driver.next().await? else { return Ok(Left::Broken) };
            self.driver.take(element).await?;
        }
        self.driver.fence().await?;
        if let Some(stay) = self.driver.rooms.iter().find(|stay| !stay.entered) {
            let (name, room) = (self.driver.name(), stay.room);
            self.book().fault(format!("{name}: not in room {room}"));
        }
        self.driver.close().await?;
        Ok(Left::ForGood)
    }

    /// Between nothing and twice the mean.
    fn pause(&mut self) -> Duration {
        let mean = 1_000_000 * u64::from(self.senders.max(1)) / u64::from(self.load.rate.max(1));
        Duration::from_micros(self.dice.below(2 * mean + 1))
    }

    fn book(&self) -> &Arc<Book> {
        &self.driver.book
    }
}

/// A sender that waits for an acknowledgement asks again.
const ASK_EVERY: Duration = Duration::from_millis(50);
/// Of the moments above, one in so many cuts a connection.
const CUT_ONE_IN: u64 = 30;
/// Arrivals after which a client without stream management leaves, to confirm them.
const UNCONFIRMED_MANY: usize = 60;
