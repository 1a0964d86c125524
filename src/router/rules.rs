//! What happens to a stanza for a local account: RFC 6121 §8.5 whole, with table 1, as one pure
//! table. Each `S/E`, `O/E` and `M/A` of the RFC is a choice made here, once.

use crate::stanza::error::Condition;
use crate::stanza::message::MessageType;
use crate::stanza::presence::PresenceType;

/// The stanza, as far as the rules look at it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum StanzaClass {
    /// A message of this type.
    Message(MessageType),
    /// A presence stanza of this type.
    Presence(PresenceType),
    /// An IQ of type `get` or `set`.
    IqRequest,
    /// An IQ of type `result` or `error`.
    IqReply,
}

/// Where the stanza goes, as far as the rules look at it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Target {
    /// Whether there is such an account.
    pub account: Account,
    /// The form of the 'to' address.
    pub address: Address,
    /// The account's available resources.
    pub resources: Resources,
    /// The sender may know who of the account is online: it is the account itself, or has a
    /// subscription of `from` or `both`, or was sent directed presence (RFC 6121 §8.5.3.1).
    pub shares_presence: bool,
}

/// Whether there is such an account.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Account {
    /// No such account on a domain of ours.
    Missing,
    /// There is one.
    Exists,
}

/// The form of the 'to' address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Address {
    /// `localpart@domainpart`
    Bare,
    /// A full JID with a session behind it, available or only connected.
    FullMatch,
    /// A full JID with no session behind it.
    FullNoMatch,
}

/// The account's *available* resources: those that have sent initial presence.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Resources {
    /// None at all.
    None,
    /// One or more, all of negative priority.
    OnlyNegative,
    /// At least one of a priority of zero or more.
    NonNegative,
}

/// What to do with the stanza. The 'to' address is never rewritten (RFC 6121 §8.5.2.1.1).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Decision {
    /// Deliver to the session that the full JID names.
    ToResource,
    /// Deliver to each available resource of non-negative priority.
    ToEachNonNegative,
    /// Deliver to each available resource.
    ToEachAvailable,
    /// Keep for later; what may not be stored bounces with `service-unavailable`.
    Store,
    /// Answer the sender with this error.
    Bounce(Condition),
    /// Drop it without a word.
    Ignore,
    /// A subscription: the table in [`super::subscription`] decides.
    Subscription,
    /// A probe, answered as RFC 6121 §4.3.2 says. Also when the account is missing, so that the
    /// same code gives a stranger the same `unsubscribed`.
    Probe,
    /// An IQ request that the server answers on behalf of the account.
    Account,
}

/// Decides what happens to a stanza of this kind for this target.
pub fn decide(kind: StanzaClass, target: &Target) -> Decision {
    match kind {
        StanzaClass::Message(kind) => message(kind, target),
        StanzaClass::Presence(kind) => presence(kind, target),
        StanzaClass::IqRequest => iq_request(target),
        StanzaClass::IqReply => iq_reply(target),
    }
}

fn message(kind: MessageType, target: &Target) -> Decision {
    use MessageType::{Chat, Error, Groupchat, Headline, Normal};
    match (target.account, target.address) {
        // RFC 6121 §8.5.1: S/E. An error, because people mistype; the price is that an account's
        // existence can be tried out by message, as it can by in-band registration.
        (Account::Missing, _) => match kind {
            Normal | Chat | Groupchat => unavailable(),
            Headline | Error => Decision::Ignore,
        },
        // RFC 6121 §8.5.3.1: whatever the type, and also to a resource that is not available.
        (Account::Exists, Address::FullMatch) => Decision::ToResource,
        (Account::Exists, Address::Bare) => match kind {
            Normal | Chat => to_person(target.resources),
            // RFC 6121 §8.5.2.1.1: MUST NOT be delivered: no room sends to a bare JID.
            Groupchat => unavailable(),
            Headline => match target.resources {
                Resources::NonNegative => Decision::ToEachNonNegative,
                Resources::None | Resources::OnlyNegative => Decision::Ignore,
            },
            Error => Decision::Ignore,
        },
        (Account::Exists, Address::FullNoMatch) => match kind {
            // RFC 6121 §8.5.3.2.1: the device of the conversation is gone, the person is not.
            Chat => to_person(target.resources),
            // S/E. An error: nothing is lost without a word, and a room that hears it removes
            // the occupant that is no longer there.
            Normal | Groupchat => unavailable(),
            // S/E. Silence: no reply is expected to a headline (RFC 6121 §5.2.2).
            Headline => Decision::Ignore,
            Error => Decision::Ignore,
        },
    }
}

/// A message for the person, whichever device it is.
fn to_person(resources: Resources) -> Decision {
    match resources {
        // RFC 6121 §8.5.2.1.1 allows the most available resource or all of non-negative priority
        // (for chat, where clients can opt in: XEP-0280 is that way today). All, because a person
        // with two devices expects both to ring.
        Resources::NonNegative => Decision::ToEachNonNegative,
        // O/E: stored rather than bounced.
        Resources::None | Resources::OnlyNegative => Decision::Store,
    }
}

fn presence(kind: PresenceType, target: &Target) -> Decision {
    use PresenceType::{
        Available, Error, Probe, Subscribe, Subscribed, Unavailable, Unsubscribe, Unsubscribed,
    };
    match (target.account, kind, target.address) {
        (_, Probe, _) => Decision::Probe,
        // RFC 6121 §8.5.1: MUST be ignored, subscriptions too.
        (Account::Missing, ..) => Decision::Ignore,

        (_, Available | Unavailable | Error, Address::FullMatch) => Decision::ToResource,
        (_, Available | Unavailable | Error, Address::FullNoMatch) => Decision::Ignore,
        // RFC 6121 §8.5.2.1.2; its §8.5.2.2.2 for nobody there. An error at the bare JID answers
        // a subscription request, which left from there (RFC 6121 §3.1.2 shows it).
        (_, Available | Unavailable | Error, Address::Bare) => match target.resources {
            Resources::None => Decision::Ignore,
            Resources::OnlyNegative | Resources::NonNegative => Decision::ToEachAvailable,
        },

        // RFC 6121 §8.5.3.2.2: MUST be ignored, unlike a request.
        (_, Subscribed | Unsubscribe | Unsubscribed, Address::FullNoMatch) => Decision::Ignore,
        (_, Subscribe | Subscribed | Unsubscribe | Unsubscribed, _) => Decision::Subscription,
    }
}

fn iq_request(target: &Target) -> Decision {
    match (target.account, target.address) {
        // The handler answers for an account that does not exist, too, lest the two differ.
        (_, Address::Bare) => Decision::Account,
        (Account::Exists, Address::FullMatch) if target.shares_presence => Decision::ToResource,
        // RFC 6121 §8.5.1, §8.5.3.1 and §8.5.3.2.3 ask for one and the same answer, so that a
        // stranger learns neither who exists nor who is online.
        (_, Address::FullMatch | Address::FullNoMatch) => unavailable(),
    }
}

fn iq_reply(target: &Target) -> Decision {
    match (target.account, target.address) {
        (Account::Exists, Address::FullMatch) => Decision::ToResource,
        // RFC 6121 §8.5.3.2.3 asks for an error to any IQ, but RFC 6120 §8.3.1 forbids to answer
        // an error and §8.2.3 a result: two servers would never stop.
        (Account::Missing, _) | (Account::Exists, Address::Bare | Address::FullNoMatch) => {
            Decision::Ignore
        }
    }
}

const fn unavailable() -> Decision {
    Decision::Bounce(Condition::ServiceUnavailable)
}

#[cfg(test)]
mod tests {
    use super::*;

    const ADDRESSES: [Address; 3] = [Address::Bare, Address::FullMatch, Address::FullNoMatch];
    const RESOURCES: [Resources; 3] =
        [Resources::None, Resources::OnlyNegative, Resources::NonNegative];

    fn kinds() -> Vec<StanzaClass> {
        let messages = MessageType::ALL.into_iter().map(StanzaClass::Message);
        let presences = PresenceType::ALL.into_iter().map(StanzaClass::Presence);
        messages.chain(presences).chain([StanzaClass::IqRequest, StanzaClass::IqReply]).collect()
    }

    fn targets() -> Vec<Target> {
        let mut all = Vec::new();
        for account in [Account::Missing, Account::Exists] {
            for address in ADDRESSES {
                for resources in RESOURCES {
                    for shares_presence in [false, true] {
                        all.push(Target { account, address, resources, shares_presence });
                    }
                }
            }
        }
        all
    }

    fn exists(address: Address, resources: Resources, shares_presence: bool) -> Target {
        Target { account: Account::Exists, address, resources, shares_presence }
    }

    /// The letters of RFC 6121 §8.5.4: what the table means by them for this address.
    fn class(letter: &str, address: Address) -> Decision {
        match (letter, address) {
            ("S", _) => Decision::Ignore,
            ("E", _) => unavailable(),
            ("O", _) => Decision::Store,
            ("D", Address::FullMatch) => Decision::ToResource,
            // "D" without a matching resource: the one that there is.
            ("A" | "D", _) => Decision::ToEachNonNegative,
            _ => panic!("no such letter: {letter}"),
        }
    }

    type Row = (Account, Resources, Address, [&'static str; 4], [&'static str; 4]);

    /// RFC 6121 §8.5.4, table 1: normal, chat, groupchat, headline, as the RFC has them; then
    /// our choice. The rows of two conditions that we do not tell apart stand one after another.
    #[rustfmt::skip]
    const TABLE_1: &[Row] = {
        use Account::{Exists, Missing};
        use Address::{Bare, FullMatch, FullNoMatch};
        use Resources::{NonNegative, None, OnlyNegative};
        &[
            // account does not exist
            (Missing, None,         Bare,        ["S/E", "S/E",  "E",   "S"],   ["E", "E", "E", "S"]),
            (Missing, None,         FullNoMatch, ["S/E", "S/E",  "S/E", "S/E"], ["E", "E", "E", "S"]),
            // account exists, but no active resources
            (Exists,  None,         Bare,        ["O/E", "O/E",  "E",   "S"],   ["O", "O", "E", "S"]),
            (Exists,  None,         FullNoMatch, ["S/E", "O/E",  "S/E", "S/E"], ["E", "O", "E", "S"]),
            // 1+ negative resources but zero non-negative resources
            (Exists,  OnlyNegative, Bare,        ["O/E", "O/E",  "E",   "S"],   ["O", "O", "E", "S"]),
            (Exists,  OnlyNegative, FullMatch,   ["D",   "D",    "D",   "D"],   ["D", "D", "D", "D"]),
            (Exists,  OnlyNegative, FullNoMatch, ["S/E", "O/E",  "S/E", "S/E"], ["E", "O", "E", "S"]),
            // 1 non-negative resource
            (Exists,  NonNegative,  Bare,        ["D",   "D",    "E",   "D"],   ["D", "D", "E", "D"]),
            (Exists,  NonNegative,  FullMatch,   ["D",   "D",    "D",   "D"],   ["D", "D", "D", "D"]),
            (Exists,  NonNegative,  FullNoMatch, ["S/E", "D",    "S/E", "S/E"], ["E", "D", "E", "S"]),
            // 1+ non-negative resources
            (Exists,  NonNegative,  Bare,        ["M/A", "M/A",  "E",   "A"],   ["A", "A", "E", "A"]),
            (Exists,  NonNegative,  FullMatch,   ["D",   "D/A",  "D",   "D"],   ["D", "D", "D", "D"]),
            (Exists,  NonNegative,  FullNoMatch, ["S/E", "M/A",  "S/E", "S/E"], ["E", "A", "E", "S"]),
        ]
    };

    #[test]
    fn messages_follow_table_1_of_rfc_6121_8_5_4() {
        let types =
            [MessageType::Normal, MessageType::Chat, MessageType::Groupchat, MessageType::Headline];
        for &(account, resources, address, allowed, chosen) in TABLE_1 {
            for ((kind, allowed), chosen) in types.into_iter().zip(allowed).zip(chosen) {
                assert!(allowed.split('/').any(|letter| letter == chosen), "{allowed} {chosen}");
                for shares_presence in [false, true] {
                    let target = Target { account, address, resources, shares_presence };
                    let decision = decide(StanzaClass::Message(kind), &target);
                    assert_eq!(decision, class(chosen, address), "{kind:?} {target:?}");
                }
            }
        }
    }

    #[test]
    fn a_connected_resource_without_presence_gets_what_is_addressed_to_it() {
        // RFC 6121 §8.5.3.1 says "available resource or connected resource"; table 1 omits it.
        let target = exists(Address::FullMatch, Resources::None, false);
        for kind in MessageType::ALL {
            assert_eq!(decide(StanzaClass::Message(kind), &target), Decision::ToResource);
        }
    }

    #[test]
    fn an_error_message_reaches_a_matching_resource_or_nobody() {
        for target in targets() {
            let delivered =
                (target.account, target.address) == (Account::Exists, Address::FullMatch);
            let expected = if delivered { Decision::ToResource } else { Decision::Ignore };
            let decision = decide(StanzaClass::Message(MessageType::Error), &target);
            assert_eq!(decision, expected, "{target:?}");
        }
    }

    #[test]
    fn presence_follows_rfc_6121_8_5() {
        use Decision::{Ignore, Probe, Subscription, ToEachAvailable, ToResource};
        use PresenceType as P;
        // missing (§8.5.1), bare (§8.5.2.1.2), bare with nobody there (§8.5.2.2.2),
        // full match (§8.5.3.1), full no match (§8.5.3.2.2)
        let note = [Ignore, ToEachAvailable, Ignore, ToResource, Ignore];
        let request = [Ignore, Subscription, Subscription, Subscription, Subscription];
        let answer = [Ignore, Subscription, Subscription, Subscription, Ignore];
        let rows = [
            (P::Available, note.clone()),
            (P::Unavailable, note.clone()),
            (P::Error, note),
            (P::Subscribe, request),
            (P::Subscribed, answer.clone()),
            (P::Unsubscribe, answer.clone()),
            (P::Unsubscribed, answer),
            (P::Probe, [Probe, Probe, Probe, Probe, Probe]),
        ];
        assert_eq!(rows.len(), PresenceType::ALL.len());
        for (kind, [missing, bare, bare_nobody, full_match, full_no_match]) in rows {
            for target in targets() {
                let expected = match (target.account, target.address, target.resources) {
                    (Account::Missing, ..) => &missing,
                    (_, Address::Bare, Resources::None) => &bare_nobody,
                    (_, Address::Bare, _) => &bare,
                    (_, Address::FullMatch, _) => &full_match,
                    (_, Address::FullNoMatch, _) => &full_no_match,
                };
                assert_eq!(
                    &decide(StanzaClass::Presence(kind), &target),
                    expected,
                    "{kind:?} {target:?}"
                );
            }
        }
    }

    #[test]
    fn iq_requests_follow_rfc_6121_8_5() {
        for target in targets() {
            let expected = match (target.account, target.address, target.shares_presence) {
                (_, Address::Bare, _) => Decision::Account,
                (Account::Missing, ..) => unavailable(),
                (_, Address::FullMatch, true) => Decision::ToResource,
                _ => unavailable(),
            };
            assert_eq!(decide(StanzaClass::IqRequest, &target), expected, "{target:?}");
        }
    }

    #[test]
    fn iq_replies_are_delivered_or_dropped() {
        for target in targets() {
            let delivered =
                (target.account, target.address) == (Account::Exists, Address::FullMatch);
            let expected = if delivered { Decision::ToResource } else { Decision::Ignore };
            assert_eq!(decide(StanzaClass::IqReply, &target), expected, "{target:?}");
        }
    }

    #[test]
    fn a_stranger_cannot_tell_who_exists_or_is_online_by_iq() {
        // Full JIDs only: at the bare JID the account's answers see to it (RFC 6121 §8.1, §11).
        let missing =
            Target { account: Account::Missing, ..exists(ADDRESSES[1], RESOURCES[0], false) };
        for address in [Address::FullMatch, Address::FullNoMatch] {
            for resources in RESOURCES {
                assert_eq!(
                    decide(StanzaClass::IqRequest, &exists(address, resources, false)),
                    decide(StanzaClass::IqRequest, &missing)
                );
            }
        }
    }

    #[test]
    fn all_inputs_keep_the_invariants() {
        let (kinds, targets) = (kinds(), targets());
        assert_eq!((kinds.len(), targets.len()), (15, 36));
        for kind in kinds {
            for target in &targets {
                let decision = decide(kind, target);
                let case = format!("{kind:?} {target:?} {decision:?}");
                let reply = matches!(
                    kind,
                    StanzaClass::IqReply
                        | StanzaClass::Message(MessageType::Error)
                        | StanzaClass::Presence(PresenceType::Error)
                );
                let lives = target.account == Account::Exists;
                match decision {
                    // RFC 6120 §8.3.1: an error is never answered; presence never bounces here.
                    Decision::Bounce(condition) => {
                        assert!(!reply && !matches!(kind, StanzaClass::Presence(_)), "{case}");
                        assert_eq!(condition, Condition::ServiceUnavailable, "{case}");
                    }
                    Decision::ToResource => {
                        assert!(lives && target.address == Address::FullMatch, "{case}");
                    }
                    // RFC 6121 §8.5.2.1.1: never to a negative priority.
                    Decision::ToEachNonNegative => {
                        assert!(lives && target.resources == Resources::NonNegative, "{case}");
                        assert!(matches!(kind, StanzaClass::Message(_)), "{case}");
                    }
                    Decision::ToEachAvailable => {
                        assert!(lives && target.resources != Resources::None, "{case}");
                        assert!(matches!(kind, StanzaClass::Presence(_)), "{case}");
                    }
                    Decision::Store => {
                        use MessageType::{Chat, Normal};
                        assert!(
                            lives && matches!(kind, StanzaClass::Message(Chat | Normal)),
                            "{case}"
                        );
                        assert!(target.resources != Resources::NonNegative, "{case}");
                    }
                    Decision::Account => assert_eq!(kind, StanzaClass::IqRequest, "{case}"),
                    Decision::Subscription => {
                        assert!(lives && matches!(kind, StanzaClass::Presence(_)), "{case}");
                    }
                    Decision::Probe => {
                        assert_eq!(kind, StanzaClass::Presence(PresenceType::Probe), "{case}");
                    }
                    // An IQ request MUST be answered (RFC 6120 §8.2.3), and a message for a
                    // person is never dropped.
                    Decision::Ignore => {
                        use MessageType::{Chat, Groupchat, Normal};
                        assert!(
                            !matches!(
                                kind,
                                StanzaClass::IqRequest
                                    | StanzaClass::Message(Chat | Normal | Groupchat)
                            ),
                            "{case}"
                        );
                    }
                }
            }
        }
    }
}
