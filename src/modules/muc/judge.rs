//! Who may change what of whom (XEP-0045 §5.1.3, §5.2.2, §8, §9, §10): one judgement for each item of a request.

use super::rights::{Affiliation, Role};
use crate::stanza::StanzaError;

/// Somebody as these rules see it: who asks, or whom it is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Rank {
    /// The affiliation, in the room or not.
    pub affiliation: Affiliation,
    /// The role; none for who is not in the room.
    pub role: Role,
}

impl Rank {
    /// Kicks, and gives voice. An admin is a moderator, be it in the room or not.
    pub fn moderates(self) -> bool {
        self.role == Role::Moderator || self.affiliation >= Affiliation::Admin
    }
}

/// The state chart of affiliations (§5.2.2). That an owner is left is for who sees the whole request.
pub fn affiliation(
    actor: Affiliation,
    target: Affiliation,
    wanted: Affiliation,
    is_self: bool,
) -> Result<(), StanzaError> {
    use Affiliation::{Admin, Outcast, Owner};
    if actor < Admin {
        // §9, before 9.1
        return Err(StanzaError::forbidden().text("only admins of the room may do this"));
    }
    if is_self && wanted == Outcast {
        return Err(StanzaError::conflict().text("you cannot ban yourself"));
    }
    if actor == Owner || (target < Admin && wanted < Admin) {
        return Ok(());
    }
    match wanted {
        // §9.1
        Outcast => Err(StanzaError::not_allowed().text("only owners ban admins and owners")),
        // §10.5, §10.8: the lists of owners and admins are the owners' own.
        _ => Err(StanzaError::forbidden().text("only owners of the room may do this")),
    }
}

/// The state chart of roles (§5.1.3), for somebody who is in the room.
pub fn role(actor: Rank, target: Rank, wanted: Role, is_self: bool) -> Result<(), StanzaError> {
    use Affiliation::Admin;
    let is_admin = actor.affiliation >= Admin;
    if !actor.moderates() || (wanted == Role::Moderator && !is_admin) {
        // §9.6 is for admins.
        return Err(StanzaError::forbidden().text("this is not for you to do here"));
    }
    if wanted == target.role {
        return Ok(());
    }
    let above = |text| Err(StanzaError::not_allowed().text(text));
    match wanted {
        Role::Moderator => Ok(()),
        // §8.2: of kicking oneself it says that a service may refuse it; it is harmless.
        Role::None if is_self => Ok(()),
        Role::None if target.affiliation > actor.affiliation => above("this one stands above you"),
        Role::None if target.role == Role::Moderator && !is_admin => {
            above("only admins kick moderators")
        }
        Role::None => Ok(()),
        // §8.4
        Role::Visitor if target.affiliation >= Admin => above("admins and owners keep their voice"),
        Role::Visitor if target.affiliation >= actor.affiliation => {
            above("this one stands as high as you")
        }
        // §9.7
        Role::Visitor | Role::Participant if target.role == Role::Moderator => match () {
            () if !is_admin => Err(StanzaError::forbidden().text("this is for admins to do")),
            () if target.affiliation >= Admin => above("admins and owners are moderators"),
            () => Ok(()),
        },
        Role::Visitor | Role::Participant => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use Affiliation::{Admin, Outcast, Owner};

    const KINDS: [Affiliation; 5] = [Outcast, Affiliation::None, Affiliation::Member, Admin, Owner];

    fn said(judged: Result<(), StanzaError>) -> &'static str {
        match judged {
            Ok(()) => "ok",
            Err(error) => match error.condition.as_str() {
                "forbidden" => "forbidden",
                "not-allowed" => "not-allowed",
                "conflict" => "conflict",
                _ => "?",
            },
        }
    }

    /// §5.2.2, the table word by word: who may take somebody from the row to the column. `a`: an admin or an owner,
    /// `o`: an owner. The diagonal is no change; what is said of it is said of the list that it is in.
    const CHART: [(Affiliation, &str); 5] = [
        (Outcast, "aaaoo"),
        (Affiliation::None, "aaaoo"),
        (Affiliation::Member, "aaaoo"),
        (Admin, "ooooo"),
        (Owner, "ooooo"),
    ];

    #[test]
    fn affiliations_change_as_the_table_says() {
        for actor in KINDS {
            for (target, row) in CHART {
                for (wanted, who) in KINDS.into_iter().zip(row.chars()) {
                    let may = actor == Owner || (actor == Admin && who == 'a');
                    let expected = match () {
                        () if may => "ok",
                        () if actor < Admin => "forbidden",
                        // §9.1; elsewhere it is the list that is guarded: §10.5, §10.8.
                        () if wanted == Outcast => "not-allowed",
                        () => "forbidden",
                    };
                    let judged = said(affiliation(actor, target, wanted, false));
                    assert_eq!(judged, expected, "{actor:?}: {target:?} to {wanted:?}");
                }
            }
            // §9.1: of oneself.
            let own = said(affiliation(actor, actor, Outcast, true));
            assert_eq!(own, if actor < Admin { "forbidden" } else { "conflict" });
        }
        // §10.4: an owner may give it up; whether one is left is not judged here.
        assert_eq!(said(affiliation(Owner, Owner, Affiliation::Member, true)), "ok");
    }

    fn ranks() -> impl Iterator<Item = Rank> {
        KINDS.into_iter().flat_map(|affiliation| {
            Role::ALL.into_iter().map(move |role| Rank { affiliation, role })
        })
    }

    /// Who can be in a room (§5.1.2, §5.1.3): no outcast, and an admin as a moderator only.
    fn is_inside(rank: Rank) -> bool {
        match rank.affiliation {
            Outcast => false,
            Admin | Owner => rank.role == Role::Moderator,
            _ => rank.role != Role::None,
        }
    }

    /// Each sentence of §8.2 to §8.4, §9.6 and §9.7 for itself, the refusals in the order of the text.
    fn expected(actor: Rank, target: Rank, wanted: Role) -> &'static str {
        let (moderator, admin) = (actor.moderates(), actor.affiliation >= Admin);
        let is_change = wanted != target.role;
        let is_demoted = target.role == Role::Moderator && is_change;
        match wanted {
            _ if !moderator => "forbidden",
            Role::None if target.affiliation > actor.affiliation => "not-allowed",
            Role::None if is_demoted && !admin => "not-allowed",
            Role::Visitor if is_change && target.affiliation >= Admin => "not-allowed",
            Role::Visitor if is_change && target.affiliation >= actor.affiliation => "not-allowed",
            Role::Visitor | Role::Participant if is_demoted && !admin => "forbidden",
            Role::Participant if is_demoted && target.affiliation >= Admin => "not-allowed",
            Role::Moderator if !admin => "forbidden",
            _ => "ok",
        }
    }

    #[test]
    fn roles_change_as_the_table_says() {
        let mut counted = 0;
        for actor in ranks() {
            for target in ranks().filter(|target| is_inside(*target)) {
                for wanted in Role::ALL {
                    let judged = said(role(actor, target, wanted, false));
                    let expected = expected(actor, target, wanted);
                    assert_eq!(judged, expected, "{actor:?}: {target:?} to {wanted:?}");
                    counted += 1;
                }
            }
        }
        assert_eq!(counted, 20 * 8 * 4);
        // §8.2
        let own = Rank { affiliation: Affiliation::None, role: Role::Moderator };
        assert_eq!(said(role(own, own, Role::None, true)), "ok");
        // §9.7
        let own = Rank { affiliation: Owner, role: Role::Moderator };
        assert_eq!(said(role(own, own, Role::Participant, true)), "not-allowed");
    }
}
