//! XEP-0077: In-Band Registration: new accounts, new passwords, and the end of an account.

mod config;
mod form;
mod gate;
mod lookalike;
mod names;
pub mod removal;
mod shapes;

pub use config::{Config, Mode};
pub use gate::Gate;

use std::net::IpAddr;
use std::time::Duration;

use form::{Form, NS};

use super::api::{
    Channel, Cx, Effect, IqRoute, Module, NewAccount, On, Reply, Spec, Stage, Target,
};
use super::equip;
use crate::base::credential::ScramKeys;
use crate::base::id::OsRng;
use crate::base::time::micros;
use crate::jid::{BareJid, prep};
use crate::router::outbox::End;
use crate::stanza::iq::{Iq, IqType};
use crate::stanza::{Condition, StanzaError};
use crate::store::accounts::{self, Creation};
use crate::store::devices;
use crate::store::ids::AccountId;
use crate::store::invitations::{self, Invitation, Purpose, Terms};
use crate::store::tx::{StoreError, Tx};
use crate::stream::error::{StreamError, StreamFailure};
use crate::stream::sasl::keys;
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

/// Whether this stranger may register here; the invitation that it showed.
fn may_register(cx: &Cx, iq: &Iq) -> Result<Option<Invitation>, StanzaError> {
    let config = &cx.config.register;
    let elsewhere = iq.to().is_some_and(|to| to.as_str() != cx.jid().domain());
    if !config.takes_invited() || elsewhere {
        return Err(StanzaError::service_unavailable());
    }
    let shown = cx.who.guest().and_then(|guest| guest.admission.get());
    if shown.is_none() && !config.is_open() {
        let error = StanzaError::forbidden();
        return Err(error.text("accounts are made by invitation here: open the link of one first"));
    }
    Ok(shown)
}

/// §3.1, §3.1.1: a stranger makes an account on the domain of its stream, or sets a password by a link.
async fn register(cx: Cx, iq: Iq) -> Result<Reply, StanzaError> {
    let shown = may_register(&cx, &iq)?;
    safe(&cx)?;
    let form = Form::read(&iq)?;
    let wanted = shown.as_ref().and_then(|shown| shown.terms.local.clone());
    // §3.1: missing or unusable fields get not-acceptable.
    let username = form.username.or_else(|| wanted.clone()).filter(|name| !name.is_empty());
    let username = username.ok_or_else(|| unacceptable("a username is needed"))?;
    let Ok(local) = prep::localpart(&username).map(|local| local.into_owned()) else {
        return Err(unacceptable("the username has characters that an address cannot have"));
    };
    let bare = BareJid::from_parts(Some(&local), cx.jid().domain())
        .map_err(|_| unacceptable("the username makes no address"))?;
    match &wanted {
        Some(wanted) if *wanted != local => {
            return Err(unacceptable(format!("this invitation is for the username {wanted}")));
        }
        // Whoever invites has chosen it.
        Some(_) => {}
        None => names::allowed(&cx.config.register, &local)?,
    }
    let password = form.password.ok_or_else(|| unacceptable("a password is needed"))?;
    usable(&cx, &password)?;
    let done = match shown {
        Some(shown) if shown.terms.purpose == Purpose::Password => {
            reset(&cx, &bare, shown, password).await
        }
        shown => named(&cx, &bare, shown, password).await,
    };
    let is_over = match &done {
        Ok(_) => true,
        Err(error) => error.condition == Condition::Forbidden,
    };
    if let (true, Some(guest)) = (is_over, cx.who.guest()) {
        // One showing, one account; and what was used up meanwhile opens nothing more.
        guest.admission.set(None);
    }
    done
}

/// Makes an account of this name. Counts those that one address finds taken.
async fn named(
    cx: &Cx,
    bare: &BareJid,
    shown: Option<Invitation>,
    password: String,
) -> Result<Reply, StanzaError> {
    let Some(Channel { peer, .. }) = cx.who.channel() else {
        return Err(StanzaError::not_allowed());
    };
    let gate = &cx.server.shared().register;
    gate.try_name(peer, cx.config.register.per_ip_per_hour, cx.now)?;
    let made = match shown {
        Some(shown) => create(cx, bare, Some(shown), password).await,
        None => uninvited(cx, bare, peer, password).await,
    };
    if !made.as_ref().is_err_and(|error| error.condition == Condition::Conflict) {
        gate.was_free(peer);
    }
    made
}

/// Counts the accounts that come from one address.
async fn uninvited(
    cx: &Cx,
    bare: &BareJid,
    peer: IpAddr,
    password: String,
) -> Result<Reply, StanzaError> {
    let limit = cx.config.register.per_ip_per_hour;
    let gate = &cx.server.shared().register;
    gate.take(peer, limit, cx.now)?;
    let made = create(cx, bare, None, password).await;
    if made.is_err() {
        gate.give_back(peer);
    }
    made
}

async fn create(
    cx: &Cx,
    bare: &BareJid,
    shown: Option<Invitation>,
    password: String,
) -> Result<Reply, StanzaError> {
    // Whoever had this name would be an admin: only the operator of the machine gives it away.
    let by_operator = shown.as_ref().is_some_and(|shown| {
        shown.terms.account.is_none() && shown.terms.local.as_deref() == bare.local()
    });
    if cx.config.admins.role(bare.as_str()).is_admin() && !by_operator {
        return Err(StanzaError::conflict().text("this name is reserved; choose another one"));
    }
    // An anonymous user has the address as long as it is connected.
    if cx.router.is_taken(bare) {
        return Err(StanzaError::conflict());
    }
    let (at, but, name) = (micros(cx.now), shown.as_ref().map(|shown| shown.id), bare.clone());
    // Checked first, because the keys cost so much.
    cx.store
        .read(move |tx| match is_taken(tx, &name, at, but)? {
            true => Ok(Err(StanzaError::conflict())),
            false => has_use(tx, but),
        })
        .await??;
    let keys = derive(cx, password).await?;
    let (work, jid, by_invitation) = (cx.clone(), bare.clone(), shown.is_some());
    let write = cx.store.write(move |tx| {
        if is_taken(tx, &jid, at, but)? {
            return Ok(Err(StanzaError::conflict()));
        }
        if let Some(shown) = &shown
            && !invitations::spend(tx, shown.id)?
        {
            return Ok(Err(spent()));
        }
        let local = jid.local().unwrap_or_default();
        match accounts::create(tx, local, jid.domain(), &keys, at)? {
            Creation::Exists | Creation::Removed => Ok(Err(StanzaError::conflict())),
            Creation::Created(id) => {
                let made = NewAccount { id, jid: jid.clone(), invitation: shown };
                equip(&work, tx, &made).map(Ok)
            }
        }
    });
    let after = write.await??;
    // The registry may remember that there was no such account.
    cx.router.registry.forget_missing(bare.as_str());
    after.into_iter().for_each(|done| done(cx));
    tracing::info!(by_invitation, "an account was registered in-band");
    tracing::debug!(account = bare.as_str(), "registered");
    Ok(Reply::empty())
}

/// Whether somebody has the name, or an invitation other than this one keeps it.
fn is_taken(
    tx: &mut dyn Tx,
    jid: &BareJid,
    now: i64,
    but: Option<i64>,
) -> Result<bool, StoreError> {
    let (local, host) = (jid.local().unwrap_or_default(), jid.domain());
    Ok(accounts::is_taken(tx, local, host)? || invitations::is_reserved(tx, local, host, now, but)?)
}

/// Whether the invitation, if there is one, was not used up or taken back meanwhile.
fn has_use(
    tx: &mut dyn Tx,
    invitation: Option<i64>,
) -> Result<Result<(), StanzaError>, StoreError> {
    let Some(id) = invitation else { return Ok(Ok(())) };
    let has_use = invitations::get(tx, id)?.is_some_and(|found| found.has_use());
    Ok(if has_use { Ok(()) } else { Err(spent()) })
}

fn spent() -> StanzaError {
    StanzaError::forbidden().text("the link was used or taken back meanwhile; ask for another one")
}

/// Sets the password of an account by a link. All that the old one opened is shut.
async fn reset(
    cx: &Cx,
    bare: &BareJid,
    shown: Invitation,
    password: String,
) -> Result<Reply, StanzaError> {
    let account = shown.terms.account.ok_or_else(StanzaError::internal_server_error)?;
    let id = shown.id;
    cx.store.read(move |tx| has_use(tx, Some(id))).await??;
    let keys = derive(cx, password).await?;
    let write = cx.store.write(move |tx| {
        // The account may have been removed, and its link with it.
        if accounts::get(tx, account)?.is_none() || !invitations::spend(tx, shown.id)? {
            return Ok(Err(spent()));
        }
        accounts::set_keys(tx, account, &keys)?;
        invitations::revoke_passwords(tx, account)?;
        Ok(Ok(()))
    });
    write.await??;
    cx.router.end_sessions(bare.as_str(), &changed());
    tracing::info!("a password was set by a link");
    tracing::debug!(account = bare.as_str(), "a new password");
    Ok(Reply::empty())
}

/// As when the operator changes it: no client may return with the old password.
fn changed() -> StreamFailure {
    StreamError::NotAuthorized.text("the password was changed")
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

/// Checks a password that a client chose. Passwords that the operator sets are not checked here.
fn usable(cx: &Cx, password: &str) -> Result<(), StanzaError> {
    keys::prepare(password).map_err(|error| unacceptable(error.to_string()))?;
    let least = cx.config.register.password_length_min;
    if password.chars().count() < least {
        let text = format!("a password needs at least {least} characters here");
        return Err(unacceptable(text));
    }
    Ok(())
}

/// §3.3: `not-authorized` when the channel is not safe enough for a password.
fn safe(cx: &Cx) -> Result<(), StanzaError> {
    if cx.who.channel().is_some_and(|one| one.secure) || cx.config.unencrypted {
        return Ok(());
    }
    Err(StanzaError::not_authorized().text("passwords are taken over TLS only"))
}

/// §3.2, §3.3: `not-authorized` after a login by token: a stolen token must not suffice to take over
/// the account.
fn knows_password(cx: &Cx) -> Result<(), StanzaError> {
    if !cx.who.channel().is_some_and(|one| one.by_token) {
        return Ok(());
    }
    Err(StanzaError::not_authorized().text("log in with the password for this"))
}

/// The keys for a prepared password.
async fn derive(cx: &Cx, password: String) -> Result<[ScramKeys; 3], StanzaError> {
    let turn = cx.server.shared().register.turn().await?;
    let iterations = cx.config.scram_iterations;
    // The one use of spawn_blocking here: PBKDF2 is a tenth of a second of pure arithmetic.
    #[allow(clippy::disallowed_methods)]
    let keys =
        tokio::task::spawn_blocking(move || keys::derive_all(&password, iterations, &mut OsRng));
    let keys = keys.await.map_err(|_| StanzaError::internal_server_error())?;
    drop(turn);
    keys.map_err(|error| unacceptable(error.to_string()))
}

fn unacceptable(text: impl Into<std::borrow::Cow<'static, str>>) -> StanzaError {
    StanzaError::not_acceptable().text(text)
}

/// §8
const FEATURE: &str = "<register xmlns='http://jabber.org/features/iq-register'/>";
const HOUR: Duration = Duration::from_secs(3_600);

#[cfg(test)]
mod tests {
    use super::super::testing::{Server, ask, ask_for_effect, connected};
    use super::*;
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
