//! Searching one's own archive (XEP-0431), as its owner sees it.

use crate::harness::client::{Client, Outcome};
use crate::harness::element::{CLIENT, Element, escape};
use crate::harness::server::{Options, PASSWORD, Place, Server, subject};

const NS: &str = "urn:xmpp:mam:2";
const RSM: &str = "http://jabber.org/protocol/rsm";
const FIELD: &str = "{urn:xmpp:fulltext:0}fulltext";
const NOTE: &str = "urn:x-stonechat:search:0";

fn chat(to: &str, body: &str) -> String {
    format!("<message to='{to}' type='chat'><body>{}</body></message>", escape(body))
}

fn form(fields: &[(&str, &str)]) -> String {
    let field = |(var, value): &(&str, &str)| {
        format!("<field var='{var}'><value>{}</value></field>", escape(value))
    };
    let fields: String = fields.iter().map(field).collect();
    format!(
        "<x xmlns='jabber:x:data' type='submit'><field var='FORM_TYPE' type='hidden'>\
         <value>{NS}</value></field>{fields}</x>"
    )
}

fn set(content: &str) -> String {
    format!("<set xmlns='{RSM}'>{content}</set>")
}

/// An answer: archive id and body of each message, and the end.
struct Answer {
    hits: Vec<(String, String)>,
    fin: Element,
}

impl Answer {
    fn bodies(&self) -> Vec<&str> {
        self.hits.iter().map(|(_, body)| body.as_str()).collect()
    }

    fn count(&self) -> Option<&str> {
        self.fin.child(RSM, "set").and_then(|set| set.text_of("count"))
    }

    fn encrypted(&self) -> Option<&str> {
        self.fin.child(NOTE, "unsearchable").and_then(|note| note.attr("encrypted"))
    }
}

async fn query(client: &mut Client, content: &str) -> Outcome<Answer> {
    let iq = format!("<iq type='set' id='s'><query xmlns='{NS}'>{content}</query></iq>");
    client.send(&iq).await?;
    let mut hits = Vec::new();
    loop {
        let next = client.expect(|e| e.name == "message" || e.attr("id") == Some("s")).await?;
        if next.name == "iq" {
            return match next.child(NS, "fin") {
                Some(fin) => Ok(Answer { hits, fin: fin.clone() }),
                None => client.fail(format!("no end: {next}")),
            };
        }
        let Some(result) = next.child(NS, "result") else { continue };
        let id = result.attr("id").unwrap_or_default().to_owned();
        let message = result.find("forwarded").and_then(|f| f.child(CLIENT, "message"));
        hits.push((id, message.and_then(|m| m.text_of("body")).unwrap_or("-").to_owned()));
    }
}

async fn search(client: &mut Client, text: &str) -> Outcome<Answer> {
    query(client, &form(&[(FIELD, text)])).await
}

#[tokio::test]
async fn an_account_says_that_it_can_be_searched_if_it_can() -> Outcome<()> {
    if subject().is_some() {
        return Ok(());
    }
    for (key, value) in [
        ("modules.search.enabled", "true"),
        ("modules.search.enabled", "false"),
        ("modules.mam.enabled", "false"),
    ] {
        let place = Place::set(&["romeo"], &[(key, value)]).await;
        let mut romeo = place.online("romeo").await;
        let info = "<query xmlns='http://jabber.org/protocol/disco#info'/>";
        let answer = romeo.ask(&format!("<iq type='get' id='d'>{info}</iq>")).await?;
        let shown = answer.find("query").expect("the query").children.iter();
        let shown = shown.filter(|f| f.attr("var") == Some("urn:xmpp:fulltext:0")).count();
        assert_eq!(shown == 1, value == "true", "{key}: {answer}");
        let answer =
            romeo.ask(&format!("<iq type='get' id='f'><query xmlns='{NS}'/></iq>")).await?;
        let form = answer.find("x").map(|x| x.children.as_slice()).unwrap_or_default();
        let field = form.iter().find(|field| field.attr("var") == Some(FIELD));
        let ty = field.and_then(|field| field.attr("type"));
        assert_eq!(ty, (value == "true").then_some("text-single"), "{key}: {answer}");
        let asked = form_of("x");
        let answer = romeo.ask(&asked).await?;
        let expected = match (key, value) {
            (_, "true") => None,
            ("modules.mam.enabled", _) => Some("service-unavailable"),
            _ => Some("feature-not-implemented"),
        };
        assert_eq!(answer.condition(), expected, "{key}: {answer}");
    }
    Ok(())
}

fn form_of(text: &str) -> String {
    format!("<iq type='set' id='q'><query xmlns='{NS}'>{}</query></iq>", form(&[(FIELD, text)]))
}

#[tokio::test]
async fn messages_are_found_by_their_words_as_soon_as_they_are_sent() -> Outcome<()> {
    if subject().is_some() {
        return Ok(());
    }
    let place = Place::with(&["romeo", "juliet"]).await;
    let mut romeo = place.online("romeo").await;
    let j = place.jid("juliet");
    let said = [
        "Wherefore art thou, Romeo?",
        "my résumé <of> things",
        "我在北京大学",
        "안녕하세요 Juliet",
        "北京 and 京大, thou",
        "Tokyo東京タワー THOU",
    ];
    for body in said {
        romeo.send(&chat(&j, body)).await?;
    }
    for (text, expected) in [
        ("thou", &[0, 4, 5][..]),
        ("THOU romeo", &[0]),
        ("resume", &[1]),
        ("Résumé of", &[1]),
        ("北京", &[2, 4]),
        ("京", &[2, 4, 5]),
        ("北京大", &[2]),
        ("하세", &[3]),
        ("tokyo タワー", &[5]),
        ("art OR nobody", &[]),
        ("\"thou\" -", &[0, 4, 5]),
        ("th*", &[]),
        ("?!", &[]),
    ] {
        let answer = search(&mut romeo, text).await?;
        let wanted: Vec<&str> = expected.iter().map(|&at| said[at]).collect();
        assert_eq!(answer.bodies(), wanted, "{text}");
        assert_eq!(answer.count(), Some(&*wanted.len().to_string()), "{text}");
        assert_eq!(answer.fin.attr("complete"), Some("true"), "{text}");
        assert_eq!(answer.fin.attr("stable"), None);
    }
    // §2.2: an empty field is no restriction.
    assert_eq!(search(&mut romeo, "").await?.hits.len(), said.len());
    for n in 0..10 {
        let word = format!("word{n}");
        romeo.send(&chat(&j, &word)).await?;
        assert_eq!(search(&mut romeo, &word).await?.bodies(), [word]);
    }
    for (text, condition) in [("x ".repeat(513), "policy-violation"), (many(), "policy-violation")]
    {
        assert_eq!(romeo.ask(&form_of(&text)).await?.condition(), Some(condition));
    }
    Ok(())
}

fn many() -> String {
    (0..33).map(|n| format!("w{n} ")).collect()
}

#[tokio::test]
async fn nobody_finds_what_others_said_to_others() -> Outcome<()> {
    if subject().is_some() {
        return Ok(());
    }
    let place = Place::with(&["romeo", "juliet", "nurse"]).await;
    let (mut romeo, mut juliet) = (place.online("romeo").await, place.online("juliet").await);
    let mut nurse = place.online("nurse").await;
    let (j, n) = (place.jid("juliet"), place.jid("nurse"));
    romeo.send(&chat(&j, "secret one")).await?;
    romeo.send(&chat(&n, "secret two")).await?;
    romeo.fence().await?;
    let secret = ["secret one", "secret two"];
    for (client, expected) in
        [(&mut romeo, &secret[..]), (&mut juliet, &secret[..1]), (&mut nurse, &secret[1..])]
    {
        let answer = search(client, "secret").await?;
        assert_eq!(answer.bodies(), expected);
        assert_eq!(answer.count(), Some(&*expected.len().to_string()));
    }
    // A query to another account's archive is refused.
    let iq = form_of("secret").replace("type='set'", &format!("type='set' to='{j}'"));
    assert_eq!(romeo.ask(&iq).await?.condition(), Some("service-unavailable"));
    Ok(())
}

/// Searches with a peer, in pages of any size, from both ends.
#[tokio::test]
async fn hits_come_in_pages_like_all_messages() -> Outcome<()> {
    if subject().is_some() {
        return Ok(());
    }
    let place = Place::with(&["romeo", "juliet", "nurse"]).await;
    let mut romeo = place.online("romeo").await;
    let (j, n) = (place.jid("juliet"), place.jid("nurse"));
    let mut wanted = Vec::new();
    for at in 0..60 {
        let hit = at % 2 == 0;
        let body = format!("{} {at}", if hit { "rose 薔薇園" } else { "thorn" });
        let to = if at % 3 == 0 { &n } else { &j };
        romeo.send(&chat(to, &body)).await?;
        if hit && to == &j {
            wanted.push(body);
        }
    }
    romeo.fence().await?;
    // The second has a run of three characters, for which the index gives candidates that must be read.
    for (text, with) in [("rose", &j), ("薔薇園 Rose", &j)] {
        let fields = form(&[(FIELD, text), ("with", with)]);
        for max in [1, 7, 50] {
            for back in [false, true] {
                let mut edge = if back { "<before/>".to_owned() } else { String::new() };
                let mut met: Vec<String> = Vec::new();
                loop {
                    let page = set(&format!("<max>{max}</max>{edge}"));
                    let answer = query(&mut romeo, &format!("{fields}{page}")).await?;
                    assert_eq!(answer.count(), Some("20"));
                    let bodies = answer.bodies().into_iter().map(str::to_owned);
                    let at = if back { 0 } else { met.len() };
                    drop(met.splice(at..at, bodies));
                    let (first, last) = (answer.hits.first(), answer.hits.last());
                    if answer.fin.attr("complete") == Some("true") {
                        break;
                    }
                    edge = match back {
                        true => format!("<before>{}</before>", first.expect("a hit").0),
                        false => format!("<after>{}</after>", last.expect("a hit").0),
                    };
                }
                assert_eq!(met, wanted, "{text} {max} {back}");
            }
        }
        let answer =
            query(&mut romeo, &(fields.clone() + &set("<max>3</max><index>18</index>"))).await?;
        assert_eq!(answer.bodies(), wanted[18..]);
        let answer = query(&mut romeo, &(fields + &set("<max>0</max>"))).await?;
        assert_eq!((answer.hits.len(), answer.count()), (0, Some("20")));
    }
    // Among messages that are named by id, and after one of them.
    let all = query(&mut romeo, &set("<max>99</max>")).await?;
    let named: String =
        all.hits[..4].iter().map(|(id, _)| format!("<value>{id}</value>")).collect();
    let ids =
        form(&[(FIELD, "rose")]).replace("</x>", "<field var='ids'>") + &named + "</field></x>";
    assert_eq!(query(&mut romeo, &ids).await?.bodies(), ["rose 薔薇園 0", "rose 薔薇園 2"]);
    let after = form(&[(FIELD, "rose"), ("after-id", &all.hits[57].0)]);
    assert_eq!(query(&mut romeo, &after).await?.bodies(), ["rose 薔薇園 58"]);
    let future = form(&[(FIELD, "rose"), ("start", "2100-01-01T00:00:00Z")]);
    assert_eq!(query(&mut romeo, &future).await?.bodies(), [""; 0]);
    Ok(())
}

#[tokio::test]
async fn encrypted_messages_are_told_of_as_unsearchable() -> Outcome<()> {
    if subject().is_some() {
        return Ok(());
    }
    let place = Place::with(&["romeo", "juliet", "nurse"]).await;
    let mut romeo = place.online("romeo").await;
    let (j, n) = (place.jid("juliet"), place.jid("nurse"));
    let secret = "<encrypted xmlns='eu.siacs.conversations.axolotl'/>\
                  <encryption xmlns='urn:xmpp:eme:0' namespace='eu.siacs.conversations.axolotl'/>\
                  <body>I sent you a rose that you cannot read</body>";
    for to in [&j, &j, &n] {
        romeo.send(&format!("<message to='{to}' type='chat'>{secret}</message>")).await?;
    }
    romeo.send(&chat(&j, "a rose")).await?;
    let answer = search(&mut romeo, "rose").await?;
    assert_eq!((answer.bodies(), answer.encrypted()), (vec!["a rose"], Some("3")));
    let answer = query(&mut romeo, &form(&[(FIELD, "thorn"), ("with", &j)])).await?;
    assert_eq!((answer.hits.len(), answer.encrypted()), (0, Some("2")));
    // Answers without search words do not contain the number.
    let answer = query(&mut romeo, &form(&[("with", &j)])).await?;
    assert_eq!((answer.hits.len(), answer.encrypted()), (3, None));
    Ok(())
}

fn start(data: &std::path::Path, users: &[&str], set: &[(&str, &str)]) -> Server {
    let users = users.iter().map(|user| (format!("{user}@localhost"), PASSWORD.to_owned()));
    let set = set.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned()));
    let (domains, data) = (vec!["localhost".into()], Some(data.to_owned()));
    Server::start(&Options { domains, users: users.collect(), set: set.collect(), data }).unwrap()
}

/// The index survives a kill, a stop and a time without search, and does not show an account's messages to a
/// later account of the same name.
#[tokio::test]
async fn an_index_outlives_what_an_archive_outlives() -> Outcome<()> {
    if subject().is_some() {
        return Ok(());
    }
    let folder = tempfile::tempdir().unwrap();
    let mut server = start(folder.path(), &["romeo", "juliet"], &[]);
    let mut said = Vec::new();
    for (round, ways) in
        [&[][..], &[], &[("modules.search.enabled", "false")], &[]].iter().enumerate()
    {
        match round {
            0 => {}
            1 => server.kill(),
            _ => drop(server.terminate()),
        }
        if round > 0 {
            server = start(folder.path(), &[], ways);
        }
        let mut romeo = Place::of(server.target.clone()).online("romeo").await;
        for n in 0..3 {
            said.push(format!("rose {round} {n}"));
            romeo.send(&chat("juliet@localhost", &said[said.len() - 1])).await?;
        }
        if ways.is_empty() {
            let half =
                query(&mut romeo, &(form(&[(FIELD, "rose")]) + &set("<max>2</max>"))).await?;
            assert_eq!(half.bodies(), said[..2]);
            assert_eq!(search(&mut romeo, "rose").await?.bodies(), said, "round {round}");
        } else {
            romeo.fence().await?;
        }
    }
    let place = Place::of(server.target.clone());
    let mut romeo = place.online("romeo").await;
    let remove = "<iq type='set' id='r'><query xmlns='jabber:iq:register'><remove/></query></iq>";
    romeo.send(remove).await?;
    romeo.gone().await?;
    server.terminate();
    let server = start(folder.path(), &["romeo"], &[]);
    let place = Place::of(server.target.clone());
    let mut romeo = place.online("romeo").await;
    let answer = search(&mut romeo, "rose").await?;
    assert_eq!((answer.hits.len(), answer.count()), (0, Some("0")));
    let mut juliet = place.bound("juliet").await;
    assert_eq!(search(&mut juliet, "rose").await?.hits.len(), said.len());
    Ok(())
}
