//! The verbs of [`crate::admin`] on other servers, as forms. XEP-0133 has none, so the names are our own.

use super::super::api::{Answers, Cx, Note, StageOutcome};
use super::forms::{self, Blank};
use super::users::{Done, act, carried_out};
use crate::admin::{PeerVerb, Request};

const DOMAIN: Blank =
    Blank::required("text-single", "domain", "The other server's domain, such as example.org");

/// Streams, and what waits.
pub(super) async fn list(cx: Cx) -> Done {
    let told = "There are no streams with other servers, and nothing waits for any.";
    show(cx, PeerVerb::List, "Streams", told).await
}

/// The rules, and the lists of the configuration.
pub(super) async fn rules(cx: Cx) -> Done {
    let told = "There are no rules: this server talks to all others.";
    show(cx, PeerVerb::Rules, "Rules", told).await
}

/// What failed, what waits, what to do.
pub(super) async fn why(cx: Cx, stages: Vec<Answers>) -> Done {
    let Some(answers) = stages.first() else {
        let told = "This says what failed lately with a server, what waits for it, and what to do.";
        return Ok(forms::ask_blank("Why is a server not reached?", told, &[DOMAIN]));
    };
    let verb = PeerVerb::Why { domain: domain(answers)? };
    show(cx, verb, "What is known", "").await
}

/// Each step on the way to a server.
pub(super) async fn test(cx: Cx, stages: Vec<Answers>) -> Done {
    let Some(answers) = stages.first() else {
        let from = Blank::optional("text-single", "from", "Our domain [the first]");
        let told = "This tries to reach a server, and says each step. It may take a minute.";
        return Ok(forms::ask_blank("Try a server", told, &[DOMAIN, from]));
    };
    let from = match answers.get("from") {
        [] => None,
        _ => Some(forms::one(answers, "from")?.trim().to_owned()).filter(|from| !from.is_empty()),
    };
    let verb = PeerVerb::Test { domain: domain(answers)?, from };
    show(cx, verb, "Steps", "").await
}

/// Tries now what waits.
pub(super) async fn retry(cx: Cx, stages: Vec<Answers>) -> Done {
    let told = "This tries a server at once for which something waits.";
    change(cx, stages, ("Try again now", told), |domain| PeerVerb::Retry { domain }).await
}

/// Gives up what waits.
pub(super) async fn give_up(cx: Cx, stages: Vec<Answers>) -> Done {
    let told =
        "This gives up what waits for a server: the senders get errors. It CANNOT be undone.";
    change(cx, stages, ("Give up what waits", told), |domain| PeerVerb::Drop { domain }).await
}

/// Lets a domain in.
pub(super) async fn allow(cx: Cx, stages: Vec<Answers>) -> Done {
    let told = "This lets a server in, unless s2s.deny in the configuration names it.";
    change(cx, stages, ("Let a server in", told), |domain| PeerVerb::Allow { domain }).await
}

/// Keeps a domain out.
pub(super) async fn deny(cx: Cx, stages: Vec<Answers>) -> Done {
    let told = "This ends what there is with a server and keeps it out, and all below its domain; * stands for all \
                that no rule names.";
    change(cx, stages, ("Keep a server out", told), |domain| PeerVerb::Deny { domain }).await
}

/// Takes back a rule.
pub(super) async fn forget(cx: Cx, stages: Vec<Answers>) -> Done {
    let told = "This takes back what was said of a server; the configuration decides.";
    change(cx, stages, ("Forget a rule", told), |domain| PeerVerb::Forget { domain }).await
}

fn domain(answers: &Answers) -> Result<String, crate::stanza::StanzaError> {
    forms::one(answers, "domain").map(|text| text.trim().to_owned())
}

async fn change(
    cx: Cx,
    stages: Vec<Answers>,
    (title, told): (&str, &str),
    verb: fn(String) -> PeerVerb,
) -> Done {
    let Some(answers) = stages.first() else {
        return Ok(forms::ask_blank(title, told, &[DOMAIN]));
    };
    act(cx, vec![Request::Peers(verb(domain(answers)?))]).await
}

/// What a verb says, a line each; the last of them says it in short.
async fn show(cx: Cx, verb: PeerVerb, label: &str, nothing: &'static str) -> Done {
    let lines = carried_out(cx, vec![Request::Peers(verb)]).await?;
    let Some(last) = lines.last() else { return Ok(StageOutcome::done(Note::info(nothing))) };
    let note = Some(Note::info(last.clone()));
    let form = forms::lines(label, &lines);
    Ok(StageOutcome::Done { form, note, effect: None })
}
