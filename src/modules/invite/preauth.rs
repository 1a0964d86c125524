//! XEP-0445: a stranger shows its invitation before it registers.

use crate::base::time::micros;
use crate::modules::api::{Cx, Reply};
use crate::stanza::StanzaError;
use crate::stanza::error::ErrorType;
use crate::stanza::iq::Iq;
use crate::store::invitations::{self, Ended, Invitation, Purpose};

/// §4: the token is checked here, and its time only here. Whether it has a use left is asked again when it is
/// used: a token that is only shown is not used.
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
    let guesses = &cx.server.shared().invite;
    if !guesses.may_try(&cx) {
        let error = StanzaError::resource_constraint().kind(ErrorType::Wait);
        return Err(
            error.text("too many wrong tokens came from this address; try again in an hour")
        );
    }
    let now = micros(cx.now);
    let found = cx.store.read(move |tx| invitations::open(tx, &token, now)).await?;
    // What was shown before is of no use any more, whatever comes of this one.
    guest.admission.set(None);
    match found.and_then(|found| if fits(&cx, &found) { Ok(found) } else { Err(Ended::Unknown) }) {
        Ok(found) => {
            guesses.was_right(&cx);
            guest.admission.set(Some(found));
            Ok(Reply::empty())
        }
        Err(ended) => Err(StanzaError::item_not_found().text(text(ended))),
    }
}

/// It is for this domain, and for an account or its password.
fn fits(cx: &Cx, found: &Invitation) -> bool {
    let terms = &found.terms;
    terms.host == cx.jid().domain() && (terms.registers || terms.purpose == Purpose::Password)
}

/// Only who holds the token of an invitation learns that there was one.
fn text(ended: Ended) -> &'static str {
    match ended {
        Ended::Unknown => "The provided token is invalid or expired",
        Ended::Used => "This invitation was used already: ask for another one",
        Ended::Expired => "This invitation has expired: ask for another one",
        Ended::Revoked => "This invitation was taken back: ask for another one",
    }
}

/// The namespace of XEP-0379, whose element this one is.
pub(super) const NS: &str = "urn:xmpp:pars:0";
/// §3. COMPAT(Conversations, Siskin): they look for the feature that an older version of XEP-0401 had.
pub(super) const FEATURES: &str =
    "<register xmlns='urn:xmpp:ibr-token:0'/><register xmlns='urn:xmpp:invite'/>";
