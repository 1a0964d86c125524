//! Requests of subscribers (§6).

use super::*;

#[test]
fn items_are_retrieved() {
    bench(|mut b| {
        b.set("juliet", "<create node='n'/>");
        assert_eq!(b.ids("nurse", "n"), "");
        b.options("n", &[("max_items", "max")]);
        for id in 1..=5 {
            b.publish("juliet", "n", &id.to_string());
        }
        let page = |inner: &str| {
            format!("<items node='n'/><set xmlns='http://jabber.org/protocol/rsm'>{inner}</set>")
        };
        for (request, ids, set) in [
            ("<items node='n'/>".to_owned(), "1 2 3 4 5", None),
            // §6.5.7
            ("<items node='n' max_items='2'/>".to_owned(), "4 5", None),
            ("<items node='n' max_items='9'/>".to_owned(), "1 2 3 4 5", None),
            // §6.5.8, §6.5.9.12
            (
                "<items node='n'><item id='4'/><item id='x'/><item id='2'/></items>".to_owned(),
                "4 2",
                None,
            ),
            (page("<max>2</max>"), "1 2", Some(("0", "5"))),
            (page("<max>2</max><after>2</after>"), "3 4", Some(("2", "5"))),
            (page("<max>2</max><before/>"), "4 5", Some(("3", "5"))),
            (page("<max>2</max><before>4</before>"), "2 3", Some(("1", "5"))),
            (page("<max>2</max><index>3</index>"), "4 5", Some(("3", "5"))),
            (page("<max>0</max>"), "", Some(("", "5"))),
        ] {
            let answer = b.get("nurse", &request);
            assert_eq!(ids_in(&answer), ids, "{request}");
            let Some((index, count)) = set else {
                assert!(!answer.contains("<set"), "{answer}");
                continue;
            };
            assert!(answer.contains(&format!("<count>{count}</count>")), "{answer}");
            let first = format!("<first index='{index}'>");
            assert!(index.is_empty() || answer.contains(&first), "{request}: {answer}");
        }
        assert_eq!(b.get("nurse", &page("<after>x</after>")), "!item-not-found");
        assert_eq!(b.get("nurse", "<items node='n' max_items='-1'/>"), "!bad-request");
        assert_eq!(b.get("nurse", "<items/>"), "!bad-request/nodeid-required");
        assert_eq!(
            b.get("stranger", "<items node='n'/>"),
            "!not-authorized/presence-subscription-required"
        );
        // §6.5.4: an answer that would be too long says that there is more.
        b.service.limits.answer_bytes = 300;
        let answer = b.get("nurse", "<items node='n'/>");
        assert_eq!(ids_in(&answer), "1 2 3");
        assert!(answer.contains("<count>5</count>"), "{answer}");
    });
}

#[test]
fn items_expire() {
    bench(|mut b| {
        b.publish("juliet", "n", "1");
        b.options("n", &[("item_expire", "60")]);
        b.now += Duration::from_secs(30);
        b.publish("juliet", "n", "2");
        assert_eq!(b.ids("nurse", "n"), "1 2");
        b.now += Duration::from_secs(40);
        assert_eq!(b.ids("nurse", "n"), "2");
        assert_eq!(
            b.set("juliet", "<retract node='n'><item id='1'/></retract>"),
            "!item-not-found"
        );
        b.publish("juliet", "n", "3");
        let stored = items(b.tx, b.service.key, "n", usize::MAX).unwrap().unwrap();
        assert_eq!(stored.iter().map(|item| item.id.as_str()).collect::<Vec<_>>(), ["2", "3"]);
    });
}

#[test]
fn entities_subscribe() {
    bench(|mut b| {
        b.publish("juliet", "n", "1");
        let subscribe = |jid: &str| format!("<subscribe node='n' jid='{jid}'/>");
        let done = |state: &str| {
            format!(
                "<pubsub xmlns='http://jabber.org/protocol/pubsub'><subscription node='n' \
                 jid='nurse@x' subscription='{state}'/></pubsub>"
            )
        };
        assert_eq!(b.set("nurse", &subscribe("nurse@x")), done("subscribed"));
        // §6.1.7
        let told = b.told().join("");
        assert!(told.starts_with("nurse@x: <event><items node='n'><item id='1'>"), "{told}");
        assert!(
            told.contains("<delay xmlns='urn:xmpp:delay' from='juliet@x' stamp='1970-01-1"),
            "{told}"
        );
        // §6.1.6
        assert_eq!(b.set("nurse", &subscribe("nurse@x")), done("subscribed"));
        assert!(b.events.is_empty());
        for (who, request, expected) in [
            ("nurse", subscribe("romeo@x"), "!bad-request/invalid-jid"),
            ("nurse", subscribe("@"), "!bad-request/invalid-jid"),
            ("nurse", "<subscribe node='n'/>".to_owned(), "!bad-request/jid-required"),
            ("nurse", "<subscribe jid='nurse@x'/>".to_owned(), "!bad-request/nodeid-required"),
            ("nurse", subscribe("nurse@x").replace("'n'", "'m'"), "!item-not-found"),
            ("stranger", subscribe("stranger@x"), "!not-authorized/presence-subscription-required"),
            (
                "nurse",
                subscribe("nurse@x") + "<options/>",
                "!feature-not-implemented/unsupported subscription-options",
            ),
            // §6.2.3
            ("nurse", "<unsubscribe node='n' jid='romeo@x'/>".to_owned(), "!forbidden"),
            (
                "nurse",
                "<unsubscribe node='n' jid='nurse@x/other'/>".to_owned(),
                "!unexpected-request/not-subscribed",
            ),
            ("nurse", "<unsubscribe node='m' jid='nurse@x'/>".to_owned(), "!item-not-found"),
        ] {
            assert_eq!(b.set(who, &request), expected, "{request}");
        }
        // §5.6: all addresses of the asker.
        b.set("nurse", &subscribe("nurse@x/home"));
        let all = b.get("nurse", "<subscriptions/>");
        assert_eq!(all.matches("<subscription ").count(), 2, "{all}");
        assert_eq!(
            b.get("nurse", "<subscriptions node='m'/>").matches("<subscription ").count(),
            0
        );
        assert_eq!(b.get("romeo", "<subscriptions/>").matches("<subscription ").count(), 0);
        // §6.1.3.9
        b.set("romeo", &subscribe("romeo@x"));
        assert_eq!(
            b.set("romeo", &subscribe("romeo@x/2")),
            "!policy-violation/too-many-subscriptions"
        );
        let unsubscribe = "<unsubscribe node='n' jid='nurse@x' subid='ignored'/>";
        assert_eq!(b.set("nurse", unsubscribe), done("none"));
        // §6.1.3.10, but §12.12
        b.options("n", &[("subscribe", "0"), ("notify_sub", "1")]);
        assert_eq!(
            b.set("nurse", &subscribe("nurse@x")),
            "!feature-not-implemented/unsupported subscribe"
        );
        assert!(b.set("juliet", &subscribe("juliet@x")).starts_with("<pubsub"));
        assert!(
            b.told()[0].starts_with("juliet@x: <event><subscription node='n'"),
            "{:?}",
            b.told()
        );
    });
}

/// §6.1.4, §8.6, §8.7
#[test]
fn an_owner_approves_or_denies() {
    bench(|mut b| {
        b.publish("juliet", "n", "1");
        b.options("n", &[("access_model", "authorize")]);
        let subscribe = |name: &str| format!("<subscribe node='n' jid='{name}@x'/>");
        let answer = b.set("stranger", &subscribe("stranger"));
        assert!(answer.contains("subscription='pending'"), "{answer}");
        let form = b.told().join("");
        let told = "juliet@x: <body>stranger@x wants to subscribe to your node n.</body>";
        assert!(form.starts_with(told), "{form}");
        assert!(form.contains("<x xmlns='jabber:x:data' type='form'>"), "{form}");
        assert!(form.contains("var='pubsub#allow'") && form.contains("stranger@x"), "{form}");
        assert_eq!(
            b.set("stranger", &subscribe("stranger")),
            "!not-authorized/pending-subscription"
        );
        assert_eq!(b.ids("stranger", "n"), "!not-authorized/not-subscribed");
        assert!(!b.own_get("juliet", "<subscriptions node='n'/>").contains("stranger"));
        let again = pending(b.tx, &b.service, &asker("juliet"), "n").unwrap().unwrap();
        assert_eq!(again.len(), 1);
        assert!(pending(b.tx, &b.service, &asker("nurse"), "n").unwrap().is_err());

        let answer = |allow: &str, ty: &str| {
            let form = submitted(
                "subscribe_authorization",
                &[("node", "n"), ("subscriber_jid", "stranger@x"), ("allow", allow)],
            );
            let message = format!("<message>{}</message>", form.replace("submit", ty));
            let doc = Doc::of(message.as_bytes(), ns::CLIENT).unwrap();
            Request::approval(doc.root())
        };
        assert_eq!(answer("1", "cancel"), Some(Ok(None)));
        assert_eq!(answer("1", "form"), None);
        assert!(matches!(answer("maybe", "submit"), Some(Err(_))));
        let yes = answer("true", "submit").unwrap().unwrap().unwrap();
        assert_eq!(
            b.request(&asker("stranger"), &yes).map_err(|e| named(&e)),
            Err("!forbidden".to_owned())
        );
        b.request(&asker("juliet"), &yes).unwrap();
        let told = b.told();
        assert_eq!(
            told[0],
            "stranger@x: <event><subscription node='n' jid='stranger@x' \
             subscription='subscribed'/></event>"
        );
        assert!(
            told[1].starts_with("stranger@x: <event><items node='n'><item id='1'>"),
            "{told:?}"
        );
        assert_eq!(b.ids("stranger", "n"), "1");
        // The first answer counts.
        assert_eq!(
            b.request(&asker("juliet"), &yes).map_err(|e| named(&e)),
            Err("!item-not-found".to_owned())
        );

        b.set("nurse", &subscribe("nurse"));
        let jid = Jid::parse("nurse@x").unwrap();
        let no = Request::Approve { node: "n".to_owned(), jid, allow: false };
        b.request(&asker("juliet"), &no).unwrap();
        assert!(b.told()[0].contains("subscription='none'"), "{:?}", b.told());
        assert_eq!(b.ids("nurse", "n"), "!not-authorized/not-subscribed");
    });
}

/// Another access model holds for those who are there.
#[test]
fn an_access_model_takes_effect_on_subscribers() {
    bench(|mut b| {
        b.publish("juliet", "n", "1");
        b.options("n", &[("access_model", "open")]);
        b.set("stranger", "<subscribe node='n' jid='stranger@x'/>");
        b.options("n", &[("access_model", "whitelist")]);
        assert!(b.told()[0].starts_with("stranger@x: "), "{:?}", b.told());
        b.options("n", &[("access_model", "authorize")]);
        b.set("stranger", "<subscribe node='n' jid='stranger@x'/>");
        b.options("n", &[("access_model", "open")]);
        assert!(b.told()[0].contains("subscription='subscribed'"), "{:?}", b.told());
        b.set("nurse", "<subscribe node='n' jid='nurse@x'/>");
        // Only those stay who see the presence.
        b.options("n", &[("access_model", "presence")]);
        assert_eq!(b.told().len(), 1);
        assert!(b.told()[0].starts_with("stranger@x: "), "{:?}", b.told());
        b.publish("juliet", "n", "2");
        let To::Audience(audience) = &b.events[0].to else { panic!("{:?}", b.events) };
        assert_eq!(audience.subscribers.len(), 1);
        assert!(!audience.admits(&asker("stranger")) && audience.admits(&asker("nurse")));
    });
}

/// XEP-0163 §7.1
#[test]
fn whoever_loses_access_by_the_roster_is_no_longer_subscribed() {
    bench(|mut b| {
        b.publish("juliet", "n", "1");
        b.options("n", &[("access_model", "roster")]);
        b.set("romeo", "<subscribe node='n' jid='romeo@x'/>");
        let romeo = Jid::parse("romeo@x").unwrap();
        assert!(recheck(b.tx, &b.service, &romeo, b.now).unwrap().is_empty());
        assert_eq!(is_subscribed(b.tx, b.service.key, &romeo), Ok(true));
        b.friend("romeo@x", &["foes"]);
        assert_eq!(recheck(b.tx, &b.service, &romeo, b.now).unwrap().len(), 1);
        assert_eq!(is_subscribed(b.tx, b.service.key, &romeo), Ok(false));
        // The groups that a node lets in change as well.
        b.friend("romeo@x", &["lovers"]);
        b.set("romeo", "<subscribe node='n' jid='romeo@x'/>");
        b.options("n", &[("roster_groups_allowed", "foes")]);
        assert_eq!(is_subscribed(b.tx, b.service.key, &romeo), Ok(false));
    });
}
