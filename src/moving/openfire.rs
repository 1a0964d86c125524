//! Openfire's users as its plugin User Import Export writes them: `<Openfire><User>…`, which has accounts and rosters
//! alone, or its dialect of XEP-0227.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};

use bytes::Bytes;

use super::parts::{self, Contact, untaken};
use super::piece::{MovedAccount, PART_BYTES_MAX, Piece, Source, SourceError};
use super::xep0227;
use crate::admin::Secret;
use crate::xml::{Node, Rules, check};

/// Opens `openfire:FILE`.
pub fn open(path: &Path) -> Result<Box<dyn Source>, SourceError> {
    let failed = |what: String| SourceError { place: path.display().to_string(), what };
    let file = File::open(path).map_err(|error| failed(error.to_string()))?;
    let mut first = Vec::new();
    file.take(4096).read_to_end(&mut first).map_err(|error| failed(error.to_string()))?;
    if memchr::memmem::find(&first, b"<Openfire").is_none() {
        return xep0227::open(path);
    }
    let Some(host) = parts::named_domain(path) else {
        let what = "an export of Openfire does not say of which domain it is: give a copy that is named after the \
                    domain, as example.org.xml; or export in the format of XEP-0227";
        return Err(failed(what.to_owned()));
    };
    let file = File::open(path).map_err(|error| failed(error.to_string()))?;
    let size = file.metadata().map_or(0, |it| it.len());
    Ok(Box::new(Export {
        from: BufReader::new(file),
        path: path.to_owned(),
        host: host.to_owned(),
        line: 1,
        read: 0,
        size,
        ready: VecDeque::new(),
    }))
}

struct Export<R> {
    from: R,
    path: PathBuf,
    host: String,
    line: u64,
    read: u64,
    size: u64,
    ready: VecDeque<Piece>,
}

impl<R: BufRead + Send> Source for Export<R> {
    fn next(&mut self) -> Result<Option<Piece>, SourceError> {
        loop {
            if let Some(piece) = self.ready.pop_front() {
                return Ok(Some(piece));
            }
            let Some(user) = self.user()? else { return Ok(None) };
            let rules =
                Rules { content_ns: "", depth_max: 8, attributes_max: 16, children_max: 64 };
            match check(Bytes::from(user), &rules) {
                Ok(element) => self.ready.extend(pieces(&self.host, element.view().root())),
                Err(error) => {
                    self.ready.push_back(untaken("accounts", self.place(), error.to_string()))
                }
            }
        }
    }

    fn place(&self) -> String {
        format!("{}:{}", self.path.display(), self.line)
    }

    fn progress(&self) -> Option<u32> {
        u32::try_from(self.read.saturating_mul(1000).checked_div(self.size)?).ok()
    }
}

impl<R: BufRead> Export<R> {
    /// The next `<User>…</User>`; none at the end.
    fn user(&mut self) -> Result<Option<Vec<u8>>, SourceError> {
        let mut user = Vec::new();
        loop {
            let before = user.len();
            self.tag(&mut user)?;
            if user.len() == before {
                let what = "the file ends before </Openfire>".to_owned();
                return Err(SourceError { place: self.fault_place(), what });
            }
            if user.ends_with(b"</Openfire>") {
                return Ok(None);
            }
            if user.ends_with(b"</User>") {
                return Ok(Some(user));
            }
            if user.ends_with(b"<User>") {
                user = b"<User>".to_vec();
            } else if !user.starts_with(b"<User>") {
                if memchr::memmem::find(&user, b"<!").is_some() {
                    let what = "a document type, a comment or CDATA between users".to_owned();
                    return Err(SourceError { place: self.fault_place(), what });
                }
                user.clear();
            }
        }
    }

    fn fault_place(&self) -> String {
        format!("{}:{}", self.path.display(), self.line)
    }

    /// Reads up to and with the next `>`.
    fn tag(&mut self, into: &mut Vec<u8>) -> Result<(), SourceError> {
        loop {
            let place = format!("{}:{}", self.path.display(), self.line);
            let failed = |what: String| SourceError { place, what };
            let buffer = self.from.fill_buf().map_err(|error| failed(error.to_string()))?;
            if buffer.is_empty() {
                return Ok(());
            }
            let end = memchr::memchr(b'>', buffer);
            let length = end.map_or(buffer.len(), |at| at.saturating_add(1));
            let part = buffer.get(..length).unwrap_or_default();
            into.extend_from_slice(part);
            self.line = self.line.saturating_add(memchr::memchr_iter(b'\n', part).count() as u64);
            self.read = self.read.saturating_add(length as u64);
            self.from.consume(length);
            if into.len() > PART_BYTES_MAX {
                let what = format!("a user of more than {PART_BYTES_MAX} bytes");
                return Err(SourceError { place: self.fault_place(), what });
            }
            if end.is_some() {
                return Ok(());
            }
        }
    }
}

/// An account and its roster.
fn pieces(host: &str, user: Node<'_>) -> Vec<Piece> {
    let text = |name| user.child_text("", name).unwrap_or_default().trim();
    let name = text("Username");
    let password = user.child_text("", "Password").filter(|it| !it.is_empty());
    let mut pieces = Vec::new();
    // That is what Openfire writes when it does not know the password (or keeps SCRAM keys alone).
    let unknown = password.is_none_or(|it| it == name);
    let created = text("CreationDate").parse::<i64>().ok().and_then(|it| it.checked_mul(1000));
    pieces.push(Piece::Account(MovedAccount {
        host: host.to_owned(),
        name: name.to_owned(),
        password: password.filter(|_| !unknown).map(|it| Secret(it.to_owned())),
        created,
        ..MovedAccount::default()
    }));
    if unknown {
        let why = "Openfire wrote the name instead of a password, as it does when it has none to give: reset it";
        pieces.push(untaken("passwords", format!("{name}@{host}"), why));
    }
    for item in user.child("", "Roster").into_iter().flat_map(Node::children) {
        pieces.extend(contact(item));
    }
    for (field, value) in [("Name", text("Name")), ("Email", text("Email"))] {
        if !value.is_empty() {
            let which = format!("{field} {value} of {name}@{host}");
            pieces.push(untaken(
                "names and addresses",
                which,
                "people keep them in their vCards here",
            ));
        }
    }
    pieces
}

/// An item of a roster, with Openfire's numbers for the states.
fn contact(item: Node<'_>) -> Vec<Piece> {
    let number = |name| item.attr(name).and_then(|it| it.trim().parse::<i8>().ok()).unwrap_or(-1);
    let jid = item.attr("jid").unwrap_or_default();
    let subscription = match number("substatus") {
        0 => "none",
        1 => "to",
        2 => "from",
        3 => "both",
        _ => return vec![untaken("roster items", jid, "it was about to be removed")],
    };
    let groups: Vec<&str> = item.children().map(Node::text).filter(|it| !it.is_empty()).collect();
    let name = item.attr("name").unwrap_or_default();
    let asks = number("askstatus") == 0;
    let it = Contact { jid, name, subscription, asks, groups: &groups, ..Contact::default() };
    let mut pieces = vec![parts::contact(it)];
    if number("recvstatus") == 1 {
        pieces.push(parts::request(jid, ""));
    }
    pieces
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<String, SourceError> {
        let mut export = Export {
            from: text.as_bytes(),
            path: "x.y.xml".into(),
            host: "x.y".to_owned(),
            line: 1,
            read: 0,
            size: 1,
            ready: VecDeque::new(),
        };
        let mut shown = Vec::new();
        while let Some(piece) = export.next()? {
            shown.push(match piece {
                Piece::Part { xml, .. } => String::from_utf8_lossy(&xml).into_owned(),
                Piece::Account(it) => {
                    format!("{} {:?} {:?}", it.name, it.password.map(|it| it.0), it.created)
                }
                other => format!("{other:?}"),
            });
        }
        Ok(shown.join("\n"))
    }

    #[test]
    fn accounts_rosters_and_what_is_not_there() {
        let text = "<?xml version=\"1.0\"?>\n<Openfire>\n<User><Username>a</Username><Password>p&amp;</Password>\
            <Email/><Name>A B</Name><CreationDate>5</CreationDate><Roster>\
            <Item jid=\"b@x\" askstatus=\"0\" recvstatus=\"1\" substatus=\"0\" name=\"B\"><Group>G</Group></Item>\
            <Item jid=\"c@x\" askstatus=\"-1\" recvstatus=\"-1\" substatus=\"3\"/></Roster></User>\n\
            <User><Username>n</Username><Password>n</Password></User></Openfire>";
        let shown = read(text).expect("it is read");
        let lines: Vec<&str> = shown.lines().collect();
        let [first, one, request, both, name, second, password] = lines.as_slice() else {
            panic!("{shown}")
        };
        assert_eq!(*first, "a Some(\"p&\") Some(5000)");
        assert!(one.contains("subscription='none' ask='subscribe'><group>G</group>"), "{one}");
        assert!(
            request.contains("from='b@x'") && both.contains("subscription='both'/>"),
            "{shown}"
        );
        assert!(name.contains("Name A B of a@x.y") && *second == "n None None", "{shown}");
        assert!(password.contains("passwords"), "{password}");
    }

    #[test]
    fn a_broken_file_says_where() {
        assert_eq!(read("<Openfire>\n<User>\n").expect_err("torn").place, "x.y.xml:3");
        assert!(read("<!DOCTYPE a [<!ENTITY b \"c\">]><Openfire></Openfire>").is_err());
        let shown = read("<Openfire><User><a></User></Openfire>").expect("it goes on");
        assert!(shown.starts_with("Untaken"), "{shown}");
        let long = format!("<Openfire><User>{}", "<a/>".repeat(PART_BYTES_MAX / 4));
        assert!(read(&long).expect_err("long").what.contains("more than"));
    }
}
