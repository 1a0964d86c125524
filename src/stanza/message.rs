//! Message types (RFC 6121 §5.2.2).

/// The value of a message's 'type' attribute.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum MessageType {
    /// A standalone message; also what a missing or unknown type means.
    Normal,
    /// Part of a one-to-one conversation.
    Chat,
    /// Part of a room's conversation.
    Groupchat,
    /// An alert to which no reply is expected; worthless later, so it is never stored.
    Headline,
    /// The answer to an earlier message that failed.
    Error,
}

impl MessageType {
    /// All five.
    pub const ALL: [Self; 5] =
        [Self::Normal, Self::Chat, Self::Groupchat, Self::Headline, Self::Error];

    /// The value of the 'type' attribute.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Normal => "normal",
            Self::Chat => "chat",
            Self::Groupchat => "groupchat",
            Self::Headline => "headline",
            Self::Error => "error",
        }
    }

    /// Reads the 'type' attribute.
    pub fn parse(value: Option<&str>) -> Self {
        let known = |name| Self::ALL.into_iter().find(|kind| kind.as_str() == name);
        // RFC 6121 §5.2.2: a missing or unknown type MUST be considered "normal".
        value.and_then(known).unwrap_or(Self::Normal)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn types_go_both_ways_and_the_unknown_is_normal() {
        for kind in MessageType::ALL {
            assert_eq!(MessageType::parse(Some(kind.as_str())), kind);
        }
        for value in [None, Some(""), Some("Chat"), Some("subscribe")] {
            assert_eq!(MessageType::parse(value), MessageType::Normal, "{value:?}");
        }
    }
}
