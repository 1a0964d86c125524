//! The operator's verbs over rooms ([`crate::admin::RoomVerb`]). They go the ways of the rooms' own people, so those
//! who are in a room see what happens.

use super::deliver::run as happen;
use super::find::room_at;
use super::form::Wanted;
use super::given;
use super::outputs::Outputs;
use super::owner::{self, Venue};
use super::rights::Affiliation;
use super::room::Room;
use super::rooms::Hold;
use super::settings::{Preset, Settings, Whois};
use crate::admin::accounts::{self, AdminError};
use crate::admin::told::{AffiliationLine, OccupantLine, RoomShown};
use crate::admin::{Outcome, RoomError, RoomLine, RoomPage, RoomQuery, RoomVerb};
use crate::base::id::{OsRng, Rng};
use crate::base::time::micros;
use crate::jid::BareJid;
use crate::modules::api::{Cx, Requester};
use crate::store::archive::{self, BATCH};
use crate::store::ids::ArchiveId;
use crate::store::tx::{StoreError, Tx, query_all};
use std::sync::Arc;

type Done = Result<Outcome, AdminError>;

/// Carries out one verb.
pub async fn run(cx: &Cx, verb: RoomVerb) -> Done {
    match verb {
        RoomVerb::List(query) => list(cx, query).await.map(Outcome::from),
        RoomVerb::Show { room } => show(cx, &room).await,
        RoomVerb::Create { room, owner, preset, name } => {
            create(cx, &room, &owner, preset.as_deref(), name).await
        }
        RoomVerb::Destroy { room, reason, venue } => destroy(cx, &room, reason, venue).await,
        RoomVerb::Affiliation { room, jid, affiliation, reason } => {
            affiliate(cx, &room, &jid, &affiliation, reason).await
        }
        RoomVerb::Purge { room } => purge(cx, &room).await,
    }
}

/// The address of a room of this server; its name alone will do where there is one domain.
pub fn address(cx: &Cx, text: &str) -> Result<BareJid, RoomError> {
    let label = Some(&*cx.config.muc.label).filter(|label| !label.is_empty());
    let label = label.ok_or(RoomError::None)?;
    let services: Vec<String> =
        cx.router.hosts().iter().map(|host| format!("{label}.{host}")).collect();
    let example = format!("hall@{}", services.first().map_or(label, String::as_str));
    let wrong = |why: &str| RoomError::Address(text.to_owned(), why.to_owned(), example.clone());
    let whole = match (text.contains('@'), services.as_slice()) {
        (false, [only]) => format!("{text}@{only}"),
        // A name alone could be a room of each domain.
        (false, several) if !several.iter().any(|service| service == text) => {
            let each: Vec<_> = several.iter().map(|service| format!("{text}@{service}")).collect();
            return Err(RoomError::Which(text.to_owned(), each.join(" or ")));
        }
        _ => text.to_owned(),
    };
    let jid = BareJid::parse(&whole).map_err(|error| wrong(&error.to_string()))?;
    match jid.local() {
        None => Err(wrong("the part before the @ is missing")),
        Some(_) if services.iter().any(|service| service == jid.domain()) => Ok(jid),
        Some(_) => Err(wrong(&format!("rooms are at {}", services.join(", ")))),
    }
}

async fn found(cx: &Cx, text: &str) -> Result<(BareJid, Arc<Hold>), AdminError> {
    let jid = address(cx, text)?;
    let hold = room_at(cx, &jid).await.map_err(RoomError::from)?;
    let hold = hold.ok_or_else(|| RoomError::Unknown(jid.to_string()))?;
    Ok((jid, hold))
}

/// Some rooms, in the order of their addresses. Who is in a room is counted as service discovery counts (§6.4): every
/// occupant, one whose session waits to be resumed, too. A room that is not in memory has none.
pub async fn list(cx: &Cx, query: RoomQuery) -> Result<RoomPage, AdminError> {
    if cx.config.muc.label.is_empty() {
        // What the database has of rooms is nobody's to enter.
        return Err(RoomError::None.into());
    }
    let mut after = match &query.after {
        Some(after) => address(cx, after)?.to_string(),
        None => String::new(),
    };
    let words = query.search.unwrap_or_default().to_lowercase();
    let mut page = RoomPage::default();
    loop {
        let from = after.clone();
        let rows = cx.store.read(move |tx| stored_after(tx, &from)).await?;
        let Some((last, _)) = rows.last() else { return Ok(page) };
        after.clone_from(last);
        for (jid, settings) in rows {
            // One whose configuration is damaged is closed, as it is when it is read.
            let settings = settings.unwrap_or_else(|| Preset::Private.settings());
            let texts = [&jid, &settings.name, &settings.description];
            if !texts.iter().any(|text| text.to_lowercase().contains(&words)) {
                continue;
            }
            if page.rooms.len() >= query.max {
                page.more = true;
                return Ok(page);
            }
            page.rooms.push(line(cx, jid, settings));
        }
    }
}

fn line(cx: &Cx, jid: String, settings: Settings) -> RoomLine {
    let occupants = cx.rooms().size(&jid);
    RoomLine { jid, occupants, kind: kind(&settings), name: settings.name }
}

/// What tells it from other rooms.
fn kind(settings: &Settings) -> String {
    let words = [
        Some(if settings.public { "public" } else { "hidden" }),
        settings.members_only.then_some("members only"),
        settings.moderated.then_some("moderated"),
        settings.password.is_some().then_some("with a password"),
        (settings.whois == Whois::Anyone).then_some("non-anonymous"),
        (!settings.persistent).then_some("temporary"),
        Some(if settings.archive { "archived" } else { "not archived" }),
    ];
    words.into_iter().flatten().collect::<Vec<_>>().join(", ")
}

async fn show(cx: &Cx, room: &str) -> Done {
    let (jid, hold) = found(cx, room).await?;
    let (mut shown, id) = {
        let room = hold.lock();
        (told(&room), room.id)
    };
    if let Some(id) = id {
        // What was said is written behind.
        let archive = ArchiveId::of_room(id);
        cx.store.archive_indexed(archive).await?;
        let (messages, bytes) = cx.store.archive_weight(archive).await?;
        (shown.archive_messages, shown.archive_bytes) = (Some(messages), Some(bytes));
    }
    shown.jid = jid.to_string();
    Ok(shown.into())
}

/// What is known of a room in memory.
fn told(room: &Room) -> RoomShown {
    let settings = &room.settings;
    let mut affiliations = Vec::new();
    for affiliation in Affiliation::ALL.into_iter().rev() {
        let all = room.standing.iter().filter(|(_, one)| one.affiliation == affiliation);
        let all = all.filter(|_| affiliation != Affiliation::None);
        let affiliation = affiliation.as_str();
        affiliations.extend(all.map(|(jid, _)| AffiliationLine {
            jid: jid.to_string(),
            affiliation: affiliation.to_owned(),
        }));
    }
    let occupant = |one: &super::room::Occupant| OccupantLine {
        nick: one.nick.text.to_string(),
        jid: one.bare().to_string(),
        role: one.role.as_str().to_owned(),
    };
    RoomShown {
        kind: kind(settings),
        name: settings.name.clone(),
        description: settings.description.clone(),
        locked: room.is_locked(),
        affiliations,
        occupants: room.occupants().map(occupant).collect(),
        ..RoomShown::default()
    }
}

/// §10.1: as if its owner had entered and configured it, but that nobody is in it.
async fn create(
    cx: &Cx,
    room: &str,
    owner: &str,
    preset: Option<&str>,
    name: Option<String>,
) -> Done {
    let (jid, owner) = (address(cx, room)?, accounts::parse(owner)?);
    accounts::find(&cx.store, &owner).await?;
    let preset = match preset {
        Some(text) => Preset::parse(text).ok_or_else(|| RoomError::Preset(text.to_owned()))?,
        None => cx.config.muc.preset,
    };
    let name = name.unwrap_or_default().trim().to_owned();
    let settings = Settings { name, ..preset.settings() };
    if settings.name.len() > NAME_BYTES_MAX || settings.name.contains(char::is_control) {
        return Err(RoomError::Name(NAME_BYTES_MAX).into());
    }
    if !settings.persistent {
        // One that goes with the last one in it would be gone at once.
        return Err(RoomError::Preset(preset.as_str().to_owned()).into());
    }
    if room_at(cx, &jid).await.map_err(RoomError::from)?.is_some() {
        return Err(RoomError::Exists(jid.to_string()).into());
    }
    let mut secret = [0; 32];
    OsRng.fill(&mut secret);
    let bounds = cx.config.muc.bounds();
    let (hold, is_new) = cx.rooms().create(&jid, owner.clone(), settings.clone(), secret, bounds);
    if !is_new {
        return Err(RoomError::Exists(jid.to_string()).into());
    }
    let wanted = Wanted { settings, owners: None, admins: None };
    let made = owner::configure(&in_place_of(cx, &owner), &hold, |_| Ok(wanted)).await;
    if let Err(error) = made {
        let _ = happen(cx, &hold, |room, out: &mut Outputs| {
            (room.is_gone, out.vanished) = (true, true);
        });
        return Err(RoomError::from(error).into());
    }
    let kind = preset.as_str();
    Ok(Outcome::done(format!("the room {jid} is there, {kind}, and {owner} owns it")))
}

/// What an owner may do the operator may, too.
fn in_place_of(cx: &Cx, owner: &BareJid) -> Cx {
    Cx { who: Requester::Entity(owner.clone().into()), ..cx.clone() }
}

async fn destroy(cx: &Cx, room: &str, reason: Option<String>, venue: Option<String>) -> Done {
    let (jid, hold) = found(cx, room).await?;
    let to = match venue {
        Some(venue) => Some(elsewhere(cx, &jid, &venue).await?.to_string()),
        None => None,
    };
    let (owner, count) = {
        let room = hold.lock();
        let mut all = room.standing.iter();
        let owner = all.find(|(_, one)| one.affiliation == Affiliation::Owner);
        (owner.map(|(owner, _)| owner.clone()), room.len())
    };
    let owner = owner.ok_or_else(|| RoomError::Unknown(jid.to_string()))?;
    let venue = Venue { jid: to, password: None, reason };
    let done = owner::destroy(&in_place_of(cx, &owner), &hold, venue).await;
    done.map_err(RoomError::from)?;
    Ok(Outcome::done(format!("the room {jid} is gone; {count} were in it")))
}

/// The room where those may go who are in one that ends: nobody finds one that is not there.
async fn elsewhere(cx: &Cx, from: &BareJid, venue: &str) -> Result<BareJid, AdminError> {
    let (jid, _) = found(cx, venue).await?;
    match jid == *from {
        true => Err(RoomError::Itself(jid.to_string()).into()),
        false => Ok(jid),
    }
}

async fn affiliate(
    cx: &Cx,
    room: &str,
    who: &str,
    affiliation: &str,
    reason: Option<String>,
) -> Done {
    let unknown = || RoomError::Affiliation(affiliation.to_owned());
    let to = Affiliation::parse(affiliation).ok_or_else(unknown)?;
    let (jid, hold) = found(cx, room).await?;
    // §9.2: a whole domain can be banned.
    let domain = BareJid::parse(who).ok().filter(|who| who.local().is_none());
    let who = match domain.filter(|_| to <= Affiliation::None) {
        Some(domain) => domain,
        None => accounts::parse(who)?,
    };
    // Of other servers nobody knows who is there.
    let is_ours = who.local().is_some() && cx.router.hosts().iter().any(|host| host == who.domain());
    if is_ours && to != Affiliation::None {
        accounts::find(&cx.store, &who).await?;
    }
    let is_new = given::set(cx, &hold, who.clone(), to, reason).await.map_err(RoomError::from)?;
    let already = if is_new { "" } else { " already" };
    Ok(Outcome::done(match to {
        Affiliation::None => format!("{who} is nothing in particular to {jid}{already}"),
        to => format!("{who} is {} of {jid}{already}", to.as_str()),
    }))
}

/// What was said up to now: from the archive, bit by bit, and from what newcomers get.
async fn purge(cx: &Cx, room: &str) -> Done {
    let (jid, hold) = found(cx, room).await?;
    let Some(id) = hold.lock().id else { return Err(RoomError::Unknown(jid.to_string()).into()) };
    // What is on its way has its rows before they are looked for.
    let archive = ArchiveId::of_room(id);
    cx.store.archive_indexed(archive).await?;
    let now = micros(cx.now);
    let before = {
        let mut room = hold.lock();
        let before = room.history.back().map_or(now, |last| now.max(last.at.saturating_add(1)));
        room.history.clear();
        before
    };
    let mut total = 0;
    loop {
        let batch = move |tx: &mut dyn Tx| archive::purge(tx, archive, (before, i64::MAX), BATCH);
        match cx.store.write(batch).await? {
            0 => break,
            some => total += some,
        }
    }
    Ok(Outcome::done(format!("{total} messages are deleted from the archive of {jid}")))
}

fn stored_after(
    tx: &mut dyn Tx,
    after: &str,
) -> Result<Vec<(String, Option<Settings>)>, StoreError> {
    query_all(tx, AFTER, &[after.into(), PAGE.into()], |row| {
        Ok((row.text(0)?, Settings::of_json(&row.text(1)?)))
    })
}

crate::store::sql! {
    AFTER = "SELECT jid, settings FROM room WHERE jid > $1 ORDER BY jid LIMIT $2";
}

/// Rooms that are read at once.
const PAGE: i64 = 500;
/// As in the form.
const NAME_BYTES_MAX: usize = 1_024;
