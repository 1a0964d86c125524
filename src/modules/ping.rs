//! XEP-0199: XMPP Ping. Also the example of docs/modules.md.

use super::api::{IqRoute, Module, On, Reply, Spec, Target};
use crate::stanza::StanzaError;
use crate::stanza::iq::IqType;
use crate::xml::ns;

/// The module.
pub const MODULE: Module = Module {
    name: "ping",
    specs: &[Spec::whole("XEP-0199", "2.0.1", "transcripts/0199-ping.scs")],
    features: &[On::Service(ns::PING), On::Server(ns::PING), On::Account(ns::PING)],
    iqs: &[IqRoute {
        ty: IqType::Get,
        ns: ns::PING,
        name: "ping",
        // XEP-0199 §4.2: no `to`, or the own bare JID, means the server, too. For another account, a pong
        // would reveal that it exists.
        targets: &[Target::Server, Target::Own, Target::Service],
        handler: |_cx, _iq| Box::pin(std::future::ready(pong())),
    }],
    ..Module::EMPTY
};

fn pong() -> Result<Reply, StanzaError> {
    Ok(Reply::empty())
}

#[cfg(test)]
mod tests {
    use super::super::testing::{Server, ask};
    use crate::modules::Config;

    #[tokio::test]
    async fn the_server_and_the_own_account_answer_and_no_other() {
        let server = Server::new(Config::default());
        server.account("juliet", &[]).await;
        let cx = server.session("guest@montague.example/x").await;
        for (to, want) in [
            ("", ""),
            ("montague.example", ""),
            ("guest@montague.example", ""),
            ("juliet@montague.example", "service-unavailable"),
            ("nobody@montague.example", "service-unavailable"),
        ] {
            assert_eq!(ask(&cx, "get", to, "<ping xmlns='urn:xmpp:ping'/>").await, want, "{to}");
            let set = ask(&cx, "set", to, "<ping xmlns='urn:xmpp:ping'/>").await;
            assert_eq!(set, "service-unavailable");
        }
    }
}
