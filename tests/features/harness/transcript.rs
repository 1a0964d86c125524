//! Plays a transcript: a script in scansion's format, one file a conversation.
//!
//! ```text
//! # Title
//! ## set: some.key=value        (a server of its own, started with this)
//! ## differs: why               (another server than ours is known to fail here)
//! ## pending: why               (ours is not there yet)
//!
//! [Client] Romeo
//!     jid: romeo@localhost/orchard
//!     password: secret
//! ---------
//! Romeo connects
//! Romeo sends:
//!     <presence/>
//! Romeo receives:
//!     <presence from="${Romeo's full JID}"/>
//! Romeo receives nothing
//! Romeo disconnects
//! ```
//!
//! Beyond scansion:
//! - `X opens`: a stream under TLS, its features read, and nothing more; `${X's PLAIN}` is what logs in;
//! - `X logs in`: connects, asks for the roster, becomes available, skips what that brings;
//! - `X receives in any order:` with several stanzas;
//! - `X ignores presence`: from here on no presence is shown to `X`, in this and later streams;
//! - `X skips all`: what has come or is on its way is of no interest;
//! - `X drops`: the connection is cut without a word;
//! - `X befriends Y`, `X follows Y`: subscriptions, mutual or one way, made behind the scene while
//!   both are away;
//! - `${name}` for what `{scansion:capture:name}` caught; `scansion:empty='true'` for an element that
//!   must hold nothing, `scansion:only='status'` for one that holds no other of this name.
//!
//! Accounts are made for each run: `romeo@localhost` stands for an account of this run at the domain
//! under test.

use super::client::{Client, Failure, Security, Target};
use super::element::{Element, escape};
use super::matching::{Captures, fits};
use base64::{Engine, engine::general_purpose::STANDARD as BASE64};
use std::collections::{BTreeMap, BTreeSet};

/// A parsed script.
#[derive(Clone, Debug, Default)]
pub struct Script {
    pub cast: Vec<Character>,
    pub actions: Vec<Action>,
    /// `set`, `differs`, `pending` and whatever else stands in lines of `## key: value`.
    pub tags: Vec<(String, String)>,
}

/// A client of the script.
#[derive(Clone, Debug)]
pub struct Character {
    pub name: String,
    /// `localpart@domain`
    pub account: String,
    pub password: String,
    pub resource: Option<String>,
}

/// One step, and the line it stands on.
#[derive(Clone, Debug)]
pub struct Action {
    pub line: usize,
    pub who: String,
    pub verb: Verb,
}

#[derive(Clone, Debug, PartialEq)]
pub enum Verb {
    Opens,
    Connects,
    LogsIn,
    Disconnects,
    Drops,
    SkipsAll,
    IgnoresPresence,
    Befriends(String),
    Follows(String),
    Sends(String),
    Receives(String),
    ReceivesInAnyOrder(String),
    ReceivesNothing,
}

impl Script {
    /// Reads a script, its accounts renamed by `suffix` and its domain put in.
    pub fn parse(text: &str, suffix: &str, domain: &str) -> Result<Script, String> {
        let text = rename(text, suffix, domain);
        let mut script = Script::default();
        let mut in_header = true;
        let mut lines = text.lines().enumerate().peekable();
        while let Some((at, line)) = lines.next() {
            let line_number = at + 1;
            let mut block = Vec::new();
            // A block is what follows indented, blank lines between included.
            while let Some((_, next)) =
                lines.next_if(|(_, l)| l.starts_with(['\t', ' ']) || l.trim().is_empty())
            {
                block.push(next.trim());
            }
            let outcome = if let Some(comment) = line.strip_prefix('#') {
                script.tag(comment);
                Ok(())
            } else if line.starts_with("---") {
                in_header = false;
                Ok(())
            } else if line.trim().is_empty() {
                Ok(())
            } else if in_header {
                character(line, &block).map(|c| script.cast.push(c))
            } else {
                script.action(line_number, line.trim_end(), &block)
            };
            outcome.map_err(|e| format!("line {line_number}: {e}"))?;
        }
        Ok(script)
    }

    /// The values of all tags of this name.
    pub fn tagged<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.tags.iter().filter(move |(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    fn tag(&mut self, comment: &str) {
        let tag = comment.strip_prefix('#').and_then(|tag| tag.split_once(':'));
        if let Some((key, value)) = tag {
            self.tags.push((key.trim().to_owned(), value.trim().to_owned()));
        }
    }

    fn action(&mut self, line: usize, text: &str, block: &[&str]) -> Result<(), String> {
        let text = text.trim_end_matches(':');
        let xml = || squeeze(block);
        if let Some((who, whom)) = text.split_once(" befriends ") {
            return self.push(line, who, Verb::Befriends(whom.to_owned()));
        }
        if let Some((who, whom)) = text.split_once(" follows ") {
            return self.push(line, who, Verb::Follows(whom.to_owned()));
        }
        for (ending, verb) in [
            (" opens", Verb::Opens),
            (" connects", Verb::Connects),
            (" logs in", Verb::LogsIn),
            (" skips all", Verb::SkipsAll),
            (" ignores presence", Verb::IgnoresPresence),
            (" disconnects", Verb::Disconnects),
            (" drops", Verb::Drops),
            (" sends", Verb::Sends(xml())),
            (" receives", Verb::Receives(xml())),
            (" receives in any order", Verb::ReceivesInAnyOrder(xml())),
            (" receives nothing", Verb::ReceivesNothing),
            (" receives: nothing", Verb::ReceivesNothing),
        ] {
            let Some(who) = text.strip_suffix(ending) else { continue };
            return self.push(line, who, verb);
        }
        Err(format!("not understood: {text}"))
    }

    fn push(&mut self, line: usize, who: &str, verb: Verb) -> Result<(), String> {
        let whom = match &verb {
            Verb::Befriends(whom) | Verb::Follows(whom) => whom,
            _ => who,
        };
        for name in [who, whom] {
            if !self.cast.iter().any(|c| c.name == name) {
                return Err(format!("no character {name:?}"));
            }
        }
        self.actions.push(Action { line, who: who.to_owned(), verb });
        Ok(())
    }
}

fn character(line: &str, block: &[&str]) -> Result<Character, String> {
    let name = line.strip_prefix("[Client] ").ok_or("a [Client] expected")?.trim();
    let property = |key: &str| {
        let mut pairs = block.iter().filter_map(|l| l.split_once(':'));
        pairs.find(|(k, _)| k.trim() == key).map(|(_, v)| v.trim().to_owned())
    };
    let jid = property("jid").ok_or("no jid")?;
    let (account, resource) = match jid.split_once('/') {
        Some((account, resource)) => (account.to_owned(), Some(resource.to_owned())),
        None => (jid, None),
    };
    Ok(Character {
        name: name.to_owned(),
        account,
        password: property("password").ok_or("no password")?,
        resource: property("resource").or(resource),
    })
}

/// White space between tags is layout, not stanza.
fn squeeze(block: &[&str]) -> String {
    let mut xml = String::new();
    for line in block.iter().filter(|line| !line.is_empty()) {
        let between_tags = xml.is_empty() || (xml.ends_with('>') && line.starts_with('<'));
        if !between_tags {
            xml.push('\n');
        }
        xml.push_str(line);
    }
    xml
}

/// Gives each account of the cast this run's name, then the domain its own.
fn rename(text: &str, suffix: &str, domain: &str) -> String {
    let jids = text.lines().filter_map(|line| line.trim().strip_prefix("jid:"));
    let mut locals: Vec<&str> =
        jids.filter_map(|jid| jid.trim().split_once('@')).map(|p| p.0).collect();
    locals.sort_unstable();
    locals.dedup();
    let mut out = text.to_owned();
    for local in locals {
        // The sign before it is kept, so that `anna@` is not found in `joanna@`.
        for before in ["'", "\"", " ", ">", "\t"] {
            let old = format!("{before}{local}@localhost");
            out = out.replace(&old, &format!("{before}{local}-{suffix}@localhost"));
        }
    }
    out.replace("localhost", domain)
}

/// Plays a script to its end; the error tells the line and the conversation.
pub async fn play(script: &Script, target: &Target) -> Result<(), String> {
    let security = if target.ca.is_some() { Security::StartTls } else { Security::Plain };
    let mut stage = Stage {
        script,
        target,
        security,
        clients: BTreeMap::new(),
        jids: BTreeMap::new(),
        deaf: BTreeSet::new(),
        captures: Captures::new(),
    };
    for action in &script.actions {
        let done = stage.act(action).await;
        done.map_err(|e| {
            format!("line {}: {} {}\n{e}", action.line, action.who, action.verb.name())
        })?;
    }
    Ok(())
}

/// Makes the accounts of a script by in-band registration.
pub async fn register(script: &Script, target: &Target) -> Result<(), Failure> {
    let security = if target.ca.is_some() { Security::StartTls } else { Security::Plain };
    let accounts: BTreeMap<_, _> = script.cast.iter().map(|c| (&c.account, &c.password)).collect();
    for (account, password) in accounts {
        let mut client = Client::connect(target, security).await?;
        let local = account.split('@').next().unwrap_or_default();
        client.register(local, password).await?;
        client.close().await?;
    }
    Ok(())
}

struct Stage<'a> {
    script: &'a Script,
    target: &'a Target,
    security: Security,
    clients: BTreeMap<String, Client>,
    /// Full JIDs, kept when their clients have gone.
    jids: BTreeMap<String, String>,
    /// Who ignores presence.
    deaf: BTreeSet<String>,
    captures: Captures,
}

impl Stage<'_> {
    async fn act(&mut self, action: &Action) -> Result<(), Failure> {
        match &action.verb {
            Verb::Opens => {
                let client = Client::connect(self.target, self.security).await?;
                self.clients.insert(action.who.clone(), client);
                Ok(())
            }
            Verb::Connects => self.connect(&action.who).await,
            Verb::LogsIn => {
                self.connect(&action.who).await?;
                self.client(&action.who)?.become_available().await?;
                self.skip_all(&action.who).await
            }
            Verb::SkipsAll => self.skip_all(&action.who).await,
            Verb::IgnoresPresence => {
                self.deaf.insert(action.who.clone());
                if let Some(client) = self.clients.get_mut(&action.who) {
                    client.ignores_presence = true;
                }
                Ok(())
            }
            Verb::Befriends(whom) => {
                self.subscribe(&action.who, whom).await?;
                self.subscribe(whom, &action.who).await
            }
            Verb::Follows(whom) => self.subscribe(&action.who, whom).await,
            Verb::Disconnects => self.take(&action.who)?.close().await,
            Verb::Drops => self.take(&action.who).map(drop),
            Verb::Sends(xml) => {
                let xml = self.fill(xml)?;
                self.client(&action.who)?.send(&xml).await
            }
            Verb::Receives(xml) => self.receive(&action.who, xml).await,
            Verb::ReceivesInAnyOrder(xml) => self.receive_any_order(&action.who, xml).await,
            Verb::ReceivesNothing => self.receive_nothing(&action.who).await,
        }
    }

    async fn connect(&mut self, who: &str) -> Result<(), Failure> {
        let role = self.role(who)?;
        let local = role.account.split('@').next().unwrap_or_default();
        let mut client = Client::connect(self.target, self.security).await?;
        client.authenticate(local, &role.password).await?;
        client.bind(role.resource.as_deref()).await?;
        client.ignores_presence = self.deaf.contains(who);
        self.jids.insert(who.to_owned(), client.jid.clone());
        self.clients.insert(who.to_owned(), client);
        Ok(())
    }

    async fn receive(&mut self, who: &str, xml: &str) -> Result<(), Failure> {
        let expected = Element::parse(&self.fill(xml)?).map_err(Failure)?;
        let mut captures = std::mem::take(&mut self.captures);
        let client = self.client(who)?;
        let got = match client.receive().await {
            Ok(got) => got,
            Err(failure) => return Err(Failure(format!("expected: {expected}\n{failure}"))),
        };
        if let Err(why) = fits(&expected, &got, &mut captures) {
            return client.fail(format!("{why}\nexpected: {expected}\nreceived: {got}"));
        }
        self.captures = captures;
        Ok(())
    }

    async fn receive_any_order(&mut self, who: &str, xml: &str) -> Result<(), Failure> {
        let mut expected = Element::parse_many(&self.fill(xml)?).map_err(Failure)?;
        let mut captures = std::mem::take(&mut self.captures);
        let client = self.client(who)?;
        while !expected.is_empty() {
            let got = client.receive().await?;
            let found = expected.iter().position(|e| fits(e, &got, &mut captures).is_ok());
            let Some(at) = found else {
                let list: Vec<String> = expected.iter().map(Element::to_string).collect();
                return client
                    .fail(format!("expected one of: {}\nreceived: {got}", list.join("\n  ")));
            };
            expected.remove(at);
        }
        self.captures = captures;
        Ok(())
    }

    async fn receive_nothing(&mut self, who: &str) -> Result<(), Failure> {
        self.fence_others(who).await?;
        self.client(who)?.nothing().await
    }

    async fn skip_all(&mut self, who: &str) -> Result<(), Failure> {
        self.fence_others(who).await?;
        let client = self.client(who)?;
        client.fence().await?;
        client.forget();
        Ok(())
    }

    /// What others have sent is on its way here until their streams have answered a ping.
    async fn fence_others(&mut self, who: &str) -> Result<(), Failure> {
        for (name, client) in &mut self.clients {
            if name != who {
                client.fence().await?;
            }
        }
        Ok(())
    }

    /// Gives `who` a subscription to the presence of `whom`, through streams of their own.
    async fn subscribe(&mut self, who: &str, whom: &str) -> Result<(), Failure> {
        let mut asking = self.behind_the_scene(who).await?;
        let mut asked = self.behind_the_scene(whom).await?;
        let (from, to) =
            (self.variable(&format!("{who}'s JID"))?, self.variable(&format!("{whom}'s JID"))?);
        asking.send(&format!("<presence type='subscribe' to='{to}'/>")).await?;
        asked.expect(|e| e.attr("type") == Some("subscribe")).await?;
        asked.send(&format!("<presence type='subscribed' to='{from}'/>")).await?;
        asking.expect(|e| e.attr("type") == Some("subscribed")).await?;
        // Both pushes have come before the streams end: nothing is under way when the script goes on.
        asking.fence().await?;
        asked.fence().await?;
        asking.close().await?;
        asked.close().await
    }

    async fn behind_the_scene(&self, who: &str) -> Result<Client, Failure> {
        let role = self.role(who)?;
        let local = role.account.split('@').next().unwrap_or_default();
        let mut client = Client::login(self.target, self.security, local, &role.password).await?;
        client.become_available().await?;
        Ok(client)
    }

    /// Puts values in for `${...}`.
    fn fill(&self, xml: &str) -> Result<String, Failure> {
        let mut out = String::new();
        let mut rest = xml;
        while let Some((before, after)) = rest.split_once("${") {
            let (name, after) = after.split_once('}').ok_or(Failure("unfinished ${".into()))?;
            out.push_str(before);
            out.push_str(&escape(&self.variable(name)?));
            rest = after;
        }
        out.push_str(rest);
        Ok(out)
    }

    fn variable(&self, name: &str) -> Result<String, Failure> {
        if let Some(who) = name.strip_suffix("'s full JID") {
            let jid = self.jids.get(who).cloned();
            return jid.ok_or_else(|| Failure(format!("{who} has not been connected")));
        }
        if let Some(who) = name.strip_suffix("'s PLAIN") {
            let role = self.role(who)?;
            let local = role.account.split('@').next().unwrap_or_default();
            return Ok(BASE64.encode(format!("\0{local}\0{}", role.password)));
        }
        if let Some(who) = name.strip_suffix("'s JID") {
            return Ok(self.role(who)?.account.clone());
        }
        let caught = self.captures.get(name).cloned();
        caught.ok_or_else(|| Failure(format!("nothing is called {name:?}")))
    }

    fn role(&self, who: &str) -> Result<&Character, Failure> {
        let role = self.script.cast.iter().find(|c| c.name == who);
        role.ok_or_else(|| Failure(format!("no character {who}")))
    }

    fn client(&mut self, who: &str) -> Result<&mut Client, Failure> {
        self.clients.get_mut(who).ok_or_else(|| Failure(format!("{who} is not connected")))
    }

    fn take(&mut self, who: &str) -> Result<Client, Failure> {
        self.clients.remove(who).ok_or_else(|| Failure(format!("{who} is not connected")))
    }
}

impl Verb {
    fn name(&self) -> &'static str {
        match self {
            Verb::Opens => "opens",
            Verb::Connects => "connects",
            Verb::LogsIn => "logs in",
            Verb::SkipsAll => "skips all",
            Verb::IgnoresPresence => "ignores presence",
            Verb::Befriends(_) => "befriends",
            Verb::Follows(_) => "follows",
            Verb::Disconnects => "disconnects",
            Verb::Drops => "drops",
            Verb::Sends(_) => "sends",
            Verb::Receives(_) => "receives",
            Verb::ReceivesInAnyOrder(_) => "receives in any order",
            Verb::ReceivesNothing => "receives nothing",
        }
    }
}
