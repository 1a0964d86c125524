//! Converse.js for this host, from a folder that the admin got from npm (`stonechat web get-converse`).

use std::sync::Arc;

use axum::extract::State;
use axum::http::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, LOCATION, REFERRER_POLICY,
    X_CONTENT_TYPE_OPTIONS,
};
use axum::http::{HeaderName, HeaderValue, StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use maud::{DOCTYPE, Markup, html};
use serde_json::json;

use super::asked::Asked;
use super::layout::head;
use super::state::Pages;
use super::texts::fill;
use crate::modules::register::Mode;

/// Where it is.
pub const PATH: &str = "/chat/";
/// The part of the folder that browsers get.
pub const FILES: &str = "dist";
/// The program, in that part.
pub const SCRIPT: &str = "converse.min.js";
/// Its style.
pub const STYLE: &str = "converse.min.css";

/// Whether there is one. Asked each time: it may be unpacked while the server runs.
pub async fn is_there(pages: &Pages) -> bool {
    let script = pages.web.settings.converse.join(FILES).join(SCRIPT);
    tokio::fs::try_exists(script).await.unwrap_or(false)
}

/// `/chat`: its files are named as seen from the folder.
pub async fn to_folder(State(pages): State<Arc<Pages>>) -> Response {
    if !is_there(&pages).await {
        return StatusCode::NOT_FOUND.into_response();
    }
    (StatusCode::PERMANENT_REDIRECT, [(LOCATION, PATH)]).into_response()
}

/// `/chat/{file}`: what is looked for beside the page, as its encryption is, is with the other files.
pub async fn beside(State(pages): State<Arc<Pages>>, uri: Uri) -> Response {
    let file = uri.path().strip_prefix(PATH).filter(|file| !file.is_empty());
    let (Some(file), true) = (file, is_there(&pages).await) else {
        return StatusCode::NOT_FOUND.into_response();
    };
    (StatusCode::TEMPORARY_REDIRECT, [(LOCATION, format!("{PATH}{FILES}/{file}"))]).into_response()
}

/// `/chat/`
pub async fn page(asked: Asked) -> Response {
    if !is_there(&asked.pages).await {
        return StatusCode::NOT_FOUND.into_response();
    }
    let page = (document(&asked).into_string(), "text/html; charset=utf-8");
    answer(&asked, page.0, page.1)
}

/// `/chat/config.js`: a script of its own, as there are none in the page.
pub async fn script(asked: Asked) -> Response {
    if !is_there(&asked.pages).await {
        return StatusCode::NOT_FOUND.into_response();
    }
    // A module since version 12; JSON is a script.
    let script = format!(
        "import * as loaded from './{FILES}/{SCRIPT}';\n\
         (loaded.default ?? window.converse).initialize({});\n",
        settings(&asked)
    );
    answer(&asked, script, "text/javascript; charset=utf-8")
}

fn document(asked: &Asked) -> Markup {
    let t = asked.texts();
    let title = fill(t.chat_title, &[("host", &asked.host)]);
    html! {
        (DOCTYPE)
        html lang=(asked.language.tag()) {
            (head(asked, &title, &format!("{FILES}/{STYLE}"), html! {
                script type="module" src="config.js" {}
            }))
            body.converse-fullscreen {
                noscript { p { (t.chat_script) } }
                div #conversejs-bg {}
            }
        }
    }
}

/// What Converse.js is told: one domain, whose doors are here.
fn settings(asked: &Asked) -> serde_json::Value {
    let web = &asked.pages.web;
    let is_open = web.context.config.register.mode == Mode::Open;
    let mut settings = json!({
        "view_mode": "fullscreen",
        "authentication": "login",
        "locked_domain": asked.host,
        "discover_connection_methods": false,
        "websocket_url": web.socket(&asked.base),
        "assets_path": format!("{PATH}{FILES}"),
        "allow_registration": is_open,
        "registration_domain": if is_open { asked.host.as_str() } else { "" },
    });
    if let (true, Some(settings)) = (web.settings.bosh, settings.as_object_mut()) {
        let url = json!(web.bosh_address(&asked.base));
        settings.insert("bosh_service_url".to_owned(), url);
    }
    settings
}

/// It runs scripts, but only those in the folder; it speaks with this server alone.
fn answer(asked: &Asked, content: String, media_type: &'static str) -> Response {
    // Where uploads are, if not here.
    let (web, base) = (&asked.pages.web, &asked.base);
    let files = web.context.config.upload.url.trim_end_matches('/');
    let files = if files.is_empty() { String::new() } else { format!(" {files}/") };
    let ours = format!("'self' {base}/{files}");
    let mut connect = format!("{ours} {}", web.socket(base));
    let bosh = web.bosh_address(base);
    if !bosh.starts_with(base) {
        connect = format!("{connect} {bosh}");
    }
    // Not the rest of the origin: what people upload is there.
    let scripts = format!("{base}{PATH}");
    // Its style sets styles in the page, its encryption is WebAssembly. Nobody elsewhere learns who looks.
    let policy = format!(
        "default-src 'none'; script-src {scripts} 'wasm-unsafe-eval'; style-src 'self' 'unsafe-inline'; \
         font-src 'self' data:; img-src {ours} data: blob:; media-src {ours} blob:; \
         connect-src {connect}; worker-src {scripts}; manifest-src 'self'; form-action 'self'; \
         base-uri 'none'; frame-ancestors 'none'"
    );
    let mut response = content.into_response();
    let headers = response.headers_mut();
    for (name, value) in [
        (CONTENT_TYPE, media_type),
        (X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (REFERRER_POLICY, "no-referrer"),
        (CACHE_CONTROL, "no-cache"),
        (HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    let none = HeaderValue::from_static("default-src 'none'; frame-ancestors 'none'");
    headers.insert(CONTENT_SECURITY_POLICY, HeaderValue::from_str(&policy).unwrap_or(none));
    response
}
