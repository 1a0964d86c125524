//! What a verb is besides what it takes ([`Request`]) and gives ([`super::Outcome`]).

use schemars::{Schema, SchemaGenerator};
use serde_json::{Map, Value};

use super::{Rank, Request};

/// A verb.
#[derive(Clone, Copy)]
pub struct Verb {
    /// Its name: [`Request::name`].
    pub name: &'static str,
    /// The tags that choose its variant in [`Request`]: one, or two where the variant is a family.
    pub tags: &'static [&'static str],
    /// The method of its requests over HTTP.
    pub method: Method,
    /// Its path below `/api/v1`. `{name}` is an argument; the others are of the query or the body.
    pub path: &'static str,
    /// Who may use it.
    pub least: Rank,
    /// Whether it changes something.
    pub changes: bool,
    /// What it does, in a line.
    pub summary: &'static str,
    /// The schema of what it gives.
    pub gives: fn(&mut SchemaGenerator) -> Schema,
    /// Its words on the command line, behind `stonechat`.
    pub cli: &'static str,
    /// The ad-hoc command.
    pub ad_hoc: AdHoc,
}

/// The method of a verb over HTTP (RFC 9110 §9.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Method {
    /// It changes nothing.
    Get,
    /// Each request does it once more.
    Post,
    /// Doing it again changes nothing more.
    Put,
    /// As with [`Method::Put`].
    Delete,
}

impl Method {
    /// As it stands in a request.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Get => "GET",
            Self::Post => "POST",
            Self::Put => "PUT",
            Self::Delete => "DELETE",
        }
    }

    /// Whether arguments come in a body, and not in the query.
    pub const fn has_body(self) -> bool {
        matches!(self, Self::Post | Self::Put)
    }
}

/// The ad-hoc command of a verb, in clients.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AdHoc {
    /// Its node.
    Node(&'static str),
    /// There is none; why.
    None(&'static str),
}

impl Verb {
    /// The names in its path, in order.
    pub fn in_path(&self) -> impl Iterator<Item = &'static str> {
        self.path.split('/').filter_map(|part| part.strip_prefix('{')?.strip_suffix('}'))
    }

    /// The request of this verb with these arguments. The error is for programmers: it may quote arguments.
    pub fn request(&self, mut arguments: Map<String, Value>) -> Result<Request, serde_json::Error> {
        for (key, tag) in KEYS.iter().zip(self.tags) {
            arguments.insert((*key).to_owned(), Value::from(*tag));
        }
        serde_json::from_value(Value::Object(arguments))
    }
}

/// Where the tags of a request stand: of the verb, and of its kind in a family.
pub const KEYS: [&str; 2] = ["verb", "do"];
