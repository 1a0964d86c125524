//! XEP-0352: Client State Indication. Presence and chat states for an inactive client are held back until
//! something else is sent, and of each sender only the newest is sent.
//!
//! Any other stanza is preceded by all that was held back, in its original order: the client's radio is awake
//! then (XEP-0286 §3), and no stanza overtakes another (RFC 6120 §10.1). So a message comes after the
//! "composing" that preceded it.

use std::collections::{BTreeMap, HashMap};

use super::api::{ClientDelivery, Cx, Inline, Module, Nonza, Persist, Phase, Spec, Stage};
use super::{Config as Settings, SessionState};
use crate::router::outbox::Outgoing;
use crate::stanza::policy::is_chat_state;
use crate::stanza::presence::PresenceType;
use crate::stanza::{Kind, Stanza};
use crate::xml::ns;
use crate::xml::view::Node;

/// The module.
pub const MODULE: Module = Module {
    name: "csi",
    specs: &[Spec::whole("XEP-0352", "1.0.0", "features/csi.rs")],
    stream_features: Some(|_, stage| {
        (stage == Stage::Bind).then(|| format!("<csi xmlns='{}'/>", NS))
    }),
    nonzas: &[
        Nonza { ns: NS, name: "active", handler: active },
        Nonza {
            ns: NS,
            name: "inactive",
            handler: |state| {
                inactive(state);
                Vec::new()
            },
        },
    ],
    // XEP-0386 §3.2
    inline: &[Inline { ns: NS, handler: inline }],
    to_client: &[(Phase::Notify, to_client)],
    quiet: Some(|state| state.csi.0.is_some()),
    // XEP-0352 §5.2: a resumed stream begins active.
    disconnected: Some(active),
    ..Module::EMPTY
};

/// The namespace of its nonzas.
const NS: &str = "urn:xmpp:csi:0";

/// `[modules.csi]`
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Whether contacts' presence is held back.
    pub hold_presence: bool,
    /// Whether chat states without other content are held back.
    pub hold_chat_states: bool,
    /// Maximum number of stanzas held back for one client; then all are sent.
    pub stanzas_max: usize,
    /// Their maximum size in bytes.
    pub bytes_max: usize,
}

impl Default for Config {
    fn default() -> Self {
        Self { hold_presence: true, hold_chat_states: true, stanzas_max: 200, bytes_max: 65_536 }
    }
}

/// Stanzas held back for an inactive client; `None` while it is active. Other entities must not learn the
/// state (XEP-0352 §6).
#[derive(Debug, Default)]
pub struct State(Option<Box<HeldBack>>);

/// XEP-0352 §5.2: the state is not saved over a restart, and stanzas that were held back join those that are
/// sent again.
impl Persist for State {
    const VERSION: u16 = 1;

    fn save(&self) -> Vec<u8> {
        Vec::new()
    }

    fn load(_: &[u8]) -> Option<Self> {
        Some(Self::default())
    }
}

/// Marks the client as inactive (XEP-0352 §4.2).
pub fn inactive(state: &mut SessionState) {
    state.csi.0.get_or_insert_default();
}

/// Marks the client as active and returns the stanzas that were held back, to be sent now.
pub fn active(state: &mut SessionState) -> Vec<Outgoing> {
    let kept = state.csi.0.take();
    kept.map(|mut kept| kept.give_out()).unwrap_or_default()
}

fn inline(_: &Cx, state: &mut SessionState, wanted: Node<'_>) -> Vec<u8> {
    if wanted.name() == "inactive" {
        inactive(state);
    }
    Vec::new()
}

fn to_client(settings: &Settings, state: &mut SessionState, item: &Outgoing) -> ClientDelivery {
    let Some(kept) = &mut state.csi.0 else { return ClientDelivery::NOW };
    let config = &settings.csi;
    let Some(about) = about(config, item) else {
        return ClientDelivery { before: kept.give_out(), now: true };
    };
    kept.keep(about, item.clone());
    let full = kept.waiting.len() > config.stanzas_max || kept.bytes > config.bytes_max;
    ClientDelivery { before: if full { kept.give_out() } else { Vec::new() }, now: false }
}

/// Stanzas held back for a client.
#[derive(Debug, Default)]
struct HeldBack {
    /// The stanzas in their order of arrival.
    waiting: BTreeMap<u64, Outgoing>,
    /// The number of the newest stanza of each kind.
    newest: HashMap<String, u64>,
    next: u64,
    bytes: usize,
}

impl HeldBack {
    fn keep(&mut self, about: String, item: Outgoing) {
        self.next += 1;
        self.bytes += item.frame.len() + ITEM_COST;
        let older = self.newest.insert(about, self.next);
        if let Some(older) = older.and_then(|older| self.waiting.remove(&older)) {
            self.bytes -= older.frame.len() + ITEM_COST;
        }
        self.waiting.insert(self.next, item);
    }

    fn give_out(&mut self) -> Vec<Outgoing> {
        let Self { waiting, .. } = std::mem::take(self);
        waiting.into_values().collect()
    }
}

/// The kind of a stanza that may be held back: a newer one of the same kind replaces it. `None` for all
/// stanzas that matter, and for owed ones, which stay in flight until the client has them.
fn about(config: &Config, item: &Outgoing) -> Option<String> {
    let head = &item.frame.head;
    let may_wait = (config.hold_presence && head.starts_with(b"<presence"))
        || (config.hold_chat_states && head.starts_with(b"<message"));
    if !may_wait || item.owed.is_some() {
        return None;
    }
    let stanza = Stanza::ours(item.frame.to_vec().into())?;
    match stanza.kind() {
        Kind::Presence => presence(&stanza),
        Kind::Message => chat_state(&stanza),
        Kind::Iq => None,
    }
}

/// Subscriptions and errors are answers or need one. The presence by which a client learns that it has joined
/// or left a room is not held back either (XEP-0045 §7.2.2: status 110).
fn presence(stanza: &Stanza) -> Option<String> {
    let ty = PresenceType::parse(stanza.ty().as_deref()).ok()?;
    if !matches!(ty, PresenceType::Available | PresenceType::Unavailable) {
        return None;
    }
    let doc = stanza.element().view();
    let own = |child: Node<'_>| child.name() == "status" && child.attr("code") == Some("110");
    let room = doc.root().child(ns::MUC_USER, "x");
    (!room.is_some_and(|x| x.children().any(own))).then(|| format!("presence {}", stanza.from()))
}

/// A chat state without other content, also in a carbon copy that the server made (XEP-0280).
fn chat_state(stanza: &Stanza) -> Option<String> {
    let payloads = stanza.element().children();
    if is_chat_state(payloads.map(|child| (child.ns, child.name))) {
        return Some(format!("state {}", stanza.from()));
    }
    let to = stanza.to()?;
    if stanza.from().as_str() != to.bare_str() {
        return None;
    }
    let doc = stanza.element().view();
    let copy = doc.root().children().find(|child| child.ns() == ns::CARBONS)?;
    let message = copy.child(ns::FORWARD, "forwarded")?.child(ns::CLIENT, "message")?;
    let is_state = is_chat_state(message.children().map(|child| (child.ns(), child.name())));
    let (from, to) = (message.attr("from")?, message.attr("to")?);
    is_state.then(|| format!("{} {from} {to}", copy.name()))
}

/// Bookkeeping, in bytes, that is counted for each stanza.
const ITEM_COST: usize = 192;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stanza::Frame;

    const STATE: &str = "<composing xmlns='http://jabber.org/protocol/chatstates'/>";
    const PAUSED: &str = "<paused xmlns='http://jabber.org/protocol/chatstates'/>";

    fn item(xml: &str) -> Outgoing {
        Frame::whole(xml.to_owned().into()).into()
    }

    fn carbon(from: &str, side: &str, payload: &str) -> String {
        format!(
            "<message from='{from}' to='r@x/1'><{side} xmlns='urn:xmpp:carbons:2'>\
             <forwarded xmlns='urn:xmpp:forward:0'><message xmlns='jabber:client' from='j@x/1' \
             to='r@x/2' type='chat'>{payload}</message></forwarded></{side}></message>"
        )
    }

    #[test]
    fn presence_and_chat_states_wait_and_nothing_else() {
        let message = |ty: &str, payload: &str| {
            format!("<message from='j@x/1' type='{ty}'>{payload}</message>")
        };
        let x = |code: &str| {
            format!("<x xmlns='http://jabber.org/protocol/muc#user'><status code='{code}'/></x>")
        };
        for (xml, waits) in [
            ("<presence from='j@x/1'/>".to_owned(), true),
            ("<presence from='j@x/1' type='unavailable'/>".to_owned(), true),
            ("<presence from='j@x' type='subscribe'/>".to_owned(), false),
            ("<presence from='j@x' type='unsubscribed'/>".to_owned(), false),
            ("<presence from='j@x/1' type='error'/>".to_owned(), false),
            (format!("<presence from='m@y/j'>{}</presence>", x("100")), true),
            (format!("<presence from='m@y/j'>{}</presence>", x("110")), false),
            ("<iq from='x' type='get' id='1'/>".to_owned(), false),
            (message("chat", STATE), true),
            (message("groupchat", STATE), true),
            (message("chat", &format!("<thread>1</thread>{STATE}")), true),
            (message("chat", &format!("<body>x</body>{STATE}")), false),
            (message("chat", "<encrypted xmlns='urn:xmpp:omemo:2'/>"), false),
            (message("chat", "<displayed xmlns='urn:xmpp:chat-markers:0' id='1'/>"), false),
            (message("error", &format!("{STATE}<error type='cancel'/>")), false),
            (message("chat", ""), false),
            (carbon("r@x", "received", STATE), true),
            (carbon("r@x", "sent", STATE), true),
            (carbon("r@x", "sent", "<body>x</body>"), false),
            // A copy from another entity is an ordinary message.
            (carbon("m@x", "sent", STATE), false),
            (carbon("r@x/2", "sent", STATE), false),
        ] {
            let about = about(&Config::default(), &item(&xml));
            assert_eq!(about.is_some(), waits, "{xml}: {about:?}");
        }
        let state = item(&message("chat", STATE));
        assert_eq!(about(&Config::default(), &Outgoing { owed: Some(1), ..state.clone() }), None);
        let config = Config { hold_presence: false, hold_chat_states: false, ..Config::default() };
        assert_eq!(about(&config, &state), None);
        assert_eq!(about(&config, &item("<presence from='j@x/1'/>")), None);
    }

    struct Client {
        settings: Settings,
        state: SessionState,
    }

    impl Client {
        fn new(csi: Config) -> Self {
            let settings = Settings { csi, ..Settings::default() };
            Self { settings, state: SessionState::default() }
        }

        /// Returns what is sent when this stanza arrives.
        fn comes(&mut self, xml: &str) -> Vec<String> {
            let item = item(xml);
            let delivery = to_client(&self.settings, &mut self.state, &item);
            let mut out = texts(delivery.before);
            out.extend(delivery.now.then(|| xml.to_owned()));
            out
        }
    }

    fn texts(items: Vec<Outgoing>) -> Vec<String> {
        items.iter().map(|item| String::from_utf8(item.frame.to_vec()).unwrap()).collect()
    }

    #[test]
    fn the_newest_of_each_sender_comes_in_order_with_what_matters() {
        let mut client = Client::new(Config::default());
        let presence = |who: &str, show: &str| {
            format!("<presence from='{who}'><show>{show}</show></presence>")
        };
        let state = |payload: &str| format!("<message from='j@x/1'>{payload}</message>");
        let message = "<message from='n@x/1'><body>x</body></message>";
        assert_eq!(client.comes(&presence("j@x/1", "away")).len(), 1, "active");
        inactive(&mut client.state);
        for held in [
            presence("j@x/1", "dnd"),
            state(STATE),
            presence("n@x/1", "away"),
            presence("j@x/2", "xa"),
            state(PAUSED),
            presence("j@x/1", "chat"),
        ] {
            assert!(client.comes(&held).is_empty(), "{held}");
        }
        inactive(&mut client.state);
        let all = [
            presence("n@x/1", "away"),
            presence("j@x/2", "xa"),
            state(PAUSED),
            presence("j@x/1", "chat"),
            message.to_owned(),
        ];
        assert_eq!(client.comes(message), all);
        assert_eq!(client.comes(message), [message], "once");
        assert!(client.comes(&state(STATE)).is_empty(), "still inactive");
        assert_eq!(texts(active(&mut client.state)), [state(STATE)]);
        assert!(active(&mut client.state).is_empty());
        assert_eq!(client.comes(&state(STATE)), [state(STATE)]);
    }

    #[test]
    fn what_waits_is_bounded() {
        let presence = |n: usize| format!("<presence from='c{n}@x/1'/>");
        let mut client = Client::new(Config { stanzas_max: 3, ..Config::default() });
        inactive(&mut client.state);
        let out: Vec<usize> = (0..8).map(|n| client.comes(&presence(n)).len()).collect();
        assert_eq!(out, [0, 0, 0, 4, 0, 0, 0, 4]);
        let mut client = Client::new(Config { bytes_max: 900, ..Config::default() });
        inactive(&mut client.state);
        let large =
            format!("<presence from='l@x/1'><status>{}</status></presence>", "x".repeat(500));
        for _ in 0..9 {
            assert!(client.comes(&large).is_empty(), "only the newest counts");
        }
        assert_eq!(client.comes(&presence(1)), [large, presence(1)]);
        let mut client = Client::new(Config { stanzas_max: 0, ..Config::default() });
        inactive(&mut client.state);
        assert_eq!(client.comes(&presence(1)), [presence(1)]);
    }
}
