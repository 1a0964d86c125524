//! What all pages share.

use std::sync::Arc;

use super::assets::Assets;
use super::texts::Catalogues;
use crate::net::web::state::Web;

/// See the fields.
pub struct Pages {
    /// The door.
    pub web: Arc<Web>,
    /// The texts in all languages.
    pub catalogues: Catalogues,
    /// Files that come with the program.
    pub assets: Assets,
}

impl Pages {
    /// Reads what is built in.
    pub fn new(web: Arc<Web>) -> Self {
        Self { web, catalogues: Catalogues::read(), assets: Assets::read() }
    }
}
