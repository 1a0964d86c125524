//! Carries out the verbs: looks whether who asks may, does it, and writes down who did what.

use super::accounts::{self, AdminError};
use super::audit::{self, Entry};
use super::certificates::{self, Keeping};
use super::invitations::{self, Inviter, Kind, Made, Settings, Wanted};
use super::peers::{self, Peering};
use super::told::*;
use super::{
    Actor, Admins, Audience, Effects, Gone, Invite, LOG_LINES_MAX, Notice, NoticeChange, Online,
    Outcome, Rank, Request, Response, RoomPage, RoomQuery, Surroundings, TeamError, TeamVerb, Via,
};
use super::{looks, reports, table, tokens, uploads};
use crate::base::role::Role;
use crate::base::time::{from_micros, stamp};
use crate::jid::{BareJid, Jid, JidError};
use crate::store::Store;
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
    /// The server around.
    around: Option<Arc<dyn Surroundings>>,
}

/// Gives an operator with the time of now; none if no domain is served.
pub type Operators = Arc<dyn Fn() -> Option<Operator> + Send + Sync>;

impl Operator {
    /// An operator over a store; `effects` is `()` where there are no sessions.
    pub fn new(
        store: Store,
        hosts: Vec<String>,
        iterations: u32,
        effects: Arc<dyn Effects>,
    ) -> Self {
        let (inviting, admins) = (Settings::default(), Admins::default());
        let (peering, certificates, around) = (None, None, None);
        Self { store, hosts, iterations, inviting, effects, admins, peering, certificates, around }
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

    /// With what the server around knows.
    #[must_use]
    pub fn with_surroundings(self, around: Arc<dyn Surroundings>) -> Self {
        Self { around: Some(around), ..self }
    }

    /// Says how invitations are made.
    #[must_use]
    pub fn inviting(self, inviting: Settings) -> Self {
        Self { inviting, ..self }
    }

    /// Carries out one request of whoever has the server's files.
    pub async fn run(&self, request: Request) -> Response {
        match self.act(&Actor::command_line(), request).await {
            Ok(outcome) => Response::Ok { outcome },
            Err(error) => Response::error(error),
        }
    }

    /// Carries out one request of somebody, within what its rank allows, and writes down what came of it.
    pub async fn act(&self, by: &Actor, request: Request) -> Result<Outcome, AdminError> {
        let entry = Entry::of(by, &request);
        let done = match self.judge(by, &request).await {
            Ok(()) => self.outcome(request).await,
            Err(error) => Err(error),
        };
        entry.came_of(&self.store, &done, clock()).await;
        done
    }

    /// The same, for a caller that knows what the verb gives.
    pub async fn ask<T: TryFrom<Outcome, Error = Outcome>>(
        &self,
        by: &Actor,
        request: Request,
    ) -> Result<T, AdminError> {
        let name = request.name();
        let outcome = self.act(by, request).await?;
        T::try_from(outcome).map_err(|other| AdminError::Mixed(name, other.kind()))
    }

    /// Whose token a text is; none if it is none, or not good any more.
    pub async fn identify(&self, token: &str) -> Result<Option<(String, Rank)>, AdminError> {
        tokens::identify(&self.store, token, clock()).await
    }

    /// Looks before several are done whether somebody may do this one; if not, that is written down. [`Operator::act`]
    /// looks by itself.
    pub async fn check(&self, by: &Actor, request: &Request) -> Result<(), AdminError> {
        let judged = self.judge(by, request).await;
        if judged.is_err() {
            Entry::of(by, request).came_of(&self.store, &judged, clock()).await;
        }
        judged
    }

    /// Whether somebody may do this: what the table of verbs says, and to accounts below itself alone, unless it is an
    /// owner.
    async fn judge(&self, by: &Actor, request: &Request) -> Result<(), AdminError> {
        if by.via == Via::CommandLine {
            return Ok(());
        }
        let verb = table::find(request.name());
        let (least, changes) = verb.map_or((Rank::Owner, true), |verb| (verb.least, verb.changes));
        if !by.rank.may(least, changes) {
            return Err(AdminError::Forbidden(request.name(), least));
        }
        match request.about() {
            Some(about) if changes => self.rules(by, request, about).await,
            _ => Ok(()),
        }
    }

    /// Whether somebody may change this account.
    async fn rules(&self, by: &Actor, request: &Request, about: &str) -> Result<(), AdminError> {
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
        match by.rank.role().rules(role) {
            true => Ok(()),
            false => Err(AdminError::Above(jid, role)),
        }
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

    #[allow(clippy::too_many_lines)] // an arm for each verb
    async fn outcome(&self, request: Request) -> Result<Outcome, AdminError> {
        let (store, now) = (&self.store, clock());
        match request {
            Request::UserList(query) if query.deleted => looks::removed(store, &query).await,
            Request::UserList(query) => {
                let domain = query.domain.as_deref().map(|domain| self.domain(domain));
                looks::list(store, domain.transpose()?.as_deref(), &query).await
            }
            Request::UserShow { jid } => {
                let jid = accounts::parse(&jid)?;
                let sessions = self.resources(&jid).len();
                looks::show(store, &self.admins, &jid, sessions).await
            }
            Request::UserDevices { jid } => looks::devices(store, &accounts::parse(&jid)?).await,
            Request::UserSessions { jid } => {
                let jid = accounts::parse(&jid)?;
                accounts::find(store, &jid).await?;
                Ok(looks::sessions(&jid, self.resources(&jid)))
            }
            Request::AdminList => looks::admins(store, &self.admins).await,
            Request::UserResetLink { jid, hours } => self.reset_link(&jid, hours).await,
            Request::Invite(wanted) => self.invite(wanted).await,
            Request::InviteList => Ok(invitations::list(store, now).await?.into()),
            Request::InviteRevoke { which } => {
                let id = invitations::revoke(store, &which.0).await?;
                Ok(InvitationRevoked { id }.into())
            }
            Request::Team(verb) => self.effects.team(verb).await,
            Request::Room(verb) => self.effects.room(verb).await,
            Request::Upload(verb) => uploads::run(store, verb).await,
            Request::ReportList { all } => reports::list(store, all).await,
            Request::ReportShow { id } => reports::show(store, id).await,
            Request::ReportDone { id } => reports::done(store, id).await,
            Request::Peers(verb) => peers::run(store, self.peering.as_deref(), verb).await,
            Request::Certificates(verb) => {
                certificates::run(self.certificates.as_deref(), verb).await
            }
            Request::Status => Ok(self.status().into()),
            Request::NoticeShow { which } => self.noticed(which, NoticeChange::Show).await,
            Request::NoticeSet { which, text, edit: false } => {
                self.noticed(which, NoticeChange::Set(text)).await
            }
            Request::NoticeSet { which, text, edit: true } => {
                self.noticed(which, NoticeChange::Edit(text)).await
            }
            Request::NoticeDelete { which } => self.noticed(which, NoticeChange::Delete).await,
            Request::UserLogout { jid } => self.log_out(&jid),
            Request::Announce { text, to } => self.announce(&text, to).await,
            Request::Backup { path } => self.backup(path.into()).await,
            Request::ConfigShow { section } => self.configuration(section.as_deref()),
            Request::LogTail { max, search } => self.log(max, search),
            Request::AuditList(query) => audit::list(store, query).await,
            Request::TokenAdd { name, role, days } => {
                tokens::add(store, (&name, role, days), now).await
            }
            Request::TokenList => tokens::list(store, now).await,
            Request::TokenRevoke { name } => tokens::revoke(store, name, now).await,
            Request::UserAdd { jid, password } => {
                let jid = accounts::parse(&jid)?;
                served(&self.hosts, &jid)?;
                accounts::add(store, &jid, &password, self.iterations).await?;
                self.effects.account_made(&jid);
                Ok(AccountMade { jid: jid.to_string() }.into())
            }
            Request::UserPasswd { jid, password } => {
                let jid = accounts::parse(&jid)?;
                accounts::passwd(store, &jid, &password, self.iterations).await?;
                self.effects.account_gone(&jid, Gone::PasswordChanged);
                Ok(PasswordSet { jid: jid.to_string() }.into())
            }
            Request::UserDisable { jid } => {
                let jid = accounts::parse(&jid)?;
                let changed = accounts::disable(store, &jid).await?;
                self.effects.account_gone(&jid, Gone::Disabled);
                self.turned(&jid, changed, false).await
            }
            Request::UserEnable { jid } => {
                let jid = accounts::parse(&jid)?;
                let changed = accounts::enable(store, &jid).await?;
                self.turned(&jid, changed, true).await
            }
            Request::UserDel { jid, now } => self.del(&accounts::parse(&jid)?, now).await,
            Request::UserRestore { jid } => {
                let jid = accounts::parse(&jid)?;
                accounts::restore(store, &jid).await?;
                self.effects.account_made(&jid);
                self.turned(&jid, true, true).await?;
                Ok(AccountRestored { jid: jid.to_string() }.into())
            }
            Request::UserRevoke { jid, device } => {
                let jid = accounts::parse(&jid)?;
                let device = accounts::revoke(store, &jid, &device).await?;
                self.effects.device_gone(&jid, &device);
                let (jid, device) = (jid.to_string(), Some(device.name()));
                Ok(DevicesRevoked { jid, device, forgotten: 1 }.into())
            }
            Request::UserRevokeAll { jid } => {
                let jid = accounts::parse(&jid)?;
                let forgotten = accounts::revoke_all(store, &jid).await?;
                self.effects.account_gone(&jid, Gone::Revoked);
                Ok(DevicesRevoked { jid: jid.to_string(), device: None, forgotten }.into())
            }
            Request::UserRole { jid } => self.role(&accounts::parse(&jid)?, None).await,
            Request::UserRoleSet { jid, role } => {
                self.role(&accounts::parse(&jid)?, Some(role)).await
            }
        }
    }

    async fn noticed(&self, which: Notice, change: NoticeChange) -> Result<Outcome, AdminError> {
        Ok(NoticeShown { text: self.notice(which, change).await? }.into())
    }

    fn status(&self) -> Status {
        let load = self.store.load();
        Status {
            writable: !load.refusing,
            queued: load.queued,
            queued_bytes: load.bytes,
            waiting: load.waiting,
            waited: load.waited,
            refused: load.refused,
            full: load.full,
            servers: self.peering.as_ref().map(|peering| peering.status()),
            certificates: self.certificates.as_ref().and_then(|it| it.status()),
        }
    }

    /// The settings of a section, or all.
    fn configuration(&self, section: Option<&str>) -> Result<Outcome, AdminError> {
        let mut settings = self.around.as_ref().ok_or(AdminError::NotHere)?.configuration();
        if let Some(section) = section {
            let is_in = |key: &str| {
                key.strip_prefix(section)
                    .is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
            };
            settings.retain(|setting| is_in(&setting.key));
            if settings.is_empty() {
                return Err(AdminError::UnknownSection(section.to_owned()));
            }
        }
        Ok(ConfigShown { settings }.into())
    }

    fn log(&self, max: Option<usize>, search: Option<String>) -> Result<Outcome, AdminError> {
        let mut lines = self.around.as_ref().ok_or(AdminError::NotHere)?.recent_log();
        let words = search.unwrap_or_default().to_lowercase();
        lines.retain(|line| line.to_lowercase().contains(&words));
        let most = max.unwrap_or(LOG_LINES_MAX);
        lines.drain(..lines.len().saturating_sub(most));
        Ok(LogLines { lines }.into())
    }

    fn log_out(&self, text: &str) -> Result<Outcome, AdminError> {
        let wrong = |error: JidError| AdminError::Address(text.to_owned(), error.to_string());
        let jid = Jid::parse(text).map_err(wrong)?;
        accounts::parse(jid.bare_str())?;
        match self.effects.log_out(&jid) {
            0 => Err(AdminError::NotOnline(jid)),
            sessions => Ok(SessionsEnded { jid: jid.to_string(), sessions }.into()),
        }
    }

    async fn announce(&self, text: &str, to: Audience) -> Result<Outcome, AdminError> {
        let accounts = self.effects.announce(text, to).await?;
        Ok(Announced { accounts, to }.into())
    }

    async fn turned(
        &self,
        jid: &BareJid,
        changed: bool,
        open: bool,
    ) -> Result<Outcome, AdminError> {
        let id = accounts::find(&self.store, jid).await?.id;
        self.effects.account_turned(id, open).await?;
        let (jid, disabled, already) = (jid.to_string(), !open, !changed);
        Ok(AccountTurned { jid, disabled, already }.into())
    }

    /// Removes an account; with `now`, erases it, even if it was removed before.
    async fn del(&self, jid: &BareJid, now: bool) -> Result<Outcome, AdminError> {
        let account = match accounts::find(&self.store, jid).await {
            Err(unknown @ AdminError::Unknown(_)) if now => {
                accounts::find_removed(&self.store, jid).await.map_err(|_| unknown)
            }
            found => found,
        };
        let id = account?.id;
        let until = self.effects.end_account(&self.store, jid, id, now).await?;
        self.effects.account_gone(jid, Gone::Deleted);
        let restorable_until = until.map(|until| stamp(from_micros(until)));
        Ok(AccountDeleted { jid: jid.to_string(), restorable_until }.into())
    }

    /// Gives an account a role, or says which it has; the configuration's word adds to it.
    async fn role(&self, jid: &BareJid, role: Option<Role>) -> Result<Outcome, AdminError> {
        let account = accounts::find(&self.store, jid).await?;
        if let Some(role) = role {
            self.effects.set_role(&self.store, jid, account.id, role).await?;
        }
        let given = role.unwrap_or(account.role);
        let named = self.admins.role(jid.as_str());
        let (role, configured) = (named.max(given), named > given);
        Ok(RoleShown { jid: jid.to_string(), role, configured }.into())
    }

    async fn reset_link(&self, jid: &str, hours: u32) -> Result<Outcome, AdminError> {
        let jid = accounts::parse(jid)?;
        let made =
            invitations::reset_link(&self.store, &self.inviting, &jid, hours, clock()).await?;
        Ok(link(made, format!("sets a new password for {jid}, once")))
    }

    async fn invite(&self, wanted: Invite) -> Result<Outcome, AdminError> {
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
        Ok(link(made, what))
    }

    fn resources(&self, jid: &BareJid) -> Vec<String> {
        let online = self.effects.online().into_iter().find(|online| online.jid == *jid);
        online.map(|online| online.resources).unwrap_or_default()
    }

    async fn backup(&self, path: PathBuf) -> Result<Outcome, AdminError> {
        if !path.is_absolute() {
            return Err(AdminError::BackupPath);
        }
        Ok(looks::backup_made(self.store.backup(path).await?).into())
    }

    /// Checks that the domain is served and returns it in normal form.
    fn domain(&self, text: &str) -> Result<String, AdminError> {
        let wrong = |error: JidError| AdminError::Address(text.to_owned(), error.to_string());
        let jid = BareJid::parse(text).map_err(wrong)?;
        served(&self.hosts, &jid)?;
        Ok(jid.domain().to_owned())
    }
}

fn link(made: Made, what: String) -> Outcome {
    let Made { uri, landing, expires } = made;
    Link { uri, page: landing, until: stamp(from_micros(expires)), what }.into()
}

#[allow(clippy::disallowed_methods)] // the wall clock, for the operator's own commands
fn clock() -> SystemTime {
    SystemTime::now()
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
    use crate::admin::{Doing, Presence, RoomVerb, Secret, TeamVerb, UserQuery};
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

        fn team<'a>(&'a self, verb: TeamVerb) -> Doing<'a, Outcome> {
            Box::pin(async move { Ok(Outcome::done(format!("{verb:?}"))) })
        }

        fn room<'a>(&'a self, verb: RoomVerb) -> Doing<'a, Outcome> {
            Box::pin(async move { Ok(Outcome::done(format!("{verb:?}"))) })
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
                Response::Ok { outcome } => outcome.lines().join("\n"),
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
        let list = |name: Option<&str>| {
            let domain = name.map(str::to_owned);
            Request::UserList(UserQuery { domain, ..UserQuery::default() })
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
            (
                Request::UserList(UserQuery { deleted: true, ..UserQuery::default() }),
                "a@x  deleted 1970-",
            ),
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
                Response::Ok { outcome } => outcome.lines().join("\n"),
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
        let role = |jid: &str, role| Request::role(jid.to_owned(), role);
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
                Response::Ok { outcome } => outcome.lines().join("\n"),
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
        let set = |jid: &str, role| Request::UserRoleSet { jid: jid.to_owned(), role };
        operator.run(set("b@x", Role::Operator)).await;
        operator.run(set("o@x", Role::Owner)).await;
        let actor = |jid: &str, role| Actor::client(&BareJid::parse(jid).unwrap(), role);
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
                false => assert!(
                    matches!(done, Err(AdminError::Above(..) | AdminError::Forbidden(..))),
                    "{request:?}"
                ),
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
                Response::Ok { outcome } => outcome.lines().join("\n"),
                Response::Error { message } => message,
            }
        };
        let list = |jid: &str| Request::UserDevices { jid: jid.to_owned() };
        let revoke =
            |device: Option<&str>| Request::revoke("a@x".to_owned(), device.map(str::to_owned));
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
