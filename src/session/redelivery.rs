//! The state of a redelivery.

use std::collections::VecDeque;
use std::future::pending;
use std::pin::Pin;

use crate::router::owed::Claim;
use crate::store::StoreError;
use crate::store::mailbox::MailRow;

/// Owed rows that this session has claimed and not yet delivered.
pub(super) struct Redelivery {
    pub(super) claims: VecDeque<Claim>,
    /// The number of claims, from the front, whose rows are being read.
    pub(super) reading: usize,
    pub(super) page: Paging,
}

/// A pending read of owed rows.
pub(super) type Paging = Pin<Box<dyn Future<Output = Result<Vec<MailRow>, StoreError>> + Send>>;

/// Waits for the page that is being read.
pub(super) async fn page(
    redelivery: &mut Option<Box<Redelivery>>,
) -> Result<Vec<MailRow>, StoreError> {
    match redelivery {
        Some(redelivery) => (&mut redelivery.page).await,
        None => pending().await,
    }
}
