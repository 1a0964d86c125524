//! SCRAM-SHA-1 (RFC 5802) of a client that keeps the salted password, as clients do.

use super::fault::{Res, fault};
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use hmac::{Hmac, Mac};
use sha1::{Digest, Sha1};
use std::collections::HashMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

type Key = [u8; 20];

/// What a client keeps of a login for the next one.
#[derive(Debug, Clone)]
struct Kept {
    client: Key,
    server: Key,
}

/// The salted passwords of a server's accounts, which all have the same one, by `s=…,i=…` as the server
/// sent them.
#[derive(Debug, Default)]
pub struct Keys(Mutex<HashMap<String, Kept>>);

/// The client's first message without its header, and its nonce in it.
pub fn first(user: &str) -> String {
    static COUNT: AtomicU64 = AtomicU64::new(0);
    // Unguessable nonces protect the user; here only their being different matters.
    let count = COUNT.fetch_add(1, Ordering::Relaxed);
    format!("n={user},r=bench{:08x}{count:012x}", std::process::id())
}

impl Keys {
    /// The client's final message, and the signature the server must answer with.
    pub fn last(&self, password: &str, first: &str, challenge: &str) -> Res<(String, String)> {
        let Some((nonce, asked)) = challenge.split_once(",s=") else {
            return fault(format!("no SCRAM challenge: {challenge}"));
        };
        // What follows the rounds are extensions (RFC 5802 §5.1), signed with the rest.
        let numbers = asked.split_once(",i=");
        let numbers = numbers.map(|(salt, more)| (salt, more.split(',').next().unwrap_or(more)));
        let Some((salt, rounds)) = numbers else {
            return fault(format!("no SCRAM challenge: {challenge}"));
        };
        let kept = self.kept(asked).map_or_else(|| salted(password, asked, salt, rounds), Ok)?;
        let unproven = format!("c=biws,{nonce}");
        let signed = format!("{first},{challenge},{unproven}");
        let signature = hmac(&hash(&kept.client), signed.as_bytes());
        let proof: Vec<u8> = kept.client.iter().zip(signature).map(|(a, b)| a ^ b).collect();
        let answer = BASE64_STANDARD.encode(hmac(&kept.server, signed.as_bytes()));
        self.0.lock().expect("no holder panics").insert(asked.to_owned(), kept);
        Ok((format!("{unproven},p={}", BASE64_STANDARD.encode(proof)), format!("v={answer}")))
    }

    fn kept(&self, asked: &str) -> Option<Kept> {
        let keys = self.0.lock().expect("no holder panics");
        keys.get(asked).cloned()
    }
}

fn salted(password: &str, asked: &str, salt: &str, rounds: &str) -> Res<Kept> {
    let (Ok(salt), Ok(rounds)) = (BASE64_STANDARD.decode(salt), rounds.parse()) else {
        return fault(format!("no SCRAM challenge: s={asked}"));
    };
    let mut salted = Key::default();
    pbkdf2::pbkdf2_hmac::<Sha1>(password.as_bytes(), &salt, rounds, &mut salted);
    let (client, server) = (hmac(&salted, b"Client Key"), hmac(&salted, b"Server Key"));
    Ok(Kept { client, server })
}

fn hmac(key: &[u8], data: &[u8]) -> Key {
    let mut mac = Hmac::<Sha1>::new_from_slice(key).expect("HMAC takes keys of every length");
    mac.update(data);
    mac.finalize().into_bytes().into()
}

fn hash(data: &[u8]) -> Key {
    Sha1::digest(data).into()
}
