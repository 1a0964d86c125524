//! XEP-0424: Message Retraction: archives keep retractions, and tombstones of what was retracted.
//! The work is done where messages are written: `router/retract.rs`.

use super::api::{Module, On, Spec};

/// The module.
pub const MODULE: Module = Module {
    name: "retraction",
    serves: Some(|config, account| config.mam.archives(account) && config.mam.tombstones),
    specs: &[Spec::partial(
        "XEP-0424",
        "0.4.2",
        "tombstones for the 1,000 newest messages with the same peer, not for those that an older \
         version of the server archived (§4, optional)",
        "features/retraction.rs",
    )],
    // §4. That retractions are archived, the archive says itself.
    features: &[On::Account(TOMBSTONE)],
    ..Module::EMPTY
};

const TOMBSTONE: &str = "urn:xmpp:message-retract:1#tombstone";

#[cfg(test)]
mod tests {
    use super::super::testing::{Server, ask};
    use super::*;
    use crate::modules;
    use crate::xml::ns;

    #[tokio::test]
    async fn tombstones_are_named_where_there_are_any() {
        for (enabled, tombstones) in [(true, true), (true, false), (false, true)] {
            let mut config = modules::Config::default();
            (config.mam.enabled, config.mam.tombstones) = (enabled, tombstones);
            let server = Server::new(config);
            server.account("romeo", &[]).await;
            let cx = server.session("romeo@montague.example/orchard").await;
            let info = "<query xmlns='http://jabber.org/protocol/disco#info'/>";
            let account = ask(&cx, "get", "", info).await;
            let names = |feature: &str| account.contains(&format!("var='{feature}'"));
            assert_eq!(names(ns::RETRACT), enabled, "{account}");
            assert_eq!(names(TOMBSTONE), enabled && tombstones, "{account}");
        }
    }
}
