//! The page of an invitation (XEP-0379 §3.3, XEP-0401 §5.2), and of a link to a new password. Its address has the
//! token, which is logged and told nowhere.

use axum::extract::{Path, Request};
use axum::http::StatusCode;
use axum::response::Response;
use maud::{Markup, html};

use super::asked::Asked;
use super::fields::{self, Form, Whose};
use super::form::Sent;
use super::layout::{self, Kind, Page};
use super::refusal::Refusal;
use super::texts::fill;
use super::{apps, enroll, qr};
use crate::admin::invitations::{PAGE, link};
use crate::base::time::{from_micros, stamp};
use crate::modules::invite::{NotAdmitted, admit, registers};
use crate::store::accounts;
use crate::store::invitations::{Ended, Invitation, Purpose};

/// GET `/i/{token}`: looking uses nothing up.
pub async fn show(asked: Asked, Path(token): Path<String>) -> Response {
    match Open::find(&asked, token).await {
        Ok(open) => open.page(&asked, "", None),
        Err(response) => *response,
    }
}

/// POST `/i/{token}`
pub async fn submit(asked: Asked, Path(token): Path<String>, request: Request) -> Response {
    let t = asked.texts();
    if asked.is_foreign {
        return failed(&asked, StatusCode::FORBIDDEN, t.error_foreign);
    }
    let sent = match Sent::read(request).await {
        Ok(sent) => sent,
        Err(status) => return failed(&asked, status, t.error_form),
    };
    let open = match Open::find(&asked, token).await {
        Ok(open) => open,
        Err(response) => return *response,
    };
    if !registers(&open.found) {
        return failed(&asked, StatusCode::FORBIDDEN, t.join_closed);
    }
    let Some(cx) = asked.guest(&open.found.terms.host, Some(open.found.clone())) else {
        return failed(&asked, StatusCode::INTERNAL_SERVER_ERROR, t.error_failed);
    };
    match enroll::done(&asked, cx, &sent).await {
        Ok(jid) if open.found.terms.purpose == Purpose::Password => {
            enroll::reset(&asked, &jid).await
        }
        Ok(jid) => enroll::welcome(&asked, &jid).await,
        Err(refusal) if refusal.status == StatusCode::GONE => ended(&asked, Ended::Used),
        Err(refusal) => open.page(&asked, sent.get("name"), Some(&refusal)),
    }
}

/// An invitation that can be used.
struct Open {
    found: Invitation,
    token: String,
    /// The link for apps.
    uri: String,
    /// Who invites.
    inviter: Option<String>,
}

impl Open {
    async fn find(asked: &Asked, token: String) -> Result<Self, Box<Response>> {
        let t = asked.texts();
        let broken = |status| Box::new(failed(asked, status, t.error_failed));
        let cx = asked.guest(&asked.host, None);
        let cx = cx.ok_or_else(|| broken(StatusCode::INTERNAL_SERVER_ERROR))?;
        let mut found = match admit(&cx, token.clone(), None).await {
            Ok(found) => found,
            Err(NotAdmitted::Ended(why)) => return Err(Box::new(ended(asked, why))),
            Err(NotAdmitted::TooManyTries) => return Err(Box::new(tries(asked))),
            Err(NotAdmitted::Store(_)) => return Err(broken(StatusCode::SERVICE_UNAVAILABLE)),
        };
        if !cx.config.register.takes_invited() {
            // It was made before the server was closed. What it says of contacts still holds.
            if found.terms.purpose == Purpose::Password || !found.terms.befriends {
                return Err(Box::new(failed(asked, StatusCode::NOT_FOUND, t.join_closed)));
            }
            found.terms.registers = false;
        }
        let inviter = match found.terms.account {
            Some(account) if found.terms.purpose == Purpose::Invite => {
                let name = cx.store.read(move |tx| Ok(accounts::name(tx, account)?.flatten()));
                let name = name.await.map_err(|_| broken(StatusCode::SERVICE_UNAVAILABLE))?;
                name.map(|(local, host)| format!("{local}@{host}"))
            }
            _ => None,
        };
        let uri = link(&cx.store, &token, &found).await;
        let uri = uri.map_err(|_| broken(StatusCode::SERVICE_UNAVAILABLE))?;
        Ok(Self { found, token, uri, inviter })
    }

    fn page(&self, asked: &Asked, name: &str, refusal: Option<&Refusal>) -> Response {
        let (t, terms) = (asked.texts(), &self.found.terms);
        let status = refusal.map_or(StatusCode::OK, |refusal| refusal.status);
        let (title, body) = match terms.purpose {
            Purpose::Password => (t.reset_title.to_owned(), self.reset(asked, refusal)),
            Purpose::Invite => {
                let title = fill(t.invite_title, &[("host", &terms.host)]);
                (title, self.invitation(asked, name, refusal))
            }
        };
        layout::show(
            asked,
            Page { status, host: &terms.host, title: &title, body, kind: Kind::Secret },
        )
    }

    /// The address of an account that has its name already.
    fn address(&self) -> Option<String> {
        let terms = &self.found.terms;
        terms.local.as_ref().map(|local| format!("{local}@{}", terms.host))
    }

    fn reset(&self, asked: &Asked, refusal: Option<&Refusal>) -> Markup {
        let (t, address) = (asked.texts(), self.address().unwrap_or_default());
        let form = Form { button: t.reset_button, whose: Whose::Of(&address), refusal };
        html! {
            p.lead { (fill(t.reset_text, &[("address", &address)])) }
            (fields::form(asked, &form))
            p { (t.reset_note) }
        }
    }

    fn invitation(&self, asked: &Asked, name: &str, refusal: Option<&Refusal>) -> Markup {
        let form = registers(&self.found).then(|| self.signup(asked, name, refusal));
        html! {
            (self.lead(asked))
            // Whoever has something to correct has chosen the browser.
            @if refusal.is_none() { (self.steps(asked)) }
            @if let Some(form) = &form { (form) }
            @if refusal.is_none() { (self.elsewhere(asked)) }
        }
    }

    fn lead(&self, asked: &Asked) -> Markup {
        let (t, terms) = (asked.texts(), &self.found.terms);
        let host = terms.host.as_str();
        let lead = match &self.inviter {
            Some(name) if terms.registers => {
                fill(t.invite_account_by, &[("name", name), ("host", host)])
            }
            Some(name) => fill(t.invite_contact_by, &[("name", name)]),
            None => fill(t.invite_account, &[("host", host)]),
        };
        let until = stamp(from_micros(terms.expires));
        let day = until.split('T').next().unwrap_or_default();
        html! {
            p.lead { (lead) }
            @if let Some(address) = self.address() {
                p { (fill(t.invite_named, &[("address", &address)])) }
            }
            p.hint { (fill(t.invite_until, &[("date", day)])) }
        }
    }

    /// An app, and the link for it.
    fn steps(&self, asked: &Asked) -> Markup {
        let t = asked.texts();
        html! {
            ol.steps {
                li {
                    h2 { (t.step_app) }
                    p { (t.apps_text) }
                    (apps::list(t, asked.platform))
                }
                li {
                    h2 { (t.step_open) }
                    p { a.button href=(self.uri) { (t.open_button) } }
                    p.hint { (t.open_hint) }
                    p { code.link { (self.uri) } }
                }
            }
        }
    }

    fn signup(&self, asked: &Asked, name: &str, refusal: Option<&Refusal>) -> Markup {
        let (t, address) = (asked.texts(), self.address());
        let whose = match &address {
            Some(address) => Whose::Of(address),
            None => Whose::New { host: &self.found.terms.host, name },
        };
        html! {
            section aria-labelledby="signup" {
                h2 #signup { @if refusal.is_none() { (t.signup_here) } @else { (t.signup_title) } }
                p { (t.signup_text) }
                (fields::form(asked, &Form { button: t.signup_button, whose, refusal }))
            }
        }
    }

    /// The address of this page for the camera of another device.
    fn elsewhere(&self, asked: &Asked) -> Markup {
        let t = asked.texts();
        let url = format!("{}{PAGE}{}", asked.base, self.token);
        let is_mobile = asked.platform.is_some_and(|platform| platform.is_mobile());
        html! {
            @if let Some(picture) = qr::picture(&url, t.qr_label) {
                details open[!is_mobile] {
                    summary { (t.qr_title) }
                    p { (t.qr_text) }
                    (picture)
                }
            }
        }
    }
}

/// 410 for what was there, 404 for what never was.
fn ended(asked: &Asked, why: Ended) -> Response {
    let t = asked.texts();
    let (status, text) = match why {
        Ended::Unknown => (StatusCode::NOT_FOUND, t.ended_unknown),
        Ended::Used => (StatusCode::GONE, t.ended_used),
        Ended::Expired => (StatusCode::GONE, t.ended_expired),
        Ended::Revoked => (StatusCode::GONE, t.ended_revoked),
    };
    let body = html! {
        p.lead { (text) }
        p { (t.ended_ask) }
    };
    told(asked, status, t.ended_title, body)
}

fn tries(asked: &Asked) -> Response {
    let t = asked.texts();
    told(asked, StatusCode::TOO_MANY_REQUESTS, t.tries_title, html! { p.lead { (t.tries_text) } })
}

fn failed(asked: &Asked, status: StatusCode, text: &str) -> Response {
    told(asked, status, asked.texts().error_title, html! { p.lead { (text) } })
}

fn told(asked: &Asked, status: StatusCode, title: &str, body: Markup) -> Response {
    layout::show(asked, Page { status, host: &asked.host, title, body, kind: Kind::Secret })
}
