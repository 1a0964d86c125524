//! A room's options, as ejabberd keeps them in Mnesia and as a text in SQL: a list of pairs.

use super::term::Term;
use crate::moving::parts::{self, Field, field, untaken};
use crate::moving::piece::Piece;

const FORM: &str = "muc#roomconfig_";
/// Options that are yes or no, with the fields that they are (XEP-0045 §10.1.3).
const FLAGS: [(&str, &str); 9] = [
    ("allow_change_subj", "changesubject"),
    ("public", "publicroom"),
    ("persistent", "persistentroom"),
    ("moderated", "moderatedroom"),
    ("members_only", "membersonly"),
    ("allow_user_invites", "allowinvites"),
    ("password_protected", "passwordprotectedroom"),
    ("mam", "enablelogging"),
    ("allow_voice_requests", "allow_voice_requests"),
];
const TEXTS: [(&str, &str); 4] = [
    ("title", "roomname"),
    ("description", "roomdesc"),
    ("password", "roomsecret"),
    ("lang", "lang"),
];

/// The room `jid`. `nick`: what nick somebody has reserved at the room's service.
pub fn room(jid: &str, options: &Term, nick: &dyn Fn(&str) -> Option<String>) -> Vec<Piece> {
    if !options.get("persistent").is_some_and(Term::is_true) {
        return vec![untaken(
            "rooms",
            jid,
            "it was not persistent, and ended with its last occupant",
        )];
    }
    let mut pieces = vec![Piece::Room { jid: jid.to_owned() }, parts::room(&fields(options))];
    pieces.extend(others(options));
    for pair in options.get("affiliations").map(Term::list).unwrap_or_default() {
        pieces.push(affiliation(pair, nick));
    }
    let subject = options.get("subject").and_then(subject_text).filter(|it| !it.is_empty());
    if let Some(subject) = subject {
        let author =
            options.get("subject_author").and_then(author_nick).filter(|it| !it.is_empty());
        let from = author.map_or_else(|| jid.to_owned(), |nick| format!("{jid}/{nick}"));
        pieces.push(parts::room_subject(&from, subject, None));
    }
    // A whole vCard, as text.
    let vcard = options.get("vcard").and_then(Term::text).filter(|it| !it.is_empty());
    pieces.extend(vcard.map(|it| parts::whole(parts::declared(it, "vcard-temp").into_owned())));
    pieces
}

fn fields(options: &Term) -> Vec<Field> {
    let mut fields = Vec::new();
    for (option, name) in FLAGS {
        if let Some(value) = options.get(option) {
            fields.push(field(&format!("{FORM}{name}"), if value.is_true() { "1" } else { "0" }));
        }
    }
    for (option, name) in TEXTS {
        let value = options.get(option).and_then(Term::text).filter(|it| !it.is_empty());
        fields.extend(value.map(|it| field(&format!("{FORM}{name}"), it)));
    }
    if let Some(anonymous) = options.get("anonymous") {
        let whois = if anonymous.is_true() { "moderators" } else { "anyone" };
        fields.push(field(&format!("{FORM}whois"), whois));
    }
    if let Some(most) = options.get("max_users").and_then(Term::int) {
        fields.push(field(&format!("{FORM}maxusers"), most.to_string()));
    }
    if options.get("allow_private_messages").is_some_and(|it| it.atom() == Some("false")) {
        fields.push(field(&format!("{FORM}allowpm"), "none"));
    }
    if let Some(shown) = options.get("presence_broadcast") {
        let roles = shown.list().iter().filter_map(Term::atom).map(str::to_owned).collect();
        fields.push((format!("{FORM}presencebroadcast"), roles));
    }
    fields
}

/// Settings that there is no field for, with what they are in nearly all rooms: those that are something else are
/// named.
const OTHERS: [(&str, &str); 9] = [
    ("allow_query_users", "true"),
    ("allow_visitor_status", "true"),
    ("allow_visitor_nickchange", "true"),
    ("public_list", "true"),
    ("members_by_default", "true"),
    ("captcha_protected", "false"),
    ("logging", "false"),
    ("allow_subscription", "false"),
    ("enable_hats", "false"),
];

fn others(options: &Term) -> impl Iterator<Item = Piece> {
    OTHERS.into_iter().filter_map(|(name, usual)| {
        let value = options.get(name)?.atom()?;
        let why = "there is no such setting here";
        (value != usual).then(|| untaken("room configurations", format!("{name} = {value}"), why))
    })
}

fn affiliation(pair: &Term, nick: &dyn Fn(&str) -> Option<String>) -> Piece {
    let [person, value] = pair.tuple() else {
        return untaken("room affiliations", "", "it is no pair");
    };
    let Some(jid) = jid(person) else {
        return untaken("room affiliations", "", "it has no address");
    };
    let (affiliation, reason) = match value.tuple() {
        [affiliation, reason] => (affiliation.atom(), reason.text()),
        _ => (value.atom(), None),
    };
    match affiliation {
        Some(known @ ("owner" | "admin" | "member" | "outcast")) => {
            parts::room_affiliation(&jid, known, nick(&jid).as_deref(), reason)
        }
        _ => untaken("room affiliations", jid, "its affiliation is none of XEP-0045"),
    }
}

/// Who set the subject; since version 22.10 with an address behind.
fn author_nick(author: &Term) -> Option<&str> {
    author.text().or_else(|| author.tuple().first().and_then(Term::text))
}

/// A text, or since version 19.05 texts of several languages.
fn subject_text(subject: &Term) -> Option<&str> {
    subject.text().or_else(|| {
        let first = subject.list().first()?;
        first.tuple().last().and_then(Term::text)
    })
}

/// `{User, Server, Resource}`, or a record `jid`, as an address.
pub fn jid(term: &Term) -> Option<String> {
    let (user, server, resource) = match term.tuple() {
        [user, server, resource] => (user, server, resource),
        [user, server] => return Some(joined(user.text()?, server.text()?, "")),
        [kind, user, server, resource, ..] if kind.atom() == Some("jid") => {
            (user, server, resource)
        }
        _ => return None,
    };
    Some(joined(user.text()?, server.text()?, resource.text()?))
}

fn joined(user: &str, server: &str, resource: &str) -> String {
    let user = if user.is_empty() { String::new() } else { format!("{user}@") };
    let resource = if resource.is_empty() { String::new() } else { format!("/{resource}") };
    format!("{user}{server}{resource}")
}

#[cfg(test)]
mod tests {
    use super::super::term;
    use super::*;

    #[test]
    fn options_become_fields_and_people() {
        let options = term::one(
            r#"[{title,<<"R & D">>},{public,false},{persistent,true},{anonymous,false},{max_users,200},
            {affiliations,[{{<<"a">>,<<"x">>,<<>>},{owner,<<>>}},{{<<"b">>,<<"x">>,<<>>},member},
            {{<<"c">>,<<"x">>,<<>>},{outcast,<<"rude">>}}]},{subject,[{text,<<>>,<<"S">>}]},{subject_author,<<"al">>}]"#,
        );
        let nick = |jid: &str| (jid == "b@x").then(|| "bobby".to_owned());
        let pieces = room("r@m", &options.expect("a term"), &nick);
        let shown: Vec<String> = pieces
            .iter()
            .map(|piece| match piece {
                Piece::Part { xml, .. } => String::from_utf8_lossy(xml).into_owned(),
                other => format!("{other:?}"),
            })
            .collect();
        let [_, config, owner, member, outcast, subject] = shown.as_slice() else {
            panic!("{shown:#?}")
        };
        for (name, wanted) in [
            ("roomname", "R &amp; D"),
            ("publicroom", "0"),
            ("whois", "anyone"),
            ("maxusers", "200"),
        ] {
            assert!(
                config.contains(&format!("<field var='{FORM}{name}'><value>{wanted}</value>")),
                "{config}"
            );
        }
        assert!(owner.contains("jid='a@x' affiliation='owner'"), "{owner}");
        assert!(member.contains("nick='bobby'"), "{member}");
        assert!(outcast.contains("<reason>rude</reason>"), "{outcast}");
        assert!(subject.contains("from='r@m/al'><subject>S</subject>"), "{subject}");
    }
}
