//! Services at work.

use std::sync::Arc;

use crate::modules;
use crate::router::ServiceId;
use crate::session::Context;

/// A service handles what is put into its mailbox, to the last that sessions leave behind when the server
/// stops.
pub(super) fn serve(context: &Arc<Context>, service: ServiceId) {
    let Some(mailbox) = context.router.mailbox(service).cloned() else { return };
    let (of, mut stopping) = (context.clone(), context.stopping.clone());
    let (tasks, closing) = (context.router.tasks.clone(), mailbox.clone());
    context.router.tasks.spawn("service", async move {
        let close = async {
            let _ = stopping.wait_for(|stopping| *stopping).await;
            let _parked = tasks.park();
            tasks.drained().await;
            closing.close();
            std::future::pending::<()>().await;
        };
        tokio::select! {
            () = modules::attend(service, mailbox, |who| of.cx(who)) => {}
            () = close => {}
        }
    });
}
