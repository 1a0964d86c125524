//! What the environment may say about a run.

use std::env::var;

/// `STONECHAT_AUDIT_KILLS`: kills of the kill audit.
pub fn kills() -> u32 {
    number("STONECHAT_AUDIT_KILLS", 8)
}

/// `STONECHAT_AUDIT_RESTARTS`: stops of the restart audit.
pub fn restarts() -> u32 {
    number("STONECHAT_AUDIT_RESTARTS", 10)
}

/// `STONECHAT_AUDIT_RATE`: messages a second, of all senders.
pub fn rate() -> u32 {
    number("STONECHAT_AUDIT_RATE", 300)
}

/// `STONECHAT_AUDIT_BODY`: bytes of the longest body.
pub fn body_max() -> usize {
    number("STONECHAT_AUDIT_BODY", 400) as usize
}

/// `STONECHAT_AUDIT_SEED`: a number that an earlier run has printed.
pub fn seed() -> u64 {
    let given = var("STONECHAT_AUDIT_SEED").ok().map(|text| text.parse().expect("a seed"));
    given.unwrap_or_else(|| {
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
        now.unwrap().as_micros() as u64 % 1_000_000_007
    })
}

/// `STONECHAT_AUDIT_WRAP`: the server is started through this command (`{n}`: the number of the
/// start), as in `strace -f -c -o /tmp/calls.{n}`.
pub fn wrap() -> Option<String> {
    var("STONECHAT_AUDIT_WRAP").ok()
}

/// `STONECHAT_AUDIT_PRELOAD`: a library that is loaded before all others. Variables that begin with
/// `STONECHAT_` do not reach it.
pub fn preload() -> Option<String> {
    var("STONECHAT_AUDIT_PRELOAD").ok()
}

fn number(name: &str, default: u32) -> u32 {
    var(name).ok().map_or(default, |text| text.parse().expect(name))
}

/// Small and repeatable: xorshift64*.
pub struct Dice(u64);

impl Dice {
    pub fn new(seed: u64) -> Dice {
        Dice(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    /// Less than `end`, which is not 0.
    pub fn below(&mut self, end: u64) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 16) % end
    }

    pub fn one_in(&mut self, count: u64) -> bool {
        self.below(count) == 0
    }
}
