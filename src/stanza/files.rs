//! The files of this server that a message names. They are known by their ids, which nobody can guess: whatever
//! stands before the path of an address may have changed since.

use super::Stanza;
use crate::base::id::is_random;
use crate::xml::ns;
use crate::xml::view::Node;

/// The ids in the addresses `…/upload/ID/NAME` that a message names, each once: in its text, but not in what it quotes
/// there; as out-of-band data (XEP-0066), and as sources of files (XEP-0447, XEP-0385).
pub fn named(message: &Stanza) -> Vec<String> {
    let doc = message.element().view();
    let mut ids = Vec::new();
    for child in doc.root().children() {
        match (child.ns(), child.name()) {
            (ns::CLIENT, "body") => {
                // XEP-0393 §5.1.3
                let own = child.text().lines().filter(|line| !line.starts_with('>'));
                own.flat_map(str::split_whitespace).for_each(|word| add(&mut ids, word));
            }
            (OOB, "x") => child.child_text(OOB, "url").iter().for_each(|url| add(&mut ids, url)),
            (SFS, "file-sharing") => sources(&mut ids, child.child(SFS, "sources")),
            (SFS, "sources") => sources(&mut ids, Some(child)),
            (REFERENCE, "reference") => {
                let media = child.child(SIMS, "media-sharing");
                sources(&mut ids, media.and_then(|media| media.child(SIMS, "sources")));
            }
            _ => {}
        }
    }
    ids
}

fn sources(ids: &mut Vec<String>, of: Option<Node<'_>>) {
    for source in of.into_iter().flat_map(Node::children) {
        let url = match (source.ns(), source.name()) {
            (URL_DATA, "url-data") => source.attr("target"),
            (REFERENCE, "reference") => source.attr("uri"),
            _ => None,
        };
        url.iter().for_each(|url| add(ids, url));
    }
}

fn add(ids: &mut Vec<String>, url: &str) {
    let Some((_, rest)) = url.split_once("://") else { return };
    let Some((_, rest)) = rest.split_once("/upload/") else { return };
    let id = rest.split('/').next().unwrap_or_default();
    let is_new = ids.len() < IDS_MAX && !ids.iter().any(|known| known == id);
    if is_new && rest.len() > id.len() && is_random(id) {
        ids.push(id.to_owned());
    }
}

/// Files in one message: an album.
const IDS_MAX: usize = 32;

const OOB: &str = "jabber:x:oob";
const SFS: &str = "urn:xmpp:sfs:0";
const URL_DATA: &str = "http://jabber.org/protocol/url-data";
const REFERENCE: &str = "urn:xmpp:reference:0";
const SIMS: &str = "urn:xmpp:sims:1";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_found_where_clients_put_them() {
        let id = |n: u8| format!("{n}_-bcdefghijklmnopqrst");
        let url = |n: u8| format!("https://files.x:5443/upload/{}/a%20b.png", id(n));
        for (payload, wanted) in [
            (format!("<body>{}</body>", url(1)), vec![1]),
            (format!("<body>see {}\n{} !</body>", url(1), url(2)), vec![1, 2]),
            (format!("<body>&gt; {}\nnice</body>", url(1)), vec![]),
            (format!("<body>{0} {0}</body><x xmlns='{OOB}'><url>{0}</url></x>", url(1)), vec![1]),
            (format!("<x xmlns='{OOB}'><url>{}</url></x>", url(3)), vec![3]),
            (
                format!(
                    "<file-sharing xmlns='{SFS}'><sources><url-data xmlns='{URL_DATA}' target='{}'/>\
                     <url-data xmlns='{URL_DATA}' target='{}'/></sources></file-sharing>",
                    url(1),
                    url(2)
                ),
                vec![1, 2],
            ),
            (
                format!(
                    "<sources xmlns='{SFS}'><url-data xmlns='{URL_DATA}' target='{}'/></sources>",
                    url(1)
                ),
                vec![1],
            ),
            (
                format!(
                    "<reference xmlns='{REFERENCE}'><media-sharing xmlns='{SIMS}'><sources>\
                     <reference xmlns='{REFERENCE}' uri='{}'/></sources></media-sharing></reference>",
                    url(1)
                ),
                vec![1],
            ),
            (format!("<body>aesgcm://x/upload/{}/a#key</body>", id(1)), vec![1]),
            (format!("<body>https://x/upload/{}</body>", id(1)), vec![]),
            ("<body>https://x/upload/short/a /upload/../x</body>".to_owned(), vec![]),
            (format!("<subject>{}</subject>", url(1)), vec![]),
        ] {
            let text = format!("<message from='a@x/r'>{payload}</message>");
            let found = named(&Stanza::ours(text.into()).unwrap());
            let wanted: Vec<String> = wanted.into_iter().map(id).collect();
            assert_eq!(found, wanted, "{payload}");
        }
    }
}
