//! Which language a page is in: the one that was asked for, else the best that the browser names.

/// The languages that there are texts in; the first is the one for all others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Language {
    /// English
    En,
    /// German
    De,
    /// Spanish
    Es,
    /// French
    Fr,
    /// Chinese
    Zh,
}

impl Language {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::En, Self::De, Self::Es, Self::Fr, Self::Zh];

    /// Its tag (RFC 5646).
    pub fn tag(self) -> &'static str {
        match self {
            Self::En => "en",
            Self::De => "de",
            Self::Es => "es",
            Self::Fr => "fr",
            Self::Zh => "zh",
        }
    }

    /// The language of a tag, whatever its region and script.
    pub fn of(tag: &str) -> Option<Self> {
        let primary = tag.trim().split(['-', '_']).next().unwrap_or_default();
        Self::ALL.into_iter().find(|one| one.tag().eq_ignore_ascii_case(primary))
    }

    /// RFC 9110 §12.5.4: the language of the greatest weight; of several the first.
    pub fn best(accept: &str) -> Self {
        let mut best = (Self::En, 0);
        // Browsers send a handful.
        for range in accept.split(',').take(RANGES_MAX) {
            let mut parts = range.split(';');
            let tag = parts.next().unwrap_or_default();
            let weight =
                parts.find_map(|part| part.trim().strip_prefix("q=")).map_or(1_000, weight);
            let named = if tag.trim() == "*" { Some(Self::En) } else { Self::of(tag) };
            if let Some(named) = named.filter(|_| weight > best.1) {
                best = (named, weight);
            }
        }
        best.0
    }
}

/// RFC 9110 §12.4.2, in thousandths; 0 for what is none.
fn weight(text: &str) -> u16 {
    let weight: f32 = text.trim().parse().unwrap_or(0.0);
    if (0.0..=1.0).contains(&weight) { (weight * 1_000.0) as u16 } else { 0 }
}

const RANGES_MAX: usize = 32;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_browser_names_languages_by_weight() {
        for (accept, tag) in [
            ("", "en"),
            ("de", "de"),
            ("de-AT,de;q=0.9,en;q=0.8", "de"),
            ("en;q=0.5, fr-CH;q=0.9, de;q=0.7", "fr"),
            ("zh-Hant-TW", "zh"),
            ("zh_CN", "zh"),
            ("ES", "es"),
            ("it, pt;q=0.9", "en"),
            ("it, pt;q=0.9, es;q=0.1", "es"),
            ("de;q=0, fr;q=0.001", "fr"),
            ("de;q=0", "en"),
            ("*, de;q=0.5", "en"),
            ("*;q=0.1, de;q=0.5", "de"),
            ("de;q=nonsense, fr;q=0.2", "fr"),
            ("de;q=7, fr;q=0.2", "fr"),
            ("de;q=NaN, fr;q=0.2", "fr"),
            ("fr;level=1;q=0.3, de;q=0.4", "de"),
            (";;;,,,q=1", "en"),
        ] {
            assert_eq!(Language::best(accept).tag(), tag, "{accept}");
        }
        assert_eq!(Language::best(&format!("{}de", "x,".repeat(10_000))), Language::En);
    }
}
