//! Accepts on the listeners of a server that starts.

use std::sync::Arc;

use tokio::net::TcpListener;

use super::federation::Federation;
use crate::net::acceptor::{Acceptor, Protocol};
use crate::net::c2s::ListenerKind;
use crate::session::Context;

/// Accepts on listeners, all counted together.
pub(super) struct Listening<'a> {
    acceptor: Arc<Acceptor>,
    context: &'a Arc<Context>,
}

impl<'a> Listening<'a> {
    pub(super) fn new(context: &'a Arc<Context>) -> Self {
        let (limits, tasks) = (context.router.limits.clone(), context.router.tasks.clone());
        Self { acceptor: Acceptor::new(limits, tasks, context.stopping.clone()), context }
    }

    pub(super) fn all<P: Protocol>(&self, listeners: Vec<TcpListener>, protocol: P) {
        let protocol = Arc::new(protocol);
        for listener in listeners {
            let accept = self.acceptor.clone().accept(listener, protocol.clone());
            self.context.router.tasks.spawn("accept", accept);
        }
    }
}

/// Accepts other servers and components, on listeners without and with TLS from the first byte.
pub(super) fn listen_for_peers(
    context: &Arc<Context>,
    federation: &Federation,
    servers: [Vec<TcpListener>; 2],
    components: [Vec<TcpListener>; 2],
) {
    let kinds = [ListenerKind::StartTls, ListenerKind::Direct];
    let on = Listening::new(context);
    for (listeners, kind) in servers.into_iter().zip(kinds) {
        on.all(listeners, federation.on_listeners(kind));
    }
    let on = Listening::new(context);
    for (listeners, kind) in components.into_iter().zip(kinds) {
        on.all(listeners, federation.components_on(kind));
    }
}
