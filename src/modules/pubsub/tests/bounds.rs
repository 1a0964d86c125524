//! What bounds answers, events and what is stored.

use super::*;

fn used(b: &mut Bench<'_>) -> u64 {
    rows::totals(b.tx, b.service.key).unwrap().1
}

/// An id of 1000 characters that are six times as long as they are written.
fn long(number: usize) -> String {
    format!("{}{number:03}", "&apos;".repeat(997))
}

#[test]
fn answers_and_events_are_bounded_as_they_are_written() {
    bench(|mut b| {
        b.publish("juliet", "n", "1");
        b.options("n", &[("max_items", "max")]);
        for number in 0..120 {
            assert!(b.publish("juliet", "n", &long(number)).starts_with("<pubsub"));
        }
        let most = b.service.limits.answer_bytes + 10_000;
        let items = b.get("juliet", "<items node='n'/>");
        assert!(items.len() < most && items.contains("<set "), "{}", items.len());
        let last = b.get(
            "juliet",
            "<items node='n'/><set xmlns='http://jabber.org/protocol/rsm'><before/></set>",
        );
        assert!(last.len() < most && last.contains("119'"), "{}", last.len());
        let named = |numbers: std::ops::Range<usize>| -> String {
            numbers.map(|number| format!("<item id='{}'/>", long(number))).collect()
        };
        // More than a request may name, and so more than an event.
        let retract = |ids: &str| format!("<retract node='n' notify='1'>{ids}</retract>");
        assert_eq!(b.set("juliet", &retract(&named(0..12))), "!policy-violation");
        assert_eq!(
            b.get("juliet", &format!("<items node='n'>{}</items>", named(0..12))),
            "!policy-violation"
        );
        assert_eq!(b.set("juliet", &retract(&named(0..10))), "");
        assert_eq!(b.events.len(), 1);
        // What goes because the node takes fewer is told in parts.
        let ids: Vec<String> = (0..100).map(|n| format!("{}{n}", "'".repeat(1_000))).collect();
        let parts = event::retracted("n", &ids);
        assert!(parts.iter().all(|part| part.len() < 80_000), "{}", parts.len());
        let named: usize = parts
            .iter()
            .map(|part| std::str::from_utf8(part).unwrap().matches("<retract ").count())
            .sum();
        assert_eq!((named, event::retracted("n", &[]).len()), (100, 0));
    });
}

#[test]
fn an_address_that_is_too_long_for_a_list_is_not_listed() {
    bench(|mut b| {
        b.publish("juliet", "n", "1");
        let long = format!("nurse@x/{}", "&apos;".repeat(100));
        let subscribe = format!("<subscribe node='n' jid='{long}'/>");
        assert_eq!(b.set("nurse", &subscribe), "!policy-violation");
        let entry = format!("<affiliation jid='{}@x' affiliation='member'/>", "a".repeat(600));
        let set = format!("<affiliations node='n'>{entry}</affiliations>");
        assert_eq!(b.own_set("juliet", &set), "!policy-violation");
    });
}

#[test]
fn a_list_of_all_nodes_that_is_too_long_is_asked_for_node_by_node() {
    bench(|mut b| {
        b.publish("juliet", "n", "1");
        b.set("nurse", "<subscribe node='n' jid='nurse@x'/>");
        b.service.limits.answer_bytes = 100;
        assert_eq!(b.get("nurse", "<subscriptions/>"), "!policy-violation");
    });
}

#[test]
fn everything_that_is_stored_counts() {
    bench(|mut b| {
        b.publish("juliet", "n", "1");
        let before = used(&mut b);
        let affiliate = |to: &str| {
            format!(
                "<affiliations node='n'><affiliation jid='a@x' affiliation='{to}'/></affiliations>"
            )
        };
        let title = "t".repeat(500);
        // Full but for 50 bytes.
        b.service.limits.bytes = before + 50;
        for (request, is_own) in [
            ("<create node='m'/>".to_owned(), false),
            (publication("m", &format!("<item>{PAYLOAD}</item>")), false),
            (publication("n", &format!("<item>{PAYLOAD}</item>")), false),
            ("<subscribe node='n' jid='juliet@x'/>".to_owned(), false),
            (affiliate("member"), true),
        ] {
            let answer = match is_own {
                true => b.own_set("juliet", &request),
                false => b.set("juliet", &request),
            };
            assert_eq!(answer, "!resource-constraint", "{request}");
        }
        assert_eq!(b.options("n", &[("title", &title)]), "!resource-constraint");
        assert_eq!(used(&mut b), before);
        // With room, each is counted, and no longer when it is gone.
        b.service.limits.bytes = before + 10_000;
        assert_eq!(b.options("n", &[("title", &title)]), "");
        let titled = used(&mut b);
        assert!(titled >= before + 500);
        b.own_set("juliet", &affiliate("member"));
        b.set("nurse", "<subscribe node='n' jid='nurse@x'/>");
        assert_eq!(used(&mut b), titled + 2 * 100 + "a@xnurse@x".len() as u64);
        b.own_set("juliet", &affiliate("none"));
        b.set("nurse", "<unsubscribe node='n' jid='nurse@x'/>");
        assert_eq!(used(&mut b), titled);
        b.options("n", &[("title", "")]);
        b.own_set("juliet", "<purge node='n'/>");
        let empty = used(&mut b);
        assert!(empty < before);
        b.publish("juliet", "n", "1");
        assert_eq!(used(&mut b), before);
        // A full node of one item can still be changed.
        b.options("n", &[("max_items", "1")]);
        b.service.limits.bytes = used(&mut b);
        assert!(b.publish("juliet", "n", "2").starts_with("<pubsub"));
        assert_eq!(b.ids("juliet", "n"), "2");
        b.own_set("juliet", "<delete node='n'/>");
        assert_eq!(used(&mut b), 0);
    });
}

/// Whoever registers the name next is somebody else.
#[test]
fn an_account_that_goes_is_nothing_to_the_nodes_of_others() {
    bench(|mut b| {
        let nurse = testing::account(b.tx, "nurse");
        let host: String = crate::store::tx::query_one(
            b.tx,
            "SELECT host FROM account WHERE id = $1",
            &[nurse.into()],
            |row| row.text(0),
        )
        .unwrap();
        b.publish("juliet", "n", "1");
        let before = used(&mut b);
        let node = rows::find(b.tx, b.service.key, "n").unwrap().unwrap().id;
        for jid in ["nurse", "other"].map(|name| format!("{name}@{host}")) {
            let jid = Jid::parse(&jid).unwrap();
            rows::affiliate(b.tx, node, jid.as_str(), Affiliation::Owner).unwrap();
            rows::subscribe(b.tx, node, &jid, SubState::Subscribed).unwrap();
            let full = Jid::parse(&format!("{jid}/r")).unwrap();
            rows::subscribe(b.tx, node, &full, SubState::Pending).unwrap();
        }
        (MODULE.account_deleted.unwrap())(b.tx, nurse).unwrap();
        let left = audience(b.tx, b.service.key, "n").unwrap().unwrap();
        assert_eq!((left.affiliations.len(), left.subscribers.len()), (1, 2), "{left:?}");
        let name = format!("other@{host}");
        assert_eq!(used(&mut b), before + 300 + (3 * name.len() + 2) as u64);
    });
}

#[test]
fn one_of_many_subscribers_is_found() {
    bench(|mut b| {
        b.publish("juliet", "n", "1");
        let node = rows::find(b.tx, b.service.key, "n").unwrap().unwrap().id;
        // `.` sorts before `/`, so that addresses and bare JIDs are in another order.
        for (jid, state) in [
            ("a@x", SubState::Pending),
            ("a@x/1", SubState::Subscribed),
            ("a@x.y", SubState::Pending),
            ("b@x/2", SubState::Pending),
        ] {
            rows::subscribe(b.tx, node, &Jid::parse(jid).unwrap(), state).unwrap();
        }
        let audience = audience(b.tx, b.service.key, "n").unwrap().unwrap();
        for (jid, state) in [
            ("a@x", SubState::Subscribed),
            ("a@x.y", SubState::Pending),
            ("b@x/r", SubState::Pending),
            ("c@x", SubState::None),
        ] {
            let asker = Asker::stranger(Jid::parse(jid).unwrap());
            assert_eq!(audience.standing(&asker).subscription, state, "{jid}");
        }
    });
}

#[test]
fn one_request_at_a_time() {
    bench(|mut b| {
        b.publish("juliet", "n", "1");
        for request in
            ["<purge node='n'/><delete node='n'/>", "<delete node='n'/><purge node='n'/>"]
        {
            assert_eq!(b.own_set("juliet", request), "!bad-request", "{request}");
        }
        assert_eq!(b.own_get("juliet", "<default/><default/>"), "!bad-request");
        assert_eq!(b.get("juliet", "<items node='n'/><items node='n'/>"), "!bad-request");
        assert_eq!(b.ids("juliet", "n"), "1");
    });
}

#[test]
fn the_groups_of_a_roster_are_not_told_to_subscribers() {
    bench(|mut b| {
        b.publish("juliet", "n", "1");
        b.options("n", &[("notify_config", "1")]);
        b.options("n", &[("title", "T")]);
        let told = b.told().join("");
        assert!(told.contains("<value>T</value>") && !told.contains("lovers"), "{told}");
        let form = b.own_get("juliet", "<configure node='n'/>");
        assert!(form.contains("lovers") && !form.contains("purge_offline"), "{form}");
    });
}

/// §8.6
#[test]
fn what_an_owner_is_asked_can_wait_for_it() {
    bench(|mut b| {
        b.publish("juliet", "n", "1");
        b.options("n", &[("access_model", "authorize")]);
        b.set("stranger", "<subscribe node='n' jid='stranger@x'/>");
        let asked = b.events.iter().find(|event| event.kind == EventKind::Request).unwrap();
        let content = std::str::from_utf8(&asked.content).unwrap();
        assert!(!asked.headline && content.starts_with("<body>stranger@x wants "), "{content}");
    });
}

/// What one creator, and one subscriber, has at a service is bounded beside what the service has.
#[test]
fn a_service_bounds_each_creator_and_each_subscriber() {
    testing::tx(|tx| {
        let mut b = Bench::service(tx);
        let base = Limits { nodes: 4, entities: 3, ..Limits::default() };
        b.service.limits = Limits { creator_nodes: 2, subscriptions: 2, ..base };
        for (who, node, expected) in [
            ("maker", "a", true),
            ("maker", "b", true),
            ("maker", "c", false),
            ("other", "c", true),
            ("other", "d", true),
        ] {
            let answer = b.set(who, &format!("<create node='{node}'/>"));
            assert_eq!(answer.starts_with("<pubsub"), expected, "{who} {node}: {answer}");
            let is_bound = answer.ends_with("/max-nodes-exceeded");
            assert_eq!(is_bound, !expected, "{answer}");
        }
        for (node, expected) in [("a", true), ("b", true), ("c", false), ("a", true)] {
            let answer = b.set("s", &format!("<subscribe node='{node}' jid='s@x'/>"));
            assert_eq!(answer.starts_with("<pubsub"), expected, "{node}: {answer}");
        }
        // What is in a node counts for whoever created it.
        let (_, bytes) = rows::totals_of(b.tx, b.service.key, "maker@x").unwrap();
        b.service.limits.creator_bytes = bytes + 50;
        assert_eq!(b.publish("maker", "a", "1"), "!resource-constraint");
        assert!(b.publish("other", "c", "1").starts_with("<pubsub"));
        b.service.limits.creator_bytes = u64::MAX;
        assert!(b.publish("maker", "a", "1").starts_with("<pubsub"));
        assert!(rows::totals_of(b.tx, b.service.key, "maker@x").unwrap().1 > bytes);
    });
}

/// Whoever administers a service owns what it creates as anybody does, and is in no list else.
#[test]
fn an_administrator_has_rights_and_no_rows() {
    testing::tx(|tx| {
        let mut b = Bench::service(tx);
        b.set("maker", "<create node='a'/>");
        // `juliet` is it.
        assert!(b.set("juliet", "<create node='b'/>").starts_with("<pubsub"));
        let own = b.get("juliet", "<affiliations/>");
        assert!(own.contains("node='b'") && !own.contains("node='a'"), "{own}");
        assert!(b.own_get("juliet", "<affiliations node='b'/>").contains("juliet@x"));
        assert!(!b.own_get("juliet", "<affiliations node='a'/>").contains("juliet@x"));
        let cast_out = "<affiliations node='a'><affiliation jid='maker@x' affiliation='outcast'/>\
                        <affiliation jid='other@x' affiliation='owner'/></affiliations>";
        assert_eq!(b.own_set("juliet", cast_out), "");
    });
}
