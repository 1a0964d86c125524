//! Writes such a file, element by element.

use std::io::{self, Write};

use super::{OURS, PIE, SCRAM};
use crate::base::credential::ScramKeys;
use crate::base::hash::base64;
use crate::base::time::exact;
use crate::modules::api::Tag;
use crate::moving::export::Sink;
use crate::moving::piece::MovedAccount;
use crate::xml::writer::{Xml, escape_attr};

/// A file that is being written: a line for each element.
#[derive(Debug)]
pub struct Writer<W> {
    out: W,
    /// The open tags inside of the account or the room.
    within: Vec<Tag>,
    has_host: bool,
    /// The name of what is open in the host: `user` or `room`.
    owner: Option<&'static str>,
}

impl<W: Write> Writer<W> {
    /// Begins a file.
    pub fn begin(mut out: W) -> io::Result<Self> {
        writeln!(out, "<?xml version='1.0' encoding='UTF-8'?>")?;
        writeln!(out, "<server-data xmlns='{PIE}'>")?;
        Ok(Self { out, within: Vec::new(), has_host: false, owner: None })
    }

    fn leave(&mut self, depth: usize) -> io::Result<()> {
        while self.within.len() > depth {
            if let Some(tag) = self.within.pop() {
                writeln!(self.out, "</{}>", tag.name)?;
            }
        }
        Ok(())
    }

    fn end_owner(&mut self) -> io::Result<()> {
        self.leave(0)?;
        match self.owner.take() {
            Some(name) => writeln!(self.out, "</{name}>"),
            None => Ok(()),
        }
    }

    fn end_host(&mut self) -> io::Result<()> {
        self.end_owner()?;
        match std::mem::take(&mut self.has_host) {
            true => writeln!(self.out, "</host>"),
            false => Ok(()),
        }
    }

    fn enter(&mut self, tag: &Tag) -> io::Result<()> {
        write!(self.out, "<{} xmlns='{}'", tag.name, escape_attr(&tag.ns))?;
        for (name, value) in &tag.attrs {
            write!(self.out, " {name}='{}'", escape_attr(value))?;
        }
        self.within.push(tag.clone());
        writeln!(self.out, ">")
    }
}

impl<W: Write + Send> Sink for Writer<W> {
    fn host(&mut self, host: &str) -> io::Result<()> {
        self.end_host()?;
        self.has_host = true;
        writeln!(self.out, "<host xmlns='{PIE}' jid='{}'>", escape_attr(host))
    }

    fn account(&mut self, account: &MovedAccount) -> io::Result<()> {
        self.end_owner()?;
        self.owner = Some("user");
        writeln!(self.out, "<user xmlns='{PIE}' name='{}'>", escape_attr(&account.name))?;
        let mut xml = Xml::new();
        xml.start("account").attr("xmlns", OURS);
        xml.attr_opt("disabled", account.disabled.then_some("true"));
        xml.attr_opt("created", account.created.map(exact).as_deref()).end();
        self.out.write_all(&xml.finish())?;
        self.out.write_all(b"\n")?;
        for keys in &account.keys {
            self.out.write_all(&credentials(keys))?;
            self.out.write_all(b"\n")?;
        }
        Ok(())
    }

    fn room(&mut self, jid: &str) -> io::Result<()> {
        self.end_owner()?;
        self.owner = Some("room");
        writeln!(self.out, "<room xmlns='{OURS}' jid='{}'>", escape_attr(jid))
    }

    fn part(&mut self, within: &[Tag], element: &[u8]) -> io::Result<()> {
        let same = self.within.iter().zip(within).take_while(|(one, other)| one == other).count();
        self.leave(same)?;
        for tag in within.iter().skip(same) {
            self.enter(tag)?;
        }
        self.out.write_all(element)?;
        self.out.write_all(b"\n")
    }

    fn end(&mut self) -> io::Result<()> {
        self.end_host()?;
        writeln!(self.out, "</server-data>")?;
        self.out.flush()
    }
}

/// §4.3
fn credentials(keys: &ScramKeys) -> Vec<u8> {
    let mut xml = Xml::new();
    xml.start("scram-credentials").attr("xmlns", SCRAM);
    xml.attr("mechanism", &format!("SCRAM-{}", keys.hash.as_str()));
    xml.element("iter-count", None, &keys.iterations.to_string());
    xml.element("salt", None, &base64(&keys.salt));
    xml.element("server-key", None, &base64(&keys.server_key));
    xml.element("stored-key", None, &base64(&keys.stored_key)).end();
    xml.finish().to_vec()
}
