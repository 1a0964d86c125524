//! The engine against a simple model of it in memory: random requests of several askers, and after each of
//! them what everyone may see.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::super::*;
use super::{Bench, asker, ids_in, named};
use crate::jid::Jid;
use crate::stanza::rsm::Rsm;
use crate::store::testing;

const WHO: [&str; 4] = ["juliet", "nurse", "romeo", "stranger"];
const NODES: [&str; 2] = ["a", "b"];
const AFFILIATIONS: [Affiliation; 6] = [
    Affiliation::Owner,
    Affiliation::Publisher,
    Affiliation::PublishOnly,
    Affiliation::Member,
    Affiliation::None,
    Affiliation::Outcast,
];

/// One request: who, at which node, what.
#[derive(Debug, Clone)]
struct Op(usize, usize, Verb);

#[derive(Debug, Clone)]
enum Verb {
    Create,
    Publish { id: u8, access: Option<usize> },
    Retract { id: u8 },
    Subscribe,
    Unsubscribe,
    Approve { who: usize, allow: bool },
    Affiliate { who: usize, to: usize },
    Configure { access: usize, publish: usize, max: u32 },
    Purge,
    Delete,
}

fn ops() -> impl Strategy<Value = Vec<Op>> {
    let verb = prop_oneof![
        1 => Just(Verb::Create),
        6 => (0..4_u8, proptest::option::weighted(0.2, 0..5_usize))
            .prop_map(|(id, access)| Verb::Publish { id, access }),
        2 => (0..4_u8).prop_map(|id| Verb::Retract { id }),
        3 => Just(Verb::Subscribe),
        2 => Just(Verb::Unsubscribe),
        2 => (0..4_usize, any::<bool>()).prop_map(|(who, allow)| Verb::Approve { who, allow }),
        3 => (0..4_usize, 0..6_usize).prop_map(|(who, to)| Verb::Affiliate { who, to }),
        3 => (0..5_usize, 0..3_usize, 1..4_u32)
            .prop_map(|(access, publish, max)| Verb::Configure { access, publish, max }),
        1 => Just(Verb::Purge),
        1 => Just(Verb::Delete),
    ];
    // Half of the requests are the owner's, so that something happens.
    let who = prop_oneof![Just(0_usize), 0..4_usize];
    proptest::collection::vec((who, 0..2_usize, verb).prop_map(|(w, n, v)| Op(w, n, v)), 1..40)
}

#[derive(Debug, Clone)]
struct Node {
    access: &'static str,
    publish: &'static str,
    max: usize,
    /// Id and publisher, the oldest first.
    items: Vec<(String, usize)>,
    affiliations: BTreeMap<usize, Affiliation>,
    subscriptions: BTreeMap<usize, bool>,
}

#[derive(Debug, Default)]
struct Model(BTreeMap<&'static str, Node>);

type Answer = Result<(), &'static str>;

impl Node {
    fn new(access: &'static str) -> Self {
        let (items, publish) = (Vec::new(), "publishers");
        let (affiliations, subscriptions) = Default::default();
        Self { access, publish, max: 3, items, affiliations, subscriptions }
    }

    fn is(&self, who: usize) -> Affiliation {
        match who {
            0 => Affiliation::Owner,
            _ => self.affiliations.get(&who).copied().unwrap_or(Affiliation::None),
        }
    }

    fn is_subscribed(&self, who: usize) -> bool {
        self.subscriptions.get(&who) == Some(&true)
    }

    fn reads(&self, who: usize) -> Answer {
        let is_friend = who == 1 || who == 2;
        match self.is(who).as_str() {
            "owner" | "publisher" | "member" => return Ok(()),
            "outcast" | "publish-only" => return Err("!forbidden"),
            _ => {}
        }
        let (allowed, refusal) = match self.access {
            "open" => (true, ""),
            "presence" => (is_friend, "!not-authorized/presence-subscription-required"),
            "roster" => (who == 2, "!not-authorized/not-in-roster-group"),
            "authorize" => (self.is_subscribed(who), "!not-authorized/not-subscribed"),
            _ => (false, "!not-allowed/closed-node"),
        };
        if allowed { Ok(()) } else { Err(refusal) }
    }

    fn publishes(&self, who: usize) -> bool {
        match self.is(who).as_str() {
            "owner" | "publisher" | "publish-only" => true,
            "outcast" => false,
            _ if self.publish == "subscribers" => {
                self.is_subscribed(who) && self.reads(who).is_ok()
            }
            _ => self.publish == "open",
        }
    }

    fn changes(&self, who: usize, publisher: usize) -> bool {
        self.is(who) == Affiliation::Owner || self.publishes(who) && publisher == who
    }

    fn trim(&mut self) {
        while self.items.len() > self.max {
            self.items.remove(0);
        }
    }

    /// What holds for subscriptions after an affiliation or the access model changed.
    fn readmit(&mut self, who: usize, by_model: bool) {
        let Some(approved) = self.subscriptions.get(&who).copied() else { return };
        let listed = matches!(self.is(who).as_str(), "owner" | "publisher" | "member");
        let barred = matches!(self.is(who).as_str(), "outcast" | "publish-only");
        let pending_ends = matches!(self.access, "presence" | "roster");
        if listed {
            self.subscriptions.insert(who, true);
        } else if self.access == "whitelist" || (barred && !by_model) {
            self.subscriptions.remove(&who);
        } else if by_model && !approved && self.access == "open" {
            self.subscriptions.insert(who, true);
        } else if by_model && pending_ends && !(approved && self.reads(who).is_ok()) {
            self.subscriptions.remove(&who);
        }
    }
}

impl Model {
    fn apply(&mut self, Op(who, node, verb): &Op) -> Answer {
        let (who, name) = (*who, NODES[*node]);
        match verb {
            Verb::Create if who != 0 => return Err("!forbidden"),
            Verb::Create if self.0.contains_key(name) => return Err("!conflict"),
            Verb::Create => _ = self.0.insert(name, Node::new("presence")),
            Verb::Publish { id, access } => return self.publish(who, name, *id, *access),
            _ => {}
        }
        if matches!(verb, Verb::Create) {
            return Ok(());
        }
        let node = self.0.get_mut(name).ok_or("!item-not-found")?;
        let needs_owner =
            !matches!(verb, Verb::Retract { .. } | Verb::Subscribe | Verb::Unsubscribe);
        if needs_owner && node.is(who) != Affiliation::Owner {
            return Err("!forbidden");
        }
        match verb {
            Verb::Create | Verb::Publish { .. } => {}
            Verb::Retract { id } => {
                if !node.publishes(who) {
                    return Err("!forbidden");
                }
                let found = node.items.iter().position(|(one, _)| *one == id.to_string());
                let found = found.ok_or("!item-not-found")?;
                if !node.changes(who, node.items[found].1) {
                    return Err("!forbidden");
                }
                node.items.remove(found);
            }
            Verb::Subscribe => return node.subscribe(who),
            Verb::Unsubscribe => {
                let had = node.subscriptions.remove(&who);
                return had.map(drop).ok_or("!unexpected-request/not-subscribed");
            }
            Verb::Approve { who, allow } => match node.subscriptions.get(who) {
                Some(false) if *allow => _ = node.subscriptions.insert(*who, true),
                Some(false) => _ = node.subscriptions.remove(who),
                _ => return Err("!item-not-found"),
            },
            Verb::Affiliate { who: whom, to } => return node.affiliate(who, *whom, *to),
            Verb::Configure { access, publish, max } => {
                let new = AccessModel::WORDS[*access];
                let is_new = new != node.access;
                node.access = new;
                (node.publish, node.max) = (PublishModel::WORDS[*publish], *max as usize);
                node.trim();
                (0..WHO.len()).filter(|_| is_new).for_each(|who| node.readmit(who, true));
            }
            Verb::Purge => node.items.clear(),
            Verb::Delete => _ = self.0.remove(name),
        }
        Ok(())
    }

    fn publish(&mut self, who: usize, name: &'static str, id: u8, access: Option<usize>) -> Answer {
        let access = access.map(|access| AccessModel::WORDS[access]);
        if !self.0.contains_key(name) {
            if who != 0 {
                return Err("!item-not-found");
            }
            self.0.insert(name, Node::new(access.unwrap_or("presence")));
        }
        let node = self.0.get_mut(name).unwrap();
        if !node.publishes(who) {
            return Err("!forbidden");
        }
        if access.is_some_and(|access| access != node.access) {
            return Err("!conflict/precondition-not-met");
        }
        let id = id.to_string();
        let before = node.items.iter().position(|(one, _)| *one == id);
        if let Some(before) = before {
            if !node.changes(who, node.items[before].1) {
                return Err("!forbidden");
            }
            node.items.remove(before);
        }
        node.items.push((id, who));
        node.trim();
        Ok(())
    }
}

impl Node {
    fn subscribe(&mut self, who: usize) -> Answer {
        let is_none = self.is(who) == Affiliation::None;
        if self.access == "authorize" && is_none && !self.is_subscribed(who) {
            return match self.subscriptions.insert(who, false) {
                Some(_) => Err("!not-authorized/pending-subscription"),
                None => Ok(()),
            };
        }
        self.reads(who)?;
        self.subscriptions.insert(who, true);
        Ok(())
    }

    fn affiliate(&mut self, who: usize, whom: usize, to: usize) -> Answer {
        let (from, to) = (self.is(whom), AFFILIATIONS[to]);
        if from == to {
            return Ok(());
        }
        let resigns = who == whom && to == Affiliation::None;
        let owner_stays = from == Affiliation::Owner && (whom == 0 || !(who == 0 || resigns));
        let steps_down = from == Affiliation::Publisher && to == Affiliation::Member;
        if owner_stays || steps_down {
            return Err("!not-acceptable");
        }
        self.affiliations.insert(whom, to);
        self.readmit(whom, false);
        Ok(())
    }
}

fn bare(who: usize) -> Jid {
    Jid::parse(&format!("{}@x", WHO[who])).unwrap()
}

fn request(Op(who, node, verb): &Op) -> Request {
    let node = NODES[*node].to_owned();
    let access = |access: usize| ("pubsub#access_model", AccessModel::WORDS[access]);
    match verb {
        Verb::Create => Request::Create { node: Some(node), settings: None },
        Verb::Publish { id, access: wanted } => Request::Publish(Publish {
            node,
            item: Some(NewItem { id: Some(id.to_string()), payload: b"<e xmlns='u'/>".into() }),
            options: wanted.map(|wanted| Settings::new(&[access(wanted)])),
        }),
        Verb::Retract { id } => Request::Retract { node, ids: vec![id.to_string()], notify: false },
        Verb::Subscribe => Request::Subscribe { node, jid: bare(*who) },
        Verb::Unsubscribe => Request::Unsubscribe { node, jid: bare(*who) },
        Verb::Approve { who, allow } => Request::Approve { node, jid: bare(*who), allow: *allow },
        Verb::Affiliate { who, to } => {
            Request::SetAffiliations { node, changes: vec![(bare(*who), AFFILIATIONS[*to])] }
        }
        Verb::Configure { access: model, publish, max } => {
            let publish = PublishModel::WORDS[*publish];
            let max = max.to_string();
            let fields =
                [access(*model), ("pubsub#publish_model", publish), ("pubsub#max_items", &max)];
            Request::Configure { node, settings: Some(Settings::new(&fields)) }
        }
        Verb::Purge => Request::Purge(node),
        Verb::Delete => Request::Delete { node, redirect: None },
    }
}

/// What everyone may see is the same in both.
fn compare(bench: &mut Bench<'_>, model: &Model) -> Result<(), TestCaseError> {
    let mut weight = 0;
    for name in NODES {
        for (who, asker_name) in WHO.iter().enumerate() {
            let items = Request::Items {
                node: name.to_owned(),
                ids: Vec::new(),
                newest: None,
                page: Rsm::default(),
            };
            let seen = bench.request(&asker(asker_name), &items);
            let seen = seen.map_or_else(|error| named(&error), |items| ids_in(&items));
            let expected = match model.0.get(name) {
                None => "!item-not-found".to_owned(),
                Some(node) => match node.reads(who) {
                    Err(error) => error.to_owned(),
                    Ok(()) => {
                        let ids = node.items.iter().map(|(id, _)| id.as_str());
                        ids.collect::<Vec<_>>().join(" ")
                    }
                },
            };
            prop_assert_eq!(seen, expected, "{} reads {}", asker_name, name);
        }
        let there = audience(bench.tx, bench.service.key, name).unwrap();
        let Some(node) = model.0.get(name) else {
            prop_assert!(there.is_none());
            continue;
        };
        let there = there.unwrap();
        let subscribed: BTreeMap<_, _> = there
            .subscribers
            .iter()
            .map(|(jid, state)| (jid.as_str().to_owned(), *state == SubState::Subscribed))
            .collect();
        let expected = node.subscriptions.iter();
        let expected: BTreeMap<_, _> =
            expected.map(|(who, state)| (bare(*who).as_str().to_owned(), *state)).collect();
        prop_assert_eq!(subscribed, expected);
        // Whoever is told is who may read, for events as for requests.
        for (who, asker_name) in WHO.iter().enumerate() {
            prop_assert_eq!(there.admits(&asker(asker_name)), node.reads(who).is_ok());
        }
        let row = rows::find(bench.tx, bench.service.key, name).unwrap().unwrap();
        let items = items(bench.tx, bench.service.key, name, usize::MAX).unwrap().unwrap();
        prop_assert_eq!(row.items, items.len() as u64);
        let entries = there.affiliations.iter().map(|(jid, _)| jid);
        let entries = entries.chain(there.subscribers.iter().map(|(jid, _)| jid));
        weight += rows::node_weight(&row.name, &row.creator, &row.config)
            + items.iter().map(rows::weight).sum::<u64>()
            + entries.map(rows::entry_weight).sum::<u64>();
    }
    prop_assert_eq!(rows::totals(bench.tx, bench.service.key), Ok((model.0.len(), weight)));
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 120,
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn the_engine_does_what_the_model_does(ops in ops()) {
        let mut result = Ok(());
        testing::tx(|tx| {
            let mut bench = Bench::pep(tx);
            bench.service.limits.entities = 100;
            let mut model = Model::default();
            result = ops.iter().try_for_each(|op| {
                let done = bench.request(&asker(WHO[op.0]), &request(op));
                let expected = model.apply(op).err().map(str::to_owned);
                prop_assert_eq!(done.err().map(|error| named(&error)), expected, "{:?}", op);
                compare(&mut bench, &model)
            });
        });
        result?;
    }
}
