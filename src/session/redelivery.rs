//! Owed rows on their way to a client.

use std::collections::VecDeque;
use std::future::pending;
use std::pin::Pin;

use crate::router::owed::Claim;
use crate::store::StoreError;
use crate::store::mailbox::MailRow;

/// Owed rows that this session took on itself, on their way to the client.
pub(super) struct Redelivery {
    pub(super) claims: VecDeque<Claim>,
    /// So many of the first ones are being read.
    pub(super) reading: usize,
    pub(super) page: Paging,
}

/// A read of owed rows on its way.
pub(super) type Paging = Pin<Box<dyn Future<Output = Result<Vec<MailRow>, StoreError>> + Send>>;

/// The page that is being read.
pub(super) async fn page(
    redelivery: &mut Option<Box<Redelivery>>,
) -> Result<Vec<MailRow>, StoreError> {
    match redelivery {
        Some(redelivery) => (&mut redelivery.page).await,
        None => pending().await,
    }
}
