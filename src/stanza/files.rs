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
    let Some(id) = url.split_once("://").and_then(|(_, rest)| id_of(rest)) else { return };
    if ids.len() < IDS_MAX && !ids.iter().any(|known| known == id) {
        ids.push(id.to_owned());
    }
}

/// The id in an address `…/upload/ID/NAME`; what stands before may have such a part, too.
pub fn id_of(url: &str) -> Option<&str> {
    url.match_indices('/').find_map(|(at, _)| {
        let (id, _) = url.get(at..)?.strip_prefix(PATH)?.split_once('/')?;
        is_random(id).then_some(id)
    })
}

/// Files in one message: an album.
const IDS_MAX: usize = 32;

const PATH: &str = "/upload/";
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
            (format!("<body>https://x/upload/upload/{}/a</body>", id(1)), vec![1]),
            (format!("<body>https://x/upload/a/upload/{}/a</body>", id(1)), vec![1]),
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
