//! Turns requests into verbs, and their outcomes into lines for people.

use super::accounts::{self, AdminError};
use super::certificates::{self, Keeping};
use super::device_line::device_line;
use super::invitations::{self, Inviter, Kind, Made, Settings, Wanted};
use super::peers::{self, Peering};
use super::reports;
use super::status::status_lines;
use super::uploads;
use super::{
    Actor, Admins, Audience, Effects, Gone, Invite, Notice, NoticeChange, Online, Request,
    Response, RoomPage, RoomQuery, TeamError, TeamVerb,
};
use crate::base::role::Role;
use crate::base::size::readable;
use crate::base::time::{from_micros, stamp};
use crate::jid::{BareJid, Jid, JidError};
use crate::store::accounts::{Account, Removed};
use crate::store::{Snapshot, Store, Uploads};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::SystemTime;

/// Carries out the operator's requests.
#[derive(Clone)]
pub struct Operator {
    store: Store,
    /// Served domains, in normal form.
    hosts: Vec<String>,
    /// PBKDF2 rounds for new passwords.
    iterations: u32,
    /// What is configured of invitations.
    inviting: Settings,
    effects: Arc<dyn Effects>,
    /// Whom the configuration makes an admin.
    admins: Admins,
    /// What is between the running server and others.
    peering: Option<Arc<dyn Peering>>,
    /// The running server's certificates.
    certificates: Option<Arc<dyn Keeping>>,
}

impl Operator {
    /// An operator over a store; `effects` is `()` where there are no sessions.
    pub fn new(
        store: Store,
        hosts: Vec<String>,
        iterations: u32,
        effects: Arc<dyn Effects>,
    ) -> Self {
        let (inviting, admins) = (Settings::default(), Admins::default());
        let (peering, certificates) = (None, None);
        Self { store, hosts, iterations, inviting, effects, admins, peering, certificates }
    }

    /// With the admins that the configuration names.
    #[must_use]
    pub fn with_admins(self, admins: Admins) -> Self {
        Self { admins, ..self }
    }

    /// With the streams between the running server and others.
    #[must_use]
    pub fn with_peering(self, peering: Arc<dyn Peering>) -> Self {
        Self { peering: Some(peering), ..self }
    }

    /// With the running server's certificates.
    #[must_use]
    pub fn with_certificates(self, certificates: Arc<dyn Keeping>) -> Self {
        Self { certificates: Some(certificates), ..self }
    }

    /// Says how invitations are made.
    #[must_use]
    pub fn inviting(self, inviting: Settings) -> Self {
        Self { inviting, ..self }
    }

    /// Carries out one request of whoever has the server's files.
    pub async fn run(&self, request: Request) -> Response {
        if let Request::Backup { path } = request {
            return self.backup(path.into()).await;
        }
        match self.done(None, request).await {
            Ok(lines) => Response::Ok { lines },
            Err(error) => Response::error(error),
        }
    }

    /// Carries out one request of an admin, within what [`Operator::check`] says.
    pub async fn act(&self, by: &Actor, request: Request) -> Result<Vec<String>, AdminError> {
        self.check(by, &request).await?;
        self.done(Some(by), request).await
    }

    /// Whether an admin may do this: to accounts below itself, and to all if it is an owner.
    pub async fn check(&self, by: &Actor, request: &Request) -> Result<(), AdminError> {
        let Some(about) = request.about() else { return Ok(()) };
        let jid = Jid::parse(about).map_or(about.to_owned(), |jid| jid.bare_str().to_owned());
        let jid = accounts::parse(&jid)?;
        let makes = matches!(request, Request::UserAdd { .. });
        let stored = match accounts::find(&self.store, &jid).await {
            Err(AdminError::Unknown(_)) => accounts::find_removed(&self.store, &jid).await,
            found => found,
        };
        let given = match stored {
            Ok(account) => account.role,
            Err(AdminError::NotRemoved(_)) if makes => Role::User,
            Err(AdminError::NotRemoved(jid)) => return Err(AdminError::Unknown(jid)),
            Err(error) => return Err(error),
        };
        let role = given.max(self.admins.role(jid.as_str()));
        let gives = matches!(request, Request::UserRole { role: Some(_), .. });
        if by.role.rules(role) && (!gives || by.role == Role::Owner) {
            return Ok(());
        }
        tracing::warn!(by = %by.jid, on = %jid, "an admin was refused");
        Err(AdminError::Above(jid, role))
    }

    /// Who has sessions now.
    pub fn online(&self) -> Vec<Online> {
        self.effects.online()
    }

    /// Some rooms.
    pub async fn rooms(&self, query: RoomQuery) -> Result<RoomPage, AdminError> {
        self.effects.rooms(query).await
    }

    /// How many accounts there are, and how many of them are disabled.
    pub async fn registered(&self) -> Result<(usize, usize), AdminError> {
        let all = accounts::list(&self.store, None).await?;
        Ok((all.len(), all.iter().filter(|account| account.disabled).count()))
    }

    /// Changes what accounts are told at login; what it is now.
    pub async fn notice(
        &self,
        which: Notice,
        change: NoticeChange,
    ) -> Result<Option<String>, AdminError> {
        self.effects.notice(which, change).await
    }

    /// Does it, and says in the log who did what to whom.
    async fn done(&self, by: Option<&Actor>, request: Request) -> Result<Vec<String>, AdminError> {
        let (team, on) = match &request {
            Request::Room(verb) => (None, verb.about()),
            Request::Peers(verb) => (None, verb.about()),
            Request::Team(verb) => {
                verb.changes().map_or((None, None), |(_, team, on)| (Some(team), on))
            }
            other => (None, other.about()),
        };
        let (what, team, on) = (request.changes(), team.map(str::to_owned), on.map(str::to_owned));
        let lines = self.lines(request).await?;
        if let Some(what) = what {
            let by = by.map_or("the command line", |actor| actor.jid.as_str());
            tracing::info!(by, team, on, "an admin {what}");
        }
        Ok(lines)
    }

    async fn lines(&self, request: Request) -> Result<Vec<String>, AdminError> {
        match request {
            Request::UserList { deleted: true, .. } => self.list_removed().await,
            Request::UserList { domain, .. } => self.list(domain).await,
            Request::UserDevices { jid } => self.devices(&jid).await,
            Request::AdminList => self.list_admins().await,
            Request::UserResetLink { jid, hours } => self.reset_link(&jid, hours).await,
            Request::Invite(wanted) => self.invite(wanted).await,
            Request::InviteList => invitations::list(&self.store, clock()).await,
            Request::Team(verb) => self.effects.team(verb).await,
            Request::Room(verb) => self.effects.room(verb).await,
            Request::Upload(verb) => uploads::run(&self.store, verb).await,
            Request::ReportList { all } => reports::list(&self.store, all).await,
            Request::ReportShow { id } => reports::show(&self.store, id).await,
            Request::Peers(verb) => peers::run(&self.store, self.peering.as_deref(), verb).await,
            Request::Certificates(verb) => {
                certificates::run(self.certificates.as_deref(), verb).await
            }
            Request::Status => Ok(self.status()),
            Request::Notice { which, change } => {
                let text = self.notice(which, change).await?;
                Ok(text.unwrap_or_default().lines().map(str::to_owned).collect())
            }
            Request::UserLogout { jid } => self.log_out(&jid).map(|line| vec![line]),
            Request::Announce { text, to } => self.announce(&text, to).await.map(|line| vec![line]),
            other => self.change(other).await.map(|line| vec![line]),
        }
    }

    fn status(&self) -> Vec<String> {
        let mut lines = status_lines(&self.store.load());
        lines.extend(self.peering.iter().flat_map(|peering| peering.status()));
        lines.extend(self.certificates.iter().flat_map(|certificates| certificates.status()));
        lines
    }

    fn log_out(&self, text: &str) -> Result<String, AdminError> {
        let wrong = |error: JidError| AdminError::Address(text.to_owned(), error.to_string());
        let jid = Jid::parse(text).map_err(wrong)?;
        accounts::parse(jid.bare_str())?;
        match self.effects.log_out(&jid) {
            0 => Err(AdminError::NotOnline(jid)),
            1 => Ok(format!("{jid} is logged out")),
            more => Ok(format!("{jid} is logged out of {more} sessions")),
        }
    }

    async fn announce(&self, text: &str, to: Audience) -> Result<String, AdminError> {
        let count = self.effects.announce(text, to).await?;
        let whom = match to {
            Audience::Online => "who are online",
            Audience::All => "in all; who is away gets it later",
        };
        Ok(format!("sent to {count} accounts {whom}"))
    }

    #[allow(clippy::too_many_lines)] // an arm for each verb
    async fn change(&self, request: Request) -> Result<String, AdminError> {
        let store = &self.store;
        match request {
            Request::UserAdd { jid, password } => {
                let jid = accounts::parse(&jid)?;
                served(&self.hosts, &jid)?;
                accounts::add(store, &jid, &password, self.iterations).await?;
                self.effects.account_made(&jid);
                Ok(format!("{jid} can log in now"))
            }
            Request::UserPasswd { jid, password } => {
                let jid = accounts::parse(&jid)?;
                accounts::passwd(store, &jid, &password, self.iterations).await?;
                self.effects.account_gone(&jid, Gone::PasswordChanged);
                Ok(format!("{jid} has another password; its devices are logged out"))
            }
            Request::UserDisable { jid } => {
                let jid = accounts::parse(&jid)?;
                let changed = accounts::disable(store, &jid).await?;
                self.effects.account_gone(&jid, Gone::Disabled);
                self.turned(&jid, false).await?;
                let already = if changed { "" } else { " already" };
                Ok(format!("{jid} is{already} disabled: nobody can log in to it"))
            }
            Request::UserEnable { jid } => {
                let jid = accounts::parse(&jid)?;
                let changed = accounts::enable(store, &jid).await?;
                self.turned(&jid, true).await?;
                let already = if changed { "" } else { " already" };
                Ok(format!("{jid} is{already} enabled"))
            }
            Request::UserDel { jid, now } => self.del(&accounts::parse(&jid)?, now).await,
            Request::UserRestore { jid } => {
                let jid = accounts::parse(&jid)?;
                accounts::restore(store, &jid).await?;
                self.effects.account_made(&jid);
                self.turned(&jid, true).await?;
                Ok(format!(
                    "{jid} is back, with its password, contacts and messages; what its contacts see \
                     of each other has to be asked for again"
                ))
            }
            Request::ReportDone { id } => reports::done(store, id).await,
            Request::UserRevoke { jid, device: Some(name) } => {
                let jid = accounts::parse(&jid)?;
                let device = accounts::revoke(store, &jid, &name).await?;
                self.effects.device_gone(&jid, &device);
                Ok(format!("the device {} of {jid} is logged out", device.name()))
            }
            Request::UserRevoke { jid, device: None } => {
                let jid = accounts::parse(&jid)?;
                let count = accounts::revoke_all(store, &jid).await?;
                self.effects.account_gone(&jid, Gone::Revoked);
                Ok(format!("{jid} is logged out everywhere, {count} known devices forgotten"))
            }
            Request::UserRole { jid, role } => self.role(&accounts::parse(&jid)?, role).await,
            Request::InviteRevoke { which } => {
                let id = invitations::revoke(store, &which.0).await?;
                Ok(format!("the invitation {id} is revoked: nobody can use it any more"))
            }
            Request::UserList { .. }
            | Request::Notice { .. }
            | Request::UserLogout { .. }
            | Request::Announce { .. }
            | Request::AdminList
            | Request::ReportList { .. }
            | Request::ReportShow { .. }
            | Request::UserDevices { .. }
            | Request::UserResetLink { .. }
            | Request::Invite(_)
            | Request::InviteList
            | Request::Team(_)
            | Request::Room(_)
            | Request::Upload(_)
            | Request::Peers(_)
            | Request::Certificates(_)
            | Request::Status
            | Request::Backup { .. } => Ok(String::new()),
        }
    }

    async fn turned(&self, jid: &BareJid, open: bool) -> Result<(), AdminError> {
        let id = accounts::find(&self.store, jid).await?.id;
        self.effects.account_turned(id, open).await
    }

    /// Removes an account; with `now`, erases it, even if it was removed before.
    async fn del(&self, jid: &BareJid, now: bool) -> Result<String, AdminError> {
        let account = match accounts::find(&self.store, jid).await {
            Err(unknown @ AdminError::Unknown(_)) if now => {
                accounts::find_removed(&self.store, jid).await.map_err(|_| unknown)
            }
            found => found,
        };
        let id = account?.id;
        let until = self.effects.end_account(&self.store, jid, id, now).await?;
        self.effects.account_gone(jid, Gone::Deleted);
        Ok(match until {
            Some(until) => format!(
                "{jid} is deleted; until {} `stonechat user restore {jid}` brings it back",
                stamp(from_micros(until))
            ),
            None => format!("{jid} is deleted with all it owned"),
        })
    }

    /// Gives an account a role, or says which it has; the configuration's word adds to it.
    async fn role(&self, jid: &BareJid, role: Option<Role>) -> Result<String, AdminError> {
        let account = accounts::find(&self.store, jid).await?;
        if let Some(role) = role {
            self.effects.set_role(&self.store, jid, account.id, role).await?;
        }
        let given = role.unwrap_or(account.role);
        let named = self.admins.role(jid.as_str());
        let (role, by) = match named > given {
            true => (named, format!(": admin.{}s in the configuration says so", named.as_str())),
            false => (given, String::new()),
        };
        Ok(format!("{jid} is {}{by}", role.as_str()))
    }

    async fn list_admins(&self) -> Result<Vec<String>, AdminError> {
        let mut all = std::collections::BTreeMap::<String, Role>::new();
        let stored = accounts::admins(&self.store).await?;
        let stored = stored.into_iter().map(|(jid, role)| (jid.to_string(), role));
        let named = self.admins.all().map(|(jid, role)| (jid.to_owned(), role));
        for (jid, role) in stored.chain(named) {
            let known = all.entry(jid).or_default();
            *known = role.max(*known);
        }
        Ok(all.into_iter().map(|(jid, role)| format!("{jid}  {}", role.as_str())).collect())
    }

    async fn reset_link(&self, jid: &str, hours: u32) -> Result<Vec<String>, AdminError> {
        let jid = accounts::parse(jid)?;
        let made =
            invitations::reset_link(&self.store, &self.inviting, &jid, hours, clock()).await?;
        let what = format!("sets a new password for {jid}, once");
        Ok(link_lines(made, &what))
    }

    /// The link comes first, what it is for last.
    async fn invite(&self, wanted: Invite) -> Result<Vec<String>, AdminError> {
        let Invite { domain, user, name, team, uses, days } = wanted;
        let inviter = match user {
            None => None,
            Some(user) => {
                let jid = accounts::parse(&user)?;
                let account = accounts::find(&self.store, &jid).await?.id;
                Some(Inviter { account, jid })
            }
        };
        let host = match (domain, &inviter, self.hosts.as_slice()) {
            (Some(domain), ..) => self.domain(&domain)?,
            (None, Some(inviter), _) => inviter.jid.domain().to_owned(),
            (None, None, [only]) => only.clone(),
            (None, None, all) => return Err(AdminError::WhichDomain(all.join(", "))),
        };
        let mut what = match uses {
            1 => format!("one person can make an account on {host} with it"),
            _ => format!("{uses} people can make an account on {host} with it"),
        };
        if let Some(inviter) = &inviter {
            what += &format!("; {} becomes a contact", inviter.jid);
        }
        if let Some(team) = &team {
            // A name that cannot be one is told below.
            let show = TeamVerb::Show { name: team.clone() };
            if let Err(AdminError::Team(TeamError::Unknown(team))) = self.effects.team(show).await {
                return Err(AdminError::NoTeam(team));
            }
            what += &format!("; they join the team {team}");
        }
        let kind = Kind::Account { local: name, befriends: inviter.is_some() };
        let days = days.unwrap_or(self.inviting.days);
        // The operator's own are not counted.
        let wanted = Wanted { host, inviter, kind, team, uses, days, most: u32::MAX };
        let made = invitations::invite(&self.store, &self.inviting, wanted, clock()).await?;
        Ok(link_lines(made, &what))
    }

    async fn devices(&self, jid: &str) -> Result<Vec<String>, AdminError> {
        let jid = accounts::parse(jid)?;
        let devices = accounts::devices(&self.store, &jid).await?;
        Ok(devices.iter().map(device_line).collect())
    }

    async fn backup(&self, path: PathBuf) -> Response {
        // A relative path would be resolved in the server's folder, not where the command was given.
        if !path.is_absolute() {
            return Response::error("the path of a backup starts with /");
        }
        match self.store.backup(path).await {
            Ok(made) => Response::done(backup_line(&made)),
            Err(error) => Response::error(error),
        }
    }

    async fn list_removed(&self) -> Result<Vec<String>, AdminError> {
        let line = |removed: &Removed| {
            let Account { localpart, host, .. } = &removed.account;
            format!("{localpart}@{host}  deleted {}", stamp(from_micros(removed.at)))
        };
        let removed = accounts::list_removed(&self.store).await?;
        Ok(removed.iter().map(line).collect())
    }

    async fn list(&self, domain: Option<String>) -> Result<Vec<String>, AdminError> {
        let domain = domain.map(|domain| self.domain(&domain)).transpose()?;
        let accounts = accounts::list(&self.store, domain.as_deref()).await?;
        let line = |account: &Account| {
            let mark = if account.disabled { " (disabled)" } else { "" };
            format!("{}@{}{mark}", account.localpart, account.host)
        };
        Ok(accounts.iter().map(line).collect())
    }

    /// Checks that the domain is served and returns it in normal form.
    fn domain(&self, text: &str) -> Result<String, AdminError> {
        let wrong = |error: JidError| AdminError::Address(text.to_owned(), error.to_string());
        let jid = BareJid::parse(text).map_err(wrong)?;
        served(&self.hosts, &jid)?;
        Ok(jid.domain().to_owned())
    }
}

/// The link, the page that tells of it, and what it is for.
fn link_lines(made: Made, what: &str) -> Vec<String> {
    let until = stamp(from_micros(made.expires));
    let what = format!("until {until} {what}");
    [Some(made.uri), made.landing, Some(what)].into_iter().flatten().collect()
}

#[allow(clippy::disallowed_methods)] // the wall clock, for the operator's own commands
fn clock() -> SystemTime {
    SystemTime::now()
}

/// The operator's report of a finished backup.
pub fn backup_line(made: &Snapshot) -> String {
    let (kib, ms) = (made.bytes.div_ceil(1024), made.took.as_millis());
    let path = made.path.display();
    let uploads = made.uploads.as_ref().map(|Uploads { folder, files, bytes, missing }| {
        let (folder, bytes) =
            (folder.display(), readable(i64::try_from(*bytes).unwrap_or(i64::MAX)));
        match missing {
            0 => format!("; {folder} holds its {files} uploaded files: {bytes}"),
            missing => {
                let held = files.saturating_sub(*missing);
                format!(
                    "; {folder} holds {held} of its {files} uploaded files: {bytes}; the other {missing} are not in the \
                     data folder: in the bucket of uploads, or MISSING if there is none"
                )
            }
        }
    });
    let uploads = uploads.unwrap_or_default();
    format!("{path} holds the database as it was: {kib} KiB, in {ms} ms{uploads}")
}

/// Refuses an address on a domain that is not served: nobody could log in to the account.
pub fn served(hosts: &[String], jid: &BareJid) -> Result<(), AdminError> {
    if hosts.iter().any(|host| host == jid.domain()) {
        return Ok(());
    }
    let (domain, served) = (jid.domain().to_owned(), hosts.join(", "));
    Err(AdminError::NotServed { domain, served })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::admin::{Doing, Presence, RoomVerb, Secret, TeamVerb};
    use crate::base::credential::AgentId;
    use crate::store::Options;
    use crate::store::devices::{self, Seen as Device};
    use crate::store::ids::AccountId;
    use std::sync::Mutex;

    #[derive(Default)]
    struct Seen(Mutex<Vec<(String, Gone)>>, Mutex<Vec<(AccountId, bool)>>);

    impl Effects for Seen {
        fn device_gone(&self, jid: &BareJid, device: &AgentId) {
            let what = format!("{jid} {}", device.name());
            self.0.lock().unwrap().push((what, Gone::Revoked));
        }

        fn end_account<'a>(
            &'a self,
            store: &'a Store,
            _: &'a BareJid,
            account: AccountId,
            now: bool,
        ) -> Doing<'a, Option<i64>> {
            Box::pin(async move {
                let end = move |tx: &mut dyn crate::store::Tx| match now {
                    true => crate::store::accounts::delete(tx, account),
                    false => crate::store::accounts::remove(tx, account, 0),
                };
                store.write(end).await?;
                Ok((!now).then_some(1_000_000))
            })
        }

        fn set_role<'a>(
            &'a self,
            store: &'a Store,
            _: &'a BareJid,
            id: AccountId,
            role: Role,
        ) -> Doing<'a, ()> {
            Box::pin(async move {
                let set = move |tx: &mut dyn crate::store::Tx| {
                    crate::store::accounts::set_role(tx, id, role).map(drop)
                };
                Ok(store.write(set).await?)
            })
        }

        fn account_made(&self, _jid: &BareJid) {}

        fn account_turned<'a>(&'a self, account: AccountId, open: bool) -> Doing<'a, ()> {
            self.1.lock().unwrap().push((account, open));
            Box::pin(async { Ok(()) })
        }

        fn team<'a>(&'a self, verb: TeamVerb) -> Doing<'a, Vec<String>> {
            Box::pin(async move { Ok(vec![format!("{verb:?}")]) })
        }

        fn room<'a>(&'a self, verb: RoomVerb) -> Doing<'a, Vec<String>> {
            Box::pin(async move { Ok(vec![format!("{verb:?}")]) })
        }

        fn rooms<'a>(&'a self, _: RoomQuery) -> Doing<'a, RoomPage> {
            Box::pin(async move { Ok(RoomPage::default()) })
        }

        fn log_out(&self, jid: &Jid) -> usize {
            usize::from(jid.is_full()) + 2 * usize::from(jid.domain() == "x" && jid.is_bare())
        }

        fn online(&self) -> Vec<Online> {
            let jid = BareJid::parse("a@x").unwrap();
            vec![Online { jid, resources: vec!["r".to_owned()], presence: Presence::Active }]
        }

        fn announce<'a>(&'a self, text: &'a str, _: Audience) -> Doing<'a, usize> {
            Box::pin(async move { Ok(text.len()) })
        }

        fn notice<'a>(&'a self, _: Notice, change: NoticeChange) -> Doing<'a, Option<String>> {
            Box::pin(async move {
                Ok(match change {
                    NoticeChange::Set(text) | NoticeChange::Edit(text) => Some(text),
                    NoticeChange::Show | NoticeChange::Delete => None,
                })
            })
        }

        fn account_gone(&self, jid: &BareJid, why: Gone) {
            self.0.lock().unwrap().push((jid.to_string(), why));
        }
    }

    #[tokio::test]
    async fn a_backup_goes_where_the_path_says() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(Options::new(folder.path().join("x.db"))).unwrap();
        let operator = Operator::new(store, Vec::new(), 1, Arc::new(Seen::default()));
        let to = folder.path().join("copy").display().to_string();
        for (path, wanted) in [("copy", "starts with /"), (&to, " KiB, in "), (&to, "exists")] {
            let told = match operator.run(Request::Backup { path: path.to_owned() }).await {
                Response::Ok { lines } => lines.join("\n"),
                Response::Error { message } => message,
            };
            assert!(told.contains(wanted), "{path}: {told}");
        }
    }

    #[tokio::test]
    async fn each_request_does_its_verb_and_says_so() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(Options::new(folder.path().join("x.db"))).unwrap();
        let seen = Arc::new(Seen::default());
        let operator = Operator::new(store, vec!["x".to_owned()], 1, Arc::<Seen>::clone(&seen));
        let jid = |name: &str| name.to_owned();
        let del = |name: &str, now| Request::UserDel { jid: jid(name), now };
        let list = |name: Option<&str>| Request::UserList {
            domain: name.map(str::to_owned),
            deleted: false,
        };
        let secret = || Secret("p".to_owned());
        let cases = [
            (Request::UserAdd { jid: jid("a@y"), password: secret() }, "not served here, only: x"),
            (Request::UserAdd { jid: jid("A@x"), password: secret() }, "a@x can log in now"),
            (Request::UserAdd { jid: jid("a@x"), password: secret() }, "exists already"),
            (Request::UserPasswd { jid: jid("a@x"), password: secret() }, "another password"),
            (Request::UserDisable { jid: jid("a@x") }, "is disabled"),
            (list(None), "a@x (disabled)"),
            (Request::Status, "disk: takes writes\nwrites on the way: 0, 0 KiB"),
            (Request::UserDisable { jid: jid("a@x") }, "is already disabled"),
            (Request::UserEnable { jid: jid("a@x") }, "is enabled"),
            (list(Some("X")), "a@x"),
            (list(Some("y")), "not served here, only: x"),
            (del("a@x", false), "until 1970-01-01T00:00:01Z `stonechat user restore a@x`"),
            (list(None), ""),
            (Request::UserList { domain: None, deleted: true }, "a@x  deleted 1970-"),
            (del("a@x", false), "no account a@x"),
            (Request::UserAdd { jid: jid("a@x"), password: secret() }, "user restore a@x"),
            (Request::UserRestore { jid: jid("a@x") }, "a@x is back"),
            (Request::UserRestore { jid: jid("a@x") }, "no deleted account a@x"),
            (del("a@x", false), "until"),
            (del("a@x", true), "deleted with all it owned"),
            (del("a@x", true), "no account a@x"),
            (del("x", false), "not the address"),
        ];
        for (request, wanted) in cases {
            let told = match operator.run(request.clone()).await {
                Response::Ok { lines } => lines.join("\n"),
                Response::Error { message } => message,
            };
            assert!(told.contains(wanted), "{request:?}: {told}");
        }
        let whys: Vec<Gone> = seen.0.lock().unwrap().iter().map(|(_, why)| *why).collect();
        use Gone::{Deleted, Disabled, PasswordChanged};
        assert_eq!(whys, [PasswordChanged, Disabled, Disabled, Deleted, Deleted, Deleted]);
        let turns: Vec<bool> = seen.1.lock().unwrap().iter().map(|(_, open)| *open).collect();
        assert_eq!(turns, [false, false, true, true], "shut twice, opened, restored");
    }

    #[tokio::test]
    async fn roles_are_given_and_told_with_what_the_configuration_says() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(Options::new(folder.path().join("x.db"))).unwrap();
        let admins = Admins { owners: vec!["c@x".to_owned()], operators: vec!["b@x".to_owned()] };
        let operator = Operator::new(store, vec!["x".to_owned()], 1, Arc::new(Seen::default()))
            .with_admins(admins);
        for jid in ["a@x", "b@x"] {
            let (jid, password) = (jid.to_owned(), Secret("p".to_owned()));
            operator.run(Request::UserAdd { jid, password }).await;
        }
        let role = |jid: &str, role| Request::UserRole { jid: jid.to_owned(), role };
        for (request, wanted) in [
            (Request::AdminList, "b@x  operator\nc@x  owner"),
            (role("a@x", None), "a@x is user"),
            (role("a@x", Some(Role::Owner)), "a@x is owner"),
            (role("A@x", None), "a@x is owner"),
            (
                role("b@x", Some(Role::User)),
                "b@x is operator: admin.operators in the configuration",
            ),
            (role("b@x", Some(Role::Owner)), "b@x is owner"),
            (Request::AdminList, "a@x  owner\nb@x  owner\nc@x  owner"),
            (role("a@x", Some(Role::User)), "a@x is user"),
            (role("d@x", Some(Role::Owner)), "no account d@x"),
        ] {
            let told = match operator.run(request.clone()).await {
                Response::Ok { lines } => lines.join("\n"),
                Response::Error { message } => message,
            };
            assert!(told.contains(wanted), "{request:?}: {told}");
        }
    }

    /// An operator does nothing to other admins, not by way of a password either, and makes none.
    #[tokio::test]
    async fn an_admin_rules_those_below() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(Options::new(folder.path().join("x.db"))).unwrap();
        let admins = Admins { owners: vec!["c@x".to_owned()], operators: Vec::new() };
        let operator = Operator::new(store, vec!["x".to_owned()], 1, Arc::new(Seen::default()))
            .with_admins(admins);
        for jid in ["a@x", "b@x", "o@x"] {
            let (jid, password) = (jid.to_owned(), Secret("p".to_owned()));
            operator.run(Request::UserAdd { jid, password }).await;
        }
        let set = |jid: &str, role| Request::UserRole { jid: jid.to_owned(), role: Some(role) };
        operator.run(set("b@x", Role::Operator)).await;
        operator.run(set("o@x", Role::Owner)).await;
        let actor = |jid: &str, role| Actor { jid: BareJid::parse(jid).unwrap(), role };
        let (b, o) = (actor("b@x", Role::Operator), actor("o@x", Role::Owner));
        let password = || Secret("q".to_owned());
        let passwd = |jid: &str| Request::UserPasswd { jid: jid.to_owned(), password: password() };
        let logout = |jid: &str| Request::UserLogout { jid: jid.to_owned() };
        for (by, request, may) in [
            (&b, passwd("a@x"), true),
            (&b, passwd("o@x"), false),
            (&b, passwd("b@x"), false),
            (&b, Request::UserAdd { jid: "c@x".to_owned(), password: password() }, false),
            (&b, set("a@x", Role::Operator), false),
            (&b, Request::UserDel { jid: "O@x".to_owned(), now: true }, false),
            (&b, logout("o@x/r"), false),
            (&b, logout("a@x/r"), true),
            (&o, logout("a@x"), true),
            (&o, set("b@x", Role::User), true),
            (&o, passwd("o@x"), true),
            (&b, Request::Announce { text: "t".to_owned(), to: Audience::All }, true),
        ] {
            let done = operator.act(by, request.clone()).await;
            match may {
                true => assert!(done.is_ok(), "{request:?}: {done:?}"),
                false => assert!(matches!(done, Err(AdminError::Above(..))), "{request:?}"),
            }
        }
        assert!(operator.act(&b, logout("a@y")).await.is_err(), "nobody is there");
    }

    #[tokio::test]
    async fn devices_are_listed_and_revoked() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(Options::new(folder.path().join("x.db"))).unwrap();
        let seen = Arc::new(Seen::default());
        let operator =
            Operator::new(store.clone(), vec!["x".to_owned()], 1, Arc::<Seen>::clone(&seen));
        let (jid, password) = ("a@x".to_owned(), Secret("p".to_owned()));
        operator.run(Request::UserAdd { jid, password }).await;
        let agents = ["one", "two", "three"].map(AgentId::of);
        let put = move |tx: &mut dyn crate::store::Tx| {
            let id = crate::store::accounts::find(tx, "a", "x")?.unwrap().id;
            for (agent, software) in agents.into_iter().zip(["Gajim", "", "Dino"]) {
                devices::put_seen(tx, id, &Device::new(agent, software, "", 0), 9)?;
            }
            Ok(())
        };
        store.write(put).await.unwrap();
        let run = |request| async {
            match operator.run(request).await {
                Response::Ok { lines } => lines.join("\n"),
                Response::Error { message } => message,
            }
        };
        let list = |jid: &str| Request::UserDevices { jid: jid.to_owned() };
        let revoke = |device: Option<&str>| Request::UserRevoke {
            jid: "a@x".to_owned(),
            device: device.map(str::to_owned),
        };
        let told = run(list("a@x")).await;
        let name = agents[0].name();
        let line = format!("{name}  Gajim; first seen 1970-01-01, last 1970-01-01");
        assert_eq!(told.lines().count(), 3, "{told}");
        assert!(told.contains(&line) && told.contains("unnamed"), "{told}");
        assert!(run(list("b@x")).await.contains("no account b@x"));
        assert!(run(revoke(Some("nonsense"))).await.contains("user devices a@x"));
        let upper = name.to_ascii_uppercase();
        assert!(run(revoke(Some(&upper))).await.contains("is logged out"));
        assert!(run(revoke(Some(&name))).await.contains("has no device"));
        assert!(run(revoke(None)).await.contains("2 known devices"));
        assert_eq!(run(list("a@x")).await, "");
        let ended: Vec<_> = seen.0.lock().unwrap().iter().map(|(who, _)| who.clone()).collect();
        assert_eq!(ended, [format!("a@x {name}"), "a@x".to_owned()]);
    }
}
