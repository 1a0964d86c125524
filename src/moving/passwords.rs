//! Which keys an account gets.

use super::piece::MovedAccount;
use crate::base::credential::ScramKeys;
use crate::base::id::OsRng;
use crate::jid::BareJid;
use crate::stream::sasl::keys::derive_all;

/// The keys that an account came with, or those of its password; or why it gets none.
pub fn of(account: MovedAccount, jid: &BareJid, iterations: u32) -> Result<Vec<ScramKeys>, String> {
    if !account.keys.is_empty() {
        return Ok(unique(account.keys));
    }
    let why = match &account.password {
        None => "it came without one".to_owned(),
        Some(secret) if is_name(&secret.0, &account.name, jid) => IS_NAME.to_owned(),
        Some(secret) => match derive_all(&secret.0, iterations, &mut OsRng) {
            Ok(keys) => return Ok(keys.to_vec()),
            Err(error) => error.to_string(),
        },
    };
    Err(format!("{why}; `stonechat user reset-link {jid}` lets its owner set one"))
}

/// Whether a password is the account's name, as it came or as it is here: Openfire writes it for one that it does not
/// know, and everybody could guess it.
fn is_name(password: &str, name: &str, jid: &BareJid) -> bool {
    let (password, name) = (password.trim(), name.trim());
    let prepared = BareJid::from_parts(Some(password), jid.domain());
    password == name || prepared.is_ok_and(|it| it.local() == jid.local())
}

const IS_NAME: &str =
    "it came with a password that is the name, as Openfire writes for one that it does not know";

/// One set of keys for each hash.
pub fn unique(mut keys: Vec<ScramKeys>) -> Vec<ScramKeys> {
    let mut hashes = Vec::new();
    keys.retain(|one| {
        let is_new = !hashes.contains(&one.hash);
        hashes.push(one.hash);
        is_new
    });
    keys
}
