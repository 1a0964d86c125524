//! What verbs over teams, rooms, uploads, reports and texts give.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::admin::Audience;

/// An announcement was made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Announced {
    /// To how many accounts it was sent.
    pub accounts: usize,
    /// To which.
    pub to: Audience,
}

/// What accounts are told at login.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct NoticeShown {
    /// The text; none: nothing.
    pub text: Option<String>,
}

/// All teams.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct TeamList {
    /// These, by name.
    pub teams: Vec<TeamLine>,
}

/// A team in the list.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct TeamLine {
    /// Its name.
    pub name: String,
    /// How many accounts are in it.
    pub members: i64,
}

/// A team.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct TeamShown {
    /// Its name.
    pub name: String,
    /// Who is in it.
    pub members: Vec<MemberLine>,
    /// The addresses of its rooms.
    pub rooms: Vec<String>,
}

/// Somebody in a team.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct MemberLine {
    /// The account.
    pub jid: String,
    /// How the others' rosters call it.
    pub name: String,
    /// The account is disabled or deleted, and nobody sees it.
    pub shut: bool,
}

/// The rooms of a team.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct TeamRooms {
    /// Their addresses.
    pub rooms: Vec<String>,
}

/// A room.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct RoomShown {
    /// Its address.
    pub jid: String,
    /// How it is configured, in a few words.
    pub kind: String,
    /// Messages in its archive; none: it is not stored yet.
    pub archive_messages: Option<usize>,
    /// Their bytes.
    pub archive_bytes: Option<u64>,
    /// Its name for people; may be empty.
    pub name: String,
    /// What it is about; may be empty.
    pub description: String,
    /// Its creator has not configured it yet.
    pub locked: bool,
    /// Who is something to it: owners first.
    pub affiliations: Vec<AffiliationLine>,
    /// Who is in it.
    pub occupants: Vec<OccupantLine>,
}

/// Who is what to a room.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct AffiliationLine {
    /// The address.
    pub jid: String,
    /// owner, admin, member or outcast.
    pub affiliation: String,
}

/// Somebody in a room.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct OccupantLine {
    /// The name there.
    pub nick: String,
    /// The address.
    pub jid: String,
    /// moderator, participant or visitor.
    pub role: String,
}

/// Who uploaded the most.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct UploadOwners {
    /// These.
    pub owners: Vec<UploadOwner>,
    /// How many accounts have files.
    pub accounts: usize,
    /// All files.
    pub files: i64,
    /// All bytes.
    pub bytes: i64,
}

/// An account with files.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct UploadOwner {
    /// Its address.
    pub jid: String,
    /// How many files.
    pub files: i64,
    /// Their bytes.
    pub bytes: i64,
}

/// Files of an account, the newest first.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct UploadList {
    /// These.
    pub files: Vec<UploadLine>,
    /// There are more: ask for those from `before` this time.
    pub next: Option<String>,
}

/// A file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct UploadLine {
    /// By this it is deleted.
    pub id: String,
    /// When it came.
    pub made: String,
    /// Bytes.
    pub size: i64,
    /// What it is for.
    pub kind: String,
    /// When it goes.
    pub until: Option<String>,
    /// Its name.
    pub name: String,
}

/// Files were deleted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct UploadsDeleted {
    /// The account whose files all were deleted.
    pub jid: Option<String>,
    /// How many.
    pub files: i64,
    /// Their bytes, if all of an account were deleted.
    pub bytes: Option<i64>,
    /// Ids of which there was no file (any more).
    pub missing: Vec<String>,
}

/// What people reported, the newest first.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ReportList {
    /// These.
    pub reports: Vec<ReportLine>,
}

/// A report in the list.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ReportLine {
    /// Its number.
    pub id: i64,
    /// When.
    pub at: String,
    /// Who is reported.
    pub jid: String,
    /// Why: spam, abuse, or what the client said.
    pub reason: String,
    /// How many messages it names.
    pub messages: i64,
    /// Who made it.
    pub by: String,
    /// When somebody was done with it.
    pub done: Option<String>,
}

/// A report.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ReportShown {
    /// As in the list.
    pub report: ReportLine,
    /// What else the reporter said; may be empty.
    pub said: String,
    /// It may be passed on to the server of who is reported.
    pub to_origin: bool,
    /// It may be passed on to others who gather such reports.
    pub to_others: bool,
    /// The messages.
    pub messages: Vec<MessageLine>,
}

/// A message that a report names.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct MessageLine {
    /// In whose archive.
    pub archive: String,
    /// Its id there.
    pub id: String,
}
