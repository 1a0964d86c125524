//! UTC time stamps in the format of XEP-0082.

use std::time::SystemTime;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use time::macros::format_description;

/// `2026-01-31T12:00:00Z` with milliseconds when there are any (XEP-0082 §3.2).
pub fn stamp(at: SystemTime) -> String {
    let at = OffsetDateTime::from(at);
    let whole = format_description!("[year]-[month]-[day]T[hour]:[minute]:[second]Z");
    let milli =
        format_description!("[year]-[month]-[day]T[hour]:[minute]:[second].[subsecond digits:3]Z");
    let text = if at.millisecond() == 0 { at.format(&whole) } else { at.format(&milli) };
    // Formatting fails only for years outside 0..=9999, which no system clock shows.
    text.unwrap_or_else(|_| "1970-01-01T00:00:00Z".to_owned())
}

/// The same of microseconds since 1970, without loss: XEP-0082 §3.2 allows any number of digits.
pub fn exact(micros: i64) -> String {
    let whole = format_description!("[year]-[month]-[day]T[hour]:[minute]:[second]Z");
    let parts =
        format_description!("[year]-[month]-[day]T[hour]:[minute]:[second].[subsecond digits:6]Z");
    let at = OffsetDateTime::from(from_micros(micros));
    let text = if micros % 1_000_000 == 0 { at.format(&whole) } else { at.format(&parts) };
    text.unwrap_or_else(|_| "1970-01-01T00:00:00Z".to_owned())
}

/// Reads a XEP-0082 DateTime; `None` for anything else.
pub fn parse(text: &str) -> Option<SystemTime> {
    OffsetDateTime::parse(text, &Rfc3339).ok().map(SystemTime::from)
}

/// Microseconds since the epoch, as stored; 0 for times before it.
pub fn micros(at: SystemTime) -> i64 {
    at.duration_since(SystemTime::UNIX_EPOCH)
        .ok()
        .and_then(|d| i64::try_from(d.as_micros()).ok())
        .unwrap_or(0)
}

/// The reverse of [`micros`].
pub fn from_micros(micros: i64) -> SystemTime {
    let micros = u64::try_from(micros).unwrap_or(0);
    SystemTime::UNIX_EPOCH + std::time::Duration::from_micros(micros)
}

/// Whether a clock may be right: false for a time before this program was written. A board without a battery
/// starts in 1970.
pub fn is_plausible(now: SystemTime) -> bool {
    now >= from_micros(WRITTEN)
}

/// The clock's time if it is plausible, for values that are stored for years.
pub fn plausible(now: SystemTime) -> SystemTime {
    now.max(from_micros(WRITTEN))
}

/// The beginning of 2026.
const WRITTEN: i64 = 1_767_225_600_000_000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stamp_reads_back() {
        let at = from_micros(1_790_000_000_123_000);
        assert_eq!(parse(&stamp(at)), Some(at));
        assert_eq!(stamp(from_micros(0)), "1970-01-01T00:00:00Z");
        assert_eq!(parse("yesterday"), None);
        for micros in [0, 1_000_000, 1_790_000_000_000_001] {
            assert_eq!(parse(&exact(micros)), Some(from_micros(micros)));
        }
        assert_eq!(stamp(from_micros(WRITTEN)), "2026-01-01T00:00:00Z");
        assert_eq!(plausible(at), at);
        assert!(is_plausible(at) && !is_plausible(from_micros(7)));
        assert_eq!(plausible(from_micros(7)), from_micros(WRITTEN));
    }
}
