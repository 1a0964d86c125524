//! Which module takes which element, of all modules.

use crate::modules::api::{Holder, Module, Moved, Tag};
use crate::xml::view::Node;

/// All elements that are taken.
#[derive(Debug, Clone)]
pub struct Table(Vec<&'static Moved>);

impl Table {
    /// Those of these modules.
    pub fn of(modules: &[&'static Module]) -> Self {
        Self(modules.iter().flat_map(|module| module.moves.takes).collect())
    }

    /// Who takes this element, if somebody does: whoever names it goes before whoever takes any.
    pub fn find(&self, of: Holder, within: &[Tag], element: Node<'_>) -> Option<&'static Moved> {
        let fits = |moved: &&&'static Moved| {
            moved.of == of
                && (moved.ns == "*" || moved.ns == element.ns())
                && (moved.name == "*" || moved.name == element.name())
                && is_path(moved.within, within)
        };
        let exact = |moved: &&'static Moved| (moved.ns != "*", moved.name != "*");
        self.0.iter().filter(fits).copied().max_by_key(exact)
    }

    /// Whether others stand in an element of this kind, if it stands in these.
    pub fn is_around(&self, within: &[Tag]) -> bool {
        !within.is_empty()
            && self.0.iter().any(|moved| {
                moved.within.get(..within.len()).is_some_and(|path| is_path(path, within))
            })
    }
}

fn is_path(path: &[(&str, &str)], tags: &[Tag]) -> bool {
    path.len() == tags.len() && path.iter().zip(tags).all(|((ns, name), tag)| tag.is(ns, name))
}
