//! The pages of the web door: what the server is, invitations, accounts and new passwords without an app, and a web
//! client in a folder.

use crate::harness::client::{Client, Outcome, Security};
use crate::harness::https::{Answer, get, request};
use crate::harness::process::{Lab, PASSWORD, run_in};
use std::path::Path;

const FORM: (&str, &str) = ("Content-Type", "application/x-www-form-urlencoded");
const LANGUAGES: [&str; 5] = ["en", "de", "es", "fr", "zh"];

fn text(answer: &Answer) -> String {
    String::from_utf8(answer.body.clone()).expect("UTF-8")
}

/// A form as browsers send it.
async fn post(lab: &Lab, url: &str, fields: &str, more: &[(&str, &str)]) -> Outcome<Answer> {
    let length = fields.len().to_string();
    let headers = [&[FORM, ("Content-Length", &length)], more].concat();
    request(&lab.target, "POST", url, &headers, fields.as_bytes()).await
}

fn signup(name: &str, password: &str) -> String {
    format!("name={name}&password={password}&again={password}")
}

fn stonechat(folder: &Path, args: &[&str]) -> String {
    let said = run_in(folder, &[&["--data-dir", "data"], args].concat(), "");
    assert!(said.ok, "{args:?}: {}", said.err);
    said.out
}

/// The address of the page of a link that the operator makes.
fn page_of(folder: &Path, args: &[&str]) -> String {
    let out = stonechat(folder, args);
    let line = out.lines().nth(1).unwrap().to_owned();
    assert!(line.starts_with("https://localhost:") && line.contains("/i/"), "{out}");
    line
}

fn token(page: &str) -> &str {
    page.rsplit('/').next().unwrap()
}

/// What holds of every page.
fn is_page(answer: &Answer, status: u16) -> String {
    let page = text(answer);
    assert_eq!(answer.status, status, "{page}");
    for (name, value) in [
        ("content-type", "text/html; charset=utf-8"),
        ("x-content-type-options", "nosniff"),
        ("referrer-policy", "no-referrer"),
        (
            "content-security-policy",
            "default-src 'none'; style-src 'self'; img-src 'self'; form-action 'self'; \
             base-uri 'none'; frame-ancestors 'none'",
        ),
    ] {
        assert_eq!(answer.header(name), Some(value), "{name}");
    }
    assert!(answer.header("set-cookie").is_none());
    for never in ["<script", "style=", "onclick", "javascript:"] {
        assert!(!page.contains(never), "{never}: {page}");
    }
    assert!(page.contains("<html lang=\"") && page.contains("<h1>"), "{page}");
    page
}

/// A page whose address is a secret.
fn is_secret(answer: &Answer, status: u16) -> String {
    assert_eq!(answer.header("cache-control"), Some("no-store"));
    assert_eq!(answer.header("x-robots-tag"), Some("noindex"));
    is_page(answer, status)
}

#[tokio::test]
async fn the_front_page_says_how_to_join() -> Outcome<()> {
    let contacts = "modules.contacts.abuse=[\"mailto:abuse@example.org\", \"javascript:alert(1)\"]";
    for (mode, says) in [
        ("open", "Anybody can make an account"),
        ("invitation", "Accounts are made by invitation"),
        ("closed", "by the administrators alone"),
    ] {
        let lab = Lab::new(&[], &[&format!("modules.register.mode={mode}"), contacts]);
        let front = get(&lab.target, "/").await?;
        assert_eq!(front.header("cache-control"), Some("no-cache"));
        assert_eq!(front.header("vary"), Some("Accept-Language, User-Agent"));
        let page = text(&front);
        assert!(page.contains(says) && page.contains("<code>localhost</code>"), "{page}");
        let port = lab.target.c2s.port().to_string();
        assert!(page.contains(&format!("<code>{port}</code>")) && page.contains("/ws"), "{page}");
        assert!(page.contains("href=\"mailto:abuse@example.org\""), "{page}");
        // What leads to nobody is no link.
        assert!(page.contains("<code>javascript:alert(1)</code>"), "{page}");
        assert_eq!(page.contains("href=\"/join\""), mode == "open");
        let join = get(&lab.target, "/join").await?;
        is_page(&join, if mode == "open" { 200 } else { 403 });
        assert!(!page.contains("/chat/"), "there is no web client");
    }
    Ok(())
}

#[tokio::test]
async fn every_page_is_there_in_every_language() -> Outcome<()> {
    let folder = tempfile::tempdir().unwrap();
    let lab = Lab::serve(folder.path(), &[], &["alice"]);
    let invitation = page_of(folder.path(), &["invite", "--user", "alice@localhost"]);
    let reset = page_of(folder.path(), &["user", "reset-link", "alice@localhost"]);
    let mut seen = Vec::new();
    for url in ["/", "/join", "/i/none", &invitation, &reset] {
        for (index, language) in LANGUAGES.iter().enumerate() {
            // By the address, then by what the browser likes most of what there is.
            let wanted = format!("it, {language}-XX;q=0.8, en;q=0.1");
            let status = [("/join", 403), ("/i/none", 404)].iter().find(|(of, _)| *of == url);
            let status = status.map_or(200, |(_, status)| *status);
            let named = get(&lab.target, &format!("{url}?lang={language}")).await?;
            let liked = [("Accept-Language", wanted.as_str())];
            let liked = request(&lab.target, "GET", url, &liked, b"").await?;
            for answer in [&named, &liked] {
                let page = is_page(answer, status);
                assert_eq!(answer.header("content-language"), Some(*language), "{url}");
                assert!(page.contains(&format!("<html lang=\"{language}\">")), "{page}");
            }
            let title =
                text(&named).split("<h1>").nth(1).unwrap().split('<').next().unwrap().to_owned();
            if index == 0 {
                seen.clear();
            }
            assert!(!seen.contains(&title), "{url} {language}: {title}");
            seen.push(title);
        }
    }
    let other = get(&lab.target, "/?lang=xx").await?;
    assert_eq!(other.header("content-language"), Some("en"));
    Ok(())
}

#[tokio::test]
async fn a_page_recommends_apps_for_the_device() -> Outcome<()> {
    let lab = Lab::new(&[], &[]);
    for (agent, first) in [
        ("Mozilla/5.0 (Linux; Android 14; Pixel 8)", "Conversations"),
        ("Mozilla/5.0 (iPhone; CPU iPhone OS 17_0 like Mac OS X)", "Monal"),
        ("Mozilla/5.0 (Windows NT 10.0)", "Dino"),
        ("curl", "Conversations"),
    ] {
        let front = request(&lab.target, "GET", "/", &[("User-Agent", agent)], b"").await?;
        let page = is_page(&front, 200);
        let list = page.split("class=\"apps\"").nth(1).unwrap();
        let named = list.split("noopener\">").nth(1).unwrap();
        assert!(named.starts_with(first), "{agent}: {list}");
        // All of them are there for everybody.
        assert!(["Gajim", "Siskin IM", "Cheogram"].iter().all(|app| page.contains(app)));
    }
    Ok(())
}

/// The whole way: the operator's link, a browser, an account, a contact, a login.
#[tokio::test]
async fn who_was_invited_makes_an_account_in_the_browser() -> Outcome<()> {
    let folder = tempfile::tempdir().unwrap();
    let lab = Lab::serve(folder.path(), &[], &["alice"]);
    let url = page_of(folder.path(), &["invite", "--user", "alice@localhost"]);
    let uri = format!("xmpp:alice@localhost?roster;preauth={};ibr=y", token(&url));
    for _ in 0..3 {
        // Looking uses nothing up.
        let page = is_secret(&get(&lab.target, &url).await?, 200);
        assert!(page.contains("alice@localhost invites you to chat on localhost"), "{page}");
        assert!(page.contains(&format!("href=\"{uri}\"")) && page.contains("<svg class=\"qr\""));
        assert!(
            page.contains("<label for=\"name\">") && page.contains("minlength=\"8\""),
            "{page}"
        );
    }
    let head = request(&lab.target, "HEAD", &url, &[], b"").await?;
    assert_eq!((head.status, head.body.len()), (200, 0));
    // What a client is refused is refused here, and what was typed is still there but for passwords.
    for (fields, status, says) in [
        (signup("admin", "correct horse"), 422, "This name is reserved"),
        (signup("aIice", "short"), 422, "at least 8 characters"),
        (signup("", "correct+horse"), 422, "Choose a name"),
        (signup("a%20b", "correct+horse"), 422, "characters that an address cannot have"),
        (signup("alice", "correct+horse"), 422, "Somebody has this name"),
        (signup("%22%3E%3Cb%3E", "correct+horse"), 422, "value=\"&quot;&gt;&lt;b&gt;\""),
        ("name=carol&password=correct+horse&again=correct+house".into(), 422, "not the same"),
        ("name=carol".into(), 422, "Choose a password"),
    ] {
        let page = is_secret(&post(&lab, &url, &fields, &[]).await?, status);
        assert!(page.contains(says) && page.contains("role=\"alert\""), "{fields}: {page}");
        assert!(!page.contains("correct h"), "{page}");
    }
    let mut alice = lab.online("alice", "a").await?;
    // The name as phones write it, with the domain.
    let done = post(&lab, &url, &signup("Carol%40localhost+", "correct+horse"), &[]).await?;
    let page = is_secret(&done, 200);
    assert!(page.contains("Welcome") && page.contains("carol@localhost"), "{page}");
    let push = alice.expect(|e| e.name == "iq" && e.attr("type") == Some("set")).await?;
    assert!(push.to_string().contains("carol@localhost"), "{push}");
    let mut carol = lab.connect().await?;
    carol.authenticate("carol", "correct horse").await?;
    carol.bind(None).await?;
    // Once.
    for answer in [
        get(&lab.target, &url).await?,
        post(&lab, &url, &signup("dave", "correct+horse"), &[]).await?,
    ] {
        assert!(is_secret(&answer, 410).contains("used already"));
    }
    let mut dave = lab.connect().await?;
    assert!(dave.authenticate("dave", "correct horse").await.is_err());
    assert!(!lab.process.log().contains(token(&url)), "tokens are in no log");
    Ok(())
}

/// Many at once show the same link: one gets an account.
#[tokio::test]
async fn one_link_is_one_account_however_many_come() -> Outcome<()> {
    let folder = tempfile::tempdir().unwrap();
    let lab = Lab::serve(folder.path(), &[], &["alice"]);
    let url = page_of(folder.path(), &["invite"]);
    let all = (0..8).map(|n| {
        let fields = signup(&format!("user{n}"), "correct+horse");
        let (lab, url) = (&lab, &url);
        async move { post(lab, url, &fields, &[]).await.map(|answer| answer.status) }
    });
    let mut statuses: Vec<u16> =
        futures_util::future::join_all(all).await.into_iter().collect::<Outcome<_>>()?;
    statuses.sort_unstable();
    assert_eq!(statuses, [200, 410, 410, 410, 410, 410, 410, 410]);
    let list = stonechat(folder.path(), &["user", "list"]);
    assert_eq!(list.lines().filter(|line| line.starts_with("user")).count(), 1, "{list}");
    Ok(())
}

#[tokio::test]
async fn a_named_invitation_and_a_contact_have_what_they_need() -> Outcome<()> {
    let folder = tempfile::tempdir().unwrap();
    let lab = Lab::serve(folder.path(), &["--set", "modules.invite.users=false"], &["alice"]);
    let url = page_of(folder.path(), &["invite", "--name", "admin"]);
    let page = is_secret(&get(&lab.target, &url).await?, 200);
    assert!(page.contains("admin@localhost") && !page.contains("for=\"name\""), "{page}");
    let other = post(&lab, &url, &signup("root", "correct+horse"), &[]).await?;
    assert!(is_secret(&other, 422).contains("for the name admin"));
    let done = post(&lab, &url, "password=correct+horse&again=correct+horse", &[]).await?;
    assert!(is_secret(&done, 200).contains("admin@localhost"));

    // Of a user, and only to become a contact.
    let mut alice = lab.login("alice").await?;
    let command =
        "<command xmlns='http://jabber.org/protocol/commands' node='urn:xmpp:invite#invite'/>";
    let answer =
        alice.ask(&format!("<iq type='set' to='localhost' id='inv'>{command}</iq>")).await?;
    let told = answer.to_string();
    let url = told.split("https://").nth(1).unwrap().split('<').next().unwrap();
    let page = is_secret(&get(&lab.target, &format!("https://{url}")).await?, 200);
    assert!(page.contains("alice@localhost invites you to chat."), "{page}");
    let uri = format!("xmpp:alice@localhost?roster;preauth={}\"", token(url));
    assert!(page.contains(&uri) && !page.contains("<form"), "{page}");
    let refused =
        post(&lab, &format!("https://{url}"), &signup("eve", "correct+horse"), &[]).await?;
    is_secret(&refused, 403);
    Ok(())
}

#[tokio::test]
async fn a_password_is_set_in_the_browser_once() -> Outcome<()> {
    let folder = tempfile::tempdir().unwrap();
    let lab = Lab::serve(folder.path(), &[], &["alice", "bob"]);
    let mut old = lab.online("alice", "a").await?;
    let url = page_of(folder.path(), &["user", "reset-link", "alice@localhost"]);
    let page = is_secret(&get(&lab.target, &url).await?, 200);
    assert!(page.contains("Choose a new password for alice@localhost"), "{page}");
    assert!(!page.contains("name=\"name\""), "{page}");
    let short = post(&lab, &url, "password=short&again=short", &[]).await?;
    assert!(is_secret(&short, 422).contains("at least 8 characters"));
    // Not that of somebody else.
    let bob = post(&lab, &url, &signup("bob", "battery+staple"), &[]).await?;
    is_secret(&bob, 422);
    let done =
        post(&lab, &url, "address=x&password=battery+staple&again=battery+staple", &[]).await?;
    assert!(is_secret(&done, 200).contains("The password is set"));
    old.expect(|e| e.name == "error").await?;
    let mut alice = lab.connect().await?;
    alice.authenticate("alice", "battery staple").await?;
    assert!(lab.connect().await?.authenticate("alice", PASSWORD).await.is_err());
    lab.connect().await?.authenticate("bob", PASSWORD).await?;
    is_secret(&get(&lab.target, &url).await?, 410);
    is_secret(&post(&lab, &url, "password=once+more+now&again=once+more+now", &[]).await?, 410);
    assert!(!lab.process.log().contains(token(&url)), "tokens are in no log");
    Ok(())
}

#[tokio::test]
async fn links_that_are_over_say_so_and_guesses_end() -> Outcome<()> {
    let folder = tempfile::tempdir().unwrap();
    let lab = Lab::serve(folder.path(), &[], &["alice"]);
    let url = page_of(folder.path(), &["invite"]);
    stonechat(folder.path(), &["invite", "revoke", &url]);
    assert!(is_secret(&get(&lab.target, &url).await?, 410).contains("taken back"));
    let none = is_secret(&get(&lab.target, "/i/abcdefghijklmnopqrstuvwxyz").await?, 404);
    assert!(none.contains("There is no such link") && none.contains("hreflang=\"de\""), "{none}");
    for odd in [
        "/i/%00",
        "/i/%22%3E%3Cscript%3E",
        "/i/..%2f..%2fetc",
        &format!("/i/{}", "a".repeat(4_000)),
    ] {
        is_secret(&get(&lab.target, odd).await?, 404);
    }
    // What there was is no guess.
    for _ in 0..15 {
        is_secret(&get(&lab.target, "/i/guess").await?, 404);
    }
    // Right or wrong: then none is looked at.
    let good = page_of(folder.path(), &["invite"]);
    for url in ["/i/guess", &good] {
        let told = get(&lab.target, url).await?;
        assert_eq!(told.header("retry-after"), Some("3600"));
        assert!(is_secret(&told, 429).contains("Too many"), "{told:?}");
    }
    is_secret(&post(&lab, &good, &signup("carol", "correct+horse"), &[]).await?, 429);
    is_page(&get(&lab.target, "/").await?, 200);
    Ok(())
}

#[tokio::test]
async fn forms_of_others_and_no_forms_are_refused() -> Outcome<()> {
    let folder = tempfile::tempdir().unwrap();
    let lab = Lab::serve(folder.path(), &[], &["alice"]);
    let url = page_of(folder.path(), &["invite"]);
    let fields = signup("carol", "correct+horse");
    for header in [
        ("Origin", "https://evil.example"),
        ("Sec-Fetch-Site", "cross-site"),
        ("Sec-Fetch-Site", "same-site"),
    ] {
        let page = is_secret(&post(&lab, &url, &fields, &[header]).await?, 403);
        assert!(page.contains("another website"), "{page}");
    }
    let length = fields.len().to_string();
    let length = ("Content-Length", length.as_str());
    let json = [length, ("Content-Type", "application/json")];
    is_secret(&request(&lab.target, "POST", &url, &json, fields.as_bytes()).await?, 415);
    let large = "a".repeat(20_000);
    is_secret(&post(&lab, &url, &large, &[]).await?, 413);
    for method in ["PUT", "DELETE", "PATCH"] {
        for path in ["/", "/join", &url] {
            let answer =
                request(&lab.target, method, path, &[("Content-Length", "0")], b"").await?;
            assert_eq!(answer.status, 405, "{method} {path}");
            assert!(answer.header("allow").unwrap().contains("GET"));
        }
    }
    assert_eq!(
        request(&lab.target, "POST", "/", &[("Content-Length", "0")], b"").await?.status,
        405
    );
    // It was not used up by any of that.
    let own = format!("https://localhost:{}", lab.target.web.unwrap().port());
    let own = [("Origin", own.as_str()), ("Sec-Fetch-Site", "same-origin")];
    is_secret(&post(&lab, &url, &fields, &own).await?, 200);
    Ok(())
}

#[tokio::test]
async fn anybody_joins_where_the_server_is_open() -> Outcome<()> {
    let set = ["modules.register.per_ip_per_hour=2", "modules.register.password_length_min=8"];
    let lab = Lab::new(&[], &set);
    for name in ["romeo", "juliet"] {
        let done = post(&lab, "/join?lang=de", &signup(name, "correct+horse"), &[]).await?;
        assert!(is_page(&done, 200).contains("Willkommen"));
    }
    let more = post(&lab, "/join", &signup("tybalt", "correct+horse"), &[]).await?;
    assert_eq!(more.header("retry-after"), Some("3600"));
    assert!(is_page(&more, 429).contains("Too many accounts"));
    let mut romeo = Client::connect(&lab.target, Security::StartTls).await?;
    romeo.authenticate("romeo", "correct horse").await?;
    let foreign = [("Sec-Fetch-Site", "cross-site")];
    is_page(&post(&lab, "/join", &signup("paris", "correct+horse"), &foreign).await?, 403);
    Ok(())
}

#[tokio::test]
async fn a_page_may_be_elsewhere_or_nowhere() -> Outcome<()> {
    let folder = tempfile::tempdir().unwrap();
    let url = "web.url=https://chat.example.org/";
    let lab = Lab::serve(folder.path(), &["--set", url], &["alice"]);
    let out = stonechat(folder.path(), &["invite"]);
    let page = out.lines().nth(1).unwrap();
    assert!(page.starts_with("https://chat.example.org/i/"), "{out}");
    let path = page.strip_prefix("https://chat.example.org").unwrap();
    let shown = is_secret(&get(&lab.target, path).await?, 200);
    assert!(shown.contains("Invitation to localhost"), "{shown}");
    drop(lab);
    let lab = Lab::serve(folder.path(), &["--set", "web.pages=false"], &[]);
    let out = stonechat(folder.path(), &["invite"]);
    assert!(!out.contains("https://"), "{out}");
    for path in ["/", "/join", path] {
        assert_eq!(get(&lab.target, path).await?.status, 404, "{path}");
    }
    Ok(())
}

#[tokio::test]
async fn the_style_is_kept_for_ever_under_its_name() -> Outcome<()> {
    let lab = Lab::new(&[], &[]);
    let front = text(&get(&lab.target, "/").await?);
    let path = front.split("rel=\"stylesheet\" href=\"").nth(1).unwrap().split('"').next().unwrap();
    let style = get(&lab.target, path).await?;
    assert_eq!(style.header("content-type"), Some("text/css; charset=utf-8"));
    assert_eq!(style.header("cache-control"), Some("public, max-age=31536000, immutable"));
    assert_eq!(style.header("x-content-type-options"), Some("nosniff"));
    assert_eq!(get(&lab.target, "/pages/style.css").await?.status, 404);
    Ok(())
}

/// A package as npm makes one.
fn package(folder: &Path) {
    let dist = folder.join("package/dist/locales");
    std::fs::create_dir_all(&dist).unwrap();
    for (name, content) in [
        ("../converse.min.js", "export default { initialize() {} };"),
        ("../converse.min.css", "p {}"),
        ("de.js", "de"),
        ("../../package.json", "{}"),
    ] {
        std::fs::write(dist.join(name), content).unwrap();
    }
    let tar = std::process::Command::new("tar")
        .current_dir(folder)
        .args(["czf", "converse.tgz", "package"])
        .status();
    assert!(tar.expect("tar").success());
}

#[tokio::test]
async fn a_web_client_is_unpacked_and_served() -> Outcome<()> {
    let folder = tempfile::tempdir().unwrap();
    let lab =
        Lab::serve(folder.path(), &["--set", "modules.upload.url=https://files.x"], &["alice"]);
    for path in ["/chat", "/chat/", "/chat/config.js", "/chat/dist/converse.min.js"] {
        assert_eq!(get(&lab.target, path).await?.status, 404, "{path}");
    }
    package(folder.path());
    let said = stonechat(folder.path(), &["web", "get-converse", "converse.tgz"]);
    assert!(said.contains("/chat/") && said.contains("3 files"), "{said}");
    std::fs::write(folder.path().join("data/converse/secret"), "secret").unwrap();
    // Without a restart.
    let to = get(&lab.target, "/chat").await?;
    assert_eq!((to.status, to.header("location")), (308, Some("/chat/")));
    assert!(text(&get(&lab.target, "/").await?).contains("href=\"/chat/\""));
    let page = get(&lab.target, "/chat/").await?;
    let policy = page.header("content-security-policy").unwrap();
    for part in [
        "default-src 'none'",
        "script-src https://localhost/chat/ 'wasm-unsafe-eval';",
        "connect-src 'self' https://localhost/ https://files.x/ wss://localhost/ws;",
        "img-src 'self' https://localhost/ https://files.x/ data: blob:;",
        "frame-ancestors 'none'",
    ] {
        assert!(policy.contains(part), "{policy}");
    }
    let html = text(&page);
    assert!(html.contains("src=\"config.js\"") && html.contains("<noscript>"), "{html}");
    assert!(!html.contains("<script>"), "{html}");
    let script = get(&lab.target, "/chat/config.js").await?;
    assert_eq!(script.header("content-type"), Some("text/javascript; charset=utf-8"));
    let script = text(&script);
    for part in [
        "\"locked_domain\":\"localhost\"",
        "\"websocket_url\":\"wss://localhost/ws\"",
        "\"bosh_service_url\":\"https://localhost/http-bind\"",
        "\"assets_path\":\"/chat/dist\"",
        "\"allow_registration\":false",
    ] {
        assert!(script.contains(part), "{script}");
    }
    let file = get(&lab.target, "/chat/dist/converse.min.js").await?;
    assert_eq!((file.status, text(&file).contains("initialize")), (200, true));
    assert_eq!(file.header("x-content-type-options"), Some("nosniff"));
    let modified = file.header("last-modified").unwrap();
    let again = [("If-Modified-Since", modified)];
    let again = request(&lab.target, "GET", "/chat/dist/converse.min.js", &again, b"").await?;
    assert_eq!(again.status, 304);
    assert_eq!(text(&get(&lab.target, "/chat/dist/locales/de.js").await?), "de");
    let beside = get(&lab.target, "/chat/curve.wasm").await?;
    assert_eq!((beside.status, beside.header("location")), (307, Some("/chat/dist/curve.wasm")));
    let put =
        request(&lab.target, "PUT", "/chat/dist/converse.min.js", &[("Content-Length", "0")], b"");
    assert_eq!(put.await?.status, 405);
    Ok(())
}

#[tokio::test]
async fn no_path_leads_out_of_the_folder_of_the_client() -> Outcome<()> {
    let folder = tempfile::tempdir().unwrap();
    let lab = Lab::serve(folder.path(), &[], &["alice"]);
    package(folder.path());
    stonechat(folder.path(), &["web", "get-converse", "converse.tgz"]);
    std::fs::write(folder.path().join("data/converse/secret"), "secret").unwrap();
    let whole = folder.path().join("data/converse/secret");
    for path in [
        "/chat/dist/../secret",
        "/chat/dist/%2e%2e/secret",
        "/chat/dist/..%2fsecret",
        "/chat/dist/%2e%2e%2fsecret",
        "/chat/dist/..%5csecret",
        "/chat/dist/locales/../../secret",
        "/chat/dist/locales/%2e%2e/%2e%2e/secret",
        "/chat/dist/locales/..%2f..%2fsecret",
        "/chat/dist/..%252fsecret",
        "/chat/dist/....//secret",
        "/chat/dist//../secret",
        "/chat/dist/secret%00.js",
        "/chat/dist/converse.min.js%00",
        "/chat/dist/../../stonechat.db",
        "/chat/secret",
        "/chat/../converse/secret",
        &format!("/chat/dist/{}", whole.display()),
        &format!("/chat/dist/%2f{}", whole.display()),
        "/chat/dist/",
        "/chat/dist",
        "/chat/dist/locales",
        "/chat/dist/locales/",
        "/chat/dist/converse.min.js/x",
    ] {
        let answer = get(&lab.target, path).await?;
        let is_nothing = [400, 404, 307, 308].contains(&answer.status);
        let shown = text(&answer);
        assert!(
            is_nothing && !shown.contains("secret") && !shown.contains("de.js"),
            "{path}: {answer:?}"
        );
    }
    Ok(())
}
