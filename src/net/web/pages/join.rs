//! An account for anybody, where the server is open to all.

use axum::extract::Request;
use axum::http::StatusCode;
use axum::response::Response;
use maud::html;

use super::asked::Asked;
use super::enroll;
use super::fields::{self, Form, Whose};
use super::form::Sent;
use super::layout::{self, Kind, Page};
use super::refusal::{self, Refusal};
use crate::modules::register::{Mode, Refused};

/// GET `/join`
pub async fn show(asked: Asked) -> Response {
    match mode(&asked) {
        Mode::Open => page(&asked, Kind::Public, "", None),
        Mode::Invitation => refused(&asked, &Refused::Uninvited),
        Mode::Closed => refused(&asked, &Refused::Closed),
    }
}

/// POST `/join`
pub async fn submit(asked: Asked, request: Request) -> Response {
    let t = asked.texts();
    if asked.is_foreign {
        return told(&asked, StatusCode::FORBIDDEN, t.error_foreign);
    }
    let sent = match Sent::read(request).await {
        Ok(sent) => sent,
        Err(status) => return told(&asked, status, t.error_form),
    };
    let Some(cx) = asked.guest(&asked.host, None) else {
        return told(&asked, StatusCode::INTERNAL_SERVER_ERROR, t.error_failed);
    };
    match enroll::done(&asked, cx, &sent).await {
        Ok(jid) => enroll::welcome(&asked, &jid).await,
        Err(refusal) if refusal.is_final => told(&asked, refusal.status, &refusal.text),
        Err(refusal) => page(&asked, Kind::Secret, sent.get("name"), Some(&refusal)),
    }
}

/// How accounts come to be here.
pub fn mode(asked: &Asked) -> Mode {
    asked.pages.web.context.config.register.mode
}

fn page(asked: &Asked, kind: Kind, name: &str, refusal: Option<&Refusal>) -> Response {
    let (t, host) = (asked.texts(), asked.host.as_str());
    let whose = Whose::New { host, name };
    let body = html! {
        @if refusal.is_none() { p.lead { (t.join_open) } }
        (fields::form(asked, &Form { button: t.signup_button, whose, refusal }))
        p { (t.signup_text) }
    };
    let status = refusal.map_or(StatusCode::OK, |refusal| refusal.status);
    layout::show(asked, Page { status, host, title: t.signup_title, body, kind })
}

fn refused(asked: &Asked, why: &Refused) -> Response {
    let said = refusal::of(asked.texts(), why);
    told(asked, said.status, &said.text)
}

fn told(asked: &Asked, status: StatusCode, text: &str) -> Response {
    let (t, body) = (asked.texts(), html! { p.lead { (text) } });
    let page = Page { status, host: &asked.host, title: t.signup_title, body, kind: Kind::Secret };
    layout::show(asked, page)
}
