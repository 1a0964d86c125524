//! The bearer tokens of the JSON API: 256 random bits, of which only a hash is stored, shown once.

use std::time::SystemTime;

use super::accounts::AdminError;
use super::told::{TokenLine, TokenList, TokenMade};
use super::{Outcome, Rank};
use crate::base::hash::{hex, same_secret, sha256};
use crate::base::id::{OsRng, Rng};
use crate::base::time::{from_micros, micros, stamp};
use crate::store::Store;
use crate::store::api_tokens::{self, ApiToken, TOKENS_MAX};

/// Makes one.
pub(super) async fn add(
    store: &Store,
    (name, rank, days): (&str, Rank, u32),
    now: SystemTime,
) -> Result<Outcome, AdminError> {
    if !(1..=DAYS_MAX).contains(&days) {
        return Err(AdminError::Amount("--days", DAYS_MAX));
    }
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    if name.is_empty() || name.len() > NAME_BYTES_MAX || !name.chars().all(is_plain) {
        return Err(AdminError::TokenName);
    }
    let mut secret = [0; 32];
    OsRng.fill(&mut secret);
    let secret = hex(&secret);
    let made = micros(now);
    let expires = made.saturating_add(i64::from(days).saturating_mul(DAY));
    let (hash, wanted) = (sha256(secret.as_bytes()), name.to_owned());
    let add = store
        .write(move |tx| api_tokens::add(tx, (&wanted, rank.number()), &hash, (made, expires)));
    let id = add.await?.ok_or_else(|| AdminError::TokenExists(name.to_owned(), TOKENS_MAX))?;
    Ok(TokenMade {
        name: name.to_owned(),
        role: rank,
        until: stamp(from_micros(expires)),
        token: format!("{PREFIX}{id}_{secret}"),
    }
    .into())
}

/// All of them, without their secrets.
pub(super) async fn list(store: &Store, now: SystemTime) -> Result<Outcome, AdminError> {
    let now = micros(now);
    let line = |token: ApiToken| {
        let at = |micros| stamp(from_micros(micros));
        TokenLine {
            role: Some(Rank::of_number(token.rank)).filter(|rank| *rank != Rank::Nobody),
            made: at(token.made),
            until: at(token.revoked.unwrap_or(token.expires)),
            used: token.used.map(at),
            state: match token.revoked {
                Some(_) => "revoked",
                None if token.expires <= now => "expired",
                None => "good",
            }
            .to_owned(),
            name: token.name,
        }
    };
    let all = store.read(api_tokens::all).await?;
    Ok(TokenList { tokens: all.into_iter().map(line).collect() }.into())
}

/// Takes one back.
pub(super) async fn revoke(
    store: &Store,
    name: String,
    now: SystemTime,
) -> Result<Outcome, AdminError> {
    let (wanted, now) = (name.clone(), micros(now));
    match store.write(move |tx| api_tokens::revoke(tx, &wanted, now)).await? {
        true => {
            Ok(Outcome::done(format!("the token {name} is revoked: it opens nothing any more")))
        }
        false => Err(AdminError::UnknownToken(name)),
    }
}

/// Whose token a text is, and what it may do; none if it is not one, or not good any more. Its secret is compared in a
/// time that says nothing of it.
pub(super) async fn identify(
    store: &Store,
    text: &str,
    now: SystemTime,
) -> Result<Option<(String, Rank)>, AdminError> {
    let parts = text.strip_prefix(PREFIX).and_then(|rest| rest.split_once('_'));
    let Some((Ok(id), secret)) = parts.map(|(id, secret)| (id.parse::<i64>(), secret)) else {
        return Ok(None);
    };
    let (now, hash) = (micros(now), sha256(secret.as_bytes()));
    let found = store.read(move |tx| api_tokens::find(tx, id)).await?;
    let Some((token, stored)) = found else { return Ok(None) };
    let is_good = token.revoked.is_none() && token.expires > now;
    if !same_secret(&stored, &hash) || !is_good {
        return Ok(None);
    }
    if now.saturating_sub(token.used.unwrap_or_default()) > USED_AGAIN {
        store.write(move |tx| api_tokens::used(tx, id, now)).await?;
    }
    Ok(Some((token.name, Rank::of_number(token.rank))))
}

/// What all tokens begin with, so that people and scanners for leaked secrets know one when they see it.
pub const PREFIX: &str = "stonechat_";
/// Three years.
const DAYS_MAX: u32 = 1_096;
const NAME_BYTES_MAX: usize = 64;
const DAY: i64 = 86_400_000_000;
/// How exactly the last use is noted, in microseconds.
const USED_AGAIN: i64 = 60_000_000;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::Options;
    use std::time::Duration;

    #[tokio::test]
    async fn a_token_opens_until_it_ends() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(Options::new(folder.path().join("x.db"))).unwrap();
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000);
        let made = add(&store, ("ci", Rank::Reader, 2), now).await.unwrap();
        let token = TokenMade::try_from(made).unwrap();
        assert!(!format!("{token:?}").contains(&token.token));
        let later = |days: u64| now + Duration::from_secs(days * 86_400);
        let who = Some(("ci".to_owned(), Rank::Reader));
        assert_eq!(identify(&store, &token.token, now).await.unwrap(), who);
        assert_eq!(identify(&store, &token.token, later(2)).await.unwrap(), None, "expired");
        let (head, last) = token.token.split_at(token.token.len() - 1);
        let other = format!("{head}{}", if last == "0" { "1" } else { "0" });
        let foreign = token.token.replacen("_1_", "_2_", 1);
        for wrong in ["", "stonechat_", "stonechat_1_", "stonechat_x_y", &other, &foreign, head] {
            assert_eq!(identify(&store, wrong, now).await.unwrap(), None, "{wrong}");
        }
        assert!(matches!(
            add(&store, ("ci", Rank::Owner, 2), now).await,
            Err(AdminError::TokenExists(..))
        ));
        for wrong in ["", "a b", "ä", &"x".repeat(65)] {
            let told = add(&store, (wrong, Rank::Owner, 2), now).await;
            assert!(matches!(told, Err(AdminError::TokenName)), "{wrong}");
        }
        assert!(add(&store, ("x", Rank::Owner, 0), now).await.is_err());
        let used = TokenList::try_from(list(&store, now).await.unwrap()).unwrap();
        assert!(used.tokens[0].used.is_some() && used.tokens[0].state == "good");
        revoke(&store, "ci".to_owned(), now).await.unwrap();
        assert_eq!(identify(&store, &token.token, now).await.unwrap(), None, "revoked");
        let again = revoke(&store, "ci".to_owned(), now).await;
        assert!(matches!(again, Err(AdminError::UnknownToken(_))));
    }
}
