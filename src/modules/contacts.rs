//! XEP-0157: Contact Addresses for XMPP Services: whom to turn to, in what hosted domains say of themselves.

use super::api::{InfoField, InfoForm, Module, Spec};

/// The module.
pub const MODULE: Module = Module {
    name: "contacts",
    specs: &[Spec::whole("XEP-0157", "1.1.1", "transcripts/0157-contacts.scs")],
    info_form: Some(|config| config.contacts.form()),
    ..Module::EMPTY
};

/// `[modules.contacts]`: URIs such as `mailto:abuse@example.org` and `xmpp:admin@example.org`.
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// For reports of abuse.
    pub abuse: Vec<String>,
    /// The administrators.
    pub admin: Vec<String>,
    /// For feedback.
    pub feedback: Vec<String>,
    /// For sales.
    pub sales: Vec<String>,
    /// For security concerns.
    pub security: Vec<String>,
    /// Where the state of the service is told.
    pub status: Vec<String>,
    /// For help.
    pub support: Vec<String>,
}

impl Config {
    /// All lists with their keys and fields (§7.1).
    pub fn lists(&self) -> [(&'static str, &'static str, &[String]); 7] {
        [
            ("abuse", "abuse-addresses", &self.abuse),
            ("admin", "admin-addresses", &self.admin),
            ("feedback", "feedback-addresses", &self.feedback),
            ("sales", "sales-addresses", &self.sales),
            ("security", "security-addresses", &self.security),
            ("status", "status-addresses", &self.status),
            ("support", "support-addresses", &self.support),
        ]
    }

    fn form(&self) -> Option<InfoForm> {
        let lists = self.lists().into_iter().filter(|(_, _, list)| !list.is_empty());
        let field = |(_, var, list): (_, _, &[String])| InfoField {
            ty: "list-multi",
            var,
            values: list.to_vec(),
        };
        let fields: Vec<_> = lists.map(field).collect();
        (!fields.is_empty()).then_some(InfoForm { form_type: FORM_TYPE, fields })
    }
}

/// §3
const FORM_TYPE: &str = "http://jabber.org/network/serverinfo";

#[cfg(test)]
mod tests {
    use super::super::Config as All;
    use super::super::testing::{Server, ask};

    /// What is said is what is hashed: see `caps`.
    #[tokio::test]
    async fn the_form_has_what_is_set_and_nothing_else() {
        let query = "<query xmlns='http://jabber.org/protocol/disco#info'/>";
        let mut config = All::default();
        for set in [false, true] {
            if set {
                config.contacts.abuse = vec!["mailto:a@x".to_owned(), "xmpp:b@x".to_owned()];
            }
            let server = Server::new(config.clone());
            server.account("romeo", &[]).await;
            let cx = server.session("romeo@montague.example/orchard").await;
            let told = ask(&cx, "get", "montague.example", query).await;
            let form = "<x xmlns='jabber:x:data' type='result'><field type='hidden' var='FORM_TYPE'>\
                        <value>http://jabber.org/network/serverinfo</value></field>\
                        <field type='list-multi' var='abuse-addresses'><value>mailto:a@x</value>\
                        <value>xmpp:b@x</value></field></x>";
            assert_eq!(told.contains(form), set, "{told}");
            assert_eq!(told.contains("<x "), set, "{told}");
            let own = ask(&cx, "get", "", query).await;
            assert!(!own.contains("<x "), "{own}");
        }
    }
}
