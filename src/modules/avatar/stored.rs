//! An account's image as its nodes have it, and what is kept of it in memory.

use super::image::Image;
use super::nodes::{DATA, METADATA};
use crate::modules::api::{AccountPart, Persist};
use crate::modules::pubsub::{self, AccessModel, Item, ServiceKey};
use crate::store::ids::AccountId;
use crate::store::tx::{StoreError, Tx};
use crate::xml::view::{Doc, Node};

/// The SHA-1 of the account's image as contacts are told of it; nothing without one.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Current(pub(super) Option<Box<str>>);

impl AccountPart for Current {
    fn load(tx: &mut dyn Tx, account: AccountId) -> Result<Self, StoreError> {
        Ok(Self(current(tx, ServiceKey::of(account))?.map(|image| image.id().into())))
    }

    fn bytes(&self) -> usize {
        self.0.as_ref().map_or(0, |id| id.len())
    }

    fn is_nothing(&self) -> bool {
        self.0.is_none()
    }
}

/// What a session's client said of the image in its presence.
#[derive(Debug, Default)]
pub struct State {
    /// It shows none (XEP-0153 §4.1 rule 3), so the server says nothing for it.
    pub(super) declines: bool,
}

impl Persist for State {
    const VERSION: u16 = 1;

    fn save(&self) -> Vec<u8> {
        vec![u8::from(self.declines)]
    }

    fn load(bytes: &[u8]) -> Option<Self> {
        Some(Self { declines: bytes == [1] })
    }
}

/// The account's image, if contacts may see it: the one that the metadata names that is not at a URL
/// (XEP-0398 §3.1), if the data is what its id says.
pub fn current(tx: &mut dyn Tx, service: ServiceKey) -> Result<Option<Image>, StoreError> {
    let Some(metadata) = pubsub::newest(tx, service, METADATA)? else { return Ok(None) };
    for node in [METADATA, DATA] {
        let config = pubsub::node_config(tx, service, node)?;
        // Who may not fetch it is not told of it.
        let is_shown = |model| matches!(model, AccessModel::Open | AccessModel::Presence);
        if !config.is_some_and(|config| is_shown(config.access_model)) {
            return Ok(None);
        }
    }
    let Some(id) = named(&metadata) else { return Ok(None) };
    Ok(pubsub::item(tx, service, DATA, &id)?.and_then(|data| image(&data)))
}

/// The id of the image that metadata names.
fn named(metadata: &Item) -> Option<String> {
    let doc = Doc::of(&metadata.payload, METADATA).ok()?;
    let root = doc.root();
    let mut infos = root.children().filter(|info: &Node<'_>| info.is(METADATA, "info"));
    let info = infos.find(|info| root.is(METADATA, "metadata") && info.attr("url").is_none())?;
    Some(info.attr("id")?.to_owned())
}

/// The image in an item, if it is one.
fn image(data: &Item) -> Option<Image> {
    let doc = Doc::of(&data.payload, DATA).ok()?;
    let text = doc.root().is(DATA, "data").then(|| doc.root().text())?;
    // Its size was bounded when it was published.
    let image = Image::read(text, usize::MAX).ok()?;
    image.id().eq_ignore_ascii_case(&data.id).then_some(image)
}
