//! The fields of a node's configuration, in one table: forms are read, written, compared and stored by it.

use super::config::{
    AccessModel, Bound, ItemReply, NodeConfig, NodeFull, NotificationType, PublishModel, SendLast,
};
use super::service::Kind;
use crate::jid::Jid;

/// One field of `pubsub#node_config` (§16.4.4).
pub(super) struct Field {
    /// Its name behind `pubsub#`.
    pub(super) name: &'static str,
    /// Its type (XEP-0004 §3.3).
    pub(super) ty: &'static str,
    /// For people.
    pub(super) label: &'static str,
    /// The words to choose from.
    pub(super) options: &'static [&'static str],
    /// Its values in a configuration.
    pub(super) get: fn(&NodeConfig) -> Vec<String>,
    /// Sets it; false: these are not values of it, and nothing is changed.
    pub(super) set: fn(&mut NodeConfig, &[&str]) -> bool,
}

/// What a field may name, for reading and writing it.
trait Part: Sized {
    const TYPE: &'static str;
    const OPTIONS: &'static [&'static str] = &[];
    fn write(&self) -> Vec<String>;
    fn read(values: &[&str]) -> Option<Self>;
}

impl Part for bool {
    const TYPE: &'static str = "boolean";
    fn write(&self) -> Vec<String> {
        vec![if *self { "1" } else { "0" }.to_owned()]
    }
    fn read(values: &[&str]) -> Option<Self> {
        // §7.2.2.1: both ways of writing one.
        match values {
            ["1" | "true"] => Some(true),
            ["0" | "false"] => Some(false),
            _ => None,
        }
    }
}

impl Part for String {
    const TYPE: &'static str = "text-single";
    fn write(&self) -> Vec<String> {
        if self.is_empty() { Vec::new() } else { vec![self.clone()] }
    }
    fn read(values: &[&str]) -> Option<Self> {
        match values {
            [] => Some(Self::new()),
            [text] if text.len() <= TEXT_MAX => Some((*text).to_owned()),
            _ => None,
        }
    }
}

impl Part for Bound {
    const TYPE: &'static str = "text-single";
    fn write(&self) -> Vec<String> {
        match self {
            Self::Max => vec!["max".to_owned()],
            Self::Of(number) => vec![number.to_string()],
        }
    }
    fn read(values: &[&str]) -> Option<Self> {
        match values {
            ["max"] => Some(Self::Max),
            [digits] if digits.bytes().all(|byte| byte.is_ascii_digit()) => {
                // More than we can count is more than we allow.
                Some(digits.parse().map_or(Self::Of(u32::MAX), Self::Of))
                    .filter(|_| !digits.is_empty())
            }
            _ => None,
        }
    }
}

impl Part for Vec<String> {
    const TYPE: &'static str = "list-multi";
    fn write(&self) -> Vec<String> {
        self.clone()
    }
    fn read(values: &[&str]) -> Option<Self> {
        let fits = values.len() <= LIST_MAX && values.iter().all(|value| value.len() <= TEXT_MAX);
        let mut list: Self = values.iter().map(|value| (*value).to_owned()).collect();
        list.sort_unstable();
        list.dedup();
        fits.then_some(list)
    }
}

macro_rules! word_parts {
    ($($name:ident),*) => {
        $(impl Part for $name {
            const TYPE: &'static str = "list-single";
            const OPTIONS: &'static [&'static str] = Self::WORDS;
            fn write(&self) -> Vec<String> {
                vec![self.as_str().to_owned()]
            }
            fn read(values: &[&str]) -> Option<Self> {
                match values {
                    [word] => Self::parse(word),
                    _ => None,
                }
            }
        })*
    };
}

word_parts!(AccessModel, PublishModel, NodeFull, NotificationType, SendLast, ItemReply);

const fn ty<T: Part>(_: fn(&NodeConfig) -> &T) -> &'static str {
    T::TYPE
}

const fn options<T: Part>(_: fn(&NodeConfig) -> &T) -> &'static [&'static str] {
    T::OPTIONS
}

fn set<T: Part>(part: &mut T, values: &[&str]) -> bool {
    let read = T::read(values);
    let is_read = read.is_some();
    if let Some(read) = read {
        *part = read;
    }
    is_read
}

macro_rules! fields {
    ($($name:literal $part:ident $label:literal;)*) => {
        /// The fields in the order of the form.
        pub(super) const FIELDS: &[Field] = &[$(Field {
            name: $name,
            ty: ty(|config| &config.$part),
            label: $label,
            options: options(|config| &config.$part),
            get: |config| config.$part.write(),
            set: |config, values| set(&mut config.$part, values),
        }),*];
    };
}

fields! {
    "title" title "A name for the node";
    "description" description "What the node is for";
    "type" ty "What its items are, usually the namespace of their payload";
    "language" language "The language of its items";
    "contact" contact "Whom to ask about it";
    "access_model" access_model "Who may subscribe and retrieve items";
    "roster_groups_allowed" roster_groups_allowed "Roster groups that may subscribe and retrieve items";
    "publish_model" publish_model "Who may publish";
    "subscribe" subscribe "Whether anyone may subscribe";
    "persist_items" persist_items "Whether items are kept";
    "max_items" max_items "How many items are kept, or `max`";
    "item_expire" item_expire "After how many seconds an item is deleted, or `max`";
    "publish_node_full" publish_node_full "What is done when the node is full";
    "max_payload_size" max_payload_size "The largest payload in bytes, or `max`";
    "deliver_notifications" deliver_notifications "Whether subscribers are told of events";
    "deliver_payloads" deliver_payloads "Whether they get the payloads, too";
    "notify_config" notify_config "Whether they are told that this configuration changed";
    "notify_delete" notify_delete "Whether they are told that the node was deleted";
    "notify_retract" notify_retract "Whether they are told that items were deleted";
    "notify_sub" notify_sub "Whether owners are told who subscribes and unsubscribes";
    "notification_type" notification_type "The type of the messages that tell of events";
    "send_last_published_item" send_last "When the last item is sent to somebody";
    "presence_based_delivery" presence_based_delivery "Whether only those online are told";
    "purge_offline" purge_offline "Whether a publisher's items are deleted when it goes offline";
    "itemreply" itemreply "Whose address an item carries";
}

/// The fields that nodes of such a service have. Accounts deliver by presence in any case, and to whom the
/// specification says (XEP-0163 §4); nor do they follow who goes offline. A service has no roster.
pub(super) fn of(kind: Kind) -> impl Iterator<Item = &'static Field> {
    FIELDS.iter().filter(move |field| match field.name {
        "presence_based_delivery" | "purge_offline" => kind == Kind::Service,
        "roster_groups_allowed" => kind == Kind::Pep,
        _ => true,
    })
}

/// The field with this name in a form.
pub(super) fn field(kind: Kind, var: &str) -> Option<&'static Field> {
    let name = var.strip_prefix("pubsub#")?;
    of(kind).find(|field| field.name == name)
}

/// Contacts are addresses: not what a table of texts can check.
pub(super) fn contacts_are_jids(config: &NodeConfig) -> bool {
    config.contact.iter().all(|jid| Jid::parse(jid).is_ok())
}

impl NodeConfig {
    /// For a row: a line for each value that is not of [`Self::BASE`].
    pub(super) fn store(&self) -> String {
        let mut out = String::new();
        for field in FIELDS {
            let values = (field.get)(self);
            if values == (field.get)(&Self::BASE) {
                continue;
            }
            // Cleared is not the same as not mentioned.
            if values.is_empty() {
                out.push_str(field.name);
                out.push('\n');
            }
            for value in values {
                out.push_str(field.name);
                out.push('=');
                out.push_str(
                    &value.replace('\\', "\\\\").replace('\n', "\\n").replace('\r', "\\r"),
                );
                out.push('\n');
            }
        }
        out
    }

    /// The reverse of [`Self::store`]. What cannot be read is as in [`Self::BASE`].
    pub(super) fn load(text: &str) -> Self {
        let mut config = Self::BASE;
        let mut values: Vec<(&str, Vec<String>)> = Vec::new();
        for line in text.lines() {
            let (name, value) = line.split_once('=').map_or((line, None), |(n, v)| (n, Some(v)));
            if values.last().is_none_or(|(last, _)| *last != name) {
                values.push((name, Vec::new()));
            }
            if let (Some((_, values)), Some(value)) = (values.last_mut(), value) {
                values.push(unescaped(value));
            }
        }
        for (name, values) in &values {
            let values: Vec<&str> = values.iter().map(String::as_str).collect();
            if let Some(field) = FIELDS.iter().find(|field| field.name == *name) {
                (field.set)(&mut config, &values);
            }
        }
        config
    }
}

fn unescaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        match c {
            '\\' => match chars.next() {
                Some('n') => out.push('\n'),
                Some('r') => out.push('\r'),
                Some(other) => out.push(other),
                None => {}
            },
            c => out.push(c),
        }
    }
    out
}

/// Bytes of a text.
const TEXT_MAX: usize = 1_023;
/// Values of a list.
const LIST_MAX: usize = 32;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_read_as_xep_0004_3_3_has_them() {
        let long = "x".repeat(TEXT_MAX + 1);
        for (var, values, expected) in [
            ("pubsub#persist_items", &["true"][..], Some("1")),
            ("pubsub#persist_items", &["0"], Some("0")),
            ("pubsub#persist_items", &["yes"], None),
            ("pubsub#persist_items", &["1", "1"], None),
            ("pubsub#max_items", &["max"], Some("max")),
            ("pubsub#max_items", &["10"], Some("10")),
            ("pubsub#max_items", &["99999999999999"], Some("4294967295")),
            ("pubsub#max_items", &["-1"], None),
            ("pubsub#max_items", &[""], None),
            ("pubsub#access_model", &["open"], Some("open")),
            ("pubsub#access_model", &["Open"], None),
            ("pubsub#title", &["a"], Some("a")),
            ("pubsub#title", &[], Some("")),
            ("pubsub#title", &[&long], None),
            ("pubsub#roster_groups_allowed", &["b", "a", "b"], Some("a,b")),
            ("pubsub#roster_groups_allowed", &["x"; LIST_MAX + 1], None),
        ] {
            let mut config = NodeConfig::BASE;
            // Each is of one kind of service at least.
            let field = field(Kind::Service, var).or(field(Kind::Pep, var)).unwrap();
            let is_set = (field.set)(&mut config, values);
            let got = is_set.then(|| (field.get)(&config).join(","));
            assert_eq!(got.as_deref(), expected, "{var} {values:?}");
            assert!(is_set || config == NodeConfig::BASE, "{var}");
        }
        assert!(
            field(Kind::Service, "max_items").is_none()
                && field(Kind::Service, "pubsub#colour").is_none()
                && field(Kind::Service, "pubsub#roster_groups_allowed").is_none()
        );
    }

    #[test]
    fn a_configuration_comes_back_from_its_row() {
        let odd = NodeConfig {
            title: "two\nlines\\ = \r".to_owned(),
            contact: vec!["a@x".to_owned(), "b@x".to_owned()],
            access_model: AccessModel::Roster,
            roster_groups_allowed: vec!["a\n=".to_owned(), "b".to_owned()],
            max_items: Bound::Of(7),
            item_expire: Bound::Of(60),
            notify_retract: false,
            subscribe: false,
            itemreply: ItemReply::Publisher,
            ..NodeConfig::BASE
        };
        for config in [NodeConfig::BASE, NodeConfig::of_pep(), NodeConfig::of_service(), odd] {
            assert_eq!(NodeConfig::load(&config.store()), config);
        }
        assert_eq!(NodeConfig::BASE.store(), "");
        assert_eq!(NodeConfig::of_pep().store(), "access_model=presence\nmax_items=1\n");
    }

    #[test]
    fn a_row_that_cannot_be_read_opens_nothing() {
        for text in ["access_model=everybody", "access_model=", "access_model", "", "x\0y=\n=\n\n"]
        {
            let config = NodeConfig::load(text);
            assert_eq!(config.access_model, AccessModel::Whitelist, "{text}");
            assert_eq!(config.publish_model, PublishModel::Publishers, "{text}");
        }
    }
}
