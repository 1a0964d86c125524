//! What modules keep for sessions and accounts, and how it is written down.

use crate::store::ids::AccountId;
use crate::store::tx::{StoreError, Tx};

/// A module's part of what is written down of a session: name, version, bytes.
pub type Saved = (String, u16, Vec<u8>);

/// What a module keeps for a session, over a restart of the server (promise.md 11).
pub trait Persist: Sized {
    /// Rises with every change of what [`Persist::save`] writes.
    const VERSION: u16;
    /// As bytes.
    fn save(&self) -> Vec<u8>;
    /// From bytes of this version; `None` when they cannot be read.
    fn load(bytes: &[u8]) -> Option<Self>;
}

/// What is kept, to be saved under this name.
pub fn saved<T: Persist>(name: &str, state: &T) -> Saved {
    (name.to_owned(), T::VERSION, state.save())
}

/// What was saved under this name; a module that is new since then begins afresh.
pub fn restore<T: Persist + Default>(name: &str, saved: &[(String, u16, Vec<u8>)]) -> Option<T> {
    match saved.iter().find(|(known, ..)| known == name) {
        None => Some(T::default()),
        Some((_, version, bytes)) if *version == T::VERSION => T::load(bytes),
        Some(_) => None,
    }
}

/// What a module keeps for an account, in the router's entry.
pub trait AccountPart: Sized {
    /// Reads it with the account.
    fn load(tx: &mut dyn Tx, account: AccountId) -> Result<Self, StoreError>;
    /// Bytes that it takes outside itself.
    fn bytes(&self) -> usize;
    /// As though there were none.
    fn is_nothing(&self) -> bool;
}
