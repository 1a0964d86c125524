//! The sequence of keys that shows that requests come from one client (XEP-0124 §15).

use sha1::{Digest, Sha1};

use crate::base::hash::hex;

/// The last key, if the client uses any.
#[derive(Debug, Default)]
pub struct Keys(Option<String>);

impl Keys {
    /// Whether the next request may be taken (XEP-0124 §15.4).
    pub fn fit(&mut self, key: Option<&str>, newkey: Option<&str>) -> bool {
        if let Some(last) = &self.0 {
            let Some(key) = key else { return false };
            if !hex(&Sha1::digest(key)).eq_ignore_ascii_case(last) {
                return false;
            }
            self.0 = Some(key.to_owned());
        }
        if let Some(newkey) = newkey {
            self.0 = Some(newkey.to_owned());
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The keys of the examples of XEP-0124 §15.4.
    #[test]
    fn a_sequence_is_followed_and_left_for_another() {
        let (first, second) = (
            "ca393b51b682f61f98e7877d61146407f3d0a770",
            "bfb06a6f113cd6fd3838ab9d300fdb4fe3da2f7d",
        );
        let mut keys = Keys::default();
        assert!(keys.fit(None, None));
        assert!(keys.fit(None, Some(&first.to_uppercase())));
        assert!(!keys.fit(None, None) && !keys.fit(Some(first), None));
        assert!(keys.fit(Some(second), None), "{}", hex(&Sha1::digest(second)));
        let new = hex(&Sha1::digest("seed"));
        assert!(!keys.fit(Some("seed"), None));
        let mut keys = Keys(Some(new.clone()));
        assert!(keys.fit(Some("seed"), Some(&new)));
        assert!(keys.fit(Some("seed"), None));
    }
}
