//! `[modules.push]`

/// When push notifications are sent, and what they may say.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Whether clients may enable push notifications.
    pub enabled: bool,
    /// Maximum number of registrations of one account.
    pub registrations_max: usize,
    /// Seconds that a message waits unacknowledged at an inactive client before its device is woken.
    pub inactive_secs: u64,
    /// Seconds in which somebody may read a message at another device before an absent one is woken.
    pub elsewhere_secs: u64,
    /// Seconds from one notification of a registration to the next.
    pub interval_secs: u64,
    /// Whether messages of rooms that do not mention the user wake a device, too.
    pub rooms: bool,
    /// Whether notifications may name the last message's sender, if the client asks for it.
    pub sender: bool,
    /// Whether they may contain its text, if the client asks for it.
    pub body: bool,
    /// Errors in a row, of those that may pass, after which a registration is disabled.
    pub failures_max: u32,
    /// Maximum number of registrations of all accounts that wait to be notified.
    pub queue_max: usize,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            enabled: true,
            registrations_max: 16,
            inactive_secs: 30,
            elsewhere_secs: 15,
            interval_secs: 5,
            rooms: true,
            sender: false,
            body: false,
            failures_max: 10,
            queue_max: 10_000,
        }
    }
}
