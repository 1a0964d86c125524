//! The errors of XEP-0060, each with its condition in the namespace of pubsub's errors.

use crate::stanza::{ErrorType, StanzaError};
use crate::store::tx::StoreError;

/// Why a request was not done. Boxed, as it is passed through every step.
#[derive(Debug)]
pub(super) enum Failure {
    /// The asker gets this error; nothing was written.
    Refused(Box<StanzaError>),
    /// The store failed; the transaction is rolled back.
    Store(StoreError),
}

impl From<StanzaError> for Failure {
    fn from(error: StanzaError) -> Self {
        Self::Refused(Box::new(error))
    }
}

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

/// What a step of a request gives.
pub(super) type Step<T> = Result<T, Failure>;

/// Makes a refusal a value of its own, so that a caller's transaction goes on.
pub(super) fn settled<T>(step: Step<T>) -> Result<Result<T, StanzaError>, StoreError> {
    match step {
        Ok(done) => Ok(Ok(done)),
        Err(Failure::Refused(error)) => Ok(Err(*error)),
        Err(Failure::Store(error)) => Err(error),
    }
}

/// Names constructors: base condition, pubsub's condition.
macro_rules! errors {
    ($($(#[$doc:meta])* $name:ident = $base:ident, $condition:literal;)*) => {
        $($(#[$doc])*
        pub(super) fn $name() -> StanzaError {
            StanzaError::$base().application(NS, $condition)
        })*

        #[cfg(test)]
        pub(super) const ALL: &[(&str, fn() -> StanzaError)] = &[$(($condition, $name)),*];
    };
}

errors! {
    /// §6.1.3.4, §6.5.9.8
    closed_node = not_allowed, "closed-node";
    /// §6.1.3.1
    invalid_jid = bad_request, "invalid-jid";
    /// §6.3.7: a form with a field or a value that is none.
    invalid_options = bad_request, "invalid-options";
    /// §7.1.3.6
    invalid_payload = bad_request, "invalid-payload";
    /// §7.1.3.7
    item_forbidden = bad_request, "item-forbidden";
    /// §7.1.3.7, §7.2.3.4
    item_required = bad_request, "item-required";
    /// §6.3.7
    jid_required = bad_request, "jid-required";
    /// XEP-0248 §7.2.3.3, which is the only one to say what comes with the condition.
    max_nodes_exceeded = not_allowed, "max-nodes-exceeded";
    /// §7.1.3.4
    node_full = conflict, "node-full";
    /// §7.2.3.3, §8.2.3.3
    nodeid_required = bad_request, "nodeid-required";
    /// §6.1.3.3, §6.5.9.7
    not_in_roster_group = not_authorized, "not-in-roster-group";
    /// §6.5.9.3
    not_subscribed = not_authorized, "not-subscribed";
    /// §7.1.3.5
    payload_too_big = not_acceptable, "payload-too-big";
    /// §7.1.3.7
    payload_required = bad_request, "payload-required";
    /// §6.1.3.7
    pending_subscription = not_authorized, "pending-subscription";
    /// §7.1.5
    precondition_not_met = conflict, "precondition-not-met";
    /// §6.1.3.2, §6.5.9.6
    presence_subscription_required = not_authorized, "presence-subscription-required";
    /// §8.1.2
    unsupported_access_model = not_acceptable, "unsupported-access-model";
}

/// §6.1.3.9, of type wait.
pub(super) fn too_many_subscriptions() -> StanzaError {
    StanzaError::policy_violation().kind(ErrorType::Wait).application(NS, "too-many-subscriptions")
}

/// §6.2.3.2: who unsubscribes was not subscribed. Another condition and type than [`not_subscribed`].
pub(super) fn no_such_subscriber() -> StanzaError {
    StanzaError::unexpected_request().kind(ErrorType::Cancel).application(NS, "not-subscribed")
}

/// §7.1.3.2 and wherever else a feature is missing.
pub(super) fn unsupported(feature: &'static str) -> StanzaError {
    let error = StanzaError::feature_not_implemented().application(NS, "unsupported");
    error.attribute("feature", feature)
}

/// All that a service may store is used. No specification says how; it passes when something is deleted.
pub(super) fn storage_full() -> StanzaError {
    StanzaError::resource_constraint().text("the storage is full: delete something, and try again")
}

/// One who would be one too many in a list of ours.
pub(super) fn list_full() -> StanzaError {
    StanzaError::policy_violation().kind(ErrorType::Wait).text("the node's list is full")
}

const NS: &str = "http://jabber.org/protocol/pubsub#errors";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_is_written_as_its_section_shows() {
        for (condition, error) in ALL {
            let end = format!("<{condition} xmlns='{NS}'/></error>");
            assert!(error().to_xml().ends_with(&end), "{}", error().to_xml());
        }
        for (error, ty, base, end) in [
            (closed_node(), "cancel", "not-allowed", "<closed-node"),
            (no_such_subscriber(), "cancel", "unexpected-request", "<not-subscribed"),
            (not_subscribed(), "auth", "not-authorized", "<not-subscribed"),
            (too_many_subscriptions(), "wait", "policy-violation", "<too-many-subscriptions"),
            (unsupported("publish"), "cancel", "feature-not-implemented", "<unsupported"),
            (payload_too_big(), "modify", "not-acceptable", "<payload-too-big"),
            (precondition_not_met(), "cancel", "conflict", "<precondition-not-met"),
        ] {
            let xml = error.to_xml();
            let start = format!("<error type='{ty}'><{base} ");
            assert!(xml.starts_with(&start) && xml.contains(end), "{xml}");
        }
        assert!(unsupported("publish").to_xml().contains(" feature='publish'/>"));
    }
}
