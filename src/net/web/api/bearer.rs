//! Who asks: a bearer token (RFC 6750 §2.1).

use axum::http::HeaderMap;
use axum::http::header::AUTHORIZATION;

use super::ApiCounts;
use super::problem::Trouble;
use super::state::Api;
use crate::admin::{Actor, Operator};
use crate::net::web::clock::now;
use crate::net::web::visitor::Visitor;

/// Whose token a request shows, within how much that one may ask. Whoever shows wrong ones waits ever longer for the
/// answer; those who show a good one are not held up by that.
pub async fn actor(
    api: &Api,
    operator: &Operator,
    visitor: &Visitor,
    headers: &HeaderMap,
) -> Result<Actor, Trouble> {
    let shown = token(headers);
    let known = match shown {
        Some(token) => operator.identify(token).await?,
        None => None,
    };
    let Some((name, rank)) = known else {
        if shown.is_some() {
            ApiCounts::one(&api.web.api.tokens);
            if visitor.connection.tells() {
                tracing::warn!(address = %visitor.ip, "a token for the API that is none, expired or revoked");
            }
            if let Err(wait) = api.guard.wrong.take(visitor.ip, now()) {
                tokio::time::sleep(wait.min(WAIT_MAX)).await;
                return Err(Trouble::too_many("this address with wrong tokens", wait));
            }
        }
        return Err(Trouble::NO_TOKEN);
    };
    if let Err(wait) = api.guard.tokens.take(name.clone(), now()) {
        return Err(Trouble::too_many("this token", wait));
    }
    Ok(Actor::token(&name, rank, visitor.ip))
}

/// RFC 9110 §11.1: the scheme is in any case. Two of them are none.
fn token(headers: &HeaderMap) -> Option<&str> {
    let mut all = headers.get_all(AUTHORIZATION).iter();
    let (first, more) = (all.next()?.to_str().ok()?, all.next());
    let (scheme, token) = first.split_once(' ')?;
    let is_one = more.is_none() && scheme.eq_ignore_ascii_case("bearer");
    Some(token.trim()).filter(|token| is_one && token.len() <= TOKEN_BYTES_MAX)
}

/// A token has fewer than 100.
const TOKEN_BYTES_MAX: usize = 256;
/// How long an answer to a wrong token is held back at most.
const WAIT_MAX: std::time::Duration = std::time::Duration::from_secs(5);
