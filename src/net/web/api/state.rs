//! What the handlers of the API share.

use std::sync::Arc;

use super::guard::Guard;
use crate::admin::Operators;
use crate::net::web::state::Web;

/// See the fields.
pub struct Api {
    /// Carries out verbs.
    pub operators: Operators,
    /// The server's web side.
    pub web: Arc<Web>,
    /// What is known of those who ask.
    pub(super) guard: Guard,
}
