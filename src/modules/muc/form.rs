//! The configuration form (XEP-0045 §10.1.3, §16.5.3): what owners read and send.

use super::config::Bounds;
use super::rights::{Affiliation, Role};
use super::room::Room;
use super::settings::{Broadcast, Least, Pm, Preset, Settings, Whois};
use crate::jid::BareJid;
use crate::stanza::StanzaError;
use crate::stanza::form::{self, Form, Written};
use crate::xml::writer::Xml;

/// What an owner wants of a room.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wanted {
    /// The configuration.
    pub settings: Settings,
    /// The whole list of owners, if it is to change.
    pub owners: Option<Vec<BareJid>>,
    /// The same of admins.
    pub admins: Option<Vec<BareJid>>,
}

/// FORM_TYPE of the configuration.
pub const CONFIG: &str = "http://jabber.org/protocol/muc#roomconfig";

const PRESET: &str = "{https://stonechat.im/muc}preset";
const NAME: &str = "muc#roomconfig_roomname";
const DESCRIPTION: &str = "muc#roomconfig_roomdesc";
const LANGUAGE: &str = "muc#roomconfig_lang";
const PERSISTENT: &str = "muc#roomconfig_persistentroom";
const PUBLIC: &str = "muc#roomconfig_publicroom";
const MEMBERS_ONLY: &str = "muc#roomconfig_membersonly";
const MODERATED: &str = "muc#roomconfig_moderatedroom";
const PROTECTED: &str = "muc#roomconfig_passwordprotectedroom";
const SECRET: &str = "muc#roomconfig_roomsecret";
const WHOIS: &str = "muc#roomconfig_whois";
const INVITES: &str = "muc#roomconfig_allowinvites";
const CHANGE_SUBJECT: &str = "muc#roomconfig_changesubject";
const PM: &str = "muc#roomconfig_allowpm";
const MEMBER_LIST: &str = "muc#roomconfig_getmemberlist";
const BROADCAST: &str = "muc#roomconfig_presencebroadcast";
const OCCUPANTS_MAX: &str = "muc#roomconfig_maxusers";
const ARCHIVE: &str = "muc#roomconfig_enablelogging";
/// The same, as XEP-0313 and other servers' clients know it.
const ARCHIVE_TOO: &str = "muc#roomconfig_enablearchiving";
const HISTORY: &str = "muc#maxhistoryfetch";
const VOICE: &str = "muc#roomconfig_allow_voice_requests";
const SLOW: &str = "muc#roomconfig_slow_mode_duration";
const CONTACTS: &str = "muc#roominfo_contactjid";
const OWNERS: &str = "muc#roomconfig_roomowners";
const ADMINS: &str = "muc#roomconfig_roomadmins";

/// Writes the form with the present configuration.
pub fn write(xml: &mut Xml, room: &Room) {
    let now = &room.settings;
    form::titled(xml, Written::Form, &format!("Configuration of {}", room.jid));
    form::field(xml, "hidden", "FORM_TYPE", &[CONFIG]);
    if room.is_locked() {
        let is = |one: &Preset| one.settings() == *now;
        let present: Vec<&str> =
            Preset::ALL.into_iter().find(is).map(Preset::as_str).into_iter().collect();
        let presets = Preset::ALL.map(|one| (one.title().to_owned(), one.as_str().to_owned()));
        list(
            xml,
            "list-single",
            PRESET,
            "Kind of room; settings below that you change go before it",
            &presets,
            &present,
        );
    }
    text(xml, "text-single", NAME, "Name", &now.name);
    text(xml, "text-single", DESCRIPTION, "Description", &now.description);
    text(xml, "text-single", LANGUAGE, "Language, as in \"en\"", &now.language);
    yes_no(xml, PERSISTENT, "It stays when the last one leaves", now.persistent);
    yes_no(xml, PUBLIC, "It can be found", now.public);
    yes_no(xml, MEMBERS_ONLY, "Only members may enter", now.members_only);
    yes_no(xml, MODERATED, "Only who has voice may speak", now.moderated);
    yes_no(xml, PROTECTED, "A password is needed to enter", now.password.is_some());
    text(xml, "text-private", SECRET, "The password", now.password.as_deref().unwrap_or_default());
    choose(xml, WHOIS, "Who sees real addresses", &WHO, whois(now.whois));
    yes_no(xml, INVITES, "Members may invite", now.invites);
    yes_no(xml, CHANGE_SUBJECT, "Everybody may change the subject", now.change_subject);
    choose(xml, PM, "Who may send private messages", &PMS, pm(now.private_messages));
    let roles: Vec<&str> =
        ROLES.into_iter().filter(|role| reads_members(now.member_list, role)).collect();
    several(xml, MEMBER_LIST, "Who may read the list of members", &roles);
    let shown: Vec<&str> = ROLES.into_iter().filter(|role| is_shown(now.broadcast, role)).collect();
    several(xml, BROADCAST, "Whose presence is shown", &shown);
    let max =
        if now.occupants_max == 0 { "none".to_owned() } else { now.occupants_max.to_string() };
    let mut sizes: Vec<(String, String)> = ["10", "30", "100", "300", "1000"].map(same).to_vec();
    sizes.push(("as many as the server allows".to_owned(), "none".to_owned()));
    if !sizes.iter().any(|(_, size)| *size == max) {
        sizes.push(same(&max));
    }
    list(xml, "list-single", OCCUPANTS_MAX, "Occupants at most", &sizes, &[&max]);
    yes_no(xml, ARCHIVE, "What is said is kept, for members to read later", now.archive);
    text(
        xml,
        "text-single",
        HISTORY,
        "Messages that somebody who enters gets",
        &now.history.to_string(),
    );
    yes_no(xml, VOICE, "Visitors may ask for voice", now.voice_requests);
    slow(xml, now.slow_mode);
    let contacts: Vec<&str> = now.contacts.iter().map(String::as_str).collect();
    jids(xml, CONTACTS, "Whom to ask about the room", &contacts);
    jids(xml, OWNERS, "Owners", &listed(room, Affiliation::Owner));
    jids(xml, ADMINS, "Admins", &listed(room, Affiliation::Admin));
    xml.end();
}

fn listed(room: &Room, affiliation: Affiliation) -> Vec<&str> {
    let fits = room.standing.iter().filter(|(_, standing)| standing.affiliation == affiliation);
    fits.map(|(jid, _)| jid.as_str()).collect()
}

/// Reads what was sent: fields that are missing stay as they are (XEP-0045 §10.1.3). Fields that are not known are
/// passed over (XEP-0004 §3.2).
pub fn read(form: &Form<'_>, room: &Room, bounds: Bounds) -> Result<Wanted, StanzaError> {
    if !matches!(form.form_type(), None | Some(CONFIG)) {
        return Err(bad("this is another form"));
    }
    let mut now = room.settings.clone();
    let preset = match form.value(PRESET)? {
        Some(name) => {
            Some(Preset::parse(name).ok_or_else(|| bad("there is no such kind of room"))?)
        }
        None => None,
    };
    let (mut owners, mut admins) = (None, None);
    let mut protected = now.password.is_some();
    let mut secret = now.password.clone();
    for field in form.fields() {
        let one = || form.value(field.var).map(Option::unwrap_or_default);
        match field.var {
            NAME => now.name = short(one()?)?,
            DESCRIPTION => now.description = short(one()?)?,
            LANGUAGE => now.language = short(one()?)?,
            PERSISTENT => now.persistent = flag(one()?)?,
            PUBLIC => now.public = flag(one()?)?,
            MEMBERS_ONLY => now.members_only = flag(one()?)?,
            MODERATED => now.moderated = flag(one()?)?,
            PROTECTED => protected = flag(one()?)?,
            SECRET => secret = Some(short(one()?)?).filter(|secret| !secret.is_empty()),
            WHOIS => now.whois = chosen(&WHO, one()?)?,
            INVITES => now.invites = flag(one()?)?,
            CHANGE_SUBJECT => now.change_subject = flag(one()?)?,
            PM => now.private_messages = chosen(&PMS, one()?)?,
            MEMBER_LIST => now.member_list = least(&field.values),
            BROADCAST => now.broadcast = broadcast(&field.values),
            OCCUPANTS_MAX => now.occupants_max = occupants(one()?, bounds)?,
            ARCHIVE | ARCHIVE_TOO => now.archive = flag(one()?)?,
            HISTORY => {
                now.history =
                    number(one()?)?.min(u32::try_from(bounds.history_max).unwrap_or(u32::MAX))
            }
            VOICE => now.voice_requests = flag(one()?)?,
            // XEP-0500 §8: "clients and servers MUST ignore invalid value".
            SLOW => {
                now.slow_mode = number(one()?).map_or(now.slow_mode, |it| it.min(SLOW_MAX));
            }
            CONTACTS => {
                let jids = addresses(&field.values, CONTACTS_MAX)?;
                now.contacts = jids.iter().map(ToString::to_string).collect();
            }
            OWNERS => owners = Some(addresses(&field.values, bounds.affiliations_max)?),
            ADMINS => admins = Some(addresses(&field.values, bounds.affiliations_max)?),
            _ => {}
        }
    }
    if protected && secret.is_none() {
        return Err(StanzaError::not_acceptable().text("a room with a password needs one"));
    }
    now.password = secret.filter(|_| protected);
    if let Some(preset) = preset {
        now = changed(preset.settings(), &room.settings, now);
    }
    Ok(Wanted { settings: now, owners, admins })
}

/// Most clients send a form back whole: what was not changed in it is no wish against the preset.
fn changed(preset: Settings, before: &Settings, sent: Settings) -> Settings {
    let mut wanted = preset;
    macro_rules! take_changed {
        ($($field:ident),* $(,)?) => {
            $(if sent.$field != before.$field {
                wanted.$field = sent.$field;
            })*
        };
    }
    take_changed!(
        name,
        description,
        language,
        public,
        persistent,
        members_only,
        moderated,
        password,
        whois,
        invites,
        change_subject,
        private_messages,
        member_list,
        broadcast,
        occupants_max,
        archive,
        history,
        voice_requests,
        contacts,
        slow_mode,
    );
    wanted
}

const ROLES: [&str; 3] = ["moderator", "participant", "visitor"];
const WHO: [(&str, &str, Whois); 2] =
    [("moderators", "Moderators only", Whois::Moderators), ("anyone", "Everybody", Whois::Anyone)];
const PMS: [(&str, &str, Pm); 4] = [
    ("anyone", "Everybody", Pm::Anyone),
    ("participants", "Who has voice", Pm::Participants),
    ("moderators", "Moderators", Pm::Moderators),
    ("none", "Nobody", Pm::None),
];

fn whois(now: Whois) -> &'static str {
    WHO.iter().find(|(.., one)| *one == now).map_or("moderators", |(name, ..)| name)
}

fn pm(now: Pm) -> &'static str {
    PMS.iter().find(|(.., one)| *one == now).map_or("anyone", |(name, ..)| name)
}

fn chosen<T: Copy>(options: &[(&str, &str, T)], value: &str) -> Result<T, StanzaError> {
    let found = options.iter().find(|(name, ..)| *name == value).map(|(.., one)| *one);
    found.ok_or_else(|| bad("a field has a value that is none of its options"))
}

fn reads_members(least: Least, role: &str) -> bool {
    let least = match least {
        Least::Visitor => Role::Visitor,
        Least::Participant => Role::Participant,
        Least::Moderator => Role::Moderator,
    };
    Role::parse(role).is_some_and(|role| role >= least)
}

fn least(roles: &[&str]) -> Least {
    match () {
        () if roles.contains(&"visitor") => Least::Visitor,
        () if roles.contains(&"participant") => Least::Participant,
        () => Least::Moderator,
    }
}

fn is_shown(broadcast: Broadcast, role: &str) -> bool {
    Role::parse(role).is_some_and(|role| broadcast.shows(role))
}

fn broadcast(roles: &[&str]) -> Broadcast {
    Broadcast {
        moderator: roles.contains(&"moderator"),
        participant: roles.contains(&"participant"),
        visitor: roles.contains(&"visitor"),
    }
}

fn occupants(value: &str, bounds: Bounds) -> Result<u32, StanzaError> {
    if matches!(value, "" | "none") {
        return Ok(0);
    }
    let max = u32::try_from(bounds.occupants_max).unwrap_or(u32::MAX);
    Ok(number(value)?.min(max))
}

fn number(value: &str) -> Result<u32, StanzaError> {
    value.parse().map_err(|_| bad("a field has to be a number"))
}

/// XEP-0004 §3.3
fn flag(value: &str) -> Result<bool, StanzaError> {
    match value {
        "1" | "true" => Ok(true),
        "0" | "false" | "" => Ok(false),
        _ => Err(bad("a field has to be 0 or 1")),
    }
}

fn short(value: &str) -> Result<String, StanzaError> {
    match value.len() > TEXT_MAX {
        true => {
            Err(StanzaError::not_acceptable().text(format!("a text has over {TEXT_MAX} bytes")))
        }
        false => Ok(value.to_owned()),
    }
}

fn addresses(values: &[&str], max: usize) -> Result<Vec<BareJid>, StanzaError> {
    if values.len() > max {
        return Err(StanzaError::not_acceptable().text("too many addresses"));
    }
    let read = |value: &&str| {
        let jid = crate::jid::Jid::parse(value).map_err(|_| StanzaError::jid_malformed())?;
        Ok(jid.bare())
    };
    values.iter().map(read).collect()
}

fn bad(text: &'static str) -> StanzaError {
    StanzaError::bad_request().text(text)
}

fn same(text: &str) -> (String, String) {
    (text.to_owned(), text.to_owned())
}

fn open<'x>(xml: &'x mut Xml, ty: &str, var: &str, label: &str) -> &'x mut Xml {
    xml.start("field").attr("type", ty).attr("var", var).attr("label", label)
}

fn text(xml: &mut Xml, ty: &str, var: &str, label: &str, value: &str) {
    open(xml, ty, var, label).element("value", None, value);
    xml.end();
}

/// XEP-0500 §5.1: with a datatype and a range (XEP-0122).
fn slow(xml: &mut Xml, seconds: u32) {
    open(xml, "text-single", SLOW, "Seconds between two messages of one participant; 0: no bound");
    xml.start("validate").attr("xmlns", "http://jabber.org/protocol/xdata-validate");
    xml.attr("datatype", "xs:integer").start("range").attr("min", "0");
    xml.attr("max", &SLOW_MAX.to_string()).end().end();
    xml.element("value", None, &seconds.to_string()).end();
}

fn yes_no(xml: &mut Xml, var: &str, label: &str, value: bool) {
    text(xml, "boolean", var, label, if value { "1" } else { "0" });
}

fn jids(xml: &mut Xml, var: &str, label: &str, values: &[&str]) {
    list(xml, "jid-multi", var, label, &[], values);
}

fn several(xml: &mut Xml, var: &str, label: &str, values: &[&str]) {
    list(xml, "list-multi", var, label, &ROLES.map(same), values);
}

fn choose<T>(xml: &mut Xml, var: &str, label: &str, options: &[(&str, &str, T)], value: &str) {
    let options: Vec<_> =
        options.iter().map(|(name, title, _)| ((*title).to_owned(), (*name).to_owned())).collect();
    list(xml, "list-single", var, label, &options, &[value]);
}

/// Options are titles and values.
fn list(
    xml: &mut Xml,
    ty: &str,
    var: &str,
    label: &str,
    options: &[(String, String)],
    values: &[&str],
) {
    open(xml, ty, var, label);
    for value in values {
        xml.element("value", None, value);
    }
    for (title, value) in options {
        xml.start("option").attr("label", title).element("value", None, value);
        xml.end();
    }
    xml.end();
}

const TEXT_MAX: usize = 1_024;
const CONTACTS_MAX: usize = 20;
/// A day.
const SLOW_MAX: u32 = 86_400;
