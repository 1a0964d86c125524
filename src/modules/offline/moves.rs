//! Messages that wait, as XEP-0227 writes them (§4.5). One that is in the archive, too, waits there and is sent once.

use crate::base::time::{exact, micros, parse};
use crate::modules::api::{Giving, Holder, Moved, Moves, Tag, Taken, Taking};
use crate::modules::mam::moves::{named, position, stored};
use crate::stanza::Stanza;
use crate::stanza::ids::stanza_id;
use crate::store::archive;
use crate::store::mailbox::{self, MailRow, Settled, StoredIn};
use crate::store::tx::StoreError;
use crate::xml::ns;
use crate::xml::view::{Doc, Node};
use crate::xml::writer::Xml;

const PIE: &str = "urn:xmpp:pie:0";
const AROUND: &str = "offline-messages";

/// What accounts have.
pub(super) const MOVES: Moves = Moves {
    takes: &[Moved {
        what: "waiting messages",
        of: Holder::Account,
        within: &[(PIE, AROUND)],
        ns: ns::CLIENT,
        name: "message",
        take,
    }],
    gives: &[(Holder::Account, give)],
    ..Moves::NONE
};

fn take(taking: &mut Taking<'_>, _: &[Tag], message: Node<'_>) -> Result<Taken, StoreError> {
    let which = message.attr("id").or_else(|| message.attr("from")).unwrap_or("a message");
    let own = taking.owner.jid.as_str();
    let stamp = last_delay(message).and_then(|delay| parse(delay.attr("stamp")?));
    let at = micros(stamp.unwrap_or(taking.now).min(taking.now));
    let place = message
        .children()
        .filter(|child| child.is(ns::STANZA_ID, "stanza-id") && child.attr("by") == Some(own))
        .find_map(|id| position(id.attr("id")?));
    let stanza = match stored(message, taking.owner) {
        Ok(stanza) => stanza,
        Err(why) => return Ok(Taken::not(which, why)),
    };
    if stanza.to().is_none_or(|to| to.bare_str() != own) {
        return Ok(Taken::not(which, "it is for somebody else"));
    }
    let text = undelayed(&stanza).frame().to_vec();
    let account = taking.owner.account();
    let there = mailbox::owed(taking.tx, account, false)?;
    if let Some(seq) = archived(taking, &stanza, at, place)? {
        if there.iter().any(|row| row.seq == seq) {
            return Ok(Taken::There);
        }
        let settled = Settled { listed: vec![seq], ..Settled::default() };
        mailbox::settle(taking.tx, account, &settled)?;
        return Ok(Taken::New);
    }
    let mail: Vec<_> = there
        .iter()
        .filter(|row| row.stored_in == StoredIn::Mailbox && row.bytes == text.len())
        .map(|row| (row.seq, row.stored_in))
        .collect();
    for one in mail.chunks(AT_ONCE) {
        let rows = mailbox::rows(taking.tx, account, one)?;
        if rows.iter().any(|row| row.at == at && row.stanza == text) {
            return Ok(Taken::There);
        }
    }
    let most = taking.limits.offline_messages_max;
    if there.len() >= most {
        let why = format!("{most} messages wait already (limits.offline_messages_max)");
        return Ok(Taken::not(which, why));
    }
    let seq = archive::free_from(taking.tx, at.clamp(1, micros(taking.now).max(1)))?;
    mailbox::append(taking.tx, account, seq, &text, at)?;
    Ok(Taken::New)
}

/// The row of the archive that is the same message: the one that it names, or the one of its id at that time.
fn archived(
    taking: &mut Taking<'_>,
    stanza: &Stanza,
    at: i64,
    place: Option<i64>,
) -> Result<Option<i64>, StoreError> {
    let archive = taking.owner.archive();
    if let Some(seq) = place
        && archive::head(taking.tx, archive, seq)?.is_some()
    {
        return Ok(Some(seq));
    }
    let Some(id) = stanza.id() else { return Ok(None) };
    let rows = archive::around(taking.tx, archive, at, stanza.from().bare_str())?;
    let is_same = |text: &[u8]| {
        let doc = Doc::of(text, ns::CLIENT);
        doc.is_ok_and(|doc| doc.root().attr("id") == Some(&*id))
    };
    Ok(rows.iter().find(|row| is_same(&row.stanza)).map(|row| row.seq))
}

fn last_delay(message: Node<'_>) -> Option<Node<'_>> {
    message.children().filter(|child| child.is(ns::DELAY, "delay")).last()
}

/// Without the last stamp, which the server that kept it added: we add our own when it is sent.
fn undelayed(stanza: &Stanza) -> Stanza {
    let last = stanza.element().children().filter(|child| child.ns == ns::DELAY).last();
    let Some(span) = last.map(|child| child.span) else { return stanza.clone() };
    stanza.without_payloads(|child| child.span == span).unwrap_or_else(|| stanza.clone())
}

fn give(giving: &mut Giving<'_>) -> Result<(), StoreError> {
    let account = giving.owner.account();
    let mut owed = mailbox::owed(giving.tx, account, false)?;
    owed.sort_unstable_by_key(|row| row.seq);
    let wanted: Vec<_> = owed.iter().map(|row| (row.seq, row.stored_in)).collect();
    for some in wanted.chunks(AT_ONCE) {
        for row in mailbox::rows(giving.tx, account, some)? {
            if let Some(message) = written(&row, giving.owner.jid.as_str()) {
                (giving.out)(&[Tag::new(PIE, AROUND)], &message)?;
            }
        }
    }
    Ok(())
}

/// The message with its time, and of one in the archive with its place there.
fn written(row: &MailRow, own: &str) -> Option<Vec<u8>> {
    let host = own.rsplit('@').next().unwrap_or(own);
    let mut delay = Xml::new();
    delay.start("delay").attr("xmlns", ns::DELAY).attr("from", host);
    delay.attr("stamp", &exact(row.at)).end();
    let mut payload = match row.stored_in {
        StoredIn::Archive => stanza_id(own, &named(row.seq)),
        StoredIn::Mailbox => Vec::new(),
    };
    payload.extend_from_slice(&delay.finish());
    let stanza = Stanza::ours(row.stanza.clone().into())?;
    let whole = stanza.frame_with(&payload).to_vec();
    let inside = crate::stanza::forward::forwarded(b"", &whole);
    // `forwarded` declares the namespace; what is around it goes.
    let doc = Doc::of(&inside, ns::CLIENT).ok()?;
    Some(doc.root().first_child()?.raw().as_bytes().to_vec())
}

/// Rows that are read at once.
const AT_ONCE: usize = 100;
