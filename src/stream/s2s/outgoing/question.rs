//! The elements of dialback that we write.

use super::step::Output;
use crate::stream::framing::Item;
use crate::stream::s2s::dialback::{Content, Dialback, Kind, Outcome};

/// XEP-0220 §2.1.2: asks `remote`, whose server should have made the key, in the name of `local`.
pub(super) fn question(local: &str, remote: &str, stream_id: &str, key: &str) -> Dialback {
    Dialback {
        kind: Kind::Verify,
        from: local.to_owned(),
        to: remote.to_owned(),
        id: stream_id.to_owned(),
        content: Content::Key(key.to_owned()),
    }
}

pub(super) fn verified(question: Dialback, outcome: Outcome) -> Output {
    let Dialback { from: local, to: remote, id: stream_id, .. } = question;
    Output::Verified { local, remote, stream_id, outcome }
}

pub(super) fn asked(dialback: &Dialback) -> Output {
    Output::Write(Item::Element(dialback.to_xml()))
}
