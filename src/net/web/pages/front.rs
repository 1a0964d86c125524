//! The front page: what this server is, how to join and connect, and whom to turn to (XEP-0157).

use axum::http::StatusCode;
use axum::response::Response;
use maud::{Markup, html};

use super::asked::Asked;
use super::layout::{self, Kind, Page};
use super::texts::{Texts, fill};
use super::{apps, enroll, join};
use crate::modules::register::Mode;

/// GET `/`
pub async fn show(asked: Asked) -> Response {
    let (t, host) = (asked.texts(), asked.host.as_str());
    let chat = enroll::chat(&asked).await;
    let body = html! {
        p.lead { (t.front_lead) }
        section aria-labelledby="join" {
            h2 #join { (t.join_title) }
            @match join::mode(&asked) {
                Mode::Open => {
                    p { (t.join_open) }
                    p { a.button href=(asked.link("/join")) { (t.join_link) } }
                }
                Mode::Invitation => { p { (t.join_invitation) } }
                Mode::Closed => { p { (t.join_closed) } }
            }
        }
        section aria-labelledby="login" {
            h2 #login { (t.login_title) }
            p { (fill(t.login_text, &[("host", host)])) }
            (chat)
            (apps::list(t, asked.platform))
        }
        (contacts(&asked))
        (connect(&asked))
    };
    let title = fill(t.front_title, &[("host", host)]);
    layout::show(
        &asked,
        Page { status: StatusCode::OK, host, title: &title, body, kind: Kind::Public },
    )
}

/// What people who know their app need to tell it.
fn connect(asked: &Asked) -> Markup {
    let (t, web) = (asked.texts(), &asked.pages.web);
    let socket = asked.base.replacen("http", "ws", 1);
    html! {
        details {
            summary { (t.connect_title) }
            dl {
                dt { (t.connect_domain) }
                dd { code { (asked.host) } }
                @if let Some(port) = web.ports.starttls {
                    dt { (t.connect_starttls) }
                    dd { code { (port) } }
                }
                @if let Some(port) = web.ports.direct {
                    dt { (t.connect_tls) }
                    dd { code { (port) } }
                }
                dt { (t.connect_websocket) }
                dd { code { (socket) "/ws" } }
                @if web.settings.bosh {
                    dt { (t.connect_bosh) }
                    dd { code { (asked.base) "/http-bind" } }
                }
            }
        }
    }
}

fn contacts(asked: &Asked) -> Markup {
    let t = asked.texts();
    let lists = asked.pages.web.context.config.contacts.lists();
    let lists = || lists.iter().filter(|(_, _, addresses)| !addresses.is_empty());
    html! {
        @if lists().next().is_some() {
            section aria-labelledby="contacts" {
                h2 #contacts { (t.contacts_title) }
                dl {
                    @for (key, _, addresses) in lists() {
                        dt { (label(t, key)) }
                        @for address in addresses.iter() { dd { (contact(address)) } }
                    }
                }
            }
        }
    }
}

fn label<'a>(t: &Texts, key: &'a str) -> &'a str {
    match key {
        "abuse" => t.contact_abuse,
        "admin" => t.contact_admin,
        "feedback" => t.contact_feedback,
        "sales" => t.contact_sales,
        "security" => t.contact_security,
        "status" => t.contact_status,
        "support" => t.contact_support,
        other => other,
    }
}

/// A link only where it leads to somebody.
fn contact(address: &str) -> Markup {
    let shown = ["mailto:", "xmpp:"].iter().find_map(|scheme| address.strip_prefix(scheme));
    let leads = ["mailto:", "xmpp:", "https:", "http:", "tel:"];
    html! {
        @if leads.iter().any(|scheme| address.starts_with(scheme)) {
            a href=(address) rel="noreferrer" { (shown.unwrap_or(address)) }
        } @else {
            code { (address) }
        }
    }
}
