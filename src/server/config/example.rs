//! The example file with its explanations: the one place that describes the keys for people.

use std::fmt::Write as _;

/// `config/stonechat.toml`: every key, commented out, at its default.
pub const EXAMPLE: &str = include_str!("../../../config/stonechat.toml");

/// Returns the explanation of a key in the example file.
pub fn explain(path: &str) -> Option<String> {
    let plain: Vec<&str> = path.split('.').filter(|part| part.parse::<u32>().is_err()).collect();
    let wanted = plain.join(".");
    let entry = entries().into_iter().find(|entry| entry.path() == wanted)?;
    Some(entry.meaning)
}

/// One key of the example file.
struct Entry {
    section: String,
    /// The explanation before the section's head.
    about: String,
    key: String,
    default: String,
    meaning: String,
}

impl Entry {
    fn path(&self) -> String {
        if self.section.is_empty() {
            self.key.clone()
        } else {
            format!("{}.{}", self.section, self.key)
        }
    }
}

/// Reads the entries: `# text` explains, `#key = value` is a key at its default, `[section]` opens a
/// section.
fn entries() -> Vec<Entry> {
    let mut found = Vec::new();
    let (mut section, mut about) = (String::new(), String::new());
    let mut text: Vec<&str> = Vec::new();
    for line in EXAMPLE.lines() {
        let bare = line.strip_prefix('#').unwrap_or(line);
        if let Some(name) = bare.strip_prefix('[') {
            section = name.trim_matches(['[', ']']).to_owned();
            about = text.join(" ");
            text.clear();
        } else if let Some(words) = bare.strip_prefix(' ') {
            text.push(words);
        } else if let Some((key, default)) = bare.split_once(" = ") {
            found.push(Entry {
                section: section.clone(),
                about: about.clone(),
                key: key.to_owned(),
                default: default.to_owned(),
                meaning: text.join(" "),
            });
            text.clear();
        } else {
            text.clear();
        }
    }
    found
}

/// `docs/config.md`, made from the example file.
pub fn markdown() -> String {
    let mut page = INTRODUCTION.to_owned();
    let mut section = None;
    for entry in entries() {
        if section.as_ref() != Some(&entry.section) {
            let title = match entry.section.as_str() {
                "" => "At the top".to_owned(),
                "host" => "`[[host]]`".to_owned(),
                name => format!("`[{name}]`"),
            };
            let _ = write!(page, "\n## {title}\n\n");
            if !entry.about.is_empty() {
                let _ = write!(page, "{}\n\n", entry.about);
            }
            page.push_str("| key | default | meaning |\n|---|---|---|\n");
            section = Some(entry.section.clone());
        }
        let meaning = entry.meaning.replace('|', "\\|");
        let _ = writeln!(page, "| `{}` | `{}` | {meaning} |", entry.key, entry.default);
    }
    page
}

const INTRODUCTION: &str = "\
# Configuration

<!-- made from config/stonechat.toml; change that file, then run
     UPDATE_DOCS=1 cargo test --lib config -->

Without any configuration the server serves `localhost` from `./stonechat-data`.

Values are taken, the later winning, from the defaults below; the file (`--config PATH`, else
`./stonechat.toml`, else `/etc/stonechat/stonechat.toml`); the environment
(`STONECHAT_C2S__REQUIRE_TLS=true` is `c2s.require_tls`, `STONECHAT_HOST__0__DOMAIN=example.org` the
first host's domain); and `--set c2s.require_tls=true`, as often as wanted. Values in the environment
and in `--set` are written as in the file; quotation marks may be left out, and lists may be written
`a,b`. An unknown key is an error. `stonechat check` tells all errors, where they are, and what to do.
";
