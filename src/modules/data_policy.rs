//! XEP-0504: Data Policy: how the service handles what it is entrusted with, as its operator says.

use super::api::{InfoField, InfoForm, Module, Spec};

/// The module.
pub const MODULE: Module = Module {
    name: "data_policy",
    specs: &[Spec::partial(
        "XEP-0504",
        "0.1.0",
        "no location (§3.7)",
        "transcripts/0504-policy.scs",
    )],
    info_form: Some(|config| config.data_policy.form()),
    ..Module::EMPTY
};

/// `[modules.data_policy]`. What is not set is not said.
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// How passwords are handled (§3.1).
    pub auth_data: String,
    /// Hours for which data is stored (§3.3).
    pub data_retention: String,
    /// Whether users can delete data (§3.4).
    pub data_deletion: bool,
    /// Whether what is stored is encrypted (§3.5).
    pub encryption_at_rest: bool,
    /// The URI of the terms of service (§3.6).
    pub tos: String,
    /// Whether users can export their data (§3.8).
    pub data_export: bool,
    /// Who may see data (§3.9).
    pub access_policy: Vec<String>,
    /// Whether users can erase their accounts (§3.10).
    pub full_erasure: bool,
    /// Hours between backups (§3.11).
    pub backup_frequency: String,
    /// Hours for which backups are kept (§3.12).
    pub backup_retention: String,
    /// More, for people (§3.13).
    pub extra_info: String,
}

impl Config {
    /// What is wrong with a value: its key, and what it may be.
    pub fn faults(&self) -> Vec<(&'static str, &'static str)> {
        let hours = |text: &str, also: &[&str]| {
            text.is_empty() || also.contains(&text) || text.parse::<u32>().is_ok()
        };
        let access = &self.access_policy;
        let none_is_alone = access.len() < 2 || !access.iter().any(|one| one == "none");
        let checks = [
            (
                "auth_data",
                self.auth_data.is_empty() || AUTH.contains(&self.auth_data.as_str()),
                "one of no_auth, plain, hidden and restricted",
            ),
            (
                "data_retention",
                hours(&self.data_retention, &["infinite", "unknown"]),
                "a number of hours, infinite or unknown",
            ),
            ("tos", self.tos.is_empty() || super::api::is_uri(&self.tos), "a URI"),
            (
                "access_policy",
                none_is_alone && access.iter().all(|one| ACCESS.contains(&one.as_str())),
                "some of admins, moderators, organization_member, government, advertisers and partners, \
                 or none alone",
            ),
            ("backup_frequency", hours(&self.backup_frequency, &[]), "a number of hours"),
            (
                "backup_retention",
                hours(&self.backup_retention, &["infinite", "unknown"]),
                "a number of hours, infinite or unknown",
            ),
            ("extra_info", self.extra_info.len() <= EXTRA_BYTES_MAX, "at most 2000 bytes"),
        ];
        let wrong = checks.into_iter().filter(|(_, right, _)| !right);
        wrong.map(|(key, _, wanted)| (key, wanted)).collect()
    }

    fn form(&self) -> Option<InfoForm> {
        let text = |text: &String| Some(text.clone()).filter(|text| !text.is_empty());
        // §3.4 and others: false is the default.
        let yes = |is: bool| is.then(|| "true".to_owned());
        let single = [
            ("list-single", "auth_data", text(&self.auth_data)),
            ("text-single", "data_retention", text(&self.data_retention)),
            ("boolean", "data_deletion", yes(self.data_deletion)),
            ("boolean", "encryption_at_rest", yes(self.encryption_at_rest)),
            ("text-single", "tos", text(&self.tos)),
            ("boolean", "data_export", yes(self.data_export)),
            ("boolean", "full_erasure", yes(self.full_erasure)),
            ("text-single", "backup_frequency", text(&self.backup_frequency)),
            ("text-single", "backup_retention", text(&self.backup_retention)),
        ];
        let single = single
            .into_iter()
            .filter_map(|(ty, var, value)| Some(InfoField { ty, var, values: vec![value?] }));
        let lines = self.extra_info.lines().map(str::to_owned).collect();
        let many = [
            InfoField {
                ty: "list-multi",
                var: "access_policy",
                values: self.access_policy.clone(),
            },
            InfoField { ty: "text-multi", var: "extra_info", values: lines },
        ];
        let many = many.into_iter().filter(|field| !field.values.is_empty());
        let fields: Vec<_> = single.chain(many).collect();
        (!fields.is_empty()).then_some(InfoForm { form_type: FORM_TYPE, fields })
    }
}

/// §3
const FORM_TYPE: &str = "urn:xmpp:data-policy:0";
/// §3.1
const AUTH: &[&str] = &["no_auth", "plain", "hidden", "restricted"];
/// §3.9
const ACCESS: &[&str] = &[
    "admins",
    "moderators",
    "organization_member",
    "government",
    "advertisers",
    "partners",
    "none",
];
/// Everybody who asks is sent it.
const EXTRA_BYTES_MAX: usize = 2_000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_set_is_not_said() {
        assert_eq!(Config::default().form(), None);
        let config = Config {
            data_retention: "8760".to_owned(),
            full_erasure: true,
            access_policy: vec!["admins".to_owned(), "government".to_owned()],
            extra_info: "One.\nTwo.".to_owned(),
            ..Config::default()
        };
        assert!(config.faults().is_empty());
        let fields = config.form().unwrap().fields;
        let said: Vec<_> = fields.iter().map(|field| (field.var, field.values.join("|"))).collect();
        let want = [
            ("data_retention", "8760"),
            ("full_erasure", "true"),
            ("access_policy", "admins|government"),
            ("extra_info", "One.|Two."),
        ];
        assert_eq!(said, want.map(|(var, values)| (var, values.to_owned())));
    }

    #[test]
    fn a_value_is_one_of_the_xep() {
        let text = |text: &str| text.to_owned();
        for (config, fault) in [
            (Config { auth_data: text("hashed"), ..Config::default() }, "auth_data"),
            (Config { data_retention: text("a year"), ..Config::default() }, "data_retention"),
            (Config { tos: text("example.org"), ..Config::default() }, "tos"),
            (
                Config { access_policy: vec![text("none"), text("admins")], ..Config::default() },
                "access_policy",
            ),
            (Config { access_policy: vec![text("me")], ..Config::default() }, "access_policy"),
            (
                Config { backup_frequency: text("infinite"), ..Config::default() },
                "backup_frequency",
            ),
            (Config { backup_retention: text("-1"), ..Config::default() }, "backup_retention"),
            (
                Config { extra_info: "x".repeat(EXTRA_BYTES_MAX + 1), ..Config::default() },
                "extra_info",
            ),
        ] {
            let found: Vec<_> = config.faults().iter().map(|(key, _)| *key).collect();
            assert_eq!(found, [fault]);
        }
    }
}
