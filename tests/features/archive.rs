//! The archive (XEP-0313) as its owner sees it.

use crate::harness::client::Outcome;
use crate::harness::server::{Place, subject};

const NS: &str = "urn:xmpp:mam:2";
const RSM: &str = "http://jabber.org/protocol/rsm";

fn query(id: &str, content: &str) -> String {
    format!("<iq type='set' id='{id}'><query xmlns='{NS}'>{content}</query></iq>")
}

fn form(fields: &str) -> String {
    format!(
        "<x xmlns='jabber:x:data' type='submit'><field var='FORM_TYPE' type='hidden'>\
         <value>{NS}</value></field>{fields}</x>"
    )
}

#[tokio::test]
async fn an_account_says_that_it_has_an_archive_and_which_fields_a_query_may_have() -> Outcome<()> {
    let place = Place::with(&["romeo"]).await;
    let mut romeo = place.online("romeo").await;
    let info = "<query xmlns='http://jabber.org/protocol/disco#info'/>";
    let jid = place.jid("romeo");
    let answer = romeo.ask(&format!("<iq type='get' id='d' to='{jid}'>{info}</iq>")).await?;
    let query = answer.find("query").expect("the query");
    for feature in [NS, "urn:xmpp:mam:2#extended"] {
        assert!(query.children.iter().any(|f| f.attr("var") == Some(feature)), "{answer}");
    }
    // §4.1.5
    let answer = romeo.ask(&format!("<iq type='get' id='f'><query xmlns='{NS}'/></iq>")).await?;
    let form = answer.find("query").and_then(|query| query.child("jabber:x:data", "x"));
    let form = form.expect("the form");
    assert_eq!(form.attr("type"), Some("form"), "{answer}");
    for (ty, var) in [
        ("hidden", "FORM_TYPE"),
        ("jid-single", "with"),
        ("text-single", "start"),
        ("text-single", "end"),
        ("text-single", "before-id"),
        ("text-single", "after-id"),
        ("list-multi", "ids"),
    ] {
        let field = form.children.iter().find(|field| field.attr("var") == Some(var));
        let field = field.unwrap_or_else(|| panic!("no {var}: {answer}"));
        assert_eq!(field.attr("type"), Some(ty), "{answer}");
        assert!(field.child("jabber:x:data", "required").is_none(), "{answer}");
    }
    Ok(())
}

#[tokio::test]
async fn what_a_query_must_not_be_is_answered_in_the_specs_words() -> Outcome<()> {
    if subject().is_some() {
        return Ok(());
    }
    let place = Place::with(&["romeo"]).await;
    let mut romeo = place.online("romeo").await;
    let set = |inner: &str| format!("<set xmlns='{RSM}'>{inner}</set>");
    let field = |var: &str, value: &str| {
        form(&format!("<field var='{var}'><value>{value}</value></field>"))
    };
    for (content, condition) in [
        (set("<max>-1</max>"), "bad-request"),
        (set("<max>many</max>"), "bad-request"),
        (set("") + &set(""), "bad-request"),
        (set("<after>28482-98726-73623</after>"), "item-not-found"),
        (set("<before>AAAAAAAAAAAAAAAAAAAAAA</before>"), "item-not-found"),
        (field("before-id", "x"), "item-not-found"),
        (field("ids", "x"), "item-not-found"),
        (field("colour", "red"), "feature-not-implemented"),
        (field("start", "yesterday"), "not-acceptable"),
        (form("").replace(NS, "urn:xmpp:mam:0"), "bad-request"),
    ] {
        let answer = romeo.ask(&query("q", &content)).await?;
        assert_eq!(answer.condition(), Some(condition), "{content}: {answer}");
    }
    // The stream is none the worse for it.
    let answer = romeo.ask(&query("q", &set("<max>99999999999999999999</max>"))).await?;
    let fin = answer.child(NS, "fin").expect("the end");
    assert_eq!(fin.attr("complete"), Some("true"), "{answer}");
    assert!(fin.child(RSM, "set").is_some(), "{answer}");
    Ok(())
}

#[tokio::test]
async fn a_domain_without_archives_does_not_speak_of_them() -> Outcome<()> {
    if subject().is_some() {
        return Ok(());
    }
    for key in ["modules.mam.enabled", "host.0.archive"] {
        let place = Place::set(&["romeo"], &[(key, "false")]).await;
        let mut romeo = place.online("romeo").await;
        let answer = romeo.ask(&query("q", "")).await?;
        assert_eq!(answer.condition(), Some("service-unavailable"), "{answer}");
        let info = "<query xmlns='http://jabber.org/protocol/disco#info'/>";
        let answer = romeo.ask(&format!("<iq type='get' id='d'>{info}</iq>")).await?;
        let query = answer.find("query").expect("the query");
        let named = |f: &&crate::harness::element::Element| {
            f.attr("var").is_some_and(|var| var.starts_with(NS))
        };
        assert!(!query.children.iter().any(|f| named(&f)), "{answer}");
    }
    Ok(())
}
