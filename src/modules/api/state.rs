//! The state that modules hold for sessions and accounts, and how it is saved.

use crate::store::ids::AccountId;
use crate::store::tx::{StoreError, Tx};

/// A module's part of a saved session: name, version, bytes.
pub type Saved = (String, u16, Vec<u8>);

/// A module's state of a session that survives a restart of the server (promise.md 11).
pub trait Persist: Sized {
    /// Increases whenever the format of [`Persist::save`] changes.
    const VERSION: u16;
    /// Encodes the state.
    fn save(&self) -> Vec<u8>;
    /// Decodes bytes of this version; `None` if they are invalid.
    fn load(bytes: &[u8]) -> Option<Self>;
}

/// Encodes the state under this name.
pub fn saved<T: Persist>(name: &str, state: &T) -> Saved {
    (name.to_owned(), T::VERSION, state.save())
}

/// Decodes the state saved under this name; a module that was added since then starts with its default.
pub fn restore<T: Persist + Default>(name: &str, saved: &[(String, u16, Vec<u8>)]) -> Option<T> {
    match saved.iter().find(|(known, ..)| known == name) {
        None => Some(T::default()),
        Some((_, version, bytes)) if *version == T::VERSION => T::load(bytes),
        Some(_) => None,
    }
}

/// A module's state of an account, in the router's entry.
pub trait AccountPart: Sized {
    /// Reads it when the account is loaded.
    fn load(tx: &mut dyn Tx, account: AccountId) -> Result<Self, StoreError>;
    /// Bytes that it occupies outside of itself.
    fn bytes(&self) -> usize;
    /// Whether it equals no state at all, so that it can be dropped.
    fn is_nothing(&self) -> bool;
}
