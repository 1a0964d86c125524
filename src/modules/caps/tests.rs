//! What modules hear of the nodes that a session wants, and when.

use std::sync::Mutex;
use std::time::{Duration, SystemTime};

use super::super::api::Module;
use super::super::testing::{Server, client::Client};
use super::super::{Config, Pipeline, presence};
use super::{wanted_by, wants};
use crate::base::hash::{base64, sha1};
use crate::router::Origin;
use crate::router::registry::AccountEntry;
use crate::stanza::Stanza;

/// `who: before -> now`
static HEARD: Mutex<Vec<String>> = Mutex::new(Vec::new());

const LISTENER: Module = Module {
    name: "listener",
    wanted_changed: Some(|cx, before, now| {
        HEARD.lock().unwrap().push(format!("{}: {before:?} -> {now:?}", cx.jid()));
    }),
    ..Module::EMPTY
};
const MODULES: &[&Module] = &[&super::MODULE, &LISTENER, &presence::MODULE];

fn ver(features: &[&str]) -> String {
    let features: String = features.iter().map(|feature| format!("{feature}<")).collect();
    base64(&sha1(features.as_bytes()))
}

fn says(client: &mut Client, features: &[&str]) {
    let ns = "http://jabber.org/protocol/caps";
    let ver = ver(features);
    client
        .presence(&format!(
            "<presence><c xmlns='{ns}' hash='sha-1' node='n' ver='{ver}'/></presence>"
        ))
        .unwrap();
}

/// The question that the client is asked, and its answer to it.
async fn answers(client: &Client, features: &[&str]) {
    let outbox = &client.cx.client().unwrap().outbox;
    let find = async {
        loop {
            let batch = outbox.take(usize::MAX, usize::MAX).batch;
            let texts = batch.iter().map(|out| String::from_utf8(out.frame.to_vec()).unwrap());
            if let Some(question) = texts.into_iter().find(|text| text.starts_with("<iq")) {
                return Stanza::ours(question.into()).unwrap();
            }
            tokio::task::yield_now().await;
        }
    };
    let question = tokio::time::timeout(Duration::from_secs(10), find).await.unwrap();
    let features: String =
        features.iter().map(|feature| format!("<feature var='{feature}'/>")).collect();
    let id = question.id().unwrap();
    let answer = format!(
        "<iq type='result' id='{id}' to='{}'><query xmlns='http://jabber.org/protocol/disco#info'>\
         {features}</query></iq>",
        question.from()
    );
    let answer = client.stanza(&answer);
    client.cx.router.route(&answer, client.cx.now, &mut Origin::server());
    client.cx.router.tasks.drained().await;
}

fn heard() -> Vec<String> {
    std::mem::take(&mut *HEARD.lock().unwrap())
}

fn nodes(client: &Client) -> Vec<String> {
    let session = client.cx.session();
    let of = |entry: &mut AccountEntry| {
        let resource = entry.session_mut(session).unwrap();
        let nodes: Vec<String> = wanted_by(resource).iter().map(|node| node.to_string()).collect();
        assert!(nodes.iter().all(|node| wants(resource, node)) && !wants(resource, "other"));
        nodes
    };
    client.cx.own(of).unwrap()
}

#[tokio::test]
async fn modules_hear_of_what_a_session_wants_when_it_is_known() {
    let mut server = Server::with(&["a", "b"]).await;
    server.cx.server = Pipeline::build(MODULES, &Config::default(), SystemTime::UNIX_EPOCH);
    let mut a = server.connect("a@x/1").await;
    says(&mut a, &["x+notify", "y"]);
    assert!(heard().is_empty() && nodes(&a).is_empty(), "not known yet");
    answers(&a, &["x+notify", "y"]).await;
    assert_eq!(heard(), ["a@x/1: [] -> [\"x\"]"]);
    assert_eq!(nodes(&a), ["x"]);
    // At once, if others said the same: with initial presence, and with each further one of them.
    let mut b = server.connect("b@x/1").await;
    says(&mut b, &["x+notify", "y"]);
    assert_eq!(heard(), ["b@x/1: [] -> [\"x\"]"]);
    let same = |client: &Client| {
        let session = client.cx.session();
        let first =
            |entry: &mut AccountEntry| wanted_by(entry.session_mut(session).unwrap()).as_ptr();
        client.cx.own(first).unwrap()
    };
    assert_eq!(same(&a), same(&b), "held once");
    says(&mut b, &["x+notify", "y"]);
    b.presence("<presence><show>away</show></presence>").unwrap();
    assert!(heard().is_empty());
    assert_eq!(nodes(&b), ["x"]);
    b.presence("<presence type='unavailable'/>").unwrap();
    assert!(nodes(&b).is_empty());
    says(&mut b, &["x+notify", "y"]);
    assert_eq!(heard(), ["b@x/1: [] -> [\"x\"]"]);
    // Case L9: other caps.
    says(&mut a, &["x+notify", "z+notify"]);
    assert_eq!(nodes(&a), ["x"], "until the new ones are known");
    answers(&a, &["x+notify", "z+notify"]).await;
    assert_eq!(heard(), ["a@x/1: [\"x\"] -> [\"x\", \"z\"]"]);
    // An answer that is not that of the hash: for this session.
    says(&mut a, &["w+notify"]);
    answers(&a, &["v+notify"]).await;
    assert_eq!(heard(), ["a@x/1: [\"x\", \"z\"] -> [\"v\"]"]);
    says(&mut b, &["w+notify"]);
    assert_eq!(nodes(&b), ["x"]);
    // A presence that is refused says nothing.
    answers(&b, &["w+notify"]).await;
    heard();
    let ns = "http://jabber.org/protocol/caps";
    let c = format!("<c xmlns='{ns}' hash='sha-1' node='n' ver='{}'/>", ver(&["x+notify", "y"]));
    b.presence(&format!("<presence><priority>x</priority>{c}</presence>")).unwrap_err();
    assert!(heard().is_empty());
    assert_eq!(nodes(&b), ["w"]);
}
