//! XEP-0202: Entity Time, of the server.

use super::api::{Cx, IqRoute, Module, On, Reply, Spec, Target};
use crate::base::time::stamp;
use crate::stanza::iq::IqType;
use crate::xml::writer::Xml;

/// The module.
pub const MODULE: Module = Module {
    name: "time",
    specs: &[
        Spec::whole("XEP-0202", "2.0", "transcripts/0202-time.scs"),
        Spec::whole("XEP-0082", "1.1.1", "transcripts/0202-time.scs"),
    ],
    features: &[On::Server(NS)],
    iqs: &[IqRoute {
        ty: IqType::Get,
        ns: NS,
        name: "time",
        targets: &[Target::Server],
        handler: |cx, _iq| Box::pin(std::future::ready(Ok(answer(&cx)))),
    }],
    ..Module::EMPTY
};

fn answer(cx: &Cx) -> Reply {
    let mut xml = Xml::new();
    // XEP-0202 §6: the offset would reveal the server's location, and is of no use to anyone.
    xml.start("time").attr("xmlns", NS).element("tzo", None, "+00:00");
    xml.element("utc", None, &stamp(cx.now)).end();
    Reply::payload(xml.finish())
}

const NS: &str = "urn:xmpp:time";

#[cfg(test)]
mod tests {
    use super::super::testing::{Server, ask};
    use crate::modules::Config;

    #[tokio::test]
    async fn the_server_tells_the_time() {
        let server = Server::new(Config::default());
        let cx = server.session("guest@montague.example/x").await;
        let answer = ask(&cx, "get", "montague.example", "<time xmlns='urn:xmpp:time'/>").await;
        let want = "<time xmlns='urn:xmpp:time'><tzo>+00:00</tzo>\
                    <utc>1970-01-12T13:46:40Z</utc></time>";
        assert_eq!(answer, want);
    }
}
