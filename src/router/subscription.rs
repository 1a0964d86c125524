//! Presence subscriptions: RFC 6121 §3 and its appendix A as one pure table over the nine states,
//! with pre-approval (§3.4). Both sides of a local pair go through it, first [`outbound`] for the
//! sender, then [`inbound`] for the recipient (RFC 6121 §3.1.2).
//!
//! The caller stamps bare JIDs on both addresses, and refuses what is addressed to the sender's
//! own account.

use crate::store::roster::Subscription;

/// What an account knows about one contact; by default the contact is unknown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct State {
    /// One of the nine states of RFC 6121 appendix A.1.
    pub subscription: Subscription,
    /// The account has approved a request that may still come (RFC 6121 §3.4).
    pub approved: bool,
}

impl Default for State {
    fn default() -> Self {
        Self { subscription: Subscription::None, approved: false }
    }
}

/// The four presence types that manage subscriptions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Verb {
    /// I ask to see you.
    Subscribe,
    /// I no longer want to see you.
    Unsubscribe,
    /// You may see me.
    Subscribed,
    /// You may not, or no longer, see me.
    Unsubscribed,
}

/// Presence for the contact alone, one stanza for each of the account's available resources.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum PresenceToContact {
    /// The current presence, *after* the `subscribed` (RFC 6121 §3.1.5).
    Available,
    /// Unavailable presence, *before* the `unsubscribed` (RFC 6121 §3.2.2, §3.3.3).
    Unavailable,
}

/// Which of the account's resources a stanza is delivered to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Audience {
    /// Those that have sent initial presence: for a request (RFC 6121 §3.1.3).
    Available,
    /// Those that have asked for the roster: for what explains the roster push that follows
    /// (RFC 6121 §3.1.6, §3.2.3, §3.3.3).
    Interested,
}

/// What the account's server does about a stanza that the account sends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Outbound {
    /// Send the stanza on to the contact.
    pub route: bool,
    /// The state from now on.
    pub next: State,
    /// The roster item looks different: push it to the interested resources, after routing. If
    /// there is no item yet, this creates it.
    pub push: bool,
    /// Presence for the contact.
    pub send_presence: Option<PresenceToContact>,
    /// The contact's request has been answered: forget the stored stanza.
    pub forget_request: bool,
}

/// What the account's server does about a stanza that a contact sends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Inbound {
    /// Deliver the stanza to these resources, before any roster push.
    pub deliver: Option<Audience>,
    /// The state from now on.
    pub next: State,
    /// The roster item looks different: push it to the interested resources, after delivery. An
    /// item exists then: a request alone MUST NOT make one (RFC 6121 §3.1.3).
    pub push: bool,
    /// Answer on the account's behalf, bare JID to bare JID.
    pub auto_reply: Option<Verb>,
    /// Presence for the contact.
    pub send_presence: Option<PresenceToContact>,
    /// Store the stanza, whole, and deliver it to each resource that becomes available, until the
    /// account answers (RFC 6121 §3.1.3).
    pub keep_request: bool,
    /// The contact's request is answered or withdrawn: forget the stored stanza.
    pub forget_request: bool,
}

/// Appendix A.2: the account sends `verb` to the contact.
pub fn outbound(state: State, verb: Verb) -> Outbound {
    let now = state.subscription;
    match verb {
        // A.2.1 and A.2.2: always routed, since the contact's server may have lost its side.
        Verb::Subscribe => Outbound { route: true, ..sent(state, state.to(we_ask(now))) },
        Verb::Unsubscribe => Outbound { route: true, ..sent(state, state.to(we_stop(now))) },
        Verb::Subscribed if asked(now) => Outbound {
            route: true,
            send_presence: Some(PresenceToContact::Available),
            ..sent(state, state.to(we_grant(now)))
        },
        // §3.4.2 (1): MUST be ignored.
        Verb::Subscribed if now.shows_presence() => sent(state, state),
        // §3.4.2 (3) and (4): noted and pushed; MUST NOT be routed.
        Verb::Subscribed => sent(state, State { approved: true, ..state }),
        Verb::Unsubscribed => Outbound {
            // §3.2.2 (1) and (2): where there is nothing to cancel but a pre-approval, the contact gets
            // nothing.
            route: asked(now) || now.shows_presence(),
            // A contact that is only denied has never seen us, and a stanza from each full JID would be a
            // presence leak; §3.2.2 wants it "while the user is still subscribed".
            send_presence: now.shows_presence().then_some(PresenceToContact::Unavailable),
            ..sent(state, State { subscription: we_refuse(now), approved: false })
        },
    }
}

/// Appendix A.3: the contact sends `verb` to the account.
pub fn inbound(state: State, verb: Verb) -> Inbound {
    let now = state.subscription;
    match verb {
        Verb::Subscribe => inbound_request(state),
        // A.3.2; §3.3.3 would drop a withdrawn request in silence, but a client that shows the request
        // should be notified.
        Verb::Unsubscribe if asked(now) || now.shows_presence() => Inbound {
            deliver: Some(Audience::Interested),
            auto_reply: Some(Verb::Unsubscribed),
            // §3.3.3 (3); nothing for a contact that has never seen us.
            send_presence: now.shows_presence().then_some(PresenceToContact::Unavailable),
            ..received(state, state.to(we_refuse(now)))
        },
        Verb::Subscribed if ask(state) => Inbound {
            deliver: Some(Audience::Interested),
            ..received(state, state.to(contact_grants(now)))
        },
        // A.3.4: a denial of our request counts too, which §3.2.3 leaves out.
        Verb::Unsubscribed if ask(state) || now.sees_presence() => Inbound {
            deliver: Some(Audience::Interested),
            ..received(state, state.to(we_stop(now)))
        },
        // A.3.2 to A.3.4: no change, so no delivery; and no answer, or two servers would never stop.
        Verb::Unsubscribe | Verb::Subscribed | Verb::Unsubscribed => received(state, state),
    }
}

/// Appendix A.3.1 with §3.1.3: the contact asks to see the account.
fn inbound_request(state: State) -> Inbound {
    let now = state.subscription;
    if now.shows_presence() || state.approved {
        return Inbound {
            auto_reply: Some(Verb::Subscribed),
            // §3.1.5 wants it after any approval. For a contact that sees us already (A.3.1 [2]) the RFC
            // leaves it open: a contact that asks again has lost its record, and our presence with it.
            send_presence: Some(PresenceToContact::Available),
            // §3.4.2: a pre-approved request MUST NOT be delivered. The approval stays on record,
            // visible in the roster, until the account sends "unsubscribed".
            ..received(state, state.to(we_grant(contact_asks(now))))
        };
    }
    if asked(now) {
        // A.3.1: SHOULD NOT be delivered again. §3.1.3 (4): one is stored, here the first, so that a
        // contact cannot change the store or make it grow by asking.
        return received(state, state);
    }
    Inbound {
        deliver: Some(Audience::Available),
        keep_request: true,
        ..received(state, state.to(contact_asks(now)))
    }
}

impl State {
    fn to(self, subscription: Subscription) -> Self {
        Self { subscription, ..self }
    }

    /// What a client sees of it in the roster; a contact's request is not part of that.
    fn item(self) -> (&'static str, bool, bool) {
        (attribute(self), ask(self), self.approved)
    }
}

/// What follows from the change of state alone, for a stanza that the account sends.
fn sent(before: State, next: State) -> Outbound {
    Outbound {
        route: false,
        next,
        push: before.item() != next.item(),
        send_presence: None,
        forget_request: asked(before.subscription) && !asked(next.subscription),
    }
}

/// What follows from the change of state alone, for a stanza that the contact sends.
fn received(before: State, next: State) -> Inbound {
    Inbound {
        deliver: None,
        next,
        push: before.item() != next.item(),
        auto_reply: None,
        send_presence: None,
        keep_request: false,
        forget_request: asked(before.subscription) && !asked(next.subscription),
    }
}

/// What MUST be sent to the contact when its roster item is removed (RFC 6121 §2.5.2), in order; each goes
/// through [`outbound`]. Open requests of either side are withdrawn and denied as well: otherwise an answer
/// could come, or be owed, for a contact that is gone.
pub fn removal(state: State) -> Vec<Verb> {
    let now = state.subscription;
    let mut verbs = Vec::with_capacity(2);
    if now.sees_presence() || ask(state) {
        verbs.push(Verb::Unsubscribe);
    }
    if now.shows_presence() || asked(now) {
        verbs.push(Verb::Unsubscribed);
    }
    verbs
}

/// Whether the roster item has `ask='subscribe'` (RFC 6121 §2.1.2.2).
pub fn ask(state: State) -> bool {
    use Subscription::{FromPendingOut, NonePendingOut, NonePendingOutIn};
    matches!(state.subscription, NonePendingOut | NonePendingOutIn | FromPendingOut)
}

/// The roster item's 'subscription' attribute (RFC 6121 §2.1.2.5).
pub fn attribute(state: State) -> &'static str {
    match (state.subscription.sees_presence(), state.subscription.shows_presence()) {
        (false, false) => "none",
        (true, false) => "to",
        (false, true) => "from",
        (true, true) => "both",
    }
}

/// Whether the contact has a request that waits for the account's answer.
pub fn asked(subscription: Subscription) -> bool {
    use Subscription::{NonePendingIn, NonePendingOutIn, ToPendingIn};
    matches!(subscription, NonePendingIn | NonePendingOutIn | ToPendingIn)
}

/// Table 2: we send "subscribe".
fn we_ask(now: Subscription) -> Subscription {
    use Subscription::*;
    match now {
        None => NonePendingOut,
        NonePendingIn => NonePendingOutIn,
        From => FromPendingOut,
        NonePendingOut | NonePendingOutIn | To | ToPendingIn | FromPendingOut | Both => now,
    }
}

/// Tables 3 and 9: we send "unsubscribe", or the contact sends "unsubscribed".
fn we_stop(now: Subscription) -> Subscription {
    use Subscription::*;
    match now {
        NonePendingOut | To => None,
        NonePendingOutIn | ToPendingIn => NonePendingIn,
        FromPendingOut | Both => From,
        None | NonePendingIn | From => now,
    }
}

/// Table 4: we send "subscribed".
fn we_grant(now: Subscription) -> Subscription {
    use Subscription::*;
    match now {
        NonePendingIn => From,
        NonePendingOutIn => FromPendingOut,
        ToPendingIn => Both,
        None | NonePendingOut | To | From | FromPendingOut | Both => now,
    }
}

/// Tables 5 and 7: we send "unsubscribed", or the contact sends "unsubscribe".
fn we_refuse(now: Subscription) -> Subscription {
    use Subscription::*;
    match now {
        NonePendingIn | From => None,
        NonePendingOutIn | FromPendingOut => NonePendingOut,
        ToPendingIn | Both => To,
        None | NonePendingOut | To => now,
    }
}

/// Table 6: the contact sends "subscribe".
fn contact_asks(now: Subscription) -> Subscription {
    use Subscription::*;
    match now {
        None => NonePendingIn,
        NonePendingOut => NonePendingOutIn,
        To => ToPendingIn,
        NonePendingIn | NonePendingOutIn | ToPendingIn | From | FromPendingOut | Both => now,
    }
}

/// Table 8: the contact sends "subscribed".
fn contact_grants(now: Subscription) -> Subscription {
    use Subscription::*;
    match now {
        NonePendingOut => To,
        NonePendingOutIn => ToPendingIn,
        FromPendingOut => Both,
        None | NonePendingIn | To | ToPendingIn | From | Both => now,
    }
}

#[cfg(test)]
mod tests {
    use super::Subscription::*;
    use super::*;

    const AVAILABLE: Option<PresenceToContact> = Some(PresenceToContact::Available);
    const UNAVAILABLE: Option<PresenceToContact> = Some(PresenceToContact::Unavailable);
    const NOTHING: Option<PresenceToContact> = Option::None;

    const STATES: [Subscription; 9] = [
        None,
        NonePendingOut,
        NonePendingIn,
        NonePendingOutIn,
        To,
        ToPendingIn,
        From,
        FromPendingOut,
        Both,
    ];

    const VERBS: [Verb; 4] =
        [Verb::Subscribe, Verb::Unsubscribe, Verb::Subscribed, Verb::Unsubscribed];

    fn state(subscription: Subscription, approved: bool) -> State {
        State { subscription, approved }
    }

    /// One row: existing state, whether it is routed or delivered, new state, whether the roster
    /// item changes, and the presence that goes to the contact.
    type Row = (Subscription, bool, Subscription, bool, Option<PresenceToContact>);

    fn outbound_table(section: &str, verb: Verb, rows: [Row; 9]) {
        assert_eq!(rows.map(|row| row.0), STATES, "{section}");
        for (before, route, next, push, send_presence) in rows {
            for approved in [false, true] {
                let case = format!("{section}: {before:?}, approved: {approved}");
                let result = outbound(state(before, approved), verb);
                // §3.4: the flag is the only thing that an approval changes on the way out.
                let (approved_next, push) = match verb {
                    Verb::Subscribe | Verb::Unsubscribe => (approved, push),
                    Verb::Subscribed if [None, NonePendingOut, To].contains(&before) => {
                        (true, !approved)
                    }
                    Verb::Subscribed => (approved, push),
                    Verb::Unsubscribed => (false, push || approved),
                };
                let expected = Outbound {
                    route,
                    next: state(next, approved_next),
                    push,
                    send_presence,
                    forget_request: asked(before) && !asked(next),
                };
                assert_eq!(result, expected, "{case}");
            }
        }
    }

    #[test]
    fn rfc_6121_a_2_1_outbound_subscribe() {
        outbound_table(
            "A.2.1, table 2",
            Verb::Subscribe,
            [
                (None, true, NonePendingOut, true, NOTHING),
                (NonePendingOut, true, NonePendingOut, false, NOTHING),
                (NonePendingIn, true, NonePendingOutIn, true, NOTHING),
                (NonePendingOutIn, true, NonePendingOutIn, false, NOTHING),
                (To, true, To, false, NOTHING),
                (ToPendingIn, true, ToPendingIn, false, NOTHING),
                (From, true, FromPendingOut, true, NOTHING),
                (FromPendingOut, true, FromPendingOut, false, NOTHING),
                (Both, true, Both, false, NOTHING),
            ],
        );
    }

    #[test]
    fn rfc_6121_a_2_2_outbound_unsubscribe() {
        outbound_table(
            "A.2.2, table 3",
            Verb::Unsubscribe,
            [
                (None, true, None, false, NOTHING),
                (NonePendingOut, true, None, true, NOTHING),
                (NonePendingIn, true, NonePendingIn, false, NOTHING),
                (NonePendingOutIn, true, NonePendingIn, true, NOTHING),
                (To, true, None, true, NOTHING),
                (ToPendingIn, true, NonePendingIn, true, NOTHING),
                (From, true, From, false, NOTHING),
                (FromPendingOut, true, From, true, NOTHING),
                (Both, true, From, true, NOTHING),
            ],
        );
    }

    #[test]
    fn rfc_6121_a_2_3_outbound_subscribed() {
        outbound_table(
            "A.2.3, table 4, and 3.4.2",
            Verb::Subscribed,
            [
                (None, false, None, true, NOTHING),
                (NonePendingOut, false, NonePendingOut, true, NOTHING),
                (NonePendingIn, true, From, true, AVAILABLE),
                (NonePendingOutIn, true, FromPendingOut, true, AVAILABLE),
                (To, false, To, true, NOTHING),
                (ToPendingIn, true, Both, true, AVAILABLE),
                (From, false, From, false, NOTHING),
                (FromPendingOut, false, FromPendingOut, false, NOTHING),
                (Both, false, Both, false, NOTHING),
            ],
        );
    }

    #[test]
    fn rfc_6121_a_2_4_outbound_unsubscribed() {
        outbound_table(
            "A.2.4, table 5, and 3.2.2",
            Verb::Unsubscribed,
            [
                (None, false, None, false, NOTHING),
                (NonePendingOut, false, NonePendingOut, false, NOTHING),
                (NonePendingIn, true, None, false, NOTHING),
                (NonePendingOutIn, true, NonePendingOut, false, NOTHING),
                (To, false, To, false, NOTHING),
                (ToPendingIn, true, To, false, NOTHING),
                (From, true, None, true, UNAVAILABLE),
                (FromPendingOut, true, NonePendingOut, true, UNAVAILABLE),
                (Both, true, To, true, UNAVAILABLE),
            ],
        );
    }

    fn inbound_table(
        section: &str,
        verb: Verb,
        auto_reply: Option<Verb>,
        approvals: &[bool],
        rows: [Row; 9],
    ) {
        assert_eq!(rows.map(|row| row.0), STATES, "{section}");
        for (before, deliver, next, push, send_presence) in rows {
            for &approved in approvals {
                let case = format!("{section}: {before:?}, approved: {approved}");
                let result = inbound(state(before, approved), verb);
                let audience = match verb {
                    Verb::Subscribe => Audience::Available,
                    _ => Audience::Interested,
                };
                // "subscribe" is answered where it is not delivered and the contact sees us in
                // the end; "unsubscribe" where it is delivered.
                let answered = match verb {
                    Verb::Subscribe => next.shows_presence(),
                    _ => deliver,
                };
                let expected = Inbound {
                    deliver: deliver.then_some(audience),
                    next: state(next, approved),
                    push,
                    auto_reply: auto_reply.filter(|_| answered),
                    send_presence,
                    keep_request: verb == Verb::Subscribe && deliver,
                    forget_request: asked(before) && !asked(next),
                };
                assert_eq!(result, expected, "{case}");
            }
        }
    }

    #[test]
    fn rfc_6121_a_3_1_inbound_subscribe() {
        inbound_table(
            "A.3.1, table 6, and 3.1.3",
            Verb::Subscribe,
            Some(Verb::Subscribed),
            &[false],
            [
                (None, true, NonePendingIn, false, NOTHING),
                (NonePendingOut, true, NonePendingOutIn, false, NOTHING),
                (NonePendingIn, false, NonePendingIn, false, NOTHING),
                (NonePendingOutIn, false, NonePendingOutIn, false, NOTHING),
                (To, true, ToPendingIn, false, NOTHING),
                (ToPendingIn, false, ToPendingIn, false, NOTHING),
                (From, false, From, false, AVAILABLE),
                (FromPendingOut, false, FromPendingOut, false, AVAILABLE),
                (Both, false, Both, false, AVAILABLE),
            ],
        );
    }

    #[test]
    fn rfc_6121_3_4_2_inbound_subscribe_after_pre_approval() {
        inbound_table(
            "A.3.1 [1] and 3.4.2",
            Verb::Subscribe,
            Some(Verb::Subscribed),
            &[true],
            [
                (None, false, From, true, AVAILABLE),
                (NonePendingOut, false, FromPendingOut, true, AVAILABLE),
                (NonePendingIn, false, From, true, AVAILABLE),
                (NonePendingOutIn, false, FromPendingOut, true, AVAILABLE),
                (To, false, Both, true, AVAILABLE),
                (ToPendingIn, false, Both, true, AVAILABLE),
                (From, false, From, false, AVAILABLE),
                (FromPendingOut, false, FromPendingOut, false, AVAILABLE),
                (Both, false, Both, false, AVAILABLE),
            ],
        );
    }

    #[test]
    fn rfc_6121_a_3_2_inbound_unsubscribe() {
        inbound_table(
            "A.3.2, table 7, and 3.3.3",
            Verb::Unsubscribe,
            Some(Verb::Unsubscribed),
            &[false, true],
            [
                (None, false, None, false, NOTHING),
                (NonePendingOut, false, NonePendingOut, false, NOTHING),
                (NonePendingIn, true, None, false, NOTHING),
                (NonePendingOutIn, true, NonePendingOut, false, NOTHING),
                (To, false, To, false, NOTHING),
                (ToPendingIn, true, To, false, NOTHING),
                (From, true, None, true, UNAVAILABLE),
                (FromPendingOut, true, NonePendingOut, true, UNAVAILABLE),
                (Both, true, To, true, UNAVAILABLE),
            ],
        );
    }

    #[test]
    fn rfc_6121_a_3_3_inbound_subscribed() {
        inbound_table(
            "A.3.3, table 8, and 3.1.6",
            Verb::Subscribed,
            Option::None,
            &[false, true],
            [
                (None, false, None, false, NOTHING),
                (NonePendingOut, true, To, true, NOTHING),
                (NonePendingIn, false, NonePendingIn, false, NOTHING),
                (NonePendingOutIn, true, ToPendingIn, true, NOTHING),
                (To, false, To, false, NOTHING),
                (ToPendingIn, false, ToPendingIn, false, NOTHING),
                (From, false, From, false, NOTHING),
                (FromPendingOut, true, Both, true, NOTHING),
                (Both, false, Both, false, NOTHING),
            ],
        );
    }

    #[test]
    fn rfc_6121_a_3_4_inbound_unsubscribed() {
        inbound_table(
            "A.3.4, table 9, and 3.2.3",
            Verb::Unsubscribed,
            Option::None,
            &[false, true],
            [
                (None, false, None, false, NOTHING),
                (NonePendingOut, true, None, true, NOTHING),
                (NonePendingIn, false, NonePendingIn, false, NOTHING),
                (NonePendingOutIn, true, NonePendingIn, true, NOTHING),
                (To, true, None, true, NOTHING),
                (ToPendingIn, true, NonePendingIn, true, NOTHING),
                (From, false, From, false, NOTHING),
                (FromPendingOut, true, From, true, NOTHING),
                (Both, true, From, true, NOTHING),
            ],
        );
    }

    #[test]
    fn rfc_6121_a_1_the_roster_shows_attribute_and_ask() {
        let rows = [
            (None, "none", false),
            (NonePendingOut, "none", true),
            (NonePendingIn, "none", false),
            (NonePendingOutIn, "none", true),
            (To, "to", false),
            (ToPendingIn, "to", false),
            (From, "from", false),
            (FromPendingOut, "from", true),
            (Both, "both", false),
        ];
        assert_eq!(rows.map(|row| row.0), STATES);
        for (subscription, name, asks) in rows {
            let state = state(subscription, false);
            assert_eq!((attribute(state), ask(state)), (name, asks), "{subscription:?}");
        }
    }

    #[test]
    fn rfc_6121_2_5_2_removal_ends_whatever_there_was() {
        use Verb::{Unsubscribe, Unsubscribed};
        let rows: [(Subscription, &[Verb]); 9] = [
            (None, &[]),
            (NonePendingOut, &[Unsubscribe]),
            (NonePendingIn, &[Unsubscribed]),
            (NonePendingOutIn, &[Unsubscribe, Unsubscribed]),
            (To, &[Unsubscribe]),
            (ToPendingIn, &[Unsubscribe, Unsubscribed]),
            (From, &[Unsubscribed]),
            (FromPendingOut, &[Unsubscribe, Unsubscribed]),
            (Both, &[Unsubscribe, Unsubscribed]),
        ];
        assert_eq!(rows.map(|row| row.0), STATES);
        for (subscription, verbs) in rows {
            let mut now = state(subscription, false);
            assert_eq!(removal(now), verbs, "{subscription:?}");
            for verb in removal(now) {
                let step = outbound(now, verb);
                assert!(step.route, "{subscription:?} {verb:?}");
                now = step.next;
            }
            assert_eq!(now, State::default(), "{subscription:?}");
        }
    }

    #[test]
    fn two_servers_that_answer_each_other_come_to_rest_in_agreement() {
        // Each pair of states, each verb: the automatic answers end, and never ask for another.
        for (ours, theirs) in STATES.into_iter().flat_map(|a| STATES.map(|b| (a, b))) {
            for (verb, approved) in VERBS.into_iter().flat_map(|v| [(v, false), (v, true)]) {
                let sent = outbound(state(ours, false), verb);
                if !sent.route {
                    continue;
                }
                let there = inbound(state(theirs, approved), verb);
                let Some(answer) = there.auto_reply else { continue };
                let back = inbound(sent.next, answer);
                assert_eq!(back.auto_reply, Option::None, "{ours:?} {theirs:?} {verb:?}");
                let agree = back.next.subscription.sees_presence()
                    == there.next.subscription.shows_presence();
                assert!(agree, "{ours:?} {theirs:?} {verb:?}");
            }
        }
    }

    #[test]
    fn a_request_alone_never_makes_a_roster_item() {
        // RFC 6121 §3.1.3, security warning: from an unknown contact, no push without approval.
        for verb in VERBS {
            let first = inbound(State::default(), verb);
            assert!(matches!(first, Inbound { push: false, .. }), "{verb:?}");
            for verb in VERBS {
                let then = inbound(first.next, verb);
                assert!(matches!(then, Inbound { push: false, .. }), "{verb:?}");
            }
        }
    }

    #[test]
    fn presence_goes_only_to_a_contact_that_may_see_it() {
        for subscription in STATES {
            for (verb, approved) in VERBS.into_iter().flat_map(|v| [(v, false), (v, true)]) {
                let before = state(subscription, approved);
                let (out, into) = (outbound(before, verb), inbound(before, verb));
                for (next, sent) in [(out.next, out.send_presence), (into.next, into.send_presence)]
                {
                    let allowed = match sent {
                        Some(PresenceToContact::Available) => next.subscription.shows_presence(),
                        Some(PresenceToContact::Unavailable) => subscription.shows_presence(),
                        Option::None => true,
                    };
                    assert!(allowed, "{subscription:?} {verb:?}");
                }
            }
        }
    }
}
