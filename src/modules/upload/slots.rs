//! Requests for slots (§4).

use super::config::Config;
use super::name::{clean, encoded, media_type};
use super::place::Place;
use super::sweep;
use crate::base::id::{OsRng, random};
use crate::base::time::{from_micros, micros, parse, stamp};
use crate::modules::api::{Answer, Cx, InfoField, InfoForm, Reply};
use crate::stanza::StanzaError;
use crate::stanza::error::ErrorType;
use crate::stanza::iq::Iq;
use crate::store::ids::AccountId;
use crate::store::uploads::{self as rows, Given, Kind, NewSlot};
use crate::xml::view::Node;
use crate::xml::writer::Xml;

/// A request, checked.
#[derive(Debug)]
struct Wanted {
    kind: Kind,
    name: String,
    media_type: Option<String>,
    size: u64,
    expires: i64,
}

/// Answers a request in the namespace of now.
pub(super) fn request(cx: Cx, iq: Iq) -> Answer<Result<Reply, StanzaError>> {
    Box::pin(async move { slot(&cx, &iq, NS).await })
}

/// Answers one of a client that knows the XEP before 0.4.
pub(super) fn old_request(cx: Cx, iq: Iq) -> Answer<Result<Reply, StanzaError>> {
    Box::pin(async move { slot(&cx, &iq, OLD).await })
}

async fn slot(cx: &Cx, iq: &Iq, ns: &'static str) -> Result<Reply, StanzaError> {
    let account = cx
        .account()
        .map_err(|_| StanzaError::forbidden().text("only who has an account here uploads files"))?;
    let config = &cx.config.upload;
    let now = micros(cx.now);
    let wanted = {
        let doc = iq.stanza().element().view();
        let request = doc.root().first_child().ok_or_else(StanzaError::bad_request)?;
        read(request, ns, now)?
    };
    judge(cx, &wanted, ns)?;
    let promised = cx.server.shared().upload.promised();
    let bytes = wanted.size.saturating_add(promised);
    if !Place::of(&cx.server, config).has_room(bytes) {
        return Err(later(ns, "the disk of the server is full", now.saturating_add(rows::DAY / 24)));
    }
    let to = iq.to().ok_or_else(StanzaError::item_not_found)?;
    let host = to.domain().strip_prefix(&*config.label).and_then(|rest| rest.strip_prefix('.'));
    let base = base(cx, host.unwrap_or_else(|| to.domain()));
    let base = base.ok_or_else(|| StanzaError::service_unavailable().text("there is no web server here"))?;
    let (put, get) = give(cx, account, wanted, ns, &base).await?;
    let mut xml = Xml::new();
    xml.start("slot").attr("xmlns", ns);
    for (name, url) in [("put", put), ("get", get)] {
        match ns {
            OLD => xml.element(name, None, &url),
            _ => xml.start(name).attr("url", &url).end(),
        };
    }
    xml.end();
    Ok(Reply::payload(xml.finish()))
}

fn read(request: Node<'_>, ns: &str, now: i64) -> Result<Wanted, StanzaError> {
    let said = |name: &str| match ns {
        OLD => request.child_text(OLD, name),
        _ => request.attr(name),
    };
    let name = said("filename").filter(|name| !name.trim().is_empty());
    let name = name.ok_or_else(|| StanzaError::bad_request().text("the file has no name"))?;
    let size = said("size").map(str::trim).unwrap_or_default();
    // §12: a positive integer. What is beyond all numbers is too large, too.
    if size.is_empty() || !size.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(StanzaError::bad_request().text("the file has no size"));
    }
    let size: u64 = size.parse().unwrap_or(u64::MAX);
    if size == 0 {
        return Err(StanzaError::bad_request().text("the file is empty"));
    }
    let given = said("content-type").filter(|text| !text.trim().is_empty());
    let checked = given.map(|text| {
        let odd = || StanzaError::bad_request().text("that is no media type");
        media_type(text).map(str::to_owned).ok_or_else(odd)
    });
    let (kind, expires) = purpose(request, now)?;
    Ok(Wanted { kind, name: clean(name), media_type: checked.transpose()?, size, expires })
}

/// §5
fn purpose(request: Node<'_>, now: i64) -> Result<(Kind, i64), StanzaError> {
    let Some(purpose) = request.children().find(|child| child.ns() == PURPOSE) else {
        return Ok((Kind::Message, i64::MAX));
    };
    match purpose.name() {
        "message" => Ok((Kind::Message, i64::MAX)),
        "profile" => Ok((Kind::Profile, i64::MAX)),
        "permanent" => Ok((Kind::Permanent, i64::MAX)),
        "ephemeral" => {
            let end = purpose.attr("expire-before").and_then(parse).map(micros);
            let wrong = || StanzaError::bad_request().text("expire-before is no time to come");
            end.filter(|end| *end > now).map(|end| (Kind::Message, end)).ok_or_else(wrong)
        }
        _ => Err(StanzaError::feature_not_implemented().text("files are not kept for that here")),
    }
}

fn judge(cx: &Cx, wanted: &Wanted, ns: &'static str) -> Result<(), StanzaError> {
    let config = &cx.config.upload;
    let most = match wanted.kind {
        Kind::Message => config.largest(),
        Kind::Profile => config.largest().min(config.profile_bytes_max),
        Kind::Permanent if config.permanent_bytes_per_account_max == 0 => {
            let text = "no files are kept for ever here";
            return Err(StanzaError::feature_not_implemented().text(text));
        }
        Kind::Permanent if !cx.is_among(config.permanent) => {
            let text = "only operators may upload what is kept for ever";
            return Err(StanzaError::forbidden().text(text));
        }
        Kind::Permanent => config.largest().min(config.permanent_bytes_per_account_max),
    };
    if wanted.size > most {
        return Err(StanzaError::not_acceptable()
            .text(format!("file too large; the maximum file size is {most} bytes"))
            .application(ns, "file-too-large")
            .child("max-file-size", most.to_string()));
    }
    if !config.takes(wanted.media_type.as_deref()) {
        return Err(StanzaError::not_acceptable().text("files of this type are not taken here"));
    }
    Ok(())
}

/// What stands before the path in addresses, for accounts of a host; none if there is no web door.
pub(super) fn base(cx: &Cx, host: &str) -> Option<String> {
    match cx.config.upload.url.trim_end_matches('/') {
        "" => cx.server.shared().web_address.url(host),
        url => Some(url.to_owned()),
    }
}

/// Where a file is fetched.
pub(super) fn address(base: &str, id: &str, name: &str) -> String {
    format!("{base}/{PATH}/{id}/{}", encoded(name))
}

fn later(ns: &'static str, text: &'static str, at: i64) -> StanzaError {
    let error = StanzaError::resource_constraint().text(text).application(ns, "retry");
    error.kind(ErrorType::Wait).attribute("stamp", stamp(from_micros(at)))
}

async fn give(
    cx: &Cx,
    account: AccountId,
    wanted: Wanted,
    ns: &'static str,
    base: &str,
) -> Result<(String, String), StanzaError> {
    let Wanted { kind, name, media_type, size, expires } = wanted;
    let (id, token) = (random(&mut OsRng), random(&mut OsRng));
    let get = address(base, &id, &name);
    let put = format!("{get}?token={token}");
    let size = sweep::bound(size);
    let new = NewSlot { id, account, kind, name, media_type, size, expires, token };
    let (bounds, now) = (cx.config.upload.bounds(), micros(cx.now));
    let server = cx.server.clone();
    let given = cx.store.write(move |tx| {
        // An address that is too old begins no upload, so who is not at it now will not be.
        let has_begun = |id: &str| server.shared().upload.is_under_way(id);
        rows::lapse(tx, account, now.saturating_sub(bounds.slot), has_begun)?;
        rows::slot(tx, &new, &bounds, now)
    });
    let given = given.await?;
    match given {
        Given::Slot(made_room) => {
            if made_room {
                sweep::soon(cx);
            }
            Ok((put, get))
        }
        Given::Later(at) => Err(later(ns, "quota reached: that is all for a day", at)),
        Given::Full => Err(later(ns, "there is no room", now.saturating_add(rows::DAY / 24))),
        Given::PermanentFull => Err(StanzaError::resource_constraint()
            .text("quota reached: delete permanent files that you need no longer")),
    }
}

impl Config {
    /// The largest file that somebody may upload.
    fn largest(&self) -> u64 {
        let bounds = [self.bytes_per_day_max, self.bytes_per_account_max, self.bytes_max];
        bounds.into_iter().fold(self.file_bytes_max, u64::min)
    }

    /// §3
    pub(super) fn forms(&self) -> Vec<InfoForm> {
        let values = vec![self.largest().to_string()];
        let field = InfoField { ty: "text-single", var: "max-file-size", values };
        let form = |form_type| InfoForm { form_type, fields: vec![field.clone()] };
        [NS, OLD].map(form).to_vec()
    }
}

/// What paths begin with.
const PATH: &str = "upload";
/// §4
pub(super) const NS: &str = "urn:xmpp:http:upload:0";
/// COMPAT(clients of before 2018): the namespace of XEP-0363 before 0.4, with elements for attributes.
pub(super) const OLD: &str = "urn:xmpp:http:upload";
/// §5
const PURPOSE: &str = "urn:xmpp:http:upload:purpose:0";
