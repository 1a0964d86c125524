//! What a node is that a client publishes to without saying more: XEP-0163 §5, and what the specifications
//! of known nodes ask for. So a client that forgot its publish-options leaves nothing open, nor closed.

use crate::modules::pubsub::{AccessModel, Bound, NodeConfig, SendLast};

/// The configuration that a new node of this name has.
pub(super) fn defaults(node: &str) -> NodeConfig {
    let pep = NodeConfig::of_pep;
    let open = || NodeConfig { access_model: AccessModel::Open, ..pep() };
    match node {
        // XEP-0384 §5.3.1; before, XEP-0384 0.3 §4.
        "urn:xmpp:omemo:2:devices" | "eu.siacs.conversations.axolotl.devicelist" => open(),
        // XEP-0384 §5.3.2: one item a device.
        "urn:xmpp:omemo:2:bundles" => quiet(NodeConfig { max_items: Bound::Max, ..open() }),
        // XEP-0373 §4.1 and §4.2; the secret key (§5.3) is the owner's alone.
        "urn:xmpp:openpgp:0:public-keys" => open(),
        "urn:xmpp:openpgp:0:secret-key" => NodeConfig { max_items: Bound::Of(1), ..private() },
        // XEP-0292 §4.1
        "urn:xmpp:vcard4" => open(),
        // XEP-0402 §2, XEP-0490 §4.1: an item for each conversation.
        "urn:xmpp:bookmarks:1" | "urn:xmpp:mds:displayed:0" => private(),
        // XEP-0048 §3.2. The old form of a vCard is read by requests of its own (XEP-0054).
        "storage:bookmarks" | "vcard-temp" => NodeConfig { max_items: Bound::Of(1), ..private() },
        // XEP-0277 §2.1, XEP-0472 §4
        "urn:xmpp:microblog:0" => NodeConfig { max_items: Bound::Max, ..pep() },
        // XEP-0084 §4.1: who hears of the image fetches it.
        "urn:xmpp:avatar:data" => quiet(pep()),
        _ if node.starts_with("eu.siacs.conversations.axolotl.bundles:") => quiet(open()),
        _ if node.starts_with("urn:xmpp:openpgp:0:public-keys:") => quiet(open()),
        _ if node.starts_with("urn:xmpp:microblog:0:comments/") => {
            NodeConfig { max_items: Bound::Max, ..open() }
        }
        _ => pep(),
    }
}

/// Whether a node is where a module keeps what clients have other requests for: nobody is told of it.
pub(super) fn is_internal(node: &str) -> bool {
    // XEP-0054
    node == "vcard-temp"
}

fn private() -> NodeConfig {
    NodeConfig::private()
}

/// Not sent to whoever comes online: it is fetched when it is needed.
fn quiet(config: NodeConfig) -> NodeConfig {
    NodeConfig { send_last: SendLast::Never, ..config }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_nodes_are_what_their_specifications_say() {
        use AccessModel::{Open, Presence, Whitelist};
        for (node, model, items) in [
            ("http://jabber.org/protocol/tune", Presence, Bound::Of(1)),
            ("urn:xmpp:avatar:metadata", Presence, Bound::Of(1)),
            ("eu.siacs.conversations.axolotl.devicelist", Open, Bound::Of(1)),
            ("eu.siacs.conversations.axolotl.bundles:12345", Open, Bound::Of(1)),
            ("urn:xmpp:omemo:2:devices", Open, Bound::Of(1)),
            ("urn:xmpp:omemo:2:bundles", Open, Bound::Max),
            ("urn:xmpp:openpgp:0:secret-key", Whitelist, Bound::Of(1)),
            ("urn:xmpp:bookmarks:1", Whitelist, Bound::Max),
            ("urn:xmpp:mds:displayed:0", Whitelist, Bound::Max),
            ("storage:bookmarks", Whitelist, Bound::Of(1)),
            ("urn:xmpp:microblog:0", Presence, Bound::Max),
        ] {
            let config = defaults(node);
            assert_eq!((config.access_model, config.max_items), (model, items), "{node}");
            assert!(config.persist_items, "{node}");
        }
    }
}
