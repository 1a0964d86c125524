//! XEP-0484: a token instead of the password, for one device, one mechanism and a while.

use crate::harness::client::{Client, Outcome, header_to};
use crate::harness::element::{Element, STREAM};
use crate::harness::process::{Lab, PASSWORD, ends_with, run_in, sasl_condition};
use crate::harness::sasl2::{BIND2, LAPTOP, PHONE, SASL2, agent, bind, first};
use crate::harness::tls;
use base64::{Engine, engine::general_purpose::STANDARD as BASE64};
use hmac::{Hmac, Mac};
use sha2::{Digest, Sha256, Sha512};
use std::path::Path;
use stonechat::store::{Options, Store};

const FAST: &str = "urn:xmpp:fast:0";
const BOUND: &str = "HT-SHA-256-EXPR";
pub const NONE: &str = "HT-SHA-256-NONE";

/// A token as a client keeps it.
#[derive(Clone, Debug)]
pub struct Kept {
    pub user: &'static str,
    pub agent: &'static str,
    pub mechanism: String,
    pub token: String,
}

impl Kept {
    fn of(user: &'static str, agent: &'static str, mechanism: &str, success: &Element) -> Kept {
        let token = given(success).unwrap_or_else(|| panic!("no token: {success}"));
        Kept { user, agent, mechanism: mechanism.to_owned(), token }
    }

    fn with(&self, change: impl FnOnce(&mut Kept)) -> Kept {
        let mut kept = self.clone();
        change(&mut kept);
        kept
    }

    /// HMAC(token, who || cb-data)
    fn hmac(&self, client: &Client, who: &[u8]) -> Vec<u8> {
        let binding = match self.mechanism.rsplit('-').next() {
            Some("EXPR") => client.io.tls_exporter().unwrap(),
            // Our own certificates are signed with SHA-256 (RFC 5929 §4.1).
            Some("ENDP") => Sha256::digest(tls::certificate(client).unwrap()).to_vec(),
            _ => Vec::new(),
        };
        let data = [who, &binding].concat();
        if self.mechanism.contains("512") {
            let mut mac = Hmac::<Sha512>::new_from_slice(self.token.as_bytes()).unwrap();
            mac.update(&data);
            mac.finalize().into_bytes().to_vec()
        } else {
            let mut mac = Hmac::<Sha256>::new_from_slice(self.token.as_bytes()).unwrap();
            mac.update(&data);
            mac.finalize().into_bytes().to_vec()
        }
    }

    /// The whole request; `attrs` are those of `<fast/>`.
    fn request(&self, client: &Client, attrs: &str, inner: &str) -> String {
        let mac = self.hmac(client, b"Initiator");
        let message = [self.user.as_bytes(), b"\0", &mac].concat();
        let inner = format!("{}<fast xmlns='{FAST}' {attrs}/>{inner}", agent(self.agent));
        first(&self.mechanism, &message, &inner)
    }

    /// Logs in on a stream of its own and binds: the `<success/>` or the `<failure/>`.
    async fn log_in(&self, lab: &Lab, attrs: &str, inner: &str) -> Outcome<(Client, Element)> {
        let mut client = lab.connect().await?;
        let request = self.request(&client, attrs, &format!("{inner}{}", bind("")));
        client.send(&request).await?;
        let answer = client.receive().await?;
        if answer.is(SASL2, "success") {
            self.prove(&mut client, &answer).await?;
        }
        Ok((client, answer))
    }

    /// What the server has to say for itself.
    async fn prove(&self, client: &mut Client, success: &Element) -> Outcome<()> {
        let data = success.child(SASL2, "additional-data").map(|data| data.text.clone());
        assert_eq!(data, Some(BASE64.encode(self.hmac(client, b"Responder"))), "{success}");
        client.entered(success).await
    }

    pub async fn works(&self, lab: &Lab) -> Outcome<(Client, Element)> {
        let (client, answer) = self.log_in(lab, "", "").await?;
        match answer.child(BIND2, "bound") {
            Some(_) => Ok((client, answer)),
            None => client.fail(format!("not let in: {answer}")),
        }
    }

    async fn fails(&self, lab: &Lab, condition: &str) -> Outcome<()> {
        self.fails_with(lab, "", condition).await
    }

    async fn fails_with(&self, lab: &Lab, attrs: &str, condition: &str) -> Outcome<()> {
        let (client, answer) = self.log_in(lab, attrs, "").await?;
        if !answer.is(SASL2, "failure") || sasl_condition(&answer) != condition {
            return client.fail(format!("{condition} was expected, this came: {answer}"));
        }
        Ok(())
    }
}

fn wish(mechanism: &str) -> String {
    format!("<request-token xmlns='{FAST}' mechanism='{mechanism}'/>")
}

/// The token in a `<success/>`, if there is one.
fn given(success: &Element) -> Option<String> {
    let token = success.child(FAST, "token")?;
    let expiry = stonechat::base::time::parse(token.attr("expiry")?)?;
    assert!(expiry > std::time::SystemTime::now());
    token.attr("token").map(str::to_owned)
}

/// Logs in with the password and asks for a token.
async fn enrol(
    lab: &Lab,
    user: &'static str,
    id: &'static str,
    mechanism: &str,
) -> Outcome<(Client, Kept)> {
    let mut client = lab.connect().await?;
    let inner = format!("{}{}{}", agent(id), wish(mechanism), bind(""));
    let success = client.sasl2("SCRAM-SHA-1", user, &inner).await?;
    let kept = Kept::of(user, id, mechanism, &success);
    Ok((client, kept))
}

fn lab() -> Lab {
    // Failures are what these tests are about: no delay for them.
    Lab::new(&["romeo", "juliet"], &["sasl.delay_first_ms=0", "sasl.delay_max_ms=0"])
}

/// §3.1, §3.4: from TLS to a bound stream with all that goes with it, and nothing waited for.
#[tokio::test]
async fn one_round_trip_leads_from_tls_to_a_bound_stream() -> Outcome<()> {
    let lab = lab();
    let (mut first, kept) = enrol(&lab, "romeo", PHONE, BOUND).await?;
    first.close().await?;
    let mut client = Client::dial(&lab.target, lab.target.c2s_tls.unwrap()).await?;
    client.handshake(&["xmpp-client"]).await?;
    let header = header_to("localhost").replace(" to=", " from='romeo@localhost' to=");
    let ping = "<iq type='get' id='p'><ping xmlns='urn:xmpp:ping'/></iq>";
    let request = kept.request(&client, "", &bind(""));
    client.send(&format!("{header}{request}<presence/>{ping}")).await?;
    let features = client.receive().await?;
    assert!(features.is(STREAM, "features") && features.find("fast").is_some(), "{features}");
    let success = client.receive().await?;
    kept.prove(&mut client, &success).await?;
    assert!(client.jid.starts_with("romeo@localhost/"), "{success}");
    assert!(given(&success).is_none(), "not due: {success}");
    let own = client.receive().await?;
    assert_eq!((own.name.as_str(), own.attr("from")), ("presence", Some(&*client.jid)));
    assert_eq!(client.receive().await?.attr("id"), Some("p"));
    Ok(())
}

/// §3.1 to §3.4, with each mechanism.
#[tokio::test]
async fn every_mechanism_that_is_offered_works() -> Outcome<()> {
    let lab = lab();
    let client = lab.connect().await?;
    let fast = client.features.find("fast").unwrap().clone();
    assert_eq!(fast.attr("tls-0rtt"), None);
    let names: Vec<_> = fast.children.iter().map(|offered| offered.text.clone()).collect();
    assert_eq!(
        names.join(" "),
        "HT-SHA-512-EXPR HT-SHA-256-EXPR HT-SHA-512-ENDP HT-SHA-256-ENDP HT-SHA-512-NONE \
         HT-SHA-256-NONE"
    );
    for name in names {
        let (_, kept) = enrol(&lab, "romeo", PHONE, &name).await?;
        kept.works(&lab).await?;
        kept.works(&lab).await?;
        // §3.4: and no other.
        for other in [BOUND, NONE, "HT-SHA-512-ENDP"].iter().filter(|other| **other != name) {
            let other = kept.with(|kept| kept.mechanism = (*other).to_owned());
            other.fails(&lab, "credentials-expired").await?;
        }
        kept.works(&lab).await?;
    }
    Ok(())
}

/// §3.2, §4.1: who does not say which device it is, or asks for what is not offered, gets none.
#[tokio::test]
async fn tokens_are_for_clients_that_ask_for_them_and_tell_who_they_are() -> Outcome<()> {
    let lab = lab();
    let nameless = "<user-agent><software>x</software></user-agent>";
    for inner in [
        agent(PHONE),
        wish(BOUND),
        format!("{nameless}{}", wish(BOUND)),
        format!("{}{}", agent(PHONE), wish("HT-SHA-256-UNIQ")),
        format!("{}{}", agent(PHONE), wish("SCRAM-SHA-1")),
        format!("{}{}", agent(PHONE), wish("")),
    ] {
        let mut client = lab.connect().await?;
        let success = client.sasl2("SCRAM-SHA-1", "romeo", &inner).await?;
        assert!(success.is(SASL2, "success") && given(&success).is_none(), "{inner}: {success}");
    }
    let off = Lab::new(&["romeo"], &["modules.devices.token_days=0"]);
    let mut client = off.connect().await?;
    assert!(client.features.find("fast").is_none());
    let success = client.sasl2("SCRAM-SHA-1", "romeo", &(agent(PHONE) + &wish(BOUND))).await?;
    assert!(given(&success).is_none(), "{success}");
    Ok(())
}

/// §3.4 and the mechanism's own syntax.
#[tokio::test]
async fn requests_that_are_no_login_by_token_fail() -> Outcome<()> {
    let lab = lab();
    let (_, kept) = enrol(&lab, "romeo", PHONE, NONE).await?;
    let probe = lab.connect().await?;
    let mac = kept.hmac(&probe, b"Initiator");
    let good = [b"romeo\0", &mac[..]].concat();
    let fast = format!("<fast xmlns='{FAST}'/>");
    let (me, nobody) = (agent(PHONE), String::new());
    for (mechanism, message, inner, want) in [
        (NONE, &good, format!("{me}{fast}"), ""),
        (NONE, &good, me.clone(), "malformed-request"),
        (NONE, &good, format!("{nobody}{fast}"), "malformed-request"),
        ("PLAIN", &good, format!("{me}{fast}"), "invalid-mechanism"),
        ("HT-SHA-256-UNIQ", &good, format!("{me}{fast}"), "invalid-mechanism"),
        (NONE, &b"romeo".to_vec(), format!("{me}{fast}"), "malformed-request"),
        (NONE, &Vec::new(), format!("{me}{fast}"), "malformed-request"),
        (NONE, &[b"juliet\0", &mac[..]].concat(), format!("{me}{fast}"), "credentials-expired"),
        (NONE, &[b"nobody\0", &mac[..]].concat(), format!("{me}{fast}"), "credentials-expired"),
        (NONE, &good, format!("{me}{fast}").replace("/>", " count='x'/>"), "malformed-request"),
    ] {
        let mut client = lab.connect().await?;
        client.send(&first(mechanism, message, &inner)).await?;
        let answer = client.receive().await?;
        let got = if answer.is(SASL2, "success") { "" } else { sasl_condition(&answer) };
        assert_eq!(got, want, "{mechanism} {inner}: {answer}");
    }
    // One message is all there is: nobody is asked for it.
    let mut client = lab.connect().await?;
    let open =
        format!("<authenticate xmlns='{SASL2}' mechanism='{NONE}'>{me}{fast}</authenticate>");
    client.send(&open).await?;
    assert_eq!(sasl_condition(&client.receive().await?), "malformed-request");
    // Nor does the old profile know the mechanisms.
    let mut client = lab.connect().await?;
    let auth = format!(
        "<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='{NONE}'>{}</auth>",
        BASE64.encode(&good)
    );
    client.send(&auth).await?;
    assert_eq!(sasl_condition(&client.receive().await?), "invalid-mechanism");
    Ok(())
}

/// A token is of one account, one device and one channel.
#[tokio::test]
async fn a_token_works_for_nobody_else() -> Outcome<()> {
    let lab = lab();
    let (_, kept) = enrol(&lab, "romeo", PHONE, BOUND).await?;
    enrol(&lab, "juliet", PHONE, BOUND).await?;
    enrol(&lab, "romeo", LAPTOP, BOUND).await?;
    kept.with(|kept| kept.user = "juliet").fails(&lab, "credentials-expired").await?;
    kept.with(|kept| kept.user = "nobody").fails(&lab, "credentials-expired").await?;
    kept.with(|kept| kept.agent = LAPTOP).fails(&lab, "credentials-expired").await?;
    kept.with(|kept| kept.token.push('=')).fails(&lab, "credentials-expired").await?;
    // What was seen on one channel is worth nothing on another.
    let (seen, mut client) = (lab.connect().await?, lab.connect().await?);
    client.send(&kept.request(&seen, "", "")).await?;
    assert_eq!(sasl_condition(&client.receive().await?), "credentials-expired");
    kept.works(&lab).await?;
    Ok(())
}

/// §3.5, §5.1
#[tokio::test]
async fn a_token_lasts_until_its_successor_is_used() -> Outcome<()> {
    let lab = Lab::new(&["romeo"], &["modules.devices.rotate_hours=0", "sasl.delay_first_ms=0"]);
    let (_, one) = enrol(&lab, "romeo", PHONE, BOUND).await?;
    let (_, success) = one.works(&lab).await?;
    let lost = Kept::of("romeo", PHONE, BOUND, &success);
    // The client did not get it, and comes with the old one: what was not used is over.
    let (_, success) = one.works(&lab).await?;
    let two = Kept::of("romeo", PHONE, BOUND, &success);
    assert!(two.token != lost.token && two.token != one.token);
    lost.fails(&lab, "credentials-expired").await?;
    let (_, success) = two.works(&lab).await?;
    one.fails(&lab, "credentials-expired").await?;
    // Rotation keeps the mechanism; another one has to be asked for.
    let three = Kept::of("romeo", PHONE, BOUND, &success);
    let (_, success) = three.log_in(&lab, "", &wish(NONE)).await?;
    Kept::of("romeo", PHONE, NONE, &success).works(&lab).await?;
    three.fails(&lab, "credentials-expired").await?;
    Ok(())
}

/// Two connections of a device at once, with a token that was never used before: it is good for both, and
/// its count as well where that rises (§3.4). Who is told `credentials-expired` throws it away (§4.1).
#[tokio::test]
async fn a_fresh_token_may_come_twice_at_once() -> Outcome<()> {
    let lab = lab();
    for round in 0..10 {
        let (_, kept) = enrol(&lab, "romeo", PHONE, BOUND).await?;
        let mut clients = [lab.connect().await?, lab.connect().await?, lab.connect().await?];
        for client in &mut clients {
            let request = kept.request(client, "", &bind(""));
            client.send(&request).await?;
        }
        for client in &mut clients {
            let answer = client.receive().await?;
            assert!(answer.is(SASL2, "success"), "round {round}: {answer}");
            kept.prove(client, &answer).await?;
        }
        kept.works(&lab).await?;
    }
    Ok(())
}

/// §3.4: checked whenever it is sent.
#[tokio::test]
async fn a_count_must_rise() -> Outcome<()> {
    let lab = lab();
    let (_, kept) = enrol(&lab, "romeo", PHONE, BOUND).await?;
    for (count, works) in [("1", true), ("1", false), ("3", true), ("2", false), ("4", true)] {
        let attrs = format!("count='{count}'");
        match works {
            true => assert!(kept.log_in(&lab, &attrs, "").await?.1.is(SASL2, "success")),
            false => kept.fails_with(&lab, &attrs, "credentials-expired").await?,
        }
    }
    kept.works(&lab).await?;
    Ok(())
}

/// §3.6
#[tokio::test]
async fn a_client_ends_its_token() -> Outcome<()> {
    let lab = Lab::new(&["romeo"], &["modules.devices.rotate_hours=0", "sasl.delay_first_ms=0"]);
    let (_, kept) = enrol(&lab, "romeo", PHONE, BOUND).await?;
    let (mut client, success) = kept.log_in(&lab, "invalidate='true'", "").await?;
    assert!(success.is(SASL2, "success") && given(&success).is_none(), "{success}");
    client.fence().await?;
    kept.fails(&lab, "credentials-expired").await?;
    // With a wish there is another one.
    let (_, kept) = enrol(&lab, "romeo", PHONE, BOUND).await?;
    let (_, success) = kept.log_in(&lab, "invalidate='1'", &wish(NONE)).await?;
    kept.fails(&lab, "credentials-expired").await?;
    Kept::of("romeo", PHONE, NONE, &success).works(&lab).await?;
    Ok(())
}

fn stonechat(folder: &Path, args: &[&str], input: &str) -> String {
    let common = ["--data-dir", "data", "--set", "sasl.iterations=4096", "user"];
    let said = run_in(folder, &[&common, args].concat(), input);
    assert!(said.ok, "{args:?}: {}", said.err);
    said.out
}

/// security.md: what shuts the account, or the device, ends its tokens and its sessions.
#[tokio::test]
async fn a_revoked_device_a_new_password_and_a_shut_account_end_tokens_and_sessions() -> Outcome<()>
{
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    let lab = Lab::serve(at, &["--set", "sasl.delay_first_ms=0"], &["romeo"]);
    let (mut phone, token) = enrol(&lab, "romeo", PHONE, BOUND).await?;
    let (mut laptop, other) = enrol(&lab, "romeo", LAPTOP, BOUND).await?;
    phone.fence().await?;
    let listed = stonechat(at, &["devices", "romeo@localhost"], "");
    assert_eq!(listed.lines().count(), 2, "{listed}");
    assert!(listed.contains("Tester, Bench; first seen") && listed.contains("token until"));
    let name = stonechat::base::credential::AgentId::of(PHONE).name();
    stonechat(at, &["revoke", "romeo@localhost", &name], "");
    ends_with(&mut phone, "not-authorized").await?;
    token.fails(&lab, "credentials-expired").await?;
    laptop.fence().await?;
    let (mut laptop, _) = other.works(&lab).await?;

    for verb in ["passwd", "disable", "revoke"] {
        let args: &[&str] = match verb {
            "passwd" => &[verb, "romeo@localhost", "--password-stdin"],
            "disable" => &[verb, "romeo@localhost"],
            _ => &[verb, "romeo@localhost", "--all"],
        };
        stonechat(at, args, PASSWORD);
        ends_with(&mut laptop, "not-authorized").await?;
        other.fails(&lab, "credentials-expired").await?;
        if verb == "disable" {
            stonechat(at, &["enable", "romeo@localhost"], "");
            other.fails(&lab, "credentials-expired").await?;
        }
        let (again, kept) = enrol(&lab, "romeo", LAPTOP, BOUND).await?;
        other.fails(&lab, "credentials-expired").await?;
        kept.works(&lab).await?;
        (laptop, _) = enrol(&lab, "romeo", LAPTOP, BOUND).await?;
        drop(again);
    }
    Ok(())
}

/// security.md: a session that goes on at another device is that device's, and by token it does not
/// take the account over.
#[tokio::test]
async fn a_session_goes_on_as_the_device_that_resumed_it() -> Outcome<()> {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    let lab = Lab::serve(at, &["--set", "sasl.delay_first_ms=0"], &["romeo"]);
    let (_, laptop) = enrol(&lab, "romeo", LAPTOP, NONE).await?;
    let enable = "<enable xmlns='urn:xmpp:sm:3' resume='true'/>";
    let (phone, bound) = lab.bound("romeo", &agent(PHONE), enable).await?;
    let id = bound.find("enabled").and_then(|e| e.attr("id")).expect("an id").to_owned();
    let mut client = lab.connect().await?;
    let resume = format!("<resume xmlns='urn:xmpp:sm:3' previd='{id}' h='0'/>");
    client.send(&laptop.request(&client, "", &resume)).await?;
    let success = client.receive().await?;
    assert!(success.find("resumed").is_some(), "{success}");
    drop(phone);
    let new = "<username>romeo</username><password>stolen</password>";
    for asked in [new, "<remove/>"] {
        let query = format!("<query xmlns='jabber:iq:register'>{asked}</query>");
        let answer = client.ask(&format!("<iq type='set' id='r'>{query}</iq>")).await?;
        assert_eq!(answer.condition(), Some("not-authorized"), "{answer}");
    }
    let name = stonechat::base::credential::AgentId::of(PHONE).name();
    stonechat(at, &["revoke", "romeo@localhost", &name], "");
    client.fence().await?;
    let name = stonechat::base::credential::AgentId::of(LAPTOP).name();
    stonechat(at, &["revoke", "romeo@localhost", &name], "");
    ends_with(&mut client, "not-authorized").await
}

/// §4.2: who comes with a token that is too old is told so, and nobody else.
#[tokio::test]
async fn a_token_expires_and_outlives_a_restart() -> Outcome<()> {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    let args = ["--set", "sasl.delay_first_ms=0"];
    let lab = Lab::serve(at, &args, &["romeo"]);
    let (_, kept) = enrol(&lab, "romeo", PHONE, NONE).await?;
    stop(lab);
    let lab = Lab::serve(at, &args, &[]);
    kept.works(&lab).await?;
    stop(lab);
    let store = Store::open(Options::new(at.join("data/stonechat.db"))).unwrap();
    store.write(|tx| tx.execute("UPDATE token SET expires = issued", &[])).await.unwrap();
    store.close().await;
    let lab = Lab::serve(at, &args, &[]);
    kept.fails(&lab, "credentials-expired").await?;
    kept.with(|kept| kept.token.push('x')).fails(&lab, "credentials-expired").await?;
    Ok(())
}

fn stop(mut lab: Lab) {
    lab.process.signal("TERM");
    assert!(lab.process.exit().success());
}

/// A backup may hold what was revoked since: none of its tokens works.
#[tokio::test]
async fn a_restored_backup_knows_no_token() -> Outcome<()> {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    let args = ["--set", "sasl.delay_first_ms=0"];
    let lab = Lab::serve(at, &args, &["romeo"]);
    let (_, kept) = enrol(&lab, "romeo", PHONE, BOUND).await?;
    stop(lab);
    for verb in ["backup", "restore"] {
        let said = run_in(at, &["--data-dir", "data", verb, "copy.db"], "");
        assert!(said.ok, "{verb}: {}", said.err);
    }
    let lab = Lab::serve(at, &args, &[]);
    kept.fails(&lab, "credentials-expired").await?;
    let (_, kept) = enrol(&lab, "romeo", PHONE, BOUND).await?;
    kept.works(&lab).await?;
    Ok(())
}
