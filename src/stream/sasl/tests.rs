//! Whole attempts, with the client side of the `sasl` crate as an independent peer.

use super::*;
use crate::base::id::OsRng;
use proptest::prelude::*;
use sasl::client::Mechanism as Client;
use sasl::client::mechanisms::{Plain, Scram};
use sasl::common::scram::{ScramProvider, Sha1, Sha256};
use sasl::common::{ChannelBinding, Credentials};

const DOMAIN: &str = "example.com";
const ROUNDS: u32 = 16;
const BINDING: &[u8] = b"the exporter's secret";

fn offer(bindings: ChannelBindings) -> Offer {
    Offer::new(&Mechanism::ALL, bindings)
}

fn unbound() -> Offer {
    offer(ChannelBindings::default())
}

fn bound() -> Offer {
    let tls_server_end_point = Some(b"the certificate's hash".to_vec());
    let tls_exporter = Some(BINDING.to_vec());
    offer(ChannelBindings { tls_exporter, tls_server_end_point, lacks_default: false })
}

fn start(offer: &Offer, mechanism: &str, initial: Option<&[u8]>) -> (Exchange, Step) {
    Exchange::start(offer, DOMAIN, mechanism, initial, &mut OsRng, &[1; 32], ROUNDS)
}

fn done() -> WorkDone {
    WorkDone { matches: true, known: true, localpart: "user".to_owned() }
}

/// The store: one account, `user`, with the password `pencil`.
fn store(localpart: &str, hash: HashName) -> Option<ScramKeys> {
    let known = localpart == "user";
    known.then(|| keys::derive("pencil", hash, b"salt of the user", ROUNDS).ok().unwrap())
}

/// Does what a caller does on its own until the client must answer or the attempt ends.
fn settle(exchange: &mut Exchange, mut step: Step) -> Step {
    loop {
        step = match step {
            Step::NeedKeys { localpart, hash } => exchange.keys(store(&localpart, hash)),
            Step::NeedAnyKeys { localpart, prefer } => exchange.keys(store(&localpart, prefer)),
            Step::Work(work) => exchange.worked(work.run()),
            done => return done,
        }
    }
}

fn show(step: &Step) -> String {
    match step {
        Step::Challenge(data) => format!("challenge {}", String::from_utf8_lossy(data)),
        Step::NeedKeys { localpart, .. } | Step::NeedAnyKeys { localpart, .. } => {
            format!("keys {localpart}")
        }
        Step::NeedTokens(message) => format!("tokens {}", message.localpart()),
        Step::Work(_) => "work".to_owned(),
        Step::Success { who: Identity::Account { localpart }, .. } => {
            format!("success {localpart}")
        }
        Step::Success { who: Identity::Anonymous, .. } => "success".to_owned(),
        Step::Failure(failure) => failure.condition().to_owned(),
    }
}

/// Runs a whole attempt with the crate's client, which also checks the server's signature.
fn log_in(offer: &Offer, client: &mut dyn Client) -> String {
    let initial = client.initial();
    let (mut exchange, step) = start(offer, client.name(), Some(&initial));
    let mut step = settle(&mut exchange, step);
    while let Step::Challenge(challenge) = step {
        let response = client.response(&challenge).unwrap();
        let next = exchange.respond(&response);
        step = settle(&mut exchange, next);
    }
    if let Step::Success { data: Some(data), .. } = &step {
        client.success(data).unwrap();
    }
    show(&step)
}

fn credentials(user: &str, password: &str, binding: ChannelBinding) -> Credentials {
    let credentials = Credentials::default().with_username(user).with_password(password);
    credentials.with_channel_binding(binding)
}

fn scram<S: ScramProvider>(offer: &Offer, user: &str, pw: &str, binding: ChannelBinding) -> String {
    let mut client = Scram::<S>::from_credentials(credentials(user, pw, binding)).unwrap();
    log_in(offer, &mut client)
}

#[test]
fn the_crate_s_client_logs_in_with_every_hash() {
    use ChannelBinding::{None, TlsExporter, TlsUnique, Unsupported};
    for login in [scram::<Sha1>, scram::<Sha256>, scram::<hash::Sha512>] {
        for (offer, user, password, binding, want) in [
            (unbound(), "user", "pencil", None, "success user"),
            (unbound(), "User", "pencil", None, "success user"),
            (unbound(), "user", "pencil", Unsupported, "success user"),
            (bound(), "user", "pencil", None, "success user"),
            (bound(), "user", "pencil", TlsExporter(BINDING.to_vec()), "success user"),
            (unbound(), "user", "Pencil", None, "not-authorized"),
            (unbound(), "nobody", "pencil", None, "not-authorized"),
            // Downgrades and men in the middle.
            (bound(), "user", "pencil", Unsupported, "not-authorized"),
            (bound(), "user", "pencil", TlsExporter(b"another".to_vec()), "not-authorized"),
            (bound(), "user", "pencil", TlsUnique(BINDING.to_vec()), "not-authorized"),
            (unbound(), "user", "pencil", TlsExporter(BINDING.to_vec()), "invalid-mechanism"),
        ] {
            assert_eq!(login(&offer, user, password, binding.clone()), want, "{user} {binding:?}");
        }
    }
}

#[test]
fn the_crate_s_client_logs_in_with_plain() {
    for (user, password, want) in [
        ("user", "pencil", "success user"),
        ("USER", "pen\u{ad}cil", "success user"),
        ("user", "pencil2", "not-authorized"),
        ("user", "\u{7}", "not-authorized"),
        ("nobody", "pencil", "not-authorized"),
        ("no body", "pencil", "not-authorized"),
        ("user@example.com", "pencil", "not-authorized"),
        ("user", "", "malformed-request"),
        ("", "pencil", "malformed-request"),
    ] {
        assert_eq!(log_in(&unbound(), &mut Plain::new(user, password)), want, "{user}");
    }
}

#[test]
fn first_messages_end_as_they_should() {
    let too_long = [b"n,,n=user,r=".to_vec(), vec![b'a'; SASL_BYTES_MAX]].concat();
    let trace = "\u{e9}".repeat(255);
    for (mechanism, initial, want) in [
        ("SCRAM-SHA-1", &b"n,,n=user,r=a"[..], "keys user"),
        ("SCRAM-SHA-1", b"n,a=user@example.com,n=USER,r=a", "keys user"),
        ("SCRAM-SHA-1", b"n,a=User@EXAMPLE.com.,n=user,r=a", "keys user"),
        ("SCRAM-SHA-1", b"n,a=user,n=user,r=a", "keys user"),
        ("SCRAM-SHA-1", b"n,a=admin,n=user,r=a", "invalid-authzid"),
        ("SCRAM-SHA-1", b"n,a=admin@example.com,n=user,r=a", "invalid-authzid"),
        ("SCRAM-SHA-1", b"n,a=user@example.net,n=user,r=a", "invalid-authzid"),
        ("SCRAM-SHA-1", b"n,a=user@example.com/x,n=user,r=a", "invalid-authzid"),
        ("SCRAM-SHA-1", b"n,a=example.com,n=user,r=a", "invalid-authzid"),
        ("SCRAM-SHA-1", b"n,a=@,n=user,r=a", "invalid-authzid"),
        ("SCRAM-SHA-1", b"n,,n=us er,r=a", "not-authorized"),
        ("SCRAM-SHA-1", b"n,,n=user=2C,r=a", "keys user,"),
        ("SCRAM-SHA-1", b"n,,n=user=,r=a", "malformed-request"),
        ("SCRAM-SHA-1", b"n,,m=1,n=user,r=a", "malformed-request"),
        ("SCRAM-SHA-1", b"n,,n=us\xff,r=a", "malformed-request"),
        ("SCRAM-SHA-1", b"", "malformed-request"),
        ("SCRAM-SHA-1", &too_long, "malformed-request"),
        ("SCRAM-SHA-1", b"y,,n=user,r=a", "not-authorized"),
        ("SCRAM-SHA-1", b"p=tls-exporter,,n=user,r=a", "malformed-request"),
        ("SCRAM-SHA-1-PLUS", b"p=tls-exporter,,n=user,r=a", "keys user"),
        ("SCRAM-SHA-1-PLUS", b"p=tls-server-end-point,,n=user,r=a", "keys user"),
        ("SCRAM-SHA-1-PLUS", b"p=tls-unique,,n=user,r=a", "not-authorized"),
        ("SCRAM-SHA-1-PLUS", b"n,,n=user,r=a", "malformed-request"),
        ("SCRAM-SHA-1-PLUS", b"y,,n=user,r=a", "malformed-request"),
        ("PLAIN", b"\0user\0pencil", "keys user"),
        ("PLAIN", b"user@example.com\0user\0pencil", "keys user"),
        ("PLAIN", b"user\0user\0pencil", "keys user"),
        ("PLAIN", b"admin@example.com\0user\0pencil", "invalid-authzid"),
        ("PLAIN", b"\0user\0pencil\0", "malformed-request"),
        ("PLAIN", b"", "malformed-request"),
        ("ANONYMOUS", b"", "success"),
        ("ANONYMOUS", b"sirhc", "success"),
        ("ANONYMOUS", trace.as_bytes(), "success"),
        ("ANONYMOUS", &[b'a'; 256], "malformed-request"),
        ("ANONYMOUS", b"a\nb", "malformed-request"),
        ("ANONYMOUS", b"\xff", "malformed-request"),
        ("DIGEST-MD5", b"", "invalid-mechanism"),
        ("plain", b"\0user\0pencil", "invalid-mechanism"),
        ("", b"", "invalid-mechanism"),
    ] {
        let (mut exchange, step) = start(&bound(), mechanism, Some(initial));
        assert_eq!(show(&step), want, "{mechanism} {}", String::from_utf8_lossy(initial));
        // Out of turn, and after the end.
        assert_eq!(show(&exchange.respond(b"")), "malformed-request");
        assert_eq!(show(&exchange.keys(None)), "temporary-auth-failure");
        assert_eq!(show(&exchange.worked(done())), "temporary-auth-failure");
    }
}

#[test]
fn only_what_is_offered_works() {
    let offer = Offer::new(&[Mechanism::ScramSha256], ChannelBindings::default());
    for mechanism in Mechanism::ALL {
        let (_, step) = start(&offer, mechanism.as_str(), Some(b"n,,n=user,r=a"));
        let want =
            if mechanism == Mechanism::ScramSha256 { "keys user" } else { "invalid-mechanism" };
        assert_eq!(show(&step), want);
    }
}

#[test]
fn a_missing_initial_response_is_asked_for() {
    for mechanism in Mechanism::ALL {
        let (mut exchange, step) = start(&bound(), mechanism.as_str(), None);
        let (answer, want) = match mechanism {
            // XEP-0175 §4
            Mechanism::Anonymous => {
                assert_eq!(show(&step), "success");
                continue;
            }
            Mechanism::Plain => (&b"\0user\0pencil"[..], "keys user"),
            m if m.is_plus() => (&b"p=tls-exporter,,n=user,r=a"[..], "keys user"),
            _ => (&b"n,,n=user,r=a"[..], "keys user"),
        };
        assert_eq!(show(&step), "challenge ");
        assert_eq!(show(&exchange.respond(answer)), want);
    }
}

/// The last message of an honest client, for tests to falsify.
fn honest_final(server_first: &str, gs2: &[u8]) -> (String, String) {
    let field = |name| server_first.split(',').find_map(|a| a.strip_prefix(name)).unwrap();
    let salt = crate::base::hash::unbase64(field("s=")).unwrap();
    let password = sasl::common::Password::Plain("pencil".to_owned());
    let salted = Sha1::derive(&password, &salt, field("i=").parse().unwrap()).unwrap();
    let client_key = Sha1::hmac(b"Client Key", &salted).unwrap();
    let without_proof = format!("c={},r={}", base64(gs2), field("r="));
    let message = format!("n=user,r=a,{server_first},{without_proof}");
    let signature = Sha1::hmac(message.as_bytes(), &Sha1::hash(&client_key)).unwrap();
    let proof: Vec<u8> = client_key.iter().zip(signature).map(|(k, s)| k ^ s).collect();
    (without_proof, base64(&proof))
}

#[test]
fn final_messages_end_as_they_should() {
    type Bend = fn(&str, &str) -> Vec<u8>;
    let cases: [(Bend, &str); 11] = [
        (|w, p| format!("{w},p={p}").into(), "success user"),
        (|w, p| format!("{w},x=1,p={p}").into(), "not-authorized"),
        (|w, p| format!("{w}x,p={p}").into(), "not-authorized"),
        (|w, p| format!("{},p={p}", w.replace("c=biws", "c=eSws")).into(), "not-authorized"),
        (|w, _| format!("{w},p=YQ==").into(), "not-authorized"),
        (|w, p| format!("{w},p={}", p.trim_end_matches('=')).into(), "malformed-request"),
        (|w, p| format!("{w},m=1,p={p}").into(), "malformed-request"),
        (|w, p| format!("{w},p={p},x=1").into(), "malformed-request"),
        (|w, _| w.into(), "malformed-request"),
        (|_, _| Vec::new(), "malformed-request"),
        (|_, _| vec![b'a'; SASL_BYTES_MAX + 1], "malformed-request"),
    ];
    for (index, (bend, want)) in cases.into_iter().enumerate() {
        let (mut exchange, step) = start(&unbound(), "SCRAM-SHA-1", Some(b"n,,n=user,r=a"));
        let Step::Challenge(first) = settle(&mut exchange, step) else { panic!() };
        let (without_proof, proof) = honest_final(std::str::from_utf8(&first).unwrap(), b"n,,");
        let bent = bend(&without_proof, &proof);
        assert_eq!(show(&exchange.respond(&bent)), want, "case {index}");
        assert_eq!(show(&exchange.respond(&bent)), "malformed-request", "over");
    }
}

/// A right proof does not help a client that binds to nothing where `c=` should contain the binding.
#[test]
fn a_signed_but_wrong_channel_binding_fails() {
    let (mut exchange, step) = start(&unbound(), "SCRAM-SHA-1", Some(b"n,,n=user,r=a"));
    let Step::Challenge(first) = settle(&mut exchange, step) else { panic!() };
    let (without, proof) = honest_final(std::str::from_utf8(&first).unwrap(), b"y,,");
    assert_eq!(
        show(&exchange.respond(format!("{without},p={proof}").as_bytes())),
        "not-authorized"
    );
}

fn challenge_for(user: &str, mechanism: &str) -> String {
    let first = format!("n,,n={user},r=a");
    let (mut exchange, step) = start(&unbound(), mechanism, Some(first.as_bytes()));
    let Step::Challenge(data) = settle(&mut exchange, step) else { panic!() };
    let text = String::from_utf8(data).unwrap();
    text.split_once(',').unwrap().1.to_owned()
}

#[test]
fn an_unknown_user_is_challenged_like_a_known_one() {
    for mechanism in ["SCRAM-SHA-1", "SCRAM-SHA-256", "SCRAM-SHA-512"] {
        let (known, unknown) =
            (challenge_for("user", mechanism), challenge_for("nobody", mechanism));
        assert_eq!(known.len(), unknown.len());
        assert_eq!(known.split_once(",i=").unwrap().1, unknown.split_once(",i=").unwrap().1);
        assert_eq!(unknown, challenge_for("nobody", mechanism), "the salt stays");
        assert_eq!(unknown, challenge_for("NoBody", mechanism), "the salt belongs to the account");
        assert_ne!(unknown, challenge_for("nobody2", mechanism));
    }
}

#[test]
fn plain_works_as_hard_for_an_unknown_user() {
    for user in ["user", "nobody"] {
        let message = format!("\0{user}\0pencil");
        let (mut exchange, step) = start(&unbound(), "PLAIN", Some(message.as_bytes()));
        let Step::NeedAnyKeys { localpart, prefer } = step else { panic!() };
        let Step::Work(work) = exchange.keys(store(&localpart, prefer)) else { panic!() };
        assert_eq!((work.keys.hash, work.keys.iterations), (prefer, ROUNDS));
    }
}

#[test]
fn the_work_of_one_attempt_does_not_decide_another() {
    let begin = |message: &[u8]| {
        let (mut exchange, step) = start(&unbound(), "PLAIN", Some(message));
        let Step::NeedAnyKeys { localpart, prefer } = step else { panic!() };
        let Step::Work(work) = exchange.keys(store(&localpart, prefer)) else { panic!() };
        (exchange, work)
    };
    let (mut own, work) = begin(b"\0user\0pencil");
    let (mut other, _) = begin(b"\0admin\0guess");
    let done = work.run();
    assert_eq!(show(&other.worked(done.clone())), "not-authorized");
    assert_eq!(show(&own.worked(done)), "success user");
}

#[test]
fn keys_of_another_hash_are_no_keys() {
    let (mut exchange, step) = start(&unbound(), "SCRAM-SHA-1", Some(b"n,,n=user,r=a"));
    assert_eq!(show(&step), "keys user");
    let step = exchange.keys(store("user", HashName::Sha512));
    let want = challenge_for("user", "SCRAM-SHA-1");
    let got = show(&step).split_once(',').unwrap().1.to_owned();
    assert!(got.len() == want.len() && got != want, "a fake challenge");
}

/// XEP-0474 §6.1
#[test]
fn every_challenge_carries_the_hash_of_the_offer() {
    let want = hash::digest(HashName::Sha256, unbound().protected_text().as_bytes());
    let challenge = challenge_for("user", "SCRAM-SHA-256");
    assert!(challenge.ends_with(&format!(",h={}", base64(&want))), "{challenge}");
}

proptest! {
    #[test]
    fn no_message_is_left_without_an_answer(
        mechanism in 0..Mechanism::ALL.len(),
        asked in any::<bool>(),
        messages in prop::collection::vec(
            prop_oneof![
                prop::collection::vec(any::<u8>(), 0..40),
                "[nyp]?(=tls-exporter)?,(a=[a=,]{0,3})?,n=[a-c=2C]{0,4},r=[a-z,]{0,3}".prop_map(String::into_bytes),
                "c=[a-zA-Z=]{0,4},r=[a-z,]{0,3},p=[a-zA-Z=]{0,4}".prop_map(String::into_bytes),
                "[\\x00a=,@]{0,8}".prop_map(String::into_bytes),
            ],
            1..4,
        ),
    ) {
        let mut messages = messages.iter().map(Vec::as_slice);
        let initial = if asked { None } else { messages.next() };
        let (mut exchange, step) = start(&bound(), Mechanism::ALL[mechanism].as_str(), initial);
        settle(&mut exchange, step);
        for message in messages {
            let step = exchange.respond(message);
            let step = settle(&mut exchange, step);
            let in_as_somebody = matches!(step, Step::Success { who: Identity::Account { .. }, .. });
            prop_assert!(!in_as_somebody);
        }
    }
}
