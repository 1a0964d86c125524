//! Which other servers the operator lets in or keeps out: said while the server runs, and kept.

use super::tx::{StoreError, Tx, query_all};

/// What was said of a domain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PeerRule {
    /// The domain in normal form; `*` stands for all that no other rule names.
    pub domain: String,
    /// Whether it is let in.
    pub allowed: bool,
    /// When that was said, in microseconds since 1970.
    pub at: i64,
}

/// All rules, by domain; at most [`RULES_MAX`].
pub fn all(tx: &mut dyn Tx) -> Result<Vec<PeerRule>, StoreError> {
    query_all(tx, ALL, &["".into(), RULES_MAX.into()], |row| {
        Ok(PeerRule { domain: row.text(0)?, allowed: row.bool(1)?, at: row.int(2)? })
    })
}

/// Adds a rule, or changes the one of its domain. False if there are too many.
pub fn set(tx: &mut dyn Tx, rule: &PeerRule) -> Result<bool, StoreError> {
    let (domain, allowed) = (rule.domain.as_str(), i64::from(rule.allowed));
    let known = all(tx)?;
    if known.len() >= RULES_MAX && known.iter().all(|one| one.domain != domain) {
        return Ok(false);
    }
    tx.execute(SET, &[domain.into(), allowed.into(), rule.at.into()]).map(|_| true)
}

/// Takes the rule of a domain away. False if there is none.
pub fn forget(tx: &mut dyn Tx, domain: &str) -> Result<bool, StoreError> {
    tx.execute(FORGET, &[domain.into()]).map(|rows| rows > 0)
}

/// Rules that are kept.
pub const RULES_MAX: usize = 10_000;

super::sql! {
    ALL = "SELECT domain, allowed, at FROM peer_rule WHERE domain > $1 ORDER BY domain LIMIT $2";
    SET = "INSERT INTO peer_rule (domain, allowed, at) VALUES ($1, $2, $3)
        ON CONFLICT (domain) DO UPDATE SET allowed = excluded.allowed, at = excluded.at";
    FORGET = "DELETE FROM peer_rule WHERE domain = $1";
}

#[cfg(test)]
mod tests {
    use super::super::testing;
    use super::*;

    #[test]
    fn a_domain_has_one_rule_the_last() {
        testing::tx(|tx| {
            let rule = |domain: &str, allowed, at| PeerRule { domain: domain.into(), allowed, at };
            for one in [rule("b", true, 1), rule("a", false, 2), rule("b", false, 3)] {
                assert_eq!(set(tx, &one), Ok(true));
            }
            assert_eq!(all(tx).unwrap(), [rule("a", false, 2), rule("b", false, 3)]);
            assert_eq!((forget(tx, "a"), forget(tx, "a")), (Ok(true), Ok(false)));
            assert_eq!(all(tx).unwrap().len(), 1);
        });
    }
}
