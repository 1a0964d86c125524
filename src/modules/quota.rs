//! One bound for all that an account stores (security.md 17). Over it the oldest messages of its archive
//! go, but for those that it is owed. No specification has this; the ruling is in docs/operations.md.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use serde::{Deserialize, Serialize};

use super::api::{Answer, Cause, Module, PeriodicJob};
use crate::jid::BareJid;
use crate::router::{Origin, Routed};
use crate::stanza::Stanza;
use crate::store::accounts;
use crate::store::archive;
use crate::store::ids::{AccountId, ArchiveId};
use crate::store::{StoreError, grown_step};
use crate::xml::writer::Xml;

/// The module.
pub const MODULE: Module =
    Module { name: "quota", every: Some((Duration::from_secs(3_600), run)), ..Module::EMPTY };

/// `[modules.quota]`
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Bytes that one account may store. 0: no bound.
    pub bytes_max: u64,
}

impl Default for Config {
    fn default() -> Self {
        // Some millions of messages; ten years of a person who writes a lot.
        Self { bytes_max: 1_073_741_824 }
    }
}

impl Config {
    /// What an archive grows by before somebody looks. An account may be over its bound by so much.
    pub fn step(&self) -> u64 {
        grown_step(self.bytes_max)
    }
}

/// What was looked at, and who was told.
#[derive(Debug, Default)]
pub struct Watch(Mutex<Seen>);

#[derive(Debug, Default)]
struct Seen {
    /// All accounts were weighed since the start: from then on those that grow are enough.
    all: bool,
    /// When their owners were told. Those of a day.
    told: HashMap<AccountId, SystemTime>,
}

impl Watch {
    fn lock(&self) -> MutexGuard<'_, Seen> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// True once a day for an account.
    fn tells(&self, account: AccountId, now: SystemTime) -> bool {
        let mut seen = self.lock();
        // A clock that was set back is waited for.
        seen.told.retain(|_, at| now.duration_since(*at).is_ok_and(|ago| ago < DAY) || *at > now);
        let tells = seen.told.len() < TOLD_MAX && !seen.told.contains_key(&account);
        if tells {
            seen.told.insert(account, now);
        }
        tells
    }
}

fn run(job: PeriodicJob) -> Answer<()> {
    Box::pin(async move {
        let watch = &job.server.shared().quota;
        match look(&job).await {
            Ok(()) | Err(StoreError::Closed) => {}
            Err(error) => {
                // Whoever was not looked at is among all.
                watch.lock().all = false;
                tracing::warn!(%error, "what accounts store could not be looked at; tried again later");
            }
        }
    })
}

async fn look(job: &PeriodicJob) -> Result<(), StoreError> {
    if job.config.quota.bytes_max == 0 || job.cause == Cause::AccountDeleted {
        return Ok(());
    }
    let watch = &job.server.shared().quota;
    let grown = job.store.take_grown();
    let all = grown.any || (job.cause == Cause::Due && !watch.lock().all);
    if !all && grown.archives.is_empty() {
        return Ok(());
    }
    // Rows are weighed where they are indexed.
    job.store.archives_indexed().await?;
    for account in grown.archives.into_iter().filter_map(ArchiveId::account) {
        hold(job, account).await?;
    }
    if all {
        let mut after = ArchiveId::BEFORE_ALL;
        let next = |after| job.store.read(move |tx| archive::archives_after(tx, after));
        while let Some(archive) = next(after).await? {
            // A room has bounds of its own.
            if let Some(account) = archive.account() {
                hold(job, account).await?;
            }
            after = archive;
        }
        watch.lock().all = true;
    }
    Ok(())
}

/// Brings an account under its bound.
async fn hold(job: &PeriodicJob, account: AccountId) -> Result<(), StoreError> {
    let most = job.config.quota.bytes_max;
    let modules = job.server.modules().iter();
    let weights = modules.flat_map(|module| module.weights).copied().collect();
    let stored = job.store.stored_by(account, weights).await?;
    if stored <= most {
        return Ok(());
    }
    // A little more than it must, so that not each message costs a look.
    let target = most - most / 20;
    let messages = job.store.shed(ArchiveId::of(account), stored - target).await?;
    if messages == 0 || !job.server.shared().quota.tells(account, job.now) {
        return Ok(());
    }
    // Also one that was removed: it may come back. An erased one is nobody's.
    let Some(Some((local, host))) = job.store.read(move |tx| accounts::name(tx, account)).await?
    else {
        return Ok(());
    };
    tracing::warn!(
        account = %format_args!("{local}@{host}"),
        stored,
        most,
        messages,
        "an account stored more than modules.quota.bytes_max; the oldest messages of its archive were \
         deleted, and are while it is. Said once a day"
    );
    match BareJid::from_parts(Some(&local), &host) {
        Ok(bare) => tell(job, &bare, messages).await,
        Err(_) => Ok(()),
    }
}

/// The owner learns it by a message as any other, which waits for who is away: what was deleted is not to
/// be missed later.
async fn tell(job: &PeriodicJob, bare: &BareJid, messages: usize) -> Result<(), StoreError> {
    let most = job.config.quota.bytes_max / 1_048_576;
    let body = format!(
        "Your messages took more than the {most} MiB that this server keeps for an account. The oldest \
         {messages} were deleted here, and more will be as new ones come; what your devices have stays \
         there. To keep more, save it on a device, or ask who runs this server. You are told this once \
         a day at most."
    );
    let mut xml = Xml::new();
    xml.start("message").attr("from", bare.domain()).attr("to", bare.as_str());
    xml.attr("xml:lang", "en").start("body").text(&body).end().end();
    let Some(stanza) = Stanza::ours(xml.finish()) else { return Ok(()) };
    let mut origin = Origin::server();
    if let Routed::Load(bare) = job.router.route(&stanza, job.now, &mut origin) {
        job.router.load(&bare).await?;
        job.router.route(&stanza, job.now, &mut origin);
    }
    Ok(())
}

const DAY: Duration = Duration::from_secs(86_400);
/// More accounts are told nothing on one day.
const TOLD_MAX: usize = 10_000;

#[cfg(test)]
mod tests {
    use super::super::testing::Server;
    use super::super::{ALL, Config as All};
    use super::*;
    use crate::store::archive::RowKind;
    use crate::store::usage;

    /// A table that comes later is counted, or says here why it is not.
    #[test]
    fn every_table_of_accounts_is_counted() {
        let own = usage::CATALOGUE.iter().map(|(_, sql)| *sql);
        let weights = ALL.iter().flat_map(|module| module.weights.iter().copied());
        let counted: String = own.chain(weights).map(|sql| format!("{sql} ")).collect();
        let schema = include_str!("../../schema/current.sql");
        let tables = schema.split("CREATE TABLE ").skip(1).filter_map(|rest| {
            let (name, columns) = rest.split_once(" (")?;
            let columns = columns.split(") STRICT").next()?;
            let owned = [" account INTEGER", " archive INTEGER"];
            owned.iter().any(|owner| columns.contains(owner)).then_some(name)
        });
        // Of one row an account, or a few.
        let fixed = [
            "credential",
            "notice_seen",
            "stranger_policy",
            "archive_mark",
            "archive_policy",
            "archive_indexed",
            "archive_left",
        ];
        // `archive::weigh` weighs them.
        let archive = ["archive", "archive_place", "archive_with", "archive_back"];
        let mut tables_seen = 0;
        for table in tables {
            tables_seen += 1;
            let here = counted.contains(&format!("FROM {table} "));
            assert!(here || fixed.contains(&table) || archive.contains(&table), "{table}");
        }
        assert!(tables_seen > 15, "{tables_seen}");
    }

    const MONTAGUE: &str = "montague.example";

    #[tokio::test]
    async fn all_accounts_are_looked_at_after_a_start_and_told_once_a_day() {
        let quota = Config { bytes_max: 1_001_000 };
        let server = Server::new(All { quota, ..All::default() });
        let (much, little, owed) = (
            server.account("much", &[]).await,
            server.account("little", &[]).await,
            server.account("owed", &[]).await,
        );
        server.put(much, 1..1_501, RowKind::Received, &[b'x'; 800]).await;
        server.put(little, 2_001..3_001, RowKind::Received, &[b'x'; 800]).await;
        server.put(owed, 4_001..5_501, RowKind::Owed, &[b'x'; 800]).await;
        let session = server.session(&format!("much@{MONTAGUE}/a")).await;
        let told = || session.client().unwrap().outbox.take(usize::MAX, 999).batch.len();

        run(server.job(Cause::Grown)).await;
        run(server.job(Cause::AccountDeleted)).await;
        assert_eq!(server.left(much).await.len(), 1_500, "it is not time yet");
        run(server.job(Cause::Due)).await;
        // Of 1,000 bytes each, as the account itself: the most that is within 95 % of the quota.
        let stays = server.left(much).await;
        assert_eq!((stays.first(), stays.len()), (Some(&552), 949));
        assert_eq!(server.left(little).await.len(), 1_000);
        assert_eq!(server.left(owed).await.len(), 1_500);
        assert_eq!(told(), 1);
    }

    #[test]
    fn an_owner_is_told_once_a_day() {
        let watch = Watch::default();
        let at = |hours: u64| SystemTime::UNIX_EPOCH + Duration::from_secs(hours * 3_600);
        let told = |account, hours| watch.tells(AccountId(account), at(hours));
        assert!(told(1, 50) && !told(1, 60) && told(2, 60) && !told(1, 49) && !told(1, 73));
        assert!(told(1, 74) && !told(2, 74) && told(2, 84));
    }
}
