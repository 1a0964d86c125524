//! Rooms in the stores of Prosody's MUC component.

use super::lua::{Table, Value};
use super::stores::micros;
use crate::moving::parts::{self, Field, field, untaken};
use crate::moving::piece::Piece;

const AFFILIATIONS: [&str; 4] = ["owner", "admin", "member", "outcast"];

/// The room `jid` of the store `config`, without its archive and vCard; `persistent`: whether the component lists it so.
pub fn room(jid: &str, it: &Table, persistent: bool) -> Vec<Piece> {
    let empty = Table::default();
    let data = it.table("_data").unwrap_or(&empty);
    if data.get("destroyed").is_some() {
        return vec![untaken("rooms", jid, "it was destroyed")];
    }
    if !persistent && !data.is("persistent") {
        return vec![untaken(
            "rooms",
            jid,
            "it was not persistent, and ended with its last occupant",
        )];
    }
    let mut pieces = vec![Piece::Room { jid: jid.to_owned() }, parts::room(&fields(data))];
    pieces.extend(others(data));
    affiliations(it, &mut pieces);
    if let Some(subject) = data.text("subject").filter(|it| !it.is_empty()) {
        let at = data.get("subject_time").and_then(Value::number).map(micros);
        pieces.push(parts::room_subject(data.text("subject_from").unwrap_or(jid), subject, at));
    }
    pieces
}

/// The settings as fields of the form that an owner would see (XEP-0045 §10.1.3).
fn fields(data: &Table) -> Vec<Field> {
    let mut fields = vec![field("muc#roomconfig_persistentroom", "1")];
    let text = |name: &str, var: &str, fields: &mut Vec<Field>| {
        fields.extend(data.get(name).and_then(Value::shown).map(|it| field(var, it)));
    };
    text("name", "muc#roomconfig_roomname", &mut fields);
    text("description", "muc#roomconfig_roomdesc", &mut fields);
    text("language", "muc#roomconfig_lang", &mut fields);
    // Prosody writes what differs from its defaults, and ours is another one.
    fields.push(field("muc#roomconfig_whois", data.text("whois").unwrap_or("moderators")));
    text("history_length", "muc#maxhistoryfetch", &mut fields);
    let flag = |is: bool| if is { "1" } else { "0" };
    for (name, var) in [
        ("members_only", "muc#roomconfig_membersonly"),
        ("moderated", "muc#roomconfig_moderatedroom"),
        ("changesubject", "muc#roomconfig_changesubject"),
        ("allow_member_invites", "muc#roomconfig_allowinvites"),
    ] {
        fields.push(field(var, flag(data.is(name))));
    }
    fields.push(field("muc#roomconfig_publicroom", flag(!data.is("hidden"))));
    if let Some(Value::Bool(archiving)) = data.get("archiving") {
        fields.push(field("muc#roomconfig_enablelogging", flag(*archiving)));
    }
    let password = data.text("password").filter(|it| !it.is_empty());
    fields.push(field("muc#roomconfig_passwordprotectedroom", flag(password.is_some())));
    fields.extend(password.map(|it| field("muc#roomconfig_roomsecret", it)));
    if let Some(roles) = data.table("presence_broadcast") {
        let shown = ["moderator", "participant", "visitor"].into_iter();
        let shown = shown.filter(|role| roles.get(role) != Some(&Value::Bool(false)));
        let shown = shown.map(str::to_owned).collect();
        fields.push(("muc#roomconfig_presencebroadcast".to_owned(), shown));
    }
    fields
}

/// What is read, and what Prosody keeps for itself.
const KNOWN: [&str; 18] = [
    "name",
    "description",
    "language",
    "whois",
    "history_length",
    "members_only",
    "moderated",
    "changesubject",
    "allow_member_invites",
    "hidden",
    "archiving",
    "password",
    "presence_broadcast",
    "persistent",
    "subject",
    "subject_from",
    "subject_time",
    "occupant_id_salt",
];

/// Settings that there is no field for.
fn others(data: &Table) -> impl Iterator<Item = Piece> {
    let others =
        data.texts().filter(|(name, value)| !KNOWN.contains(name) && **value != Value::Bool(false));
    others.map(|(name, value)| {
        let which = format!("{name} = {}", value.shown().unwrap_or_else(|| "a table".to_owned()));
        untaken("room configurations", which, "there is no such setting here")
    })
}

/// What people are: in the table itself, or (before version 0.10) in one of its own.
fn affiliations(it: &Table, pieces: &mut Vec<Piece>) {
    let more = it.table("_affiliation_data");
    let people = it.texts().chain(it.table("_affiliations").into_iter().flat_map(Table::texts));
    for (jid, value) in people.filter(|(jid, _)| !jid.starts_with('_') && *jid != "jid") {
        let Some(affiliation) = value.text().filter(|it| AFFILIATIONS.contains(it)) else {
            pieces.push(untaken("room affiliations", jid, "its affiliation is none of XEP-0045"));
            continue;
        };
        let own = more.and_then(|more| more.table(jid));
        let nick = own.and_then(|own| own.text("reserved_nickname"));
        let reason = own.and_then(|own| own.text("reason"));
        pieces.push(parts::room_affiliation(jid, affiliation, nick, reason));
    }
}

#[cfg(test)]
mod tests {
    use super::super::lua;
    use super::*;
    use crate::moving::scan::Bounds;

    #[test]
    fn a_room_has_settings_people_and_a_subject() {
        let lua = r#"return { _jid = "r@m"; _data = { name = "R & D"; hidden = true; persistent = true; password = "p";
            history_length = 30; subject = "S"; subject_from = "r@m/a"; subject_time = 5; whois = "anyone" };
            ["a@x"] = "owner"; ["b@x"] = "member"; ["c@x"] = "king";
            _affiliation_data = { ["b@x"] = { reserved_nickname = "bobby" } } }"#;
        let value = lua::one(lua.as_bytes(), Bounds::DEFAULT).expect("Lua");
        let pieces = room("r@m", value.table().expect("a table"), false);
        let shown: Vec<String> = pieces
            .iter()
            .map(|piece| match piece {
                Piece::Part { xml, .. } => String::from_utf8_lossy(xml).into_owned(),
                other => format!("{other:?}"),
            })
            .collect();
        let [_, config, owner, member, king, subject] = shown.as_slice() else {
            panic!("{shown:#?}")
        };
        for (name, wanted) in [
            ("roomname", "R &amp; D"),
            ("publicroom", "0"),
            ("roomsecret", "p"),
            ("whois", "anyone"),
        ] {
            let wanted =
                format!("<field var='muc#roomconfig_{name}'><value>{wanted}</value></field>");
            assert!(config.contains(&wanted), "{config}");
        }
        assert!(owner.contains("jid='a@x' affiliation='owner'/>"), "{owner}");
        assert!(member.contains("affiliation='member' nick='bobby'/>"), "{member}");
        assert!(king.starts_with("Untaken"), "{king}");
        assert!(subject.contains("from='r@m/a'><subject>S</subject><delay"), "{subject}");
        let temporary = lua::one(&b"return { _data = {} }"[..], Bounds::DEFAULT).expect("Lua");
        let pieces = room("t@m", temporary.table().expect("a table"), false);
        assert!(matches!(pieces.as_slice(), [Piece::Untaken { .. }]));
    }
}
