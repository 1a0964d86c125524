//! XEP-0445: a stranger shows its invitation before it registers.

use super::admit::{NotAdmitted, admit, registers};
use crate::modules::api::{Cx, Reply};
use crate::stanza::StanzaError;
use crate::stanza::iq::Iq;
use crate::store::invitations::Ended;

/// §4: the token is checked here, and its time only here.
pub(super) async fn show(cx: Cx, iq: Iq) -> Result<Reply, StanzaError> {
    let elsewhere = iq.to().is_some_and(|to| to.as_str() != cx.jid().domain());
    let (Some(guest), false) = (cx.who.guest(), elsewhere) else {
        return Err(StanzaError::service_unavailable());
    };
    if !cx.config.register.takes_invited() {
        return Err(StanzaError::service_unavailable());
    }
    if !(guest.channel.secure || cx.config.unencrypted) {
        return Err(StanzaError::not_authorized().text("tokens are taken over TLS only"));
    }
    let token = {
        let doc = iq.stanza().element().view();
        let preauth = doc.root().child(NS, "preauth");
        let token = preauth.and_then(|preauth| preauth.attr("token")).unwrap_or_default();
        token.to_owned()
    };
    if token.is_empty() {
        return Err(StanzaError::bad_request().text("there is no token"));
    }
    // What was shown before is of no use any more, whatever comes of this one.
    guest.admission.set(None);
    let found = admit(&cx, token, Some(cx.jid().domain())).await?;
    if !registers(&found) {
        return Err(NotAdmitted::Ended(Ended::Unknown).into());
    }
    guest.admission.set(Some(found));
    Ok(Reply::empty())
}

/// The namespace of XEP-0379, whose element this one is.
pub(super) const NS: &str = "urn:xmpp:pars:0";
/// §3. COMPAT(Conversations, Siskin): they look for the feature that an older version of XEP-0401 had.
pub(super) const FEATURES: &str =
    "<register xmlns='urn:xmpp:ibr-token:0'/><register xmlns='urn:xmpp:invite'/>";
