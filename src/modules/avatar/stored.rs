//! An account's image as its nodes have it, and what is kept of it in memory.

use super::image::Image;
use super::nodes::{DATA, METADATA};
use crate::modules::api::{AccountPart, Followed, Persist};
use crate::modules::pubsub::{self, AccessModel, Item, Request, Service, ServiceKey};
use crate::store::damage::query_sound_one;
use crate::store::ids::{AccountId, Owner};
use crate::store::tx::{Row, StoreError, Tx};
use crate::xml::view::{Doc, Node};

/// The SHA-1 of the account's image as contacts are told of it; nothing without one.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Current(pub(super) Option<Box<str>>);

impl AccountPart for Current {
    fn load(tx: &mut dyn Tx, account: AccountId) -> Result<Self, StoreError> {
        let id = |row: &dyn Row| {
            let id = row.text(0)?;
            match id.len() == ID_LEN && id.bytes().all(|digit| digit.is_ascii_hexdigit()) {
                true => Ok(id.into()),
                false => Err(StoreError::Corrupt(format!("{id:?} is no SHA-1"))),
            }
        };
        query_sound_one(tx, (TABLE, account), ID, &[account.into()], id).map(Self)
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

/// Takes note of the image in the transaction that changed it: it is hashed once, and not at each login.
pub(super) fn follow(
    tx: &mut dyn Tx,
    service: &Service,
    request: &Request,
) -> Result<Followed, StoreError> {
    let Owner::Account(account) = service.key.owner() else { return Ok(Ok(Vec::new())) };
    // Between new data and its metadata there is no image: nobody is told of that.
    let is_between = matches!(request, Request::Publish(publish) if publish.node == DATA);
    match current(tx, service.key)? {
        Some(image) => _ = tx.execute(PUT, &[account.into(), image.id().into()])?,
        None if is_between => {}
        None => _ = tx.execute(REMOVE, &[account.into()])?,
    }
    Ok(Ok(Vec::new()))
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

const TABLE: &str = "avatar";
/// Digits of a SHA-1.
const ID_LEN: usize = 40;
/// For the quota.
pub(super) const WEIGHTS: &[&str] = &[WEIGHT];

crate::store::sql! {
    ID = "SELECT id FROM avatar WHERE account = $1";
    PUT = "INSERT INTO avatar (account, id) VALUES ($1, $2)
        ON CONFLICT (account) DO UPDATE SET id = excluded.id";
    REMOVE = "DELETE FROM avatar WHERE account = $1";
    WEIGHT = "SELECT COALESCE(SUM(OCTET_LENGTH(id)), 0), COUNT(*) FROM avatar WHERE account = $1";
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::modules::testing::{Server, ask};

    /// The image of which the tests of `image.rs` know the hash.
    const ID: &str = "4caece539b039b16e16206ea2478f8c5ffb2ca05";

    fn publish(node: &str, payload: &str) -> String {
        let item = format!("<item id='{ID}'>{payload}</item>");
        pubsub("", &format!("<publish node='{node}'>{item}</publish>"))
    }

    fn pubsub(part: &str, inner: &str) -> String {
        format!("<pubsub xmlns='http://jabber.org/protocol/pubsub{part}'>{inner}</pubsub>")
    }

    fn access(model: &str) -> String {
        let field = format!("<field var='pubsub#access_model'><value>{model}</value></field>");
        let form = format!("<x xmlns='jabber:x:data' type='submit'>{field}</x>");
        pubsub("#owner", &format!("<configure node='{DATA}'>{form}</configure>"))
    }

    /// Whoever logs in costs an id, however large the image is. It is that of what contacts may fetch.
    #[tokio::test]
    async fn an_account_is_read_without_its_image() {
        let server = Server::with(&["alice"]).await;
        let cx = server.session("alice@x/a").await;
        let account = cx.account().unwrap();
        let known = || async {
            let read = server.store().read(move |tx| Current::load(tx, account));
            read.await.unwrap().0.map(String::from)
        };
        let data = publish(DATA, &format!("<data xmlns='{DATA}'>iVBORw0KGgo=</data>"));
        let info = format!("<info bytes='8' id='{ID}' type='image/png'/>");
        let metadata =
            publish(METADATA, &format!("<metadata xmlns='{METADATA}'>{info}</metadata>"));
        let retract = format!("<retract node='{DATA}'><item id='{ID}'/></retract>");
        let none = publish(METADATA, &format!("<metadata xmlns='{METADATA}'/>"));
        for (step, shown) in [
            (&data, false),
            (&metadata, true),
            (&access("whitelist"), false),
            (&access("presence"), true),
            (&pubsub("", &retract), false),
            (&data, true),
            (&none, false),
            (&metadata, true),
        ] {
            let answer = ask(&cx, "set", "", step).await;
            assert!(answer.is_empty() || answer.starts_with("<pubsub"), "{step}: {answer}");
            assert_eq!(known().await, shown.then(|| ID.to_owned()), "after {step}");
        }
        let lose = |tx: &mut dyn Tx| tx.execute("DELETE FROM pubsub_item", &[]);
        assert_eq!(server.store().write(lose).await.unwrap(), 2);
        assert_eq!(known().await.as_deref(), Some(ID), "nothing else is read");
        let garble = |tx: &mut dyn Tx| tx.execute("UPDATE avatar SET id = 'x'", &[]);
        server.store().write(garble).await.unwrap();
        assert_eq!(known().await, None);
    }
}
