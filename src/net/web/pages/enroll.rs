//! What a form does: the same as a client's request to register, and what is shown then.

use axum::http::StatusCode;
use axum::response::Response;
use maud::{Markup, html};

use super::asked::Asked;
use super::form::Sent;
use super::layout::{self, Kind, Page};
use super::refusal::{self, Refusal};
use super::{apps, converse};
use crate::jid::BareJid;
use crate::modules::api::Cx;
use crate::modules::register::{self, Refused};

/// Makes the account of a stranger, or sets the password by the link that it showed. Done to its end, though
/// the browser goes away.
pub async fn done(asked: &Asked, cx: Cx, sent: &Sent) -> Result<BareJid, Refusal> {
    let t = asked.texts();
    if sent.get("password") != sent.get("again") {
        return Err(refusal::differs(t));
    }
    let text = |name| Some(sent.get(name).to_owned()).filter(|text| !text.is_empty());
    let name = text("name").map(|name| only_name(&name, cx.jid().domain()));
    let (work, password) = (cx.clone(), text("password"));
    let enrolled = async move { Ok(register::enroll(&work, name, password).await) };
    let done = cx.finish("page", enrolled).await.map_err(Refused::from).and_then(|done| done);
    done.map_err(|refused| {
        if let Refused::Failed(error) = &refused {
            tracing::warn!(?error, "a page could not make an account or set a password");
        }
        refusal::of(t, &refused)
    })
}

/// Phones write a space behind a name, and people the whole address.
fn only_name(text: &str, host: &str) -> String {
    let text = text.trim();
    let local = text.strip_suffix(host).and_then(|local| local.strip_suffix('@'));
    local.unwrap_or(text).to_owned()
}

/// The account is there.
pub async fn welcome(asked: &Asked, jid: &BareJid) -> Response {
    let t = asked.texts();
    let body = html! {
        p { (t.done_text) }
        p.address { strong { (jid.as_str()) } }
        (next(asked).await)
    };
    answer(asked, jid.domain(), t.done_title, body)
}

/// The password is another one.
pub async fn reset(asked: &Asked, jid: &BareJid) -> Response {
    let t = asked.texts();
    let body = html! {
        p { (t.reset_done_text) }
        p.address { strong { (jid.as_str()) } }
        (chat(asked).await)
    };
    answer(asked, jid.domain(), t.reset_done_title, body)
}

fn answer(asked: &Asked, host: &str, title: &str, body: Markup) -> Response {
    layout::show(asked, Page { status: StatusCode::OK, host, title, body, kind: Kind::Secret })
}

/// Where to log in.
async fn next(asked: &Asked) -> Markup {
    let t = asked.texts();
    html! {
        h2 { (t.done_next) }
        p { (t.done_app) }
        (chat(asked).await)
        (apps::list(t, asked.platform))
    }
}

/// The web client, if there is one.
pub async fn chat(asked: &Asked) -> Markup {
    let is_there = converse::is_there(&asked.pages).await;
    html! {
        @if is_there {
            p { a.button href=(converse::PATH) { (asked.texts().chat_link) } }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_may_come_with_the_domain() {
        for (text, name) in [
            ("romeo", "romeo"),
            (" romeo ", "romeo"),
            ("romeo@x", "romeo"),
            ("romeo@y", "romeo@y"),
            ("xx", "xx"),
            ("@x", ""),
        ] {
            assert_eq!(only_name(text, "x"), name, "{text}");
        }
    }
}
