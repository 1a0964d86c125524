//! XEP-0163 on XEP-0060: what an account publishes, who reads it, and who hears of it.

use crate::harness::client::{Client, Outcome};
use crate::harness::element::Element;
use crate::harness::interest::{Interest, befriend, interested};
use crate::harness::process::Lab;

const PUBSUB: &str = "http://jabber.org/protocol/pubsub";
const OWNER: &str = "http://jabber.org/protocol/pubsub#owner";
const EVENT: &str = "http://jabber.org/protocol/pubsub#event";
const ERRORS: &str = "http://jabber.org/protocol/pubsub#errors";
const TUNE: &str = "http://jabber.org/protocol/tune";
const DEVICES: &str = "eu.siacs.conversations.axolotl.devicelist";

fn item(id: &str, text: &str) -> String {
    format!("<item id='{id}'><x xmlns='urn:x'>{text}</x></item>")
}

/// `<publish-options/>` with these fields.
fn options(fields: &[(&str, &str)]) -> String {
    let fields = fields
        .iter()
        .map(|(var, value)| format!("<field var='pubsub#{var}'><value>{value}</value></field>"));
    let form_type = "http://jabber.org/protocol/pubsub#publish-options";
    format!(
        "<publish-options><x xmlns='jabber:x:data' type='submit'><field var='FORM_TYPE' \
         type='hidden'><value>{form_type}</value></field>{}</x></publish-options>",
        fields.collect::<String>()
    )
}

async fn publish(client: &mut Client, node: &str, item: &str, options: &str) -> Outcome<Element> {
    let publish = format!("<publish node='{node}'>{item}</publish>{options}");
    client
        .ask(&format!("<iq type='set' id='p'><pubsub xmlns='{PUBSUB}'>{publish}</pubsub></iq>"))
        .await
}

async fn published(client: &mut Client, node: &str, item: &str) -> Outcome<()> {
    let answer = publish(client, node, item, "").await?;
    assert_eq!(answer.attr("type"), Some("result"), "{answer}");
    Ok(())
}

/// Retrieves the items of a node; what came, or the error's condition and its application condition.
async fn items(client: &mut Client, of: &str, node: &str) -> Outcome<Result<Vec<String>, String>> {
    let get = format!(
        "<iq type='get' id='i' to='{of}'><pubsub xmlns='{PUBSUB}'><items node='{node}'/></pubsub></iq>"
    );
    let answer = client.ask(&get).await?;
    Ok(match answer.attr("type") {
        Some("result") => {
            let items = answer.find("items").map(|items| items.children.iter());
            let ids = items.into_iter().flatten().filter_map(|item| item.attr("id"));
            Ok(ids.map(str::to_owned).collect())
        }
        _ => Err(error(&answer)),
    })
}

/// `condition` or `condition application`.
fn error(answer: &Element) -> String {
    let condition = answer.condition().unwrap_or_default().to_owned();
    let error = answer.find("error");
    let more = error.and_then(|error| error.children.iter().find(|child| child.ns == ERRORS));
    more.map_or(condition.clone(), |more| format!("{condition} {}", more.name))
}

/// The ids of items in notifications of this node that came from `from` by now.
async fn heard(client: &mut Client, from: &str, node: &str) -> Outcome<Vec<String>> {
    client.fence().await?;
    Ok(of_events(&client.take(), from, node))
}

fn of_events(came: &[Element], from: &str, node: &str) -> Vec<String> {
    let events = came.iter().filter(|e| e.name == "message" && e.attr("from") == Some(from));
    let items = events.filter_map(|e| e.child(EVENT, "event")?.child(EVENT, "items"));
    let items = items.filter(|items| items.attr("node") == Some(node));
    let ids = items.flat_map(|items| items.children.iter().filter_map(|item| item.attr("id")));
    ids.map(str::to_owned).collect()
}

async fn hears(client: &mut Client, node: &str, id: &str) -> Outcome<Element> {
    client
        .expect(|e| {
            let items = e.child(EVENT, "event").and_then(|event| event.child(EVENT, "items"));
            items.is_some_and(|items| {
                items.attr("node") == Some(node)
                    && items.children.iter().any(|item| item.attr("id") == Some(id))
            })
        })
        .await
}

/// The server knows what this client wants: it hears of its own. Nothing is left of it.
async fn knows(client: &mut Client, node: &str) -> Outcome<()> {
    let own = client.jid.split('/').next().unwrap_or_default().to_owned();
    loop {
        published(client, node, &item("known", "x")).await?;
        client.fence().await?;
        if !of_events(&client.take(), &own, node).is_empty() {
            break;
        }
    }
    let delete = format!(
        "<iq type='set' id='k'><pubsub xmlns='{OWNER}'><delete node='{node}'/></pubsub></iq>"
    );
    assert_eq!(client.ask(&delete).await?.attr("type"), Some("result"));
    client.forget();
    Ok(())
}

/// §4.3: contacts and own devices that want to hear of the node, each once; nobody else.
#[tokio::test]
async fn who_wants_to_hear_hears() -> Outcome<()> {
    let lab = Lab::new(&["alice", "bob", "carol", "dave"], &[]);
    let mut alice = lab.online("alice", "a").await?;
    let mut other = interested(&lab, "alice", "b", &[TUNE]).await?;
    let mut bob = interested(&lab, "bob", "b", &[TUNE]).await?;
    let mut deaf = lab.online("bob", "deaf").await?;
    let mut carol = interested(&lab, "carol", "c", &[DEVICES]).await?;
    let mut stranger = interested(&lab, "dave", "d", &[TUNE]).await?;
    befriend(&mut alice, &mut bob).await?;
    befriend(&mut alice, &mut carol).await?;
    for client in [&mut other, &mut bob, &mut stranger] {
        knows(client, TUNE).await?;
    }
    for client in [&mut alice, &mut other, &mut bob, &mut deaf, &mut carol, &mut stranger] {
        client.fence().await?;
        client.forget();
    }
    published(&mut alice, TUNE, &item("1", "a")).await?;
    let event = hears(&mut bob, TUNE, "1").await?;
    assert_eq!(event.attr("from"), Some("alice@localhost"), "{event}");
    assert_eq!(event.attr("to"), Some(&*bob.jid), "{event}");
    assert_eq!(event.attr("type"), Some("headline"), "{event}");
    hears(&mut other, TUNE, "1").await?;
    for client in [&mut alice, &mut other, &mut bob, &mut deaf, &mut carol, &mut stranger] {
        assert_eq!(heard(client, "alice@localhost", TUNE).await?, [""; 0], "{}", client.jid);
    }
    Ok(())
}

/// §4.3.3 rule 2, §4.3.4: with its first presence a resource hears the last item, its own account's and its
/// contacts'; with later presence it does not. Case L9: it does as soon as its hash says that it wants more.
#[tokio::test]
async fn the_last_item_comes_with_the_first_presence() -> Outcome<()> {
    let lab = Lab::new(&["alice", "bob"], &[]);
    let mut alice = lab.online("alice", "a").await?;
    let mut bob = lab.online("bob", "old").await?;
    befriend(&mut alice, &mut bob).await?;
    published(&mut alice, TUNE, &item("1", "a")).await?;
    published(&mut alice, TUNE, &item("2", "b")).await?;
    published(&mut alice, DEVICES, &item("current", "c")).await?;
    // Nobody has to be online to be heard of.
    alice.close().await?;
    let mut bob = interested(&lab, "bob", "b", &[TUNE]).await?;
    let last = hears(&mut bob, TUNE, "2").await?;
    assert!(last.child("urn:xmpp:delay", "delay").is_some(), "{last}");
    bob.presence(&[TUNE], "<show>away</show>").await?;
    assert_eq!(heard(&mut bob, "alice@localhost", TUNE).await?, [""; 0]);
    bob.presence(&[TUNE, DEVICES], "").await?;
    hears(&mut bob, DEVICES, "current").await?;
    assert_eq!(heard(&mut bob, "alice@localhost", TUNE).await?, [""; 0]);
    let mut own = interested(&lab, "alice", "new", &[TUNE, DEVICES]).await?;
    hears(&mut own, TUNE, "2").await?;
    hears(&mut own, DEVICES, "current").await?;
    Ok(())
}

/// XEP-0060 §9.1: whoever is let see the presence is subscribed.
#[tokio::test]
async fn a_new_subscriber_hears_the_last_item() -> Outcome<()> {
    let lab = Lab::new(&["alice", "bob"], &[]);
    let mut alice = lab.online("alice", "a").await?;
    let mut bob = interested(&lab, "bob", "b", &[TUNE]).await?;
    published(&mut alice, TUNE, &item("1", "a")).await?;
    assert_eq!(heard(&mut bob, "alice@localhost", TUNE).await?, [""; 0]);
    bob.send("<presence type='subscribe' to='alice@localhost'/>").await?;
    alice.expect(|e| e.attr("type") == Some("subscribe")).await?;
    alice.send("<presence type='subscribed' to='bob@localhost'/>").await?;
    hears(&mut bob, TUNE, "1").await?;
    Ok(())
}

/// XEP-0060 §4.5 over accounts: who reads what, and that nobody's nodes and no node look alike.
#[tokio::test]
async fn each_access_model_lets_in_whom_it_names() -> Outcome<()> {
    let lab = Lab::new(&["alice", "bob", "carol", "dave"], &[]);
    let mut alice = lab.online("alice", "a").await?;
    let mut bob = lab.online("bob", "b").await?;
    let mut carol = lab.online("carol", "c").await?;
    let mut dave = lab.online("dave", "d").await?;
    befriend(&mut alice, &mut bob).await?;
    befriend(&mut alice, &mut carol).await?;
    let group = "<item jid='carol@localhost'><group>band</group></item>";
    let set = format!("<iq type='set' id='g'><query xmlns='jabber:iq:roster'>{group}</query></iq>");
    assert_eq!(alice.ask(&set).await?.attr("type"), Some("result"));
    for (node, fields) in [
        ("open", &[("access_model", "open")][..]),
        ("presence", &[("access_model", "presence")]),
        ("roster", &[("access_model", "roster"), ("roster_groups_allowed", "band")]),
        ("whitelist", &[("access_model", "whitelist")]),
        ("authorize", &[("access_model", "authorize")]),
    ] {
        let answer = publish(&mut alice, node, &item("1", "a"), &options(fields)).await?;
        assert_eq!(answer.attr("type"), Some("result"), "{node}: {answer}");
    }
    let member = format!(
        "<iq type='set' id='w'><pubsub xmlns='{OWNER}'><affiliations node='whitelist'>\
         <affiliation jid='bob@localhost' affiliation='member'/></affiliations></pubsub></iq>"
    );
    assert_eq!(alice.ask(&member).await?.attr("type"), Some("result"));
    let presence = "not-authorized presence-subscription-required";
    let (closed, group) = ("not-allowed closed-node", "not-authorized not-in-roster-group");
    let waiting = "not-authorized not-subscribed";
    for (client, open, by_presence, by_group, by_list, by_owner) in [
        (&mut alice, "", "", "", "", ""),
        (&mut bob, "", "", group, "", waiting),
        (&mut carol, "", "", "", closed, waiting),
        (&mut dave, "", presence, group, closed, waiting),
    ] {
        for (node, wanted) in [
            ("open", open),
            ("presence", by_presence),
            ("roster", by_group),
            ("whitelist", by_list),
            ("authorize", by_owner),
        ] {
            let found = items(client, "alice@localhost", node).await?;
            let found = found.map(|ids| ids.join(" "));
            let wanted = if wanted.is_empty() { Ok("1") } else { Err(wanted) };
            assert_eq!(found.as_deref().map_err(String::as_str), wanted, "{}: {node}", client.jid);
        }
    }
    let none = items(&mut dave, "alice@localhost", "none").await?;
    assert_eq!(none, Err("item-not-found".to_owned()));
    assert_eq!(items(&mut dave, "nobody@localhost", "none").await?, none);
    Ok(())
}

/// Case L8, XEP-0060 §7.1.5: options are conditions for a node that exists, and its configuration if it does
/// not; OMEMO's nodes are open for strangers without any.
#[tokio::test]
async fn publish_options_are_preconditions() -> Outcome<()> {
    let lab = Lab::new(&["alice", "dave"], &[]);
    let mut alice = lab.online("alice", "a").await?;
    let mut dave = lab.online("dave", "d").await?;
    let open = options(&[("access_model", "open")]);
    published(&mut alice, "n", &item("1", "a")).await?;
    let refused = publish(&mut alice, "n", &item("2", "b"), &open).await?;
    assert_eq!(error(&refused), "conflict precondition-not-met", "{refused}");
    assert_eq!(items(&mut alice, "alice@localhost", "n").await?, Ok(vec!["1".to_owned()]));
    let answer = publish(&mut alice, "m", &item("1", "a"), &open).await?;
    assert_eq!(answer.attr("type"), Some("result"), "{answer}");
    assert!(items(&mut dave, "alice@localhost", "m").await?.is_ok());
    for node in [DEVICES, "eu.siacs.conversations.axolotl.bundles:1", "urn:xmpp:omemo:2:bundles"] {
        published(&mut alice, node, &item("current", "k")).await?;
        assert!(items(&mut dave, "alice@localhost", node).await?.is_ok(), "{node}");
    }
    for node in ["urn:xmpp:bookmarks:1", "urn:xmpp:mds:displayed:0"] {
        published(&mut alice, node, &item("a@b", "k")).await?;
        published(&mut alice, node, &item("c@d", "k")).await?;
        let mut all = items(&mut alice, "alice@localhost", node).await?.unwrap_or_default();
        all.sort();
        assert_eq!(all, ["a@b", "c@d"], "{node}");
        assert!(items(&mut dave, "alice@localhost", node).await?.is_err(), "{node}");
    }
    Ok(())
}

/// Nobody writes to another's nodes, and what is refused leaves nothing.
#[tokio::test]
async fn others_write_nothing() -> Outcome<()> {
    let lab = Lab::new(&["alice", "bob"], &[]);
    let mut alice = lab.online("alice", "a").await?;
    let mut bob = lab.online("bob", "b").await?;
    befriend(&mut alice, &mut bob).await?;
    published(&mut alice, "n", &item("1", "a")).await?;
    for (what, ns) in [
        ("<publish node='n'><item id='2'><x xmlns='u'/></item></publish>", PUBSUB),
        ("<publish node='new'><item id='2'><x xmlns='u'/></item></publish>", PUBSUB),
        ("<create node='new'/>", PUBSUB),
        ("<retract node='n'><item id='1'/></retract>", PUBSUB),
        ("<delete node='n'/>", OWNER),
        ("<purge node='n'/>", OWNER),
    ] {
        let set = format!(
            "<iq type='set' id='w' to='alice@localhost'><pubsub xmlns='{ns}'>{what}</pubsub></iq>"
        );
        let answer = bob.ask(&set).await?;
        assert_eq!(answer.attr("type"), Some("error"), "{what}: {answer}");
        let forbidden = answer.condition();
        assert!(matches!(forbidden, Some("forbidden" | "item-not-found")), "{what}: {answer}");
    }
    assert_eq!(items(&mut alice, "alice@localhost", "n").await?, Ok(vec!["1".to_owned()]));
    assert_eq!(
        items(&mut alice, "alice@localhost", "new").await?,
        Err("item-not-found".to_owned())
    );
    Ok(())
}

/// §4.3.3 rule 3: nothing goes to, or comes from, whom the account has blocked.
#[tokio::test]
async fn the_blocked_hear_and_read_nothing() -> Outcome<()> {
    let lab = Lab::new(&["alice", "bob"], &[]);
    let mut alice = lab.online("alice", "a").await?;
    let mut bob = interested(&lab, "bob", "b", &[TUNE]).await?;
    befriend(&mut alice, &mut bob).await?;
    published(&mut alice, DEVICES, &item("1", "a")).await?;
    knows(&mut bob, TUNE).await?;
    let block = "<iq type='set' id='b'><block xmlns='urn:xmpp:blocking'><item jid='bob@localhost'/></block></iq>";
    assert_eq!(alice.ask(block).await?.attr("type"), Some("result"));
    published(&mut alice, TUNE, &item("1", "a")).await?;
    assert_eq!(heard(&mut bob, "alice@localhost", TUNE).await?, [""; 0]);
    assert!(items(&mut bob, "alice@localhost", DEVICES).await?.is_err());
    let mut bob = interested(&lab, "bob", "c", &[TUNE, DEVICES]).await?;
    assert_eq!(heard(&mut bob, "alice@localhost", TUNE).await?, [""; 0]);
    Ok(())
}

/// Events of two devices that publish at once reach all in one order, that of the commits.
#[tokio::test]
async fn all_hear_in_the_order_of_the_commits() -> Outcome<()> {
    let lab = Lab::new(&["alice", "bob"], &[]);
    let mut one = interested(&lab, "alice", "1", &[TUNE]).await?;
    let mut two = interested(&lab, "alice", "2", &[TUNE]).await?;
    let mut bob = interested(&lab, "bob", "b", &[TUNE]).await?;
    befriend(&mut one, &mut bob).await?;
    knows(&mut bob, TUNE).await?;
    for client in [&mut one, &mut two] {
        knows(client, TUNE).await?;
    }
    for client in [&mut one, &mut two, &mut bob] {
        client.fence().await?;
        client.forget();
    }
    for round in 0..20 {
        for (client, name) in [(&mut one, "a"), (&mut two, "b")] {
            let item = item(&format!("{name}{round}"), "x");
            let publish = format!("<publish node='{TUNE}'>{item}</publish>");
            let set = format!(
                "<iq type='set' id='{name}{round}'><pubsub xmlns='{PUBSUB}'>{publish}</pubsub></iq>"
            );
            client.send(&set).await?;
        }
    }
    let mut orders = Vec::new();
    for client in [&mut one, &mut two, &mut bob] {
        let mut order = Vec::new();
        while order.len() < 40 {
            let event = client.expect(|e| e.child(EVENT, "event").is_some()).await?;
            order.extend(of_events(&[event], "alice@localhost", TUNE));
        }
        orders.push(order);
    }
    assert_eq!(orders[0], orders[1]);
    assert_eq!(orders[0], orders[2]);
    let last = items(&mut one, "alice@localhost", TUNE).await?;
    assert_eq!(last, Ok(orders[0].last().cloned().into_iter().collect()));
    Ok(())
}

/// XEP-0060 §8.6: an owner who was away is asked, and answers in a message to itself.
#[tokio::test]
async fn an_owner_approves_who_wants_to_subscribe() -> Outcome<()> {
    let lab = Lab::new(&["alice", "bob"], &[]);
    let mut alice = lab.online("alice", "a").await?;
    let mut bob = lab.online("bob", "b").await?;
    let authorize = options(&[("access_model", "authorize")]);
    publish(&mut alice, TUNE, &item("1", "x"), &authorize).await?;
    alice.send("<presence type='unavailable'/>").await?;
    alice.fence().await?;
    let subscribe = format!(
        "<iq type='set' id='s' to='alice@localhost'><pubsub xmlns='{PUBSUB}'>\
         <subscribe node='{TUNE}' jid='bob@localhost'/></pubsub></iq>"
    );
    let answer = bob.ask(&subscribe).await?;
    assert!(answer.to_string().contains("pending"), "{answer}");
    alice.send("<presence/>").await?;
    let is_form = |e: &Element| e.child("jabber:x:data", "x").is_some();
    let asked = alice.expect(is_form).await?;
    assert!(asked.find("body").is_some() && asked.attr("type") != Some("headline"), "{asked}");
    // Another's word is no answer.
    let answer = |to: &str| {
        let field =
            |var: &str, value: &str| format!("<field var='{var}'><value>{value}</value></field>");
        let form_type = field("FORM_TYPE", &format!("{PUBSUB}#subscribe_authorization"));
        let rest = field("pubsub#node", TUNE)
            + &field("pubsub#subscriber_jid", "bob@localhost")
            + &field("pubsub#allow", "true");
        format!(
            "<message to='{to}'><x xmlns='jabber:x:data' type='submit'>{form_type}{rest}</x></message>"
        )
    };
    bob.send(&answer("alice@localhost")).await?;
    alice.expect(is_form).await?;
    let pending = items(&mut bob, "alice@localhost", TUNE).await?;
    assert_eq!(pending, Err("not-authorized not-subscribed".to_owned()));
    alice.send(&answer("alice@localhost")).await?;
    bob.expect(|e| e.to_string().contains("subscription='subscribed'")).await?;
    let got = items(&mut bob, "alice@localhost", TUNE).await?;
    assert_eq!(got, Ok(vec!["1".to_owned()]));
    Ok(())
}

/// XEP-0163 §7.1: whoever is taken out of the roster is subscribed no longer.
#[tokio::test]
async fn a_subscription_ends_with_the_access() -> Outcome<()> {
    let lab = Lab::new(&["alice", "bob"], &[]);
    let mut alice = lab.online("alice", "a").await?;
    let mut bob = lab.online("bob", "b").await?;
    befriend(&mut alice, &mut bob).await?;
    published(&mut alice, TUNE, &item("1", "x")).await?;
    let subscribe = format!(
        "<iq type='set' id='s' to='alice@localhost'><pubsub xmlns='{PUBSUB}'>\
         <subscribe node='{TUNE}' jid='bob@localhost'/></pubsub></iq>"
    );
    assert_eq!(bob.ask(&subscribe).await?.attr("type"), Some("result"));
    let get = format!(
        "<iq type='get' id='l'><pubsub xmlns='{OWNER}'><subscriptions node='{TUNE}'/></pubsub></iq>"
    );
    let listed = alice.ask(&get).await?;
    assert!(listed.to_string().contains("bob@localhost"), "{listed}");
    alice.send("<presence type='unsubscribed' to='bob@localhost'/>").await?;
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(10);
    while alice.ask(&get).await?.to_string().contains("bob@localhost") {
        assert!(std::time::Instant::now() < deadline, "bob is subscribed still");
    }
    Ok(())
}

/// Case L9: what clients look for at login.
#[tokio::test]
async fn the_account_says_what_it_can() -> Outcome<()> {
    let lab = Lab::new(&["alice"], &[]);
    let mut alice = lab.online("alice", "a").await?;
    let info = "<query xmlns='http://jabber.org/protocol/disco#info'/>";
    for to in ["", " to='alice@localhost'"] {
        let answer = alice.ask(&format!("<iq type='get' id='d'{to}>{info}</iq>")).await?;
        let query = answer.find("query").ok_or("no query").unwrap();
        let is_pep =
            |e: &Element| e.attr("category") == Some("pubsub") && e.attr("type") == Some("pep");
        assert!(query.children.iter().any(is_pep), "{answer}");
        for feature in [
            "access-open",
            "access-presence",
            "access-roster",
            "access-whitelist",
            "auto-create",
            "auto-subscribe",
            "config-node",
            "config-node-max",
            "create-and-configure",
            "create-nodes",
            "delete-items",
            "delete-nodes",
            "filtered-notifications",
            "item-ids",
            "last-published",
            "multi-items",
            "persistent-items",
            "publish",
            "publish-options",
            "purge-nodes",
            "retract-items",
            "retrieve-items",
            "subscribe",
        ] {
            let var = format!("{PUBSUB}#{feature}");
            let has = |e: &Element| e.attr("var") == Some(&*var);
            assert!(query.children.iter().any(has), "{feature}: {answer}");
        }
    }
    Ok(())
}

/// promise.md: a result means that the item is on disk; a kill right behind it takes nothing.
#[tokio::test]
async fn a_published_item_survives_a_kill() -> Outcome<()> {
    let folder = tempfile::tempdir().unwrap();
    let mut lab = Lab::serve(folder.path(), &[], &["alice"]);
    let mut alice = lab.online("alice", "a").await?;
    for id in ["1", "2", "3"] {
        published(&mut alice, "urn:xmpp:bookmarks:1", &item(id, "x")).await?;
    }
    lab.process.kill();
    let lab = Lab::serve(folder.path(), &[], &[]);
    let mut alice = lab.online("alice", "a").await?;
    let mut all = items(&mut alice, "alice@localhost", "urn:xmpp:bookmarks:1").await?;
    all.iter_mut().for_each(|ids| ids.sort());
    assert_eq!(all, Ok(["1", "2", "3"].map(str::to_owned).to_vec()));
    Ok(())
}

/// What is published while a session hibernates (XEP-0198 §5) reaches it once, when it is back.
#[tokio::test]
async fn a_hibernating_session_hears_once() -> Outcome<()> {
    let lab = Lab::new(&["alice", "bob"], &[]);
    let mut alice = lab.online("alice", "a").await?;
    let (mut bob, id) = lab.managed("bob", "phone").await?;
    befriend(&mut alice, &mut bob).await?;
    bob.presence(&[TUNE], "").await?;
    knows(&mut bob, TUNE).await?;
    bob.fence().await?;
    let (handled, jid) = (bob.handled, bob.jid.clone());
    drop(bob);
    lab.sleeps(&jid);
    published(&mut alice, TUNE, &item("1", "a")).await?;
    let (mut bob, _) = lab.resumed("bob", &id, handled).await?;
    hears(&mut bob, TUNE, "1").await?;
    assert_eq!(heard(&mut bob, "alice@localhost", TUNE).await?, [""; 0]);
    Ok(())
}
