//! Layers of configuration: defaults, then the file, the environment, the command line.

use super::domains::prepared_domain;
use super::origins::Origins;
use super::schema::{self, Walk, line_of};
use super::validate::validate;
use super::validate_component::read_secrets;
use super::{Config, Problem, Problems, explain};
use crate::jid::BareJid;
use std::path::{Path, PathBuf};
use toml::de::DeTable;
use toml::{Table, Value};

/// Where the values come from. All of it is passed in, so that a test controls it.
#[derive(Debug, Clone, Default)]
pub struct Inputs {
    /// The lowest layer.
    pub base: Config,
    /// The file named by the operator: it must exist.
    pub file: Option<PathBuf>,
    /// Where to look for a file when none is named; the first that exists is read.
    pub search: Vec<PathBuf>,
    /// Environment variables; those that do not start with `STONECHAT_` are skipped.
    pub env: Vec<(String, String)>,
    /// Key paths and values of `--set`.
    pub sets: Vec<(String, String)>,
}

impl Inputs {
    /// The inputs of an ordinary start.
    pub fn from_process(file: Option<PathBuf>, sets: Vec<(String, String)>) -> Self {
        let env: Vec<_> = std::env::vars_os()
            .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
            .collect();
        let named = env.iter().find(|(name, _)| name == FILE_VARIABLE);
        Self {
            file: file.or_else(|| named.map(|(_, path)| PathBuf::from(path))),
            search: SEARCH.map(PathBuf::from).to_vec(),
            env,
            sets,
            base: Config::default(),
        }
    }
}

/// A consistent configuration (domains in normal form), and where it was read from.
#[derive(Debug, Clone)]
pub struct Loaded {
    /// The values.
    pub config: Config,
    /// The file, if there was one.
    pub file: Option<PathBuf>,
    /// What set which key, for messages.
    pub origins: Origins,
}

/// Reads all layers and checks the result. All faults are reported at once.
pub fn load(inputs: &Inputs) -> Result<Loaded, Problems> {
    let mut layers = Layers::new(&inputs.base);
    let file = inputs.file.clone().or_else(|| inputs.search.iter().find(|p| p.exists()).cloned());
    if let Some(path) = &file {
        layers.file(path);
    }
    for (name, value) in &inputs.env {
        layers.variable(name, value);
    }
    for (key, value) in &inputs.sets {
        layers.set(key, value, format!("--set {key}"));
    }
    let Layers { merged, origins, mut problems, .. } = layers;
    match merged.try_into::<Config>() {
        Ok(mut config) => {
            problems.extend(validate(&config, &origins));
            problems.extend(read_secrets(&mut config));
            if !problems.is_empty() {
                return Err(Problems(problems));
            }
            for host in &mut config.host {
                host.domain = prepared_domain(&host.domain).unwrap_or_default();
            }
            let named = std::mem::take(&mut config.modules.mam.account_retention_days);
            config.modules.mam.account_retention_days = named
                .into_iter()
                .filter_map(|(jid, days)| Some((BareJid::parse(&jid).ok()?.to_string(), days)))
                .collect();
            for list in [&mut config.admin.owners, &mut config.admin.operators] {
                let normal =
                    list.iter().filter_map(|jid| Some(BareJid::parse(jid).ok()?.to_string()));
                *list = normal.collect();
            }
            Ok(Loaded { config, file, origins })
        }
        Err(error) => {
            problems.push(Problem {
                what: error.message().to_owned(),
                place: "the configuration as a whole".to_owned(),
                fix: SEE_DOCS.to_owned(),
            });
            Err(Problems(problems))
        }
    }
}

struct Layers {
    schema: Table,
    known: Vec<String>,
    merged: Table,
    origins: Origins,
    problems: Vec<Problem>,
}

impl Layers {
    fn new(base: &Config) -> Self {
        let schema = schema::defaults();
        let known = schema::paths(&schema);
        let merged = schema::table_of(base);
        Self { schema, known, merged, origins: Origins::default(), problems: Vec::new() }
    }

    fn file(&mut self, path: &Path) {
        let name = path.display().to_string();
        let text = match std::fs::read_to_string(path) {
            Ok(text) => text,
            Err(error) => {
                return self.problem(
                    format!("the configuration file cannot be read: {error}"),
                    name,
                    "give the right path to --config, or let the server's user read the file",
                );
            }
        };
        match DeTable::parse(&text) {
            Ok(parsed) => {
                let mut walk = Walk {
                    text: &text,
                    file: &name,
                    known: &self.known,
                    problems: Vec::new(),
                    lines: Vec::new(),
                };
                walk.table("", &self.schema, parsed.get_ref());
                let (faults, lines) = (walk.problems, walk.lines);
                if faults.is_empty() {
                    self.take_file(&name, &text);
                }
                self.problems.extend(faults);
                for (key, line) in lines {
                    self.origins.0.insert(key, format!("{name}, line {line}"));
                }
            }
            Err(error) => self.spanned(&error, &name, &text, "correct the line (the form is TOML)"),
        }
    }

    /// Applies the values of a file whose keys are known.
    fn take_file(&mut self, name: &str, text: &str) {
        match (toml::from_str::<Config>(text), text.parse::<Table>()) {
            (Ok(_), Ok(table)) => merge(&mut self.merged, table),
            (Err(error), _) | (_, Err(error)) => self.spanned(&error, name, text, SEE_DOCS),
        }
    }

    fn spanned(&mut self, error: &toml::de::Error, name: &str, text: &str, fix: &str) {
        let line = error.span().map(|span| line_of(text, span.start));
        let shown = line.and_then(|line| text.lines().nth(line.saturating_sub(1))).unwrap_or("");
        let place = line.map_or_else(|| name.to_owned(), |line| format!("{name}, line {line}"));
        let what = match is_secret(shown) {
            // What is wrong stands before the value.
            true => format!(
                "{} in a line that is not shown, as there is a secret in it",
                without_values(error.message())
            ),
            false => format!("{} in `{}`", error.message().replace('\n', "; "), shown.trim()),
        };
        self.problem(what, place, fix);
    }

    /// Applies a variable: `STONECHAT_C2S__REQUIRE_TLS` is `c2s.require_tls`.
    fn variable(&mut self, name: &str, value: &str) {
        let Some(rest) = name.strip_prefix(PREFIX).filter(|_| name != FILE_VARIABLE) else {
            return;
        };
        let path = rest.to_ascii_lowercase().replace("__", ".");
        let place = format!("environment variable {name}");
        if path.contains('.') || schema::at(&self.schema, &path).is_some() {
            return self.set(&path, value, place);
        }
        // Not every `STONECHAT_` name is meant for us: container platforms set `STONECHAT_PORT` and the
        // like for a service of this name. Only a name that is almost a key is a mistake.
        if let Some(meant) = self.known.iter().find(|known| known.replace('.', "_") == path) {
            let right = format!("{PREFIX}{}", meant.to_ascii_uppercase().replace('.', "__"));
            self.problem(
                format!("unknown variable {name}"),
                place,
                &format!("write {right}, with two underscores after each section"),
            );
        }
    }

    fn set(&mut self, path: &str, value: &str, place: String) {
        let Some(expected) = schema::at(&self.schema, path) else {
            self.problems.push(schema::unknown(path, place, &self.known));
            return;
        };
        let text = value;
        let value = read_value(text, expected);
        let mut trial = self.merged.clone();
        if !put(&mut trial, path, value) {
            return self.problem(
                format!("`{path}` names no place"),
                place,
                "number the hosts from 0 without gaps, as in host.0.domain",
            );
        }
        match trial.clone().try_into::<Config>() {
            Ok(_) => {
                self.merged = trial;
                self.origins.replace(path, place);
            }
            Err(error) => {
                let first = match is_secret(path) || is_secret(&place) || is_secret(text) {
                    true => without_values(error.message()),
                    false => error.message().lines().next().unwrap_or_default(),
                };
                let hint = explain(path).unwrap_or_else(|| SEE_DOCS.to_owned());
                self.problem(format!("`{path}` cannot have this value: {first}"), place, &hint);
            }
        }
    }

    fn problem(&mut self, what: String, place: String, fix: &str) {
        self.problems.push(Problem { what, place, fix: fix.to_owned() });
    }
}

/// Whether there may be a secret in a line of the configuration: what is wrong with it is told without it.
fn is_secret(text: &str) -> bool {
    let text = text.to_ascii_lowercase();
    ["secret", "password"].iter().any(|word| text.contains(word))
}

/// What a message says before it quotes a value.
fn without_values(message: &str) -> &str {
    message.split([':', '`', '"', '\n']).next().unwrap_or_default().trim_end()
}

/// A value from outside TOML: read as TOML if that gives the right type, otherwise as text.
fn read_value(text: &str, expected: &Value) -> Value {
    let parsed = format!("x = {text}").parse::<Table>().ok().and_then(|mut t| t.remove("x"));
    match (parsed, expected) {
        (Some(value), _) if value.same_type(expected) => value,
        (_, Value::String(_)) => Value::String(text.to_owned()),
        // `c2s.listen=127.0.0.1:0,[::1]:0`: brackets and quotes are awkward in a shell.
        (_, Value::Array(items)) if items.iter().all(Value::is_str) => {
            let part = |part: &str| Value::String(part.trim().to_owned());
            Value::Array(text.split(',').map(part).collect())
        }
        (Some(value), _) => value,
        (None, _) => Value::String(text.to_owned()),
    }
}

/// Sets a value at a path; an index one past the end adds an entry.
fn put(root: &mut Table, path: &str, value: Value) -> bool {
    let mut whole = Value::Table(std::mem::take(root));
    let done = put_in(&mut whole, path, value);
    if let Value::Table(table) = whole {
        *root = table;
    }
    done
}

fn put_in(at: &mut Value, path: &str, value: Value) -> bool {
    let (part, rest) = path.split_once('.').map_or((path, None), |(part, rest)| (part, Some(rest)));
    let slot = match at {
        Value::Table(table) => table.entry(part).or_insert_with(|| Value::Table(Table::new())),
        Value::Array(items) => {
            let Ok(index) = part.parse::<usize>() else { return false };
            if index == items.len() {
                items.push(Value::Table(Table::new()));
            }
            let Some(slot) = items.get_mut(index) else { return false };
            slot
        }
        _ => return false,
    };
    match rest {
        Some(rest) => put_in(slot, rest, value),
        None => {
            *slot = value;
            true
        }
    }
}

/// Lays one table over another; arrays are replaced whole.
fn merge(under: &mut Table, over: Table) {
    for (key, value) in over {
        match (under.get_mut(&key), value) {
            (Some(Value::Table(below)), Value::Table(above)) => merge(below, above),
            (_, value) => {
                under.insert(key, value);
            }
        }
    }
}

const PREFIX: &str = "STONECHAT_";
/// Names the file, as `--config` does.
const FILE_VARIABLE: &str = "STONECHAT_CONFIG";
const SEARCH: [&str; 2] = ["./stonechat.toml", "/etc/stonechat/stonechat.toml"];
const SEE_DOCS: &str = "docs/config.md says which values the key takes";
