//! Queries to a server without sockets; the test itself puts the rows into the archives.

use super::super::testing::{Server, ask, ask_all};
use super::*;
use crate::base::time::micros;
use crate::modules;
use crate::store::archive::{Entry, RowKind};
use crate::store::ids::AccountId;
use crate::xml::view::Doc;

const ROMEO: &str = "romeo@montague.example";
const ORCHARD: &str = "romeo@montague.example/orchard";

struct World {
    server: Server,
    cx: Cx,
    romeo: AccountId,
    juliet: AccountId,
}

impl World {
    /// Romeo's archive: one message every 10 s since 1 000 000, in turn with Juliet, a room's occupant,
    /// himself.
    async fn with(messages: i64) -> Self {
        let server = Server::new(modules::Config::default());
        let romeo = server.account("romeo", &[]).await;
        let juliet = server.account("juliet", &[]).await;
        let cx = server.session(ORCHARD).await;
        let world = Self { server, cx, romeo, juliet };
        let peers = [("juliet@montague.example", "balcony"), ("room@x", "nick"), (ROMEO, "home")];
        for n in 0..messages {
            let (peer, resource) = peers[usize::try_from(n % 3).unwrap()];
            world
                .put(
                    world.romeo,
                    seq(n),
                    peer,
                    resource,
                    &format!("<message from='a@x/r' id='{n}'/>"),
                )
                .await;
        }
        world
    }

    async fn put(&self, account: AccountId, seq: i64, peer: &str, resource: &str, stanza: &str) {
        let archive = ArchiveId::of(account);
        let (peer, resource) = (peer.to_owned(), resource.to_owned());
        let stanza = stanza.to_owned();
        let write = self.server.store().write(move |tx| {
            let (peer, resource) = (peer.as_str(), resource.as_str());
            let (kind, stanza) = (RowKind::Received, stanza.as_bytes());
            archive::append(tx, &Entry { seq, at: seq, archive, peer, resource, kind, stanza })
        });
        write.await.unwrap();
    }

    fn id(&self, n: i64) -> String {
        self.server.store().id_of_position(ArchiveId::of(self.romeo), seq(n))
    }

    /// `0 1 2 | false | index/count`: the messages on the wire, `complete`, the set; or an error.
    async fn page(&self, content: &str) -> String {
        let query = format!("<query xmlns='urn:xmpp:mam:2' queryid='q&apos;'>{content}</query>");
        let (ahead, fin) = ask_all(&self.cx, "set", "", &query).await;
        if !fin.starts_with('<') {
            assert!(ahead.is_empty());
            return fin;
        }
        let mut shown = Vec::new();
        for message in &ahead {
            let doc = Doc::of(message.as_bytes(), ns::CLIENT).unwrap();
            let result = doc.root().child(ns::MAM, "result").unwrap();
            assert_eq!(result.attr("queryid"), Some("q'"));
            assert_eq!(
                (doc.root().attr("from"), doc.root().attr("to")),
                (Some(ROMEO), Some(ORCHARD))
            );
            let forwarded = result.child(ns::FORWARD, "forwarded").unwrap();
            let n: i64 = forwarded
                .child(ns::CLIENT, "message")
                .unwrap()
                .attr("id")
                .unwrap()
                .parse()
                .unwrap();
            assert_eq!(result.attr("id"), Some(self.id(n).as_str()));
            let at = forwarded.child(ns::DELAY, "delay").unwrap().attr("stamp").unwrap();
            assert_eq!(at, stamp(from_micros(seq(n))));
            shown.push(n);
        }
        let doc = Doc::of(fin.as_bytes(), ns::CLIENT).unwrap();
        let fin = doc.root();
        assert!(fin.is(ns::MAM, "fin"));
        let set = fin.child(ns::RSM, "set").unwrap();
        let id = |n: Option<&i64>| n.map(|n| self.id(*n));
        let text = |name| set.child_text(ns::RSM, name).map(str::to_owned);
        assert_eq!((text("first"), text("last")), (id(shown.iter().min()), id(shown.iter().max())));
        let index = set.child(ns::RSM, "first").and_then(|first| first.attr("index"));
        let count = text("count").unwrap_or_else(|| "-".to_owned());
        let shown: Vec<_> = shown.iter().map(i64::to_string).collect();
        let complete = fin.attr("complete").unwrap();
        format!("{} | {complete} | {}/{count}", shown.join(" "), index.unwrap_or("-"))
    }
}

/// The position of the nth message.
fn seq(n: i64) -> i64 {
    (1_000_000 + 10 * n) * 1_000_000
}

/// The time of the nth message in the format of clients.
fn at(n: i64) -> String {
    stamp(from_micros(seq(n)))
}

fn set(inner: &str) -> String {
    format!("<set xmlns='http://jabber.org/protocol/rsm'>{inner}</set>")
}

fn form(fields: &[(&str, &str)]) -> String {
    let mut out = "<x xmlns='jabber:x:data' type='submit'><field var='FORM_TYPE' type='hidden'>\
                   <value>urn:xmpp:mam:2</value></field>"
        .to_owned();
    for (var, values) in fields {
        out += &format!("<field var='{var}'>");
        values.split(' ').for_each(|value| out += &format!("<value>{value}</value>"));
        out += "</field>";
    }
    out + "</x>"
}

#[tokio::test]
async fn a_result_is_as_in_xep_0313_4_2() {
    let world = World::with(1).await;
    let query = "<query xmlns='urn:xmpp:mam:2' queryid='f27'/>";
    let (ahead, fin) = ask_all(&world.cx, "set", ROMEO, query).await;
    let id = world.id(0);
    assert_eq!(
        ahead,
        [format!(
            "<message from='{ROMEO}' to='{ORCHARD}'><result xmlns='urn:xmpp:mam:2' queryid='f27' \
             id='{id}'><forwarded xmlns='urn:xmpp:forward:0'><delay xmlns='urn:xmpp:delay' \
             from='{ROMEO}' stamp='1970-01-12T13:46:40Z'/>\
             <message xmlns='jabber:client' from='a@x/r' id='0'/></forwarded></result></message>"
        )]
    );
    assert_eq!(
        fin,
        format!(
            "<fin xmlns='urn:xmpp:mam:2' complete='true'><set \
             xmlns='http://jabber.org/protocol/rsm'><first index='0'>{id}</first><last>{id}</last>\
             <count>1</count></set></fin>"
        )
    );
}

#[tokio::test]
async fn pages_follow_each_other_both_ways() {
    let world = World::with(5).await;
    let id = |n| world.id(n);
    for (rsm, expected) in [
        (String::new(), "0 1 2 3 4 | true | 0/5"),
        (set(""), "0 1 2 3 4 | true | 0/5"),
        (set("<max>5</max>"), "0 1 2 3 4 | true | 0/5"),
        (set("<max>99999999999999999999</max>"), "0 1 2 3 4 | true | 0/5"),
        (set("<max>2</max>"), "0 1 | false | 0/5"),
        (set(&format!("<max>2</max><after>{}</after>", id(1))), "2 3 | false | 2/5"),
        (set(&format!("<max>2</max><after>{}</after>", id(3))), "4 | true | 4/5"),
        (set(&format!("<max>2</max><after>{}</after>", id(4))), " | true | -/5"),
        (set("<max>2</max><before/>"), "3 4 | false | -/5"),
        // profanity 0.13
        (format!("<after>{}</after>", id(2)), "3 4 | true | 3/5"),
        ("<after/>".to_owned(), "0 1 2 3 4 | true | 0/5"),
        (set(&format!("<max>2</max><before>{}</before>", id(3))), "1 2 | false | -/5"),
        (set(&format!("<max>2</max><before>{}</before>", id(1))), "0 | true | -/5"),
        (set(&format!("<before>{}</before>", id(0))), " | true | -/5"),
        (set("<max>0</max>"), " | false | -/5"),
        (set("<max>2</max><index>0</index>"), "0 1 | false | 0/5"),
        (set("<max>2</max><index>3</index>"), "3 4 | true | 3/5"),
        (set("<index>5</index>"), " | true | -/5"),
        (set("<index>10001</index>"), " | true | -/5"),
        // XEP-0313 §9 leaves this undefined; we treat it as a range that is read backwards.
        (
            set(&format!("<max>2</max><after>{}</after><before>{}</before>", id(0), id(4))),
            "2 3 | false | -/5",
        ),
        (set("<max>2</max><before/>") + "<flip-page/>", "4 3 | false | -/5"),
        (set("<max>-1</max>"), "bad-request"),
        (set("<max>ten</max>"), "bad-request"),
        (set("") + &set(""), "bad-request"),
        (set("<index>1</index><before/>"), "bad-request"),
        (set("<after>28482-98726-73623</after>"), "item-not-found"),
        (set("<before>28482-98726-73623</before>"), "item-not-found"),
    ] {
        assert_eq!(world.page(&rsm).await, expected, "{rsm}");
    }
}

#[tokio::test]
async fn the_form_says_which_messages() {
    let world = World::with(6).await;
    let (one, four) = (world.id(1), world.id(4));
    let some = [world.id(4), world.id(0), world.id(4), world.id(3)].join(" ");
    let (start, end) = (at(1), at(4));
    let cases: &[(&[(&str, &str)], &str)] = &[
        (&[], "0 1 2 3 4 5 | true | 0/6"),
        (&[("with", "juliet@montague.example")], "0 3 | true | 0/2"),
        (&[("with", "juliet@montague.example/balcony")], "0 3 | true | 0/2"),
        (&[("with", "juliet@montague.example/Balcony")], " | true | -/0"),
        (&[("with", "JULIET@montague.example")], "0 3 | true | 0/2"),
        (&[("with", "montague.example")], " | true | -/0"),
        // §4.1.1: only messages that the account sent to itself.
        (&[("with", ROMEO)], "2 5 | true | 0/2"),
        (&[("start", &start)], "1 2 3 4 5 | true | 0/5"),
        (&[("end", &end)], "0 1 2 3 4 | true | 0/5"),
        (&[("start", &start), ("end", &end), ("with", "room@x")], "1 4 | true | 0/2"),
        (&[("start", &end), ("end", &start)], " | true | -/0"),
        (&[("end", "1960-01-01T00:00:00Z")], " | true | -/0"),
        (&[("start", "9999-01-01T00:00:00Z")], " | true | -/0"),
        (&[("after-id", &one), ("before-id", &four)], "2 3 | true | 0/2"),
        (&[("after-id", &one), ("start", &end)], "4 5 | true | 0/2"),
        (&[("ids", &some)], "0 3 4 | true | 0/3"),
        (&[("ids", &some), ("with", "juliet@montague.example")], "0 3 | true | 0/2"),
        (&[("with", "")], "0 1 2 3 4 5 | true | 0/6"),
        (&[("ids", "")], "0 1 2 3 4 5 | true | 0/6"),
        // §4.1.3
        (&[("ids", "x")], "item-not-found"),
        (&[("after-id", "x")], "item-not-found"),
        (&[("before-id", "x")], "item-not-found"),
        // §4.1.5
        (&[("{http://example.com/}free-text-search", "x")], "feature-not-implemented"),
        // §4.1.4: supported, although there are no such messages.
        (&[("include-groupchat", "true")], "0 1 2 3 4 5 | true | 0/6"),
        (&[("include-groupchat", "0")], "0 1 2 3 4 5 | true | 0/6"),
        (&[("include-groupchat", "")], "0 1 2 3 4 5 | true | 0/6"),
        (&[("include-groupchat", "perhaps")], "not-acceptable"),
        // XEP-0004 §4
        (&[("start", "yesterday")], "not-acceptable"),
        (&[("with", "@")], "not-acceptable"),
        (&[("with", "a@b c@d")], "bad-request"),
        (&[("with", "a@b"), ("with", "a@b")], "bad-request"),
    ];
    for (fields, expected) in cases {
        assert_eq!(world.page(&form(fields)).await, *expected, "{fields:?}");
    }
    for (wrong, expected) in [
        (form(&[]).replace(">urn:xmpp:mam:2<", ">urn:xmpp:mam:1<"), "bad-request"),
        (form(&[]).replace("FORM_TYPE", "with"), "bad-request"),
        ("<x xmlns='jabber:x:data' type='submit'/>".to_owned(), "bad-request"),
        (form(&[]).replace("submit", "cancel"), "bad-request"),
        (form(&[]) + &form(&[]), "bad-request"),
    ] {
        assert_eq!(world.page(&wrong).await, expected, "{wrong}");
    }
}

#[tokio::test]
async fn single_messages_come_in_pages_too() {
    let world = World::with(6).await;
    let ids = form(&[("ids", &[0, 2, 3, 5].map(|n| world.id(n)).join(" "))]);
    for (rsm, expected) in [
        ("<max>3</max>".to_owned(), "0 2 3 | false | 0/4"),
        (format!("<max>3</max><after>{}</after>", world.id(3)), "5 | true | 3/4"),
        ("<max>3</max><before/>".to_owned(), "2 3 5 | false | -/4"),
        ("<max>1</max><index>2</index>".to_owned(), "3 | false | 2/4"),
        ("<index>4</index>".to_owned(), " | true | -/4"),
        ("<max>0</max>".to_owned(), " | false | -/4"),
    ] {
        assert_eq!(world.page(&(ids.clone() + &set(&rsm))).await, expected, "{rsm}");
    }
}

/// A crash may lose a message after a device saw it: its id is still a valid position.
#[tokio::test]
async fn an_id_of_ours_is_a_place_without_its_message() {
    let world = World::with(4).await;
    let between = world.server.store().id_of_position(ArchiveId::of(world.romeo), seq(1) + 1);
    let world = &world;
    let page = |inner: String| async move { world.page(&inner).await };
    let after = set(&format!("<after>{between}</after>"));
    assert_eq!(page(after).await, "2 3 | true | 2/4");
    let before = set(&format!("<before>{between}</before>"));
    assert_eq!(page(before).await, "0 1 | true | -/4");
    assert_eq!(page(form(&[("after-id", &between)])).await, "2 3 | true | 0/2");
    // §4.3.2: an expired message is no longer a valid position.
    let gone = world.server.store().id_of_position(ArchiveId::of(world.romeo), seq(0) - 1);
    for content in [
        set(&format!("<after>{gone}</after>")),
        set(&format!("<before>{gone}</before>")),
        form(&[("after-id", &gone)]),
        form(&[("before-id", &gone)]),
        form(&[("ids", &gone)]),
    ] {
        assert_eq!(page(content).await, "item-not-found");
    }
    // But a query by this id finds no message.
    assert_eq!(page(form(&[("ids", &between)])).await, "item-not-found");
    // An id of another archive is not valid here, even if that message exists.
    world.put(world.juliet, 77, ROMEO, "", "<message/>").await;
    let hers = world.server.store().id_of_position(ArchiveId::of(world.juliet), 77);
    assert_eq!(page(set(&format!("<after>{hers}</after>"))).await, "item-not-found");
    assert_eq!(page(form(&[("ids", &hers)])).await, "item-not-found");
}

#[tokio::test]
async fn a_page_is_bounded_in_messages_and_bytes() {
    let world = World::with(300).await;
    let page = world.page(&set("<max>1000</max>")).await;
    assert!(page.starts_with("0 1 2 ") && page.ends_with(" 249 | false | 0/300"), "{page}");
    assert!(world.page("").await.ends_with(" 49 | false | 0/300"));
    let large =
        format!("<message from='a@x/r' id='300'><body>{}</body></message>", "x".repeat(500_000));
    world.put(world.romeo, seq(300), "a@x", "", &large).await;
    let large = large.replacen("300", "301", 1);
    world.put(world.romeo, seq(301), "a@x", "", &large).await;
    assert_eq!(world.page(&set("<max>2</max><before/>")).await, "301 | false | -/302");
    let query = format!("<query xmlns='urn:xmpp:mam:2' queryid='{}'/>", "q".repeat(257));
    assert_eq!(ask(&world.cx, "set", "", &query).await, "policy-violation");
    assert_eq!(world.page(&form(&[("ids", "x ".repeat(251).trim())])).await, "policy-violation");
}

#[tokio::test]
async fn the_count_is_left_out_where_it_would_be_dear() {
    let world = World::with(0).await;
    let archive = ArchiveId::of(world.romeo);
    let write = world.server.store().write(move |tx| {
        for n in 0..10_001 {
            let stanza = format!("<message from='a@x/r' id='{n}'/>");
            let (kind, stanza) = (RowKind::Sent, stanza.as_bytes());
            let peer = if n == 0 { "b@x" } else { "a@x" };
            archive::append(
                tx,
                &Entry { seq: seq(n), at: seq(n), archive, peer, resource: "", kind, stanza },
            )?;
        }
        Ok(())
    });
    write.await.unwrap();
    let index = |index| set(&format!("<max>1</max><index>{index}</index>"));
    for (content, expected) in [
        (set("<max>1</max>"), "0 | false | -/-"),
        (set("<max>1</max><before/>"), "10000 | false | -/-"),
        (index(10_000), "10000 | true | -/-"),
        (index(10_001), "feature-not-implemented"),
        (form(&[("with", "a@x")]) + &set("<max>1</max>"), "1 | false | 0/10000"),
        (form(&[("with", "a@x")]) + &index(10_001), " | true | -/10000"),
    ] {
        assert_eq!(world.page(&content).await, expected, "{content}");
    }
}

#[tokio::test]
async fn the_metadata_are_the_first_and_the_last_message() {
    let world = World::with(3).await;
    let metadata = "<metadata xmlns='urn:xmpp:mam:2'/>";
    let answer = ask(&world.cx, "get", ROMEO, metadata).await;
    let edge = |name, n| format!("<{name} id='{}' timestamp='{}'/>", world.id(n), at(n));
    let (start, end) = (edge("start", 0), edge("end", 2));
    assert_eq!(answer, format!("<metadata xmlns='urn:xmpp:mam:2'>{start}{end}</metadata>"));
    let cx = world.server.session("juliet@montague.example/balcony").await;
    assert_eq!(ask(&cx, "get", "", metadata).await, metadata);
    assert_eq!(world.server.cx.now, from_micros(micros(world.server.cx.now)));
}

#[tokio::test]
async fn only_the_owner_is_answered() {
    let world = World::with(1).await;
    let guest = world.server.session("guest@montague.example/x").await;
    for (ty, payload) in [
        ("set", "<query xmlns='urn:xmpp:mam:2'/>"),
        ("get", "<query xmlns='urn:xmpp:mam:2'/>"),
        ("get", "<metadata xmlns='urn:xmpp:mam:2'/>"),
    ] {
        for to in ["juliet@montague.example", "nobody@montague.example", "montague.example"] {
            let answer = ask(&world.cx, ty, to, payload).await;
            assert_eq!(answer, "service-unavailable", "{ty} {to} {payload}");
        }
        let node = payload.replace("/>", " node='urn:xmpp:avatar:data'/>");
        assert_eq!(ask(&world.cx, ty, "", &node).await, "feature-not-implemented");
        assert_eq!(ask(&guest, ty, "", payload).await, "not-allowed", "{payload}");
    }
}

#[tokio::test]
async fn the_form_names_the_fields() {
    let world = World::with(0).await;
    assert_eq!(
        ask(&world.cx, "get", "", "<query xmlns='urn:xmpp:mam:2'/>").await,
        "<query xmlns='urn:xmpp:mam:2'><x xmlns='jabber:x:data' type='form'>\
         <field type='hidden' var='FORM_TYPE'><value>urn:xmpp:mam:2</value></field>\
         <field type='jid-single' var='with'/><field type='text-single' var='start'/>\
         <field type='text-single' var='end'/><field type='text-single' var='before-id'/>\
         <field type='text-single' var='after-id'/>\
         <field type='list-multi' var='ids'>\
         <validate xmlns='http://jabber.org/protocol/xdata-validate' datatype='xs:string'><open/>\
         </validate></field><field type='boolean' var='include-groupchat'/>\
         <field type='text-single' var='{urn:xmpp:fulltext:0}fulltext'/></x></query>"
    );
}

#[tokio::test]
async fn where_nothing_is_archived_there_is_no_module() {
    for enabled in [true, false] {
        let mut config = modules::Config::default();
        config.mam.enabled = enabled;
        let server = Server::new(config);
        server.account("romeo", &[]).await;
        let cx = server.session(ORCHARD).await;
        let info = "<query xmlns='http://jabber.org/protocol/disco#info'/>";
        let account = ask(&cx, "get", "", info).await;
        for feature in [ns::MAM, EXTENDED, GROUPCHAT_FIELD] {
            assert_eq!(account.contains(&format!("var='{feature}'")), enabled, "{account}");
        }
        assert!(account.contains("var='urn:xmpp:ping'"));
        // profanity 0.13 looks for archives only at the domain.
        let domain = ask(&cx, "get", "montague.example", info).await;
        assert_eq!(domain.contains(&format!("var='{}'", ns::MAM)), enabled, "{domain}");
        for (ty, payload) in [
            ("set", "<query xmlns='urn:xmpp:mam:2'/>"),
            ("get", "<query xmlns='urn:xmpp:mam:2'/>"),
            ("get", "<metadata xmlns='urn:xmpp:mam:2'/>"),
        ] {
            let answer = ask(&cx, ty, "", payload).await;
            assert_eq!(answer == "service-unavailable", !enabled, "{payload}: {answer}");
        }
    }
}

/// Paging in either direction, by the ids of the page before, returns every message once and in order.
#[tokio::test]
async fn a_client_meets_every_message_once() {
    let world = World::with(40).await;
    let numbers = |page: &str| -> Vec<i64> {
        page.split(" | ").next().unwrap().split(' ').filter_map(|n| n.parse().ok()).collect()
    };
    for with in ["", "juliet@montague.example", ROMEO] {
        for max in [1, 3, 7, 50] {
            let all = numbers(&world.page(&form(&[("with", with)])).await);
            for back in [false, true] {
                let mut met = Vec::new();
                let mut edge = if back { "<before/>".to_owned() } else { String::new() };
                loop {
                    let content =
                        form(&[("with", with)]) + &set(&format!("<max>{max}</max>{edge}"));
                    let page = world.page(&content).await;
                    let found = numbers(&page);
                    edge = match back {
                        true => format!("<before>{}</before>", world.id(found[0])),
                        false => format!("<after>{}</after>", world.id(found[found.len() - 1])),
                    };
                    let at = if back { 0 } else { met.len() };
                    met.splice(at..at, found);
                    if page.contains("| true |") {
                        break;
                    }
                }
                assert_eq!(met, all, "{with} {max} {back}");
            }
        }
    }
}
