//! What the server itself asks.

use super::*;

#[test]
fn what_nodes_are_is_shown_to_whom_they_let_in() {
    bench(|mut b| {
        for node in ["open", "closed", "asks", "friends"] {
            b.publish("juliet", node, "1");
        }
        b.options("open", &[("access_model", "open"), ("title", "T")]);
        b.options("closed", &[("access_model", "whitelist")]);
        b.options("asks", &[("access_model", "authorize")]);
        let mut names = |who: &str| {
            let all = nodes(b.tx, &b.service, &asker(who)).unwrap();
            all.into_iter().map(|listed| listed.node).collect::<Vec<_>>().join(" ")
        };
        assert_eq!(names("juliet"), "asks closed friends open");
        assert_eq!(names("nurse"), "asks friends open");
        assert_eq!(names("stranger"), "asks open");
        let info = node_info(b.tx, &b.service, &asker("stranger"), "open").unwrap().unwrap();
        let info = String::from_utf8(info).unwrap();
        for field in [
            "<field var='pubsub#title' type='text-single'><value>T</value></field>",
            "<field type='jid-single' var='pubsub#creator'><value>juliet@x</value></field>",
            "var='pubsub#creation_date'><value>1970-01-12T",
            "var='pubsub#num_subscribers'><value>0</value>",
        ] {
            assert!(info.contains(field), "{field}: {info}");
        }
        let closed = node_info(b.tx, &b.service, &asker("nurse"), "closed").unwrap();
        assert_eq!(closed.map_err(|e| named(&e)), Err("!item-not-found".to_owned()));
        let ids = item_ids(b.tx, &b.service, &asker("nurse"), "open", b.now).unwrap();
        assert_eq!(ids, Ok(vec!["1".to_owned()]));
        let ids = item_ids(b.tx, &b.service, &asker("nurse"), "asks", b.now).unwrap();
        assert!(ids.is_err());
    });
}

#[test]
fn last_items_go_to_who_comes_online() {
    bench(|mut b| {
        for node in ["a", "b", "private", "c"] {
            b.publish("juliet", node, "1");
        }
        b.publish("juliet", "a", "2");
        b.options("b", &[("send_last_published_item", "on_sub")]);
        b.options("c", &[("deliver_notifications", "0")]);
        let wanted = ["a", "b", "private", "c", "none"];
        let events = last_items(b.tx, &b.service, &wanted, b.now).unwrap();
        assert_eq!(events.len(), 1);
        let content = std::str::from_utf8(&events[0].content).unwrap();
        assert!(content.contains("<item id='2'>") && content.contains("<delay "), "{content}");
        assert_eq!(nodes_on_presence(b.tx, b.service.key), Ok(vec!["a".to_owned()]));
        let newest = newest(b.tx, b.service.key, "private").unwrap().unwrap();
        assert_eq!((newest.id.as_str(), newest.payload), ("1", PAYLOAD.into()));
        assert!(item(b.tx, b.service.key, "a", "1").unwrap().is_some());
        assert!(item(b.tx, b.service.key, "a", "9").unwrap().is_none());
    });
}

#[test]
fn a_publisher_that_goes_offline_takes_its_items_along_where_the_node_says_so() {
    testing::tx(|tx| {
        let mut b = Bench::service(tx);
        for node in ["a", "b"] {
            b.publish("maker", node, "1");
        }
        let form = submitted("node_config", &[("purge_offline", "1")]);
        b.own_set("maker", &format!("<configure node='a'>{form}</configure>"));
        let events = gone_offline(b.tx, &b.service, &asker("maker")).unwrap();
        assert_eq!(events.len(), 1);
        assert_eq!((b.ids("maker", "a"), b.ids("maker", "b")), (String::new(), "1".to_owned()));
    });
}

#[test]
fn an_account_that_goes_takes_its_nodes_along() {
    testing::tx(|tx| {
        let mut b = Bench::pep(tx);
        b.publish("juliet", "n", "1");
        b.set("nurse", "<subscribe node='n' jid='nurse@x'/>");
        let other = testing::account(b.tx, "other");
        let Service { key, .. } = b.service;
        let weigh = |tx: &mut dyn Tx, account: crate::store::ids::AccountId| {
            let mut rows = 0;
            for sql in MODULE.weights {
                tx.query(sql, &[account.into()], &mut |row| {
                    rows += row.int(1)?;
                    Ok(())
                })
                .unwrap();
            }
            rows
        };
        let crate::store::ids::Owner::Account(account) = key.owner() else { panic!("{key:?}") };
        assert_eq!((weigh(b.tx, account), weigh(b.tx, other)), (1, 0));
        (MODULE.account_deleted.unwrap())(b.tx, account).unwrap();
        assert_eq!(weigh(b.tx, account), 0);
        for table in ["node", "item", "subscription"] {
            let sql = format!("SELECT COUNT(*) FROM pubsub_{table}");
            let count = crate::store::tx::query_one(b.tx, &sql, &[], |row| row.int(0));
            assert_eq!(count, Ok(0), "{table}");
        }
    });
}
