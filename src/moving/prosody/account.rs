//! The parts of an account in Prosody's stores, each as pieces.

use super::lua::{Key, Table, Value};
use super::stanza;
use super::stores::micros;
use crate::admin::Secret;
use crate::base::credential::ScramKeys;
use crate::moving::keys;
use crate::moving::parts::{self, Contact, Field, untaken};
use crate::moving::piece::{MovedAccount, Piece};

/// The account itself, of the store `accounts`; `details`: what it said of itself when it registered.
pub fn account(host: &str, name: &str, it: &Table, details: &Table) -> Vec<Piece> {
    let password = it.text("password").filter(|text| !text.is_empty());
    let mut pieces = Vec::new();
    let keys = match scram(it) {
        Ok(keys) => keys,
        Err(why) => {
            pieces.push(untaken("passwords", format!("{name}@{host}"), why));
            None
        }
    };
    // The latter since version 13.
    let created = details.get("registered").or_else(|| it.get("created"));
    let account = MovedAccount {
        host: host.to_owned(),
        name: name.to_owned(),
        password: password.map(|text| Secret(text.to_owned())),
        keys: keys.into_iter().collect(),
        disabled: it.is("disabled"),
        created: created.and_then(Value::number).map(micros),
        ..MovedAccount::default()
    };
    pieces.insert(0, Piece::Account(account));
    for (field, value) in details.texts().filter(|(field, _)| *field != "registered") {
        let which = format!("{field} {} of {name}@{host}", value.shown().unwrap_or_default());
        pieces.push(untaken(
            "registration details",
            which,
            "people keep them in their vCards here",
        ));
    }
    pieces
}

/// SCRAM keys; which hash they are of is known from their length.
fn scram(it: &Table) -> Result<Option<ScramKeys>, String> {
    let (Some(stored), Some(server)) = (it.text("stored_key"), it.text("server_key")) else {
        return Ok(None);
    };
    let unhex = |what: &str, text: &str| {
        unhex(text).ok_or_else(|| format!("its {what} is not hexadecimal"))
    };
    let (stored_key, server_key) = (unhex("stored_key", stored)?, unhex("server_key", server)?);
    let Some(Value::Text(salt)) = it.get("salt") else {
        return Err("it has keys, but no salt".to_owned());
    };
    let count = it.get("iteration_count").and_then(Value::number);
    #[allow(clippy::cast_possible_truncation)] // it is in the range
    let iterations = count
        .filter(|it| it.fract() == 0.0 && (1.0..=1e9).contains(it))
        .map(|it| it as i64)
        .ok_or("its iteration_count is no number of rounds")?;
    keys::raw(None, iterations, salt.clone(), stored_key, server_key).map(Some)
}

fn unhex(text: &str) -> Option<Vec<u8>> {
    let digits = text.as_bytes();
    if !digits.len().is_multiple_of(2) || !digits.iter().all(u8::is_ascii_hexdigit) {
        return None;
    }
    let pairs = digits.chunks_exact(2);
    pairs.map(|pair| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()).collect()
}

/// The store `roster`: contacts, and under the key `false` the requests that wait.
pub fn roster(it: &Table) -> Vec<Piece> {
    let mut pieces = Vec::new();
    for (jid, value) in it.texts() {
        match value {
            // What old versions kept the requests under; a contact has a subscription.
            Value::Table(pending) if jid == "pending" && pending.text("subscription").is_none() => {
                requests(pending, &mut pieces);
            }
            Value::Table(contact) if !jid.is_empty() => pieces.push(one(jid, contact)),
            _ => pieces.push(untaken("roster items", jid, "it is no contact")),
        }
    }
    let own = it.map.get(&Key::Bool(false)).and_then(Value::table);
    if let Some(pending) = own.and_then(|own| own.table("pending")) {
        requests(pending, &mut pieces);
    }
    pieces
}

fn one(jid: &str, it: &Table) -> Piece {
    let subscription = match it.text("subscription") {
        Some(known @ ("none" | "to" | "from" | "both")) => known,
        // A contact that was only approved has none (RFC 6121 §3.4.2).
        None => "none",
        Some(other) => {
            return untaken("roster items", jid, format!("its subscription is {other:?}"));
        }
    };
    let mut groups: Vec<&str> = Vec::new();
    let named = it.table("groups").into_iter();
    groups.extend(named.clone().flat_map(Table::texts).map(|(name, _)| name));
    groups.extend(named.flat_map(|table| table.list.iter()).filter_map(Value::text));
    parts::contact(Contact {
        jid,
        name: it.text("name").unwrap_or_default(),
        subscription,
        asks: it.text("ask") == Some("subscribe"),
        approved: it.is("approved") || it.text("approved") == Some("true"),
        groups: &groups,
    })
}

fn requests(pending: &Table, pieces: &mut Vec<Piece>) {
    for (jid, value) in pending.texts() {
        // With the whole stanza, since version 0.12; its sender is a full address there.
        let stanza =
            value.table().and_then(|it| stanza::write(it, "jabber:client", &["stamp"]).ok());
        let stanza = stanza.filter(|it| it.starts_with("<presence"));
        pieces.push(match stanza {
            Some(stanza) => parts::whole(parts::sent_by(&stanza, jid)),
            None => parts::request(jid, ""),
        });
    }
}

/// The stores `vcard` of accounts and `vcard_muc` of rooms.
pub fn vcard(it: &Table, whose: &str) -> Piece {
    match stanza::write(it, "vcard-temp", &[]) {
        Ok(xml) => parts::whole(xml),
        Err(why) => untaken("vCards", whose, why),
    }
}

/// The store `private`: elements by name and namespace.
pub fn private(it: &Table) -> Vec<Piece> {
    let all = it.texts().filter(|(_, value)| value.table().is_some());
    let piece = |(key, value): (&str, &Value)| {
        let namespace = key.split_once(':').map_or("", |(_, namespace)| namespace);
        match value.table().map(|it| stanza::write(it, namespace, &[])) {
            Some(Ok(xml)) => parts::private(xml),
            Some(Err(why)) => untaken("private XML", key, why),
            None => untaken("private XML", key, "it is no element"),
        }
    };
    all.map(piece).collect()
}

/// The store `blocklist`: addresses, and something of its own under `false`.
pub fn blocked(it: &Table) -> Vec<Piece> {
    it.texts()
        .filter(|(_, value)| **value != Value::Bool(false))
        .map(|(jid, _)| parts::blocked(jid))
        .collect()
}

/// The denied addresses of the default list in the store `privacy`, which `mod_privacy` had; the rest is named.
pub fn privacy(it: &Table) -> Vec<Piece> {
    let mut pieces = Vec::new();
    let default = it.text("default");
    for (name, list) in it.table("lists").into_iter().flat_map(Table::texts) {
        let items = list.table().and_then(|list| list.table("items"));
        if default != Some(name) {
            pieces.push(untaken("privacy lists", name, "it is not the default list"));
            continue;
        }
        for item in items.into_iter().flat_map(|it| &it.list).filter_map(Value::table) {
            match (item.text("type"), item.text("action"), item.text("value")) {
                (Some("jid"), Some("deny"), Some(jid)) => pieces.push(parts::blocked(jid)),
                (kind, action, value) => {
                    let [kind, action, value] =
                        [kind, action, value].map(Option::unwrap_or_default);
                    let which = format!("{name}: {action} {kind} {value}");
                    pieces.push(untaken("privacy lists", which, "only denied addresses are taken"));
                }
            }
        }
    }
    pieces
}

/// The store `archive_prefs`: the default under `false`, and addresses with true (always) or false (never).
pub fn preferences(it: &Table) -> Piece {
    let default = match it.map.get(&Key::Bool(false)) {
        Some(Value::Bool(true)) => "always",
        Some(Value::Bool(false)) => "never",
        Some(Value::Text(text)) if text == b"roster" => "roster",
        _ => "always",
    };
    let with = |wanted: bool| -> Vec<String> {
        let all = it.texts().filter(|(_, value)| **value == Value::Bool(wanted));
        all.map(|(jid, _)| jid.to_owned()).collect()
    };
    parts::preferences(default, &with(true), &with(false))
}

/// The store `pep`: nodes by name, with configuration and affiliations.
pub fn nodes(it: &Table) -> Vec<Piece> {
    let mut pieces = Vec::new();
    for (name, value) in it.texts() {
        // Old versions kept `true` alone.
        let Some(node) = value.table() else { continue };
        let config = node.table("config").into_iter().flat_map(Table::texts);
        let config = config.filter(|(name, _)| !name.starts_with('_')); // its own notes
        let fields: Vec<Field> =
            config.filter_map(|(name, value)| node_field(name, value)).collect();
        if !fields.is_empty() {
            pieces.push(parts::node(name, &fields));
        }
        let people = node.table("affiliations").into_iter().flat_map(Table::texts);
        let people: Vec<_> =
            people.filter_map(|(jid, it)| Some((jid.to_owned(), it.text()?.to_owned()))).collect();
        if !people.is_empty() {
            pieces.push(parts::node_affiliations(name, &people));
        }
    }
    pieces
}

/// A setting of a node as the field of XEP-0060 (`node_config_form` of Prosody's mod_pubsub).
fn node_field(name: &str, value: &Value) -> Option<Field> {
    let var = match name {
        "payload_type" => "pubsub#type".to_owned(),
        "notify_items" => "pubsub#deliver_notifications".to_owned(),
        "include_payload" => "pubsub#deliver_payloads".to_owned(),
        _ => format!("pubsub#{name}"),
    };
    let value = match value {
        Value::Number(number) if number.is_infinite() => "max".to_owned(),
        Value::Bool(it) => u8::from(*it).to_string(),
        _ => value.shown()?,
    };
    Some(parts::field(&var, value))
}

#[cfg(test)]
mod tests {
    use super::super::lua;
    use super::*;
    use crate::base::credential::HashName;
    use crate::moving::scan::Bounds;

    fn table(lua: &str) -> Table {
        let value = lua::one(format!("return {lua}").as_bytes(), Bounds::DEFAULT).expect("Lua");
        value.table().expect("a table").clone()
    }

    fn shown(pieces: &[Piece]) -> String {
        let one = |piece: &Piece| match piece {
            Piece::Part { xml, .. } => String::from_utf8_lossy(xml).into_owned(),
            other => format!("{other:?}"),
        };
        pieces.iter().map(one).collect::<Vec<_>>().join("\n")
    }

    #[test]
    fn keys_are_known_by_their_length() {
        let lua = format!(
            r#"{{ stored_key = "{}"; server_key = "{}"; salt = "a-b"; iteration_count = 10000.0 }}"#,
            "0f".repeat(32),
            "AB".repeat(32)
        );
        let pieces = account("h", "u", &table(&lua), &Table::default());
        let [Piece::Account(it)] = pieces.as_slice() else { panic!("{pieces:?}") };
        let keys = it.keys.first().expect("keys");
        assert_eq!(
            (keys.hash, keys.iterations, keys.salt.as_slice()),
            (HashName::Sha256, 10_000, &b"a-b"[..])
        );
        assert_eq!(keys.stored_key, [15; 32]);
        assert!(!it.disabled);
        for wrong in [
            r#"{ stored_key = "0g"; server_key = "00" }"#,
            r#"{ stored_key = "00"; server_key = "00"; salt = "s"; iteration_count = 1 }"#,
            r#"{ stored_key = "0"; server_key = "00" }"#,
            &lua.replace("\"a-b\"", "\"\""),
            &lua.replace("10000.0", "10000001"),
            &lua.replace(&"AB".repeat(32), &"AB".repeat(20)),
        ] {
            let pieces = account("h", "u", &table(wrong), &Table::default());
            assert!(
                matches!(pieces.as_slice(), [Piece::Account(_), Piece::Untaken { .. }]),
                "{wrong}"
            );
        }
        let pieces = account(
            "h",
            "u",
            &table(r#"{ password = "p"; disabled = true; created = 1.5 }"#),
            &table("{ email = \"e@x\" }"),
        );
        let [Piece::Account(it), Piece::Untaken { .. }] = pieces.as_slice() else {
            panic!("{pieces:?}")
        };
        assert_eq!((it.password.as_ref().map(|it| it.0.as_str()), it.disabled), (Some("p"), true));
        assert_eq!(it.created, Some(1_500_000));
    }

    #[test]
    fn a_roster_has_contacts_requests_and_approvals() {
        let lua = r#"{ [false] = { version = 3; pending = { ["in@x"] = true; ["st@x"] = { name = "presence";
            attr = { from = "st@x/r"; type = "subscribe" }; { name = "status"; attr = {}; "hi" } } } };
            ["a@x"] = { subscription = "both"; groups = { ["Fr & Co"] = true }; name = "A" };
            ["out@x"] = { subscription = "none"; ask = "subscribe"; groups = {} };
            ["pre@x"] = { subscription = "none"; approved = "true"; groups = {} };
            ["bad@x"] = { subscription = "maybe" }; pending = { ["old@x"] = true } }"#;
        assert_eq!(
            shown(&roster(&table(lua))),
            "<item xmlns='jabber:iq:roster' jid='a@x' name='A' subscription='both'><group>Fr &amp; Co</group></item>\n\
             Untaken { what: \"roster items\", which: \"bad@x\", why: \"its subscription is \\\"maybe\\\"\" }\n\
             <item xmlns='jabber:iq:roster' jid='out@x' subscription='none' ask='subscribe'/>\n\
             <presence xmlns='jabber:client' type='subscribe' from='old@x'/>\n\
             <item xmlns='jabber:iq:roster' jid='pre@x' subscription='none' approved='true'/>\n\
             <presence xmlns='jabber:client' type='subscribe' from='in@x'/>\n\
             <presence from='st@x' xmlns='jabber:client' type='subscribe'><status>hi</status></presence>"
        );
    }

    #[test]
    fn nodes_blocks_preferences_and_private_elements() {
        let nodes = nodes(&table(
            r#"{ n = { name = "n"; config = { access_model = "open"; max_items = (1/0); persist_items = true };
                affiliations = { ["a@x"] = "owner" } }; old = true }"#,
        ));
        let text = shown(&nodes);
        assert!(
            text.contains("<field var='pubsub#max_items'><value>max</value></field>"),
            "{text}"
        );
        assert!(text.contains("<affiliation jid='a@x' affiliation='owner'/>"), "{text}");
        let blocks = blocked(&table(r#"{ [false] = { created = 1 }; ["a@x"] = true }"#));
        assert_eq!(shown(&blocks), "<item xmlns='urn:xmpp:blocking' jid='a@x'/>");
        let prefs =
            preferences(&table(r#"{ [false] = "roster"; ["a@x"] = true; ["b@x"] = false }"#));
        assert!(
            shown(&[prefs])
                .contains("default='roster'><always><jid>a@x</jid></always><never><jid>b@x</jid>")
        );
        let stored = r#"{ ["e:n:s"] = { name = "e"; attr = { xmlns = "n:s" }; "x" } }"#;
        assert_eq!(shown(&private(&table(stored))), "<e xmlns='n:s'>x</e>");
    }
}
