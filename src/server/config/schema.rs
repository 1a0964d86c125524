//! Which keys exist: taken from the serialised defaults, so that the structs are the only list.

use super::{Config, Problem};
use toml::de::{DeTable, DeValue};
use toml::{Spanned, Table, Value};

/// The defaults as a table; its shape is the shape of every configuration.
pub(super) fn defaults() -> Table {
    table_of(&Config::default())
}

/// A configuration as a table. Every field serialises, so nothing is lost.
pub(super) fn table_of(config: &Config) -> Table {
    Table::try_from(config).unwrap_or_default()
}

/// All paths of the schema, sections included, arrays of tables without an index.
pub(super) fn paths(schema: &Table) -> Vec<String> {
    let mut found = Vec::new();
    collect("", schema, &mut found);
    found
}

fn collect(above: &str, table: &Table, found: &mut Vec<String>) {
    for (key, value) in table {
        let path = join(above, key);
        found.push(path.clone());
        if let Some(inner) = inner_table(value) {
            collect(&path, inner, found);
        }
    }
}

/// The default at a path; an index into an array of tables is skipped.
pub(super) fn at<'a>(schema: &'a Table, path: &str) -> Option<&'a Value> {
    let mut parts = path.split('.');
    let mut value = schema.get(parts.next()?)?;
    for part in parts {
        let table = inner_table(value)?;
        if value.is_array() && part.parse::<usize>().is_ok() {
            continue;
        }
        value = table.get(part)?;
    }
    Some(value)
}

/// The table of a section: itself, or the first of an array of tables.
fn inner_table(value: &Value) -> Option<&Table> {
    value.as_table().or_else(|| value.as_array()?.first()?.as_table())
}

fn join(above: &str, key: &str) -> String {
    if above.is_empty() { key.to_owned() } else { format!("{above}.{key}") }
}

/// The known path most similar to a wrong one, if any is similar at all.
pub(super) fn nearest(wrong: &str, known: &[String]) -> Option<String> {
    let last = |path: &str| path.rsplit('.').next().unwrap_or_default().to_owned();
    let section = |path: &str| path.rsplit_once('.').map(|(above, _)| above.to_owned());
    let score = |path: &&String| {
        let whole = strsim::normalized_damerau_levenshtein(wrong, path);
        let (a, b) = (last(wrong), last(path));
        let tail = strsim::normalized_damerau_levenshtein(&a, &b)
            .max(strsim::normalized_damerau_levenshtein(&words(&a), &words(&b)));
        // The right key in the wrong section is the commonest mistake after typing errors.
        let tail = if section(wrong) == section(path) { tail } else { tail * 0.9 };
        whole.max(tail)
    };
    let best = known.iter().max_by(|a, b| score(a).total_cmp(&score(b)))?;
    (score(&best) > 0.55).then(|| best.clone())
}

/// The words of a key in alphabetical order: `max_stanza_bytes` means `stanza_bytes_max`.
fn words(key: &str) -> String {
    let mut words: Vec<&str> = key.split(['_', '-']).collect();
    words.sort_unstable();
    words.join("_")
}

/// Keys of former versions, what became of them, and what to write instead.
const GONE: &[(&str, &str, &str)] = &[(
    "modules.register.open",
    "`modules.register.open` is `modules.register.mode` now",
    "write `mode = \"open\"` for true; for false `mode = \"closed\"`, or `mode = \"invitation\"`, which is \
     the default, to let in who was invited",
)];

/// The advice for an unknown key.
pub(super) fn unknown(path: &str, place: String, known: &[String]) -> Problem {
    if let Some((_, what, fix)) = GONE.iter().find(|(gone, ..)| *gone == path) {
        return Problem { what: (*what).to_owned(), place, fix: (*fix).to_owned() };
    }
    let fix = nearest(path, known).map_or_else(
        || "remove it; docs/config.md lists every key".to_owned(),
        |name| format!("write `{name}` if that is what you mean, else remove it"),
    );
    Problem { what: format!("unknown key `{path}`"), place, fix }
}

/// What a walk over one file finds.
pub(super) struct Walk<'a> {
    pub(super) text: &'a str,
    pub(super) file: &'a str,
    pub(super) known: &'a [String],
    pub(super) problems: Vec<Problem>,
    /// Path (arrays of tables with their index) and line of every key.
    pub(super) lines: Vec<(String, usize)>,
}

impl Walk<'_> {
    /// Compares a parsed file with the schema: unknown keys and wrong types, each with its line.
    pub(super) fn table(&mut self, above: &str, schema: &Table, got: &DeTable<'_>) {
        for (key, value) in got {
            let path = join(above, key.get_ref());
            let line = line_of(self.text, key.span().start);
            self.lines.push((path.clone(), line));
            match schema.get(key.get_ref().as_ref()) {
                None => {
                    let place = format!("{}, line {line}", self.file);
                    self.problems.push(unknown(&path, place, self.known));
                }
                Some(expected) => self.value(&path, expected, value, line),
            }
        }
    }

    fn value(&mut self, path: &str, expected: &Value, got: &Spanned<DeValue<'_>>, line: usize) {
        match (expected, got.get_ref()) {
            // A table with free keys; the types of its values are checked when it is read.
            (Value::Table(schema), DeValue::Table(_)) if schema.is_empty() => {}
            (Value::Table(schema), DeValue::Table(inner)) => self.table(path, schema, inner),
            (Value::Array(_), DeValue::Array(items)) => {
                let Some(schema) = inner_table(expected) else { return };
                for (index, item) in items.iter().enumerate() {
                    match item.get_ref() {
                        DeValue::Table(inner) => {
                            self.table(&format!("{path}.{index}"), schema, inner);
                        }
                        other => self.wrong_type(path, "table", other.type_str(), line),
                    }
                }
            }
            (_, other) if expected.type_str() != other.type_str() => {
                let wanted = inner_table(expected).map_or(expected.type_str(), |_| "table");
                self.wrong_type(path, wanted, other.type_str(), line);
            }
            _ => {}
        }
    }

    fn wrong_type(&mut self, path: &str, wanted: &str, got: &str, line: usize) {
        let form = match (wanted, path) {
            ("table", "host") => "write `[[host]]` on a line of its own and the keys below it",
            ("table", _) => "write the section's name in square brackets and the keys below it",
            ("array", _) => "put the value in square brackets",
            ("string", _) => "put the value in quotation marks",
            ("boolean", _) => "write true or false, without quotation marks",
            _ => "write a whole number, without quotation marks",
        };
        self.problems.push(Problem {
            what: format!("`{path}` must be {}, but is {}", in_words(wanted), in_words(got)),
            place: format!("{}, line {line}", self.file),
            fix: form.to_owned(),
        });
    }
}

fn in_words(toml_type: &str) -> &str {
    match toml_type {
        "string" => "a text",
        "integer" => "a whole number",
        "float" => "a number with a point",
        "boolean" => "true or false",
        "array" => "a list",
        "table" => "a section",
        other => other,
    }
}

/// The line, counted from 1, of a byte offset.
pub(super) fn line_of(text: &str, offset: usize) -> usize {
    text.bytes().take(offset).filter(|byte| *byte == b'\n').count() + 1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slip_finds_its_key() {
        let known = paths(&defaults());
        for (wrong, right) in [
            ("c2s.lisen", Some("c2s.listen")),
            ("limit", Some("limits")),
            ("require_tls", Some("c2s.require_tls")),
            ("limits.stanza_max_bytes", Some("limits.stanza_bytes_max")),
            ("hosts", Some("host")),
            ("host.0.certifcate", Some("host.certificate")),
            ("log.levle", Some("log.level")),
            ("zzz", None),
        ] {
            assert_eq!(nearest(wrong, &known).as_deref(), right, "{wrong}");
        }
    }

    #[test]
    fn a_path_may_carry_an_index() {
        let schema = defaults();
        assert!(at(&schema, "host.3.domain").is_some_and(Value::is_str));
        assert!(at(&schema, "host.domain").is_some_and(Value::is_str));
        assert!(at(&schema, "modules.mam.enabled").is_some_and(Value::is_bool));
        for wrong in ["", "host.0.x", "c2s.listen.0", "data_dir.x"] {
            assert_eq!(at(&schema, wrong), None, "{wrong}");
        }
    }
}
