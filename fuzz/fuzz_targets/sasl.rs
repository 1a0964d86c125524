//! Whatever a client sends in a SASL exchange gets an answer, and nobody gets in by accident.
#![no_main]

use libfuzzer_sys::fuzz_target;
use stonechat::base::id::Rng;
use stonechat::stream::sasl::ht::{Ht, HtMechanism, Token};
use stonechat::stream::sasl::{
    ChannelBindings, Exchange, Identity, Mechanism, Offer, Step, decode_payload,
};

struct Zeros;

impl Rng for Zeros {
    fn fill(&mut self, buf: &mut [u8]) {
        buf.fill(0);
    }
}

// The first byte chooses the mechanism and whether there is an initial response; the messages
// follow, with 0x0a between them.
fuzz_target!(|data: &[u8]| {
    let Some((&choice, data)) = data.split_first() else { return };
    if let Ok(text) = std::str::from_utf8(data) {
        let _ = decode_payload(text);
    }
    let tls_exporter = Some(b"exporter".to_vec());
    let bindings = ChannelBindings { tls_exporter, ..Default::default() };
    tokens(choice, &bindings, data);
    let offer = Offer::new(&Mechanism::ALL, bindings);
    let mechanism = Mechanism::ALL[usize::from(choice & 7)].as_str();
    let mut messages = data.split(|byte| *byte == b'\n');
    let initial = if choice & 8 == 0 { messages.next() } else { None };
    let (mut exchange, step) =
        Exchange::start(&offer, "example.com", mechanism, initial, &mut Zeros, &[0; 32], 1);
    settle(&mut exchange, step);
    for message in messages {
        let step = exchange.respond(message);
        settle(&mut exchange, step);
    }
});

/// A message of a client that has no token, against a token that nobody can know.
fn tokens(choice: u8, bindings: &ChannelBindings, data: &[u8]) {
    let offered: Vec<HtMechanism> = HtMechanism::offered(bindings).collect();
    let mechanism = HtMechanism::ALL[usize::from(choice) % HtMechanism::ALL.len()].as_str();
    let Ok(message) = Ht::start(mechanism, &offered, bindings, data) else { return };
    let secret = "x2aPq7vLr0sE5mYc9tKd3w";
    assert!(message.check(&[Token { mechanism, secret, expired: false }]).is_err());
}

/// The store is empty.
fn settle(exchange: &mut Exchange, mut step: Step) {
    loop {
        step = match step {
            Step::NeedKeys { .. } | Step::NeedAnyKeys { .. } => exchange.keys(None),
            Step::NeedTokens(message) => {
                exchange.checked(message.check(&[]).map(|fits| fits.answer))
            }
            Step::Work(work) => exchange.worked(work.run()),
            Step::Success { who, .. } => {
                assert_eq!(who, Identity::Anonymous);
                return;
            }
            Step::Challenge(_) | Step::Failure(_) => return,
        }
    }
}
