//! A node's configuration (XEP-0060 §16.4.4): what its options are.

/// The options of a node. Those that a server has no part in (`body_xslt` and the like) are not kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodeConfig {
    /// `pubsub#title`
    pub title: String,
    /// `pubsub#description`
    pub description: String,
    /// `pubsub#type`
    pub ty: String,
    /// `pubsub#language`
    pub language: String,
    /// `pubsub#contact`
    pub contact: Vec<String>,
    /// `pubsub#access_model`
    pub access_model: AccessModel,
    /// `pubsub#roster_groups_allowed`
    pub roster_groups_allowed: Vec<String>,
    /// `pubsub#publish_model`
    pub publish_model: PublishModel,
    /// `pubsub#subscribe`
    pub subscribe: bool,
    /// `pubsub#persist_items`
    pub persist_items: bool,
    /// `pubsub#max_items`
    pub max_items: Bound,
    /// `pubsub#item_expire`, in seconds.
    pub item_expire: Bound,
    /// `pubsub#publish_node_full`
    pub publish_node_full: NodeFull,
    /// `pubsub#max_payload_size`
    pub max_payload_size: Bound,
    /// `pubsub#deliver_notifications`
    pub deliver_notifications: bool,
    /// `pubsub#deliver_payloads`
    pub deliver_payloads: bool,
    /// `pubsub#notify_config`
    pub notify_config: bool,
    /// `pubsub#notify_delete`
    pub notify_delete: bool,
    /// `pubsub#notify_retract`
    pub notify_retract: bool,
    /// `pubsub#notify_sub`
    pub notify_sub: bool,
    /// `pubsub#notification_type`
    pub notification_type: NotificationType,
    /// `pubsub#send_last_published_item`
    pub send_last: SendLast,
    /// `pubsub#presence_based_delivery`
    pub presence_based_delivery: bool,
    /// `pubsub#purge_offline`
    pub purge_offline: bool,
    /// `pubsub#itemreply`
    pub itemreply: ItemReply,
}

/// A number, or `max`: as much as the server allows (§16.4.4).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Bound {
    /// As much as the server allows.
    Max,
    /// This many.
    Of(u32),
}

impl Bound {
    /// The number, which the server's own bounds.
    pub fn within(self, most: u32) -> u32 {
        match self {
            Self::Max => most,
            Self::Of(number) => number.min(most),
        }
    }
}

/// Declares an option that is one of a few words.
macro_rules! words {
    ($(#[$doc:meta])* $name:ident { $($(#[$word_doc:meta])* $variant:ident = $word:literal,)* }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum $name {
            $($(#[$word_doc])* $variant,)*
        }

        impl $name {
            /// The words in the order of the form.
            pub const WORDS: &'static [&'static str] = &[$($word),*];

            /// Its word.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $word,)* }
            }

            /// The reverse of [`Self::as_str`].
            pub fn parse(word: &str) -> Option<Self> {
                match word { $($word => Some(Self::$variant),)* _ => None }
            }
        }
    };
}

pub(super) use words;

words! {
    /// Who may subscribe and retrieve items (§4.5).
    AccessModel {
        /// Whom an owner approved.
        Authorize = "authorize",
        /// Anyone.
        Open = "open",
        /// Who sees the owner's presence.
        Presence = "presence",
        /// Who is in one of some groups of the owner's roster.
        Roster = "roster",
        /// Who has an affiliation that allows it.
        Whitelist = "whitelist",
    }
}

words! {
    /// Who may publish.
    PublishModel {
        /// Owners and publishers.
        Publishers = "publishers",
        /// Subscribers, too.
        Subscribers = "subscribers",
        /// Anyone.
        Open = "open",
    }
}

words! {
    /// What is done if an item would be one too many (§7.1.2.5).
    NodeFull {
        /// The oldest one goes, and subscribers are told so, if they are told of retractions.
        RetractOldest = "retract-oldest",
        /// The oldest one goes.
        DiscardOldest = "discard-oldest",
        /// The new one is refused (§7.1.3.4).
        Reject = "reject",
    }
}

words! {
    /// The type of messages that tell of events.
    NotificationType {
        /// normal
        Normal = "normal",
        /// headline
        Headline = "headline",
    }
}

words! {
    /// When somebody gets the last item that was published.
    SendLast {
        /// Never.
        Never = "never",
        /// With a new subscription.
        OnSub = "on_sub",
        /// And when a subscriber comes online.
        OnSubAndPresence = "on_sub_and_presence",
    }
}

words! {
    /// Whose JID an item carries (§12.17).
    ItemReply {
        /// The owner's: no item carries it, as the node's address says it.
        Owner = "owner",
        /// The publisher's.
        Publisher = "publisher",
    }
}

impl NodeConfig {
    /// What stored configurations are written against: it must never change. Nothing here opens a node, so
    /// a row that lost a line, or has a word of a later version, closes it.
    pub const BASE: Self = Self {
        title: String::new(),
        description: String::new(),
        ty: String::new(),
        language: String::new(),
        contact: Vec::new(),
        access_model: AccessModel::Whitelist,
        roster_groups_allowed: Vec::new(),
        publish_model: PublishModel::Publishers,
        subscribe: true,
        persist_items: true,
        max_items: Bound::Max,
        item_expire: Bound::Max,
        publish_node_full: NodeFull::RetractOldest,
        max_payload_size: Bound::Max,
        deliver_notifications: true,
        deliver_payloads: true,
        notify_config: false,
        notify_delete: true,
        notify_retract: true,
        notify_sub: false,
        notification_type: NotificationType::Headline,
        send_last: SendLast::OnSubAndPresence,
        presence_based_delivery: false,
        purge_offline: false,
        itemreply: ItemReply::Owner,
    };

    /// XEP-0163 §5: what a node of an account is, if neither its name nor its owner says otherwise.
    pub fn of_pep() -> Self {
        Self { access_model: AccessModel::Presence, max_items: Bound::Of(1), ..Self::BASE }
    }

    /// §4.5: open should be the default of generic services.
    pub fn of_service() -> Self {
        Self {
            access_model: AccessModel::Open,
            send_last: SendLast::OnSub,
            itemreply: ItemReply::Publisher,
            ..Self::BASE
        }
    }

    /// XEP-0223 §2, XEP-0402: what is for the owner alone, item by item.
    pub fn private() -> Self {
        Self { send_last: SendLast::Never, ..Self::BASE }
    }
}
