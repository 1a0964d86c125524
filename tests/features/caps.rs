//! XEP-0115 and XEP-0390: what the server asks clients for that say their capabilities, and whom.

use stonechat::base::hash::{base64, sha1, sha3_256, sha256};

use crate::harness::client::{Client, Outcome};
use crate::harness::element::Element;
use crate::harness::process::Lab;

const DISCO: &str = "http://jabber.org/protocol/disco#info";

/// A program that a client runs: what it is and can.
#[derive(Clone, Copy)]
struct Program(&'static [&'static str]);

const OLD: Program = Program(&["http://jabber.org/protocol/caps", "urn:example:news+notify"]);
const NEW: Program = Program(&["urn:example:more+notify", "urn:example:news+notify"]);

impl Program {
    /// XEP-0115 §5.1
    fn ver(self) -> String {
        let features: String = self.0.iter().map(|feature| format!("{feature}<")).collect();
        base64(&sha1(format!("client/pc//x<{features}").as_bytes()))
    }

    /// XEP-0390 §4.1
    fn text(self) -> String {
        let features: String = self.0.iter().map(|feature| format!("{feature}\u{1f}")).collect();
        format!("{features}\u{1c}client\u{1f}pc\u{1f}\u{1f}x\u{1f}\u{1e}\u{1c}\u{1c}")
    }

    fn node(self) -> String {
        format!("http://example.org#{}", self.ver())
    }

    fn info(self) -> String {
        let features = self.0.iter().map(|feature| format!("<feature var='{feature}'/>"));
        let features: String = features.collect();
        format!("<identity category='client' type='pc' name='x'/>{features}")
    }
}

async fn says(client: &mut Client, ver: &str) -> Outcome<()> {
    let c = format!(
        "<c xmlns='http://jabber.org/protocol/caps' hash='sha-1' node='http://example.org' ver='{ver}'/>"
    );
    client.send(&format!("<presence>{c}</presence>")).await
}

fn is_question(stanza: &Element) -> bool {
    stanza.name == "iq"
        && stanza.attr("type") == Some("get")
        && stanza.child(DISCO, "query").is_some()
}

/// What the server asks.
struct Question {
    id: String,
    from: String,
    node: Option<String>,
}

async fn asked(client: &mut Client) -> Outcome<Question> {
    let question = client.expect(is_question).await?;
    let to = question.attr("to").unwrap_or_default();
    assert_eq!(question.attr("from"), to.split('/').next(), "{question}");
    assert!(client.jid.is_empty() || to == client.jid, "{question}");
    let node = question.child(DISCO, "query").and_then(|query| query.attr("node"));
    Ok(Question {
        id: question.attr("id").unwrap_or_default().to_owned(),
        from: question.attr("from").unwrap_or_default().to_owned(),
        node: node.map(str::to_owned),
    })
}

/// Proves that nothing is asked for what was said: it says something new, and is asked for that first.
async fn not_asked(client: &mut Client) -> Outcome<()> {
    let ver = base64(&sha1(client.conversation().as_bytes()));
    says(client, &ver).await?;
    let question = asked(client).await?;
    assert_eq!(question.node, Some(format!("http://example.org#{ver}")));
    refuses(client, &question).await?;
    client.fence().await
}

async fn answers(client: &mut Client, question: &Question, info: &str) -> Outcome<()> {
    let Question { id, from, .. } = question;
    let query = format!("<query xmlns='{DISCO}'>{info}</query>");
    client.send(&format!("<iq type='result' id='{id}' to='{from}'>{query}</iq>")).await
}

async fn refuses(client: &mut Client, question: &Question) -> Outcome<()> {
    let Question { id, from, .. } = question;
    let error = "<error type='cancel'>\
        <item-not-found xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></error>";
    client.send(&format!("<iq type='error' id='{id}' to='{from}'>{error}</iq>")).await
}

/// The server knows the hash: somebody who says it is not asked.
async fn is_known(lab: &Lab, user: &str, ver: &str) -> Outcome<()> {
    let mut client = lab.login(user).await?;
    says(&mut client, ver).await?;
    not_asked(&mut client).await?;
    client.close().await
}

async fn is_unknown(lab: &Lab, user: &str, ver: &str) -> Outcome<()> {
    let mut client = lab.login(user).await?;
    says(&mut client, ver).await?;
    let question = asked(&mut client).await?;
    assert_eq!(question.node, Some(format!("http://example.org#{ver}")));
    client.close().await
}

/// XEP-0115 §6.2: the question; a hash that was verified is known for everybody, and the same presence
/// again asks nothing; another hash is asked for at once.
#[tokio::test]
async fn a_hash_is_asked_for_once() -> Outcome<()> {
    let lab = Lab::new(&["alice", "bob"], &[]);
    let mut alice = lab.login("alice").await?;
    says(&mut alice, &OLD.ver()).await?;
    let question = asked(&mut alice).await?;
    assert_eq!(question.node, Some(OLD.node()));
    answers(&mut alice, &question, &OLD.info()).await?;
    says(&mut alice, &OLD.ver()).await?;
    not_asked(&mut alice).await?;
    is_known(&lab, "bob", &OLD.ver()).await?;
    // Case L9.
    says(&mut alice, &NEW.ver()).await?;
    let question = asked(&mut alice).await?;
    assert_eq!(question.node, Some(NEW.node()));
    answers(&mut alice, &question, &NEW.info()).await?;
    not_asked(&mut alice).await?;
    is_known(&lab, "bob", &NEW.ver()).await?;
    // Nothing is said, nothing is asked.
    let mut bob = lab.login("bob").await?;
    bob.send("<presence/>").await?;
    not_asked(&mut bob).await
}

/// XEP-0390 §5.5: the strongest hash, at its node; what is known of the other XEP says nothing here.
#[tokio::test]
async fn the_new_way_goes_first() -> Outcome<()> {
    let lab = Lab::new(&["alice", "bob"], &[]);
    let mut alice = lab.login("alice").await?;
    let hash = |algo: &str, value: &[u8]| {
        let value = base64(value);
        format!("<hash xmlns='urn:xmpp:hashes:2' algo='{algo}'>{value}</hash>")
    };
    let text = OLD.text();
    let (sha_2, sha_3) = (sha256(text.as_bytes()), sha3_256(text.as_bytes()));
    let presence = format!(
        "<presence><c xmlns='http://jabber.org/protocol/caps' hash='sha-1' node='http://example.org' \
         ver='{}'/><c xmlns='urn:xmpp:caps'>{}{}</c></presence>",
        OLD.ver(),
        hash("sha-256", &sha_2),
        hash("sha3-256", &sha_3),
    );
    alice.send(&presence).await?;
    let question = asked(&mut alice).await?;
    assert_eq!(question.node, Some(format!("urn:xmpp:caps#sha3-256.{}", base64(&sha_3))));
    answers(&mut alice, &question, &OLD.info()).await?;
    not_asked(&mut alice).await?;
    let mut bob = lab.login("bob").await?;
    bob.send(&presence).await?;
    not_asked(&mut bob).await?;
    bob.close().await?;
    is_unknown(&lab, "bob", &OLD.ver()).await
}

/// XEP-0115 §5.4 rule 3.9, XEP-0390 §8.2: a wrong answer, one that is ill-formed, an error, an answer by
/// somebody else or under another id, and old caps without a hash teach nothing about others.
#[tokio::test]
async fn only_what_is_verified_is_shared() -> Outcome<()> {
    let lab = Lab::new(&["alice", "bob", "carol"], &[]);
    let mut carol = lab.login("carol").await?;
    let twice = format!("{}<feature var='urn:example:news+notify'/>", OLD.info());
    for wrong in [&*NEW.info(), &*twice, ""] {
        let mut alice = lab.login("alice").await?;
        says(&mut alice, &OLD.ver()).await?;
        let question = asked(&mut alice).await?;
        answers(&mut alice, &question, wrong).await?;
        // That session has said what it had to say, and is not asked again.
        says(&mut alice, &OLD.ver()).await?;
        not_asked(&mut alice).await?;
        is_unknown(&lab, "bob", &OLD.ver()).await?;
        alice.close().await?;
    }
    let mut alice = lab.login("alice").await?;
    says(&mut alice, &OLD.ver()).await?;
    let question = asked(&mut alice).await?;
    let id = &question.id;
    // None of these is the answer.
    let query = format!("<query xmlns='{DISCO}'>{}</query>", OLD.info());
    for to in ["alice@localhost", "localhost", &*alice.jid] {
        carol.send(&format!("<iq type='result' id='{id}' to='{to}'>{query}</iq>")).await?;
    }
    carol.fence().await?;
    for (id, to) in
        [(&*format!("{id}x"), "alice@localhost"), (id, "localhost"), (id, "carol@localhost")]
    {
        alice.send(&format!("<iq type='result' id='{id}' to='{to}'>{query}</iq>")).await?;
    }
    // Bob waits for alice's answer, and is asked himself when it is an error.
    let mut bob = lab.login("bob").await?;
    says(&mut bob, &OLD.ver()).await?;
    bob.fence().await?;
    assert!(!bob.take().iter().any(is_question));
    refuses(&mut alice, &question).await?;
    let question = asked(&mut bob).await?;
    answers(&mut bob, &question, &OLD.info()).await?;
    not_asked(&mut bob).await?;
    says(&mut alice, &OLD.ver()).await?;
    not_asked(&mut alice).await?;
    // Of old: asked without a node, and for this session alone.
    for client in [&mut alice, &mut bob] {
        client
            .send(
                "<presence><c xmlns='http://jabber.org/protocol/caps' node='http://example.org' \
                 ver='1.0' ext='a b'/></presence>",
            )
            .await?;
        let question = asked(client).await?;
        assert_eq!(question.node, None);
        answers(client, &question, &OLD.info()).await?;
    }
    Ok(())
}

/// Whoever leaves while it is asked holds up nobody.
#[tokio::test]
async fn another_is_asked_when_the_first_one_leaves() -> Outcome<()> {
    let lab = Lab::new(&["alice", "bob"], &[]);
    let mut alice = lab.login("alice").await?;
    says(&mut alice, &OLD.ver()).await?;
    asked(&mut alice).await?;
    let mut bob = lab.login("bob").await?;
    says(&mut bob, &OLD.ver()).await?;
    bob.fence().await?;
    assert!(!bob.take().iter().any(is_question));
    alice.close().await?;
    asked(&mut bob).await.map(drop)
}

/// A flood of hashes: one question at a time, a few at once, and then slowly.
#[tokio::test]
async fn a_flood_of_hashes_is_asked_for_slowly() -> Outcome<()> {
    let lab = Lab::new(&["alice", "bob"], &[]);
    let mut alice = lab.login("alice").await?;
    let mut questions = 0;
    for n in 0..40 {
        says(&mut alice, &base64(&sha1(format!("{n}").as_bytes()))).await?;
        alice.fence().await?;
        for stanza in alice.take().into_iter().filter(is_question) {
            questions += 1;
            let (id, from) = (stanza.attr("id"), stanza.attr("from"));
            let (id, from) =
                (id.unwrap_or_default().to_owned(), from.unwrap_or_default().to_owned());
            answers(&mut alice, &Question { id, from, node: None }, &OLD.info()).await?;
        }
    }
    assert!((1..=6).contains(&questions), "{questions}");
    // Others are not slowed by it.
    is_unknown(&lab, "bob", &OLD.ver()).await
}

/// promise.md 11: a session that lives on over a restart is not asked again for what it said before.
#[tokio::test]
async fn what_a_session_said_outlives_a_restart() -> Outcome<()> {
    let folder = tempfile::tempdir().unwrap();
    let mut lab = Lab::serve(folder.path(), &[], &["alice"]);
    let (mut alice, id) = lab.managed("alice", "a").await?;
    says(&mut alice, &OLD.ver()).await?;
    let question = asked(&mut alice).await?;
    answers(&mut alice, &question, &OLD.info()).await?;
    alice.fence().await?;
    let handled = alice.handled;
    lab.process.signal("TERM");
    assert_eq!(lab.process.exit().code(), Some(0), "{}", lab.process.log());
    let lab = Lab::serve(folder.path(), &[], &[]);
    let (mut alice, _) = lab.resumed("alice", &id, handled).await?;
    says(&mut alice, &OLD.ver()).await?;
    not_asked(&mut alice).await
}
