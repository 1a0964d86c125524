use std::time::Duration;

use crate::jid::BareJid;
use crate::modules::Config as All;
use crate::modules::api::{Cx, NewAccount, Stage};
use crate::modules::equip;
use crate::modules::register::Mode;
use crate::modules::testing::{Server, ask, connected};
use crate::store::ids::AccountId;
use crate::store::invitations::{self, Purpose, Terms};
use crate::store::roster::{self, Subscription};
use crate::store::tx::Tx;
use crate::store::{StoreError, accounts};

const HOST: &str = "montague.example";
const DAY: i64 = 86_400_000_000;

fn server(mode: Mode) -> Server {
    let mut config = All { scram_iterations: 2, ..All::default() };
    config.register.mode = mode;
    Server::new(config)
}

fn terms(account: Option<AccountId>) -> Terms {
    Terms {
        purpose: Purpose::Invite,
        account,
        host: HOST.to_owned(),
        local: None,
        registers: true,
        befriends: true,
        team: None,
        uses_left: 1,
        created: 0,
        // The test's clock shows 1,000,000 seconds.
        expires: 12 * DAY,
    }
}

async fn put(server: &Server, token: &'static str, terms: Terms) -> i64 {
    let write = server.store().write(move |tx| invitations::create(tx, token, &terms, 9));
    write.await.unwrap().unwrap()
}

fn preauth(token: &str) -> String {
    format!("<preauth xmlns='urn:xmpp:pars:0' token='{token}'/>")
}

fn form(name: &str) -> String {
    format!(
        "<query xmlns='jabber:iq:register'><username>{name}</username>\
         <password>pencil-case</password></query>"
    )
}

/// XEP-0445 §4: the time of a token is looked at when it is shown, and not again.
#[tokio::test]
async fn a_token_expires_before_it_is_shown_or_not_at_all() {
    let server = server(Mode::Invitation);
    put(&server, "abc", terms(None)).await;
    let mut late = server.cx.clone();
    late.now += Duration::from_secs(2 * 86_400);
    assert_eq!(ask(&late, "set", "", &preauth("abc")).await, "item-not-found");
    assert_eq!(ask(&server.cx, "set", HOST, &preauth("abc")).await, "");
    // The same stream, later.
    assert_eq!(ask(&late, "set", "", &form("juliet")).await, "");
    assert_eq!(ask(&server.cx, "set", "", &preauth("abc")).await, "item-not-found");
}

/// A wrong token takes back what a right one gave.
#[tokio::test]
async fn the_last_token_counts() {
    let server = server(Mode::Invitation);
    put(&server, "abc", terms(None)).await;
    assert_eq!(ask(&server.cx, "set", "", &preauth("abc")).await, "");
    assert_eq!(ask(&server.cx, "set", "", &preauth("abd")).await, "item-not-found");
    assert_eq!(ask(&server.cx, "set", "", &form("juliet")).await, "forbidden");
}

#[tokio::test]
async fn tokens_are_taken_over_tls_where_registration_is() {
    let server = server(Mode::Invitation);
    put(&server, "abc", terms(None)).await;
    assert_eq!(ask(&server.cx, "set", "capulet.example", &preauth("abc")).await, SU);
    let mut plain = server.cx.clone();
    connected(&mut plain, |channel| channel.secure = false);
    assert_eq!(ask(&plain, "set", "", &preauth("abc")).await, "not-authorized");
    let closed = self::server(Mode::Closed);
    put(&closed, "abc", terms(None)).await;
    assert_eq!(ask(&closed.cx, "set", "", &preauth("abc")).await, SU);
    assert!(!closed.cx.server.stream_features(Stage::Authenticate).contains("ibr-token"));
    assert!(server.cx.server.stream_features(Stage::Authenticate).contains("ibr-token"));
}

const SU: &str = "service-unavailable";

/// Who invited may be gone, shut, or have a full roster: the account is made all the same.
#[tokio::test]
async fn an_account_is_made_though_nobody_can_be_met() {
    let server = server(Mode::Invitation);
    let romeo = server.account("romeo", &[]).await;
    put(&server, "abc", terms(Some(romeo))).await;
    assert_eq!(ask(&server.cx, "set", "", &preauth("abc")).await, "");
    let shut = move |tx: &mut dyn Tx| accounts::set_disabled(tx, romeo, true).map(drop);
    server.store().write(shut).await.unwrap();
    assert_eq!(ask(&server.cx, "set", "", &form("juliet")).await, "");
    let item = server.store().read(move |tx| roster::item(tx, romeo, "juliet@montague.example"));
    assert_eq!(item.await.unwrap(), None);
    // From now on the token opens nothing.
    put(&server, "abd", terms(Some(romeo))).await;
    assert_eq!(ask(&server.cx, "set", "", &preauth("abd")).await, "item-not-found");
}

/// What modules write for a new account goes with it, or not at all.
#[tokio::test]
async fn both_rosters_are_written_with_the_account() {
    let server = server(Mode::Invitation);
    let romeo = server.account("romeo", &[]).await;
    let juliet = server.account("juliet", &[]).await;
    let id = put(&server, "abc", terms(Some(romeo))).await;
    let jid = BareJid::parse("juliet@montague.example").unwrap();
    let cx: Cx = server.cx.clone();
    let failed = server.store().write(move |tx| {
        let invitation = invitations::get(tx, id)?;
        equip(&cx, tx, &NewAccount { id: juliet, jid, invitation })?;
        Err::<(), _>(StoreError::Closed)
    });
    assert!(failed.await.is_err());
    let state = |owner, peer: &'static str| {
        let read = server.store().read(move |tx| roster::item(tx, owner, peer));
        async move { read.await.unwrap().map(|item| item.state) }
    };
    assert_eq!(state(romeo, "juliet@montague.example").await, None);
    assert_eq!(state(juliet, "romeo@montague.example").await, None);
    assert_eq!(ask(&server.cx, "set", "", &preauth("abc")).await, "");
    assert_eq!(ask(&server.cx, "set", "", &form("rosaline")).await, "");
    assert_eq!(state(romeo, "rosaline@montague.example").await, Some(Subscription::Both));
}

/// XEP-0379 §3.5, from another server: the request is approved before it is handled, and romeo asks back.
#[tokio::test]
async fn a_request_from_elsewhere_is_approved_by_its_token() {
    let server = server(Mode::Invitation);
    let romeo = server.account("romeo", &[]).await;
    put(&server, "abc", terms(Some(romeo))).await;
    let client = server.online("romeo@montague.example/orchard").await;
    let state = || async {
        let read = server.store().read(move |tx| roster::item(tx, romeo, "juliet@capulet.example"));
        read.await.unwrap().map(|item| item.state)
    };
    for (token, wanted) in
        [("none", Subscription::NonePendingIn), ("abc", Subscription::FromPendingOut)]
    {
        let xml = format!(
            "<presence from='juliet@capulet.example' to='romeo@montague.example' type='subscribe'>\
             {}</presence>",
            preauth(token)
        );
        let stanza = crate::stanza::Stanza::ours(xml.into()).unwrap();
        client.cx.server.subscription_in(client.cx.clone(), stanza).await.unwrap();
        client.cx.router.tasks.drained().await;
        assert_eq!(state().await, Some(wanted), "{token}");
    }
    let uses = server.store().read(|tx| invitations::open(tx, "abc", 0)).await.unwrap();
    assert_eq!(uses, Err(invitations::Ended::Used));
}

#[tokio::test]
async fn old_invitations_are_forgotten() {
    let server = server(Mode::Invitation);
    let id = put(&server, "abc", terms(None)).await;
    let there = || async { server.store().read(move |tx| invitations::get(tx, id)).await.unwrap() };
    for (days, stays) in [(0, true), (30, true), (31, false)] {
        let mut job = server.job(crate::modules::api::Cause::Due);
        job.now += Duration::from_secs(days * 86_400);
        super::forget::forget(job).await;
        assert_eq!(there().await.is_some(), stays, "day {days}");
    }
}
