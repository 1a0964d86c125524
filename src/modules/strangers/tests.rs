//! What is held is bounded, told of once, and deleted in time.

use std::time::Duration;

use super::super::api::{Answers, Cause};
use super::super::testing::Server;
use super::held;
use super::policy::{LET_IN_MAX, Own};
use super::requests::{decide, look};
use crate::base::limits::Limits;
use crate::base::time::micros;
use crate::router::passage::{Row, Side};
use crate::router::registry::AccountEntry;
use crate::stanza::{Condition, Stanza};
use crate::store::ids::AccountId;
use crate::store::tx::Tx;

async fn holds(server: &Server, account: AccountId, from: &str, seqs: std::ops::Range<i64>) {
    let xml = format!("<message from='{from}/1' to='a@x' type='chat'><body>x</body></message>");
    let stanza = Stanza::ours(xml.into()).unwrap();
    let at = micros(server.cx.now);
    let write = move |tx: &mut dyn Tx| {
        seqs.clone().try_for_each(|seq| {
            let side = Side::Incoming;
            let row = Row { stanza: &stanza, side, account, seq, at, archived: false };
            held::hold(tx, &row)
        })
    };
    server.store().write(write).await.unwrap();
}

async fn waiting(server: &Server, account: AccountId) -> Vec<(String, i64)> {
    let all = server.store().read(move |tx| held::waiting(tx, account)).await.unwrap();
    all.into_iter().map(|one| (one.jid, one.count)).collect()
}

#[tokio::test]
async fn nobody_fills_the_place_of_others() {
    let server = Server::with(&[]).await;
    let a = server.account("a", &[]).await;
    holds(&server, a, "flood@x", 0..50).await;
    holds(&server, a, "b@x", 50..52).await;
    holds(&server, a, "flood@x", 52..90).await;
    let all = waiting(&server, a).await;
    assert_eq!(all, [("b@x".to_owned(), 2), ("flood@x".to_owned(), 10)]);
    for n in 0..30 {
        holds(&server, a, &format!("f{n:02}@x"), 100 + n * 10..110 + n * 10).await;
    }
    let all = waiting(&server, a).await;
    assert_eq!(all.iter().map(|(_, count)| count).sum::<i64>(), 100);
    // One who came before thirty that wrote ten each is still there.
    assert!(all.iter().any(|(jid, count)| jid == "b@x" && *count == 2), "{all:?}");
    assert!(all.iter().all(|(_, count)| *count <= 4), "{all:?}");
}

#[tokio::test]
async fn the_account_is_told_once_for_each_that_comes() {
    let server = Server::with(&[]).await;
    let a = server.account("a", &[]).await;
    let cx = server.session("a@x/1").await;
    let told = || {
        let batch = cx.client().unwrap().outbox.take(usize::MAX, usize::MAX).batch;
        let texts = batch.iter().map(|out| String::from_utf8(out.frame.to_vec()).unwrap());
        texts.collect::<Vec<_>>()
    };
    look(server.job(Cause::Due)).await;
    assert!(told().is_empty());
    holds(&server, a, "b@x", 1..3).await;
    look(server.job(Cause::Due)).await;
    let said = told();
    assert!(said.len() == 1 && said[0].contains("b@x (2 messages)"), "{said:?}");
    look(server.job(Cause::Due)).await;
    assert!(told().is_empty());
    holds(&server, a, "c@x", 3..4).await;
    look(server.job(Cause::Due)).await;
    assert!(told()[0].contains("c@x (1 message)"));
    let mut later = server.job(Cause::Due);
    later.now += Duration::from_secs(31 * 86_400);
    look(later).await;
    assert!(waiting(&server, a).await.is_empty());
}

/// Else the rows in the store had no bound, and who is let in would wait again at once.
#[tokio::test]
async fn those_who_are_let_in_are_bounded() {
    let server = Server::with(&[]).await;
    let a = server.account("a", &[]).await;
    let cx = server.session("a@x/1").await;
    let fill = |own: &mut Own| (0..LET_IN_MAX).all(|n| own.let_in(&format!("s{n}@x")));
    cx.own(|entry| Own::change(entry, |own| assert!(fill(own))));
    holds(&server, a, "b@x", 1..2).await;
    let refused = decide(cx, vec![answers()]).await.err().unwrap();
    assert_eq!(refused.condition, Condition::ResourceConstraint);
    assert_eq!(waiting(&server, a).await, [("b@x".to_owned(), 1)]);
}

/// What was taken from its sender is not lost because the account has no room for it now.
#[tokio::test]
async fn what_finds_no_room_waits_on() {
    let limits = Limits { offline_messages_max: 1, ..Limits::default() };
    let server = Server::bounded(&[], limits).await;
    let a = server.account("a", &[]).await;
    let cx = server.session("a@x/1").await;
    let (session, answers) = (cx.session(), answers());
    let away = |entry: &mut AccountEntry| entry.session_mut(session).unwrap().presence = None;
    cx.own(away);
    holds(&server, a, "b@x", 1..4).await;
    assert!(decide(cx.clone(), vec![answers.clone()]).await.is_err());
    assert_eq!(waiting(&server, a).await, [("b@x".to_owned(), 2)]);
    assert!(decide(cx, vec![answers]).await.is_err());
    assert_eq!(waiting(&server, a).await, [("b@x".to_owned(), 2)]);
}

fn answers() -> Answers {
    let answer = |var: &str, value: &str| (var.to_owned(), vec![value.to_owned()]);
    Answers(vec![answer("strangers", "b@x"), answer("what", "let-in")])
}
