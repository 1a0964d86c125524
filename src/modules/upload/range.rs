//! Parts of a file (RFC 9110 §14).

/// What of a file is wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Wanted {
    /// All of it.
    Whole,
    /// So many bytes from a place on.
    Part(u64, u64),
    /// What is not in it.
    Nothing,
}

impl Wanted {
    /// Of a `Range` header, for a file of this size. Several ranges, and what is none, get the whole (§14.2).
    pub(super) fn of(header: &str, size: u64) -> Self {
        let Some(range) = header.trim().strip_prefix("bytes=") else { return Self::Whole };
        let Some((from, to)) = range.trim().split_once('-') else { return Self::Whole };
        let number = |text: &str| match text.bytes().all(|byte| byte.is_ascii_digit()) {
            true if !text.is_empty() => Some(text.parse().unwrap_or(u64::MAX)),
            _ => None,
        };
        let last = size.saturating_sub(1);
        let (from, to) = match (number(from), number(to)) {
            (Some(from), None) if to.is_empty() => (from, last),
            (Some(from), Some(to)) if from <= to => (from, to.min(last)),
            (None, Some(0)) if from.is_empty() => return Self::Nothing,
            (None, Some(length)) if from.is_empty() => (size.saturating_sub(length), last),
            _ => return Self::Whole,
        };
        if from >= size {
            return Self::Nothing;
        }
        Self::Part(from, to.saturating_sub(from).saturating_add(1))
    }
}

#[cfg(test)]
mod tests {
    use super::Wanted::{Nothing, Part, Whole};
    use super::*;

    #[test]
    fn a_range_is_within_the_file() {
        for (header, wanted) in [
            ("bytes=0-9", Part(0, 10)),
            ("bytes=5-", Part(5, 95)),
            ("bytes=-5", Part(95, 5)),
            ("bytes=-500", Part(0, 100)),
            ("bytes=90-500", Part(90, 10)),
            ("bytes=99-99", Part(99, 1)),
            ("bytes=100-", Nothing),
            ("bytes=-0", Nothing),
            ("bytes=99999999999999999999999-", Nothing),
            ("bytes=0-99999999999999999999999", Part(0, 100)),
            ("bytes=9-5", Whole),
            ("bytes=-", Whole),
            ("bytes=0-1,5-6", Whole),
            ("bytes=a-b", Whole),
            ("bytes=+1-5", Whole),
            ("lines=0-9", Whole),
        ] {
            assert_eq!(Wanted::of(header, 100), wanted, "{header}");
        }
    }
}
