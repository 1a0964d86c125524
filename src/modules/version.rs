//! XEP-0092: Software Version, of the server.

use super::api::{Cx, IqRoute, Module, On, Reply, Spec, Target};
use crate::stanza::iq::IqType;
use crate::xml::writer::Xml;

/// The module.
pub const MODULE: Module = Module {
    name: "version",
    specs: &[Spec::whole("XEP-0092", "1.1", "transcripts/0092-version.scs")],
    features: &[On::Server(NS)],
    iqs: &[IqRoute {
        ty: IqType::Get,
        ns: NS,
        name: "query",
        targets: &[Target::Server],
        handler: |cx, _iq| Box::pin(std::future::ready(Ok(answer(&cx)))),
    }],
    ..Module::EMPTY
};

/// `[modules.version]`
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Whether the answer names the operating system (XEP-0092 §5 leaves it to the operator).
    pub show_os: bool,
}

fn answer(cx: &Cx) -> Reply {
    let mut xml = Xml::new();
    xml.start("query").attr("xmlns", NS).element("name", None, "Stonechat");
    xml.element("version", None, env!("CARGO_PKG_VERSION"));
    if cx.config.version.show_os {
        xml.element("os", None, std::env::consts::OS);
    }
    xml.end();
    Reply::payload(xml.finish())
}

const NS: &str = "jabber:iq:version";

#[cfg(test)]
mod tests {
    use super::super::testing::{Server, ask};
    use crate::modules::Config;

    #[tokio::test]
    async fn the_operating_system_shows_only_when_allowed() {
        for show_os in [false, true] {
            let version = super::Config { show_os };
            let server = Server::new(Config { version, ..Config::default() });
            let cx = server.session("guest@montague.example/x").await;
            let query = "<query xmlns='jabber:iq:version'/>";
            let answer = ask(&cx, "get", "montague.example", query).await;
            assert!(answer.contains("<name>Stonechat</name><version>"), "{answer}");
            assert_eq!(answer.contains("<os>"), show_os);
        }
    }
}
