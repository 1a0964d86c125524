//! Elements as ejabberd keeps them in Mnesia: `{xmlel, Name, Attributes, Children}`.

use super::term::Term;
use crate::moving::parts::is_name;
use crate::xml::writer::{escape_attr, escape_text};

/// How deep elements may be nested; the importer refuses what is deeper than its own limit.
const DEPTH_MAX: usize = 128;

/// Writes an element as XML. `namespace`: what it is in, if it does not say.
pub fn write(term: &Term, namespace: &str) -> Result<String, String> {
    let mut out = String::new();
    element(term, Some(namespace), 0, &mut out)?;
    Ok(out)
}

fn element(
    term: &Term,
    namespace: Option<&str>,
    depth: usize,
    out: &mut String,
) -> Result<(), String> {
    if depth > DEPTH_MAX {
        return Err(format!("its elements are nested deeper than {DEPTH_MAX}"));
    }
    let [kind, name, attributes, children] = term.tuple() else {
        return Err("it is no element".to_owned());
    };
    let name = name.text().filter(|name| is_name(name)).ok_or("an element has no name")?;
    if kind.atom() != Some("xmlel") {
        return Err("it is no element".to_owned());
    }
    out.push('<');
    out.push_str(name);
    let mut declared = false;
    for attribute in attributes.list() {
        let [key, value] = attribute.tuple() else {
            return Err("an attribute is no pair".to_owned());
        };
        let key = key.text().filter(|key| is_name(key)).ok_or("an attribute has no name")?;
        declared |= key == "xmlns";
        write_attribute(key, value.text().ok_or("an attribute is no text in UTF-8")?, out);
    }
    if let Some(namespace) = namespace.filter(|_| !declared) {
        write_attribute("xmlns", namespace, out);
    }
    out.push('>');
    for child in children.list() {
        match child.tuple() {
            [kind, text] if kind.atom() == Some("xmlcdata") => {
                out.push_str(&escape_text(text.text().ok_or("it is not UTF-8")?));
            }
            _ => element(child, None, depth.saturating_add(1), out)?,
        }
    }
    out.push_str("</");
    out.push_str(name);
    out.push('>');
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
    use super::super::term;
    use super::*;

    #[test]
    fn an_element_is_written_with_its_namespace() {
        let text = r#"{xmlel,<<"message">>,[{<<"to">>,<<"a'b">>}],[{xmlel,<<"body">>,[],[{xmlcdata,<<"<x>">>}]},
            {xmlel,<<"a">>,[{<<"xmlns">>,<<"urn:c">>}],[]}]}"#;
        assert_eq!(
            write(&term::one(text).expect("a term"), "jabber:client").as_deref(),
            Ok(
                "<message to='a&apos;b' xmlns='jabber:client'><body>&lt;x&gt;</body><a xmlns='urn:c'></a></message>"
            )
        );
        for wrong in [
            "{xmlel,<<\"a b\">>,[],[]}",
            "a",
            "{xmlel,<<\"a\">>,[],[x]}",
            "{xmlel,<<\"a\">>,[{<<\"b='\">>,<<>>}],[]}",
        ] {
            assert!(write(&term::one(wrong).expect("a term"), "n").is_err(), "{wrong}");
        }
    }
}
