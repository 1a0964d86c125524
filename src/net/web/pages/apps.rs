//! Which apps are recommended on which system (XEP-0379 §3.3).

use maud::{Markup, html};

use super::texts::Texts;

/// What a browser says that it runs on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Platform {
    /// Phones and tablets with Android.
    Android,
    /// iPhone and iPad.
    Ios,
    /// Computers of Apple's, and tablets that say they are such.
    Mac,
    /// Windows.
    Windows,
    /// Linux and its like.
    Linux,
}

impl Platform {
    /// By the words of `User-Agent`. Android says that it is a Linux, too.
    pub fn of(agent: &str) -> Option<Self> {
        let words = [
            ("Android", Self::Android),
            ("iPhone", Self::Ios),
            ("iPad", Self::Ios),
            ("iPod", Self::Ios),
            ("Macintosh", Self::Mac),
            ("Windows", Self::Windows),
            ("Linux", Self::Linux),
            ("CrOS", Self::Linux),
            ("BSD", Self::Linux),
        ];
        words.into_iter().find(|(word, _)| agent.contains(word)).map(|(_, platform)| platform)
    }

    /// Whether it is in people's pockets: a code on its screen is for somebody else's.
    pub fn is_mobile(self) -> bool {
        matches!(self, Self::Android | Self::Ios)
    }

    fn name(self) -> &'static str {
        match self {
            Self::Android => "Android",
            Self::Ios => "iPhone, iPad",
            Self::Mac => "macOS",
            Self::Windows => "Windows",
            Self::Linux => "Linux",
        }
    }
}

/// An app.
struct App {
    name: &'static str,
    url: &'static str,
    on: &'static [Platform],
}

/// Those that are kept, in the order of recommendation.
const APPS: &[App] = &[
    App { name: "Conversations", url: "https://conversations.im/", on: &[Platform::Android] },
    App { name: "Cheogram", url: "https://cheogram.com/", on: &[Platform::Android] },
    App { name: "Monal", url: "https://monal-im.org/", on: &[Platform::Ios, Platform::Mac] },
    App { name: "Siskin IM", url: "https://siskin.im/", on: &[Platform::Ios] },
    App { name: "Beagle IM", url: "https://beagle.im/", on: &[Platform::Mac] },
    App { name: "Dino", url: "https://dino.im/", on: &[Platform::Linux, Platform::Windows] },
    App {
        name: "Gajim",
        url: "https://gajim.org/",
        on: &[Platform::Windows, Platform::Linux, Platform::Mac],
    },
];

/// The apps for this device, then the others, which are folded up where this device is known.
pub fn list(t: &Texts, platform: Option<Platform>) -> Markup {
    let is_here = |app: &&App| platform.is_some_and(|platform| app.on.contains(&platform));
    let (here, others): (Vec<&App>, Vec<&App>) = APPS.iter().partition(is_here);
    html! {
        @if let Some(platform) = platform {
            h3 { (t.apps_here) " (" (platform.name()) ")" }
            (of(&here))
        }
        details open[platform.is_none()] {
            summary { (t.apps_others) }
            (of(&others))
        }
    }
}

fn of(apps: &[&App]) -> Markup {
    html! {
        ul.apps {
            @for app in apps {
                li {
                    a href=(app.url) rel="noreferrer noopener" { (app.name) }
                    " "
                    span.on {
                        @for (index, on) in app.on.iter().enumerate() {
                            @if index > 0 { ", " }
                            (on.name())
                        }
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_browser_says_where_it_runs() {
        for (agent, platform) in [
            ("Mozilla/5.0 (Linux; Android 14; Pixel 8) Mobile", Some(Platform::Android)),
            ("Mozilla/5.0 (iPhone; CPU iPhone OS 17_0 like Mac OS X)", Some(Platform::Ios)),
            ("Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7)", Some(Platform::Mac)),
            ("Mozilla/5.0 (Windows NT 10.0; Win64; x64)", Some(Platform::Windows)),
            ("Mozilla/5.0 (X11; Linux x86_64; rv:130.0)", Some(Platform::Linux)),
            ("curl/8.5.0", None),
        ] {
            assert_eq!(Platform::of(agent), platform, "{agent}");
        }
        for platform in
            [Platform::Android, Platform::Ios, Platform::Mac, Platform::Windows, Platform::Linux]
        {
            assert!(APPS.iter().any(|app| app.on.contains(&platform)), "{platform:?}");
        }
    }
}
