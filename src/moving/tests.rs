//! From a file into a store and out again.

use std::io::Write;
use std::path::Path;
use std::sync::Arc;

use super::export::{Selection, export};
use super::import::{ImportError, Target, import, try_out};
use super::piece::{MovedAccount, MovedFile, Piece, Source, SourceError};
use super::report::Report;
use super::xep0227::{Writer, open};
use crate::base::credential::ScramKeys;
use crate::base::limits::Limits;
use crate::modules::{self, Config};
use crate::store::{Options, Store, StoreError, Tx, accounts};

/// A server of `x.example` that nobody is connected to.
struct Server {
    folder: tempfile::TempDir,
    store: Store,
    target: Target,
}

impl Server {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(Options::new(folder.path().join("db"))).unwrap();
        let target = Target {
            modules: modules::ALL,
            config: Arc::new(Config::default()),
            limits: Limits::default(),
            hosts: vec!["x.example".to_owned()],
            passwords: false,
            now: std::time::SystemTime::now(),
        };
        Self { folder, store, target }
    }

    async fn read(&self, path: &Path, dry: bool) -> (Report, Result<(), ImportError>) {
        let (source, target) = (open(path).unwrap(), self.target.clone());
        match dry {
            true => try_out(&self.store, source, target, Box::new(|_| {})).await,
            false => import(&self.store, source, target, Box::new(|_| {})).await,
        }
    }

    /// Takes the text of a file in.
    async fn take(&self, text: &str) -> Report {
        let path = self.folder.path().join("in.xml");
        std::fs::write(&path, text).unwrap();
        let (report, ended) = self.read(&path, false).await;
        ended.unwrap();
        report
    }

    async fn given(&self) -> String {
        let config = self.target.config.clone();
        let done = self.store.read(move |tx| {
            let mut text = Vec::new();
            let mut writer = Writer::begin(&mut text).unwrap();
            export(tx, (modules::ALL, &config), &Selection::All, &mut writer).unwrap();
            drop(writer);
            Ok(String::from_utf8(text).unwrap())
        });
        done.await.unwrap()
    }
}

fn data(users: &str) -> String {
    format!(
        "<?xml version='1.0' encoding='UTF-8'?>\n<server-data xmlns='urn:xmpp:pie:0'>\
         <host jid='x.example'>{users}</host></server-data>"
    )
}

fn result(id: &str, at: &str, from: &str, to: &str, body: &str) -> String {
    format!(
        "<result xmlns='urn:xmpp:mam:2' id='{id}'><forwarded xmlns='urn:xmpp:forward:0'>\
         <delay xmlns='urn:xmpp:delay' stamp='{at}'/><message xmlns='jabber:client' id='{id}' type='chat' from='{from}' to='{to}'>\
         <body>{body}</body></message></forwarded></result>"
    )
}

/// One of everything.
fn everything() -> String {
    let archive = [
        result("m1", "2024-01-01T00:00:00Z", "alice@x.example/a", "bob@y.example/b", "one"),
        result("m2", "2024-01-01T00:00:00Z", "bob@y.example/b", "alice@x.example/a", "two"),
        // The same words in the same second are two messages.
        result("m2", "2024-01-01T00:00:00Z", "bob@y.example/b", "alice@x.example/a", "two"),
        result("m3", "2024-01-01T00:00:01.5Z", "bob@y.example/b", "alice@x.example", "three"),
    ]
    .concat();
    let owner = "http://jabber.org/protocol/pubsub#owner";
    data(&format!(
        "<user name='alice'>\
         <scram-credentials xmlns='urn:xmpp:pie:0#scram' mechanism='SCRAM-SHA-1'><iter-count>10000.0</iter-count>\
         <salt>c2FsdA==</salt><server-key>BwcHBwcHBwcHBwcHBwcHBwcHBwc=</server-key>\
         <stored-key>yMjIyMjIyMjIyMjIyMjIyMjIyMg=</stored-key></scram-credentials>\
         <query xmlns='jabber:iq:roster'>\
         <item jid='bob@y.example' name='Bob &lt;1&gt;' subscription='both'><group>Friends</group><group>a&amp;b</group></item>\
         <item jid='carol@y.example' subscription='none' ask='subscribe'/>\
         <item jid='dave@y.example' subscription='none' approved='true'/>\
         <item jid='erin@y.example' subscription='to'/></query>\
         <presence xmlns='jabber:client' type='subscribe' from='erin@y.example' id='p1'><nick xmlns='http://jabber.org/protocol/nick'>E</nick></presence>\
         <presence xmlns='jabber:client' type='subscribe' from='frank@y.example'/>\
         <archive xmlns='urn:xmpp:pie:0#mam'>{archive}</archive>\
         <prefs xmlns='urn:xmpp:mam:2' default='roster'><always><jid>bob@y.example</jid></always><never/></prefs>\
         <offline-messages>\
         <message xmlns='jabber:client' id='m3' type='chat' from='bob@y.example/b' to='alice@x.example'><body>three</body>\
         <delay xmlns='urn:xmpp:delay' from='x.example' stamp='2024-01-01T00:00:02Z'/></message>\
         <message xmlns='jabber:client' id='m9' type='chat' from='bob@y.example/b' to='alice@x.example'><body>alone</body>\
         <delay xmlns='urn:xmpp:delay' from='x.example' stamp='2024-01-01T00:00:03Z'>Offline Storage</delay></message></offline-messages>\
         <vCard xmlns='vcard-temp'><FN>Alice</FN></vCard>\
         <query xmlns='jabber:iq:private'><exodus xmlns='exodus:prefs'><defaultnick>A</defaultnick></exodus>\
         <storage xmlns='storage:bookmarks'><conference jid='r@conference.x.example' autojoin='1' name='R'><nick>al</nick></conference></storage></query>\
         <blocklist xmlns='urn:xmpp:blocking'><item jid='spam@z.example'/><item jid='bad.example'/></blocklist>\
         <pubsub xmlns='{owner}'><configure node='urn:example:n'><x xmlns='jabber:x:data' type='form'>\
         <field var='FORM_TYPE' type='hidden'><value>http://jabber.org/protocol/pubsub#node_config</value></field>\
         <field var='pubsub#access_model'><value>open</value></field><field var='pubsub#max_items'><value>max</value></field>\
         <field var='x#unknown'><value>1</value></field></x></configure>\
         <affiliations node='urn:example:n'><affiliation jid='bob@y.example' affiliation='publisher'/></affiliations></pubsub>\
         <pubsub xmlns='http://jabber.org/protocol/pubsub'><items node='urn:example:n'><item id='1'><e xmlns='urn:e'>1</e></item>\
         <item id='2'><e xmlns='urn:e'>2</e></item></items></pubsub></user>\
         <user name='bob' password='secret'/>\
         <room xmlns='urn:x-stonechat:moving:0' jid='r@conference.x.example'>\
         <query xmlns='http://jabber.org/protocol/muc#owner'><x xmlns='jabber:x:data' type='form'>\
         <field var='FORM_TYPE'><value>http://jabber.org/protocol/muc#roomconfig</value></field>\
         <field var='muc#roomconfig_roomname'><value>A room</value></field>\
         <field var='muc#roomconfig_persistentroom'><value>1</value></field>\
         <field var='muc#roomconfig_publicroom'><value>1</value></field>\
         <field var='muc#roomconfig_membersonly'><value>0</value></field></x></query>\
         <query xmlns='http://jabber.org/protocol/muc#admin'><item jid='alice@x.example' affiliation='owner' nick='al'/>\
         <item jid='bad@z.example' affiliation='outcast'><reason>spam</reason></item></query>\
         <message xmlns='jabber:client' type='groupchat' from='r@conference.x.example/al'><subject>Hi</subject>\
         <delay xmlns='urn:xmpp:delay' stamp='2024-02-01T00:00:00Z'/></message>\
         <archive xmlns='urn:xmpp:pie:0#mam'><result xmlns='urn:xmpp:mam:2' id='r1'><forwarded xmlns='urn:xmpp:forward:0'>\
         <delay xmlns='urn:xmpp:delay' stamp='2024-02-01T00:00:01Z'/><message xmlns='jabber:client' type='groupchat' id='r1' \
         from='r@conference.x.example/al'><body>in the room</body></message></forwarded></result></archive></room>"
    ))
}

#[tokio::test]
async fn everything_comes_in_once_and_goes_out_equal() {
    let server = Server::new();
    let report = server.take(&everything()).await;
    assert!(report.is_whole(), "{:#?}", report.lines(false));
    for (what, new) in [
        ("accounts", 2),
        ("roster items", 4),
        ("subscription requests", 2),
        ("archived messages", 4),
        ("archive preferences", 1),
        ("waiting messages", 2),
        ("vCards", 1),
        ("private XML", 1),
        ("bookmark lists", 1),
        ("blocked addresses", 2),
        ("nodes", 1),
        ("node affiliations", 1),
        ("node items", 2),
        ("rooms", 1),
        ("room configurations", 1),
        ("room affiliations", 2),
        ("room subjects", 1),
        ("room messages", 1),
    ] {
        assert_eq!((what, report.of(what).new, report.of(what).there), (what, new, 0));
    }
    // The foreign file again, and then our own: nothing is new.
    let first = server.given().await;
    for again in [everything(), first.clone()] {
        let report = server.take(&again).await;
        assert!(report.kinds().all(|(_, kind)| kind.new == 0 && kind.not == 0), "{report:#?}");
        assert_eq!(server.given().await, first);
    }
    assert!(first.contains("Bob &lt;1") && first.contains("urn:xmpp:bookmarks:1"), "{first}");
    // Messages are as they were sent.
    for message in [
        "from='r@conference.x.example/al'><body>in the room</body></message>",
        "to=\"alice@x.example\"><body>three</body></message>",
    ] {
        assert!(first.contains(message), "{message}: {first}");
    }
    // Into an empty server.
    let other = Server::new();
    let report = other.take(&first).await;
    assert!(report.is_whole(), "{:#?}", report.lines(false));
    assert_eq!(other.given().await, first);
}

#[tokio::test]
async fn to_try_out_writes_nothing_and_says_the_same() {
    let server = Server::new();
    let path = server.folder.path().join("in.xml");
    std::fs::write(&path, everything()).unwrap();
    let (tried, ended) = server.read(&path, true).await;
    ended.unwrap();
    assert!(!server.given().await.contains("alice"));
    let (report, _) = server.read(&path, false).await;
    assert_eq!(tried, report);
}

#[tokio::test]
async fn what_cannot_be_taken_is_named_and_the_rest_comes() {
    let server = Server::new();
    let good = "<query xmlns='jabber:iq:roster'><item jid='ok@y.example'/></query>";
    for (what, which, users) in [
        ("accounts", "@x.example", format!("<user name=''>{good}</user>")),
        ("accounts", "a b@x.example", format!("<user name='a b'>{good}</user>")),
        ("passwords", "p@x.example", "<user name='p'/>".to_owned()),
        ("roster items", "@@", format!("<user name='r' password='s'><query xmlns='jabber:iq:roster'><item jid='@@'/></query>{good}</user>")),
        ("unknown elements", "<q xmlns='urn:q'>", format!("<user name='u' password='s'><q xmlns='urn:q'/>{good}</user>")),
        ("elements", "an element", format!("<user name='e' password='s'><vCard xmlns='vcard-temp'>&lol;</vCard>{good}</user>")),
        ("keys of passwords", "k", "<user name='k' password='s'><scram-credentials xmlns='urn:xmpp:pie:0#scram' mechanism='SCRAM-SHA-1'/></user>".to_owned()),
        ("archived messages", "1", format!("<user name='m' password='s'><archive xmlns='urn:xmpp:pie:0#mam'>{}</archive></user>",
            result("1", "2024-01-01T00:00:00Z", "a@y.example", "b@y.example", "not mine"))),
        ("privacy lists", "l", "<user name='l' password='s'><query xmlns='jabber:iq:privacy'><list name='l'><item type='subscription' value='none' action='deny' order='1'/></list></query></user>".to_owned()),
        ("rooms", "r@else.where", "<room xmlns='urn:x-stonechat:moving:0' jid='r@else.where'/>".to_owned()),
        ("owners of rooms", "o@conference.x.example", "<room xmlns='urn:x-stonechat:moving:0' jid='o@conference.x.example'/>".to_owned()),
        ("elements of hosts", "<z xmlns='urn:z'>", "<z xmlns='urn:z'>1</z>".to_owned()),
    ] {
        let report = server.take(&data(&users)).await;
        let named = report.of(what).named;
        assert!(named.iter().any(|one| one.contains(which)), "{what} {which}: {report:#?}");
        if users.contains(good) && what != "accounts" {
            assert_eq!(report.of("roster items").new, 1, "{what}");
        }
    }
    let foreign = data("<user name='a' password='b'/>").replace("x.example", "foreign.example");
    let report = server.take(&foreign).await;
    assert!(report.of("accounts").named[0].contains("not served here"), "{report:#?}");
}

#[tokio::test]
async fn hostile_files_end_with_their_place() {
    let server = Server::new();
    let path = server.folder.path().join("bad.xml");
    let deep = "<a>".repeat(100_000);
    let lol = "<!DOCTYPE lolz [<!ENTITY lol 'lol'><!ENTITY lol2 '&lol;&lol;'>]>";
    for (text, place, what) in [
        (
            format!("<?xml version='1.0'?>\n{lol}\n<server-data xmlns='urn:xmpp:pie:0'/>"),
            ":2",
            "document type",
        ),
        (data(&format!("\n\n<user name='a' password='b'>{deep}")), ":4", "nested"),
        (
            data("<user name='a' password='b'>").replace("</host></server-data>", ""),
            ":2",
            "within an element",
        ),
        (data("<user name='a'></host>"), ":2", ""),
        ("<other/>".to_owned(), ":1", "server-data"),
    ] {
        std::fs::write(&path, &text).unwrap();
        let (_, ended) = server.read(&path, false).await;
        let error = ended.unwrap_err().to_string();
        assert!(error.contains(place) && error.contains(what), "{place} {what}: {error}");
    }
}

#[tokio::test]
async fn what_is_too_large_is_left_out_in_bounded_memory() {
    let server = Server::new();
    let path = server.folder.path().join("large.xml");
    let mut file = std::io::BufWriter::new(std::fs::File::create(&path).unwrap());
    let (before, after) = {
        let data = data("<user name='a' password='b'>|</user>");
        let (before, after) = data.split_once('|').unwrap();
        (before.to_owned(), after.to_owned())
    };
    write!(file, "{before}<vCard xmlns='vcard-temp'>").unwrap();
    for _ in 0..100_000 {
        write!(file, "<NOTE>{}</NOTE>", "x".repeat(100)).unwrap();
    }
    write!(file, "</vCard><query xmlns='jabber:iq:roster'>").unwrap();
    for n in 0..5_000 {
        write!(file, "<item jid='c{n}@y.example'/>").unwrap();
    }
    write!(file, "</query>{after}").unwrap();
    drop(file);
    let (report, ended) = server.read(&path, false).await;
    ended.unwrap();
    assert_eq!(report.of("elements").not, 1, "{report:#?}");
    let items = report.of("roster items");
    assert_eq!((items.new, items.not), (2_000, 3_000));
    assert!(items.named[0].contains("limits.roster_items_max"), "{items:?}");
}

#[tokio::test]
async fn files_include_others_below_their_folder_only() {
    let server = Server::new();
    let root = server.folder.path().join("data");
    std::fs::create_dir_all(root.join("x.example")).unwrap();
    let secret = server.folder.path().join("secret.xml");
    let user = |name: &str| format!("<user xmlns='urn:xmpp:pie:0' name='{name}' password='s'/>");
    std::fs::write(&secret, user("thief")).unwrap();
    std::os::unix::fs::symlink(&secret, root.join("link.xml")).unwrap();
    std::fs::write(root.join("x.example").join("jul iet.xml"), user("juliet")).unwrap();
    let include = |href: &str| format!("<xi:include href='{href}'/>");
    let all = [
        "x.example/jul%20iet.xml",
        "../secret.xml",
        "link.xml",
        "/etc/passwd",
        "file:///etc/passwd",
        "",
        "main.xml",
    ];
    let includes: String = all.iter().map(|href| include(href)).collect();
    let host =
        "<host xmlns='urn:xmpp:pie:0' xmlns:xi='http://www.w3.org/2001/XInclude' jid='x.example'>";
    std::fs::write(root.join("x.example.xml"), format!("{host}{includes}</host>")).unwrap();
    let main = root.join("main.xml");
    let text = format!(
        "<server-data xmlns='urn:xmpp:pie:0' xmlns:xi='http://www.w3.org/2001/XInclude'>{}</server-data>",
        include("x.example.xml")
    );
    std::fs::write(&main, text).unwrap();
    let (report, ended) = server.read(&main, false).await;
    ended.unwrap();
    assert_eq!(report.of("accounts").new, 1, "{report:#?}");
    assert_eq!(report.of("included files").not, 5, "{report:#?}");
    assert!(!server.given().await.contains("thief"));
}

impl Server {
    async fn write(&self, change: impl FnOnce(&mut dyn Tx) + Send + 'static) {
        let work = move |tx: &mut dyn Tx| {
            change(tx);
            Ok::<_, StoreError>(())
        };
        self.store.write(work).await.unwrap();
    }

    /// The hashes of an account's keys.
    async fn hashes(&self, name: &'static str) -> usize {
        let read = self.store.read(move |tx| {
            let account = accounts::find(tx, name, "x.example")?.unwrap();
            Ok(accounts::hashes(tx, account.id)?.len())
        });
        read.await.unwrap()
    }

    async fn take_pieces(&self, pieces: Vec<Piece>, passwords: bool) -> Report {
        let target = Target { passwords, ..self.target.clone() };
        let source = Box::new(Given(pieces.into()));
        let (report, ended) = import(&self.store, source, target, Box::new(|_| {})).await;
        ended.unwrap();
        report
    }
}

/// Gives what it has.
struct Given(std::collections::VecDeque<Piece>);

impl Source for Given {
    fn next(&mut self) -> Result<Option<Piece>, SourceError> {
        Ok(self.0.pop_front())
    }

    fn place(&self) -> String {
        String::new()
    }
}

fn named(name: &str) -> MovedAccount {
    MovedAccount { host: "x.example".to_owned(), name: name.to_owned(), ..MovedAccount::default() }
}

fn keys(length: usize) -> ScramKeys {
    let key = || vec![7; length];
    super::keys::raw(None, 4096, b"salt".to_vec(), key(), key()).unwrap()
}

#[tokio::test]
async fn a_password_that_is_the_name_is_none() {
    let server = Server::new();
    for (name, password) in [("al", "al"), ("Bob", "Bob"), ("Carl", "carl"), ("dora", "DORA")] {
        let report =
            server.take(&data(&format!("<user name='{name}' password='{password}'/>"))).await;
        assert_eq!(report.of("accounts").new, 1);
        let named = report.of("passwords").named;
        assert!(named[0].contains("password that is the name") && named[0].contains("reset-link"));
    }
    for name in ["al", "bob", "carl", "dora"] {
        assert_eq!(server.hashes(name).await, 0, "{name}");
    }
    let report = server.take(&data("<user name='erin' password='erin1'/>")).await;
    assert!(report.is_whole() && server.hashes("erin").await > 0);
}

#[tokio::test]
async fn what_people_took_away_does_not_come_back() {
    let server = Server::new();
    server.take(&everything()).await;
    server
        .write(|tx| {
            for sql in ["DELETE FROM roster_item", "DELETE FROM blocked", "DELETE FROM archive"] {
                tx.execute(sql, &[]).unwrap();
            }
        })
        .await;
    let cleared = server.given().await;
    let report = server.take(&everything()).await;
    assert!(report.kinds().all(|(_, kind)| kind.new == 0 && kind.not == 0), "{report:#?}");
    assert_eq!(server.given().await, cleared);
    // What is new in the source comes, and what could not be taken is tried again.
    let more = |more: &str| {
        data(&format!("<user name='alice'><query xmlns='jabber:iq:roster'>{more}</query></user>"))
    };
    let report = server.take(&more("<item jid='new@y.example'/><item jid='@@'/>")).await;
    assert_eq!((report.of("roster items").new, report.of("roster items").not), (1, 1));
    let report = server.take(&more("<item jid='new@y.example'/><item jid='@@'/>")).await;
    assert_eq!((report.of("roster items").there, report.of("roster items").not), (1, 1));
    // An account of the same name that was made since is another.
    server.write(|tx| assert!(tx.execute("DELETE FROM account", &[]).unwrap() > 0)).await;
    let report = server.take(&everything()).await;
    assert_eq!(report.of("roster items").new, 4, "{report:#?}");
}

#[tokio::test]
async fn nothing_is_taken_of_a_room_that_people_made() {
    let server = Server::new();
    server.take(&everything()).await;
    // As if people had made it: no import says that it did.
    server.write(|tx| assert!(tx.execute("DELETE FROM imported", &[]).unwrap() > 0)).await;
    server.write(|tx| assert!(tx.execute("DELETE FROM room_affiliation", &[]).unwrap() > 0)).await;
    let before = server.given().await;
    let report = server.take(&everything()).await;
    let named = report.of("rooms").named;
    assert!(named[0].contains("a room of this name was made here"), "{report:#?}");
    for what in ["room configurations", "room affiliations", "room subjects", "room messages"] {
        assert_eq!((report.of(what).new, report.of(what).there), (0, 0), "{what}");
    }
    assert_eq!(server.given().await, before);
}

#[tokio::test]
async fn an_account_that_was_there_keeps_its_keys() {
    let server = Server::new();
    let with = |length| {
        let account = MovedAccount { keys: vec![keys(length)], ..named("al") };
        vec![Piece::Account(account)]
    };
    // Within a run keys come one after the other.
    let both = with(20).into_iter().chain(with(32)).collect();
    server.take_pieces(both, false).await;
    assert_eq!(server.hashes("al").await, 2);
    let both = with(20).into_iter().chain(with(64)).collect();
    server.take_pieces(both, false).await;
    assert_eq!(server.hashes("al").await, 2);
    server.take_pieces(with(64), true).await;
    assert_eq!(server.hashes("al").await, 1);
}

#[tokio::test]
async fn an_account_that_only_a_file_names_is_not_made() {
    let server = Server::new();
    let file = || {
        let body = Box::new(std::io::empty());
        let (name, media_type) = ("f".to_owned(), "text/plain".to_owned());
        Piece::File(MovedFile { name, media_type, size: 0, at: 0, url: None, body })
    };
    let owner = || Piece::Account(MovedAccount { only_named: true, ..named("ghost") });
    let report = server.take_pieces(vec![owner(), file()], false).await;
    assert_eq!((report.of("accounts").new, report.of("files").not), (0, 1), "{report:#?}");
    assert!(report.of("files").named[0].starts_with("ghost@x.example: f"), "{report:#?}");
    assert!(!server.given().await.contains("ghost"));
}

#[tokio::test]
async fn a_subject_is_the_rooms_and_nothing_but_a_subject() {
    let server = Server::new();
    let room = |from: &str| {
        data(&format!(
            "<room xmlns='urn:x-stonechat:moving:0' jid='s@conference.x.example'>\
             <message xmlns='jabber:client' type='headline' from='{from}'><body>no</body><subject>Hi</subject>\
             <x xmlns='urn:x'/></message></room>"
        ))
    };
    let report = server.take(&room("boss@y.example")).await;
    assert!(report.of("room subjects").named[0].contains("not in this room"), "{report:#?}");
    let report = server.take(&room("s@conference.x.example/al")).await;
    assert_eq!(report.of("room subjects").new, 1, "{report:#?}");
    let given = server.given().await;
    assert!(given.contains("<subject>Hi</subject>") && !given.contains("urn:x'"), "{given}");
    assert!(!given.contains("headline") && !given.contains("<body>no"), "{given}");
}

#[tokio::test]
async fn files_of_the_old_namespace_are_read() {
    let server = Server::new();
    let users = "<user name='old' password='s'><query xmlns='jabber:iq:roster'><item jid='a@y.example'/></query>\
                 <offline-messages><message xmlns='jabber:client' from='a@y.example' to='old@x.example'>\
                 <body>1</body></message></offline-messages></user>";
    let old = "http://www.xmpp.org/extensions/xep-0227.html#ns";
    let report = server.take(&data(users).replace("urn:xmpp:pie:0", old)).await;
    assert!(report.is_whole(), "{report:#?}");
    let counts = ["accounts", "roster items", "waiting messages"].map(|what| report.of(what).new);
    assert_eq!(counts, [1, 1, 1], "{report:#?}");
}
