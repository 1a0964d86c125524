//! The bounds of a stream's elements. Every session has them: small.

use crate::base::limits::Limits;
use crate::xml::gate::Rules;

/// See [`Limits`].
#[derive(Debug, Clone, Copy)]
pub struct Bounds {
    depth_max: u32,
    attributes_max: u32,
    children_max: u32,
}

impl Bounds {
    /// Those of the configuration.
    pub fn of(limits: &Limits) -> Self {
        let bound = |most: usize| u32::try_from(most).unwrap_or(u32::MAX);
        Self {
            depth_max: bound(limits.depth_max),
            attributes_max: bound(limits.attributes_max),
            children_max: bound(limits.children_max),
        }
    }

    /// The gate's rules for elements that are in this namespace if they declare none.
    pub fn rules(&self, content_ns: &'static str) -> Rules {
        Rules {
            content_ns,
            depth_max: self.depth_max as usize,
            attributes_max: self.attributes_max as usize,
            children_max: self.children_max as usize,
        }
    }
}
