//! The same for people and their own programs: JSON, an object for each element. Without keys of passwords.

use std::io::{self, Write};

use serde_json::{Map, Value, json};

use super::export::Sink;
use super::piece::MovedAccount;
use super::table::Table;
use crate::base::time::exact;
use crate::modules::api::{Holder, Tag};
use crate::xml::ns;
use crate::xml::view::{Doc, Node};

/// A file that is being written.
#[derive(Debug)]
pub struct Writer<W> {
    out: W,
    table: Table,
    owner: Option<Holder>,
    is_first_owner: bool,
    is_first_part: bool,
}

impl<W: Write> Writer<W> {
    /// Begins a file; `table` says what elements are called.
    pub fn begin(mut out: W, table: Table) -> io::Result<Self> {
        writeln!(out, "[")?;
        Ok(Self { out, table, owner: None, is_first_owner: true, is_first_part: true })
    }

    fn begin_owner(&mut self, holder: Holder, head: &Value) -> io::Result<()> {
        self.end_owner()?;
        if !std::mem::take(&mut self.is_first_owner) {
            writeln!(self.out, ",")?;
        }
        (self.owner, self.is_first_part) = (Some(holder), true);
        let head = head.to_string();
        let head = head.strip_suffix('}').unwrap_or(&head);
        write!(self.out, "{head},\"data\":[")
    }

    fn end_owner(&mut self) -> io::Result<()> {
        match self.owner.take() {
            Some(_) => write!(self.out, "\n]}}"),
            None => Ok(()),
        }
    }
}

impl<W: Write + Send> Sink for Writer<W> {
    fn host(&mut self, _: &str) -> io::Result<()> {
        Ok(())
    }

    fn account(&mut self, account: &MovedAccount) -> io::Result<()> {
        let MovedAccount { host, name, disabled, created, .. } = account;
        let created = created.map(exact);
        let address = format!("{name}@{host}");
        let head = json!({ "account": address, "disabled": disabled, "created": created });
        self.begin_owner(Holder::Account, &head)
    }

    fn room(&mut self, jid: &str) -> io::Result<()> {
        self.begin_owner(Holder::Room, &json!({ "room": jid }))
    }

    fn part(&mut self, within: &[Tag], element: &[u8]) -> io::Result<()> {
        let Some(owner) = self.owner else { return Ok(()) };
        let Ok(doc) = Doc::of(element, ns::CLIENT) else { return Ok(()) };
        let root = doc.root();
        let kind = self.table.find(owner, within, root).map(|moved| moved.what);
        let mut object = Map::new();
        object.insert("kind".to_owned(), json!(kind));
        for (name, value) in within.iter().flat_map(|tag| &tag.attrs) {
            object.insert(name.clone(), json!(value));
        }
        object.insert(root.name().to_owned(), value(root));
        if !std::mem::take(&mut self.is_first_part) {
            write!(self.out, ",")?;
        }
        write!(self.out, "\n{}", Value::Object(object))
    }

    fn end(&mut self) -> io::Result<()> {
        self.end_owner()?;
        writeln!(self.out, "\n]")?;
        self.out.flush()
    }
}

/// An element: its attributes, its text, and its children in arrays by name. What was read is no deeper than the gate
/// allows.
fn value(element: Node<'_>) -> Value {
    let mut object = Map::new();
    object.insert("xmlns".to_owned(), json!(element.ns()));
    for (name, value) in element.attrs() {
        object.insert(name.to_owned(), json!(value));
    }
    let text = element.text();
    if !text.trim().is_empty() {
        object.insert("text".to_owned(), json!(text));
    }
    for child in element.children() {
        let entry = object.entry(child.name()).or_insert_with(|| json!([]));
        match entry {
            Value::Array(all) => all.push(value(child)),
            // An attribute has the same name.
            attribute => *attribute = json!([attribute.clone(), value(child)]),
        }
    }
    Value::Object(object)
}
