//! Sizes for people.

/// `512 bytes`, `1.5 MiB`.
pub fn readable(bytes: i64) -> String {
    let mut unit = 0;
    let mut tenths = bytes.max(0).saturating_mul(10);
    while tenths >= 10_240 && unit + 1 < UNITS.len() {
        tenths /= 1_024;
        unit += 1;
    }
    let name = UNITS.get(unit).copied().unwrap_or_default();
    match (unit, tenths % 10) {
        (0, _) if bytes == 1 => "1 byte".to_owned(),
        (0, _) | (_, 0) => format!("{} {name}", tenths / 10),
        (_, tenth) => format!("{}.{tenth} {name}", tenths / 10),
    }
}

const UNITS: [&str; 5] = ["bytes", "KiB", "MiB", "GiB", "TiB"];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_size_is_short() {
        for (bytes, text) in [
            (-1, "0 bytes"),
            (0, "0 bytes"),
            (1, "1 byte"),
            (1_023, "1023 bytes"),
            (1_024, "1 KiB"),
            (1_600, "1.5 KiB"),
            (1_048_576, "1 MiB"),
            (5 << 30, "5 GiB"),
            (i64::MAX, "838860.7 TiB"),
        ] {
            assert_eq!(readable(bytes), text, "{bytes}");
        }
    }
}
