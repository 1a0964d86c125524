//! When a stanza is the one that a transcript expects: scansion's rules.
//!
//! - An attribute of the expected element must be there with its value; `{scansion:any}` stands for
//!   any value, `{scansion:capture:name}` for any value, kept as `${name}`; text may stand around it.
//! - In an element of the stanza's own namespace more attributes and children may be there, and the
//!   order of children is free. An element of another namespace is held strictly: the same
//!   attributes and the same children in the same order. `scansion:strict='true|false'` on an
//!   element says otherwise for it and what it holds, `scansion:empty='true'` that it holds nothing;
//!   `scansion:only='status'` that it holds no other `<status/>` than those in the script (also with
//!   a namespace, `{ns}status`), and loosely whatever else.
//! - Text must be the same but for white space at the ends; no text in the script is no demand.

use super::element::{CLIENT, Element, SCANSION};
use std::collections::BTreeMap;

pub type Captures = BTreeMap<String, String>;

/// Does `got` fit `expected`? The captures are kept only if all fits; the error tells the place.
pub fn fits(expected: &Element, got: &Element, captures: &mut Captures) -> Result<(), String> {
    let mut found = captures.clone();
    element(expected, got, Mode::ByNamespace, &mut found)?;
    *captures = found;
    Ok(())
}

#[derive(Clone, Copy, PartialEq)]
enum Mode {
    /// Loose until another namespace begins, strict from there on.
    ByNamespace,
    Strict,
    Loose,
}

fn element(
    expected: &Element,
    got: &Element,
    mode: Mode,
    found: &mut Captures,
) -> Result<(), String> {
    if (&expected.name, &expected.ns) != (&got.name, &got.ns) {
        return Err(format!("<{} xmlns='{}'> instead of <{}>", got.name, got.ns, expected.name));
    }
    let only = expected.attr(&format!("{{{SCANSION}}}only"));
    let mode = match (expected.attr(&format!("{{{SCANSION}}}strict")), mode) {
        (None, _) if only.is_some() => Mode::Loose,
        (Some("true"), _) => Mode::Strict,
        (Some(_), _) => Mode::Loose,
        (None, Mode::ByNamespace) if expected.ns != CLIENT => Mode::Strict,
        (None, mode) => mode,
    };
    let strict = mode == Mode::Strict;
    attributes(expected, got, strict, found)?;
    if !expected.text.trim().is_empty() {
        let what = format!("text of <{}>", got.name);
        value(expected.text.trim(), Some(got.text.trim()), &what, found)?;
    }
    let empty = expected.attr(&format!("{{{SCANSION}}}empty")) == Some("true");
    if empty && !(got.children.is_empty() && got.text.trim().is_empty()) {
        return Err(format!("<{}> is not empty", got.name));
    }
    if let Some(name) = only {
        let is = |child: &&Element| {
            child.name == name || format!("{{{}}}{}", child.ns, child.name) == name
        };
        let count = |of: &Element| of.children.iter().filter(is).count();
        let (wanted, come) = (count(expected), count(got));
        if wanted != come {
            return Err(format!("<{}> holds {come} <{name}/>, not {wanted}", got.name));
        }
    }
    if strict {
        children_strictly(expected, got, found)
    } else {
        children_loosely(expected, got, mode, found)
    }
}

fn attributes(
    expected: &Element,
    got: &Element,
    strict: bool,
    found: &mut Captures,
) -> Result<(), String> {
    let ours = |name: &str| name.starts_with(&format!("{{{SCANSION}}}"));
    for (name, want) in expected.attrs.iter().filter(|(name, _)| !ours(name)) {
        let what = format!("attribute {name} of <{}>", got.name);
        value(want, got.attr(name), &what, found)?;
    }
    let extra = got.attrs.keys().find(|name| !expected.attrs.contains_key(*name));
    match extra.filter(|_| strict) {
        Some(name) => Err(format!("unexpected attribute {name} of <{}>", got.name)),
        None => Ok(()),
    }
}

fn value(want: &str, got: Option<&str>, what: &str, found: &mut Captures) -> Result<(), String> {
    let Some(got) = got else { return Err(format!("no {what}")) };
    if want == "{scansion:any}" {
        return Ok(());
    }
    let capture = want.split_once("{scansion:capture:").and_then(|(before, rest)| {
        let (name, after) = rest.split_once('}')?;
        Some((name, got.strip_prefix(before)?.strip_suffix(after)?))
    });
    if let Some((name, value)) = capture {
        found.insert(name.to_owned(), value.to_owned());
        return Ok(());
    }
    if want == got { Ok(()) } else { Err(format!("{what} is {got:?}, not {want:?}")) }
}

fn children_strictly(
    expected: &Element,
    got: &Element,
    found: &mut Captures,
) -> Result<(), String> {
    for (want, child) in expected.children.iter().zip(&got.children) {
        element(want, child, Mode::Strict, found)?;
    }
    let (wanted, come) = (expected.children.len(), got.children.len());
    if wanted != come {
        return Err(format!("<{}> holds {come} elements, not {wanted}", got.name));
    }
    Ok(())
}

fn children_loosely(
    expected: &Element,
    got: &Element,
    mode: Mode,
    found: &mut Captures,
) -> Result<(), String> {
    let mut left: Vec<&Element> = got.children.iter().collect();
    for want in &expected.children {
        let mut why = format!("no <{} xmlns='{}'> in <{}>", want.name, want.ns, got.name);
        let at = left.iter().position(|child| {
            let mut tried = found.clone();
            match element(want, child, mode, &mut tried) {
                Ok(()) => {
                    *found = tried;
                    true
                }
                Err(error) => {
                    if (&child.name, &child.ns) == (&want.name, &want.ns) {
                        why = error;
                    }
                    false
                }
            }
        });
        left.remove(at.ok_or(why)?);
    }
    Ok(())
}

#[test]
fn the_rules_of_scansion() {
    let cases = [
        // expected, got, fits?
        ("<message/>", "<message type='chat'><body>x</body></message>", true),
        ("<message type='chat'/>", "<message/>", false),
        ("<message id='{scansion:any}'/>", "<message id='7'/>", true),
        ("<message id='{scansion:any}'/>", "<message/>", false),
        ("<message><body>a</body></message>", "<message><body>b</body></message>", false),
        (
            "<message><body>a</body></message>",
            "<message><x xmlns='x'/><body>a</body></message>",
            true,
        ),
        ("<iq><q xmlns='q'/></iq>", "<iq><q xmlns='q'><more/></q></iq>", false),
        ("<iq><q xmlns='q'/></iq>", "<iq><q xmlns='q' more='1'/></iq>", false),
        (
            "<iq><q xmlns='q' scansion:strict='false'/></iq>",
            "<iq><q xmlns='q' more='1'><m/></q></iq>",
            true,
        ),
        ("<iq><q xmlns='q'><a/><b/></q></iq>", "<iq><q xmlns='q'><b/><a/></q></iq>", false),
        (
            "<iq><q xmlns='q' scansion:strict='false'><a/><b/></q></iq>",
            "<iq><q xmlns='q'><b/><a/></q></iq>",
            true,
        ),
        (
            "<iq><q xmlns='q' scansion:only='a'><a n='1'/><a n='2'/></q></iq>",
            "<iq><q xmlns='q'><b/><a n='2'/><a n='1'/></q></iq>",
            true,
        ),
        (
            "<iq><q xmlns='q' scansion:only='a'><a n='1'/></q></iq>",
            "<iq><q xmlns='q'><a n='1'/><a n='2'/></q></iq>",
            false,
        ),
        ("<iq scansion:only='{q}a'/>", "<iq><a xmlns='b'/></iq>", true),
        ("<iq scansion:only='{q}a'/>", "<iq><a xmlns='q'/></iq>", false),
    ];
    for (expected, got, fine) in cases {
        let (want, have) = (Element::parse(expected).unwrap(), Element::parse(got).unwrap());
        let answer = fits(&want, &have, &mut Captures::new());
        assert_eq!(answer.is_ok(), fine, "{expected} against {got}: {answer:?}");
    }
    let mut captures = Captures::new();
    let want = Element::parse("<message id='{scansion:capture:it}'/>").unwrap();
    fits(&want, &Element::parse("<message id='7'/>").unwrap(), &mut captures).unwrap();
    assert_eq!(captures.get("it").map(String::as_str), Some("7"));
    let want = Element::parse("<message id='a={scansion:capture:it};b'/>").unwrap();
    fits(&want, &Element::parse("<message id='a=8;b'/>").unwrap(), &mut captures).unwrap();
    assert_eq!(captures.get("it").map(String::as_str), Some("8"));
    assert!(fits(&want, &Element::parse("<message id='a=8'/>").unwrap(), &mut captures).is_err());
}
