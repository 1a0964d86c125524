//! Stanzas as Prosody keeps them: tables with a name, attributes and children.

use super::lua::{Table, Value};
use crate::moving::parts::is_name;
use crate::xml::writer::{escape_attr, escape_text};

/// How deep elements may be nested; the importer refuses what is deeper than its own limit.
const DEPTH_MAX: usize = 128;

/// Writes a stanza as XML. `namespace`: what it is in, if it does not say. `without`: attributes of the outermost
/// element that are Prosody's own.
pub fn write(table: &Table, namespace: &str, without: &[&str]) -> Result<String, String> {
    let mut out = String::new();
    element(table, Some(namespace), without, 0, &mut out)?;
    Ok(out)
}

fn element(
    table: &Table,
    namespace: Option<&str>,
    without: &[&str],
    depth: usize,
    out: &mut String,
) -> Result<(), String> {
    if depth > DEPTH_MAX {
        return Err(format!("its elements are nested deeper than {DEPTH_MAX}"));
    }
    let name = table.text("name").filter(|name| is_name(name)).ok_or("an element has no name")?;
    out.push('<');
    out.push_str(name);
    attributes(table, namespace, without, out)?;
    if table.list.is_empty() {
        out.push_str("/>");
        return Ok(());
    }
    out.push('>');
    for child in &table.list {
        match child {
            Value::Table(child) => element(child, None, &[], depth.saturating_add(1), out)?,
            Value::Text(_) => out.push_str(&escape_text(child.text().ok_or("it is not UTF-8")?)),
            _ => return Err("a child of an element is neither an element nor a text".to_owned()),
        }
    }
    out.push_str("</");
    out.push_str(name);
    out.push('>');
    Ok(())
}

fn attributes(
    table: &Table,
    namespace: Option<&str>,
    without: &[&str],
    out: &mut String,
) -> Result<(), String> {
    let attr = table.table("attr");
    let declared = attr.is_some_and(|attr| attr.get("xmlns").is_some());
    if let Some(namespace) = namespace.filter(|_| !declared) {
        write_attribute("xmlns", namespace, out);
    }
    let all = attr.into_iter().flat_map(Table::texts);
    for (at, (name, value)) in all.filter(|(name, _)| !without.contains(name)).enumerate() {
        let value = value.shown().ok_or("an attribute is no text")?;
        // Prosody keeps an attribute of another namespace as `namespace\1name`.
        match name.split_once('\u{1}') {
            Some((space, name)) if is_name(name) => {
                write_attribute(&format!("xmlns:ns{at}"), space, out);
                write_attribute(&format!("ns{at}:{name}"), &value, out);
            }
            None if is_name(name) => write_attribute(name, &value, out),
            _ => return Err("an attribute has no name".to_owned()),
        }
    }
    Ok(())
}

fn write_attribute(name: &str, value: &str, out: &mut String) {
    out.push(' ');
    out.push_str(name);
    out.push_str("='");
    out.push_str(&escape_attr(value));
    out.push('\'');
}

#[cfg(test)]
mod tests {
    use super::super::lua;
    use super::*;
    use crate::moving::scan::Bounds;

    fn written(lua: &str) -> Result<String, String> {
        let value = lua::one(format!("return {lua}").as_bytes(), Bounds::DEFAULT).expect("Lua");
        write(value.table().expect("a table"), "jabber:client", &["stamp"])
    }

    #[test]
    fn a_stanza_is_written_with_its_namespaces() {
        let lua = r#"{ name = "message"; attr = { to = "a'b"; stamp = "x"; ["urn:y\001z"] = "1"; ["xml:lang"] = "de" };
            { name = "body"; attr = {}; "a<b"; "\195\164"; };
            { name = "active"; attr = { xmlns = "urn:c" } }; }"#;
        assert_eq!(
            written(lua).as_deref(),
            Ok(
                "<message xmlns='jabber:client' to='a&apos;b' xmlns:ns1='urn:y' ns1:z='1' xml:lang='de'>\
                <body>a&lt;bä</body><active xmlns='urn:c'/></message>"
            )
        );
    }

    #[test]
    fn what_is_no_stanza_is_refused() {
        for lua in [
            "{}",
            r#"{ name = "a b" }"#,
            r#"{ name = "a"; 1 }"#,
            r#"{ name = "a"; attr = { ["x='"] = "1" } }"#,
            r#"{ name = "a"; attr = { x = {} } }"#,
            r#"{ name = "a"; "\255" }"#,
        ] {
            assert!(written(lua).is_err(), "{lua}");
        }
    }
}
