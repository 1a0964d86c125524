//! XEP-0490: Message Displayed Synchronization: how far an account has read each chat is an item of its own
//! (XEP-0223). Here is the server's assist (§4.5): a message to a chat may say it in passing.

use super::api::{Answer, Cx, Instruction, Module, On, Spec};
use super::pep::{self, Owner};
use super::pubsub::{NewItem, Publish, Request, Settings};
use crate::stanza::Stanza;

/// The module.
pub const MODULE: Module = Module {
    name: "read_marks",
    specs: &[Spec::whole("XEP-0490", "1.0.1", "features/read_marks.rs")],
    features: &[On::Account(ASSIST)],
    instructions: &[Instruction { ns: NS, name: "displayed", handler: assist }],
    ..Module::EMPTY
};

/// §4.5.3: publishes the mark before the message, which goes on without it, is delivered.
fn assist(cx: Cx, message: Stanza) -> Answer<()> {
    Box::pin(async move {
        let Ok(owner) = Owner::requesting(&cx) else { return };
        let Some(mark) = mark(&message) else { return };
        // The message has its own way: its sender hears nothing of this.
        if let Err(error) = pep::act(&cx, owner, vec![mark]).await {
            tracing::debug!(%error, "a read mark was not published");
        }
    })
}

/// The publication that a message asks for. §5.2: its id is the address as it was written, and nobody looks at
/// what the mark says.
fn mark(message: &Stanza) -> Option<Request> {
    if message.ty().as_deref() == Some("error") {
        return None;
    }
    let id = message.element().attr("to")?.into_owned();
    let doc = message.element().view();
    let payload = doc.root().child(NS, "displayed")?.standalone()?.into_owned().into_bytes();
    // §7: a node that others may read gets no marks.
    let options = Settings::new(&[
        ("pubsub#persist_items", "true"),
        ("pubsub#max_items", "max"),
        ("pubsub#send_last_published_item", "never"),
        ("pubsub#access_model", "whitelist"),
    ]);
    let item = Some(NewItem { id: Some(id), payload });
    Some(Request::Publish(Publish { node: NS.to_owned(), item, options: Some(options) }))
}

/// The node, and the namespace of its payloads.
const NS: &str = "urn:xmpp:mds:displayed:0";
/// §4.5.2
const ASSIST: &str = "urn:xmpp:mds:server-assist:0";

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(message: &str) -> Option<(Option<String>, String)> {
        let message = Stanza::ours(message.to_owned().into()).unwrap();
        match mark(&message)? {
            Request::Publish(Publish { item: Some(item), .. }) => {
                Some((item.id, String::from_utf8(item.payload).unwrap()))
            }
            other => panic!("{other:?}"),
        }
    }

    /// §4.5.3, §5.2
    #[test]
    fn a_message_says_which_chat_was_read() {
        let inner = "<stanza-id xmlns='urn:xmpp:sid:0' by='juliet@x' id='1'/>";
        let displayed = format!("<displayed xmlns='urn:xmpp:mds:displayed:0'>{inner}</displayed>");
        let marker = "<displayed xmlns='urn:xmpp:chat-markers:0' id='m'/>";
        let message =
            |open: &str| format!("<message from='juliet@x/a'{open}>{marker}{displayed}</message>");
        let id = |id: &str| Some((Some(id.to_owned()), displayed.clone()));
        assert_eq!(asked(&message(" to='Romeo@X'")), id("Romeo@X"), "verbatim");
        assert_eq!(asked(&message(" to='r@c/nick' type='groupchat'")), id("r@c/nick"));
        assert_eq!(asked(&message(" to='romeo@x' type='error'")), None);
        assert_eq!(asked(&message("")), None);
    }
}
