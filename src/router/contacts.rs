//! A roster as the registry holds it: one text and the spans of its items. There is one in memory for
//! each account with a session, so an item costs only its bytes and eight more. A roster changes
//! rarely, and is then built anew.

use crate::jid::Jid;
use crate::store::roster::{Item, Roster, Subscription};

/// The contacts of one account in the order of their JIDs, including items that are not listed.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Contacts {
    /// Rises by one with each change.
    pub ver: i64,
    /// The JID, the name and the groups of each item, each ended by [`END`].
    text: Box<str>,
    spans: Box<[Span]>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Span {
    /// End of its text; the next item's text begins there.
    end: u32,
    state: Subscription,
    named: bool,
    approved: bool,
    listed: bool,
}

/// One item, borrowed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Contact<'a> {
    /// The contact's JID in normal form.
    pub jid: &'a str,
    /// The account's name for the contact.
    pub name: Option<&'a str>,
    /// State of the subscriptions.
    pub state: Subscription,
    /// See [`Item::approved`].
    pub approved: bool,
    /// See [`Item::listed`].
    pub listed: bool,
    groups: &'a str,
}

impl<'a> Contact<'a> {
    /// The contact's address.
    pub fn address(&self) -> Jid {
        Jid::normal(self.jid)
    }

    /// The groups, in byte order.
    pub fn groups(&self) -> impl Iterator<Item = &'a str> {
        self.groups.split_terminator(END)
    }
}

impl Contacts {
    /// The number of items.
    pub fn len(&self) -> usize {
        self.spans.len()
    }

    /// Size in memory.
    pub fn bytes(&self) -> usize {
        self.text.len() + self.spans.len() * size_of::<Span>()
    }

    /// Whether there are no items.
    pub fn is_empty(&self) -> bool {
        self.spans.is_empty()
    }

    /// All items, in the order of their JIDs.
    pub fn iter(&self) -> impl Iterator<Item = Contact<'_>> {
        (0..self.len()).filter_map(|index| self.at(index))
    }

    /// The item of this JID.
    pub fn get(&self, jid: &str) -> Option<Contact<'_>> {
        let (mut low, mut high) = (0, self.len());
        while low < high {
            let middle = low.midpoint(high);
            let contact = self.at(middle)?;
            match contact.jid.cmp(jid) {
                std::cmp::Ordering::Less => low = middle + 1,
                std::cmp::Ordering::Equal => return Some(contact),
                std::cmp::Ordering::Greater => high = middle,
            }
        }
        None
    }

    /// A copy in which this JID has this item, or none.
    #[must_use]
    pub fn changed(&self, ver: i64, jid: &str, item: Option<&Item>) -> Self {
        let (mut packed, mut item) = (Packing::default(), item);
        for contact in self.iter() {
            if contact.jid >= jid
                && let Some(item) = item.take()
            {
                packed.item(item);
            }
            if contact.jid != jid {
                packed.contact(&contact);
            }
        }
        item.into_iter().for_each(|item| packed.item(item));
        packed.finish(ver)
    }

    fn at(&self, index: usize) -> Option<Contact<'_>> {
        let span = self.spans.get(index)?;
        let start = match index.checked_sub(1) {
            Some(before) => self.spans.get(before)?.end,
            None => 0,
        };
        let text = self.text.get(start as usize..span.end as usize)?;
        let (jid, text) = text.split_once(END)?;
        let (name, groups) = text.split_once(END)?;
        let Span { state, named, approved, listed, .. } = *span;
        Some(Contact { jid, name: named.then_some(name), state, approved, listed, groups })
    }
}

impl From<&Roster> for Contacts {
    fn from(roster: &Roster) -> Self {
        let mut packed = Packing::default();
        roster.items.values().for_each(|item| packed.item(item));
        packed.finish(roster.ver)
    }
}

impl From<&Item> for Contacts {
    fn from(item: &Item) -> Self {
        Self::default().changed(item.ver, &item.jid, Some(item))
    }
}

#[derive(Default)]
struct Packing {
    text: String,
    spans: Vec<Span>,
}

impl Packing {
    fn item(&mut self, item: &Item) {
        let Item { jid, name, groups, state, approved, listed, .. } = item;
        [jid.as_str(), name.as_deref().unwrap_or_default()].iter().for_each(|part| self.part(part));
        groups.iter().for_each(|group| self.part(group));
        self.span(*state, name.is_some(), *approved, *listed);
    }

    fn contact(&mut self, contact: &Contact<'_>) {
        let Contact { jid, name, groups, state, approved, listed } = *contact;
        [jid, name.unwrap_or_default()].iter().for_each(|part| self.part(part));
        self.text.push_str(groups);
        self.span(state, name.is_some(), approved, listed);
    }

    fn part(&mut self, part: &str) {
        self.text.push_str(part);
        self.text.push(END);
    }

    fn span(&mut self, state: Subscription, named: bool, approved: bool, listed: bool) {
        // The limits of rosters keep them far below 4 GiB; an item beyond that would not be found.
        let end = u32::try_from(self.text.len()).unwrap_or(u32::MAX);
        self.spans.push(Span { end, state, named, approved, listed });
    }

    fn finish(self, ver: i64) -> Contacts {
        Contacts { ver, text: self.text.into(), spans: self.spans.into() }
    }
}

/// A character that no JID and no XML contains (XML 1.0 §2.2), and so no name either.
const END: char = '\0';

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn item(jid: &str, name: Option<&str>, groups: &[&str]) -> Item {
        Item {
            jid: jid.into(),
            name: name.map(Into::into),
            groups: groups.iter().map(ToString::to_string).collect(),
            state: Subscription::Both,
            listed: true,
            ..Item::default()
        }
    }

    fn owned(contact: Contact<'_>) -> Item {
        Item {
            jid: contact.jid.into(),
            name: contact.name.map(Into::into),
            groups: contact.groups().map(Into::into).collect(),
            state: contact.state,
            approved: contact.approved,
            listed: contact.listed,
            ..Item::default()
        }
    }

    #[test]
    fn an_item_comes_back_as_it_went_in() {
        for item in [
            item("a@x", None, &[]),
            item("a@x", Some(""), &[""]),
            item("ä@x", Some("Ä & co"), &["a", "", "ö"]),
            Item {
                approved: true,
                listed: false,
                state: Subscription::ToPendingIn,
                ..item("x", None, &["g"])
            },
        ] {
            let contacts = Contacts::from(&item);
            assert_eq!(contacts.get(&item.jid).map(owned), Some(item.clone()));
            assert_eq!((contacts.len(), contacts.get("b@x")), (1, None));
        }
    }

    #[test]
    fn an_item_costs_its_bytes_and_a_span() {
        assert_eq!(size_of::<Span>(), 8);
    }

    proptest! {
        /// Compared with the map that the store returns.
        #[test]
        fn changes_do_as_a_map_does(
            steps in prop::collection::vec(("[a-d]{1,2}", prop::option::of("[m-p]{0,2}"), any::<bool>()), 0..40),
        ) {
            let (mut contacts, mut roster) = (Contacts::default(), Roster::default());
            for (jid, name, gone) in steps {
                roster.ver += 1;
                let item = (!gone).then(|| item(&jid, name.as_deref(), &["g", &jid]));
                contacts = contacts.changed(roster.ver, &jid, item.as_ref());
                match item {
                    Some(item) => drop(roster.items.insert(jid, item)),
                    None => drop(roster.items.remove(&jid)),
                }
                prop_assert_eq!(&contacts, &Contacts::from(&roster));
                prop_assert_eq!(contacts.iter().map(owned).collect::<Vec<_>>(), roster.items.values().cloned().collect::<Vec<_>>());
                for jid in ["a", "bb", "dd", "e"] {
                    prop_assert_eq!(contacts.get(jid).map(owned), roster.items.get(jid).cloned());
                }
            }
        }
    }
}
