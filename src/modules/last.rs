//! XEP-0012: Last Activity, of the server and of accounts.

use super::api::{Cx, IqRoute, Module, On, Reply, SessionEnd, Spec, Target};
use crate::base::time::from_micros;
use crate::router::home::AccountView;
use crate::router::registry::{AccountEntry, AccountStatus};
use crate::stanza::StanzaError;
use crate::stanza::iq::{Iq, IqType};
use crate::store::accounts::{self, LastLogout};
use crate::store::ids::AccountId;
use crate::xml::writer::Xml;
use std::time::SystemTime;

/// The module.
pub const MODULE: Module = Module {
    name: "last",
    specs: &[Spec::whole("XEP-0012", "2.0", "transcripts/0012-last.scs")],
    features: &[On::Server(NS), On::Account(NS)],
    iqs: &[
        IqRoute { targets: &[Target::Server], handler: |cx, _| Box::pin(uptime(cx)), ..ROUTE },
        IqRoute { targets: &[Target::Own], handler: |cx, _| Box::pin(own(cx)), ..ROUTE },
        IqRoute { targets: &[Target::Other], handler: |cx, iq| Box::pin(other(cx, iq)), ..ROUTE },
    ],
    session_ended: Some(session_ended),
    ..Module::EMPTY
};

const ROUTE: IqRoute = IqRoute {
    ty: IqType::Get,
    ns: NS,
    name: "query",
    targets: &[],
    handler: |_, _| Box::pin(std::future::ready(Err(StanzaError::service_unavailable()))),
};

/// XEP-0012 §5
async fn uptime(cx: Cx) -> Result<Reply, StanzaError> {
    Ok(activity(cx.now, cx.server.started(), None))
}

/// The account that asks is online (XEP-0012 §3).
async fn own(cx: Cx) -> Result<Reply, StanzaError> {
    Ok(activity(cx.now, cx.now, None))
}

/// XEP-0012 §3: `forbidden` for a requester that may not see the account's presence. The same for an account
/// that does not exist, so that its absence is not revealed.
async fn other(cx: Cx, iq: Iq) -> Result<Reply, StanzaError> {
    let to = iq.to().ok_or_else(StanzaError::bad_request)?;
    match cx.look(to).await? {
        None => Err(StanzaError::forbidden()),
        // A connected resource is enough to answer 0, it need not be available.
        Some(AccountView { account: AccountStatus::Stored(account), connected: false, .. }) => {
            let last = last(&cx, account).await?;
            Ok(activity(cx.now, from_micros(last.at), last.status.as_deref()))
        }
        Some(_) => Ok(activity(cx.now, cx.now, None)),
    }
}

/// The last logout; for an account that never logged in, the time of its creation.
async fn last(cx: &Cx, account: AccountId) -> Result<LastLogout, StanzaError> {
    // The account's session may have ended just now.
    cx.store.barrier().await?;
    let read = cx.store.read(move |tx| {
        if let Some(last) = accounts::last_logout(tx, account)? {
            return Ok(Some(last));
        }
        let made = accounts::get(tx, account)?.map(|account| account.created);
        Ok(made.map(|at| LastLogout { at, status: None }))
    });
    read.await?.ok_or_else(StanzaError::forbidden)
}

/// Records when the last resource left, with its status: it may have been unavailable long before that.
fn session_ended(cx: &Cx, session_end: &SessionEnd) {
    let Ok(account) = cx.account() else { return };
    let left = |entry: &mut AccountEntry| entry.available().next().is_none();
    if cx.own(left).unwrap_or(true) {
        accounts::note_left(&cx.store, account, cx.now, session_end.status.as_deref());
    }
}

/// An idle time that is negative because the clock was set back is shown as 0.
fn activity(now: SystemTime, at: SystemTime, status: Option<&str>) -> Reply {
    let seconds = now.duration_since(at).map_or(0, |passed| passed.as_secs());
    let mut xml = Xml::new();
    xml.start("query")
        .attr("xmlns", NS)
        .attr("seconds", &seconds.to_string())
        .text(status.unwrap_or_default())
        .end();
    Reply::payload(xml.finish())
}

const NS: &str = "jabber:iq:last";

#[cfg(test)]
mod tests {
    use super::super::testing::{Server, ask};
    use super::*;
    use crate::modules::Config;
    use crate::store::roster::Subscription;

    const QUERY: &str = "<query xmlns='jabber:iq:last'/>";

    fn seconds(seconds: u64, text: &str) -> String {
        match text {
            "" => format!("<query xmlns='jabber:iq:last' seconds='{seconds}'/>"),
            _ => format!("<query xmlns='jabber:iq:last' seconds='{seconds}'>{text}</query>"),
        }
    }

    #[tokio::test]
    async fn subscribers_learn_when_an_account_left_and_strangers_nothing() {
        let server = Server::new(Config::default());
        server.account("romeo", &[]).await;
        server.account("juliet", &[("romeo@montague.example", Subscription::Both)]).await;
        server.account("tybalt", &[]).await;
        let cx = server.session("romeo@montague.example/orchard").await;
        let juliet = "juliet@montague.example";
        // Never logged in: counted since the account was created.
        assert_eq!(ask(&cx, "get", juliet, QUERY).await, seconds(500_000, ""));

        let her = server.session("juliet@montague.example/balcony").await;
        let other = server.session("juliet@montague.example/chamber").await;
        assert_eq!(ask(&cx, "get", juliet, QUERY).await, seconds(0, ""));
        let session_end = SessionEnd { status: Some("Heading Home".to_owned()) };
        for left in [her, other] {
            cx.router.registry.unbind(juliet, left.session());
            cx.server.session_ended(&left, &session_end);
        }
        let mut later = cx.clone();
        later.now += std::time::Duration::from_secs(903);
        assert_eq!(ask(&later, "get", juliet, QUERY).await, seconds(903, "Heading Home"));

        for (to, want) in [
            ("", seconds(0, "")),
            ("montague.example", seconds(999_000, "")),
            ("tybalt@montague.example", "forbidden".to_owned()),
            ("nobody@montague.example", "forbidden".to_owned()),
        ] {
            assert_eq!(ask(&cx, "get", to, QUERY).await, want, "{to}");
        }
    }
}
