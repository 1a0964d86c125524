//! Where the value of each key comes from.

use std::collections::BTreeMap;

/// What set which key.
#[derive(Debug, Clone, Default)]
pub struct Origins(pub(super) BTreeMap<String, String>);

impl Origins {
    /// File and line, variable, or option that set a key or the section above it.
    pub fn of(&self, path: &str) -> String {
        let mut at = path;
        loop {
            if let Some(origin) = self.0.get(at) {
                return format!("{origin}, key {path}");
            }
            match at.rsplit_once('.') {
                Some((above, _)) => at = above,
                None => return format!("the built-in default of key {path}"),
            }
        }
    }

    /// Whether a key was not set.
    pub fn is_default(&self, key: &str) -> bool {
        !self.0.contains_key(key)
    }

    /// Records that a layer replaced everything at and below a path.
    pub(super) fn replace(&mut self, path: &str, origin: String) {
        let below = format!("{path}.");
        self.0.retain(|key, _| !key.starts_with(&below));
        self.0.insert(path.to_owned(), origin);
    }
}
