//! What the verbs give, in lines for people: the one place that words it, for the command line and for clients.

mod certificates;
mod servers;

use super::outcome::Outcome;
use super::told::*;
use super::{Audience, RoomPage};
use crate::base::size::readable;

impl Outcome {
    /// For people: what was done, or a line for each thing in a list; none if the list is empty.
    pub fn lines(&self) -> Vec<String> {
        match self {
            Self::Done(Done { told }) => told.clone(),
            Self::AccountList(it) => accounts(it),
            Self::AccountShown(it) => account(it),
            Self::DeviceList(it) => it.devices.iter().map(device).collect(),
            Self::SessionList(it) => it.sessions.iter().map(|one| one.jid.clone()).collect(),
            Self::AdminList(it) => {
                it.admins.iter().map(|one| format!("{}  {}", one.jid, one.role.as_str())).collect()
            }
            // The link comes first, what it is for last.
            Self::Link(Link { uri, page, until, what }) => {
                let what = format!("until {until} {what}");
                [Some(uri.clone()), page.clone(), Some(what)].into_iter().flatten().collect()
            }
            Self::InvitationList(it) => it.invitations.iter().map(invitation).collect(),
            Self::NoticeShown(NoticeShown { text }) => {
                text.as_deref().unwrap_or_default().lines().map(str::to_owned).collect()
            }
            Self::TeamList(it) => {
                it.teams.iter().map(|one| format!("{}  {}", one.name, one.members)).collect()
            }
            Self::TeamShown(it) => team(it),
            Self::TeamRooms(it) => it.rooms.clone(),
            Self::RoomPage(it) => rooms(it),
            Self::RoomShown(it) => room(it),
            Self::UploadOwners(it) => owners(it),
            Self::UploadList(it) => {
                let rest = it.next.iter().map(|next| format!("there are more: --before {next}"));
                it.files.iter().map(file).chain(rest).collect()
            }
            Self::UploadsDeleted(it) => uploads_deleted(it),
            Self::ReportList(it) => it.reports.iter().map(report).collect(),
            Self::ReportShown(it) => report_shown(it),
            Self::ServerList(it) => servers::list(it),
            Self::ServerShown(it) => servers::shown(it),
            Self::ServerTest(it) => {
                let verdict = Some(it.verdict.clone());
                it.steps.iter().map(servers::step).chain(verdict).collect()
            }
            Self::ServerRules(it) => it.rules.iter().map(servers::rule).collect(),
            Self::CertList(it) => certificates::list(it),
            Self::CertRenewed(it) => vec![certificates::renewed(it)],
            Self::Status(it) => status(it),
            Self::ConfigShown(it) => {
                it.settings.iter().map(|one| format!("{} = {}", one.key, one.value)).collect()
            }
            Self::LogLines(it) => it.lines.clone(),
            Self::AuditList(it) => {
                let rest = it.next.iter().map(|next| format!("there are more: --after {next}"));
                it.acts.iter().map(act).chain(rest).collect()
            }
            Self::TokenMade(it) => vec![
                it.token.clone(),
                format!(
                    "until {} it opens the API in the role {}; it is not shown again",
                    it.until,
                    it.role.as_str()
                ),
            ],
            Self::TokenList(it) => it.tokens.iter().map(token).collect(),
            other => vec![sentence(other)],
        }
    }
}

/// What says itself in a sentence.
fn sentence(outcome: &Outcome) -> String {
    match outcome {
        Outcome::AccountMade(AccountMade { jid }) => format!("{jid} can log in now"),
        Outcome::PasswordSet(PasswordSet { jid }) => {
            format!("{jid} has another password; its devices are logged out")
        }
        Outcome::AccountTurned(AccountTurned { jid, disabled, already }) => {
            let already = if *already { " already" } else { "" };
            match disabled {
                true => format!("{jid} is{already} disabled: nobody can log in to it"),
                false => format!("{jid} is{already} enabled"),
            }
        }
        Outcome::AccountDeleted(AccountDeleted { jid, restorable_until: Some(until) }) => {
            format!("{jid} is deleted; until {until} `stonechat user restore {jid}` brings it back")
        }
        Outcome::AccountDeleted(AccountDeleted { jid, .. }) => {
            format!("{jid} is deleted with all it owned")
        }
        Outcome::AccountRestored(AccountRestored { jid }) => format!(
            "{jid} is back, with its password, contacts and messages; what its contacts see of each other has to be \
             asked for again"
        ),
        Outcome::DevicesRevoked(DevicesRevoked { jid, device: Some(device), .. }) => {
            format!("the device {device} of {jid} is logged out")
        }
        Outcome::DevicesRevoked(DevicesRevoked { jid, forgotten, .. }) => {
            format!("{jid} is logged out everywhere, {forgotten} known devices forgotten")
        }
        Outcome::SessionsEnded(SessionsEnded { jid, sessions: 1 }) => {
            format!("{jid} is logged out")
        }
        Outcome::SessionsEnded(SessionsEnded { jid, sessions }) => {
            format!("{jid} is logged out of {sessions} sessions")
        }
        Outcome::RoleShown(RoleShown { jid, role, configured }) => {
            let role = role.as_str();
            match configured {
                true => format!("{jid} is {role}: admin.{role}s in the configuration says so"),
                false => format!("{jid} is {role}"),
            }
        }
        Outcome::InvitationRevoked(InvitationRevoked { id }) => {
            format!("the invitation {id} is revoked: nobody can use it any more")
        }
        Outcome::Announced(Announced { accounts, to }) => {
            let whom = match to {
                Audience::Online => "who are online",
                Audience::All => "in all; who is away gets it later",
            };
            format!("sent to {accounts} accounts {whom}")
        }
        Outcome::BackupMade(it) => backup(it),
        other => other.json().to_string(),
    }
}

fn accounts(it: &AccountList) -> Vec<String> {
    let line = |AccountLine { jid, disabled, deleted }: &AccountLine| match (deleted, disabled) {
        (Some(at), _) => format!("{jid}  deleted {at}"),
        (None, true) => format!("{jid} (disabled)"),
        (None, false) => jid.clone(),
    };
    let rest = it.next.iter().map(|jid| format!("there are more: --after {jid}"));
    it.accounts.iter().map(line).chain(rest).collect()
}

fn account(it: &AccountShown) -> Vec<String> {
    let disabled = if it.disabled { " (disabled)" } else { "" };
    let mut lines = vec![
        format!("{}{disabled}", it.jid),
        format!("role: {}", it.role.as_str()),
        format!("made: {}", it.created),
        format!("sessions now: {}", it.sessions),
        format!("known devices: {}", it.devices),
        format!("uploads: {}", files(it.upload_files, it.upload_bytes)),
    ];
    lines.extend(it.deleted.iter().map(|at| format!("deleted: {at}; it can be restored")));
    lines
}

/// `name  software, what it runs on; seen …; token until …`
fn device(it: &DeviceLine) -> String {
    let said = [&*it.software, &*it.name].into_iter().filter(|said| !said.is_empty());
    let said = said.collect::<Vec<_>>().join(", ");
    let said = if said.is_empty() { "unnamed" } else { &said };
    let day = |stamp: &str| stamp.split('T').next().unwrap_or_default().to_owned();
    let token = it.token_until.as_ref().map(|until| format!(", token until {}", day(until)));
    let (first, last) = (day(&it.first_seen), day(&it.last_seen));
    format!("{}  {said}; first seen {first}, last {last}{}", it.id, token.unwrap_or_default())
}

/// `17  account on example.org, by alice@example.org, team sales; 3 uses left, until …`
fn invitation(it: &InvitationLine) -> String {
    let mut line = format!("{}  {}", it.id, it.what);
    if !it.password {
        line += &format!(", by {}", it.by.as_deref().unwrap_or("the operator"));
        if let Some(team) = &it.team {
            line += &format!(", team {team}");
        }
    }
    let uses = match it.uses_left {
        1 => "1 use left".to_owned(),
        uses => format!("{uses} uses left"),
    };
    line + &format!("; {uses}, until {}", it.until)
}

fn team(it: &TeamShown) -> Vec<String> {
    let line = |MemberLine { jid, name, shut }: &MemberLine| {
        format!("{jid}  {name}{}", if *shut { " (shut)" } else { "" })
    };
    let rooms = it.rooms.iter().map(|room| format!("{room}  (room)"));
    it.members.iter().map(line).chain(rooms).collect()
}

/// A room in each line, and how to go on.
fn rooms(it: &RoomPage) -> Vec<String> {
    let last = it.rooms.last().filter(|_| it.more).map(|room| &room.jid);
    let line = |room: &super::RoomLine| {
        let name = if room.name.is_empty() { "" } else { &format!("  {}", room.name) };
        format!("{}  {} in it  {}{name}", room.jid, room.occupants, room.kind)
    };
    let rest = last.map(|jid| format!("there are more: --after {jid}"));
    it.rooms.iter().map(line).chain(rest).collect()
}

fn room(it: &RoomShown) -> Vec<String> {
    let mut lines = vec![it.jid.clone(), format!("kind: {}", it.kind)];
    if let (Some(messages), Some(bytes)) = (it.archive_messages, it.archive_bytes) {
        lines.push(format!("archive: {messages} messages, {bytes} bytes"));
    }
    for (what, text) in [("name", &it.name), ("description", &it.description)] {
        if !text.is_empty() {
            lines.push(format!("{what}: {}", one_line(text)));
        }
    }
    if it.locked {
        lines.push("its creator has not configured it yet".to_owned());
    }
    lines.extend(it.affiliations.iter().map(|one| format!("{}: {}", one.affiliation, one.jid)));
    let occupant =
        |one: &OccupantLine| format!("in it: {}, {}, {}", one_line(&one.nick), one.jid, one.role);
    lines.extend(it.occupants.iter().map(occupant));
    lines
}

/// What others wrote makes no lines of its own.
fn one_line(text: &str) -> String {
    text.replace(char::is_control, " ")
}

fn owners(it: &UploadOwners) -> Vec<String> {
    let line = |one: &UploadOwner| format!("{}  {}", one.jid, files(one.files, one.bytes));
    let sum = format!("in all: {} of {} accounts", files(it.files, it.bytes), it.accounts);
    it.owners.iter().map(line).chain([sum]).collect()
}

fn files(count: i64, bytes: i64) -> String {
    let files = if count == 1 { "file" } else { "files" };
    format!("{count} {files}, {}", readable(bytes))
}

/// `ID  2026-01-02T03:04:05Z  1.5 MiB  message  holiday.jpg`
fn file(it: &UploadLine) -> String {
    let UploadLine { id, made, size, kind, until, name } = it;
    let until = until.as_ref().map(|end| format!(" until {end}")).unwrap_or_default();
    format!("{id}  {made}  {}  {kind}{until}  {name}", readable(*size))
}

fn uploads_deleted(it: &UploadsDeleted) -> Vec<String> {
    if let (Some(jid), Some(bytes)) = (&it.jid, it.bytes) {
        return vec![format!("what {jid} uploaded is deleted: {}", files(it.files, bytes))];
    }
    let told = match it.files {
        1 => "1 file is deleted".to_owned(),
        count => format!("{count} files are deleted"),
    };
    let line = |id| format!("no such file is there (any more): {id}");
    [told].into_iter().chain(it.missing.iter().map(line)).collect()
}

/// `7  2026-01-02T03:04:05Z  spam@x  spam, 2 messages, by me@y`
fn report(it: &ReportLine) -> String {
    let ReportLine { id, at, jid, reason, messages, by, done } = it;
    let messages = match messages {
        0 => String::new(),
        1 => ", 1 message".to_owned(),
        count => format!(", {count} messages"),
    };
    let done = done.as_ref().map(|at| format!("; done {at}")).unwrap_or_default();
    format!("{id}  {at}  {jid}  {reason}{messages}, by {by}{done}")
}

fn report_shown(it: &ReportShown) -> Vec<String> {
    let said = if it.said.is_empty() { "nothing" } else { &it.said };
    let consent = match (it.to_origin, it.to_others) {
        (false, false) => "nobody",
        (true, false) => "the server of who is reported",
        (false, true) => "others who gather such reports",
        (true, true) => "the server of who is reported, others who gather such reports",
    };
    let messages = it.messages.iter();
    let messages =
        messages.map(|one| format!("message: {} in the archive of {}", one.id, one.archive));
    [report(&it.report), format!("said: {said}"), format!("may be passed on to: {consent}")]
        .into_iter()
        .chain(messages)
        .collect()
}

/// The load of the database, readable for people and scripts.
fn status(it: &Status) -> Vec<String> {
    let disk = if it.writable { "takes writes" } else { "takes no writes" };
    let mut lines = vec![
        format!("disk: {disk}"),
        format!(
            "writes on the way: {}, {} KiB; in line behind them: {}",
            it.queued,
            it.queued_bytes / 1024,
            it.waiting
        ),
        format!("since the start, writes that stood in line: {}", it.waited),
        format!("since the start, messages refused as the disk took no writes: {}", it.refused),
        format!("since the start, work left undone as too much waited: {}", it.full),
    ];
    lines.extend(it.servers.iter().flat_map(servers::load));
    lines.extend(it.certificates.iter().flat_map(certificates::orders));
    lines
}

/// The operator's report of a finished backup.
fn backup(it: &BackupMade) -> String {
    let (path, kib, ms) = (&it.path, it.bytes.div_ceil(1024), it.milliseconds);
    let uploads = it.uploads.as_ref().map(|UploadsKept { folder, files, bytes, missing }| {
        let bytes = readable(i64::try_from(*bytes).unwrap_or(i64::MAX));
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

/// `7  2026-01-02T03:04:05Z  token ci (api, 192.0.2.1)  user.add  alice@example.org  done`
fn act(it: &ActLine) -> String {
    let from = it.address.as_ref().map(|ip| format!(", {ip}")).unwrap_or_default();
    let target = it.target.as_ref().map(|on| format!("  {}", one_line(on))).unwrap_or_default();
    let came = match &it.failure {
        None => "done".to_owned(),
        Some(why) => format!("NOT DONE: {}", one_line(why)),
    };
    let ActLine { id, at, actor, via, verb, .. } = it;
    format!("{id}  {at}  {actor} ({via}{from})  {verb}{target}  {came}")
}

/// `ci  reader  good until …; made …, last used …`
fn token(it: &TokenLine) -> String {
    let role = it.role.map_or("nobody", super::Rank::as_str);
    let used = it.used.as_deref().map_or("never used".to_owned(), |at| format!("last used {at}"));
    format!("{}  {role}  {} until {}; made {}, {used}", it.name, it.state, it.until, it.made)
}
