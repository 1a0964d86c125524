//! What was taken once is not taken again: whoever took a contact off the list after the first run does not find it
//! there after the second.

use std::collections::HashMap;

use sha2::{Digest, Sha256};

use crate::modules::api::{Holder, Owner, Tag};

/// Knows which of several equal elements comes: the same words in the same second are two messages.
#[derive(Debug, Default)]
pub struct Marks {
    /// How often each came, by the mark of its first.
    lately: HashMap<i64, u64>,
    /// Those before: equal elements stand close together.
    before: HashMap<i64, u64>,
}

impl Marks {
    /// The mark of the element that comes now.
    pub fn next(&mut self, owner: &Owner, within: &[Tag], xml: &[u8]) -> i64 {
        let first = mark(owner, within, xml, 0);
        let counted = self.lately.get(&first).or_else(|| self.before.get(&first));
        let nth = counted.copied().unwrap_or_default();
        if self.lately.len() >= LATELY_MAX {
            self.before = std::mem::take(&mut self.lately);
        }
        self.lately.insert(first, nth.saturating_add(1));
        if nth == 0 { first } else { mark(owner, within, xml, nth) }
    }
}

/// The mark that a room was made by an import.
pub fn made(owner: &Owner) -> i64 {
    // No element is empty.
    mark(owner, &[], b"", 0)
}

fn mark(owner: &Owner, within: &[Tag], xml: &[u8], nth: u64) -> i64 {
    let mut sum = Sha256::new();
    // Each with its length: what stands in one must not look as if it stood in the next.
    let mut add = |bytes: &[u8]| {
        sum.update((bytes.len() as u64).to_le_bytes());
        sum.update(bytes);
    };
    add(match owner.holder {
        Holder::Account => b"account",
        Holder::Room => b"room",
    });
    add(&owner.key.to_le_bytes());
    add(&nth.to_le_bytes());
    add(xml);
    for tag in within {
        add(tag.ns.as_bytes());
        add(tag.name.as_bytes());
        add(&(tag.attrs.len() as u64).to_le_bytes());
        for (name, value) in &tag.attrs {
            add(name.as_bytes());
            add(value.as_bytes());
        }
    }
    let sum: [u8; 32] = sum.finalize().into();
    sum.first_chunk().map_or(0, |first| i64::from_le_bytes(*first))
}

/// Elements between two equal ones that are known for such: at least so many, of a few bytes each.
const LATELY_MAX: usize = 50_000;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::jid::BareJid;

    fn owner(holder: Holder, key: i64) -> Owner {
        Owner { jid: BareJid::parse("a@x").unwrap(), holder, key }
    }

    #[test]
    fn a_mark_is_of_an_owner_a_place_and_an_element() {
        let mut all = Vec::new();
        for holder in [Holder::Account, Holder::Room] {
            for key in [1, 2] {
                let owner = owner(holder, key);
                let tag = |value: &str| vec![Tag::new("n", "e").with("a", value)];
                for within in [vec![], tag("1"), tag("2")] {
                    for xml in [&b"<a/>"[..], b"<b/>"] {
                        let mut marks = Marks::default();
                        // The second of two is another; in the next run both are the same as in this.
                        let two = [0; 2].map(|_| marks.next(&owner, &within, xml));
                        let mut again = Marks::default();
                        assert_eq!([0; 2].map(|_| again.next(&owner, &within, xml)), two);
                        all.extend(two);
                    }
                }
                all.push(made(&owner));
            }
        }
        let count = all.len();
        all.sort_unstable();
        all.dedup();
        assert_eq!(all.len(), count);
    }

    #[test]
    fn its_memory_is_bounded() {
        let (mut marks, owner) = (Marks::default(), owner(Holder::Account, 1));
        for n in 0..2 * LATELY_MAX + 10 {
            marks.next(&owner, &[], &n.to_le_bytes());
        }
        assert!(marks.lately.len() + marks.before.len() <= 2 * LATELY_MAX);
    }
}
