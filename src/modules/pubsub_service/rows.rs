//! The numbers of services: by them their nodes are theirs, whatever is hosted beside them.

use crate::store::ids::ServiceKey;
use crate::store::tx::{StoreError, Tx, query_one, query_optional};

/// The key of the service at this domain, if it has one already.
pub(super) fn find(tx: &mut dyn Tx, domain: &str) -> Result<Option<ServiceKey>, StoreError> {
    let number = query_optional(tx, FIND, &[domain.into()], |row| row.int(0))?;
    Ok(number.map(ServiceKey::of_service))
}

/// The same; it gets one if it has none.
pub(super) fn number(tx: &mut dyn Tx, domain: &str) -> Result<ServiceKey, StoreError> {
    match find(tx, domain)? {
        Some(key) => Ok(key),
        None => {
            query_one(tx, NUMBER, &[domain.into()], |row| row.int(0)).map(ServiceKey::of_service)
        }
    }
}

crate::store::sql! {
    FIND = "SELECT number FROM pubsub_service WHERE domain = $1";
    NUMBER = "INSERT INTO pubsub_service (domain) VALUES ($1) RETURNING number";
}
