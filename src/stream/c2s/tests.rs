//! The machine against clients that send anything in any order: no client gets access to an account without
//! passing the one check of all logins, and every step is answered.

use std::borrow::Cow;
use std::sync::Arc;

use proptest::prelude::*;

use super::*;
use crate::base::credential::HashName;
use crate::base::hash::base64;
use crate::base::id::OsRng;
use crate::base::limits::Limits;
use crate::jid::FullJid;
use crate::stanza::StanzaError;
use crate::stream::features;
use crate::stream::framing::Framing;
use crate::stream::sasl::ht::HtMechanism;
use crate::stream::sasl::{ChannelBindings, Mechanism, Offer, SaslFailure};
use crate::xml::element::Element;
use crate::xml::gate::{self, Rules};
use crate::xml::header::Header;
use crate::xml::ns;

fn policy(require_tls: bool) -> Arc<Policy> {
    Arc::new(policy_with(require_tls, false))
}

fn policy_with(require_tls: bool, all: bool) -> Policy {
    Policy {
        hosts: vec!["x".to_owned()],
        require_tls,
        mechanisms: Mechanism::ALL.to_vec(),
        iterations: 1,
        secret: [7; 32],
        limits: Arc::new(Limits { auth_attempts_max: 4, ..Limits::default() }),
        authenticate_features: String::new(),
        bind_features: String::new(),
        inline: features::Inline { bind: vec!["urn:f"], fast: all, upgrade: all },
        offers: Offers::default(),
    }
}

fn bindings() -> ChannelBindings {
    ChannelBindings { tls_exporter: Some(vec![1]), ..ChannelBindings::default() }
}

fn header() -> Header {
    Header {
        ns: ns::STREAM.into(),
        local: "stream".into(),
        prefix: Some("stream".into()),
        default_ns: Some(ns::CLIENT.into()),
        to: Some("x".into()),
        version: Some("1.0".into()),
        ..Header::default()
    }
}

fn element(text: &str) -> Element {
    let rules = Rules { content_ns: ns::CLIENT, depth_max: 9, attributes_max: 9, children_max: 99 };
    gate::check(text.to_owned().into(), &rules).unwrap()
}

fn written(outputs: &[Output]) -> String {
    let mut framing = Framing::tcp(ns::CLIENT, &Limits::default());
    let mut text = Vec::new();
    for output in outputs {
        if let Output::Write(item) = output {
            framing.write(item.clone(), |bytes| text.extend_from_slice(&bytes));
        }
    }
    String::from_utf8(text).unwrap()
}

/// What a client may send.
fn said() -> Vec<String> {
    let plain = |user: &str, good: bool| {
        base64(format!("\0{user}\0{}", if good { "right" } else { "wrong" }).as_bytes())
    };
    let agent = "<user-agent id='d4565fa7-4d72-4749-b3d3-740edbf87770'/>";
    let inline = [
        String::new(),
        format!("<bind xmlns='{}'><tag>t</tag></bind>", ns::BIND2),
        format!("<resume xmlns='{}' previd='p' h='0'/>", ns::SM),
        format!("<resume xmlns='{0}' h='0'/><bind xmlns='{1}'/>", ns::SM, ns::BIND2),
        format!("<resume xmlns='{0}' previd='p' h='0'/><bind xmlns='{1}'/>", ns::SM, ns::BIND2),
        agent.to_owned(),
        "<user-agent id='no'/>".to_owned(),
        format!("<config-version xmlns='{}' value='old'/>", ns::IAP),
        format!("{agent}<request-token xmlns='{}' mechanism='HT-SHA-256-NONE'/>", ns::FAST),
        format!("{agent}<bind xmlns='{}'/><fast xmlns='{}' count='1'/>", ns::BIND2, ns::FAST),
        format!("<upgrade xmlns='{}'>UPGR-SCRAM-SHA-256</upgrade>", ns::SASL_UPGRADE),
        format!("{agent}<upgrade xmlns='{}'>UPGR-SCRAM-SHA-512</upgrade>", ns::SASL_UPGRADE),
    ];
    let (old, new) = (ns::SASL, ns::SASL2);
    let mut said = vec![
        format!("<starttls xmlns='{}'/>", ns::TLS),
        format!("<response xmlns='{old}'>{}</response>", plain("a", true)),
        format!("<response xmlns='{new}'>{}</response>", plain("a", true)),
        format!("<response xmlns='{new}'>!</response>"),
        format!("<abort xmlns='{old}'/>"),
        format!("<abort xmlns='{new}'/>"),
        format!("<next xmlns='{new}' task='UPGR-SCRAM-SHA-256'/>"),
        format!("<next xmlns='{new}' task='UPGR-SCRAM-SHA-512'/>"),
        format!("<task-data xmlns='{new}'/>"),
        format!(
            "<task-data xmlns='{new}'><hash xmlns='{}'>{}</hash></task-data>",
            ns::SCRAM_UPGRADE,
            base64(&[1; 32])
        ),
        format!("<success xmlns='{new}'/>"),
        format!("<enable xmlns='{}'/>", ns::SM),
        format!("<resume xmlns='{}' previd='p' h='0'/>", ns::SM),
        format!("<iq type='set' id='b'><bind xmlns='{}'/></iq>", ns::BIND),
        "<iq type='get' id='r'><query xmlns='jabber:iq:register'/></iq>".to_owned(),
        "<message/>".to_owned(),
    ];
    for good in [true, false] {
        said.push(format!("<auth xmlns='{old}' mechanism='PLAIN'>{}</auth>", plain("a", good)));
        for inner in &inline {
            let initial = format!("<initial-response>{}</initial-response>", plain("a", good));
            let token = format!("<initial-response>{}</initial-response>", base64(b"a\0mac"));
            for (mechanism, initial) in
                [("PLAIN", &*initial), ("PLAIN", ""), ("HT-SHA-256-NONE", &token)]
            {
                said.push(format!(
                    "<authenticate xmlns='{new}' mechanism='{mechanism}'>{initial}{inner}\
                     </authenticate>"
                ));
            }
        }
    }
    for (ns, name) in [(old, "auth"), (new, "authenticate")] {
        for mechanism in
            ["ANONYMOUS", "SCRAM-SHA-1", "SCRAM-SHA-256-PLUS", "HT-SHA-256-NONE", "", "X"]
        {
            said.push(format!("<{name} xmlns='{ns}' mechanism='{mechanism}'/>"));
        }
    }
    said
}

/// The world around the machine, which answers its questions.
struct World {
    machine: C2s,
    /// Whether the last attempt was by token and not by password.
    by_token: bool,
    /// Whether the check of all logins admitted this client, with nothing sent or done against it since.
    admitted: bool,
    ended: bool,
    /// The questions that the world answers with no, bit by bit.
    refuses: u8,
    asked: u8,
}

impl World {
    fn no(&mut self) -> bool {
        self.asked = self.asked.wrapping_add(1);
        self.refuses.rotate_right(self.asked.into()) & 1 == 1
    }

    /// Feeds the machine an input, and then all the answers that it asks for.
    fn feed(&mut self, input: Input) {
        let mut next = Some(input);
        while let Some(input) = next.take() {
            let outputs = self.machine.feed(input, &mut OsRng);
            let text = written(&outputs);
            if text.contains("<success") {
                assert!(self.admitted, "success without the gate: {text}");
                let new = text.contains(ns::SASL2);
                assert!(!new || self.machine.is_secured(), "SASL2 in the clear: {text}");
            }
            assert!(!self.ended || text.is_empty(), "words behind the last: {text}");
            for output in outputs {
                if let Some(answer) = self.perform(output) {
                    assert!(next.is_none(), "two questions at once");
                    next = Some(answer);
                }
            }
        }
    }

    /// Answers the questions of logins by token and of tasks.
    fn of_tokens(&mut self, output: &Output) -> Option<Input> {
        match output {
            Output::Token { .. } => {
                self.by_token = true;
                Some(match (self.no(), self.no()) {
                    (true, true) => Input::Unknown,
                    (true, false) => Input::Checked(Err(SaslFailure::CredentialsExpired)),
                    (false, _) => Input::Checked(Ok(vec![1])),
                })
            }
            Output::Hashes => Some(Input::Hashes(vec![HashName::Sha1])),
            Output::AddKeys(_) => Some(Input::KeysAdded),
            Output::Issue { .. } if self.no() => Some(Input::Issued(None)),
            Output::Issue { .. } => {
                let (token, expiry) = ("t".to_owned(), "e".to_owned());
                Some(Input::Issued(Some(Given { token, expiry })))
            }
            _ => None,
        }
    }

    fn perform(&mut self, output: Output) -> Option<Input> {
        let full = || FullJid::parse("a@x/r").unwrap();
        let inside = match output {
            Output::Hashes | Output::AddKeys(_) => {
                assert!(!self.by_token, "a token makes itself a password");
                true
            }
            Output::Bind(_)
            | Output::Bind2(_)
            | Output::Issue { .. }
            | Output::Resume { .. }
            | Output::Done(_)
            | Output::Enter(_)
            | Output::Authenticated { .. } => true,
            Output::Admit { .. }
            | Output::Keys { .. }
            | Output::Token { .. }
            | Output::Work(_)
            | Output::Failed(_) => {
                assert!(!self.admitted, "a second login");
                false
            }
            _ => false,
        };
        assert!(!inside || self.admitted, "something of an account without the gate");
        if let Some(answer) = self.of_tokens(&output) {
            return Some(answer);
        }
        match output {
            Output::StartTls => Some(Input::Secured(bindings())),
            Output::Keys { .. } if self.no() => Some(Input::Unknown),
            Output::Keys { hash, .. } => {
                self.by_token = false;
                let keys = crate::stream::sasl::keys::derive("right", hash, b"salt", 1);
                Some(Input::Keys(keys.ok()))
            }
            Output::Work(work) => Some(Input::Worked(work.run())),
            Output::Admit { .. } if self.no() => {
                Some(Input::Admitted(Err(SaslFailure::AccountDisabled)))
            }
            Output::Admit { .. } => {
                self.admitted = true;
                Some(Input::Admitted(Ok(full().bare())))
            }
            Output::Authenticated { restart: true } => Some(Input::Open(header())),
            Output::Bind(_) if self.no() => Some(Input::Bound(Err(StanzaError::conflict()))),
            Output::Bind(_) => Some(Input::Bound(Ok(full()))),
            Output::Bind2(_) if self.no() => {
                let refused = match self.no() {
                    true => StanzaError::not_authorized(),
                    false => StanzaError::resource_constraint(),
                };
                Some(Input::Bound2(Err(refused)))
            }
            Output::Bind2(bind) => Some(Input::Bound2(Ok((full(), Vec::new(), bind.request)))),
            Output::Resume { .. } if self.no() => {
                self.ended = true;
                None
            }
            Output::Resume { .. } => Some(Input::NotResumed(None)),
            Output::Done(_) | Output::Enter(_) | Output::End => {
                self.ended = true;
                None
            }
            _ => None,
        }
    }
}

proptest! {
    #[test]
    fn nobody_gets_past_the_gate(
        turns in prop::collection::vec(0..said().len(), 1..24),
        secured in prop::bool::weighted(0.8),
        require_tls: bool,
        refuses: u8,
    ) {
        let said = said();
        let policy = Arc::new(policy_with(require_tls, true));
        let machine = C2s::new(policy, secured.then(bindings));
        let mut world =
            World { machine, by_token: false, admitted: false, ended: false, refuses, asked: 0 };
        world.feed(Input::Open(header()));
        for turn in turns {
            if world.ended {
                break;
            }
            let tls = world.machine.is_secured();
            world.feed(Input::Element(element(&said[turn])));
            if world.machine.is_secured() != tls {
                world.feed(Input::Open(header()));
            }
        }
    }
}

/// The features hold what the policy offers, and are built once.
#[test]
fn the_offer_under_tls() {
    let policy = policy(true);
    let mut machine = C2s::new(policy.clone(), Some(bindings()));
    let first = written(&machine.feed(Input::Open(header()), &mut OsRng));
    let (_, features) = first.split_once("<stream:features>").unwrap();
    let names = |rest: &str, end: &str| {
        let list = rest.split_once(end).map_or("", |(list, _)| list);
        let names = list.split("<mechanism>").skip(1).filter_map(|one| one.split_once("</"));
        names.map(|(name, _)| name.to_owned()).collect::<Vec<_>>()
    };
    let (_, new) = features.split_once("<authentication xmlns='urn:xmpp:sasl:2'>").unwrap();
    assert_eq!(names(features, "</mechanisms>"), names(new, "<inline>"));
    assert!(new.contains(
        "<inline><sm xmlns='urn:xmpp:sm:3'/><bind xmlns='urn:xmpp:bind:0'><inline>\
         <feature var='urn:xmpp:sm:3'/><feature var='urn:f'/></inline></bind></inline></authentication>"
    ));
    assert!(new.contains("<config-version xmlns='urn:xmpp:iap:0' scheme='opaque' value='"));
    assert!(!new.contains("fast") && !new.contains("upgrade"), "not offered");
    // Features that were prepared ahead are the same, for each channel.
    let prepared = Arc::into_inner(self::policy(true)).unwrap().prepared();
    for which in 0..8 {
        let data = |bit: i32| (which & bit > 0).then(|| vec![1]);
        let (tls_exporter, tls_server_end_point) = (data(1), data(2));
        let lacks_default = which & 4 > 0;
        let bindings = ChannelBindings { tls_exporter, tls_server_end_point, lacks_default };
        let offer = Offer::new(&Mechanism::ALL, bindings);
        let (ahead, now) = (prepared.offered(&offer), policy.offered(&offer));
        assert!(matches!((&ahead, &now), (Cow::Borrowed(_), Cow::Owned(_))));
        assert_eq!((&ahead.features, &ahead.version), (&now.features, &now.version));
        // RFC 5802 §6.1, RFC 9266 §3: in the old profile, -PLUS goes with the default binding.
        let (old, new) = now.features.split_once("<authentication").unwrap();
        assert_eq!(new.contains("-PLUS"), which & 3 > 0);
        assert_eq!(old.contains("-PLUS"), which & 3 > 0 && !lacks_default);
    }
    let all = features::Inline { fast: true, upgrade: true, ..features::Inline::default() };
    let offer = Offer::new(&Mechanism::ALL, bindings());
    let with = features::over_tls(&offer, &all, "", &Limits::default()).features;
    // XEP-0484 §3.1: no 0-RTT.
    assert!(with.contains("<fast xmlns='urn:xmpp:fast:0'><mechanism>") && !with.contains("0rtt"));
    for mechanism in HtMechanism::offered(&bindings()) {
        assert!(with.contains(&format!("<mechanism>{}</mechanism>", mechanism.as_str())));
    }
    assert!(with.contains("<upgrade xmlns='urn:xmpp:sasl:upgrade:0'>UPGR-SCRAM-SHA-256</upgrade>"));
}

/// The failures that count when the client whose header is from `from` logs in by token.
fn by_token(
    from: Option<&str>,
    checked: Result<Vec<u8>, SaslFailure>,
) -> (bool, Vec<Option<String>>) {
    let mut machine = C2s::new(Arc::new(policy_with(true, true)), Some(bindings()));
    machine.feed(Input::Open(Header { from: from.map(Into::into), ..header() }), &mut OsRng);
    let request = format!(
        "<authenticate xmlns='{}' mechanism='HT-SHA-256-NONE'>\
         <initial-response>{}</initial-response><fast xmlns='{}'/>\
         <user-agent id='d4565fa7-4d72-4749-b3d3-740edbf87770'/></authenticate>",
        ns::SASL2,
        base64(b"a\0mac"),
        ns::FAST
    );
    let asked = machine.feed(Input::Element(element(&request)), &mut OsRng);
    assert!(matches!(asked.as_slice(), [Output::Token { .. }]));
    let outputs = machine.feed(Input::Checked(checked), &mut OsRng);
    let admits = outputs.iter().any(|output| matches!(output, Output::Admit { .. }));
    let failed = outputs.into_iter().filter_map(|output| match output {
        Output::Failed(failed) if failed.is_guess() => Some(failed.localpart),
        _ => None,
    });
    (admits, failed.collect())
}

/// A login by token is not a guess at a password; one under another's name does not use up the token.
#[test]
fn what_a_login_by_token_counts_for() {
    for (from, checked, admits, failed) in [
        (None, Ok(vec![1]), true, vec![]),
        (Some("a@x/r"), Ok(vec![1]), true, vec![]),
        (Some("b@x"), Ok(vec![1]), false, vec![]),
        (None, Err(SaslFailure::NotAuthorized), false, vec![]),
        (None, Err(SaslFailure::CredentialsExpired), false, vec![]),
    ] {
        let told = format!("{from:?} {checked:?}");
        assert_eq!(by_token(from, checked), (admits, failed), "{told}");
    }
}
