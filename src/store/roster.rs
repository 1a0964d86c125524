//! The roster (RFC 6121 §2).

/// The nine subscription states of RFC 6121 appendix A.1, from the account's side. A contact that
/// is not in the roster is in `None` (or, with a request of its own, in `NonePendingIn`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Subscription {
    /// Neither sees the other.
    None,
    /// Neither sees the other; we have asked.
    NonePendingOut,
    /// Neither sees the other; the contact has asked.
    NonePendingIn,
    /// Neither sees the other; both have asked.
    NonePendingOutIn,
    /// We see the contact.
    To,
    /// We see the contact, who has asked to see us.
    ToPendingIn,
    /// The contact sees us.
    From,
    /// The contact sees us; we have asked to see the contact.
    FromPendingOut,
    /// Both see each other.
    Both,
}
