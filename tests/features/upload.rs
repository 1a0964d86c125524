//! HTTP File Upload (XEP-0363): slots, uploads, downloads, and what is left where one is cut off.

use crate::harness::client::{Client, DEADLINE, Outcome};
use crate::harness::element::{Element, escape};
use crate::harness::https::{Https, get, put, request};
use crate::harness::process::Lab;
use std::path::Path;
use tokio::time::Instant;

const NS: &str = "urn:xmpp:http:upload:0";
const OLD: &str = "urn:xmpp:http:upload";
const PURPOSE: &str = "urn:xmpp:http:upload:purpose:0";
const INFO: &str = "http://jabber.org/protocol/disco#info";

pub async fn ask(client: &mut Client, payload: &str) -> Outcome<Element> {
    client.send(&format!("<iq type='get' id='q' to='upload.localhost'>{payload}</iq>")).await?;
    client.expect(|e| e.name == "iq" && e.attr("id") == Some("q")).await
}

pub fn wanted(name: &str, size: &str, more: &str) -> String {
    format!("<request xmlns='{NS}' filename='{}' size='{size}' {more}", escape(name))
}

/// The addresses for PUT and GET.
pub async fn slot(client: &mut Client, name: &str, size: usize) -> Outcome<(String, String)> {
    let answer = ask(client, &wanted(name, &size.to_string(), "/>")).await?;
    let Some(slot) = answer.child(NS, "slot") else { return client.fail(format!("{answer}")) };
    let url = |name| slot.child(NS, name).and_then(|e| e.attr("url")).expect("a url").to_owned();
    Ok((url("put"), url("get")))
}

/// Each byte at its own place.
pub fn bytes(size: usize) -> Vec<u8> {
    (0..size).map(|at| (at * 7 + at / 251) as u8).collect()
}

pub fn files(lab: &Lab) -> Vec<String> {
    files_in(&lab.data.join("uploads"))
}

pub fn files_in(folder: &Path) -> Vec<String> {
    let Ok(entries) = std::fs::read_dir(folder) else { return Vec::new() };
    entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
}

/// XEP-0363 §3
#[tokio::test]
async fn the_service_says_how_large_a_file_may_be() -> Outcome<()> {
    let lab = Lab::new(&["alice"], &["modules.upload.file_bytes_max=5242880"]);
    let mut alice = lab.login("alice").await?;
    let told = ask(&mut alice, &format!("<query xmlns='{INFO}'/>")).await?;
    let query = told.child(INFO, "query").expect("a query");
    let identity = query.find("identity").expect("an identity");
    assert_eq!((identity.attr("category"), identity.attr("type")), (Some("store"), Some("file")));
    let has = |var: &str| query.children.iter().any(|e| e.attr("var") == Some(var));
    assert!(has(NS) && has(OLD), "{told}");
    for purpose in ["message", "profile", "ephemeral", "permanent"] {
        assert!(has(&format!("{PURPOSE}#{purpose}")), "{told}");
    }
    let forms = query.children.iter().filter(|e| e.name == "x");
    let said = |form: &Element| {
        let of = |var: &str| form.children.iter().find(|e| e.attr("var") == Some(var)).cloned();
        let text = |var| Some(of(var)?.find("value")?.text.clone());
        (text("FORM_TYPE").unwrap_or_default(), text("max-file-size").unwrap_or_default())
    };
    let forms: Vec<_> = forms.map(said).collect();
    let size = "5242880".to_owned();
    assert_eq!(forms, [(NS.to_owned(), size.clone()), (OLD.to_owned(), size)]);
    Ok(())
}

/// XEP-0363 §4, §7, §8, §9.1; RFC 9110 §13, §14
#[tokio::test]
async fn what_was_uploaded_is_there_byte_for_byte() -> Outcome<()> {
    let lab = Lab::new(&["alice"], &[]);
    let mut alice = lab.login("alice").await?;
    let file = bytes(1_000_003);
    let more = "content-type='image/jpeg'/>";
    let answer = ask(&mut alice, &wanted("très cool.jpg", "1000003", more)).await?;
    let of = |name| answer.find(name).and_then(|e| e.attr("url")).expect("a url").to_owned();
    let (to, from) = (of("put"), of("get"));
    let base = format!("https://localhost:{}/upload/", lab.target.web.unwrap().port());
    assert!(from.starts_with(&base) && from.ends_with("/tr%C3%A8s%20cool.jpg"), "{from}");
    assert_eq!(get(&lab.target, &from).await?.status, 404, "nothing is there yet");

    let length = ("Content-Length", "1000003");
    let png = [length, ("Content-Type", "image/png")];
    assert_eq!(request(&lab.target, "PUT", &to, &png, &file).await?.status, 415);
    let jpeg = [length, ("Content-Type", "image/jpeg")];
    let done = request(&lab.target, "PUT", &to, &jpeg, &file).await?;
    assert_eq!((done.status, done.header("access-control-allow-origin")), (201, Some("*")));
    let got = get(&lab.target, &from).await?;
    assert!(got.status == 200 && got.body == file, "{} {}", got.status, got.body.len());
    let id = from[base.len()..].split('/').next().unwrap();
    assert_eq!(files(&lab), [id]);
    let etag = format!("\"{id}\"");
    for (name, value) in [
        ("content-type", "image/jpeg"),
        ("content-length", "1000003"),
        ("content-security-policy", "default-src 'none'; frame-ancestors 'none'; sandbox"),
        ("x-content-type-options", "nosniff"),
        ("cache-control", "private, max-age=31536000, immutable"),
        ("access-control-allow-origin", "*"),
        ("accept-ranges", "bytes"),
        ("etag", etag.as_str()),
    ] {
        assert_eq!(got.header(name), Some(value), "{name}");
    }
    assert!(got.header("content-disposition").unwrap().starts_with("inline; "), "{got:?}");
    assert!(got.header("access-control-allow-credentials").is_none());
    let head = request(&lab.target, "HEAD", &from, &[], b"").await?;
    assert_eq!((head.status, head.header("content-length")), (200, Some("1000003")));
    assert!(head.body.is_empty());

    let range = |value| [("Range", value)];
    let part = request(&lab.target, "GET", &from, &range("bytes=70000-199999"), b"").await?;
    assert_eq!((part.status, &*part.body), (206, &file[70_000..200_000]));
    assert_eq!(part.header("content-range"), Some("bytes 70000-199999/1000003"));
    let part = request(&lab.target, "GET", &from, &range("bytes=-3"), b"").await?;
    assert_eq!((part.status, &*part.body), (206, &file[1_000_000..]));
    let none = request(&lab.target, "GET", &from, &range("bytes=1000003-"), b"").await?;
    assert_eq!((none.status, none.header("content-range")), (416, Some("bytes */1000003")));
    let other = [("Range", "bytes=0-1"), ("If-Range", "\"other\"")];
    assert_eq!(request(&lab.target, "GET", &from, &other, b"").await?.status, 200);
    let known = request(&lab.target, "GET", &from, &[("If-None-Match", &etag)], b"").await?;
    assert_eq!((known.status, known.body.len()), (304, 0));

    let again = request(&lab.target, "PUT", &to, &jpeg, &bytes(1_000_003)).await?;
    assert_eq!(again.status, 409, "once");
    assert_eq!(get(&lab.target, &from).await?.body, file);
    let asked = [("Origin", "https://else.where"), ("Access-Control-Request-Method", "PUT")];
    let allowed = request(&lab.target, "OPTIONS", &to, &asked, b"").await?;
    let methods = allowed.header("access-control-allow-methods").unwrap();
    assert!(allowed.status == 204 && methods.contains("PUT"), "{allowed:?}");
    assert_eq!(request(&lab.target, "DELETE", &from, &[], b"").await?.status, 405);
    Ok(())
}

/// XEP-0363 §7: the size, the token and the path are those of the slot.
#[tokio::test]
async fn what_no_slot_was_given_for_is_not_taken() -> Outcome<()> {
    let lab = Lab::new(&["alice"], &[]);
    let mut alice = lab.login("alice").await?;
    let (to, from) = slot(&mut alice, "a.txt", 5).await?;
    assert_eq!(put(&lab.target, &to, b"123456").await?.status, 413);
    assert_eq!(put(&lab.target, &to, b"1234").await?.status, 413);
    let chunked = [("Transfer-Encoding", "chunked")];
    let body = b"5\r\n12345\r\n0\r\n\r\n";
    assert_eq!(request(&lab.target, "PUT", &to, &chunked, body).await?.status, 411);
    // Forged tokens, and another slot's.
    let (other, _) = slot(&mut alice, "a.txt", 5).await?;
    let others = other.split('?').nth(1).unwrap();
    for wrong in [from.clone(), format!("{from}?token="), format!("{from}?{others}")] {
        assert_eq!(put(&lab.target, &wrong, b"12345").await?.status, 403, "{wrong}");
    }
    let id = from.split('/').nth(4).unwrap();
    for path in [
        "/upload/../../stonechat.db".to_owned(),
        "/upload/..%2F..%2Fstonechat.db/x".to_owned(),
        "/upload/%2e%2e/stonechat.db".to_owned(),
        format!("/upload/{id}%2F..%2F..%2Fx/a.txt"),
        format!("/upload/{id}.part/a.txt"),
        format!("/upload/{id}%00/a.txt"),
        "/upload/AAAAAAAAAAAAAAAAAAAAAA/a.txt".to_owned(),
    ] {
        let url = format!("{path}?{}", to.split('?').nth(1).unwrap());
        let status = put(&lab.target, &url, b"12345").await?.status;
        assert!([400, 404, 405].contains(&status), "PUT {path}: {status}");
        let status = get(&lab.target, &path).await?.status;
        assert!([400, 404].contains(&status), "GET {path}: {status}");
    }
    assert_eq!(files(&lab), [""; 0]);
    // None of that has used the slot up; a name is for people.
    assert_eq!(put(&lab.target, &to, b"12345").await?.status, 201);
    let got = get(&lab.target, &from).await?;
    assert_eq!(got.header("content-type"), Some("application/octet-stream"));
    assert!(got.header("content-disposition").unwrap().starts_with("attachment; "), "{got:?}");
    Ok(())
}

/// Cases L12; XEP-0363 §4: addresses are of ASCII, names keep their endings and lead nowhere.
#[tokio::test]
async fn names_of_any_script_are_kept() -> Outcome<()> {
    let lab = Lab::new(&["alice"], &[]);
    let mut alice = lab.login("alice").await?;
    for (name, encoded) in [
        ("Отпуск.png", "%D0%9E%D1%82%D0%BF%D1%83%D1%81%D0%BA.png"),
        ("🐎.gif", "%F0%9F%90%8E.gif"),
        ("../../etc/passwd", ".._.._etc_passwd"),
        ("..", "_"),
        ("a?b&c#d%e.txt", "a%3Fb%26c%23d%25e.txt"),
        ("\"quoted\".txt", "%22quoted%22.txt"),
    ] {
        let (to, from) = slot(&mut alice, name, 1).await?;
        assert!(from.ends_with(&format!("/{encoded}")) && from.is_ascii(), "{name}: {from}");
        assert_eq!(put(&lab.target, &to, b"x").await?.status, 201, "{name}");
        let got = get(&lab.target, &from).await?;
        assert_eq!((got.status, &*got.body), (200, &b"x"[..]), "{name}");
        let shown = got.header("content-disposition").unwrap();
        assert!(shown.ends_with(&format!("filename*=UTF-8''{encoded}")), "{shown}");
    }
    assert!(files(&lab).iter().all(|name| name.len() == 22), "{:?}", files(&lab));
    Ok(())
}

/// Cases L12; XEP-0363 §6, §12; the namespace that it had before, too.
#[tokio::test]
async fn sizes_and_types_that_are_none_are_refused() -> Outcome<()> {
    let set = ["modules.upload.file_bytes_max=1000", "modules.upload.profile_bytes_max=10"];
    let lab = Lab::new(&["alice"], &set);
    let mut alice = lab.login("alice").await?;
    for (payload, condition) in [
        (wanted("a", "0", "/>"), "bad-request"),
        (wanted("a", "-1", "/>"), "bad-request"),
        (wanted("a", "1.5", "/>"), "bad-request"),
        (wanted("a", "", "/>"), "bad-request"),
        (wanted("", "1", "/>"), "bad-request"),
        (format!("<request xmlns='{NS}' size='1'/>"), "bad-request"),
        (wanted("a", "1", "content-type='a/b&#13;&#10;X-Evil: 1'/>"), "bad-request"),
        (wanted("a", "1001", "/>"), "not-acceptable"),
        (wanted("a", "99999999999999999999999999", "/>"), "not-acceptable"),
        (wanted("a", "11", &format!("><profile xmlns='{PURPOSE}'/></request>")), "not-acceptable"),
        (
            wanted("a", "1", &format!("><future xmlns='{PURPOSE}'/></request>")),
            "feature-not-implemented",
        ),
        (
            wanted(
                "a",
                "1",
                &format!(
                    "><ephemeral xmlns='{PURPOSE}' expire-before='2001-01-01T00:00:00Z'/></request>"
                ),
            ),
            "bad-request",
        ),
        (
            format!("<request xmlns='{OLD}'><filename>a</filename><size>0</size></request>"),
            "bad-request",
        ),
    ] {
        let refused = ask(&mut alice, &payload).await?;
        assert_eq!(refused.condition(), Some(condition), "{payload}");
    }
    for (payload, ns) in [
        (wanted("a", "1001", "/>"), NS),
        (format!("<request xmlns='{OLD}'><filename>a</filename><size>1001</size></request>"), OLD),
    ] {
        let refused = ask(&mut alice, &payload).await?;
        let large =
            refused.child("jabber:client", "error").and_then(|e| e.child(ns, "file-too-large"));
        assert_eq!(large.and_then(|e| e.text_of("max-file-size")), Some("1000"), "{refused}");
    }
    let old = format!(
        "<request xmlns='{OLD}'><filename>a b.txt</filename><size>3</size>\
         <content-type>text/plain</content-type></request>"
    );
    let given = ask(&mut alice, &old).await?;
    let given = given.child(OLD, "slot").expect("a slot");
    let (to, from) = (given.text_of("put").unwrap(), given.text_of("get").unwrap());
    assert_eq!(put(&lab.target, to, b"old").await?.status, 201);
    assert_eq!(get(&lab.target, from).await?.header("content-type"), Some("text/plain"));
    Ok(())
}

/// XEP-0363 §6: the quota of a day, and when there is more.
#[tokio::test]
async fn a_day_has_a_quota() -> Outcome<()> {
    let set = ["modules.upload.bytes_per_day_max=100", "web.url=https://web.example/"];
    let lab = Lab::new(&["alice", "bob"], &set);
    let mut alice = lab.login("alice").await?;
    let (to, _) = slot(&mut alice, "a", 60).await?;
    assert!(to.starts_with("https://web.example/upload/"), "{to}");
    assert_eq!(put(&lab.target, &to, &bytes(60)).await?.status, 201);
    let refused = ask(&mut alice, &wanted("b", "41", "/>")).await?;
    assert_eq!(refused.condition(), Some("resource-constraint"));
    let error = refused.child("jabber:client", "error").unwrap();
    let stamp = error.child(NS, "retry").and_then(|e| e.attr("stamp")).expect("a stamp");
    assert_eq!((error.attr("type"), stamp.ends_with('Z')), (Some("wait"), true), "{refused}");
    slot(&mut alice, "b", 40).await?;
    let mut bob = lab.login("bob").await?;
    slot(&mut bob, "c", 100).await?;
    Ok(())
}

/// XEP-0363 §8
#[tokio::test]
async fn a_slot_has_an_end() -> Outcome<()> {
    let lab = Lab::new(&["alice"], &["modules.upload.slot_seconds=0"]);
    let mut alice = lab.login("alice").await?;
    let (to, from) = slot(&mut alice, "a", 1).await?;
    assert_eq!(put(&lab.target, &to, b"x").await?.status, 410);
    assert_eq!(get(&lab.target, &from).await?.status, 404);
    assert_eq!(files(&lab), [""; 0]);
    Ok(())
}

/// What is over the bound of an account makes room, in the store and on disk.
#[tokio::test]
async fn the_oldest_file_makes_room() -> Outcome<()> {
    let lab = Lab::new(&["alice"], &["modules.upload.bytes_per_account_max=100"]);
    let mut alice = lab.login("alice").await?;
    let (first, first_from) = slot(&mut alice, "a", 60).await?;
    assert_eq!(put(&lab.target, &first, &bytes(60)).await?.status, 201);
    let (second, from) = slot(&mut alice, "b", 60).await?;
    assert_eq!(get(&lab.target, &first_from).await?.status, 404);
    assert_eq!(put(&lab.target, &second, &bytes(60)).await?.status, 201);
    let until = Instant::now() + DEADLINE;
    while files(&lab).len() > 1 {
        assert!(Instant::now() < until, "{:?}", files(&lab));
        assert_eq!(get(&lab.target, &from).await?.status, 200);
    }
    Ok(())
}

/// An account takes its files with it.
#[tokio::test]
async fn files_go_with_their_account() -> Outcome<()> {
    let lab = Lab::new(&["alice"], &[]);
    let mut alice = lab.login("alice").await?;
    let (to, from) = slot(&mut alice, "a", 5).await?;
    assert_eq!(put(&lab.target, &to, b"12345").await?.status, 201);
    alice
        .send("<iq type='set' id='r'><query xmlns='jabber:iq:register'><remove/></query></iq>")
        .await?;
    let until = Instant::now() + DEADLINE;
    while get(&lab.target, &from).await?.status != 404 || !files(&lab).is_empty() {
        assert!(Instant::now() < until, "{:?}", files(&lab));
    }
    Ok(())
}

/// A connection that is cut in the middle leaves nothing, and the slot is good still.
#[tokio::test]
async fn half_an_upload_is_none() -> Outcome<()> {
    let lab = Lab::new(&["alice"], &[]);
    let mut alice = lab.login("alice").await?;
    let file = bytes(300_000);
    let (to, from) = slot(&mut alice, "a", file.len()).await?;
    let mut half = begun(&lab, &to, &file).await?;
    assert_eq!(put(&lab.target, &to, &file).await?.status, 409, "one at a time");
    assert_eq!(get(&lab.target, &from).await?.status, 404);
    half.write(&file[200_000..200_001]).await?;
    drop(half);
    let until = Instant::now() + DEADLINE;
    while put(&lab.target, &to, &file).await?.status != 201 {
        assert!(Instant::now() < until, "the half is in the way");
    }
    assert_eq!(get(&lab.target, &from).await?.body, file);
    assert_eq!(files(&lab).len(), 1);
    Ok(())
}

/// An upload of which two thirds were sent and something is on disk.
pub async fn begun(lab: &Lab, to: &str, file: &[u8]) -> Outcome<Https> {
    let mut half = Https::connect(&lab.target).await?;
    half.head("PUT", to, &[("Content-Length", &file.len().to_string())]).await?;
    half.write(&file[..200_000]).await?;
    let until = Instant::now() + DEADLINE;
    while !files(lab).iter().any(|name| name.ends_with(".part")) {
        assert!(Instant::now() < until, "nothing is on disk");
        get(&lab.target, to).await?;
    }
    Ok(half)
}

/// XEP-0363 §7: 201 means that the file is there, whatever happens; what was not whole is gone.
#[tokio::test]
async fn a_file_outlives_a_kill_and_half_of_one_does_not() -> Outcome<()> {
    let folder = tempfile::tempdir().unwrap();
    let mut lab = Lab::serve(folder.path(), &[], &["alice"]);
    let mut alice = lab.login("alice").await?;
    let file = bytes(300_000);
    let (half_to, half_from) = slot(&mut alice, "half", file.len()).await?;
    let _half = begun(&lab, &half_to, &file).await?;
    let (to, from) = slot(&mut alice, "whole", file.len()).await?;
    assert_eq!(put(&lab.target, &to, &file).await?.status, 201);
    lab.process.kill();
    assert_eq!(files(&lab).len(), 2);

    let lab = Lab::serve(folder.path(), &[], &[]);
    lab.process.logs(&["an upload that was cut off is deleted"]);
    let got = get(&lab.target, &from).await?;
    assert!(got.status == 200 && got.body == file, "{}", got.status);
    assert_eq!(get(&lab.target, &half_from).await?.status, 404);
    assert_eq!(put(&lab.target, &to, &file).await?.status, 409);
    // The slot outlives it, too.
    let until = Instant::now() + DEADLINE;
    while put(&lab.target, &half_to, &file).await?.status != 201 {
        assert!(Instant::now() < until, "what was left is in the way");
    }
    assert_eq!(get(&lab.target, &half_from).await?.body, file);
    assert_eq!(files(&lab).len(), 2);
    Ok(())
}
