//! Requests of publishers (§7), and what is none.

use super::*;

#[test]
fn an_item_is_published_and_everyone_is_told() {
    bench(|mut b| {
        let answer = b.publish("juliet", "n", "1");
        assert_eq!(
            answer,
            "<pubsub xmlns='http://jabber.org/protocol/pubsub'><publish node='n'><item id='1'/>\
             </publish></pubsub>"
        );
        let told =
            format!("all: <event><items node='n'><item id='1'>{PAYLOAD}</item></items></event>");
        assert_eq!(b.told(), [told]);
        assert!(b.events[0].headline);
        assert_eq!(b.events[0].kind, EventKind::Published(Some("1".to_owned())));
        // §7.1.2: without an id one is made.
        let answer = b.set("juliet", &publication("n", &format!("<item>{PAYLOAD}</item>")));
        assert_eq!(ids_in(&answer).len(), 11, "{answer}");
        // §7.1.3: the same id overwrites, and is the last then.
        b.publish("juliet", "n", "1");
        assert!(b.ids("juliet", "n").ends_with(" 1"));
        // §7.1.2.5: of three the oldest goes. Subscribers are told, as the node retracts and notifies.
        b.publish("juliet", "n", "2");
        assert_eq!(b.told().len(), 1);
        b.publish("juliet", "n", "3");
        assert_eq!(b.told().len(), 2);
        assert_eq!(b.ids("juliet", "n"), "1 2 3");
    });
}

#[test]
fn errors_of_publishing() {
    bench(|mut b| {
        b.publish("juliet", "n", "1");
        let big = "x".repeat(300_000);
        for (who, request, expected) in [
            // §7.1.3.1
            ("nurse", publication("n", "<item/>"), "!forbidden"),
            // §7.1.3.3: who may not make nodes learns nothing.
            ("nurse", publication("m", "<item/>"), "!item-not-found"),
            ("juliet", "<publish><item/></publish>".to_owned(), "!bad-request/nodeid-required"),
            ("juliet", publication("n", "<item/><item/>"), "!bad-request"),
            // §7.1.3.5
            (
                "juliet",
                publication("n", &format!("<item><e xmlns='u'>{big}</e></item>")),
                "!not-acceptable/payload-too-big",
            ),
            // §7.1.3.6
            (
                "juliet",
                publication("n", &format!("<item>{PAYLOAD}{PAYLOAD}</item>")),
                "!bad-request/invalid-payload",
            ),
            // §7.1.3.7
            ("juliet", publication("n", ""), "!bad-request/item-required"),
            ("juliet", publication("n", "<item/>"), "!bad-request/payload-required"),
            ("juliet", publication(&"n".repeat(1_024), "<item/>"), "!not-acceptable"),
            (
                "juliet",
                publication("n", &format!("<item id='{}'/>", "i".repeat(1_024))),
                "!not-acceptable",
            ),
        ] {
            let shown: String = request.chars().take(60).collect();
            assert_eq!(b.set(who, &request), expected, "{shown}");
            assert!(b.events.is_empty());
        }
        assert_eq!(b.ids("juliet", "n"), "1");
        assert_eq!(b.ids("juliet", "m"), "!item-not-found");
    });
}

/// §4.3, the table of items, payloads and item ids.
#[test]
fn the_kind_of_a_nodes_events_says_what_is_published() {
    bench(|mut b| {
        let (none, empty) = (publication("n", ""), publication("n", "<item id='i'/>"));
        let full = publication("n", &format!("<item id='i'>{PAYLOAD}</item>"));
        let (required, needed) = ("!bad-request/item-required", "!bad-request/payload-required");
        let forbidden = "!bad-request/item-forbidden";
        let with =
            format!("all: <event><items node='n'><item id='i'>{PAYLOAD}</item></items></event>");
        let without = "all: <event><items node='n'><item id='i'/></items></event>";
        let nothing = "all: <event><items node='n'/></event>";
        b.publish("juliet", "n", "1");
        for (persist, payloads, request, expected) in [
            ("1", "1", &none, required),
            ("1", "1", &empty, needed),
            ("1", "1", &full, with.as_str()),
            ("1", "0", &none, required),
            ("1", "0", &empty, without),
            ("1", "0", &full, without),
            ("0", "1", &none, required),
            ("0", "1", &empty, needed),
            ("0", "1", &full, with.as_str()),
            ("0", "0", &none, nothing),
            ("0", "0", &empty, forbidden),
            ("0", "0", &full, forbidden),
        ] {
            b.options("n", &[("persist_items", persist), ("deliver_payloads", payloads)]);
            let answer = b.set("juliet", request);
            let got = if answer.starts_with('!') { answer } else { b.told().join("") };
            assert_eq!(got, expected, "{persist} {payloads} {request}");
        }
        // §12.10: of a node that keeps nothing the last item is cached.
        b.options("n", &[("deliver_payloads", "1")]);
        b.publish("juliet", "n", "2");
        b.publish("juliet", "n", "3");
        assert_eq!(b.ids("nurse", "n"), "3");
        b.options("n", &[("send_last_published_item", "never")]);
        assert_eq!(b.ids("nurse", "n"), "!feature-not-implemented/unsupported persistent-items");
        assert_eq!(
            b.own_set("juliet", "<purge node='n'/>"),
            "!feature-not-implemented/unsupported persistent-items"
        );
    });
}

/// §7.1.5, in its four cases; case L8.
#[test]
fn publish_options_are_preconditions() {
    bench(|mut b| {
        // 3: the node is made with them.
        let wanted =
            [("access_model", "whitelist"), ("max_items", "max"), ("persist_items", "true")];
        assert!(b.set("juliet", &with_options("n", &wanted)).starts_with("<pubsub"));
        let form = b.own_get("juliet", "<configure node='n'/>");
        let has = |var: &str, value: &str| {
            let field = form.split(&format!("var='pubsub#{var}'")).nth(1).unwrap();
            let field = field.split("</field>").next().unwrap();
            assert!(field.ends_with(&format!("<value>{value}</value>")), "{field}");
        };
        has("access_model", "whitelist");
        has("max_items", "max");
        has("send_last_published_item", "on_sub_and_presence");
        // 2
        assert!(b.set("juliet", &with_options("n", &wanted)).starts_with("<pubsub"));
        // 1
        for fields in
            [&[("access_model", "open")][..], &[("persist_items", "1"), ("max_items", "3")]]
        {
            let answer = b.set("juliet", &with_options("n", fields));
            assert_eq!(answer, "!conflict/precondition-not-met", "{fields:?}");
        }
        // Unknown ones are refused, on a node that is there and on one that is not.
        for node in ["n", "new"] {
            for (var, value, expected) in [
                ("colour", "blue", "!bad-request/invalid-options"),
                ("access_model", "nobody", "!not-acceptable/unsupported-access-model"),
                ("node_type", "collection", "!feature-not-implemented/unsupported collections"),
            ] {
                assert_eq!(b.set("juliet", &with_options(node, &[(var, value)])), expected);
            }
            let form = submitted("node_config", &[]);
            let item = publication(node, &format!("<item>{PAYLOAD}</item>"));
            let request = format!("{item}<publish-options>{form}</publish-options>");
            assert_eq!(b.set("juliet", &request), "!bad-request/invalid-options");
            let request = format!("{item}<publish-options/>");
            assert_eq!(b.set("juliet", &request), "!bad-request/invalid-options");
        }
        assert_eq!(b.ids("juliet", "new"), "!item-not-found");
        // 4
        assert_eq!(b.set("nurse", &with_options("new", &wanted)), "!item-not-found");
    });
}

#[test]
fn items_are_retracted() {
    bench(|mut b| {
        b.publish("juliet", "n", "1");
        b.publish("juliet", "n", "2");
        b.options("n", &[("notify_retract", "0")]);
        for (who, request, expected) in [
            // §7.2.3
            ("nurse", "<retract node='n'><item id='1'/></retract>", "!forbidden"),
            ("nurse", "<retract node='n'><item id='x'/></retract>", "!forbidden"),
            ("juliet", "<retract node='m'><item id='1'/></retract>", "!item-not-found"),
            ("juliet", "<retract node='n'><item id='x'/></retract>", "!item-not-found"),
            (
                "juliet",
                "<retract node='n'><item id='1'/><item id='x'/></retract>",
                "!item-not-found",
            ),
            ("juliet", "<retract><item id='1'/></retract>", "!bad-request/nodeid-required"),
            ("juliet", "<retract node='n'/>", "!bad-request/item-required"),
            ("juliet", "<retract node='n'><item/></retract>", "!bad-request/item-required"),
            ("juliet", "<retract node='n' notify='yes'><item id='1'/></retract>", "!bad-request"),
            ("juliet", "<retract node='n'><item id='1'/></retract>", ""),
        ] {
            assert_eq!(b.set(who, request), expected, "{request}");
            assert!(b.events.is_empty(), "{request}");
        }
        assert_eq!(b.ids("juliet", "n"), "2");
        // §7.2.2.1
        b.set("juliet", "<retract node='n' notify='1'><item id='2'/></retract>");
        assert_eq!(b.told(), ["all: <event><items node='n'><retract id='2'/></items></event>"]);
    });
}

#[test]
fn a_full_node_refuses_or_makes_room() {
    bench(|mut b| {
        for (full, expected, left, told) in [
            ("reject", "!conflict/node-full", "1 2 3", 0),
            ("discard-oldest", "<pubsub", "2 3 4", 1),
            ("retract-oldest", "<pubsub", "3 4 5", 2),
        ] {
            for id in ["1", "2", "3"].iter().filter(|_| full == "reject") {
                b.publish("juliet", "n", id);
            }
            b.options("n", &[("publish_node_full", full)]);
            let id = if full == "retract-oldest" { "5" } else { "4" };
            let answer = b.publish("juliet", "n", id);
            assert!(answer.starts_with(expected), "{full}: {answer}");
            assert_eq!(b.events.len(), told, "{full}");
            assert_eq!(b.ids("juliet", "n"), left, "{full}");
        }
        // What is there may be overwritten.
        b.options("n", &[("publish_node_full", "reject")]);
        assert!(b.publish("juliet", "n", "4").starts_with("<pubsub"));
    });
}

#[test]
fn a_service_stores_no_more_than_it_may() {
    bench(|mut b| {
        b.service.limits.bytes = 2_000;
        let item = |id: &str, size: usize| {
            publication(
                "n",
                &format!("<item id='{id}'><e xmlns='u'>{}</e></item>", "x".repeat(size)),
            )
        };
        assert!(b.set("juliet", &item("1", 1_000)).starts_with("<pubsub"));
        assert_eq!(b.set("juliet", &item("2", 1_000)), "!resource-constraint");
        assert!(b.set("juliet", &item("2", 500)).starts_with("<pubsub"));
        assert_eq!(b.set("juliet", &item("2", 1_000)), "!resource-constraint");
        // Less is always possible.
        b.service.limits.bytes = 10;
        assert!(b.set("juliet", &item("1", 900)).starts_with("<pubsub"));
        assert_eq!(b.ids("juliet", "n"), "2 1");
        b.own_set("juliet", "<purge node='n'/>");
        // What is left is the node itself.
        let (nodes, bytes) = rows::totals(b.tx, b.service.key).unwrap();
        assert!(nodes == 1 && bytes < 500, "{nodes}: {bytes}");
    });
}

#[test]
fn what_is_no_request_is_refused() {
    bench(|mut b| {
        for (inner, expected) in [
            ("", "!bad-request"),
            ("<dance/>", "!bad-request"),
            ("<publish node='n'/><publish node='n'/>", "!bad-request"),
            ("<publish node='n'/><publish-options/><configure/>", "!bad-request"),
            ("<items node='n'/>", "!bad-request"),
            ("<x xmlns='u'/>", "!bad-request"),
            (
                "<options node='n' jid='a@x'/>",
                "!feature-not-implemented/unsupported subscription-options",
            ),
        ] {
            assert_eq!(b.set("juliet", inner), expected, "{inner}");
        }
        assert_eq!(b.get("juliet", "<publish node='n'/>"), "!bad-request");
        assert_eq!(
            b.get("juliet", "<default/>"),
            "!feature-not-implemented/unsupported retrieve-default-sub"
        );
        let many: String = (0..501).map(|n| format!("<item id='{n}'/>")).collect();
        assert_eq!(
            b.set("juliet", &format!("<retract node='n'>{many}</retract>")),
            "!policy-violation"
        );
        let xml = "<iq><pubsub xmlns='urn:other'><create/></pubsub></iq>";
        let doc = Doc::of(xml.as_bytes(), ns::CLIENT).unwrap();
        assert!(Request::read(IqType::Set, doc.root().first_child().unwrap()).is_err());
    });
}
