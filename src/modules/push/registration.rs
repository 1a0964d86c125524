//! Where devices of an account are told that something waits for them: in the store, and beside the account's
//! entry with what waits.

use super::super::AccountState;
use super::super::api::AccountPart;
use super::config::Config;
use super::waiting::{Last, Waiting};
use crate::base::credential::AgentId;
use crate::jid::{FullJid, Jid};
use crate::router::registry::{AccountEntry, Resource};
use crate::store::damage::query_sound;
use crate::store::ids::AccountId;
use crate::store::tx::{Row, StoreError, Tx, Value, query_one, query_optional};

/// All of an account that are enabled.
#[derive(Debug, Default)]
pub struct Registrations(pub(super) Vec<Registration>);

/// One push service and a node there, which stands for a device.
#[derive(Debug)]
pub struct Registration {
    /// Its key in the store.
    pub id: i64,
    /// What the client said.
    pub target: Target,
    /// Errors in a row.
    pub failures: u32,
    /// What its device does not have yet.
    pub waiting: Waiting,
}

/// What a client said when it enabled a registration, and who it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    /// The push service.
    pub jid: Jid,
    /// The node there; empty if none was named.
    pub node: String,
    /// The form of publish-options; empty if there was none.
    pub options: String,
    /// What a summary may say besides the count.
    pub summary: Summary,
    /// The device.
    pub device: Option<AgentId>,
    /// Its resource, by which a device without an id is known.
    pub resource: String,
}

/// What a summary may say besides the count: the client asked for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Summary {
    /// Who sent the last message.
    pub sender: bool,
    /// Its text.
    pub body: bool,
}

impl Summary {
    /// What is kept of a message for a summary: what the client asks for and the settings allow.
    pub fn of(self, config: &Config, last: &Last) -> Option<Last> {
        let allowed = self.allowed(config);
        let body = last.body.clone().filter(|_| allowed.body);
        (allowed != Self::default()).then(|| Last { sender: last.sender.clone(), body })
    }

    /// Without what the settings do not allow (XEP-0357 §9).
    pub fn allowed(self, config: &Config) -> Self {
        Self { sender: self.sender && config.sender, body: self.body && config.body }
    }

    fn of_bits(bits: i64) -> Self {
        Self { sender: bits & 1 != 0, body: bits & 2 != 0 }
    }

    fn bits(self) -> i64 {
        i64::from(self.sender) | (i64::from(self.body) << 1)
    }
}

/// Where a registration's device is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Place {
    /// It has no session.
    Away,
    /// Its session waits to be resumed.
    Asleep(u64),
    /// It is connected, and nobody looks at it.
    Quiet(u64),
    /// It is in use.
    Here,
}

impl Target {
    /// Whether the session is one of its device.
    pub fn is_of(&self, resource: &Resource) -> bool {
        self.is_at(resource.agent, &resource.jid)
    }

    fn is_at(&self, agent: Option<AgentId>, jid: &FullJid) -> bool {
        match self.device {
            Some(device) => agent == Some(device),
            None => jid.resource() == self.resource,
        }
    }

    /// Where its device is.
    pub fn place(&self, resources: &[Resource]) -> Place {
        let own = resources.iter().filter(|resource| self.is_of(resource));
        let place = |resource: &Resource| match (resource.hibernating, resource.quiet) {
            (true, _) => Place::Asleep(resource.session),
            (false, true) => Place::Quiet(resource.session),
            (false, false) => Place::Here,
        };
        own.map(place).max().unwrap_or(Place::Away)
    }

    fn bytes(&self) -> usize {
        self.jid.as_str().len() + self.node.len() + self.options.len() + self.resource.len()
    }
}

impl Registrations {
    /// The one of this key.
    pub fn get_mut(&mut self, id: i64) -> Option<&mut Registration> {
        self.0.iter_mut().find(|registration| registration.id == id)
    }

    /// Adds it, in place of an earlier one of the same service and node.
    pub fn put(&mut self, registration: Registration) {
        let Target { jid, node, .. } = &registration.target;
        self.0.retain(|old| old.target.jid != *jid || old.target.node != *node);
        self.0.push(registration);
    }
}

/// Those of an account.
pub fn all(account: &AccountEntry) -> Option<&Registrations> {
    AccountState::of(account)?.push.as_deref()
}

/// Those of an account.
pub fn all_mut(account: &mut AccountEntry) -> Option<&mut Registrations> {
    AccountState::of_mut(account)?.push.as_deref_mut()
}

/// Takes some out of an account's entry.
pub fn drop_from(account: &mut AccountEntry, is: impl Fn(&Registration) -> bool) {
    AccountState::change(account, |state| {
        if let Some(all) = &mut state.push {
            all.0.retain(|one| !is(one));
        }
        state.push.take_if(|all| all.0.is_empty());
    });
}

impl AccountPart for Option<Box<Registrations>> {
    fn load(tx: &mut dyn Tx, account: AccountId) -> Result<Self, StoreError> {
        let all = query_sound(tx, ("push", account), ALL, &[account.into()], read)?;
        let all: Vec<_> = all.into_iter().flatten().collect();
        Ok((!all.is_empty()).then(|| Box::new(Registrations(all))))
    }

    fn bytes(&self) -> usize {
        let Some(all) = self else { return 0 };
        let each = |one: &Registration| {
            size_of::<Registration>() + one.target.bytes() + one.waiting.bytes()
        };
        size_of::<Registrations>() + all.0.iter().map(each).sum::<usize>()
    }

    fn is_nothing(&self) -> bool {
        self.is_none()
    }
}

/// `None` for an address that is none any more.
fn read(row: &dyn Row) -> Result<Option<Registration>, StoreError> {
    let Ok(jid) = Jid::parse(&row.text(1)?) else { return Ok(None) };
    let device = row.opt_blob(3)?.and_then(|id| id.try_into().ok()).map(AgentId::from_bytes);
    Ok(Some(Registration {
        id: row.int(0)?,
        target: Target {
            jid,
            node: row.text(2)?,
            device,
            resource: row.text(4)?,
            options: row.text(5)?,
            summary: Summary::of_bits(row.int(6)?),
        },
        failures: u32::try_from(row.int(7)?).unwrap_or(u32::MAX),
        waiting: Waiting::default(),
    }))
}

/// Writes it, enabled; its key, or nothing if `most` others are. Of those that were disabled for their errors at
/// most as many stay.
pub fn enable(
    tx: &mut dyn Tx,
    account: AccountId,
    target: &Target,
    at: i64,
    most: usize,
) -> Result<Option<i64>, StoreError> {
    let Target { jid, node, options, summary, device, resource } = target;
    let full = |count: i64| usize::try_from(count).is_ok_and(|count| count >= most);
    let others = [account.into(), jid.as_str().into(), node.as_str().into()];
    if full(query_one(tx, COUNT_OTHERS, &others, |row| row.int(0))?) {
        return Ok(None);
    }
    if full(query_one(tx, COUNT_ENDED, &[account.into()], |row| row.int(0))?) {
        tx.execute(CLEAR_ENDED, &[account.into()])?;
    }
    let device = device.as_ref().map_or(Value::Null, |device| Value::Blob(device.bytes().into()));
    let of = [
        account.into(),
        jid.as_str().into(),
        node.as_str().into(),
        device,
        resource.as_str().into(),
        options.as_str().into(),
        summary.bits().into(),
        at.into(),
    ];
    query_one(tx, PUT, &of, |row| row.int(0)).map(Some)
}

/// Deletes those of this service, or the one of this node.
pub fn disable(
    tx: &mut dyn Tx,
    account: AccountId,
    jid: &str,
    node: Option<&str>,
) -> Result<(), StoreError> {
    match node {
        Some(node) => tx.execute(REMOVE, &[account.into(), jid.into(), node.into()]),
        None => tx.execute(REMOVE_ALL, &[account.into(), jid.into()]),
    }
    .map(drop)
}

/// Whether it is enabled still: it goes with its device, too, and with the password with which it was enabled. Else
/// who has got hold of one that was changed since would go on hearing when somebody writes.
pub fn is_there(tx: &mut dyn Tx, id: i64) -> Result<bool, StoreError> {
    Ok(query_optional(tx, IS_THERE, &[id.into()], |row| row.int(0))?.is_some())
}

/// Notes what came of the last attempts; with `ended` it is disabled.
pub fn note(
    tx: &mut dyn Tx,
    id: i64,
    failures: u32,
    error: &str,
    ended: Option<i64>,
) -> Result<(), StoreError> {
    let ended = ended.map_or(Value::Null, Value::Int);
    tx.execute(NOTE, &[id.into(), failures.into(), error.into(), ended]).map(drop)
}

/// Forgets those that were disabled before this.
pub fn forget_ended(tx: &mut dyn Tx, before: i64) -> Result<usize, StoreError> {
    tx.execute(FORGET_ENDED, &[before.into()])
}

/// For the quota.
pub const WEIGHTS: &[&str] = &[WEIGHT];
/// The namespace.
pub const NS: &str = "urn:xmpp:push:0";

crate::store::sql! {
    ALL = "SELECT push.id, push.jid, push.node, device.agent, push.resource, push.options, \
        push.summary, push.failures FROM push JOIN account ON account.id = push.account \
        LEFT JOIN device ON device.id = push.device \
        WHERE push.account = $1 AND push.ended IS NULL \
        AND (device.password = 1 OR (push.device IS NULL AND push.epoch = account.epoch)) \
        ORDER BY push.id";
    IS_THERE = "SELECT 1 FROM push JOIN account ON account.id = push.account \
        LEFT JOIN device ON device.id = push.device WHERE push.id = $1 AND push.ended IS NULL \
        AND (device.password = 1 OR (push.device IS NULL AND push.epoch = account.epoch))";
    COUNT_OTHERS = "SELECT COUNT(*) FROM push \
        WHERE account = $1 AND ended IS NULL AND NOT (jid = $2 AND node = $3)";
    COUNT_ENDED = "SELECT COUNT(*) FROM push WHERE account = $1 AND ended IS NOT NULL";
    CLEAR_ENDED = "DELETE FROM push WHERE account = $1 AND ended IS NOT NULL";
    PUT = "INSERT INTO push \
        (account, jid, node, device, resource, options, summary, enabled, failures, error, epoch) \
        VALUES ($1, $2, $3, (SELECT id FROM device WHERE account = $1 AND agent = $4), \
        $5, $6, $7, $8, 0, '', (SELECT epoch FROM account WHERE id = $1)) \
        ON CONFLICT (account, jid, node) DO UPDATE SET device = excluded.device, \
        resource = excluded.resource, options = excluded.options, summary = excluded.summary, \
        enabled = excluded.enabled, failures = 0, error = '', ended = NULL, \
        epoch = excluded.epoch RETURNING id";
    REMOVE = "DELETE FROM push WHERE account = $1 AND jid = $2 AND node = $3";
    REMOVE_ALL = "DELETE FROM push WHERE account = $1 AND jid = $2";
    NOTE = "UPDATE push SET failures = $2, error = $3, ended = $4 WHERE id = $1";
    FORGET_ENDED = "DELETE FROM push WHERE ended < $1";
    WEIGHT = "SELECT COALESCE(SUM(OCTET_LENGTH(jid) + OCTET_LENGTH(node) + OCTET_LENGTH(options)), 0), \
        COUNT(*) FROM push WHERE account = $1";
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::router::outbox::Outbox;
    use crate::store::accounts::{self, Creation};
    use crate::store::devices::{self, Seen};
    use crate::store::testing;

    fn target(node: &str, device: Option<AgentId>) -> Target {
        Target {
            jid: Jid::parse("push.x").unwrap(),
            node: node.to_owned(),
            options: "<x/>".to_owned(),
            summary: Summary { sender: true, body: false },
            device,
            resource: "phone".to_owned(),
        }
    }

    fn loaded(tx: &mut dyn Tx, account: AccountId) -> Vec<Target> {
        let all = <Option<Box<Registrations>>>::load(tx, account).unwrap();
        all.into_iter().flat_map(|all| all.0).map(|one| one.target).collect()
    }

    #[test]
    fn what_is_enabled_is_read_again() {
        testing::tx(|tx| {
            let Creation::Created(account) = accounts::create(tx, "a", "x", &[], 0).unwrap() else {
                panic!("the account exists")
            };
            let device = Some(AgentId::of("1"));
            let seen = Seen::new(AgentId::of("1"), "", "", 0);
            devices::put_seen(tx, account, &seen, 9).unwrap();
            let first = enable(tx, account, &target("1", device), 7, 2).unwrap().unwrap();
            let second = enable(tx, account, &target("2", None), 7, 2).unwrap().unwrap();
            assert_eq!(loaded(tx, account), [target("1", device), target("2", None)]);
            assert_eq!(enable(tx, account, &target("3", None), 7, 2).unwrap(), None, "too many");
            assert_eq!(
                enable(tx, account, &target("1", None), 8, 2).unwrap(),
                Some(first),
                "replaced"
            );
            assert_eq!(loaded(tx, account), [target("1", None), target("2", None)]);
            note(tx, second, 3, "gone", Some(9)).unwrap();
            assert_eq!(loaded(tx, account), [target("1", None)]);
            assert_eq!(enable(tx, account, &target("2", None), 9, 2).unwrap(), Some(second));
            assert_eq!(loaded(tx, account).len(), 2, "enabled again");
            note(tx, second, 3, "gone", Some(9)).unwrap();
            assert_eq!((forget_ended(tx, 9).unwrap(), forget_ended(tx, 10).unwrap()), (0, 1));
            disable(tx, account, "push.x", Some("3")).unwrap();
            disable(tx, account, "other.x", None).unwrap();
            assert_eq!(loaded(tx, account).len(), 1);
            disable(tx, account, "push.x", None).unwrap();
            assert!(loaded(tx, account).is_empty() && !is_there(tx, first).unwrap());
            let first = enable(tx, account, &target("1", device), 7, 2).unwrap().unwrap();
            assert!(is_there(tx, first).unwrap());
            devices::revoke(tx, account, &AgentId::of("1")).unwrap();
            assert!(!is_there(tx, first).unwrap(), "it goes with its device");
        });
    }

    /// By whoever had the old password; the device that set the new one is told on.
    #[test]
    fn what_was_enabled_with_an_old_password_is_not_told() {
        testing::tx(|tx| {
            let Creation::Created(account) = accounts::create(tx, "a", "x", &[], 0).unwrap() else {
                panic!("the account exists")
            };
            let [own, other] = ["1", "2"].map(AgentId::of);
            for agent in [&own, &other] {
                devices::put_seen(tx, account, &Seen::new(*agent, "", "", 0), 9).unwrap();
            }
            let mut enabled = |node: &str, device: Option<&AgentId>| {
                enable(tx, account, &target(node, device.copied()), 7, 9).unwrap().unwrap()
            };
            let nodes = [("own", Some(&own)), ("other", Some(&other)), ("nobody's", None)];
            let ids = nodes.map(|(node, device)| enabled(node, device));
            assert_eq!(loaded(tx, account).len(), 3);
            accounts::set_keys(tx, account, &[]).unwrap();
            devices::knows_password(tx, account, &own).unwrap();
            assert_eq!(loaded(tx, account), [target("own", Some(own))]);
            assert_eq!(ids.map(|id| is_there(tx, id).unwrap()), [true, false, false]);
            enable(tx, account, &target("nobody's", None), 8, 9).unwrap().unwrap();
            assert!(is_there(tx, ids[2]).unwrap(), "enabled anew");
        });
    }

    #[test]
    fn those_that_ended_are_bounded() {
        testing::tx(|tx| {
            let Creation::Created(account) = accounts::create(tx, "a", "x", &[], 0).unwrap() else {
                panic!("the account exists")
            };
            for node in 0..9 {
                let id =
                    enable(tx, account, &target(&node.to_string(), None), 0, 2).unwrap().unwrap();
                note(tx, id, 1, "gone", Some(0)).unwrap();
            }
            let ended = query_one(tx, COUNT_ENDED, &[account.into()], |row| row.int(0)).unwrap();
            assert!(ended <= 2, "{ended}");
        });
    }

    #[test]
    fn a_device_is_where_its_best_session_is() {
        let session = |number, name: &str, device: &str, (hibernating, quiet)| Resource {
            hibernating,
            quiet,
            agent: (!device.is_empty()).then(|| AgentId::of(device)),
            ..Resource::new(FullJid::parse(name).unwrap(), number, Arc::new(Outbox::new(9)))
        };
        let (there, quiet, asleep) = ((false, false), (false, true), (true, false));
        let known = target("n", Some(AgentId::of("1")));
        let unknown = target("n", None);
        for (sessions, of_device, of_resource) in [
            (vec![], Place::Away, Place::Away),
            (vec![session(1, "a@x/phone", "", there)], Place::Away, Place::Here),
            (vec![session(1, "a@x/b", "1", asleep)], Place::Asleep(1), Place::Away),
            (vec![session(1, "a@x/phone", "2", quiet)], Place::Away, Place::Quiet(1)),
            (
                vec![session(1, "a@x/phone", "1", asleep), session(2, "a@x/b", "1", quiet)],
                Place::Quiet(2),
                Place::Asleep(1),
            ),
            (
                vec![session(1, "a@x/b", "1", quiet), session(2, "a@x/c", "1", there)],
                Place::Here,
                Place::Away,
            ),
        ] {
            assert_eq!(known.place(&sessions), of_device, "{sessions:?}");
            assert_eq!(unknown.place(&sessions), of_resource, "{sessions:?}");
        }
    }
}
