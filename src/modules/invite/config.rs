//! `[modules.invite]`

use serde::{Deserialize, Deserializer, Serialize, de::Error};

use crate::admin::invitations as verbs;
use crate::modules::api::WebAddress;

/// Settings of invitations.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Whether what a user invites with makes an account here; else it only makes a contact.
    pub users: bool,
    /// Invitations of one account that are open at a time; those that were used count for a day. From one address
    /// users make as many invitations to accounts in an hour.
    pub per_account: u32,
    /// Days for which an invitation is good, if nothing else is said.
    #[serde(deserialize_with = "days")]
    pub days: u32,
    /// The page that tells of an invitation, with `{token}` or `{link}` in it, and perhaps `{host}`; empty: the
    /// server's own, where it has one.
    #[serde(deserialize_with = "page")]
    pub landing_url: String,
}

impl Config {
    /// The page that tells of an invitation, with places for what it is about (XEP-0401 §5.2).
    pub fn landing(&self, web: &WebAddress) -> String {
        if !self.landing_url.is_empty() {
            return self.landing_url.clone();
        }
        web.pages("{host}").map(|url| format!("{url}{}{{token}}", verbs::PAGE)).unwrap_or_default()
    }
}

impl Default for Config {
    fn default() -> Self {
        Self { users: true, per_account: 20, days: 7, landing_url: String::new() }
    }
}

fn days<'de, D: Deserializer<'de>>(from: D) -> Result<u32, D::Error> {
    let days = u32::deserialize(from)?;
    let fits = (1..=verbs::DAYS_MAX).contains(&days).then_some(days);
    fits.ok_or_else(|| D::Error::custom(format!("it is a number from 1 to {}", verbs::DAYS_MAX)))
}

fn page<'de, D: Deserializer<'de>>(from: D) -> Result<String, D::Error> {
    let page = String::deserialize(from)?;
    let whole =
        page.starts_with("https://") && (page.contains("{token}") || page.contains("{link}"));
    let odd = page.chars().any(|c| c.is_whitespace() || c.is_control());
    if page.is_empty() || (whole && !odd) {
        return Ok(page);
    }
    Err(D::Error::custom("it is like https://example.org/invite/#{token}, or empty"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_is_an_address_with_a_place_for_the_token() {
        for (text, is_good) in [
            ("landing_url = ''", true),
            ("landing_url = 'https://x/#{token}'", true),
            ("landing_url = 'https://x/i/#{link}'", true),
            ("landing_url = 'https://x/i/'", false),
            ("landing_url = 'http://x/#{token}'", false),
            ("landing_url = 'https://x/ {token}'", false),
            ("days = 365", true),
            ("days = 0", false),
            ("days = 366", false),
        ] {
            assert_eq!(toml::from_str::<Config>(text).is_ok(), is_good, "{text}");
        }
    }
}
