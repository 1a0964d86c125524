//! Requests of owners (§8), and making nodes.

use super::*;

#[test]
fn nodes_are_made() {
    bench(|mut b| {
        let create = |node: &str, fields: &[(&str, &str)]| {
            let form = submitted("node_config", fields);
            format!("<create node='{node}'/><configure>{form}</configure>")
        };
        for (who, request, expected) in [
            ("juliet", "<create node='a'/>".to_owned(), "<pubsub"),
            ("juliet", "<create node='a'/>".to_owned(), "!conflict"),
            ("nurse", "<create node='b'/>".to_owned(), "!forbidden"),
            ("juliet", create("b", &[("access_model", "whitelist")]), "<pubsub"),
            (
                "juliet",
                create("c", &[("access_model", "x")]),
                "!not-acceptable/unsupported-access-model",
            ),
            ("juliet", create("c", &[("max_items", "5001")]), "!not-acceptable"),
            ("juliet", "<create node='c'/><configure node='c'/>".to_owned(), "!bad-request"),
            ("juliet", "<create node='c'/><items/>".to_owned(), "!bad-request"),
            // §8.1.1: an instant node.
            ("juliet", "<create/>".to_owned(), "<pubsub"),
            ("juliet", "<create node='d'/>".to_owned(), "<pubsub"),
            ("juliet", "<create node='e'/>".to_owned(), "!not-allowed/max-nodes-exceeded"),
        ] {
            let answer = b.set(who, &request);
            assert!(
                answer == expected || expected == "<pubsub" && answer.starts_with(expected),
                "{request}: {answer}"
            );
        }
        assert_eq!(b.publish("juliet", "e", "1"), "!not-allowed/max-nodes-exceeded");
        let owner = asker("juliet");
        let names: Vec<_> =
            nodes(b.tx, &b.service, &owner).unwrap().into_iter().map(|it| it.node).collect();
        assert_eq!(names.len(), 4);
        assert_eq!(b.get("nurse", "<items node='b'/>"), "!not-allowed/closed-node");
    });
}

#[test]
fn an_owner_configures_purges_and_deletes() {
    bench(|mut b| {
        b.publish("juliet", "n", "1");
        b.publish("juliet", "n", "2");
        for (who, request, expected) in [
            ("nurse", "<configure node='n'/>", "!forbidden"),
            ("juliet", "<configure node='m'/>", "!item-not-found"),
            ("juliet", "<configure/>", "!bad-request/nodeid-required"),
            (
                "juliet",
                "<default type='collection'/>",
                "!feature-not-implemented/unsupported collections",
            ),
            ("nurse", "<affiliations node='n'/>", "!forbidden"),
            ("nurse", "<subscriptions node='n'/>", "!forbidden"),
            ("nurse", "<subscriptions node='m'/>", "!item-not-found"),
        ] {
            assert_eq!(b.own_get(who, request), expected, "{request}");
        }
        let default = b.own_get("juliet", "<default/>");
        assert!(default.contains("<default><x xmlns='jabber:x:data' type='form'>"), "{default}");
        for (who, request, expected) in [
            ("nurse", "<purge node='n'/>", "!forbidden"),
            ("nurse", "<delete node='n'/>", "!forbidden"),
            ("juliet", "<purge node='m'/>", "!item-not-found"),
            ("juliet", "<delete node='m'/>", "!item-not-found"),
            ("juliet", "<configure node='n'/>", "!bad-request"),
            // §8.2.4: a cancelled form changes nothing.
            (
                "juliet",
                "<configure node='n'><x xmlns='jabber:x:data' type='cancel'/></configure>",
                "",
            ),
        ] {
            assert_eq!(b.own_set(who, request), expected, "{request}");
        }
        assert_eq!(b.options("n", &[("max_items", "0")]), "!not-acceptable");
        assert_eq!(b.options("n", &[("notify_config", "1"), ("max_items", "1")]), "");
        assert_eq!(b.ids("juliet", "n"), "2");
        let told = b.options("n", &[("title", "T")]);
        assert_eq!(told, "");
        let told = b.told().join("");
        assert!(told.starts_with("all: <event><configuration node='n'><x "), "{told}");
        assert!(told.contains("type='result'") && told.contains("<value>T</value>"), "{told}");
        b.options("n", &[("deliver_payloads", "0")]);
        assert_eq!(b.told(), ["all: <event><configuration node='n'/></event>"]);
        // §8.5.2
        b.own_set("juliet", "<purge node='n'/>");
        assert_eq!(b.told(), ["all: <event><purge node='n'/></event>"]);
        assert_eq!(b.ids("juliet", "n"), "");
        // §8.4.2
        b.own_set("juliet", "<delete node='n'><redirect uri='xmpp:a@x?;node=b'/></delete>");
        assert_eq!(
            b.told(),
            ["all: <event><delete node='n'><redirect uri='xmpp:a@x?;node=b'/></delete></event>"]
        );
        assert_eq!(b.ids("juliet", "n"), "!item-not-found");
        assert_eq!(rows::totals(b.tx, b.service.key), Ok((0, 0)));
    });
}

/// §4.1, §8.8, §8.9
#[test]
fn an_owner_gives_and_takes_affiliations() {
    bench(|mut b| {
        b.publish("juliet", "n", "1");
        b.options("n", &[("access_model", "whitelist")]);
        let entry = |jid: &str, to: &str| format!("<affiliation jid='{jid}' affiliation='{to}'/>");
        let set = |inner: &str| format!("<affiliations node='n'>{inner}</affiliations>");
        for (who, entries, expected) in [
            ("nurse", entry("nurse@x", "owner"), "!forbidden"),
            ("juliet", entry("@", "owner"), "!jid-malformed"),
            ("juliet", entry("a@x", "king"), "!not-acceptable"),
            (
                "juliet",
                "<affiliation affiliation='member'/>".to_owned(),
                "!bad-request/jid-required",
            ),
            // §8.9.2.4: each once.
            ("juliet", entry("a@x", "member") + &entry("a@x/r", "owner"), "!bad-request"),
            // An account stays the owner of what is its own.
            ("juliet", entry("juliet@x", "none"), "!not-acceptable"),
            ("juliet", entry("a@x", "member") + &entry("juliet@x", "outcast"), "!not-acceptable"),
            ("juliet", entry("stranger@x", "member") + "<affiliation jid='a@x'/>", ""),
        ] {
            assert_eq!(b.own_set(who, &set(&entries)), expected, "{entries}");
        }
        assert_eq!(b.ids("stranger", "n"), "1");
        assert_eq!(b.ids("a", "n"), "!not-allowed/closed-node");
        let list = b.own_get("juliet", "<affiliations node='n'/>");
        assert!(list.contains(&entry("juliet@x", "owner")), "{list}");
        assert!(list.contains(&entry("stranger@x", "member")), "{list}");
        let own = b.get("stranger", "<affiliations/>");
        assert!(own.contains("<affiliation node='n' affiliation='member'/>"), "{own}");
        // Who is no longer on the list is no longer subscribed, and is told.
        b.set("stranger", "<subscribe node='n' jid='stranger@x'/>");
        b.own_set("juliet", &set(&entry("stranger@x", "none")));
        assert!(b.told()[0].contains("subscription='none'"), "{:?}", b.told());
        assert_eq!(b.get("stranger", "<subscriptions/>").matches("<subscription ").count(), 0);

        // A publisher publishes and deletes its own; the owner's items are not its own.
        b.own_set("juliet", &set(&entry("nurse@x", "publisher")));
        assert!(b.publish("nurse", "n", "2").starts_with("<pubsub"));
        assert_eq!(b.publish("nurse", "n", "1"), "!forbidden");
        assert_eq!(b.set("nurse", "<retract node='n'><item id='1'/></retract>"), "!forbidden");
        assert_eq!(b.set("nurse", "<retract node='n'><item id='2'/></retract>"), "");
        assert_eq!(b.own_set("juliet", &set(&entry("nurse@x", "member"))), "!not-acceptable");
        // Three are too many here: two are there.
        b.own_set("juliet", &set(&entry("romeo@x", "owner")));
        let two = entry("b@x", "outcast") + &entry("c@x", "outcast");
        assert_eq!(b.own_set("juliet", &set(&two)), "!policy-violation");
        // A node's owner may do all; the account takes it back.
        assert_eq!(b.own_set("romeo", &set(&entry("nurse@x", "outcast"))), "");
        assert_eq!(b.ids("nurse", "n"), "!forbidden");
        assert_eq!(b.own_set("juliet", &set(&entry("romeo@x", "none"))), "");
        assert_eq!(b.own_set("romeo", "<purge node='n'/>"), "!forbidden");
    });
}

#[test]
fn an_owner_changes_subscriptions() {
    bench(|mut b| {
        b.publish("juliet", "n", "1");
        b.set("nurse", "<subscribe node='n' jid='nurse@x'/>");
        let set = |jid: &str, to: &str| {
            let entry = format!("<subscription jid='{jid}' subscription='{to}'/>");
            format!("<subscriptions node='n'>{entry}</subscriptions>")
        };
        let list = b.own_get("juliet", "<subscriptions node='n'/>");
        assert!(list.contains("<subscription jid='nurse@x' subscription='subscribed'/>"), "{list}");
        for (request, expected) in [
            (set("nurse@x", "pending"), "!not-acceptable"),
            (set("nurse@x", "unconfigured"), "!not-acceptable"),
            // Nobody gets an account's events who did not ask for them.
            (set("a@x", "subscribed"), "!not-acceptable"),
            (set("a@x", "none"), ""),
            (set("nurse@x", "none"), ""),
        ] {
            assert_eq!(b.own_set("juliet", &request), expected, "{request}");
        }
        assert!(b.told()[0].starts_with("nurse@x: <event><subscription "), "{:?}", b.told());
        assert_eq!(b.get("nurse", "<subscriptions/>").matches("<subscription ").count(), 0);
    });
}

#[test]
fn whoever_makes_a_node_at_a_service_owns_it() {
    testing::tx(|tx| {
        let mut b = Bench::service(tx);
        assert!(b.set("maker", "<create node='n'/>").starts_with("<pubsub"));
        assert_eq!(b.set("stranger", "<create node='m'/>"), "!forbidden");
        assert_eq!(b.own_set("other", "<delete node='n'/>"), "!forbidden");
        let set = |inner: &str| format!("<affiliations node='n'>{inner}</affiliations>");
        let entry = |jid: &str, to: &str| format!("<affiliation jid='{jid}' affiliation='{to}'/>");
        // §8.9.2.4: the last owner stays.
        assert_eq!(b.own_set("maker", &set(&entry("maker@x", "none"))), "!not-acceptable");
        let handed = entry("maker@x", "none") + &entry("other@x", "owner");
        assert_eq!(b.own_set("maker", &set(&handed)), "");
        assert_eq!(b.own_set("maker", "<delete node='n'/>"), "!forbidden");
        assert_eq!(b.own_set("other", &set(&entry("maker@x", "publisher"))), "");
        // §7.1.2.3: the publisher is shown as the list has it.
        b.publish("maker", "n", "1");
        assert!(b.told()[0].contains("<item id='1' publisher='maker@x'>"), "{:?}", b.told());
        let form = submitted("node_config", &[("publish_model", "open")]);
        b.own_set("other", &format!("<configure node='n'>{form}</configure>"));
        b.publish("stranger", "n", "2");
        assert!(b.told()[0].contains("<item id='2' publisher='stranger@x/r'>"), "{:?}", b.told());
        // Anyone may publish, and nobody writes over what is another one's.
        assert_eq!(b.publish("thief", "n", "2"), "!forbidden");
        assert_eq!(b.set("thief", "<retract node='n'><item id='2'/></retract>"), "!forbidden");
        assert!(b.publish("stranger/other", "n", "2").starts_with("<pubsub"));
        let form = submitted("node_config", &[("access_model", "presence")]);
        assert_eq!(
            b.own_set("other", &format!("<configure node='n'>{form}</configure>")),
            "!not-acceptable/unsupported-access-model"
        );
        // §8.8.2: a service's owner may subscribe others.
        let set = "<subscriptions node='n'><subscription jid='a@y' subscription='subscribed'/></subscriptions>";
        assert_eq!(b.own_set("other", set), "");
    });
}
