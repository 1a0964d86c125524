//! XEP-0133 §4.8 to §4.10, §4.13 to §4.22: what is known of accounts, how many there are, and which.

use super::super::api::{Answers, Cx};
use super::forms::{self, Blank};
use super::users::{Done, account_of, refused};
use crate::admin::{Online, Presence};
use crate::base::time::{from_micros, stamp};
use crate::jid::BareJid;
use crate::stanza::StanzaError;
use crate::store::accounts::{self, Account};
use crate::store::{devices, roster};
use crate::xml::ns;
use crate::xml::writer::Xml;

/// Whose number or names are asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Of {
    Registered,
    Disabled,
    Online,
    Active,
    Idle,
}

impl Of {
    /// Field and label of their number (§4.13 to §4.17).
    const fn number(self) -> (&'static str, &'static str) {
        match self {
            Self::Registered => ("registeredusersnum", "The number of registered users"),
            Self::Disabled => ("disabledusersnum", "The number of disabled users"),
            Self::Online => ("onlineusersnum", "The number of online users"),
            Self::Active => ("activeusersnum", "The number of active users"),
            Self::Idle => ("idleusersnum", "The number of idle users"),
        }
    }

    /// Field and label of their names (§4.18 to §4.22).
    const fn names(self) -> (&'static str, &'static str) {
        match self {
            Self::Registered => ("registereduserjids", "The list of all users"),
            Self::Disabled => ("disableduserjids", "The list of disabled users"),
            Self::Online => ("onlineuserjids", "The list of online users"),
            Self::Active => ("activeuserjids", "The list of active users"),
            // §4.22 and §8.2 have no name of its own for it.
            Self::Idle => ("activeuserjids", "The list of idle users"),
        }
    }

    /// Whether somebody who is online is meant: everybody, or by presence (§4.16 leaves open what is idle).
    fn means(self, online: &Online) -> bool {
        match self {
            Self::Active => online.presence == Presence::Active,
            Self::Idle => online.presence == Presence::Idle,
            Self::Online => true,
            Self::Registered | Self::Disabled => false,
        }
    }
}

/// §4.13 to §4.17
pub(super) async fn number(cx: Cx, of: Of) -> Done {
    let operator = cx.operator();
    let count = match of {
        Of::Registered => operator.registered().await.map_err(refused)?.0,
        Of::Disabled => operator.registered().await.map_err(refused)?.1,
        of => operator.online().iter().filter(|online| of.means(online)).count(),
    };
    let (var, label) = of.number();
    Ok(forms::result(&[(var, label, vec![count.to_string()])], &[]))
}

/// §4.18 to §4.22
pub(super) async fn names(cx: Cx, stages: Vec<Answers>, of: Of) -> Done {
    let (var, label) = of.names();
    let Some(answers) = stages.first() else { return Ok(forms::ask_how_many(label)) };
    let most = forms::how_many(answers)?;
    let names = match of {
        Of::Registered => stored(&cx, most, |_| true).await?,
        Of::Disabled => stored(&cx, most, |account| account.disabled).await?,
        of => {
            let online = cx.operator().online();
            let meant = online.iter().filter(|online| of.means(online));
            let mut names: Vec<_> = meant.map(|online| online.jid.to_string()).collect();
            names.sort_unstable();
            names.truncate(most);
            names
        }
    };
    Ok(forms::result(&[(var, label, names)], &[]))
}

/// The first accounts that are meant.
async fn stored(
    cx: &Cx,
    most: usize,
    meant: fn(&Account) -> bool,
) -> Result<Vec<String>, StanzaError> {
    let mut names = Vec::new();
    let mut last: Option<(String, String)> = None;
    while names.len() < most {
        let from = last.clone();
        let page = cx.store.read(move |tx| {
            let after = from.as_ref().map(|(host, local)| (host.as_str(), local.as_str()));
            accounts::list(tx, None, after, PAGE)
        });
        let page = page.await?;
        let Some(end) = page.last() else { break };
        last = Some((end.host.clone(), end.localpart.clone()));
        let found = page.iter().filter(|account| meant(account));
        names.extend(found.map(|account| format!("{}@{}", account.localpart, account.host)));
    }
    names.truncate(most);
    Ok(names)
}

const JIDS: Blank = Blank::required("jid-multi", "accountjids", "The addresses of the accounts");

/// §4.8, for owners alone: whom somebody knows is nobody else's business. The XEP has room for one roster.
pub(super) async fn roster_of(cx: Cx, stages: Vec<Answers>) -> Done {
    let Some(answers) = stages.first() else {
        let told = "This shows whom somebody knows.";
        return Ok(forms::ask_blank("Get a user's roster", told, &[JIDS]));
    };
    let jid = forms::one(answers, "accountjids")?;
    let (jid, account) = find(&cx, jid).await?;
    tracing::info!(by = %cx.bare(), on = %jid, "an admin looked at a roster");
    let read = cx.store.read(move |tx| roster::load(tx, account.id)).await?;
    let mut xml = Xml::new();
    xml.start("query").attr("xmlns", ns::ROSTER);
    for item in read.items.values().filter(|item| item.listed).take(ROSTER_MAX) {
        xml.start("item").attr("jid", &item.jid).attr_opt("name", item.name.as_deref());
        xml.attr(
            "subscription",
            match (item.state.sees_presence(), item.state.shows_presence()) {
                (true, true) => "both",
                (true, false) => "to",
                (false, true) => "from",
                (false, false) => "none",
            },
        );
        for group in &item.groups {
            xml.element("group", None, group);
        }
        xml.end();
    }
    xml.end();
    let fields = [("accountjids", "The account", vec![jid.to_string()])];
    Ok(forms::result(&fields, &xml.finish()))
}

/// §4.9: of somebody who is here, now; else when the account was last seen.
pub(super) async fn last_login(cx: Cx, stages: Vec<Answers>) -> Done {
    let Some(answers) = stages.first() else {
        let told = "This shows when somebody was last here.";
        return Ok(forms::ask_blank("Get a user's last login", told, &[JIDS]));
    };
    let online = cx.operator().online();
    let (mut jids, mut times) = (Vec::new(), Vec::new());
    // A last logout is written behind.
    cx.store.barrier().await?;
    devices::noted(&cx.store).await?;
    for text in forms::some(answers, "accountjids")? {
        let (jid, account) = find(&cx, &text).await?;
        let seen = cx.store.read(move |tx| {
            let left = accounts::last_logout(tx, account.id)?.map(|last| last.at);
            let devices = devices::list(tx, account.id)?;
            Ok(devices.iter().map(|device| device.last_seen).chain(left).max())
        });
        let seen = seen.await?;
        let here = online.iter().any(|online| online.jid == jid);
        times.push(match (here, seen) {
            (true, _) => stamp(cx.now),
            (false, Some(at)) => stamp(from_micros(at)),
            (false, None) => "never".to_owned(),
        });
        jids.push(jid.to_string());
    }
    let fields = [("accountjids", "The accounts", jids), ("lastlogin", "Last seen", times)];
    Ok(forms::result(&fields, &[]))
}

/// §4.10, as far as it is known: addresses and rates are not kept.
pub(super) async fn statistics(cx: Cx, stages: Vec<Answers>) -> Done {
    let Some(answers) = stages.first() else {
        let jid = Blank::required("jid-single", "accountjid", "The address of the account");
        let told = "This shows what is known of an account.";
        return Ok(forms::ask_blank("Get user statistics", told, &[jid]));
    };
    let (jid, account) = find(&cx, forms::one(answers, "accountjid")?).await?;
    let read = cx.store.read(move |tx| {
        let listed =
            roster::load(tx, account.id)?.items.values().filter(|item| item.listed).count();
        Ok((listed, devices::list(tx, account.id)?.len()))
    });
    let (contacts, devices) = read.await?;
    let online = cx.operator().online().into_iter().find(|online| online.jid == jid);
    let resources = online.map(|online| online.resources).unwrap_or_default();
    let disabled = if account.disabled { "yes" } else { "no" };
    Ok(forms::result(
        &[
            ("rostersize", "Contacts", vec![contacts.to_string()]),
            ("onlineresources", "Online with", resources),
            ("devices", "Known devices", vec![devices.to_string()]),
            ("created", "Made", vec![stamp(from_micros(account.created))]),
            ("disabled", "Disabled", vec![disabled.to_owned()]),
            ("role", "Role", vec![account.role.as_str().to_owned()]),
        ],
        &[],
    ))
}

async fn find(cx: &Cx, text: &str) -> Result<(BareJid, Account), StanzaError> {
    let jid = account_of(text)?;
    let account = crate::admin::accounts::find(&cx.store, &jid).await.map_err(refused)?;
    Ok((jid, account))
}

/// Maximum number of accounts in one read.
const PAGE: usize = 500;
/// Maximum number of contacts that are shown, so that they fit into a stanza.
const ROSTER_MAX: usize = 1_000;
