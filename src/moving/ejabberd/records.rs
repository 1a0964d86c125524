//! What ejabberd keeps of an account, as pieces: the same for its Mnesia tables and its SQL tables.

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;

use super::room::jid;
use super::term::Term;
use crate::admin::Secret;
use crate::base::credential::{HashName, ScramKeys};
use crate::moving::keys;
use crate::moving::parts::{self, Contact, Field, field, untaken};
use crate::moving::piece::{MovedAccount, Piece};

/// SCRAM keys as they are kept: all in base64.
#[derive(Debug, Clone, Copy)]
pub struct Scram<'a> {
    /// `sha`, `sha256` or `sha512`.
    pub hash: &'a str,
    /// StoredKey.
    pub stored: &'a str,
    /// ServerKey.
    pub server: &'a str,
    /// The salt.
    pub salt: &'a str,
    /// Rounds.
    pub iterations: i64,
}

impl Scram<'_> {
    fn keys(self) -> Result<ScramKeys, String> {
        let hash = match self.hash {
            "sha" => HashName::Sha1,
            "sha256" => HashName::Sha256,
            "sha512" => HashName::Sha512,
            other => return Err(format!("keys of the hash {other:?}")),
        };
        let read = |what: &str, text: &str| {
            BASE64.decode(text).map_err(|_| format!("its {what} is not base64"))
        };
        let (stored, server) = (read("stored key", self.stored)?, read("server key", self.server)?);
        keys::raw(Some(hash), self.iterations, read("salt", self.salt)?, stored, server)
    }
}

/// An account.
pub fn account(
    host: &str,
    name: &str,
    password: Option<&str>,
    scram: Option<Scram<'_>>,
) -> Vec<Piece> {
    let mut pieces = Vec::new();
    let keys = scram.map(Scram::keys).transpose().unwrap_or_else(|why| {
        pieces.push(untaken("passwords", format!("{name}@{host}"), why));
        None
    });
    let account = MovedAccount {
        host: host.to_owned(),
        name: name.to_owned(),
        password: password.map(|text| Secret(text.to_owned())),
        keys: keys.into_iter().collect(),
        ..MovedAccount::default()
    };
    pieces.insert(0, Piece::Account(account));
    pieces
}

/// The password of a record `passwd`: a text, or keys.
pub fn passwd(host: &str, name: &str, password: &Term) -> Vec<Piece> {
    let Some(text) = password.text() else {
        let (stored, server, salt, hash, count) = match password.tuple() {
            [_, stored, server, salt, hash, count] => (stored, server, salt, hash.atom(), count),
            // Before version 20.04 there was SHA-1 alone.
            [_, stored, server, salt, count] => (stored, server, salt, Some("sha"), count),
            _ => return account(host, name, None, None),
        };
        let scram = Scram {
            hash: hash.unwrap_or_default(),
            stored: stored.text().unwrap_or_default(),
            server: server.text().unwrap_or_default(),
            salt: salt.text().unwrap_or_default(),
            iterations: count.int().unwrap_or_default(),
        };
        return account(host, name, None, Some(scram));
    };
    account(host, name, Some(text), None)
}

/// A contact; `ask`: `none`, `out`, `in`, `both` or `subscribe`.
pub fn contact(it: Contact<'_>, ask: &str, status: &str) -> Vec<Piece> {
    let mut pieces = Vec::new();
    if matches!(ask, "in" | "both") {
        pieces.push(parts::request(it.jid, status));
    }
    // A stranger who only asked is no contact; ejabberd does not show it as one.
    if !(ask == "in" && it.subscription == "none" && it.name.is_empty() && it.groups.is_empty()) {
        pieces.insert(
            0,
            parts::contact(Contact { asks: matches!(ask, "out" | "both" | "subscribe"), ..it }),
        );
    }
    pieces
}

/// A record `roster`.
pub fn roster(fields: &[Term]) -> Vec<Piece> {
    let [_, _, jid_of, name, subscription, ask, groups, status, ..] = fields else {
        return vec![untaken("roster items", "", "a record of an unknown shape")];
    };
    let Some(jid) = jid(jid_of) else {
        return vec![untaken("roster items", "", "it has no address")];
    };
    let Some(subscription @ ("none" | "to" | "from" | "both")) = subscription.atom() else {
        return vec![untaken("roster items", jid, "its subscription is none of RFC 6121")];
    };
    let groups: Vec<&str> = groups.list().iter().filter_map(Term::text).collect();
    let name = name.text().unwrap_or_default();
    let it = Contact { jid: &jid, name, subscription, groups: &groups, ..Contact::default() };
    contact(it, ask.atom().unwrap_or("none"), status.text().unwrap_or_default())
}

/// An item of a privacy list: its type, value and action, and whether it is about everything.
#[derive(Debug, Clone)]
pub struct Privacy {
    /// `jid`, `group`, `subscription` or `none`.
    pub kind: String,
    /// The address, group or subscription.
    pub value: String,
    /// Whether it denies.
    pub denies: bool,
}

/// An item of the list `list`; `default`: whether that is the default one.
pub fn privacy(list: &str, default: bool, it: &Privacy) -> Piece {
    if default && it.denies && it.kind == "jid" {
        return parts::blocked(&it.value);
    }
    let action = if it.denies { "deny" } else { "allow" };
    let which = format!("{list}: {action} {} {}", it.kind, it.value);
    untaken("privacy lists", which, "only the denied addresses of the default list are taken")
}

/// A record `privacy`.
pub fn privacy_lists(fields: &[Term]) -> Vec<Piece> {
    let [_, default, lists] = fields else { return Vec::new() };
    let mut pieces = Vec::new();
    for pair in lists.list() {
        let [name, items] = pair.tuple() else { continue };
        let name = name.text().unwrap_or_default();
        for item in items.list() {
            let [_, kind, value, action, ..] = item.tuple() else { continue };
            let value = jid(value).or_else(|| value.text().map(str::to_owned));
            let it = Privacy {
                kind: kind.atom().unwrap_or("none").to_owned(),
                value: value.unwrap_or_default(),
                denies: action.atom() == Some("deny"),
            };
            pieces.push(privacy(name, default.text() == Some(name), &it));
        }
    }
    pieces
}

/// A record `archive_prefs`.
pub fn preferences(fields: &[Term]) -> Option<Piece> {
    let [_, default, always, never] = fields else { return None };
    let jids = |list: &Term| -> Vec<String> { list.list().iter().filter_map(jid).collect() };
    Some(parts::preferences(default.atom()?, &jids(always), &jids(never)))
}

/// A message that waits; one without a delay gets one.
pub fn waiting(message: &str, at: Option<i64>, host: &str) -> Piece {
    let stamped = message.contains("urn:xmpp:delay");
    match at.filter(|_| !stamped) {
        Some(at) => parts::waiting(parts::delayed(message, at, host)),
        None => parts::waiting(message.to_owned()),
    }
}

/// The options of a node as fields of XEP-0060.
pub fn node(name: &str, options: &Term) -> Option<Piece> {
    let fields: Vec<Field> = options.list().iter().filter_map(option).collect();
    (!fields.is_empty()).then(|| parts::node(name, &fields))
}

fn option(pair: &Term) -> Option<Field> {
    let [name, value] = pair.tuple() else { return None };
    node_field(name.atom()?, value)
}

/// One option.
pub fn node_field(name: &str, value: &Term) -> Option<Field> {
    let var = format!("pubsub#{name}");
    Some(match value {
        Term::Atom(word) => match word.as_str() {
            "true" => field(&var, "1"),
            "false" => field(&var, "0"),
            "infinity" => field(&var, "max"),
            word => field(&var, word),
        },
        Term::Int(number) => field(&var, number.to_string()),
        Term::List(list) => (var, list.iter().filter_map(Term::text).map(str::to_owned).collect()),
        other => field(&var, other.text()?),
    })
}

/// A nick that somebody has reserved at a service of rooms.
pub fn service_nick(nick: &str, jid: &str, service: &str) -> Piece {
    let why = "ejabberd reserves a nick in all rooms of a service; it is taken for the rooms that have an affiliation \
               for this address";
    untaken("nicks", format!("{nick} of {jid} at {service}"), why)
}

/// What somebody is to a node, by the first letter in SQL or the whole word in Mnesia.
pub fn affiliation(word: &str) -> Option<&'static str> {
    match word {
        "o" | "owner" => Some("owner"),
        "p" | "publisher" => Some("publisher"),
        "u" | "publish_only" => Some("publish-only"),
        "m" | "member" => Some("member"),
        "c" | "outcast" => Some("outcast"),
        _ => None,
    }
}

/// `{Mega, Seconds, Micro}` as microseconds since 1970.
pub fn time(term: &Term) -> Option<i64> {
    let [mega, seconds, micro] = term.tuple() else { return term.int() };
    let seconds = mega.int()?.checked_mul(1_000_000)?.checked_add(seconds.int()?)?;
    seconds.checked_mul(1_000_000)?.checked_add(micro.int()?)
}

#[cfg(test)]
mod tests {
    use super::super::term;
    use super::*;

    fn shown(pieces: &[Piece]) -> String {
        let one = |piece: &Piece| match piece {
            Piece::Part { xml, .. } => String::from_utf8_lossy(xml).into_owned(),
            other => format!("{other:?}"),
        };
        pieces.iter().map(one).collect::<Vec<_>>().join("\n")
    }

    fn fields(text: &str) -> Vec<Term> {
        term::one(text).expect("a term").tuple().get(1..).expect("a record").to_vec()
    }

    #[test]
    fn keys_of_each_hash() {
        let key = BASE64.encode([7; 32]);
        let of = |rest: &str| {
            let text = format!(r#"{{scram,<<"{key}">>,<<"{key}">>,<<"BQ==">>,{rest}}}"#);
            passwd("h", "u", &term::one(&text).expect("a term"))
        };
        let pieces = of("sha256,4096");
        let [Piece::Account(it)] = pieces.as_slice() else { panic!("{pieces:?}") };
        let keys = it.keys.first().expect("keys");
        assert_eq!(
            (keys.hash, keys.iterations, keys.salt.as_slice()),
            (HashName::Sha256, 4096, &[5][..])
        );
        for bad in ["sha,4096", "sha512,4096", "sha256,0", "sha256,10000001", "md5,4096"] {
            let pieces = of(bad);
            assert!(
                matches!(pieces.as_slice(), [Piece::Account(_), Piece::Untaken { .. }]),
                "{bad}"
            );
        }
        let pieces =
            passwd("h", "u", &term::one(r#"{scram,<<"!">>,<<>>,<<>>,sha,1}"#).expect("a term"));
        assert!(matches!(pieces.as_slice(), [Piece::Account(_), Piece::Untaken { .. }]));
        let pieces = passwd("h", "u", &Term::Binary(b"secret".to_vec()));
        let [Piece::Account(it)] = pieces.as_slice() else { panic!("{pieces:?}") };
        assert_eq!(it.password, Some(Secret("secret".to_owned())));
    }

    #[test]
    fn a_contact_may_ask_and_be_asked() {
        let of = |subscription: &str, ask: &str, name: &str| {
            let text = format!(
                r#"{{roster,k,{{<<"a">>,<<"h">>}},{{<<"b">>,<<"x">>,<<>>}},<<"{name}">>,{subscription},{ask},[<<"G">>],<<"hi">>,[]}}"#
            );
            shown(&roster(&fields(&text)))
        };
        assert_eq!(
            of("to", "in", "B"),
            "<item xmlns='jabber:iq:roster' jid='b@x' name='B' subscription='to'><group>G</group></item>\n\
             <presence xmlns='jabber:client' type='subscribe' from='b@x'><status>hi</status></presence>"
        );
        assert!(of("none", "both", "").contains("ask='subscribe'"));
        let stranger = r#"{roster,k,u,{<<"b">>,<<"x">>,<<>>},<<>>,none,in,[],<<>>,[]}"#;
        assert_eq!(
            shown(&roster(&fields(stranger))),
            "<presence xmlns='jabber:client' type='subscribe' from='b@x'/>"
        );
        assert!(of("remove", "none", "").starts_with("Untaken"));
    }

    #[test]
    fn lists_and_preferences() {
        let text = r#"{privacy,u,<<"B">>,[{<<"B">>,[{listitem,jid,{<<>>,<<"bad">>,<<>>},deny,1,true,false,false,false,false}]},
            {<<"C">>,[{listitem,group,<<"G">>,deny,1,true,false,false,false,false}]}]}"#;
        let shown_lists = shown(&privacy_lists(&fields(text)));
        assert!(
            shown_lists.starts_with("<item xmlns='urn:xmpp:blocking' jid='bad'/>\nUntaken"),
            "{shown_lists}"
        );
        let text = r#"{archive_prefs,u,roster,[{<<"a">>,<<"x">>,<<>>}],[]}"#;
        let prefs = preferences(&fields(text)).expect("preferences");
        assert!(
            shown(&[prefs]).contains("default='roster'><always><jid>a@x</jid></always><never/>")
        );
        let options = term::one(
            "[{access_model,open},{max_items,infinity},{persist_items,true},{title,<<\"T\">>}]",
        );
        let node = shown(&[node("n", &options.expect("a term")).expect("a node")]);
        assert!(node.contains("<field var='pubsub#max_items'><value>max</value>"), "{node}");
        assert_eq!(time(&term::one("{1,2,3}").expect("a term")), Some(1_000_002_000_003));
    }
}
