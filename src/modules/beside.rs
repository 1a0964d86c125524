//! What modules add for those beside this server: components.

use super::Config;
use super::api::{Answer, Cx, Described, Pipeline, Target};
use crate::router::registry::RosterChange;
use crate::stanza::{Frame, Stanza, StanzaError};
use crate::store::ids::AccountId;

impl Pipeline {
    /// What a component is told before anything else.
    pub fn component_connected(&self, cx: &Cx, domain: &str) -> Vec<Frame> {
        let hooks = self.modules.iter().filter_map(|module| module.component_connected);
        hooks.flat_map(|hook| hook(cx, domain)).collect()
    }

    /// What a component may do that others may not; `None` if its stanza is like any.
    pub fn from_component(
        &self,
        cx: &Cx,
        stanza: &Stanza,
    ) -> Option<Answer<Result<Vec<Stanza>, StanzaError>>> {
        let mut hooks = self.modules.iter().filter_map(|module| module.from_component);
        hooks.find_map(|hook| hook(cx, stanza))
    }

    /// What a hosted domain has among its items beside its services.
    pub fn items(&self, config: &Config, host: &str) -> Vec<(String, Option<String>)> {
        let hooks = self.modules.iter().filter_map(|module| module.items);
        hooks.flat_map(|hook| hook(config, host)).collect()
    }

    /// Changes what a hosted domain or an account says of itself.
    pub fn nested(&self, cx: &Cx, target: Target, said: &mut Described) {
        let hooks = self.modules.iter().filter_map(|module| module.nested);
        hooks.for_each(|hook| hook(cx, target, said));
    }

    /// An item of an account's roster changed.
    pub fn roster_changed(&self, cx: &Cx, account: AccountId, change: &RosterChange) {
        let hooks = self.modules.iter().filter_map(|module| module.roster_changed);
        hooks.for_each(|hook| hook(cx, account, change));
    }
}
