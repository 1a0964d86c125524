//! Invitations: made and taken back by the operator, and by users through their module.

use std::time::SystemTime;

use super::accounts::{self, AdminError};
use super::told::{InvitationLine, InvitationList};
use crate::base::id::{OsRng, token};
use crate::base::time::{from_micros, micros, stamp};
use crate::jid::{BareJid, prep};
use crate::store::accounts as stored;
use crate::store::ids::AccountId;
use crate::store::invitations::{self, Invitation, Purpose, Terms};
use crate::store::{Store, StoreError, Tx};

/// What the configuration says of invitations.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Settings {
    /// Whether accounts are made, and passwords set, by clients at all.
    pub registers: bool,
    /// Days for which an invitation is good, if nothing else is said.
    pub days: u32,
    /// Where a page tells of an invitation, with `{token}` or `{link}` in it, and perhaps `{host}`; empty: nowhere.
    pub landing_url: String,
}

/// Who invites with a link.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Inviter {
    /// Its account.
    pub account: AccountId,
    /// The address that a contact's link names.
    pub jid: BareJid,
}

/// An invitation to be made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wanted {
    /// The domain of the new account.
    pub host: String,
    /// Whose it is; none: the operator's.
    pub inviter: Option<Inviter>,
    /// What it is for.
    pub kind: Kind,
    /// The team that the new account joins.
    pub team: Option<String>,
    /// How many may use it.
    pub uses: u32,
    /// Days for which it is good.
    pub days: u32,
    /// How many of the inviter's may be open at a time.
    pub most: u32,
}

/// What an invitation is for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Kind {
    /// To become the inviter's contact; with an account of this server, if `registers` is set.
    Contact {
        /// Whether an account can be made with it.
        registers: bool,
    },
    /// To make an account.
    Account {
        /// The name that it must have.
        local: Option<String>,
        /// Whether it becomes the inviter's contact.
        befriends: bool,
    },
}

/// An invitation that was made. No `Debug`: whoever has it may use it.
pub struct Made {
    /// The link for clients.
    pub uri: String,
    /// The page that tells of it.
    pub landing: Option<String>,
    /// From when on it is not valid, in microseconds since 1970.
    pub expires: i64,
}

/// Makes an invitation.
pub async fn invite(
    store: &Store,
    settings: &Settings,
    wanted: Wanted,
    now: SystemTime,
) -> Result<Made, AdminError> {
    let Wanted { host, inviter, kind, team, uses, days, most } = wanted;
    within("--uses", uses, USES_MAX)?;
    within("--days", days, DAYS_MAX)?;
    if let Some(team) = &team
        && (team.trim().is_empty() || team.chars().any(char::is_control) || team.len() > TEAM_BYTES)
    {
        return Err(AdminError::TeamName);
    }
    let token = token(&mut OsRng);
    let page = landing_of(settings, &host);
    let (action, local, registers, befriends) = match kind {
        Kind::Contact { registers } => ("roster", None, registers, true),
        Kind::Account { local, befriends } => ("register", local, true, befriends),
    };
    if registers && !settings.registers {
        return Err(AdminError::Closed);
    }
    let local = local.map(|local| named(&local, &host)).transpose()?;
    let names = match (&inviter, action) {
        (Some(inviter), "roster") => inviter.jid.clone(),
        _ => address(local.as_deref(), &host)?,
    };
    let uri = match action {
        "roster" => contact_uri(&names, &token, registers),
        _ => account_uri(&names, &token),
    };
    let created = micros(now);
    let expires = created.saturating_add(i64::from(days).saturating_mul(DAY));
    let terms = Terms {
        purpose: Purpose::Invite,
        account: inviter.map(|inviter| inviter.account),
        host,
        local,
        registers,
        befriends,
        team,
        uses_left: uses,
        created,
        expires,
    };
    let secret = token.clone();
    let write = store.write(move |tx| {
        if let Some(local) = &terms.local {
            let Terms { host, .. } = &terms;
            if stored::is_taken(tx, local, host)? {
                return Ok(Err(Refused::Taken));
            }
            if invitations::is_reserved(tx, local, host, created, None)? {
                return Ok(Err(Refused::Reserved));
            }
        }
        let made = invitations::create(tx, &secret, &terms, most)?;
        Ok(made.map(drop).ok_or(Refused::TooMany))
    });
    write.await?.map_err(|refused| match refused {
        Refused::Taken => AdminError::Exists(names),
        Refused::Reserved => AdminError::Reserved(names),
        Refused::TooMany => AdminError::TooManyInvitations(most),
    })?;
    Ok(Made { landing: landing(&page, &token, &uri), uri, expires })
}

/// The link of an invitation that was made before, for whoever shows its token.
pub async fn link(store: &Store, token: &str, found: &Invitation) -> Result<String, AdminError> {
    let Terms { account, host, local, befriends, registers, .. } = &found.terms;
    if let (Some(account), true, None) = (*account, *befriends, local) {
        let inviter = store.read(move |tx| Ok(stored::name(tx, account)?.flatten())).await?;
        if let Some((local, host)) = inviter {
            return Ok(contact_uri(&address(Some(&local), &host)?, token, *registers));
        }
    }
    Ok(account_uri(&address(local.as_deref(), host)?, token))
}

/// To become the inviter's contact; with an account, if one can be made with it.
fn contact_uri(inviter: &BareJid, token: &str, registers: bool) -> String {
    let ibr = if registers { ";ibr=y" } else { "" };
    format!("xmpp:{}?roster;preauth={token}{ibr}", in_uri(inviter))
}

/// For an account on a domain, or of this name.
fn account_uri(names: &BareJid, token: &str) -> String {
    format!("xmpp:{}?register;preauth={token}", in_uri(names))
}

/// Why nothing was stored.
enum Refused {
    Taken,
    Reserved,
    TooMany,
}

/// Makes a link with which the owner of an account sets a new password, once. Older ones are of no use from
/// then on.
pub async fn reset_link(
    store: &Store,
    settings: &Settings,
    jid: &BareJid,
    hours: u32,
    now: SystemTime,
) -> Result<Made, AdminError> {
    within("--hours", hours, HOURS_MAX)?;
    if !settings.registers {
        return Err(AdminError::Closed);
    }
    let account = accounts::find(store, jid).await?;
    let token = token(&mut OsRng);
    let (uri, page) = (account_uri(jid, &token), landing_of(settings, jid.domain()));
    let created = micros(now);
    let terms = Terms {
        purpose: Purpose::Password,
        account: Some(account.id),
        host: account.host,
        local: Some(account.localpart),
        registers: false,
        befriends: false,
        team: None,
        uses_left: 1,
        created,
        expires: created.saturating_add(i64::from(hours).saturating_mul(HOUR)),
    };
    let (expires, secret) = (terms.expires, token.clone());
    let write = store.write(move |tx| {
        invitations::revoke_passwords(tx, account.id)?;
        invitations::create(tx, &secret, &terms, 0)
    });
    write.await?;
    Ok(Made { landing: landing(&page, &token, &uri), uri, expires })
}

/// All invitations and reset links that are open, the oldest first.
pub async fn list(store: &Store, now: SystemTime) -> Result<InvitationList, AdminError> {
    let (mut invitations, mut after, now) = (Vec::new(), 0, micros(now));
    loop {
        let page = move |tx: &mut dyn Tx| {
            let all = invitations::list(tx, after)?;
            let last = all.last().map(|one| one.id);
            let open = all.into_iter().filter(|one| one.state(now).is_ok());
            let told: Result<Vec<_>, StoreError> = open.map(|one| line(tx, &one)).collect();
            Ok((last, told?))
        };
        let (last, told) = store.read(page).await?;
        invitations.extend(told);
        let Some(last) = last else { return Ok(InvitationList { invitations }) };
        after = last;
    }
}

fn line(tx: &mut dyn Tx, one: &Invitation) -> Result<InvitationLine, StoreError> {
    let Terms { host, local, team, uses_left, expires, .. } = &one.terms;
    let whose = match one.terms.account {
        Some(account) => stored::name(tx, account)?.flatten(),
        None => None,
    };
    let whose = whose.map(|(local, host)| format!("{local}@{host}"));
    let what = match (one.terms.purpose, local, one.terms.registers) {
        (Purpose::Password, ..) => {
            format!("new password of {}", whose.as_deref().unwrap_or("an account"))
        }
        (_, Some(local), _) => format!("account {local}@{host}"),
        (_, None, true) => format!("account on {host}"),
        (_, None, false) => "contact".to_owned(),
    };
    Ok(InvitationLine {
        id: one.id,
        what,
        by: whose,
        team: team.clone(),
        password: one.terms.purpose == Purpose::Password,
        uses_left: *uses_left,
        until: stamp(from_micros(*expires)),
    })
}

/// Takes an invitation back: by its number in the list, its token or its link. Returns its number.
pub async fn revoke(store: &Store, which: &str) -> Result<i64, AdminError> {
    let (text, number) = (token_of(which).to_owned(), which.trim().parse::<i64>().ok());
    let write = store.write(move |tx| {
        let found = match number {
            Some(id) => invitations::get(tx, id)?,
            None => invitations::find(tx, &text)?,
        };
        let found = found.filter(|found| !found.revoked).map(|found| found.id);
        found.map(|id| invitations::revoke(tx, id).map(|()| id)).transpose()
    });
    write.await?.ok_or(AdminError::UnknownInvitation)
}

/// The token in a link for clients, or of a page; or the text itself.
fn token_of(text: &str) -> &str {
    let text = text.trim();
    let rest = match text.split_once("preauth=") {
        Some((_, rest)) => rest,
        None => text.rsplit(['/', '#', '=']).next().unwrap_or(text),
    };
    rest.split([';', '&']).next().unwrap_or(rest)
}

/// The name in normal form.
fn named(local: &str, host: &str) -> Result<String, AdminError> {
    let wrong = |error: String| AdminError::Address(format!("{local}@{host}"), error);
    let local = prep::localpart(local).map_err(|error| wrong(error.to_string()))?;
    Ok(local.into_owned())
}

fn address(local: Option<&str>, host: &str) -> Result<BareJid, AdminError> {
    let wrong = |error: String| AdminError::Address(host.to_owned(), error);
    BareJid::from_parts(local, host).map_err(|error| wrong(error.to_string()))
}

/// RFC 5122 §2.2: the address in a URI; what has a meaning there, or is not ASCII, is escaped.
fn in_uri(jid: &BareJid) -> String {
    let mut uri = String::new();
    let escaped = |uri: &mut String, text: &str, plain: &str| {
        for byte in text.bytes() {
            if byte.is_ascii_alphanumeric() || plain.as_bytes().contains(&byte) {
                uri.push(char::from(byte));
            } else {
                uri.push_str(&format!("%{byte:02X}"));
            }
        }
    };
    if let Some(local) = jid.local() {
        escaped(&mut uri, local, "-._~!$*");
        uri.push('@');
    }
    escaped(&mut uri, jid.domain(), "-._~[]:");
    uri
}

/// The pages of invitations to a domain.
fn landing_of(settings: &Settings, host: &str) -> String {
    settings.landing_url.replace("{host}", host)
}

fn landing(page: &str, token: &str, uri: &str) -> Option<String> {
    let link = uri.strip_prefix("xmpp:").unwrap_or(uri);
    let url = page.replace("{token}", token).replace("{link}", link);
    (!url.is_empty()).then_some(url)
}

fn within(what: &'static str, value: u32, most: u32) -> Result<(), AdminError> {
    if (1..=most).contains(&value) { Ok(()) } else { Err(AdminError::Amount(what, most)) }
}

/// The path of the server's own pages of invitations, in front of the token.
pub const PAGE: &str = "/i/";
/// One link may be handed to a whole school.
pub const USES_MAX: u32 = 10_000;
/// The longest time for which an invitation is good, in days.
pub const DAYS_MAX: u32 = 365;
/// The longest for a link to a new password, in hours: a month.
const HOURS_MAX: u32 = 720;
const TEAM_BYTES: usize = 128;
const HOUR: i64 = 3_600_000_000;
const DAY: i64 = 24 * HOUR;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::Options;

    fn store(folder: &tempfile::TempDir) -> Store {
        Store::open(Options::new(folder.path().join("x.db"))).unwrap()
    }

    fn settings() -> Settings {
        let landing_url = "https://x/i/{token}#{link}".to_owned();
        Settings { registers: true, days: 7, landing_url }
    }

    fn wanted(kind: Kind) -> Wanted {
        let (host, uses, days, most) = ("x".to_owned(), 1, 7, 5);
        Wanted { host, inviter: None, kind, team: None, uses, days, most }
    }

    const NOW: SystemTime = SystemTime::UNIX_EPOCH;

    async fn lines_of(store: &Store) -> Vec<String> {
        super::super::Outcome::from(list(store, NOW).await.unwrap()).lines()
    }

    fn account(local: Option<&str>) -> Kind {
        Kind::Account { local: local.map(str::to_owned), befriends: false }
    }

    #[tokio::test]
    async fn a_link_says_what_it_is_for() {
        let folder = tempfile::tempdir().unwrap();
        let store = store(&folder);
        let made = invite(&store, &settings(), wanted(account(None)), NOW).await.unwrap();
        let token = made.uri.strip_prefix("xmpp:x?register;preauth=").unwrap();
        assert_eq!(token.len(), 26);
        let page = format!("https://x/i/{token}#x?register;preauth={token}");
        assert_eq!((made.landing.as_deref(), made.expires), (Some(&*page), 7 * DAY));
        let named =
            invite(&store, &settings(), wanted(account(Some("Jü&"))), NOW).await.err().unwrap();
        assert!(matches!(named, AdminError::Address(..)), "{named}");
        let named = invite(&store, &settings(), wanted(account(Some("Jü?"))), NOW).await.unwrap();
        assert!(named.uri.starts_with("xmpp:j%C3%BC%3F@x?register;preauth="), "{}", named.uri);
        accounts::add(
            &store,
            &accounts::parse("a@x").unwrap(),
            &super::super::Secret("p".into()),
            1,
        )
        .await
        .unwrap();
        let found = accounts::find(&store, &accounts::parse("a@x").unwrap()).await.unwrap();
        let inviter = Inviter { account: found.id, jid: accounts::parse("a@x").unwrap() };
        for (registers, end) in [(true, ";ibr=y"), (false, "")] {
            let kind = Kind::Contact { registers };
            let wanted = Wanted { inviter: Some(inviter.clone()), ..wanted(kind) };
            let made = invite(&store, &settings(), wanted, NOW).await.unwrap();
            let token = made.uri.strip_prefix("xmpp:a@x?roster;preauth=").unwrap();
            assert_eq!(token.get(26..), Some(end));
        }
        let lines = lines_of(&store).await;
        assert_eq!(
            lines,
            [
                "1  account on x, by the operator; 1 use left, until 1970-01-08T00:00:00Z",
                "2  account jü?@x, by the operator; 1 use left, until 1970-01-08T00:00:00Z",
                "3  account on x, by a@x; 1 use left, until 1970-01-08T00:00:00Z",
                "4  contact, by a@x; 1 use left, until 1970-01-08T00:00:00Z",
            ]
        );
        assert_eq!(revoke(&store, "2").await.unwrap(), 2);
        assert_eq!(revoke(&store, &made.uri).await.unwrap(), 1);
        for gone in ["2", &made.uri, token, "99", "nonsense", ""] {
            assert!(revoke(&store, gone).await.is_err(), "{gone}");
        }
        assert_eq!(lines_of(&store).await.len(), 2);
    }

    #[tokio::test]
    async fn what_makes_no_sense_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let store = store(&folder);
        let named = || wanted(account(Some("juliet")));
        invite(&store, &settings(), named(), NOW).await.unwrap();
        let ok = || wanted(account(None));
        for (wanted, says) in [
            (Wanted { uses: 0, ..ok() }, "--uses is a number from 1 to 10000"),
            (Wanted { days: 366, ..ok() }, "--days is a number from 1 to 365"),
            (Wanted { team: Some(" ".to_owned()), ..ok() }, "team"),
            (named(), "another invitation"),
            (wanted(account(Some("a b"))), "not the address"),
        ] {
            let told = invite(&store, &settings(), wanted, NOW).await.err().unwrap().to_string();
            assert!(told.contains(says), "{told}");
        }
        let closed = Settings { registers: false, ..settings() };
        let told = invite(&store, &closed, ok(), NOW).await.err().unwrap().to_string();
        assert!(told.contains("modules.register.mode"), "{told}");
        let jid = accounts::parse("b@x").unwrap();
        let told = reset_link(&store, &settings(), &jid, 24, NOW).await.err().unwrap();
        assert!(matches!(told, AdminError::Unknown(_)));
        accounts::add(&store, &jid, &super::super::Secret("p".into()), 1).await.unwrap();
        assert!(reset_link(&store, &settings(), &jid, 0, NOW).await.is_err());
        let first = reset_link(&store, &settings(), &jid, 24, NOW).await.unwrap();
        let made = reset_link(&store, &settings(), &jid, 24, NOW).await.unwrap();
        assert!(made.uri.starts_with("xmpp:b@x?register;preauth=") && made.uri != first.uri);
        let lines = lines_of(&store).await;
        assert_eq!(lines.len(), 2, "{lines:?}");
        assert!(
            lines[1].contains("new password of b@x; 1 use left, until 1970-01-02"),
            "{lines:?}"
        );
    }

    #[test]
    fn a_token_is_found_in_what_people_copy() {
        for (text, token) in [
            ("abc", "abc"),
            (" abc\n", "abc"),
            ("xmpp:x?register;preauth=abc", "abc"),
            ("xmpp:a@x?roster;preauth=abc;ibr=y", "abc"),
            ("https://x/invite/#abc", "abc"),
            ("https://x/i?t=abc", "abc"),
        ] {
            assert_eq!(token_of(text), token, "{text}");
        }
    }
}
