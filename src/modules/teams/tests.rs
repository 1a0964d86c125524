//! Teams between accounts of one server, live and in the store.

use crate::admin::TeamVerb;
use crate::jid::BareJid;
use crate::modules::testing::Server;
use crate::modules::testing::client::{Client, befriend};
use crate::modules::{ALL, erase, register, turned};
use crate::store::ids::AccountId;
use crate::store::roster::{self, Subscription};
use crate::store::{Tx, accounts};
use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet};

async fn hears(client: &Client, expected: &[&str]) {
    assert_eq!(client.taken().await, expected, "{}", client.cx.jid());
}

/// The lines, or the error.
async fn run(server: &Server, verb: TeamVerb) -> Result<String, String> {
    let done = super::run(&server.cx, verb).await;
    done.map(|outcome| outcome.lines().join("\n")).map_err(|error| error.to_string())
}

async fn add(server: &Server, name: &str) -> Result<String, String> {
    run(server, TeamVerb::Add { name: name.to_owned() }).await
}

async fn remove(server: &Server, name: &str) -> Result<String, String> {
    run(server, TeamVerb::Remove { name: name.to_owned() }).await
}

async fn show(server: &Server, name: &str) -> Result<String, String> {
    run(server, TeamVerb::Show { name: name.to_owned() }).await
}

async fn join(
    server: &Server,
    name: &str,
    jid: &str,
    called: Option<&str>,
) -> Result<String, String> {
    let (name, jid) = (name.to_owned(), jid.to_owned());
    run(server, TeamVerb::Join { name, jid, called: called.map(str::to_owned) }).await
}

async fn leave(server: &Server, name: &str, jid: &str) -> Result<String, String> {
    run(server, TeamVerb::Leave { name: name.to_owned(), jid: jid.to_owned() }).await
}

/// Shuts or opens an account, as the operator's verbs do.
async fn turn(server: &Server, account: AccountId, open: bool) {
    let set = move |tx: &mut dyn Tx| accounts::set_disabled(tx, account, !open);
    server.store().write(set).await.unwrap();
    turned(ALL, &server.cx.router, account, open).await.unwrap();
}

async fn account(server: &Server, local: &'static str) -> AccountId {
    let found = server.store().read(move |tx| accounts::find(tx, local, "x"));
    found.await.unwrap().unwrap().id
}

fn items(roster: &str) -> String {
    let (_, items) = roster.split_once('>').unwrap_or_default();
    items.replace("</query>", "").replace(" subscription='both'", "")
}

#[tokio::test]
async fn members_see_each_other_at_once_and_no_more_when_one_leaves() {
    let server = Server::with(&["a", "b", "c"]).await;
    let (a, b) = (server.online("a@x/1").await, server.online("b@x/1").await);
    let silent = server.connect("b@x/2").await;
    add(&server, "Staff").await.unwrap();
    join(&server, "staff", "a@x", Some("Ann & co")).await.unwrap();
    hears(&a, &[]).await;
    join(&server, "STAFF", "b@x", None).await.unwrap();
    hears(&a, &["push b@x both", "available b@x/1"]).await;
    hears(&b, &["push a@x both", "available a@x/1"]).await;
    hears(&silent, &[]).await;
    assert_eq!(items(&a.roster().await), "<item jid='b@x' name='b'><group>Staff</group></item>");
    let seen = "<item jid='a@x' name='Ann &amp; co'><group>Staff</group></item>";
    assert_eq!(items(&b.roster().await), seen);
    // Another name; and somebody who is not there.
    join(&server, "Staff", "a@x", Some("Ann")).await.unwrap();
    hears(&b, &["push a@x both"]).await;
    hears(&a, &[]).await;
    join(&server, "Staff", "c@x", None).await.unwrap();
    hears(&a, &["push c@x both"]).await;
    let c = server.connect("c@x/1").await;
    let seen = "<item jid='a@x' name='Ann'><group>Staff</group></item>\
                <item jid='b@x' name='b'><group>Staff</group></item>";
    assert_eq!(items(&c.roster().await), seen);
    b.taken().await;
    leave(&server, "Staff", "b@x").await.unwrap();
    hears(&a, &["push b@x remove", "unavailable b@x/1"]).await;
    hears(&b, &["push a@x remove", "push c@x remove", "unavailable a@x/1"]).await;
    assert_eq!(items(&b.roster().await), "");
    assert_eq!(
        remove(&server, "Staff").await.unwrap(),
        "the team Staff is gone, and 2 accounts are out of it"
    );
    hears(&a, &["push c@x remove"]).await;
}

/// RFC 6121 §2.5.3 and §2.3.3 have no condition for it; RFC 6120 §8.3.3.10.
#[tokio::test]
async fn what_a_team_brought_is_not_the_members_to_end() {
    let server = Server::with(&["a", "b"]).await;
    let (a, b) = (server.online("a@x/1").await, server.online("b@x/1").await);
    add(&server, "Staff").await.unwrap();
    for jid in ["a@x", "b@x"] {
        join(&server, "Staff", jid, None).await.unwrap();
    }
    let before = a.roster().await;
    a.taken().await;
    b.taken().await;
    for item in [
        "<item jid='b@x' subscription='remove'/>",
        "<item jid='b@x' name='x'/>",
        "<item jid='b@x'><group>Mine</group></item>",
    ] {
        let error = a.set(item).await.unwrap_err();
        assert_eq!(error.condition.as_str(), "not-allowed", "{item}");
        assert!(error.text.as_deref().unwrap_or_default().contains("group Staff"), "{error:?}");
    }
    for ty in ["unsubscribe", "unsubscribed"] {
        let error = a.subscription("b@x", ty).await.unwrap_err();
        assert_eq!(error.condition.as_str(), "not-allowed", "{ty}");
    }
    // Nothing to be done, and nothing to be answered by a person.
    a.subscription("b@x", "subscribed").await.unwrap();
    hears(&a, &[]).await;
    a.subscription("b@x", "subscribe").await.unwrap();
    hears(&a, &["available b@x/1"]).await;
    hears(&b, &[]).await;
    assert_eq!(a.roster().await, before);
}

#[tokio::test]
async fn what_is_the_accounts_own_stays() {
    let server = Server::with(&["a", "b", "c"]).await;
    let (a, b) = server.friends("a@x/1", "b@x/1").await;
    let c = server.online("c@x/1").await;
    a.set("<item jid='b@x' name='Bee'><group>Friends</group></item>").await.unwrap();
    // Neither knows the other, but one has asked.
    a.subscription("c@x", "subscribe").await.unwrap();
    for client in [&a, &b, &c] {
        client.taken().await;
    }
    add(&server, "Staff").await.unwrap();
    for jid in ["a@x", "b@x", "c@x"] {
        join(&server, "Staff", jid, None).await.unwrap();
    }
    let seen = "<item jid='b@x' name='Bee'><group>Friends</group><group>Staff</group></item>\
                <item jid='c@x' name='c'><group>Staff</group></item>";
    assert_eq!(items(&a.roster().await), seen);
    // Friends see each other already: nobody is shown.
    hears(&a, &["push b@x both", "push c@x both", "available c@x/1"]).await;
    let named = "<item jid='c@x' name='Cee'><group>Mine</group><group>Staff</group></item>";
    a.set(named).await.unwrap();
    leave(&server, "Staff", "a@x").await.unwrap();
    let left = "<item jid='b@x' name='Bee'><group>Friends</group></item>\
                <item jid='c@x' name='Cee' subscription='none' ask='subscribe'><group>Mine</group></item>";
    assert_eq!(items(&a.roster().await), left);
    hears(&a, &["push c@x both", "push b@x both", "push c@x none ask", "unavailable c@x/1"]).await;
    // The request waits again, and no client sees an item for it.
    assert!(c.taken().await.contains(&"push a@x remove".to_owned()));
    assert_eq!(items(&c.roster().await), "<item jid='b@x' name='b'><group>Staff</group></item>");
    let mut later = server.connect("c@x/2").await;
    later.roster().await;
    later.presence("<presence/>").unwrap();
    assert!(later.taken().await.contains(&"subscribe a@x".to_owned()));
}

#[tokio::test]
async fn a_shut_account_is_in_no_roster_until_it_is_open() {
    let server = Server::with(&["a", "b", "c"]).await;
    let a = server.online("a@x/1").await;
    let b = account(&server, "b").await;
    add(&server, "Staff").await.unwrap();
    for jid in ["a@x", "b@x"] {
        join(&server, "Staff", jid, None).await.unwrap();
    }
    hears(&a, &["push b@x both"]).await;
    for _ in 0..2 {
        turn(&server, b, false).await;
    }
    hears(&a, &["push b@x remove"]).await;
    // Who joins meanwhile does not see it; and it is not open because somebody says so.
    join(&server, "Staff", "c@x", None).await.unwrap();
    turned(ALL, &server.cx.router, b, true).await.unwrap();
    hears(&a, &["push c@x both"]).await;
    assert_eq!(show(&server, "staff").await.unwrap(), "a@x  a\nb@x  b (shut)\nc@x  c");
    turn(&server, b, true).await;
    hears(&a, &["push b@x both"]).await;
    let mut c = server.connect("c@x/1").await;
    assert!(c.roster().await.contains("jid='b@x'"));
    // Deleted for good: nothing is left of it in the rosters of others.
    c.presence("<presence/>").unwrap();
    let (router, now, bare) = (&server.cx.router, server.cx.now, BareJid::parse("b@x").unwrap());
    register::removal::end(router, ALL, &bare, b, false, now).await.unwrap();
    assert!(!c.roster().await.contains("jid='b@x'"));
    assert_eq!(show(&server, "Staff").await.unwrap(), "a@x  a\nc@x  c");
}

/// An account that joins while it is being deleted is shown though it is gone. What undoes that finds it.
#[tokio::test]
async fn whoever_is_deleted_while_it_joins_leaves_nothing_behind() {
    let server = Server::with(&["a", "b", "c"]).await;
    let (a, b, c) =
        (account(&server, "a").await, account(&server, "b").await, account(&server, "c").await);
    let roster = || async {
        let read = server.store().read(move |tx| roster::load(tx, a));
        let items = read.await.unwrap().items.into_iter();
        items.map(|(jid, item)| format!("{jid} {}", item.groups.join(" "))).collect::<Vec<_>>()
    };
    for team in TEAMS {
        add(&server, team).await.unwrap();
        for jid in ["a@x", "b@x", "c@x"] {
            join(&server, team, jid, None).await.unwrap();
        }
    }
    server.store().write(move |tx| accounts::remove(tx, b, 5)).await.unwrap();
    remove(&server, TEAMS[0]).await.unwrap();
    assert_eq!(roster().await, ["b@x T", "c@x T"]);
    for account in [b, c] {
        assert!(server.store().write(move |tx| erase(ALL, tx, account)).await.unwrap());
    }
    assert_eq!(roster().await, [""; 0]);
}

#[tokio::test]
async fn verbs_say_what_is_wrong() {
    let server = Server::with(&["a", "b"]).await;
    add(&server, " Staff ").await.unwrap();
    join(&server, "Staff", "a@x", None).await.unwrap();
    let long = "x".repeat(129);
    for (told, wanted) in [
        (add(&server, "STAFF").await, "a team STAFF already"),
        (add(&server, " ").await, "name of a team"),
        (add(&server, "a\nb").await, "name of a team"),
        (add(&server, &long).await, "1 to 128 bytes"),
        (join(&server, "Staff", "b@x", Some("\u{0}")).await, "name of a member"),
        (join(&server, "Staff", "x", None).await, "not the address"),
        (join(&server, "Staff", "nobody@x", None).await, "no account nobody@x"),
        (join(&server, "Stuff", "a@x", None).await, "no team Stuff"),
        (leave(&server, "Stuff", "a@x").await, "no team Stuff"),
        (leave(&server, "Staff", "b@x").await, "b@x is not in the team Staff"),
        (remove(&server, "Stuff").await, "no team Stuff"),
        (show(&server, "Stuff").await, "no team Stuff"),
    ] {
        let told = told.unwrap_err();
        assert!(told.contains(wanted), "{told}");
    }
    assert_eq!(
        join(&server, "Staff", "a@x", None).await.unwrap(),
        "a@x is in the team Staff already, as a"
    );
    assert_eq!(run(&server, TeamVerb::List).await.unwrap(), "Staff  1");
}

/// What somebody may do, or the operator. Accounts and teams by number.
#[derive(Debug, Clone)]
enum Deed {
    Join(usize, usize),
    Leave(usize, usize),
    Dissolve(usize),
    Turn(usize),
    Befriend(usize, usize),
    Part(usize, usize),
    Set(usize, usize, Option<bool>, BTreeSet<usize>),
}

const NAMES: [&str; 4] = ["a", "b", "c", "d"];
const TEAMS: [&str; 2] = ["S", "T"];
/// One is called as a team is.
const GROUPS: [&str; 2] = ["Mine", "S"];

/// What an account says of another one by itself.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Own {
    name: Option<String>,
    groups: BTreeSet<String>,
    friends: bool,
}

/// What is seen: name, groups, whether both are subscribed.
type Seen = BTreeMap<String, (Option<String>, Vec<String>, bool)>;

#[derive(Debug, Default)]
struct Model {
    own: BTreeMap<(usize, usize), Own>,
    teams: [BTreeSet<usize>; 2],
    shut: BTreeSet<usize>,
}

impl Model {
    fn given(&self, owner: usize, contact: usize) -> BTreeSet<String> {
        let together = |team: &BTreeSet<usize>| team.contains(&owner) && team.contains(&contact);
        let open = !self.shut.contains(&owner) && !self.shut.contains(&contact);
        let teams = TEAMS.iter().zip(&self.teams).filter(|(_, team)| open && together(team));
        teams.map(|(name, _)| (*name).to_owned()).collect()
    }

    fn seen(&self, owner: usize) -> Seen {
        let contacts = (0..NAMES.len()).filter(|contact| *contact != owner);
        let item = |contact: usize| {
            let (own, given) = (self.own.get(&(owner, contact)), self.given(owner, contact));
            if own.is_none() && given.is_empty() {
                return None;
            }
            let own = own.cloned().unwrap_or_default();
            let given_name = (!given.is_empty()).then(|| NAMES[contact].to_owned());
            let both = own.friends || !given.is_empty();
            let groups = own.groups.union(&given).cloned().collect();
            Some((format!("{}@x", NAMES[contact]), (own.name.or(given_name), groups, both)))
        };
        contacts.filter_map(item).collect()
    }

    fn change(&mut self, deed: &Deed) {
        match deed {
            Deed::Join(team, who) => drop(self.teams[*team].insert(*who)),
            Deed::Leave(team, who) => drop(self.teams[*team].remove(who)),
            Deed::Dissolve(team) => self.teams[*team].clear(),
            Deed::Turn(who) => {
                if !self.shut.remove(who) {
                    self.shut.insert(*who);
                }
            }
            Deed::Befriend(a, b) => {
                if self.given(*a, *b).is_empty() {
                    for pair in [(*a, *b), (*b, *a)] {
                        self.own.entry(pair).or_default().friends = true;
                    }
                }
            }
            Deed::Part(a, b) => {
                if self.given(*a, *b).is_empty() && self.own.remove(&(*a, *b)).is_some() {
                    self.own.entry((*b, *a)).and_modify(|own| own.friends = false);
                }
            }
            Deed::Set(a, b, name, groups) => {
                let (given, before) = (self.given(*a, *b), self.own.get(&(*a, *b)).cloned());
                let mut own = before.clone().unwrap_or_default();
                let is_own = |group: &String| !given.contains(group) || own.groups.contains(group);
                let groups = sent(groups, &given).into_iter().filter(is_own).collect();
                let as_given = own.name.is_none() && !given.is_empty() && *name == Some(true);
                let name = name.filter(|_| !as_given).map(|own| called(*b, own));
                own = Own { name, groups, ..own };
                if before.is_some() || given.is_empty() || own != Own::default() {
                    self.own.insert((*a, *b), own);
                }
            }
        }
    }
}

/// As the localpart says, or otherwise.
fn called(who: usize, plainly: bool) -> String {
    if plainly { NAMES[who].to_owned() } else { "N".to_owned() }
}

/// A client sends the groups that it sees, too.
fn sent(groups: &BTreeSet<usize>, given: &BTreeSet<String>) -> BTreeSet<String> {
    groups.iter().map(|group| GROUPS[*group].to_owned()).chain(given.iter().cloned()).collect()
}

async fn perform(server: &Server, clients: &[Client], model: &Model, deed: &Deed) {
    let jid = |who: &usize| format!("{}@x", NAMES[*who]);
    let given = |a: &usize, b: &usize| model.given(*a, *b);
    match deed {
        Deed::Join(team, who) => drop(join(server, TEAMS[*team], &jid(who), None).await.unwrap()),
        Deed::Leave(team, who) => {
            let left = leave(server, TEAMS[*team], &jid(who)).await;
            assert_eq!(left.is_ok(), model.teams[*team].contains(who));
        }
        Deed::Dissolve(team) => {
            remove(server, TEAMS[*team]).await.unwrap();
            add(server, TEAMS[*team]).await.unwrap();
        }
        Deed::Turn(who) => {
            let id = account(server, NAMES[*who]).await;
            turn(server, id, model.shut.contains(who)).await;
        }
        Deed::Befriend(a, b) => {
            befriend(&clients[*a], &clients[*b]).await;
            befriend(&clients[*b], &clients[*a]).await;
        }
        Deed::Part(a, b) => {
            let set = format!("<item jid='{}' subscription='remove'/>", jid(b));
            let may = given(a, b).is_empty() && model.own.contains_key(&(*a, *b));
            assert_eq!(clients[*a].set(&set).await.is_ok(), may);
        }
        Deed::Set(a, b, name, groups) => {
            let name = name.map(|own| format!(" name='{}'", called(*b, own))).unwrap_or_default();
            let groups = sent(groups, &given(a, b));
            let groups: String = groups.iter().map(|g| format!("<group>{g}</group>")).collect();
            let set = format!("<item jid='{}'{name}>{groups}</item>", jid(b));
            clients[*a].set(&set).await.unwrap();
        }
    }
}

/// The roster in the store and in memory, which agree, and its version.
async fn rosters(server: &Server, who: &'static str) -> (i64, Seen) {
    let id = account(server, who).await;
    let stored = server.store().read(move |tx| roster::load(tx, id)).await.unwrap();
    let both = |state: Subscription| match state {
        Subscription::Both => true,
        Subscription::None => false,
        other => panic!("{other:?}"),
    };
    let items = stored.items.into_values().filter(|item| item.listed);
    let stored: Seen =
        items.map(|item| (item.jid.clone(), (item.name, item.groups, both(item.state)))).collect();
    let memory = server.cx.router.entry(&format!("{who}@x"), |entry| {
        let items = entry.roster.iter().filter(|item| item.listed).map(|item| {
            let groups = item.groups().map(str::to_owned).collect();
            let seen = (item.name.map(str::to_owned), groups, both(item.state));
            (item.jid.to_owned(), seen)
        });
        (entry.roster.ver, items.collect::<Seen>())
    });
    let (ver, memory) = memory.unwrap();
    assert_eq!(stored, memory, "{who}");
    (ver, stored)
}

/// What a client makes of the pushes and presence that it gets.
#[derive(Debug, Default)]
struct Heard {
    items: BTreeMap<String, bool>,
    online: BTreeSet<String>,
}

impl Heard {
    fn hear(&mut self, stanza: &str) {
        match stanza.split(' ').collect::<Vec<_>>().as_slice() {
            ["push", jid, "remove", ..] => drop(self.items.remove(*jid)),
            ["push", jid, state, ..] => {
                self.items.insert((*jid).to_owned(), *state == "both");
            }
            ["available", jid] => drop(self.online.insert(jid.replace("/1", ""))),
            ["unavailable", jid] => drop(self.online.remove(&jid.replace("/1", ""))),
            _ => {}
        }
    }
}

fn deeds() -> impl Strategy<Value = Vec<Deed>> {
    let who = || 0..NAMES.len();
    let pair = || (who(), 1..NAMES.len()).prop_map(|(a, off)| (a, (a + off) % NAMES.len()));
    let deed = prop_oneof![
        5 => (0..TEAMS.len(), who()).prop_map(|(team, who)| Deed::Join(team, who)),
        3 => (0..TEAMS.len(), who()).prop_map(|(team, who)| Deed::Leave(team, who)),
        1 => (0..TEAMS.len()).prop_map(Deed::Dissolve),
        2 => who().prop_map(Deed::Turn),
        3 => pair().prop_map(|(a, b)| Deed::Befriend(a, b)),
        3 => pair().prop_map(|(a, b)| Deed::Part(a, b)),
        3 => (pair(), any::<Option<bool>>(), prop::collection::btree_set(0..GROUPS.len(), 0..=2))
            .prop_map(|((a, b), name, groups)| Deed::Set(a, b, name, groups)),
    ];
    prop::collection::vec(deed, 1..40)
}

async fn agrees(deeds: Vec<Deed>) {
    let server = Server::with(&NAMES).await;
    let mut clients = Vec::new();
    for name in NAMES {
        clients.push(server.online(&format!("{name}@x/1")).await);
    }
    for team in TEAMS {
        add(&server, team).await.unwrap();
    }
    let (mut model, mut heard) = (Model::default(), NAMES.map(|_| Heard::default()));
    let mut versions: BTreeMap<(usize, i64), Seen> = BTreeMap::new();
    // At the end all leave, and only what is their own is there.
    let ends = (0..TEAMS.len()).map(Deed::Dissolve);
    for deed in deeds.into_iter().chain(ends) {
        perform(&server, &clients, &model, &deed).await;
        model.change(&deed);
        for (who, name) in NAMES.into_iter().enumerate() {
            let (ver, seen) = rosters(&server, name).await;
            assert_eq!(seen, model.seen(who), "{name} after {deed:?}");
            // RFC 6121 §2.6: a version is one roster.
            assert_eq!(versions.entry((who, ver)).or_insert_with(|| seen.clone()), &seen);
            let heard = &mut heard[who];
            clients[who].taken().await.iter().for_each(|stanza| heard.hear(stanza));
            let items = seen.iter().map(|(jid, (.., both))| (jid.clone(), *both));
            assert_eq!(heard.items, items.collect(), "{name} was told after {deed:?}");
            let both = seen.iter().filter(|(_, (.., both))| *both).map(|(jid, _)| jid.clone());
            heard.online.remove(&format!("{name}@x"));
            assert_eq!(heard.online, both.collect(), "{name} was shown after {deed:?}");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]
    /// Whatever is done in whatever order: what is seen is what is own and what the teams give now.
    #[test]
    fn rosters_are_what_is_own_and_what_is_given(deeds in deeds()) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(agrees(deeds));
    }
}
