//! Rules that other servers learned the hard way (security.md), one test a rule; those about SASL,
//! TLS and XML stand with their features.

use crate::harness::client::{Client, Outcome, SASL, Security};
use crate::harness::process::{Lab, PASSWORD, ends_with, run, stream_error};
use crate::harness::scram::Scram;
use base64::{Engine, engine::general_purpose::STANDARD as BASE64};
use std::os::unix::fs::PermissionsExt;

/// Rule 2: the full JID is stamped before anybody else sees the stanza (RFC 6120 §8.1.2.1); a
/// forged one ends the stream, in any spelling.
#[tokio::test]
async fn the_sender_is_stamped_and_cannot_be_forged() -> Outcome<()> {
    let lab = Lab::new(&["alice", "bob"], &[]);
    let mut bob = lab.login("bob").await?;
    let to = bob.jid.clone();
    let mut alice = lab.login("alice").await?;
    let own = alice.jid.clone();
    let full = format!("from='{own}'");
    let other = "from='alice@localhost/other'";
    for from in ["", "from='alice@localhost'", "from='ALICE@localhost'", &full, other] {
        alice.send(&format!("<message {from} to='{to}'/>")).await?;
        assert_eq!(bob.receive().await?.attr("from"), Some(own.as_str()), "{from}");
    }
    for from in ["bob@localhost", "localhost", "", "al&#105;ce@elsewhere", to.as_str()] {
        for stanza in ["message", "presence", "iq type='get' id='1'"] {
            let mut alice = lab.login("alice").await?;
            alice.send(&format!("<{stanza} from='{from}' to='{to}'/>")).await?;
            ends_with(&mut alice, "invalid-from").await?;
        }
    }
    bob.nothing().await
}

/// S12 and 'secrets in logs': nothing that opens a door, and no word of a conversation, stands in
/// the log, however much is logged.
#[tokio::test]
async fn no_secret_and_no_body_is_ever_logged() -> Outcome<()> {
    let lab = Lab::new(&["alice", "bob"], &["log.level=debug,stonechat=trace"]);
    let mut secrets = vec![PASSWORD.to_owned(), "wrong-secret".into(), "a-new-secret".into()];
    let plain = BASE64.encode(format!("\0alice\0{PASSWORD}"));
    for password in [PASSWORD, "wrong-secret"] {
        for mechanism in ["SCRAM-SHA-1", "SCRAM-SHA-256", "SCRAM-SHA-512"] {
            let mut client = lab.connect().await?;
            Scram::new(mechanism, "alice", password).run(&mut client).await?;
            // Every proof and signature, as it travelled and as it reads.
            for line in client
                .conversation()
                .lines()
                .filter(|l| l.contains("<response") || l.contains("<success"))
            {
                let text = line.split('>').nth(if line.starts_with("->") { 2 } else { 1 });
                let text = text.and_then(|t| t.split('<').next()).unwrap_or_default();
                let Ok(bytes) = BASE64.decode(text) else { continue };
                let read = String::from_utf8(bytes).unwrap();
                let proof = read.split(',').find_map(|part| part.strip_prefix("p="));
                secrets.extend(proof.map(str::to_owned));
                secrets.push(text.to_owned());
            }
        }
    }
    let mut client = lab.connect().await?;
    client.send(&format!("<auth xmlns='{SASL}' mechanism='PLAIN'>{plain}</auth>")).await?;
    assert_eq!(client.receive().await?.name, "success");
    client.open().await?;
    client.bind(None).await?;
    client
        .send("<message to='bob@localhost'><body>a word between friends</body></message>")
        .await?;
    client
        .send("<message to='nobody@localhost'><body>a word between friends</body></message>")
        .await?;
    client.fence().await?;
    let data = lab.data.display().to_string();
    let passwd = ["--data-dir", &data, "user", "passwd", "alice@localhost", "--password-stdin"];
    assert!(run(&passwd, "a-new-secret\n").ok);
    ends_with(&mut client, "not-authorized").await?;
    client = lab.login("bob").await?;
    client
        .send("<message to='bob@localhost'><body>a word between friends</message></body>")
        .await?;
    stream_error(&mut client).await?;
    secrets.extend([plain, "a word between friends".into()]);
    assert!(secrets.len() > 12, "{secrets:?}");
    let log = lab.process.log();
    assert!(log.contains("failed login") && log.contains("session started"), "{log}");
    for secret in secrets.iter().filter(|secret| !secret.is_empty()) {
        assert!(!log.contains(secret.as_str()), "{secret} in {log}");
    }
    Ok(())
}

/// The addresses of users are logged from debug on alone, as docs/config.md promises.
#[tokio::test]
async fn no_address_of_a_user_is_logged_at_info() -> Outcome<()> {
    let lab = Lab::new(&["alice"], &["log.level=info"]);
    lab.login("alice").await?.close().await?;
    let (broken, _) = lab.managed("alice", "phone").await?;
    drop(broken);
    for line in ["session started", "session closed", "the session can be resumed"] {
        lab.process.logs(&[line]);
    }
    let log = lab.process.log();
    assert!(!log.contains("alice"), "{log}");
    Ok(())
}

/// What the server keeps is for its owner's eyes alone; the CA certificate is for everybody's.
#[tokio::test]
async fn files_are_private() -> Outcome<()> {
    let folder = tempfile::tempdir().unwrap();
    let lab = Lab::serve(folder.path(), &[], &["alice"]);
    let mode = |path: &std::path::Path| std::fs::metadata(path).unwrap().permissions().mode();
    assert_eq!(mode(&lab.data) & 0o077, 0, "the data folder");
    let mut pending = vec![lab.data.clone()];
    let mut seen = Vec::new();
    while let Some(path) = pending.pop() {
        for entry in std::fs::read_dir(&path).unwrap().map(Result::unwrap) {
            if entry.path().is_dir() {
                pending.push(entry.path());
                continue;
            }
            let name = entry.file_name().into_string().unwrap();
            let secret = name.ends_with(".key") || name.contains(".db") || name.ends_with(".sock");
            if secret {
                assert_eq!(mode(&entry.path()) & 0o077, 0, "{name}");
                seen.push(name);
            }
        }
    }
    for part in [".key", ".db", ".sock"] {
        assert!(seen.iter().any(|name| name.ends_with(part)), "no {part} among {seen:?}");
    }
    Ok(())
}

/// Rule 15 for IQs: who is no subscriber learns nothing of whether an account exists or who is
/// online; a message to nobody bounces, since people mistype (RFC 6121 §8.5.1).
#[tokio::test]
async fn accounts_and_resources_of_others_cannot_be_probed() -> Outcome<()> {
    let lab = Lab::new(&["alice", "bob"], &[]);
    let mut bob = lab.login_as("bob", "here").await?;
    let mut alice = lab.login("alice").await?;
    // Whether a bare address or a resource of it is asked may be told from the answer; no more.
    for group in [
        &["bob@localhost", "nobody@localhost"][..],
        &["bob@localhost/here", "bob@localhost/gone", "nobody@localhost/x"],
    ] {
        let mut answers = Vec::new();
        for to in group {
            let query = "<query xmlns='jabber:iq:last'/>";
            let answer =
                alice.ask(&format!("<iq type='get' id='q' to='{to}'>{query}</iq>")).await?;
            assert_eq!(answer.attr("from"), Some(*to));
            answers.push((answer.attr("type").map(str::to_owned), answer.children));
        }
        answers.dedup();
        assert_eq!(answers.len(), 1, "{answers:?}");
    }
    alice.send("<message to='nobody@localhost' id='m'><body>x</body></message>").await?;
    assert_eq!(alice.receive().await?.condition(), Some("service-unavailable"));
    bob.nothing().await
}

/// 'Error loops' (RFC 6120 §8.3.1): an error or a result is never answered, wherever it goes.
#[tokio::test]
async fn errors_and_results_are_never_answered() -> Outcome<()> {
    let lab = Lab::new(&["alice", "bob"], &[]);
    let mut alice = lab.login("alice").await?;
    let error = "<error type='cancel'><item-not-found xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></error>";
    for to in [
        "localhost",
        "nobody@localhost",
        "bob@localhost",
        "bob@localhost/x",
        "elsewhere.example",
        "@@@",
    ] {
        for (name, kind) in
            [("message", "error"), ("presence", "error"), ("iq", "error"), ("iq", "result")]
        {
            let payload = if kind == "error" { error } else { "" };
            alice
                .send(&format!("<{name} type='{kind}' id='e' to='{to}'>{payload}</{name}>"))
                .await?;
        }
    }
    alice.nothing().await
}

/// Rule 14: addresses are normalised at the edge; what is empty after that is malformed, and other
/// spellings of an address are the same address.
#[tokio::test]
async fn addresses_are_normalised_once_at_the_edge() -> Outcome<()> {
    let lab = Lab::new(&["alice"], &[]);
    let mut alice = lab.login_as("alice", "r").await?;
    for to in [
        "\u{200b}@localhost",
        "@localhost",
        "alice@",
        "a@b@c/",
        "alice@localhost/",
        "a b@localhost",
    ] {
        alice.send(&format!("<message to='{to}' id='{to}'><body>x</body></message>")).await?;
        let bounce = alice.receive().await?;
        assert_eq!(bounce.condition(), Some("jid-malformed"), "{to}: {bounce}");
    }
    for to in ["ALICE@LOCALHOST/r", "alice@localhost./r", "\u{ff41}lice@localhost/r"] {
        alice.send(&format!("<message to='{to}' id='1'/>")).await?;
        let got = alice.receive().await?;
        assert_eq!(
            (got.attr("to"), got.attr("id")),
            (Some("alice@localhost/r"), Some("1")),
            "{to}"
        );
    }
    Ok(())
}

/// Rule 1 and 'stanzas handled too early': nobody but the registered can be registered for, and no
/// domain but ours is spoken to (RFC 6120 §10.4).
#[tokio::test]
async fn a_remote_domain_is_not_found_yet() -> Outcome<()> {
    let lab = Lab::new(&["alice"], &[]);
    let mut alice = lab.login("alice").await?;
    for stanza in [
        "<message to='x@elsewhere.example' id='1'><body>x</body></message>",
        "<iq type='get' to='elsewhere.example' id='1'><query xmlns='jabber:iq:version'/></iq>",
    ] {
        alice.send(stanza).await?;
        let bounce = alice.receive().await?;
        assert_eq!(bounce.condition(), Some("remote-server-not-found"), "{bounce}");
    }
    Ok(())
}

/// 'Billion laughs', '25 000 nested elements', 'memory amplification', odd sockets: each ends one
/// stream at most, and nothing panics.
#[tokio::test]
async fn hostile_input_ends_one_stream_and_nothing_else() -> Outcome<()> {
    let lab = Lab::new(&["alice", "bob"], &[]);
    let mut bob = lab.login("bob").await?;
    let nested = "<a>".repeat(25_000);
    let wide = format!("<message>{}</message>", "<a/>".repeat(20_000));
    let attributes: String = (0..5_000).map(|n| format!(" a{n}=''")).collect();
    let namespaces: String = (0..5_000).map(|n| format!(" xmlns:a{n}='u'")).collect();
    let name = "n".repeat(200_000);
    for hostile in [
        format!("<message>{nested}"),
        wide,
        format!("<message><x{attributes}/></message>"),
        format!("<message><x{namespaces}/></message>"),
        format!("<message><{name}></{name}x></message>"),
        format!("<message to='{name}@localhost' from='x"),
        "<".repeat(1_000),
        "</message>".to_owned(),
        "\0".to_owned(),
    ] {
        for stage in 0..2 {
            let mut client =
                if stage == 0 { lab.connect().await? } else { lab.login("alice").await? };
            let _ = client.send(&hostile).await;
            let _ = client.send("</stream:stream>").await;
            let _ = client.io.shutdown().await;
            client.ended().await?;
        }
        bob.nothing().await?;
    }
    assert!(!lab.process.log().contains("panic"), "{}", lab.process.log());
    Ok(())
}

/// XEP-0077 §14 and security.md: registration is closed unless somebody opens it, and nobody can be
/// registered from a stream in the clear.
#[tokio::test]
async fn registration_is_closed_by_default() -> Outcome<()> {
    let lab = Lab::new(&["alice"], &["modules.register.mode=closed"]);
    let mut client = Client::connect(&lab.target, Security::StartTls).await?;
    assert!(client.features.find("register").is_none());
    let ask = "<iq type='set' id='r'><query xmlns='jabber:iq:register'><username>eve</username><password>x</password></query></iq>";
    client.send(ask).await?;
    let answer = client.receive().await?;
    assert!(answer.name == "error" || answer.attr("type") == Some("error"), "{answer}");
    assert!(lab.authenticated("eve").await.is_err());
    Ok(())
}

/// 'Disabled account still usable through another path', tokens and the credential epoch: between
/// SASL and binding an account may be shut or get another password; what was logged in before that
/// opens nothing any more.
#[tokio::test]
async fn a_login_is_worth_nothing_once_the_account_was_shut() -> Outcome<()> {
    let folder = tempfile::tempdir().unwrap();
    let lab = Lab::serve(folder.path(), &[], &["alice", "bob"]);
    let data = lab.data.display().to_string();
    let user = |verb: &[&str], input: &str| {
        let args = [&["--data-dir", &data, "user"], verb].concat();
        let said = run(&args, input);
        assert!(said.ok, "{said:?}");
    };
    let mut alice = lab.authenticated("alice").await?;
    let mut bob = lab.authenticated("bob").await?;
    user(&["disable", "alice@localhost"], "");
    user(&["passwd", "bob@localhost", "--password-stdin"], "a-new-secret\n");
    for client in [&mut alice, &mut bob] {
        let bind = "<bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'/>";
        let answer = client.ask(&format!("<iq type='set' id='b'>{bind}</iq>")).await?;
        assert_eq!(answer.condition(), Some("not-authorized"), "{answer}");
    }
    Ok(())
}

/// 'Unlimited tries on a stream': an attempt that another one replaces (RFC 6120 §6.4.2) counts too,
/// as each costs a look into the store.
#[tokio::test]
async fn attempts_that_are_never_finished_are_counted() -> Outcome<()> {
    let lab = Lab::new(&["alice"], &["limits.auth_attempts_max=3"]);
    let mut client = lab.connect().await?;
    let first = BASE64.encode("n,,n=alice,r=nonce");
    let auth = format!("<auth xmlns='{SASL}' mechanism='SCRAM-SHA-256'>{first}</auth>");
    for _ in 0..3 {
        client.send(&auth).await?;
        assert_eq!(client.receive().await?.name, "challenge");
    }
    client.send(&auth).await?;
    assert_eq!(client.receive().await?.name, "failure");
    ends_with(&mut client, "policy-violation").await
}

/// Rule 9: PLAIN for an account that does not exist is hashed as long as for one that does: what the server works for it is
/// compared, not what time goes by. Made so slow that nothing else counts. A short piece of work may fall between two ticks:
/// rounds are added up until both have many, and until what else the server had to do no longer counts.
#[tokio::test]
async fn a_password_is_hashed_as_long_for_nobody_as_for_somebody() -> Outcome<()> {
    let lab = Lab::new(&["alice"], &["sasl.iterations=100000"]);
    let mut all = [0_u64; 2];
    for round in 1.. {
        for (user, all) in ["alice", "nobody"].into_iter().zip(&mut all) {
            let mut client = lab.connect().await?;
            let plain = BASE64.encode(format!("\0{user}\0wrong"));
            let begun = worked(lab.process.pid);
            client.send(&format!("<auth xmlns='{SASL}' mechanism='PLAIN'>{plain}</auth>")).await?;
            assert_eq!(client.receive().await?.name, "failure");
            *all += worked(lab.process.pid) - begun;
        }
        let [known, unknown] = all;
        if known >= 10 && unknown >= 10 && known < unknown * 2 && unknown < known * 2 {
            break;
        }
        assert!(round < 60, "{all:?} ticks of the processor in {round} rounds");
    }
    Ok(())
}

/// The time of the processor that a process has used, in ticks of the system.
fn worked(pid: u32) -> u64 {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).expect("/proc");
    // The name may have spaces in it, and is in brackets.
    let (_, fields) = stat.rsplit_once(") ").expect("a name");
    fields.split(' ').skip(11).take(2).map(|ticks| ticks.parse::<u64>().expect("a number")).sum()
}
