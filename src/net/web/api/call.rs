//! A request becomes a verb, and what the verb gives becomes an answer.

use std::sync::Arc;
use std::time::Duration;

use axum::Extension;
use axum::body::{Body, to_bytes};
use axum::extract::{RawPathParams, Request, State};
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE, ETAG, IF_NONE_MATCH};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use serde_json::{Map, Value};
use tokio::sync::oneshot;
use tokio::time::timeout;

use super::problem::Trouble;
use super::state::Api;
use super::{ApiCounts, bearer};
use crate::admin::openapi::{Argument, Shape, arguments};
use crate::admin::{Method, Outcome, Verb};
use crate::base::hash::{hex, sha256};
use crate::net::web::visitor::Visitor;

/// Carries out a verb.
pub async fn answer(
    verb: &'static Verb,
    State(api): State<Arc<Api>>,
    Extension(visitor): Extension<Visitor>,
    path: RawPathParams,
    request: Request,
) -> Response {
    let (parts, body) = request.into_parts();
    match outcome(verb, &api, &visitor, (&path, parts.uri.query()), (&parts.headers, body)).await {
        Ok(outcome) => {
            ApiCounts::one(&api.web.api.done);
            told(verb, &parts.headers, &outcome)
        }
        Err(trouble) => {
            ApiCounts::one(&api.web.api.refused);
            trouble.into_response()
        }
    }
}

async fn outcome(
    verb: &'static Verb,
    api: &Api,
    visitor: &Visitor,
    (path, query): (&RawPathParams, Option<&str>),
    (headers, body): (&HeaderMap, Body),
) -> Result<Outcome, Trouble> {
    let operator = (api.operators)().ok_or(Trouble::STOPPING)?;
    // Before the body: nobody has it read without a token.
    let by = bearer::actor(api, &operator, visitor, headers).await?;
    let mut given = Map::new();
    for (name, text) in path {
        put(verb, &mut given, name, text)?;
    }
    for (name, text) in form_urlencoded::parse(query.unwrap_or_default().as_bytes()) {
        if verb.method.has_body() {
            return Err(Trouble::arguments(format!(
                "{name}: arguments of this verb are in the body"
            )));
        }
        put(verb, &mut given, &name, &text)?;
    }
    let body = received(verb, headers, body, api.web.settings.body_time).await?;
    for (name, value) in body {
        if given.contains_key(&name) {
            return Err(Trouble::arguments(format!("{name} stands in the path already")));
        }
        given.insert(name, value);
    }
    let request = verb.request(checked(verb, given)?).map_err(|error| {
        // Its text could quote a password.
        let quoted = arguments(verb).iter().any(|one| SECRETS.contains(&&*one.name));
        let why = if quoted {
            "one of them has a value that it cannot have".to_owned()
        } else {
            error.to_string()
        };
        Trouble::arguments(why)
    })?;
    // Runs to its end even if the client goes away.
    let (done, came) = oneshot::channel();
    api.web.context.router.tasks.spawn("api", async move {
        let _ = done.send(operator.act(&by, request).await);
    });
    Ok(came.await.map_err(|_| Trouble::STOPPING)??)
}

/// Arguments that errors never quote.
const SECRETS: [&str; 2] = ["password", "which"];

/// The arguments of a body.
async fn received(
    verb: &Verb,
    headers: &HeaderMap,
    body: Body,
    limit: Duration,
) -> Result<Map<String, Value>, Trouble> {
    let body =
        timeout(limit, to_bytes(body, BODY_BYTES_MAX)).await.map_err(|_| Trouble::TOO_SLOW)?;
    let body = body.map_err(|_| Trouble::TOO_LARGE)?;
    if body.is_empty() {
        return Ok(Map::new());
    }
    if !verb.method.has_body() {
        return Err(Trouble::arguments(
            "the arguments of this verb are in its path and query".to_owned(),
        ));
    }
    let media_type = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok());
    let essence = media_type.unwrap_or_default().split(';').next().unwrap_or_default();
    if !essence.trim().eq_ignore_ascii_case("application/json") {
        return Err(Trouble::NOT_JSON);
    }
    match serde_json::from_slice(&body) {
        Ok(Value::Object(map)) => Ok(map),
        Ok(_) => Err(Trouble::arguments("the body is no JSON object".to_owned())),
        // The error says where, and quotes nothing.
        Err(error) => Err(Trouble::arguments(format!(
            "the body is no JSON: line {}, column {}",
            error.line(),
            error.column()
        ))),
    }
}

/// Adds an argument that came as text.
fn put(verb: &Verb, given: &mut Map<String, Value>, name: &str, text: &str) -> Result<(), Trouble> {
    let wrong = |what: &str| Err(Trouble::arguments(format!("{name} {what}")));
    let Some(argument) = arguments(verb).iter().find(|one| one.name == name) else {
        return wrong("is no argument of this verb");
    };
    let value = match argument.shape {
        Shape::Flag if ["", "true"].contains(&text) => Value::Bool(true),
        Shape::Flag if text == "false" => Value::Bool(false),
        Shape::Flag => return wrong("is true or false"),
        Shape::Number => match text.parse::<i64>() {
            Ok(number) => Value::from(number),
            Err(_) => return wrong("is a number"),
        },
        Shape::Text => Value::from(text),
        Shape::List => return wrong("is a list, which only a body can hold"),
    };
    match given.insert(name.to_owned(), value) {
        None => Ok(()),
        Some(_) => wrong("stands there twice"),
    }
}

/// All arguments, of which each is known, of its shape, and there if it has to be. Lists are in pages.
fn checked(verb: &Verb, mut given: Map<String, Value>) -> Result<Map<String, Value>, Trouble> {
    let known = arguments(verb);
    for (name, value) in &given {
        let Some(argument) = known.iter().find(|one| one.name == *name) else {
            return Err(Trouble::arguments(format!("{name} is no argument of this verb")));
        };
        if !fits(argument, value) {
            let what = argument.shape.as_str();
            return Err(Trouble::arguments(format!("{name} has to be {what}")));
        }
    }
    if let Some(missing) = known.iter().find(|one| one.required && !given.contains_key(&*one.name))
    {
        return Err(Trouble::arguments(format!("{} is missing", missing.name)));
    }
    if verb.method == Method::Get && known.iter().any(|one| one.name == "max") {
        match given.get("max").and_then(Value::as_i64) {
            None => drop(given.insert("max".to_owned(), Value::from(PAGE))),
            Some(1..=PAGE_MAX) => {}
            Some(_) => {
                return Err(Trouble::arguments(format!("max is a number from 1 to {PAGE_MAX}")));
            }
        }
    }
    Ok(given)
}

fn fits(argument: &Argument, value: &Value) -> bool {
    match (argument.shape, value) {
        (_, Value::Null) => !argument.required,
        (Shape::Text, Value::String(_))
        | (Shape::Flag, Value::Bool(_))
        | (Shape::List, Value::Array(_)) => true,
        (Shape::Number, Value::Number(number)) => number.is_i64(),
        _ => false,
    }
}

/// The answer. What is looked at has a tag (RFC 9110 §8.8.3), so that whoever knows it already is told so.
fn told(verb: &Verb, headers: &HeaderMap, outcome: &Outcome) -> Response {
    let body = outcome.json().to_string();
    let kind = (CONTENT_TYPE, "application/json");
    if verb.method != Method::Get {
        return ([kind, (CACHE_CONTROL, "no-store")], body).into_response();
    }
    let hash = hex(&sha256(body.as_bytes()));
    let tag = format!("\"{}\"", hash.get(..32).unwrap_or(&hash));
    let asked = headers.get_all(IF_NONE_MATCH).iter().filter_map(|value| value.to_str().ok());
    let mut known = asked.flat_map(|value| value.split(',')).map(str::trim);
    let is_known = known.any(|one| one == "*" || one.trim_start_matches("W/") == tag);
    let headers = [(ETAG, tag)];
    let control = [(CACHE_CONTROL, "private, no-cache")];
    match is_known {
        true => (StatusCode::NOT_MODIFIED, control, headers).into_response(),
        false => (control, headers, [kind], body).into_response(),
    }
}

const BODY_BYTES_MAX: usize = 65_536;
/// Things in a list, if nothing is said, and at most.
const PAGE: i64 = 100;
const PAGE_MAX: i64 = 1_000;
