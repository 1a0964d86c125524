//! Presence types (RFC 6121 §4.7.1).

use crate::stanza::error::StanzaError;

/// The value of a presence stanza's 'type' attribute; a missing one means available.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum PresenceType {
    /// The sender is available: no 'type' attribute.
    Available,
    /// The sender is no longer available.
    Unavailable,
    /// The sender asks to see the recipient's presence.
    Subscribe,
    /// The sender lets the recipient see its presence.
    Subscribed,
    /// The sender no longer wants to see the recipient's presence.
    Unsubscribe,
    /// The sender denies or cancels the recipient's subscription.
    Unsubscribed,
    /// A server asks for the recipient's current presence on behalf of the sender.
    Probe,
    /// The answer to an earlier presence stanza that failed.
    Error,
}

impl PresenceType {
    /// All eight.
    pub const ALL: [Self; 8] = [
        Self::Available,
        Self::Unavailable,
        Self::Subscribe,
        Self::Subscribed,
        Self::Unsubscribe,
        Self::Unsubscribed,
        Self::Probe,
        Self::Error,
    ];

    /// The value of the 'type' attribute; none for available presence.
    pub const fn as_str(self) -> Option<&'static str> {
        match self {
            Self::Available => None,
            Self::Unavailable => Some("unavailable"),
            Self::Subscribe => Some("subscribe"),
            Self::Subscribed => Some("subscribed"),
            Self::Unsubscribe => Some("unsubscribe"),
            Self::Unsubscribed => Some("unsubscribed"),
            Self::Probe => Some("probe"),
            Self::Error => Some("error"),
        }
    }

    /// Reads the 'type' attribute.
    pub fn parse(value: Option<&str>) -> Result<Self, StanzaError> {
        // RFC 6121 §4.7.1: any other value SHOULD be answered by bad-request; "available" is one.
        Self::ALL
            .into_iter()
            .find(|kind| kind.as_str() == value)
            .ok_or_else(|| StanzaError::bad_request().text("unknown presence type"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stanza::error::Condition;

    #[test]
    fn types_go_both_ways_and_the_unknown_is_a_bad_request() {
        for kind in PresenceType::ALL {
            assert_eq!(PresenceType::parse(kind.as_str()), Ok(kind));
        }
        for value in ["", "available", "Probe", "chat"] {
            let error = PresenceType::parse(Some(value)).unwrap_err();
            assert_eq!(error.condition, Condition::BadRequest, "{value}");
        }
    }
}
