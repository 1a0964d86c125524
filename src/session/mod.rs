//! One task per client stream: negotiation first, then the session's loop.

mod admit;
mod binding;
mod bound;
mod clock;
mod confirmed;
mod context;
mod counts;
mod delivery;
mod ending;
mod enter;
mod fast;
mod figures;
mod flow;
mod handled;
mod hibernate;
mod inbound;
pub mod link;
mod liveness;
mod negotiate;
pub mod pace;
mod redelivery;
pub mod resume_table;
mod resumption;
mod run;
pub mod saved;
mod stage;
mod stream_management;
pub mod transport;
mod upgrade;
pub mod wire;

use std::sync::Arc;

pub use context::{Context, NewConnection, Ports};
pub use counts::Counts;

/// Negotiates, then hands the stream to a task of its own, so that the larger future of the
/// negotiation is freed. `guard` is dropped when the stream ends (it counts streams per address).
pub async fn serve(context: Arc<Context>, connection: NewConnection, guard: link::Guard) {
    let negotiation = negotiate::negotiate(context.clone(), connection, guard);
    if let Some(session) = Box::pin(negotiation).await {
        context.router.tasks.spawn("session", run::run(Box::new(session)));
    }
}

#[cfg(test)]
pub(crate) mod tests;
