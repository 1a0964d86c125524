//! XEP-0077: In-Band Registration: new accounts, new passwords, and the end of an account.

mod config;
mod enroll;
mod form;
mod gate;
mod lookalike;
mod names;
mod refused;
pub mod removal;
mod shapes;

pub use config::{Config, Mode};
pub use enroll::{admitted, enroll};
pub use gate::Gate;
pub use refused::Refused;

use std::time::Duration;

use enroll::{changed, derive, safe, usable};
use form::{Form, NS};

use super::api::{Cx, Effect, IqRoute, Module, On, Reply, Spec, Stage, Target};
use crate::jid::prep;
use crate::router::outbox::End;
use crate::stanza::StanzaError;
use crate::stanza::iq::{Iq, IqType};
use crate::store::ids::AccountId;
use crate::store::invitations::{self, Invitation, Purpose, Terms};
use crate::store::{accounts, devices};
use crate::stream::error::StreamError;
use crate::xml::writer::Xml;

/// The module.
pub const MODULE: Module = Module {
    name: "register",
    specs: &[Spec::partial(
        "XEP-0077",
        "2.4",
        "no redirection (§5), which is optional",
        "src/modules/register.rs",
    )],
    features: &[On::Server(NS)],
    iqs: &[
        IqRoute {
            ty: IqType::Get,
            ns: NS,
            name: "query",
            targets: &[Target::Stream],
            handler: |cx, iq| Box::pin(async move { fields(&cx, &iq) }),
        },
        IqRoute {
            ty: IqType::Set,
            ns: NS,
            name: "query",
            targets: &[Target::Stream],
            handler: |cx, iq| Box::pin(whole(cx, iq, "registration", register)),
        },
        IqRoute {
            ty: IqType::Get,
            ns: NS,
            name: "query",
            targets: HOME,
            handler: |cx, iq| Box::pin(async move { registered(&cx, &iq) }),
        },
        IqRoute {
            ty: IqType::Set,
            ns: NS,
            name: "query",
            targets: HOME,
            handler: |cx, iq| Box::pin(whole(cx, iq, "account change", change)),
        },
    ],
    stream_features: Some(|config, stage| match stage {
        Stage::Authenticate if config.register.takes_invited() => Some(FEATURE.to_owned()),
        _ => None,
    }),
    every: Some((HOUR, |job| Box::pin(removal::erase_due(job, super::ALL)))),
    ..Module::EMPTY
};

/// XEP-0077 §3.3 addresses the server, §3.2 has no address; both mean the user's own account.
const HOME: &[Target] = &[Target::Server, Target::Own];

/// Runs a handler to its end even if the client disconnects: memory must follow the store.
async fn whole<F>(
    cx: Cx,
    iq: Iq,
    name: &'static str,
    handler: fn(Cx, Iq) -> F,
) -> Result<Reply, StanzaError>
where
    F: Future<Output = Result<Reply, StanzaError>> + Send + 'static,
{
    cx.clone().finish(name, handler(cx, iq)).await
}

/// §3.1: what a new account needs, or a new password.
fn fields(cx: &Cx, iq: &Iq) -> Result<Reply, StanzaError> {
    let shown = may_register(cx, iq)?.map(|shown| shown.terms);
    let asks = match &shown {
        Some(Terms { purpose: Purpose::Password, local: Some(local), .. }) => {
            form::asks("Choose a new password.", local)
        }
        Some(Terms { local: Some(local), .. }) => form::asks("Choose a password.", local),
        _ => form::asks("Choose a username and a password.", ""),
    };
    Ok(Reply::payload(asks))
}

/// Whether this stranger may register with such a request; the invitation that it showed.
fn may_register(cx: &Cx, iq: &Iq) -> Result<Option<Invitation>, StanzaError> {
    if iq.to().is_some_and(|to| to.as_str() != cx.jid().domain()) {
        return Err(StanzaError::service_unavailable());
    }
    Ok(admitted(cx)?)
}

/// §3.1, §3.1.1: a stranger makes an account on the domain of its stream, or sets a password by a link.
async fn register(cx: Cx, iq: Iq) -> Result<Reply, StanzaError> {
    may_register(&cx, &iq)?;
    safe(&cx)?;
    let form = Form::read(&iq)?;
    enroll(&cx, form.username, form.password).await?;
    Ok(Reply::empty())
}

/// §3.1: the requester is registered already.
fn registered(cx: &Cx, iq: &Iq) -> Result<Reply, StanzaError> {
    at_home(cx, iq)?;
    let mut xml = Xml::new();
    xml.start("query")
        .attr("xmlns", NS)
        .element("instructions", None, "Send your username and a new password to change it.")
        .element("registered", None, "")
        .element("username", None, cx.bare().local().unwrap_or_default())
        .element("password", None, "")
        .end();
    Ok(Reply::payload(xml.finish()))
}

/// The account of a request that a user sends to their own server.
fn at_home(cx: &Cx, iq: &Iq) -> Result<AccountId, StanzaError> {
    if iq.to().is_some_and(|to| to.domain() != cx.jid().domain()) {
        return Err(StanzaError::service_unavailable());
    }
    cx.account()
}

/// §3.2 or §3.3
async fn change(cx: Cx, iq: Iq) -> Result<Reply, StanzaError> {
    let account = at_home(&cx, &iq)?;
    knows_password(&cx)?;
    let form = Form::read(&iq)?;
    match (form.remove, form.children) {
        (true, 1) => remove(&cx, account).await,
        // §3.2: `<remove/>` was not the only child.
        (true, _) => Err(StanzaError::bad_request()),
        (false, _) => password(&cx, account, form).await,
    }
}

/// §3.3: a new password. Sessions that were opened with the old one end, except this one.
async fn password(cx: &Cx, account: AccountId, form: Form) -> Result<Reply, StanzaError> {
    safe(cx)?;
    let incomplete = || StanzaError::bad_request().text("username and password are needed");
    let username = form.username.ok_or_else(incomplete)?;
    // An empty one MUST NOT be accepted.
    let password = form.password.filter(|password| !password.is_empty()).ok_or_else(incomplete)?;
    let own = cx.bare();
    if prep::localpart(&username).ok().as_deref() != own.local() {
        return Err(StanzaError::forbidden().text("this is not your account"));
    }
    usable(cx, &password)?;
    let keys = derive(cx, password).await?;
    let session = cx.session();
    let agent = cx.own(|entry| entry.session_mut(session).and_then(|one| one.agent)).flatten();
    let write = cx.store.write(move |tx| {
        invitations::revoke_passwords(tx, account)?;
        accounts::set_keys(tx, account, &keys)?;
        agent.map_or(Ok(()), |agent| devices::knows_password(tx, account, &agent))
    });
    write.await?;
    let mut others = Vec::new();
    cx.own(|entry| {
        let old = entry.resources.iter().filter(|resource| resource.session != cx.session());
        others.extend(old.map(|resource| resource.outbox.clone()));
    });
    for outbox in others {
        outbox.end(End::Failure(changed()));
    }
    Ok(Reply::empty())
}

/// §3.2: removes the account, ends its sessions and notifies its contacts.
async fn remove(cx: &Cx, account: AccountId) -> Result<Reply, StanzaError> {
    let bare = cx.bare();
    let keep = cx.config.register.grace_days > 0;
    let (router, server, now) = (&cx.router, &cx.server, cx.now);
    removal::end(router, server.modules(), &bare, account, keep, now).await?;
    cx.server.shared().account_deleted.notify_one();
    let mut others = Vec::new();
    cx.own(|entry| {
        let old = entry.resources.iter().filter(|resource| resource.session != cx.session());
        others.extend(old.map(|resource| resource.outbox.clone()));
    });
    cx.router.registry.removed(bare.as_str());
    for outbox in others {
        outbox.end(End::Failure(StreamError::NotAuthorized.text("the account was removed")));
    }
    tracing::info!("an account was removed in-band");
    tracing::debug!(account = bare.as_str(), "removed");
    Ok(Reply::empty().and(Effect::AccountRemoved))
}

/// §3.2, §3.3: `not-authorized` after a login by token: a stolen token must not suffice to take over
/// the account.
fn knows_password(cx: &Cx) -> Result<(), StanzaError> {
    if !cx.who.channel().is_some_and(|one| one.by_token) {
        return Ok(());
    }
    Err(StanzaError::not_authorized().text("log in with the password for this"))
}

/// §8
const FEATURE: &str = "<register xmlns='http://jabber.org/features/iq-register'/>";
const HOUR: Duration = Duration::from_secs(3_600);

#[cfg(test)]
mod tests {
    use super::super::testing::{Server, ask, ask_for_effect, connected};
    use super::*;
    use crate::jid::BareJid;
    use crate::modules::Config as All;
    use crate::router::registry::AccountStatus;
    use crate::store::roster::Subscription;

    fn server(open: bool) -> Server {
        let mode = if open { Mode::Open } else { Mode::Closed };
        let register = Config { mode, per_ip_per_hour: 2, ..Config::default() };
        Server::new(All { register, scram_iterations: 2, ..All::default() })
    }

    fn form(username: &str, password: &str) -> String {
        format!(
            "<query xmlns='jabber:iq:register'><username>{username}</username>\
             <password>{password}</password></query>"
        )
    }

    const GET: &str = "<query xmlns='jabber:iq:register'/>";
    const REMOVE: &str = "<query xmlns='jabber:iq:register'><remove/></query>";

    async fn epoch(server: &Server, local: &'static str) -> Option<i64> {
        let found = server.store().read(|tx| accounts::all_keys(tx, local, "montague.example"));
        found.await.unwrap().filter(|(_, keys)| keys.len() == 3).map(|(account, _)| account.epoch)
    }

    #[tokio::test]
    async fn a_stranger_makes_an_account() {
        let server = server(true);
        let answer = ask(&server.cx, "get", "", GET).await;
        assert!(answer.contains("<username/><password/>"), "{answer}");
        // Makes the registry remember that there is no such account.
        server.cx.router.load(&BareJid::parse("bill@montague.example").unwrap()).await.unwrap();
        for (query, want) in [
            (form("", "Calliope"), "not-acceptable"),
            (form("a b", "Calliope"), "not-acceptable"),
            (form("a@b", "Calliope"), "not-acceptable"),
            (form("bill", ""), "not-acceptable"),
            (form("bill", "\u{7f}"), "not-acceptable"),
            (form("bill", "seven77"), "not-acceptable"),
            (form("Admin", "Calliope"), "conflict"),
            (GET.to_owned(), "not-acceptable"),
            (form("Bill", "Calliope"), ""),
            (form("bill", "Calliope"), "conflict"),
            (form("BILL", "Calliope"), "conflict"),
            (form("will", "Calliope"), ""),
            (form("jill", "Calliope"), "resource-constraint"),
        ] {
            assert_eq!(ask(&server.cx, "set", "", &query).await, want, "{query}");
        }
        assert!(epoch(&server, "bill").await.is_some());
        assert_eq!(epoch(&server, "jill").await, None);
        server.session("bill@montague.example/globe").await;
        let other = ask(&server.cx, "set", "capulet.example", &form("x", "Calliope")).await;
        assert_eq!(other, "service-unavailable");
        let mut plain = server.cx.clone();
        connected(&mut plain, |channel| channel.secure = false);
        let refused = ask(&plain, "set", "montague.example", &form("x", "Calliope")).await;
        assert_eq!(refused, "not-authorized");
    }

    /// "conflict" says that an account exists: nobody asks for all of them.
    #[tokio::test]
    async fn only_so_many_taken_names_are_told() {
        let server = server(true);
        server.account("romeo", &[]).await;
        for _ in 0..gate::TAKEN_NAMES_MAX {
            assert_eq!(ask(&server.cx, "set", "", &form("romeo", "Calliope")).await, "conflict");
        }
        for name in ["romeo", "mercutio"] {
            let answer = ask(&server.cx, "set", "", &form(name, "Calliope")).await;
            assert_eq!(answer, "resource-constraint", "{name}");
        }
        let mut other = server.cx.clone();
        connected(&mut other, |channel| channel.peer = "192.0.2.7".parse().unwrap());
        assert_eq!(ask(&other, "set", "", &form("mercutio", "Calliope")).await, "");
    }

    #[tokio::test]
    async fn a_closed_server_takes_nobody() {
        let server = server(false);
        for (ty, query) in [("get", GET.to_owned()), ("set", form("bill", "Calliope"))] {
            assert_eq!(ask(&server.cx, ty, "", &query).await, "service-unavailable");
        }
        assert_eq!(server.cx.server.stream_features(Stage::Authenticate), "");
        let open = self::server(true);
        assert!(open.cx.server.stream_features(Stage::Authenticate).contains(FEATURE));
    }

    #[tokio::test]
    async fn an_account_changes_its_own_password_only() {
        let server = server(false);
        server.account("romeo", &[]).await;
        let cx = server.session("romeo@montague.example/orchard").await;
        let other = server.session("romeo@montague.example/garden").await;
        let answer = ask(&cx, "get", "montague.example", GET).await;
        assert!(answer.contains("<registered/><username>romeo</username>"), "{answer}");
        for (query, want) in [
            (form("juliet", "pencil-case"), "forbidden"),
            (form("romeo", ""), "bad-request"),
            (GET.to_owned(), "bad-request"),
            (form("romeo", "\u{7f}"), "not-acceptable"),
            (form("romeo", "seven77"), "not-acceptable"),
        ] {
            assert_eq!(ask(&cx, "set", "montague.example", &query).await, want, "{query}");
        }
        let mut plain = cx.clone();
        connected(&mut plain, |channel| channel.secure = false);
        assert_eq!(ask(&plain, "set", "", &form("romeo", "pencil-case")).await, "not-authorized");
        let mut by_token = cx.clone();
        connected(&mut by_token, |channel| channel.by_token = true);
        for query in [&form("romeo", "pencil-case"), REMOVE] {
            assert_eq!(ask(&by_token, "set", "", query).await, "not-authorized");
        }
        assert_eq!(epoch(&server, "romeo").await, None);

        assert_eq!(ask(&cx, "set", "montague.example", &form("Romeo", "pencil-case")).await, "");
        assert_eq!(epoch(&server, "romeo").await, Some(2));
        let end = |cx: &Cx| cx.client().unwrap().outbox.take(1, 1).end;
        assert!(end(&cx).is_none());
        assert!(matches!(end(&other), Some(End::Failure(_))));

        let guest = server.session("guest@montague.example/x").await;
        for (ty, query) in [("get", GET), ("set", &form("guest", "pencil-case")), ("set", REMOVE)] {
            assert_eq!(ask(&guest, ty, "", query).await, "not-allowed");
        }
    }

    #[tokio::test]
    async fn an_account_goes_with_its_sessions_and_its_subscriptions() {
        let server = server(false);
        let contacts = &[("juliet@montague.example", Subscription::Both)];
        server.account("romeo", contacts).await;
        server.account("juliet", &[("romeo@montague.example", Subscription::Both)]).await;
        let cx = server.session("romeo@montague.example/orchard").await;
        let other = server.session("romeo@montague.example/garden").await;
        let more = REMOVE.replace("<remove/>", "<remove/><username>romeo</username>");
        assert_eq!(ask(&cx, "set", "", &more).await, "bad-request");
        let (answer, effect) = ask_for_effect(&cx, "set", "", REMOVE).await;
        assert_eq!((answer.as_str(), effect), ("", Some(Effect::AccountRemoved)));
        let end = other.client().unwrap().outbox.take(1, 1).end;
        assert!(matches!(end, Some(End::Failure(_))));
        let known = cx.router.entry("romeo@montague.example", |entry| entry.account);
        assert_eq!(known, Some(AccountStatus::Missing));
        // Juliet's half of the subscription was removed too (RFC 6121 §2.5.2).
        let left = server.store().read(|tx| {
            let juliet = accounts::find(tx, "juliet", "montague.example")?.map(|found| found.id);
            crate::store::roster::item(tx, juliet.unwrap_or(AccountId(0)), "romeo@montague.example")
        });
        assert_eq!(left.await.unwrap().map(|item| item.state), Some(Subscription::None));
        let found = server.store().read(|tx| accounts::find(tx, "romeo", "montague.example"));
        assert_eq!(found.await.unwrap(), None);
    }
}
