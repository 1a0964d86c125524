//! An owner's answer to somebody who asked to subscribe (XEP-0060 §8.6): a message of the account to itself,
//! with the form that it got.

use tokio::sync::Semaphore;

use super::act::act;
use super::owner::Owner;
use crate::modules::Config;
use crate::modules::api::{Passage, Verdict, later};
use crate::modules::pubsub::Request;
use crate::router::passage::Side;
use crate::router::registry::{AccountEntry, AccountStatus};
use crate::stanza::Kind;

/// Hears an answer in what the account is sent. The message goes on to its other devices, which so learn of it.
pub(super) fn heard(_: &Config, account: &mut AccountEntry, passage: &mut Passage<'_>) -> Verdict {
    if let AccountStatus::Stored(account) = account.account
        && let Some(request) = answer(passage)
    {
        later(passage, move |cx, passed| {
            let Ok(place) = AT_ONCE.try_acquire() else {
                tracing::debug!(
                    account = passed.home.bare().as_str(),
                    "too many approvals at once"
                );
                return;
            };
            let (owner, cx) = (Owner { account, jid: passed.home.bare().clone() }, cx.clone());
            cx.router.clone().tasks.spawn("approval", async move {
                // §8.6 has no answer to an answer: of two, the first counts.
                if let Err(error) = act(&cx, owner, vec![request]).await {
                    tracing::debug!(%error, "a subscription was not approved");
                }
                drop(place);
            });
        });
    }
    Verdict::Continue
}

/// The answer in a message of an account to itself.
fn answer(passage: &Passage<'_>) -> Option<Request> {
    let stanza = passage.stanza;
    let own = stanza.to().filter(|to| to.is_bare())?;
    let is_own = stanza.kind() == Kind::Message && stanza.from().bare_str() == own.as_str();
    if !is_own || passage.side != Side::Incoming || stanza.ty().as_deref() == Some("error") {
        return None;
    }
    let doc = stanza.element().view();
    // A form that cannot be read, or was cancelled, changes nothing.
    Request::approval(doc.root())?.ok().flatten()
}

/// Approvals of the whole server that are written at one time; more are for the owner to repeat.
static AT_ONCE: Semaphore = Semaphore::const_new(64);
