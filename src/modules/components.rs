//! XEP-0114: Jabber Component Protocol, as far as it shows in service discovery. The streams are in `peer`.

use super::Config;
use super::api::{Module, Spec};

/// The module.
pub const MODULE: Module = Module {
    name: "components",
    specs: &[Spec::partial(
        "XEP-0114",
        "1.6",
        "the server never connects to a component (jabber:component:connect)",
        "features/component.rs",
    )],
    items: Some(items),
    ..Module::EMPTY
};

fn items(config: &Config, _: &str) -> Vec<(String, Option<String>)> {
    let listed = config.components.iter().filter(|one| one.listed);
    let named = |name: &str| (!name.is_empty()).then(|| name.to_owned());
    listed.map(|one| (one.domain.clone(), named(&one.name))).collect()
}
