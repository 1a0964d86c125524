//! What owners do with their files by forms (XEP-0050): see which there are, and delete some.

use super::slots::{address, base};
use super::sweep;
use crate::base::size::readable;
use crate::base::time::{from_micros, micros, parse, stamp};
use crate::modules::api::{Answers, Cx, Note, StageOutcome};
use crate::stanza::StanzaError;
use crate::stanza::form::{self, Written};
use crate::store::ids::AccountId;
use crate::store::uploads::{self, Kind, Listed};
use crate::xml::ns;
use crate::xml::writer::Xml;

type Done = Result<StageOutcome, StanzaError>;

/// Where files are kept, for who has an account.
pub(super) fn may_have_files(cx: &Cx) -> bool {
    cx.account().is_ok() && !cx.config.upload.label.is_empty()
}

/// The files of the one who asks, the newest first. Where there are many, it is asked first from when on.
pub(super) async fn list(cx: Cx, stages: Vec<Answers>) -> Done {
    let before = match stages.last() {
        None if has_many(&cx).await? => return Ok(from_when("My files", true)),
        None => i64::MAX,
        Some(answers) => before(answers)?,
    };
    let (files, next) = page(&cx, before).await?;
    if files.is_empty() {
        return Ok(none());
    }
    let base = base(&cx, cx.bare().domain());
    let mut xml = Xml::new();
    form::titled(&mut xml, Written::Result, "My files");
    if let Some(next) = next {
        xml.start("field").attr("var", BEFORE).attr("label", "There are older ones, from before");
        xml.element("value", None, &next).end();
    }
    form::reported(
        &mut xml,
        &[
            ("name", "Name"),
            ("size", "Size"),
            ("date", "Uploaded"),
            ("purpose", "For"),
            ("link", "Link"),
        ],
    );
    for file in &files {
        let link = base.as_ref().map(|base| address(base, &file.id, &file.name));
        form::item(
            &mut xml,
            &[
                ("name", &file.name),
                ("size", &readable(file.size)),
                ("date", &stamp(from_micros(file.made))),
                ("purpose", &purpose(file)),
                ("link", &link.unwrap_or_default()),
            ],
        );
    }
    xml.end();
    Ok(StageOutcome::Done { form: xml.finish().into(), note: None, effect: None })
}

/// The last stage chooses among the files of a page.
pub(super) async fn delete(cx: Cx, stages: Vec<Answers>) -> Done {
    let wanted = stages.last().map_or(&[][..], |answers| answers.get(FILES));
    if !wanted.is_empty() {
        let account = cx.account()?;
        // No form has more.
        let ids = wanted.iter().take(PAGE).cloned().collect();
        // Runs to the end even if the client is gone: who deletes is not asked twice.
        return cx.clone().finish("files deleted", bury(cx, account, ids)).await;
    }
    let before = match stages.last() {
        None if has_many(&cx).await? => return Ok(from_when("Delete files of mine", false)),
        None => i64::MAX,
        Some(answers) if !answers.get(BEFORE).is_empty() => before(answers)?,
        Some(_) if stages.len() == 1 && has_many(&cx).await? => i64::MAX,
        Some(_) => return Err(bad("choose among the files of the form")),
    };
    let (files, _) = page(&cx, before).await?;
    if files.is_empty() {
        return Ok(none());
    }
    let mut xml = Xml::new();
    form::titled(&mut xml, Written::Form, "Delete files of mine");
    xml.element(
        "instructions",
        None,
        "Their links end. Copies that others have fetched stay with them.",
    );
    let label = |file: &Listed| {
        let (size, at) = (readable(file.size), stamp(from_micros(file.made)));
        format!("{} ({size}, {}, {at})", file.name, purpose(file))
    };
    let options: Vec<_> = files.iter().map(|file| (label(file), file.id.clone())).collect();
    form::choice(&mut xml, "list-multi", FILES, "Files", &options);
    xml.end();
    Ok(StageOutcome::Ask { form: xml.finish().into(), last: true })
}

/// It is durable when the answer comes; the bytes go right behind it.
async fn bury(cx: Cx, account: AccountId, ids: Vec<String>) -> Done {
    let count = cx.store.write(move |tx| uploads::bury_own(tx, account, &ids)).await?;
    if count == 0 {
        return Err(bad("choose among the files of the form"));
    }
    tracing::debug!(account = cx.jid().bare_str(), count, "an owner deleted uploads");
    sweep::soon(&cx);
    Ok(StageOutcome::done(Note::info(match count {
        1 => "The file is deleted.".to_owned(),
        more => format!("{more} files are deleted."),
    })))
}

async fn has_many(cx: &Cx) -> Result<bool, StanzaError> {
    let account = cx.account()?;
    let files = cx.store.read(move |tx| uploads::list(tx, account, i64::MAX, PAGE + 1)).await?;
    Ok(files.len() > PAGE)
}

/// Files from before a time, and from before when there are more.
async fn page(cx: &Cx, before: i64) -> Result<(Vec<Listed>, Option<String>), StanzaError> {
    let account = cx.account()?;
    let read = cx.store.read(move |tx| uploads::list(tx, account, before, PAGE + 1));
    let mut files = read.await?;
    let more = files.len() > PAGE;
    files.truncate(PAGE);
    // Stamps have milliseconds: rather a file is listed twice than not at all.
    let next = |last: &Listed| stamp(from_micros(last.made.saturating_add(999)));
    let next = files.last().filter(|_| more).map(next);
    Ok((files, next))
}

/// The stage in which the page is chosen.
fn from_when(title: &str, last: bool) -> StageOutcome {
    let mut xml = Xml::new();
    form::titled(&mut xml, Written::Form, title);
    let told = format!(
        "You have many files; {PAGE} are shown at a time. Leave this empty for the newest, or say from \
         before when they shall be, as 2026-01-31."
    );
    xml.element("instructions", None, &told);
    xml.start("field").attr("type", "text-single").attr("var", BEFORE);
    xml.attr("label", "Files from before").end();
    xml.end();
    StageOutcome::Ask { form: xml.finish().into(), last }
}

/// A date, or a time as the list has it.
fn before(answers: &Answers) -> Result<i64, StanzaError> {
    let text = answers.get(BEFORE).first().map(|text| text.trim()).unwrap_or_default();
    if text.is_empty() {
        return Ok(i64::MAX);
    }
    let at = parse(text).or_else(|| parse(&format!("{text}T00:00:00Z")));
    at.map(micros).ok_or_else(|| bad("that is no date; write it as 2026-01-31"))
}

fn purpose(file: &Listed) -> String {
    match (file.kind, file.expires) {
        (Kind::Message, i64::MAX) => "messages".to_owned(),
        (Kind::Message, end) => format!("messages, until {}", stamp(from_micros(end))),
        (Kind::Profile, _) => "your profile".to_owned(),
        (Kind::Permanent, _) => "to be kept".to_owned(),
    }
}

fn none() -> StageOutcome {
    StageOutcome::done(Note::info("There are no files of yours here."))
}

fn bad(text: &'static str) -> StanzaError {
    StanzaError::bad_request().text(text).application(ns::COMMANDS, "bad-payload")
}

pub(super) const LIST: &str = "list-files";
pub(super) const DELETE: &str = "delete-files";
const FILES: &str = "files";
const BEFORE: &str = "before";
/// Files in one answer: with the longest names it is some 60 KB.
const PAGE: usize = 50;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::modules::testing::{Server, ask};
    use crate::store::tx::Tx;
    use crate::store::uploads::{Bounds, NewSlot, finish, slot};

    async fn put(server: &Server, account: AccountId, files: std::ops::Range<i64>) {
        let most = i64::MAX;
        let bounds = Bounds {
            day_bytes: most,
            day_files: most,
            account_bytes: most,
            permanent_bytes: most,
            bytes: most,
            slot: most,
        };
        let write = move |tx: &mut dyn Tx| {
            for at in files.clone() {
                let new = NewSlot {
                    id: format!("{}-{at}", account.0),
                    account,
                    kind: if at == 1 { Kind::Permanent } else { Kind::Message },
                    name: format!("{at}.png"),
                    media_type: None,
                    size: 2_048,
                    expires: i64::MAX,
                    token: "t".to_owned(),
                };
                let at = at * 1_000_000;
                slot(tx, &new, &bounds, at)?;
                finish(tx, &new.id, None, at)?;
            }
            Ok(())
        };
        server.store().write(write).await.unwrap();
    }

    fn run(node: &str, session: Option<&str>, fields: &[(&str, &[&str])]) -> String {
        let with = session.map_or(String::new(), |_| {
            let fields: String = fields
                .iter()
                .map(|(var, values)| {
                    let values: String =
                        values.iter().map(|value| format!("<value>{value}</value>")).collect();
                    format!("<field var='{var}'>{values}</field>")
                })
                .collect();
            format!("><x xmlns='jabber:x:data' type='submit'>{fields}</x></command>")
        });
        let id = session.map_or(String::new(), |id| format!(" sessionid='{id}'"));
        let end = if with.is_empty() { "/>" } else { &with };
        format!("<command xmlns='{}' node='{node}'{id}{end}", ns::COMMANDS)
    }

    fn session_of(answer: &str) -> String {
        let doc = roxmltree::Document::parse(answer).unwrap_or_else(|_| panic!("{answer}"));
        doc.root_element().attribute("sessionid").unwrap().to_owned()
    }

    #[tokio::test]
    async fn an_owner_sees_and_deletes_its_files_and_nobody_elses() {
        let server = Server::with(&["a", "b"]).await;
        let (a, b) = (server.session("a@x/1").await, server.session("b@x/1").await);
        put(&server, a.account().unwrap(), 1..4).await;
        put(&server, b.account().unwrap(), 1..2).await;
        server.cx.server.shared().web_address.set("https://web.x", None, false);
        let told = ask(&a, "set", "", &run(LIST, None, &[])).await;
        assert_eq!(told.matches("<item>").count(), 3, "{told}");
        for part in ["3.png", "2 KiB", "1970-01-01T00:00:03Z", "to be kept", "https://web.x/upload/"]
        {
            assert!(told.contains(part), "{part}: {told}");
        }
        assert!(told.find("3.png") < told.find("2.png"), "the newest first: {told}");
        let guest = server.session("guest@x/1").await;
        assert_eq!(ask(&guest, "set", "", &run(LIST, None, &[])).await, "forbidden");

        let form = ask(&a, "set", "", &run(DELETE, None, &[])).await;
        let id = session_of(&form);
        let (own, foreign) = (
            format!("{}-2", a.account().unwrap().0),
            format!("{}-1", b.account().unwrap().0),
        );
        assert!(form.contains(&format!("<value>{own}</value>")) && !form.contains(&foreign));
        for wrong in [&[][..], &[foreign.as_str()], &["nonsense"]] {
            let answer = ask(&a, "set", "", &run(DELETE, Some(&id), &[(FILES, wrong)])).await;
            assert_eq!(answer, "bad-request", "{wrong:?}");
        }
        let both = [(FILES, &[own.as_str(), foreign.as_str()][..])];
        let done = ask(&a, "set", "", &run(DELETE, Some(&id), &both)).await;
        assert!(done.contains("The file is deleted."), "{done}");
        let told = ask(&a, "set", "", &run(LIST, None, &[])).await;
        assert!(!told.contains("2.png") && told.contains("3.png"), "{told}");
        let told = ask(&b, "set", "", &run(LIST, None, &[])).await;
        assert_eq!(told.matches("<item>").count(), 1, "{told}");
    }

    #[tokio::test]
    async fn many_files_come_in_pages() {
        let server = Server::with(&["a"]).await;
        let a = server.session("a@x/1").await;
        put(&server, a.account().unwrap(), 1..121).await;
        let mut before = String::new();
        let mut seen = std::collections::BTreeSet::new();
        for rest in [50, 50, 20] {
            let id = session_of(&ask(&a, "set", "", &run(LIST, None, &[])).await);
            let answers: [(&str, &[&str]); 1] = [(BEFORE, &[before.as_str()])];
            let told = ask(&a, "set", "", &run(LIST, Some(&id), &answers)).await;
            let doc = roxmltree::Document::parse(&told).unwrap();
            let names = doc.descendants().filter(|e| e.attribute("var") == Some("name"));
            let names = names.filter_map(|e| e.first_element_child()?.text());
            seen.extend(names.map(str::to_owned));
            // The last of a page may come once more.
            assert!(told.matches("<item>").count() >= rest, "{told}");
            let next = doc.descendants().find(|e| e.attribute("var") == Some(BEFORE));
            before = next.and_then(|e| e.first_element_child()?.text()).unwrap_or("").to_owned();
        }
        assert_eq!((seen.len(), before.as_str()), (120, ""));
        // The same for what is deleted.
        let all: Vec<String> =
            (1..121).map(|at| format!("{}-{at}", a.account().unwrap().0)).collect();
        let all: Vec<&str> = all.iter().map(String::as_str).collect();
        let id = session_of(&ask(&a, "set", "", &run(DELETE, None, &[])).await);
        let early: [(&str, &[&str]); 1] = [(BEFORE, &["1970-01-01T00:00:03Z"])];
        let form = ask(&a, "set", "", &run(DELETE, Some(&id), &early)).await;
        assert_eq!(form.matches("<option").count(), 2, "{form}");
        let done = ask(&a, "set", "", &run(DELETE, Some(&id), &[(FILES, all.as_slice())])).await;
        assert!(done.contains("50 files are deleted."), "no more than a form has: {done}");
        let odd: [(&str, &[&str]); 1] = [(BEFORE, &["yesterday"])];
        let id = session_of(&ask(&a, "set", "", &run(DELETE, None, &[])).await);
        assert_eq!(ask(&a, "set", "", &run(DELETE, Some(&id), &odd)).await, "bad-request");
    }
}
