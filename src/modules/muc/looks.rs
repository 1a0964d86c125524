//! How a room and those in it look beyond XEP-0045: the avatar (XEP-0486) and hats (XEP-0317). Kept with its
//! configuration; the vCard itself stays in the store.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::names::HATS;
use crate::base::hash::{hex, sha1};
use crate::xml::writer::Xml;

/// What a room looks like.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Looks {
    /// SHA-1 of each photo in its vCard (XEP-0486 §3.3, §5.1).
    pub avatar: Vec<String>,
    /// The hats that there are.
    pub hats: Vec<Hat>,
    /// The URIs of the hats that people wear, by bare JID; none without any.
    pub worn: BTreeMap<String, Vec<String>>,
}

/// A hat (XEP-0317 §3.1).
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hat {
    /// What it is known by.
    pub uri: String,
    /// For people.
    pub title: String,
    /// Its colour, an angle in degrees.
    #[serde(default)]
    pub hue: Option<String>,
}

impl Looks {
    /// The hat with this URI.
    pub fn hat(&self, uri: &str) -> Option<&Hat> {
        self.hats.iter().find(|hat| hat.uri == uri)
    }

    /// What somebody wears.
    pub fn worn_by(&self, bare: &str) -> impl Iterator<Item = &Hat> {
        let uris = self.worn.get(bare).into_iter().flatten();
        uris.filter_map(|uri| self.hat(uri))
    }

    /// XEP-0317 §3.1: for the presence of somebody; nothing for who wears none.
    pub fn write_worn(&self, bare: &str, xml: &mut Xml) {
        let mut worn = self.worn_by(bare).peekable();
        if worn.peek().is_none() {
            return;
        }
        xml.start("hats").attr("xmlns", HATS);
        for Hat { uri, title, hue } in worn {
            xml.start("hat").attr("title", title).attr("uri", uri);
            xml.attr_opt("hue", hue.as_deref()).end();
        }
        xml.end();
    }

    /// XEP-0317 §2: another one whenever the list of hats is another one.
    pub fn hash(&self) -> Option<String> {
        let mut all: Vec<&Hat> = self.hats.iter().collect();
        all.sort_by(|one, other| one.uri.cmp(&other.uri));
        let text = serde_json::to_vec(&all).ok().filter(|_| !all.is_empty())?;
        Some(hex(&sha1(&text)))
    }
}
