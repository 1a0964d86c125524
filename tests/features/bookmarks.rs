//! XEP-0402: PEP Native Bookmarks, with clients that know other forms of them (XEP-0048, XEP-0049, XEP-0411).

use crate::harness::client::{Client, Outcome};
use crate::harness::element::Element;
use crate::harness::interest::interested;
use crate::harness::nodes::{
    PUBSUB, has_feature, hears, items, news, publish, published, retracted, succeeded,
};
use crate::harness::process::Lab;

const BOOKMARKS: &str = "urn:xmpp:bookmarks:1";
const STORAGE: &str = "storage:bookmarks";
const PRIVATE: &str = "jabber:iq:private";

fn item(room: &str, inner: &str) -> String {
    format!("<item id='{room}'><conference xmlns='{BOOKMARKS}' {inner}</conference></item>")
}

/// The list in private XML.
async fn list(client: &mut Client) -> Outcome<Vec<Element>> {
    let get = format!(
        "<iq type='get' id='g'><query xmlns='{PRIVATE}'><storage xmlns='{STORAGE}'/></query></iq>"
    );
    let answer = client.ask(&get).await?;
    let storage = answer.child(PRIVATE, "query").and_then(|query| query.child(STORAGE, "storage"));
    storage.map(|storage| storage.children.clone()).map_or_else(|| client.fail("no list"), Ok)
}

/// Replaces it.
async fn set_list(client: &mut Client, inner: &str) -> Outcome<Element> {
    let storage = format!("<storage xmlns='{STORAGE}'>{inner}</storage>");
    client
        .ask(&format!("<iq type='set' id='s'><query xmlns='{PRIVATE}'>{storage}</query></iq>"))
        .await
}

/// Room, name, autojoin, nick and password of each.
fn rooms(list: &[Element]) -> Vec<String> {
    let rooms = list.iter().filter(|one| one.name == "conference").map(|one| {
        let attr = |name| one.attr(name).unwrap_or("-").to_owned();
        let text = |name| one.text_of(name).unwrap_or("-").to_owned();
        [attr("jid"), attr("name"), attr("autojoin"), text("nick"), text("password")].join(" ")
    });
    rooms.collect()
}

/// XEP-0402 §5.3.1: an item is in the list, wherever that is asked for; whoever has an interest in the other node
/// hears of it.
#[tokio::test]
async fn what_is_published_as_an_item_is_in_the_list() -> Outcome<()> {
    let lab = Lab::new(&["alice"], &[]);
    let mut new = interested(&lab, "alice", "new", &[BOOKMARKS]).await?;
    let mut old = interested(&lab, "alice", "old", &[STORAGE]).await?;
    for feature in [
        "urn:xmpp:bookmarks:1#compat",
        "urn:xmpp:bookmarks:1#compat-pep",
        "urn:xmpp:bookmarks-conversion:0",
    ] {
        assert!(has_feature(&mut new, feature).await?, "{feature}");
    }
    assert_eq!(list(&mut old).await?, []);
    let inner = "name='Play' autojoin='1'><nick>JC</nick><password>p</password><extensions><x xmlns='u' y='z'/></extensions>";
    published(&mut new, BOOKMARKS, &item("play@rooms.x", inner)).await?;
    let (id, heard) = hears(&mut old, STORAGE).await?;
    assert_eq!(id, "current");
    assert_eq!(rooms(&heard.children), ["play@rooms.x Play true JC p"]);
    let listed = list(&mut old).await?;
    assert_eq!(rooms(&listed), ["play@rooms.x Play true JC p"]);
    assert_eq!(listed[0].child("u", "x").and_then(|x| x.attr("y")), Some("z"), "{listed:?}");
    let in_node = items(&mut old, "alice@localhost", STORAGE).await?;
    assert_eq!(rooms(&in_node[0].1.children), rooms(&listed));
    published(&mut new, BOOKMARKS, &item("garden@rooms.x", ">")).await?;
    retracted(&mut new, BOOKMARKS, "play@rooms.x").await?;
    assert_eq!(rooms(&list(&mut old).await?), ["garden@rooms.x - false - -"]);
    Ok(())
}

/// XEP-0402 §5.3.2: a list that is set changes the items, and whoever has an interest in them hears only of those
/// that changed.
#[tokio::test]
async fn a_list_that_is_set_is_published_as_items() -> Outcome<()> {
    let lab = Lab::new(&["alice"], &[]);
    let mut new = interested(&lab, "alice", "new", &[BOOKMARKS]).await?;
    let mut old = interested(&lab, "alice", "old", &[STORAGE]).await?;
    let kept = "autojoin='true'><extensions><x xmlns='u'/></extensions>";
    published(&mut new, BOOKMARKS, &item("kept@rooms.x", kept)).await?;
    published(&mut new, BOOKMARKS, &item("gone@rooms.x", ">")).await?;
    for client in [&mut new, &mut old] {
        client.fence().await?;
        client.forget();
    }
    let web = "<url name='W' url='http://x/'/>";
    let set = format!(
        "<conference jid='kept@rooms.x' autojoin='1'/>{web}<conference jid='New@rooms.x' name='N'><nick>A</nick></conference>"
    );
    succeeded(&set_list(&mut old, &set).await?);
    assert_eq!(news(&mut new, BOOKMARKS).await?, ["-gone@rooms.x", "new@rooms.x"]);
    let found = items(&mut new, "alice@localhost", BOOKMARKS).await?;
    let ids: Vec<_> = found.iter().map(|(id, _)| id.as_str()).collect();
    assert_eq!(ids, ["kept@rooms.x", "new@rooms.x"]);
    assert!(found[0].1.find("x").is_some(), "{found:?}");
    assert_eq!(found[1].1.attr("name"), Some("N"));
    // XEP-0048 §2.2: a web page is in the list alone, and stays there.
    published(&mut new, BOOKMARKS, &item("third@rooms.x", ">")).await?;
    let listed = list(&mut old).await?;
    assert_eq!(rooms(&listed).len(), 3);
    assert!(listed.iter().any(|one| one.attr("url") == Some("http://x/")), "{listed:?}");
    // XEP-0411: the same through the node.
    let storage = format!(
        "<item id='current'><storage xmlns='{STORAGE}'><conference jid='kept@rooms.x'/></storage></item>"
    );
    published(&mut old, STORAGE, &storage).await?;
    let found = items(&mut new, "alice@localhost", BOOKMARKS).await?;
    assert_eq!(found.iter().map(|(id, _)| id.as_str()).collect::<Vec<_>>(), ["kept@rooms.x"]);
    assert_eq!(rooms(&list(&mut old).await?), ["kept@rooms.x - - - -"]);
    Ok(())
}

/// XEP-0411 §5: what others may read is not filled from what is private.
#[tokio::test]
async fn an_open_node_gets_no_bookmarks() -> Outcome<()> {
    let lab = Lab::new(&["alice", "bob"], &[]);
    let mut alice = interested(&lab, "alice", "a", &[]).await?;
    let create = format!(
        "<create node='{STORAGE}'/><configure><x xmlns='jabber:x:data' type='submit'><field var='FORM_TYPE' \
         type='hidden'><value>{PUBSUB}#node_config</value></field><field var='pubsub#access_model'><value>open</value>\
         </field></x></configure>"
    );
    succeeded(
        &alice
            .ask(&format!("<iq type='set' id='c'><pubsub xmlns='{PUBSUB}'>{create}</pubsub></iq>"))
            .await?,
    );
    published(&mut alice, BOOKMARKS, &item("secret@rooms.x", ">")).await?;
    let mut bob = lab.online("bob", "b").await?;
    assert_eq!(items(&mut bob, "alice@localhost", STORAGE).await?, []);
    assert_eq!(items(&mut bob, "alice@localhost", BOOKMARKS).await?, []);
    // Nor is a list put there.
    let refused = set_list(&mut alice, "<conference jid='b@rooms.x'/>").await?;
    assert_eq!(refused.condition(), Some("conflict"), "{refused}");
    let options = "<publish-options><x xmlns='jabber:x:data' type='submit'><field var='FORM_TYPE' type='hidden'>\
        <value>http://jabber.org/protocol/pubsub#publish-options</value></field><field var='pubsub#access_model'>\
        <value>whitelist</value></field></x></publish-options>";
    succeeded(&publish(&mut alice, BOOKMARKS, &item("more@rooms.x", ">"), options).await?);
    Ok(())
}
