//! Whatever is asked of a room, by whomever and in whatever order, what must hold of it holds.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;
use crate::modules::muc::Config;
use crate::modules::muc::enter::{Entering, Entry};
use crate::modules::muc::room::Standing;
use crate::modules::muc::settings::{Settings, Whois};
use crate::modules::muc::versions::MAV;
use crate::stanza::Stanza;
use crate::xml::ns;
use crate::xml::view::Doc;

#[derive(Debug, Clone)]
enum Step {
    Enter(usize),
    Leave(usize),
    /// By somebody, of others.
    Ask(usize, Vec<(usize, Ask)>),
    /// A client that was away comes back.
    Look(usize),
}

#[derive(Debug, Clone)]
enum Ask {
    Affiliation(Affiliation, Option<&'static str>),
    Role(Role),
}

const PEOPLE: [&str; 5] =
    ["p0@a.example", "p1@a.example", "p2@b.example", "p3@b.example", "b.example"];

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let nicks = prop_oneof![Just(None), Just(Some("")), Just(Some("One")), Just(Some("two"))];
    let ask = prop_oneof![
        3 => (prop::sample::select(&Affiliation::ALL[..]), nicks)
            .prop_map(|(one, nick)| Ask::Affiliation(one, nick)),
        1 => prop::sample::select(&Role::ALL[..]).prop_map(Ask::Role),
    ];
    let asks = prop::collection::vec((0..PEOPLE.len(), ask), 1..4);
    let step = prop_oneof![
        3 => (0..4_usize).prop_map(Step::Enter),
        1 => (0..4_usize).prop_map(Step::Leave),
        5 => (prop_oneof![3 => Just(0), 1 => 0..4_usize], asks)
            .prop_map(|(by, asks)| Step::Ask(by, asks)),
        2 => (0..2_usize).prop_map(Step::Look),
    ];
    prop::collection::vec(step, 1..40)
}

fn session(who: usize) -> Jid {
    Jid::parse(&format!("{}/r", PEOPLE[who])).unwrap()
}

fn presence(who: usize) -> Stanza {
    let (from, mux) = (session(who), ns::MUC);
    let to = format!("hall@rooms.example/p{who}");
    let xml = format!("<presence from='{from}' to='{to}'><x xmlns='{mux}'/></presence>");
    Stanza::ours(xml.into()).unwrap()
}

fn item((whom, ask): &(usize, Ask)) -> Item {
    match ask {
        Ask::Role(role) => Item::Role { nick: format!("P{whom}"), role: *role, reason: None },
        Ask::Affiliation(affiliation, nick) => {
            let nick = match nick {
                None => Reserved::Keep,
                Some("") => Reserved::Unset,
                Some(nick) => Reserved::Set(Nick::of(nick, 100).unwrap()),
            };
            let whom = Whom::Jid(BareJid::parse(PEOPLE[*whom]).unwrap());
            Item::Affiliation { whom, affiliation: *affiliation, nick, reason: None }
        }
    }
}

fn room(members_only: bool, moderated: bool) -> Room {
    let settings =
        Settings { members_only, moderated, whois: Whois::Anyone, ..Settings::default() };
    let jid = BareJid::parse("hall@rooms.example").unwrap();
    let mut room = Room::new(jid, settings, [3; 32], Config::default().bounds());
    let owner = Standing { affiliation: Affiliation::Owner, ..Standing::default() };
    room.list(BareJid::parse(PEOPLE[0]).unwrap(), owner);
    room
}

/// What must hold at all times.
fn holds(room: &Room) {
    let owners = room.standing.values().filter(|one| one.affiliation == Affiliation::Owner);
    assert!(owners.count() > 0, "§10: every room has an owner");
    for occupant in room.occupants() {
        let jid = &occupant.seat().unwrap().jid;
        let own = room.effective(jid);
        assert_ne!(own, Affiliation::Outcast, "§7.2.7: {jid}");
        assert_ne!(occupant.role, Role::None);
        if own >= Affiliation::Admin {
            assert_eq!(occupant.role, Role::Moderator, "§5.1.3: {jid}");
        }
        if room.settings.members_only {
            assert!(own >= Affiliation::Member, "§9.4: {jid}");
        }
    }
    let mut nicks: Vec<_> = room.standing.values().filter_map(|one| one.nick.clone()).collect();
    let count = nicks.len();
    nicks.sort_unstable();
    nicks.dedup();
    assert_eq!((nicks.len(), room.reserved.len()), (count, count), "§7.10: each is one person's");
    for (jid, one) in &room.standing {
        assert!(one.version <= room.version);
        assert!(one.nick.is_none() || one.affiliation >= Affiliation::Member, "§9.1: {jid}");
    }
}

/// The affiliations of a room, as a client keeps them.
type Known = BTreeMap<String, String>;

fn shown(affiliation: &str, nick: &Option<String>) -> String {
    format!("{affiliation} {}", nick.as_deref().unwrap_or("-"))
}

fn truth(room: &Room) -> Known {
    let listed = room.standing.iter().filter(|(_, one)| one.affiliation != Affiliation::None);
    listed.map(|(jid, one)| (jid.to_string(), shown(one.affiliation.as_str(), &one.nick))).collect()
}

/// XEP-0463 §5.2.1: what the client knows after an answer.
fn look(room: &Room, since: Option<i64>, known: &mut Known) {
    if since == Some(room.version) {
        return;
    }
    let owner = judge::Rank { affiliation: Affiliation::Owner, role: Role::None };
    for payload in room.affiliations_since(owner, since) {
        let doc = Doc::of(&payload, ns::MUC_USER).unwrap();
        if doc.root().child(MAV, "mav").unwrap().attr("since").is_none() {
            known.clear();
        }
        for item in doc.root().children().filter(|child| child.name() == "item") {
            let (jid, affiliation) = (item.attr("jid").unwrap(), item.attr("affiliation").unwrap());
            match affiliation {
                "none" => drop(known.remove(jid)),
                _ => {
                    let nick = item.attr("nick").map(str::to_owned);
                    known.insert(jid.to_owned(), shown(affiliation, &nick));
                }
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_room_stays_whole(
        steps in steps(),
        members_only in any::<bool>(),
        moderated in any::<bool>(),
    ) {
        let mut room = room(members_only, moderated);
        let mut clients: [(Option<i64>, Known); 2] = Default::default();
        for step in steps {
            let mut out = Outputs::default();
            match step {
                Step::Enter(who) => {
                    let entering = Entering { is_new: true, from_elsewhere: false, fits: usize::MAX };
                    let _ = room.enter(&presence(who), &Entry::default(), &entering, &mut out);
                }
                Step::Leave(who) => drop(room.leave(&session(who), &Gone::lost(), &mut out)),
                Step::Ask(by, asks) => {
                    let items: Vec<Item> = asks.iter().map(item).collect();
                    let before = (room.version, room.standing.clone());
                    match Decided::of(&room, (&session(by), SystemTime::UNIX_EPOCH), &items) {
                        Ok(decided) => decided.apply(&mut room, &mut out),
                        Err(_) => prop_assert_eq!(before, (room.version, room.standing.clone())),
                    }
                }
                Step::Look(which) => {
                    let (since, known) = &mut clients[which];
                    look(&room, *since, known);
                    prop_assert_eq!(&*known, &truth(&room));
                    *since = Some(room.version);
                }
            }
            holds(&room);
        }
    }
}

/// Of those who are listed no more a bounded number is remembered; who asks since before that gets everything.
#[test]
fn those_who_are_gone_are_forgotten_in_the_end() {
    let mut room = room(true, false);
    let mut known = Known::new();
    look(&room, None, &mut known);
    let before = room.version;
    let owner = session(0);
    let owner = (&owner, SystemTime::UNIX_EPOCH);
    for affiliation in [Affiliation::Member, Affiliation::None] {
        let one = |n: usize| Item::Affiliation {
            whom: Whom::Jid(BareJid::parse(&format!("u{n}@a.example")).unwrap()),
            affiliation,
            nick: Reserved::Keep,
            reason: None,
        };
        let items: Vec<Item> = (0..3_000).map(one).collect();
        Decided::of(&room, owner, &items).unwrap().apply(&mut room, &mut Outputs::default());
    }
    assert_eq!((room.standing.len(), room.version), (1_001, before + 6_000));
    assert!(room.forgotten > before && room.forgotten < room.version);
    let name = |version| {
        let mav = String::from_utf8(room.mav(None, version)).unwrap();
        mav.split("until='").nth(1).unwrap().split('\'').next().unwrap().to_owned()
    };
    assert_eq!(room.version_of(&name(before)), None);
    assert_eq!(room.version_of(&name(room.forgotten)), Some(room.forgotten));
}

/// `affiliations_bytes_max`: whatever is in it, a list can be sent.
#[test]
fn a_list_has_a_bound_in_bytes() {
    let mut room = room(false, false);
    room.bounds.affiliations_bytes_max = 100_000;
    let owner = session(0);
    let owner = (&owner, SystemTime::UNIX_EPOCH);
    let item = |n: usize, affiliation, nick: &str, reason: &str| Item::Affiliation {
        whom: Whom::Jid(BareJid::parse(&format!("u{n}@a.example")).unwrap()),
        affiliation,
        nick: if nick.is_empty() {
            Reserved::Keep
        } else {
            Reserved::Set(Nick::of(nick, 200).unwrap())
        },
        reason: Some(reason.to_owned()).filter(|reason| !reason.is_empty()),
    };
    for n in 0..500 {
        let one = match n % 2 {
            0 => item(n, Affiliation::Outcast, "", &"<&>".repeat(100)),
            _ => item(n, Affiliation::Member, &format!("{}{n}", "&".repeat(100)), ""),
        };
        match Decided::of(&room, owner, &[one]) {
            Ok(decided) => decided.apply(&mut room, &mut Outputs::default()),
            Err(error) => {
                assert_eq!(error.condition.as_str(), "resource-constraint");
                break;
            }
        }
    }
    let len = |affiliation| {
        let mut xml = crate::xml::writer::Xml::new();
        room.write_list(&mut xml, lists::List::Of(affiliation));
        xml.finish().len()
    };
    let all: usize = Affiliation::ALL.into_iter().map(len).sum();
    assert!((90_000..=100_000).contains(&all), "{all}");
    // What takes nothing more is done still.
    let gone = item(0, Affiliation::None, "", "");
    assert!(Decided::of(&room, owner, &[gone]).is_ok());
}

/// `affiliations_max`: the error comes before anything is done.
#[test]
fn a_list_has_a_bound() {
    let mut room = room(false, false);
    room.bounds.affiliations_max = 3;
    let ban = |n: usize| Item::Affiliation {
        whom: Whom::Jid(BareJid::parse(&format!("u{n}@a.example")).unwrap()),
        affiliation: Affiliation::Outcast,
        nick: Reserved::Keep,
        reason: None,
    };
    let owner = session(0);
    let owner = (&owner, SystemTime::UNIX_EPOCH);
    let many: Vec<Item> = (0..3).map(ban).collect();
    let refused = Decided::of(&room, owner, &many).unwrap_err();
    assert_eq!(refused.condition.as_str(), "resource-constraint");
    let fine = Decided::of(&room, owner, &many[..2]).unwrap();
    fine.apply(&mut room, &mut Outputs::default());
    assert_eq!(room.standing.len(), 3);
}

/// Each change is told to everybody: in a room of many, one request makes few.
#[test]
fn what_one_request_tells_has_a_bound() {
    let mut room = room(false, false);
    let owner = session(0);
    let owner = (&owner, SystemTime::UNIX_EPOCH);
    let ban = |n: usize| Item::Affiliation {
        whom: Whom::Jid(BareJid::parse(&format!("b{n}@a.example")).unwrap()),
        affiliation: Affiliation::Outcast,
        nick: Reserved::Keep,
        reason: None,
    };
    let mute = |n: usize| Item::Role { nick: format!("n{n}"), role: Role::Visitor, reason: None };
    let mut seated = 0;
    for (sessions, max) in [(200, 250), (1_000, 50)] {
        while seated < sessions {
            let own = room.jid.with_resource(&format!("n{seated}")).unwrap().into();
            let jid = Jid::parse(&format!("u{seated}@a.example/r")).unwrap();
            let seat = crate::modules::muc::room::Seat { jid, shown: bytes::Bytes::new() };
            let nick = Nick::of(&format!("n{seated}"), 99).unwrap();
            room.seat(nick, own, Role::Participant, seat);
            seated += 1;
        }
        for make in [&ban as &dyn Fn(usize) -> Item, &mute] {
            if max > sessions && matches!(make(0), Item::Role { .. }) {
                continue; // there are not so many to be muted
            }
            let items = |count| (0..count).map(make).collect::<Vec<_>>();
            assert!(Decided::of(&room, owner, &items(max)).is_ok(), "{max} in {sessions}");
            let refused = Decided::of(&room, owner, &items(max + 1)).unwrap_err();
            assert_eq!(refused.condition.as_str(), "policy-violation", "{max} in {sessions}");
        }
    }
}
