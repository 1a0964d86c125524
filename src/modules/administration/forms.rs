//! The forms of XEP-0133: all have its FORM_TYPE.

use super::super::api::{Answers, StageOutcome};
use crate::stanza::StanzaError;
use crate::stanza::form::{self, Written};
use crate::xml::ns;
use crate::xml::writer::Xml;

/// A field to be filled in.
#[derive(Debug, Clone, Copy)]
pub(super) struct Blank {
    pub(super) ty: &'static str,
    pub(super) var: &'static str,
    pub(super) label: &'static str,
    pub(super) required: bool,
}

impl Blank {
    pub(super) const fn required(ty: &'static str, var: &'static str, label: &'static str) -> Self {
        Self { ty, var, label, required: true }
    }

    pub(super) const fn optional(ty: &'static str, var: &'static str, label: &'static str) -> Self {
        Self { ty, var, label, required: false }
    }
}

/// The only stage of a command: a form with these fields, filled in with what is known.
pub(super) fn ask(
    title: &str,
    instructions: &str,
    fields: &[(Blank, Vec<String>)],
) -> StageOutcome {
    let mut xml = Xml::new();
    form::titled(&mut xml, Written::Form, title);
    xml.element("instructions", None, instructions);
    form::field(&mut xml, "hidden", "FORM_TYPE", &[FORM_TYPE]);
    for (Blank { ty, var, label, required }, values) in fields {
        xml.start("field").attr("type", ty).attr("var", var).attr("label", label);
        if *required {
            xml.start("required").end();
        }
        for value in values {
            xml.element("value", None, value);
        }
        xml.end();
    }
    xml.end();
    StageOutcome::Ask { form: xml.finish().into(), last: true }
}

/// The same with nothing known yet.
pub(super) fn ask_blank(title: &str, instructions: &str, fields: &[Blank]) -> StageOutcome {
    let fields: Vec<_> = fields.iter().map(|field| (*field, Vec::new())).collect();
    ask(title, instructions, &fields)
}

/// The stage in which the length of a list is chosen (§4.18).
pub(super) fn ask_how_many(title: &str) -> StageOutcome {
    let mut xml = Xml::new();
    form::titled(&mut xml, Written::Form, title);
    form::field(&mut xml, "hidden", "FORM_TYPE", &[FORM_TYPE]);
    xml.start("field").attr("type", "list-single").attr("var", "max_items");
    xml.attr("label", "Maximum number of items to show").element("value", None, "100");
    for (label, value) in LENGTHS {
        xml.start("option").attr("label", label).element("value", None, value).end();
    }
    xml.end().end();
    StageOutcome::Ask { form: xml.finish().into(), last: true }
}

/// The length that was chosen, within what one answer may hold.
pub(super) fn how_many(answers: &Answers) -> Result<usize, StanzaError> {
    match answers.get("max_items") {
        [] => Ok(100),
        [none] if none == "none" => Ok(LIST_MAX),
        [number] => match number.parse::<usize>() {
            Ok(number) if number > 0 => Ok(number.min(LIST_MAX)),
            _ => Err(bad("max_items is a number, or none")),
        },
        _ => Err(bad("max_items has more than one value")),
    }
}

/// A result: fields with their labels and values, then `inner`.
pub(super) fn result(fields: &[(&str, &str, Vec<String>)], inner: &[u8]) -> StageOutcome {
    let mut xml = Xml::new();
    form::start(&mut xml, Written::Result, FORM_TYPE);
    for (var, label, values) in fields {
        xml.start("field").attr("var", var).attr("label", label);
        for value in values {
            xml.element("value", None, value);
        }
        xml.end();
    }
    xml.raw(inner).end();
    StageOutcome::Done { form: xml.finish().into(), note: None, effect: None }
}

/// A result of lines for people.
pub(super) fn lines(label: &str, lines: &[String]) -> Vec<u8> {
    let mut xml = Xml::new();
    form::start(&mut xml, Written::Result, FORM_TYPE);
    xml.start("field").attr("type", "text-multi").attr("var", "lines").attr("label", label);
    let (mut left, mut all) = (LINES_BYTES_MAX, true);
    for line in lines {
        match left.checked_sub(line.len()) {
            Some(rest) => left = rest,
            None => {
                all = false;
                break;
            }
        }
        xml.element("value", None, line);
    }
    if !all {
        xml.element("value", None, "… and more, which the command line shows");
    }
    xml.end().end();
    xml.finish().into()
}

/// The one value of a required field.
pub(super) fn one<'a>(answers: &'a Answers, var: &'static str) -> Result<&'a str, StanzaError> {
    match answers.get(var) {
        [value] => Ok(value),
        [] => Err(bad(format!("the field {var} is missing"))),
        _ => Err(bad(format!("the field {var} has more than one value"))),
    }
}

/// The values of a required field, each once.
pub(super) fn some(answers: &Answers, var: &'static str) -> Result<Vec<String>, StanzaError> {
    let mut values: Vec<String> = Vec::new();
    for value in answers.get(var) {
        let value = value.trim();
        if !value.is_empty() && !values.iter().any(|known| known == value) {
            values.push(value.to_owned());
        }
    }
    match values.len() {
        0 => Err(bad(format!("the field {var} is missing"))),
        1..=AT_ONCE_MAX => Ok(values),
        _ => Err(StanzaError::policy_violation().text("too many at once")),
    }
}

/// A text of some lines (XEP-0004 §3.3: text-multi).
pub(super) fn text(answers: &Answers, var: &'static str) -> Result<String, StanzaError> {
    let text = answers.get(var).join("\n");
    if text.trim().is_empty() {
        return Err(bad(format!("the field {var} is missing")));
    }
    Ok(text)
}

/// XEP-0050 §4.4
pub(super) fn bad(text: impl Into<std::borrow::Cow<'static, str>>) -> StanzaError {
    StanzaError::bad_request().text(text).application(ns::COMMANDS, "bad-payload")
}

/// §3, §8.1
pub(super) const FORM_TYPE: &str = "http://jabber.org/protocol/admin";
/// §4.18
const LENGTHS: &[(&str, &str)] = &[
    ("25", "25"),
    ("50", "50"),
    ("75", "75"),
    ("100", "100"),
    ("150", "150"),
    ("200", "200"),
    ("None", "none"),
];
/// Maximum number of JIDs in a list, so that it fits into a stanza; `stonechat user list` has no bound.
const LIST_MAX: usize = 1_000;
/// Maximum number of bytes in a result of lines, so that it fits into a stanza.
const LINES_BYTES_MAX: usize = 64 * 1024;
/// Maximum number of accounts that one command is about.
const AT_ONCE_MAX: usize = 100;

#[cfg(test)]
mod tests {
    use super::*;

    fn answers(var: &str, values: &[&str]) -> Answers {
        Answers(vec![(var.to_owned(), values.iter().map(|v| (*v).to_owned()).collect())])
    }

    #[test]
    fn a_list_is_as_long_as_asked_within_its_bound() {
        for (values, want) in [
            (&[][..], Some(100)),
            (&["25"], Some(25)),
            (&["none"], Some(LIST_MAX)),
            (&["99999999"], Some(LIST_MAX)),
            (&["0"], None),
            (&["-1"], None),
            (&["x"], None),
            (&["1", "2"], None),
        ] {
            assert_eq!(how_many(&answers("max_items", values)).ok(), want, "{values:?}");
        }
    }

    #[test]
    fn lines_fit_into_a_stanza() {
        let long = vec!["x".repeat(1_000); 1_000];
        let text = String::from_utf8(lines("Streams", &long)).unwrap();
        assert!(
            text.len() < LINES_BYTES_MAX + 4_000 && text.contains("and more"),
            "{}",
            text.len()
        );
        let text = String::from_utf8(lines("Streams", &long[..2])).unwrap();
        assert_eq!(
            (text.matches("<value>").count(), text.contains("and more")),
            (3, false),
            "{text}"
        );
    }

    #[test]
    fn values_are_read_once_each_and_are_few() {
        assert_eq!(some(&answers("a", &["x", " x ", "y"]), "a").unwrap(), ["x", "y"]);
        assert!(
            some(&answers("a", &[" "]), "a").is_err() && some(&answers("b", &["x"]), "a").is_err()
        );
        let many: Vec<String> = (0..=AT_ONCE_MAX).map(|n| n.to_string()).collect();
        let many: Vec<&str> = many.iter().map(String::as_str).collect();
        assert!(some(&answers("a", &many), "a").is_err());
        assert_eq!(text(&answers("a", &["x", "y"]), "a").unwrap(), "x\ny");
        assert!(text(&answers("a", &[" "]), "a").is_err());
        assert!(one(&answers("a", &["x", "y"]), "a").is_err());
    }
}
