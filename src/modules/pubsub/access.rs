//! Who may do what at a node: tables without the store (XEP-0060 §4.1, §4.5, §6.5.1).

use super::config::{AccessModel, NodeConfig, PublishModel, words};
use super::errors;
use crate::jid::Jid;
use crate::stanza::StanzaError;

/// Who asks, and what the service's owner is to them. The caller knows it; the engine believes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Asker {
    /// Its address; affiliations go by the bare one.
    pub jid: Jid,
    /// Whether the service is its own: the account itself, or an administrator of the service.
    pub is_owner: bool,
    /// Whether it may see the owner's presence.
    pub sees_presence: bool,
    /// The groups of the owner's roster that it is in.
    pub groups: Vec<String>,
    /// Whether it may create nodes.
    pub may_create: bool,
}

impl Asker {
    /// The service's owner itself.
    pub fn owner(jid: Jid) -> Self {
        Self { jid, is_owner: true, sees_presence: true, groups: Vec::new(), may_create: true }
    }

    /// Someone of whom nothing is known.
    pub fn stranger(jid: Jid) -> Self {
        Self { jid, is_owner: false, sees_presence: false, groups: Vec::new(), may_create: false }
    }
}

words! {
    /// What an entity is to a node (§4.1).
    Affiliation {
        /// May do everything.
        Owner = "owner",
        /// May publish, subscribe and retrieve.
        Publisher = "publisher",
        /// May publish, and delete what it published.
        PublishOnly = "publish-only",
        /// May subscribe and retrieve.
        Member = "member",
        /// What the node's models let anyone do.
        None = "none",
        /// May do nothing.
        Outcast = "outcast",
    }
}

words! {
    /// The state of a subscription (§4.2). There are no options to configure, so none is `unconfigured`.
    SubState {
        /// Gets events.
        Subscribed = "subscribed",
        /// Waits for an owner's approval.
        Pending = "pending",
        /// Is over.
        None = "none",
    }
}

/// What an entity is to a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Standing {
    /// Its affiliation.
    pub affiliation: Affiliation,
    /// The best state of its subscriptions.
    pub subscription: SubState,
}

impl Standing {
    /// Nothing.
    pub const NONE: Self = Self { affiliation: Affiliation::None, subscription: SubState::None };

    /// Whether it owns the node.
    pub fn owns(self) -> bool {
        self.affiliation == Affiliation::Owner
    }
}

/// Whether it may subscribe, and what its subscription is then (§6.1).
pub fn may_subscribe(
    config: &NodeConfig,
    standing: Standing,
    asker: &Asker,
) -> Result<SubState, StanzaError> {
    use Affiliation::{Member, Outcast, Owner, PublishOnly, Publisher};
    match standing.affiliation {
        // §12.12: owners and publishers always may.
        Owner | Publisher => return Ok(SubState::Subscribed),
        // §6.1.3.8; §4.1
        Outcast | PublishOnly => {
            return Err(StanzaError::forbidden().text("you may not subscribe to this node"));
        }
        // §6.1.3.10
        _ if !config.subscribe => return Err(errors::unsupported("subscribe")),
        Member => return Ok(SubState::Subscribed),
        Affiliation::None => {}
    }
    match config.access_model {
        AccessModel::Authorize if standing.subscription != SubState::Subscribed => {
            Ok(SubState::Pending)
        }
        _ => by_model(config, standing, asker).map(|()| SubState::Subscribed),
    }
}

/// Whether it may retrieve items, and be told of events (§6.5.1).
pub fn may_retrieve(
    config: &NodeConfig,
    standing: Standing,
    asker: &Asker,
) -> Result<(), StanzaError> {
    use Affiliation::{Member, Outcast, Owner, PublishOnly, Publisher};
    match standing.affiliation {
        Owner | Publisher | Member => Ok(()),
        // §6.5.9.10; §4.1
        Outcast | PublishOnly => {
            Err(StanzaError::forbidden().text("you may not read what is at this node"))
        }
        Affiliation::None => by_model(config, standing, asker),
    }
}

fn by_model(config: &NodeConfig, standing: Standing, asker: &Asker) -> Result<(), StanzaError> {
    let is_in_group =
        || config.roster_groups_allowed.iter().any(|group| asker.groups.contains(group));
    match config.access_model {
        AccessModel::Open => Ok(()),
        AccessModel::Presence if asker.sees_presence => Ok(()),
        AccessModel::Presence => Err(errors::presence_subscription_required()),
        // §6.5.1: in a group, and subscribed to the owner's presence.
        AccessModel::Roster if asker.sees_presence && is_in_group() => Ok(()),
        AccessModel::Roster => Err(errors::not_in_roster_group()),
        AccessModel::Authorize if standing.subscription == SubState::Subscribed => Ok(()),
        AccessModel::Authorize => Err(errors::not_subscribed()),
        // Who is on the list has an affiliation (§4.5).
        AccessModel::Whitelist => Err(errors::closed_node()),
    }
}

/// Whether it may publish (§7.1.3.1).
pub fn may_publish(config: &NodeConfig, standing: Standing, asker: &Asker) -> bool {
    match standing.affiliation {
        Affiliation::Owner | Affiliation::Publisher | Affiliation::PublishOnly => true,
        Affiliation::Outcast => false,
        Affiliation::Member | Affiliation::None => match config.publish_model {
            PublishModel::Publishers => false,
            // A subscriber that is no longer let in is one no longer (XEP-0163 §7.1).
            PublishModel::Subscribers => {
                standing.subscription == SubState::Subscribed
                    && may_retrieve(config, standing, asker).is_ok()
            }
            PublishModel::Open => true,
        },
    }
}

/// Whether it may overwrite or delete an item of this publisher. Owners may (§4.1), and whoever published it
/// while it may publish; nobody deletes another one's item by writing over it.
pub fn may_replace(
    config: &NodeConfig,
    standing: Standing,
    asker: &Asker,
    publisher: Option<&Jid>,
) -> bool {
    let is_own = || publisher.is_some_and(|jid| jid.bare_str() == asker.jid.bare_str());
    standing.owns() || (may_publish(config, standing, asker) && is_own())
}

/// §4.1's chart of transitions. A service's own owner may take back what a node's owner may only give up.
pub fn may_become(from: Affiliation, to: Affiliation, is_self: bool, by_service: bool) -> bool {
    use Affiliation::{Member, None, Owner, Publisher};
    match (from, to) {
        _ if from == to => true,
        (Owner, None) => is_self || by_service,
        (Owner, _) => by_service,
        (Publisher, Member) => false,
        _ => true,
    }
}

#[cfg(test)]
mod tests {
    use super::Affiliation::{Member, Outcast, Owner, PublishOnly, Publisher};
    use super::*;

    fn asker(sees_presence: bool, groups: &[&str]) -> Asker {
        let groups = groups.iter().map(|group| (*group).to_owned()).collect();
        Asker { sees_presence, groups, ..Asker::stranger(Jid::parse("a@x/r").unwrap()) }
    }

    fn name<T>(result: Result<T, StanzaError>) -> &'static str {
        result.map_or_else(|e| e.application.map_or("forbidden", |(_, name)| name), |_| "ok")
    }

    #[test]
    fn section_4_1_says_what_an_affiliation_may() {
        let closed = NodeConfig::BASE;
        for (affiliation, subscribe, retrieve, publish) in [
            (Owner, "ok", "ok", true),
            (Publisher, "ok", "ok", true),
            (PublishOnly, "forbidden", "forbidden", true),
            (Member, "ok", "ok", false),
            (Affiliation::None, "closed-node", "closed-node", false),
            (Outcast, "forbidden", "forbidden", false),
        ] {
            let standing = Standing { affiliation, ..Standing::NONE };
            let asker = asker(true, &["g"]);
            assert_eq!(
                name(may_subscribe(&closed, standing, &asker)),
                subscribe,
                "{affiliation:?}"
            );
            assert_eq!(name(may_retrieve(&closed, standing, &asker)), retrieve, "{affiliation:?}");
            assert_eq!(may_publish(&closed, standing, &asker), publish, "{affiliation:?}");
        }
        let open = NodeConfig { access_model: AccessModel::Open, ..NodeConfig::BASE };
        let outcast = Standing { affiliation: Outcast, subscription: SubState::Subscribed };
        assert_eq!(name(may_retrieve(&open, outcast, &asker(true, &[]))), "forbidden");
    }

    #[test]
    fn section_4_5_says_whom_an_access_model_lets_in() {
        use AccessModel::{Authorize, Open, Presence, Roster, Whitelist};
        let (stranger, friend) = (asker(false, &[]), asker(true, &["work"]));
        let (listed, intimate) = (asker(false, &["family"]), asker(true, &["family"]));
        for (model, asker, subscribe, retrieve) in [
            (Open, &stranger, "ok", "ok"),
            (
                Presence,
                &stranger,
                "presence-subscription-required",
                "presence-subscription-required",
            ),
            (Presence, &friend, "ok", "ok"),
            (Roster, &friend, "not-in-roster-group", "not-in-roster-group"),
            (Roster, &listed, "not-in-roster-group", "not-in-roster-group"),
            (Roster, &intimate, "ok", "ok"),
            (Authorize, &intimate, "ok", "not-subscribed"),
            (Whitelist, &intimate, "closed-node", "closed-node"),
        ] {
            let groups = vec!["family".to_owned()];
            let config = NodeConfig {
                access_model: model,
                roster_groups_allowed: groups,
                ..NodeConfig::BASE
            };
            let may = may_subscribe(&config, Standing::NONE, asker);
            let is_pending = may == Ok(SubState::Pending);
            assert_eq!(is_pending, model == Authorize);
            assert_eq!(name(may), subscribe, "{model:?}");
            assert_eq!(name(may_retrieve(&config, Standing::NONE, asker)), retrieve, "{model:?}");
        }
    }

    #[test]
    fn subscribers_and_anyone_publish_where_the_node_says_so() {
        use PublishModel::{Open, Publishers, Subscribers};
        use SubState::{Pending, Subscribed};
        let (friend, stranger) = (asker(true, &[]), asker(false, &[]));
        for (publish_model, subscription, may) in [
            (Publishers, Subscribed, false),
            (Subscribers, Subscribed, true),
            (Subscribers, Pending, false),
            (Subscribers, SubState::None, false),
            (Open, SubState::None, true),
        ] {
            let access_model = AccessModel::Presence;
            let config = NodeConfig { publish_model, access_model, ..NodeConfig::BASE };
            for affiliation in [Affiliation::None, Member] {
                let standing = Standing { affiliation, subscription };
                assert_eq!(may_publish(&config, standing, &friend), may);
                // Whoever is let in no longer is a subscriber no longer, unless the list has it.
                let stays = may && (publish_model == Open || affiliation == Member);
                assert_eq!(may_publish(&config, standing, &stranger), stays, "{publish_model:?}");
            }
            let outcast = Standing { affiliation: Outcast, subscription };
            assert!(!may_publish(&config, outcast, &friend));
        }
    }

    #[test]
    fn an_item_is_its_publishers_and_the_owners() {
        let (me, other) = (asker(false, &[]), Jid::parse("b@x").unwrap());
        let mine = Jid::parse("a@x/2").unwrap();
        for (affiliation, publisher, may) in [
            (Owner, Some(&other), true),
            (Owner, None, true),
            (Publisher, Some(&mine), true),
            (Publisher, Some(&other), false),
            (PublishOnly, Some(&mine), true),
            (PublishOnly, None, false),
            (Outcast, Some(&mine), false),
            (Affiliation::None, Some(&mine), false),
        ] {
            let standing = Standing { affiliation, ..Standing::NONE };
            let got = may_replace(&NodeConfig::BASE, standing, &me, publisher);
            assert_eq!(got, may, "{affiliation:?} {publisher:?}");
        }
    }

    #[test]
    fn affiliations_change_as_the_chart_of_section_4_1_says() {
        for (from, to, is_self, by_service, may) in [
            (Owner, Affiliation::None, true, false, true),
            (Owner, Affiliation::None, false, false, false),
            (Owner, Member, true, false, false),
            (Owner, Outcast, false, false, false),
            (Owner, Outcast, false, true, true),
            (Owner, Owner, false, false, true),
            (Publisher, Member, false, false, false),
            (Publisher, Owner, false, false, true),
            (Outcast, Owner, false, false, true),
            (Affiliation::None, Outcast, false, false, true),
        ] {
            assert_eq!(may_become(from, to, is_self, by_service), may, "{from:?} {to:?}");
        }
    }
}
