//! The tables: nodes, their items, affiliations and subscriptions.

use super::access::{Affiliation, SubState};
use super::config::NodeConfig;
use super::event::Item;
use super::service::ServiceKey;
use crate::jid::Jid;
use crate::store::damage::query_sound;
use crate::store::tx::{Row, StoreError, Tx, query_all, query_one, query_optional};

/// A node as it is stored.
#[derive(Debug, Clone)]
pub(super) struct NodeRow {
    pub(super) id: i64,
    pub(super) name: String,
    pub(super) creator: String,
    pub(super) created: i64,
    pub(super) config: NodeConfig,
    pub(super) items: u64,
}

fn node_row(row: &dyn Row) -> Result<NodeRow, StoreError> {
    Ok(NodeRow {
        id: row.int(0)?,
        name: row.text(1)?,
        creator: row.text(2)?,
        created: row.int(3)?,
        config: NodeConfig::load(&row.text(4)?),
        items: number(row.int(5)?),
    })
}

fn number(int: i64) -> u64 {
    u64::try_from(int).unwrap_or(0)
}

pub(super) fn find(
    tx: &mut dyn Tx,
    service: ServiceKey,
    name: &str,
) -> Result<Option<NodeRow>, StoreError> {
    query_optional(tx, FIND, &[service.into(), name.into()], node_row)
}

/// All nodes of a service by name; their number is bounded.
pub(super) fn list(tx: &mut dyn Tx, service: ServiceKey) -> Result<Vec<NodeRow>, StoreError> {
    let mut nodes = query_sound(tx, ("pubsub_node", service), LIST, &[service.into()], node_row)?;
    // Sorted here, because the database may use another collation.
    nodes.sort_unstable_by(|a, b| a.name.cmp(&b.name));
    Ok(nodes)
}

/// How many nodes a service has, and what they weigh with everything in them.
pub(super) fn totals(tx: &mut dyn Tx, service: ServiceKey) -> Result<(usize, u64), StoreError> {
    let read = |row: &dyn Row| Ok((row.int(0)?, row.int(1)?));
    let (nodes, bytes) = query_one(tx, TOTALS, &[service.into()], read)?;
    Ok((usize::try_from(nodes).unwrap_or(usize::MAX), number(bytes)))
}

/// The same of those nodes that somebody created.
pub(super) fn totals_of(
    tx: &mut dyn Tx,
    service: ServiceKey,
    creator: &str,
) -> Result<(usize, u64), StoreError> {
    let read = |row: &dyn Row| Ok((row.int(0)?, row.int(1)?));
    let (nodes, bytes) = query_one(tx, TOTALS_OF, &[service.into(), creator.into()], read)?;
    Ok((usize::try_from(nodes).unwrap_or(usize::MAX), number(bytes)))
}

pub(super) fn insert(
    tx: &mut dyn Tx,
    service: ServiceKey,
    name: &str,
    creator: &str,
    now: i64,
    config: NodeConfig,
) -> Result<NodeRow, StoreError> {
    let bytes = node_weight(name, creator, &config);
    let (text, weight) = (config.store(), i64::try_from(bytes).unwrap_or(i64::MAX));
    let params =
        [service.into(), name.into(), creator.into(), now.into(), text.into(), weight.into()];
    let id = query_one(tx, INSERT, &params, |row| row.int(0))?;
    let (name, creator) = (name.to_owned(), creator.to_owned());
    Ok(NodeRow { id, name, creator, created: now, config, items: 0 })
}

/// What a node weighs without anything in it.
pub(super) fn node_weight(name: &str, creator: &str, config: &NodeConfig) -> u64 {
    (name.len() + creator.len() + config.store().len() + ROW_BYTES) as u64
}

/// What an affiliation or a subscription weighs.
pub(super) fn entry_weight(jid: &Jid) -> u64 {
    (jid.as_str().len() + ROW_BYTES) as u64
}

pub(super) fn configure(
    tx: &mut dyn Tx,
    node: &NodeRow,
    config: &NodeConfig,
) -> Result<(), StoreError> {
    let (before, text) = (node.config.store().len(), config.store());
    let more = signed(text.len()).saturating_sub(signed(before));
    tx.execute(CONFIGURE, &[node.id.into(), text.into()])?;
    weigh(tx, node.id, 0, more)
}

fn signed(number: usize) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

/// The rest goes with it.
pub(super) fn delete(tx: &mut dyn Tx, node: i64) -> Result<(), StoreError> {
    tx.execute(DELETE, &[node.into()]).map(drop)
}

pub(super) fn delete_all(tx: &mut dyn Tx, service: ServiceKey) -> Result<(), StoreError> {
    tx.execute(DELETE_ALL, &[service.into()]).map(drop)
}

/// An item and its place.
#[derive(Debug, Clone)]
pub(super) struct Placed {
    pub(super) seq: i64,
    pub(super) item: Item,
}

fn placed(row: &dyn Row) -> Result<Placed, StoreError> {
    let (id, publisher, at) = (row.text(1)?, row.text(2)?, row.int(3)?);
    Ok(Placed { seq: row.int(0)?, item: Item { id, publisher, at, payload: row.blob(4)? } })
}

pub(super) fn item(
    tx: &mut dyn Tx,
    node: i64,
    id: &str,
    after: i64,
) -> Result<Option<Placed>, StoreError> {
    query_optional(tx, ITEM, &[node.into(), id.into(), after.into()], placed)
}

/// Which items of a node: those between two places, none of them older than a time.
#[derive(Debug, Clone, Copy)]
pub(super) struct Stretch {
    pub(super) node: i64,
    pub(super) from: i64,
    pub(super) to: i64,
    pub(super) after: i64,
}

/// Some of them in order, and whether the byte bound left some out; one at least is given. `back`: the last ones.
/// The bytes are those of the items as they are written.
pub(super) fn page(
    tx: &mut dyn Tx,
    mut stretch: Stretch,
    back: bool,
    (mut skip, most): (usize, usize),
    bytes: usize,
) -> Result<(Vec<Placed>, bool), StoreError> {
    let sql = if back { BACKWARD } else { FORWARD };
    let (mut items, mut total, mut is_cut) = (Vec::<Placed>::new(), 0_usize, false);
    // In portions: a database may read all that a query asks for.
    while !is_cut && items.len() < most {
        let before = items.len();
        let portion = PORTION.min(most - before);
        let Stretch { node, from, to, after } = stretch;
        let params =
            [node.into(), from.into(), to.into(), after.into(), portion.into(), skip.into()];
        tx.query(sql, &params, &mut |row| {
            if !is_cut {
                let next = placed(row)?;
                total = total.saturating_add(next.item.written());
                is_cut = total > bytes && !items.is_empty();
                if !is_cut {
                    items.push(next);
                }
            }
            Ok(())
        })?;
        if items.len() < before + portion {
            break;
        }
        let Some(last) = items.last() else { break };
        *(if back { &mut stretch.to } else { &mut stretch.from }) = last.seq;
        skip = 0;
    }
    if back {
        items.reverse();
    }
    Ok((items, is_cut))
}

/// How many items are there.
pub(super) fn count(tx: &mut dyn Tx, stretch: Stretch) -> Result<usize, StoreError> {
    let Stretch { node, from, to, after } = stretch;
    let params = [node.into(), from.into(), to.into(), after.into()];
    let count = query_one(tx, COUNT, &params, |row| row.int(0))?;
    Ok(usize::try_from(count).unwrap_or(usize::MAX))
}

/// Ids of all items in order.
pub(super) fn ids(tx: &mut dyn Tx, node: i64, after: i64) -> Result<Vec<String>, StoreError> {
    query_all(tx, IDS, &[node.into(), after.into()], |row| row.text(0))
}

/// The item that was published last.
pub(super) fn newest(tx: &mut dyn Tx, node: i64, after: i64) -> Result<Option<Item>, StoreError> {
    let stretch = Stretch { node, from: i64::MIN, to: i64::MAX, after };
    let (items, _) = page(tx, stretch, true, (0, 1), usize::MAX)?;
    Ok(items.into_iter().next().map(|placed| placed.item))
}

/// What an item weighs, with its share of the indexes.
pub(super) fn weight(item: &Item) -> u64 {
    (item.payload.len() + item.id.len() + item.publisher.len() + ROW_BYTES) as u64
}

/// Puts an item at the end, in the place of one with its id.
pub(super) fn put(tx: &mut dyn Tx, node: i64, item: &Item) -> Result<(), StoreError> {
    remove(tx, node, REMOVE, &[node.into(), (&item.id).into()])?;
    let (id, publisher, payload) = (&item.id, &item.publisher, &item.payload);
    let params = [node.into(), id.into(), publisher.into(), item.at.into(), payload.into()];
    tx.execute(PUT, &params)?;
    weigh(tx, node, 1, i64::try_from(weight(item)).unwrap_or(i64::MAX))
}

/// Deletes an item; whether it was there.
pub(super) fn take(tx: &mut dyn Tx, node: i64, id: &str) -> Result<bool, StoreError> {
    Ok(!remove(tx, node, REMOVE, &[node.into(), id.into()])?.is_empty())
}

/// Deletes the oldest items; their ids.
pub(super) fn take_oldest(
    tx: &mut dyn Tx,
    node: i64,
    number: u64,
) -> Result<Vec<String>, StoreError> {
    let number = i64::try_from(number).unwrap_or(i64::MAX);
    if number == 0 {
        return Ok(Vec::new());
    }
    remove(tx, node, REMOVE_OLDEST, &[node.into(), number.into()])
}

/// Deletes the items of a time and before.
pub(super) fn take_expired(tx: &mut dyn Tx, node: i64, until: i64) -> Result<(), StoreError> {
    remove(tx, node, REMOVE_EXPIRED, &[node.into(), until.into()]).map(drop)
}

/// Deletes what this bare JID published.
pub(super) fn take_of(tx: &mut dyn Tx, node: i64, bare: &str) -> Result<Vec<String>, StoreError> {
    let full = format!("{bare}/");
    remove(tx, node, REMOVE_OF, &[node.into(), bare.into(), full.into()])
}

/// Deletes all items.
pub(super) fn purge(tx: &mut dyn Tx, node: i64) -> Result<(), StoreError> {
    tx.execute(EMPTY, &[node.into()])?;
    tx.execute(PURGE, &[node.into()]).map(drop)
}

/// What all items of a node weigh.
pub(super) fn items_weight(tx: &mut dyn Tx, node: i64) -> Result<u64, StoreError> {
    query_one(tx, ITEMS_WEIGHT, &[node.into()], |row| Ok(number(row.int(0)?)))
}

fn remove(
    tx: &mut dyn Tx,
    node: i64,
    sql: &str,
    params: &[crate::store::Value<'_>],
) -> Result<Vec<String>, StoreError> {
    let gone = query_all(tx, sql, params, |row| Ok((row.text(0)?, row.int(1)?)))?;
    if gone.is_empty() {
        return Ok(Vec::new());
    }
    let rows = i64::try_from(gone.len()).unwrap_or(i64::MAX);
    let bytes = gone.iter().map(|(_, bytes)| *bytes).fold(0, i64::saturating_add);
    weigh(tx, node, -rows, bytes.saturating_neg())?;
    Ok(gone.into_iter().map(|(id, _)| id).collect())
}

fn weigh(tx: &mut dyn Tx, node: i64, rows: i64, bytes: i64) -> Result<(), StoreError> {
    tx.execute(WEIGH, &[node.into(), rows.into(), bytes.into()]).map(drop)
}

/// The affiliations of a node, sorted; those that cannot be read are nobody's rights.
pub(super) fn affiliations(
    tx: &mut dyn Tx,
    node: i64,
) -> Result<Vec<(Jid, Affiliation)>, StoreError> {
    let rows = query_all(tx, AFFILIATIONS, &[node.into()], |row| Ok((row.text(0)?, row.text(1)?)))?;
    let read =
        |(jid, word): (String, String)| Some((Jid::parse(&jid).ok()?, affiliation_of(&word)));
    let mut all: Vec<_> = rows.into_iter().filter_map(read).collect();
    all.sort_unstable_by(|(a, _), (b, _)| a.as_str().cmp(b.as_str()));
    Ok(all)
}

/// A word of a later version gives no rights.
fn affiliation_of(word: &str) -> Affiliation {
    Affiliation::parse(word).unwrap_or(Affiliation::Outcast)
}

pub(super) fn affiliation(
    tx: &mut dyn Tx,
    node: i64,
    bare: &str,
) -> Result<Affiliation, StoreError> {
    let word = query_optional(tx, AFFILIATION, &[node.into(), bare.into()], |row| row.text(0))?;
    Ok(word.map_or(Affiliation::None, |word| affiliation_of(&word)))
}

pub(super) fn affiliate(
    tx: &mut dyn Tx,
    node: i64,
    bare: &str,
    to: Affiliation,
) -> Result<(), StoreError> {
    remove_entry(tx, UNAFFILIATE, node, bare)?;
    if to != Affiliation::None {
        tx.execute(AFFILIATE, &[node.into(), bare.into(), to.as_str().into()])?;
        weigh(tx, node, 0, signed(bare.len() + ROW_BYTES))?;
    }
    Ok(())
}

fn remove_entry(tx: &mut dyn Tx, sql: &str, node: i64, jid: &str) -> Result<(), StoreError> {
    match tx.execute(sql, &[node.into(), jid.into()])? {
        0 => Ok(()),
        _ => weigh(tx, node, 0, signed(jid.len() + ROW_BYTES).saturating_neg()),
    }
}

/// Deletes whatever an entity is at any node, of whichever service: its name may be another's tomorrow.
pub(super) fn forget(tx: &mut dyn Tx, bare: &str) -> Result<(), StoreError> {
    for sql in [FORGET_AFFILIATIONS, FORGET_SUBSCRIPTIONS] {
        let gone = query_all(tx, sql, &[bare.into()], |row| Ok((row.int(0)?, row.int(1)?)))?;
        for (node, bytes) in gone {
            weigh(tx, node, 0, bytes.saturating_neg())?;
        }
    }
    Ok(())
}

/// Where an entity has which affiliation, by the node's name.
pub(super) fn affiliations_of(
    tx: &mut dyn Tx,
    service: ServiceKey,
    bare: &str,
) -> Result<Vec<(String, Affiliation)>, StoreError> {
    let params = [service.into(), bare.into()];
    query_all(tx, AFFILIATIONS_OF, &params, |row| Ok((row.text(0)?, affiliation_of(&row.text(1)?))))
}

type Subscribed = (Jid, SubState);

fn subscribed((jid, word): (String, String)) -> Option<Subscribed> {
    Some((Jid::parse(&jid).ok()?, SubState::parse(&word)?))
}

/// The subscriptions of a node, sorted by bare JID, then by address.
pub(super) fn subscriptions(tx: &mut dyn Tx, node: i64) -> Result<Vec<Subscribed>, StoreError> {
    let read = |row: &dyn Row| Ok((row.text(0)?, row.text(1)?));
    let rows = query_all(tx, SUBSCRIPTIONS, &[node.into()], read)?;
    let mut all: Vec<_> = rows.into_iter().filter_map(subscribed).collect();
    let key = |jid: &Jid| (jid.bare_str().to_owned(), jid.as_str().to_owned());
    all.sort_by_cached_key(|(jid, _)| key(jid));
    Ok(all)
}

/// Those of one entity there.
pub(super) fn subscriptions_of(
    tx: &mut dyn Tx,
    node: i64,
    bare: &str,
) -> Result<Vec<Subscribed>, StoreError> {
    let read = |row: &dyn Row| Ok((row.text(0)?, row.text(1)?));
    let rows = query_all(tx, SUBSCRIPTIONS_OF, &[node.into(), bare.into()], read)?;
    Ok(rows.into_iter().filter_map(subscribed).collect())
}

/// Those of one entity at all nodes, by their names.
pub(super) fn subscriptions_at(
    tx: &mut dyn Tx,
    service: ServiceKey,
    bare: &str,
) -> Result<Vec<(String, Jid, SubState)>, StoreError> {
    let read = |row: &dyn Row| Ok((row.text(0)?, (row.text(1)?, row.text(2)?)));
    let rows = query_all(tx, SUBSCRIPTIONS_AT, &[service.into(), bare.into()], read)?;
    let read = |(node, row)| subscribed(row).map(|(jid, state)| (node, jid, state));
    Ok(rows.into_iter().filter_map(read).collect())
}

/// How many subscriptions a node has.
pub(super) fn subscribers(tx: &mut dyn Tx, node: i64) -> Result<usize, StoreError> {
    let count = query_one(tx, SUBSCRIBERS, &[node.into()], |row| row.int(0))?;
    Ok(usize::try_from(count).unwrap_or(usize::MAX))
}

/// [`SubState::None`] ends it.
pub(super) fn subscribe(
    tx: &mut dyn Tx,
    node: i64,
    jid: &Jid,
    state: SubState,
) -> Result<(), StoreError> {
    remove_entry(tx, UNSUBSCRIBE, node, jid.as_str())?;
    if state != SubState::None {
        let params =
            [node.into(), jid.as_str().into(), jid.bare_str().into(), state.as_str().into()];
        tx.execute(SUBSCRIBE, &params)?;
        weigh(tx, node, 0, signed(jid.as_str().len() + ROW_BYTES))?;
    }
    Ok(())
}

/// Added to the weight of each row: itself and its places in the indexes.
const ROW_BYTES: usize = 100;
/// Items that one query reads.
const PORTION: usize = 50;

crate::store::sql! {
    FIND = "SELECT id, node, creator, created, config, items FROM pubsub_node
        WHERE service = $1 AND node = $2";
    LIST = "SELECT id, node, creator, created, config, items FROM pubsub_node
        WHERE service = $1";
    TOTALS = "SELECT COUNT(*), COALESCE(SUM(bytes), 0) FROM pubsub_node WHERE service = $1";
    TOTALS_OF = "SELECT COUNT(*), COALESCE(SUM(bytes), 0) FROM pubsub_node
        WHERE service = $1 AND creator = $2";
    INSERT = "INSERT INTO pubsub_node (service, node, creator, created, config, items, bytes)
        VALUES ($1, $2, $3, $4, $5, 0, $6) RETURNING id";
    CONFIGURE = "UPDATE pubsub_node SET config = $2 WHERE id = $1";
    WEIGH = "UPDATE pubsub_node SET items = items + $2, bytes = bytes + $3 WHERE id = $1";
    EMPTY = "UPDATE pubsub_node SET items = 0, bytes = bytes - (SELECT COALESCE(SUM(
        OCTET_LENGTH(payload) + OCTET_LENGTH(item) + OCTET_LENGTH(publisher) + 100), 0)
        FROM pubsub_item WHERE node = $1) WHERE id = $1";
    ITEMS_WEIGHT = "SELECT COALESCE(SUM(
        OCTET_LENGTH(payload) + OCTET_LENGTH(item) + OCTET_LENGTH(publisher) + 100), 0)
        FROM pubsub_item WHERE node = $1";
    DELETE = "DELETE FROM pubsub_node WHERE id = $1";
    DELETE_ALL = "DELETE FROM pubsub_node WHERE service = $1";
    ITEM = "SELECT seq, item, publisher, at, payload FROM pubsub_item
        WHERE node = $1 AND item = $2 AND at > $3";
    FORWARD = "SELECT seq, item, publisher, at, payload FROM pubsub_item
        WHERE node = $1 AND seq > $2 AND seq < $3 AND at > $4 ORDER BY seq LIMIT $5 OFFSET $6";
    BACKWARD = "SELECT seq, item, publisher, at, payload FROM pubsub_item
        WHERE node = $1 AND seq > $2 AND seq < $3 AND at > $4 ORDER BY seq DESC LIMIT $5 OFFSET $6";
    COUNT = "SELECT COUNT(*) FROM pubsub_item
        WHERE node = $1 AND seq > $2 AND seq < $3 AND at > $4";
    IDS = "SELECT item FROM pubsub_item WHERE node = $1 AND at > $2 ORDER BY seq";
    PUT = "INSERT INTO pubsub_item (node, item, publisher, at, payload) VALUES ($1, $2, $3, $4, $5)";
    // The weight is that of `weight`.
    REMOVE = "DELETE FROM pubsub_item WHERE node = $1 AND item = $2
        RETURNING item, OCTET_LENGTH(payload) + OCTET_LENGTH(item) + OCTET_LENGTH(publisher) + 100";
    REMOVE_OLDEST = "DELETE FROM pubsub_item
        WHERE seq IN (SELECT seq FROM pubsub_item WHERE node = $1 ORDER BY seq LIMIT $2)
        RETURNING item, OCTET_LENGTH(payload) + OCTET_LENGTH(item) + OCTET_LENGTH(publisher) + 100";
    REMOVE_EXPIRED = "DELETE FROM pubsub_item WHERE node = $1 AND at <= $2
        RETURNING item, OCTET_LENGTH(payload) + OCTET_LENGTH(item) + OCTET_LENGTH(publisher) + 100";
    REMOVE_OF = "DELETE FROM pubsub_item
        WHERE node = $1 AND (publisher = $2 OR SUBSTR(publisher, 1, LENGTH($3)) = $3)
        RETURNING item, OCTET_LENGTH(payload) + OCTET_LENGTH(item) + OCTET_LENGTH(publisher) + 100";
    PURGE = "DELETE FROM pubsub_item WHERE node = $1";
    AFFILIATIONS = "SELECT jid, affiliation FROM pubsub_affiliation WHERE node = $1";
    AFFILIATION = "SELECT affiliation FROM pubsub_affiliation WHERE node = $1 AND jid = $2";
    UNAFFILIATE = "DELETE FROM pubsub_affiliation WHERE node = $1 AND jid = $2";
    AFFILIATE = "INSERT INTO pubsub_affiliation (node, jid, affiliation) VALUES ($1, $2, $3)";
    AFFILIATIONS_OF = "SELECT n.node, a.affiliation FROM pubsub_affiliation a
        JOIN pubsub_node n ON n.id = a.node WHERE n.service = $1 AND a.jid = $2 ORDER BY n.node";
    // The weight is that of `entry_weight`.
    FORGET_AFFILIATIONS = "DELETE FROM pubsub_affiliation WHERE jid = $1
        RETURNING node, OCTET_LENGTH(jid) + 100";
    FORGET_SUBSCRIPTIONS = "DELETE FROM pubsub_subscription WHERE bare = $1
        RETURNING node, OCTET_LENGTH(jid) + 100";
    SUBSCRIPTIONS = "SELECT jid, state FROM pubsub_subscription WHERE node = $1";
    SUBSCRIPTIONS_OF = "SELECT jid, state FROM pubsub_subscription
        WHERE node = $1 AND bare = $2 ORDER BY jid";
    SUBSCRIPTIONS_AT = "SELECT n.node, s.jid, s.state FROM pubsub_subscription s
        JOIN pubsub_node n ON n.id = s.node WHERE n.service = $1 AND s.bare = $2
        ORDER BY n.node, s.jid";
    SUBSCRIBERS = "SELECT COUNT(*) FROM pubsub_subscription WHERE node = $1";
    UNSUBSCRIBE = "DELETE FROM pubsub_subscription WHERE node = $1 AND jid = $2";
    SUBSCRIBE = "INSERT INTO pubsub_subscription (node, jid, bare, state) VALUES ($1, $2, $3, $4)";
}

/// For the quota.
pub(super) mod weights {
    crate::store::sql! {
        // With its items, affiliations and subscriptions: `bytes` has them all.
        NODES = "SELECT COALESCE(SUM(bytes), 0), COUNT(*) FROM pubsub_node WHERE service = $1";
    }

    /// Bytes and rows of an account.
    pub(in crate::modules::pubsub) const ALL: &[&str] = &[NODES];
}
