//! Files that come with the program. A hash of their content is in their names, so browsers may keep them.

use crate::base::hash::{hex, sha256};

/// The files with their names.
pub struct Assets {
    style: String,
    icon: String,
}

impl Assets {
    /// Names them.
    pub fn read() -> Self {
        let named = |name: &str, content: &str, end: &str| {
            let hash = hex(&sha256(content.as_bytes()));
            format!("{name}-{}.{end}", hash.get(..16).unwrap_or(&hash))
        };
        Self { style: named("style", STYLE, "css"), icon: named("icon", ICON, "svg") }
    }

    /// The path of the style.
    pub fn style(&self) -> String {
        format!("/pages/{}", self.style)
    }

    /// The path of the icon.
    pub fn icon(&self) -> String {
        format!("/pages/{}", self.icon)
    }

    /// The file of a name: its content and media type.
    pub fn find(&self, name: &str) -> Option<(&'static str, &'static str)> {
        match self {
            Self { style, .. } if *style == name => Some((STYLE, "text/css; charset=utf-8")),
            Self { icon, .. } if *icon == name => Some((ICON, "image/svg+xml")),
            Self { .. } => None,
        }
    }
}

const STYLE: &str = include_str!("style.css");
const ICON: &str = include_str!("icon.svg");
