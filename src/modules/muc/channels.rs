//! XEP-0433: Extended Channel Search, over the rooms of a service that can be found.

use super::rows;
use super::settings::{Settings, Whois};
use crate::modules::api::{Cx, Reply};
use crate::stanza::StanzaError;
use crate::stanza::error::ErrorType;
use crate::stanza::form::{Form, Written, start};
use crate::stanza::iq::Iq;
use crate::stanza::rsm::{Rsm, Set};
use crate::store::tx::Tx;
use crate::xml::writer::Xml;

pub(super) const SEARCH: &str = "urn:xmpp:channel-search:0:search";
const PARAMS: &str = "urn:xmpp:channel-search:0:search-params";
const ERROR: &str = "urn:xmpp:channel-search:0:error";
const BY_USERS: &str = "{urn:xmpp:channel-search:0:order}nusers";
const BY_ADDRESS: &str = "{urn:xmpp:channel-search:0:order}address";
const OPEN_NAMES: &str = "{urn:xmpp:channel-search:0:anonymity}none";
const MUC_TYPE: &str = "xep-0045";

/// What is looked for.
#[derive(Debug, PartialEq, Eq)]
struct Query {
    /// In small letters; a room has all of them. None: all rooms.
    words: Vec<String>,
    in_name: bool,
    in_description: bool,
    in_address: bool,
    min_users: usize,
    by_users: bool,
    /// Of rooms as they are here.
    of_rooms: bool,
}

/// Gives the form, or answers it (§4.2).
pub(super) async fn search(cx: Cx, iq: Iq) -> Result<Reply, StanzaError> {
    let (query, rsm) = {
        let doc = iq.stanza().element().view();
        let search = doc.root().first_child().ok_or_else(StanzaError::bad_request)?;
        let Some(form) = Form::submitted(search)? else { return Ok(form()) };
        (Query::read(&form)?, Rsm::read(search)?)
    };
    let domain = iq.to().map_or("", |to| to.domain()).to_owned();
    let mut found = if query.of_rooms { find(&cx, &domain, &query).await? } else { Vec::new() };
    if query.by_users {
        found.sort_by(|one, other| other.users.cmp(&one.users).then(one.jid.cmp(&other.jid)));
    }
    answer(&found, &rsm)
}

impl Query {
    fn read(form: &Form<'_>) -> Result<Self, StanzaError> {
        let wrong = |condition, text| {
            Err(StanzaError::bad_request().text(text).application(ERROR, condition))
        };
        if form.form_type() != Some(PARAMS) {
            return Err(StanzaError::bad_request().text("this is another form"));
        }
        let flag = |var: &str, usual: bool| match form.value(var)? {
            None => Ok(usual),
            Some("1" | "true") => Ok(true),
            Some("0" | "false") => Ok(false),
            Some(_) => Err(StanzaError::bad_request().text("a field has to be true or false")),
        };
        let (q, all) = (form.value("q")?, flag("all", false)?);
        match (q, all) {
            (Some(_), true) => {
                // §4.2.2.6
                return wrong("conflicting-fields", "either all rooms, or those with these words");
            }
            (None, false) => {
                // §4.2.2.7
                let error = StanzaError::bad_request().kind(ErrorType::Cancel);
                let error = error.text("nothing is looked for");
                return Err(error.application(ERROR, "no-search-conditions"));
            }
            _ => {}
        }
        let words = q.unwrap_or_default().split_whitespace().map(str::to_lowercase);
        let words: Vec<String> = words.filter(|word| word.chars().count() >= WORD_MIN).collect();
        if !all && (words.is_empty() || words.len() > WORDS_MAX) {
            // §4.2.2.3
            let text = "one to ten words of two characters or more";
            return wrong("invalid-search-terms", text);
        }
        let by_users = match form.value("key")? {
            None | Some(BY_USERS) => true,
            Some(BY_ADDRESS) => false,
            Some(_) => {
                // §4.2.2.2
                let error = StanzaError::feature_not_implemented().kind(ErrorType::Modify);
                return Err(error.application(ERROR, "invalid-sort-key"));
            }
        };
        let min_users = form.value("min_users")?.map(str::parse).transpose();
        let min_users = min_users
            .map_err(|_| StanzaError::bad_request().text("a number of users is no number"))?;
        let types = form.values("types");
        Ok(Self {
            words,
            in_name: flag("sinname", true)?,
            in_description: flag("sindescription", true)?,
            // The XEP has both names.
            in_address: flag("sinaddr", true)? && flag("sinaddress", true)?,
            min_users: min_users.unwrap_or(MIN_USERS),
            by_users,
            of_rooms: types.is_empty() || types.contains(&MUC_TYPE),
        })
    }

    fn fits(&self, jid: &str, settings: &Settings) -> bool {
        let local = jid.split_once('@').map_or(jid, |(local, _)| local);
        let fields = [
            (self.in_name, settings.name.as_str()),
            (self.in_description, settings.description.as_str()),
            (self.in_address, local),
        ];
        let texts: Vec<String> =
            fields.iter().filter(|(is, _)| *is).map(|(_, text)| text.to_lowercase()).collect();
        self.words.iter().all(|word| texts.iter().any(|text| text.contains(word)))
    }
}

/// A room that fits.
struct Found {
    jid: String,
    settings: Settings,
    users: usize,
}

/// In the order of their addresses. Of very many, the first are looked at.
async fn find(cx: &Cx, domain: &str, query: &Query) -> Result<Vec<Found>, StanzaError> {
    let (mut found, mut after) = (Vec::new(), String::new());
    for _ in 0..SLICES_MAX {
        let (of, from) = (domain.to_owned(), after);
        let read = move |tx: &mut dyn Tx| rows::public_after(tx, &of, &from, SLICE);
        let slice = cx.store.read(read).await?;
        let is_last = slice.len() < SLICE;
        after = slice.last().map(|(jid, _)| jid.clone()).unwrap_or_default();
        for (jid, settings) in slice {
            let users = cx.rooms().size(&jid);
            let is_there = settings.public && (settings.persistent || users > 0);
            if is_there && users >= query.min_users && query.fits(&jid, &settings) {
                found.push(Found { jid, settings, users });
            }
        }
        if is_last {
            break;
        }
    }
    Ok(found)
}

/// §4.2.2.1
fn answer(found: &[Found], rsm: &Rsm) -> Result<Reply, StanzaError> {
    let place = |id: &str| {
        let place = found.iter().position(|one| one.jid == id);
        // XEP-0059 §2.2
        place.ok_or_else(|| StanzaError::item_not_found().text("no such room is among them"))
    };
    let from = match (&rsm.after, rsm.index) {
        (Some(after), _) => place(after)? + 1,
        (None, index) => index.unwrap_or(0),
    };
    let to = match rsm.before.as_deref() {
        Some("") | None => found.len(),
        Some(before) => place(before)?,
    };
    let range = found.get(from..to).unwrap_or_default();
    let max = rsm.max.unwrap_or(PAGE).min(PAGE);
    let skipped = if rsm.before.is_some() { range.len().saturating_sub(max) } else { 0 };
    let page: Vec<&Found> = range.iter().skip(skipped).take(max).collect();
    let mut xml = Xml::new();
    xml.start("result").attr("xmlns", SEARCH);
    page.iter().for_each(|one| one.write(&mut xml));
    let edges = page.first().zip(page.last()).map(|(first, last)| (&*first.jid, &*last.jid));
    Set { edges, index: Some(from + skipped), count: Some(found.len()) }.write(&mut xml);
    xml.end();
    Ok(Reply::payload(xml.finish()))
}

impl Found {
    /// §6.2
    fn write(&self, xml: &mut Xml) {
        let settings = &self.settings;
        xml.start("item").attr("address", &self.jid);
        for (name, text) in [
            ("name", &settings.name),
            ("description", &settings.description),
            ("language", &settings.language),
        ] {
            if !text.is_empty() {
                xml.element(name, None, text);
            }
        }
        xml.element("nusers", None, &self.users.to_string());
        xml.element("service-type", None, MUC_TYPE);
        if !settings.members_only && settings.password.is_none() {
            xml.element("is-open", None, "true");
        }
        let mode = match settings.whois {
            Whois::Anyone => OPEN_NAMES,
            Whois::Moderators => "muc_semianonymous",
        };
        xml.element("anonymity-mode", None, mode).end();
    }
}

/// §4.2.1
fn form() -> Reply {
    let mut xml = Xml::new();
    xml.start("search").attr("xmlns", SEARCH);
    start(&mut xml, Written::Form, PARAMS);
    for (ty, var, label, value) in [
        ("text-single", "q", "Search for", None),
        ("boolean", "all", "All rooms, whatever is searched for", None),
        ("boolean", "sinname", "Search in names", Some("true")),
        ("boolean", "sindescription", "Search in descriptions", Some("true")),
        ("boolean", "sinaddr", "Search in addresses", Some("true")),
        ("text-single", "min_users", "Users at least", Some("1")),
    ] {
        xml.start("field").attr("type", ty).attr("var", var).attr("label", label);
        if let Some(value) = value {
            xml.element("value", None, value);
        }
        xml.end();
    }
    options(&mut xml, ("list-multi", "types"), "Kinds of services", &[("Rooms", MUC_TYPE)]);
    let keys = [("Number of users", BY_USERS), ("Address", BY_ADDRESS)];
    options(&mut xml, ("list-single", "key"), "Order", &keys);
    xml.end().end();
    Reply::payload(xml.finish())
}

/// The first one is the usual one.
fn options(xml: &mut Xml, (ty, var): (&str, &str), label: &str, all: &[(&str, &str)]) {
    xml.start("field").attr("type", ty).attr("var", var).attr("label", label);
    for (_, value) in all.iter().take(1) {
        xml.element("value", None, value);
    }
    for (title, value) in all {
        xml.start("option").attr("label", title).element("value", None, value).end();
    }
    xml.end();
}

/// As the form says (§4.2.1).
const MIN_USERS: usize = 1;
/// Results in one answer.
const PAGE: usize = 100;
/// Rooms of one read, and how often it is read.
const SLICE: usize = 500;
const SLICES_MAX: usize = 20;
const WORD_MIN: usize = 2;
const WORDS_MAX: usize = 10;
