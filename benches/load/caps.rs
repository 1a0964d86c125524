//! A client with capabilities (XEP-0115): what it says in its presence, and what it answers when it is asked.

use super::framer::{answer_ping, attr, has, is};
use base64::prelude::{BASE64_STANDARD, Engine};
use sha1::{Digest, Sha1};

/// The nodes whose news a client wants.
#[derive(Debug, Clone)]
pub struct Caps(Vec<String>);

impl Caps {
    /// Those that want these.
    pub fn of(mut nodes: Vec<String>) -> Self {
        nodes.sort();
        Self(nodes)
    }

    /// Presence that says so.
    pub fn presence(&self) -> String {
        format!(
            "<presence><c xmlns='http://jabber.org/protocol/caps' hash='sha-1' node='urn:bench' \
             ver='{}'/></presence>",
            self.ver()
        )
    }

    /// Answers what a server asks of its clients; false if it was nothing of that kind.
    pub fn answer(&self, piece: &[u8], out: &mut Vec<u8>) -> bool {
        if !is(piece, "iq") || attr(piece, "type") != Some(b"get") || !has(piece, INFO) {
            return answer_ping(piece, out);
        }
        let of = |name| String::from_utf8_lossy(attr(piece, name).unwrap_or_default()).into_owned();
        let (id, from) = (of("id"), of("from"));
        let to = if from.is_empty() { String::new() } else { format!(" to='{from}'") };
        let wants = self.0.iter().map(|node| format!("<feature var='{node}+notify'/>"));
        out.extend_from_slice(
            format!(
                "<iq type='result' id='{id}'{to}><query xmlns='{INFO}' node='urn:bench#{}'>\
                 <identity category='client' type='pc' name='bench'/><feature var='{INFO}'/>{}\
                 </query></iq>",
                self.ver(),
                wants.collect::<String>()
            )
            .as_bytes(),
        );
        true
    }

    /// XEP-0115 §5.1
    fn ver(&self) -> String {
        let wants: String = self.0.iter().map(|node| format!("{node}+notify<")).collect();
        BASE64_STANDARD.encode(Sha1::digest(format!("client/pc//bench<{INFO}<{wants}")))
    }
}

const INFO: &str = "http://jabber.org/protocol/disco#info";
