//! Services outside of XMPP (XEP-0215): what is allowed, but most likely not meant.

use crate::admin::Secret;
use crate::server::config::Config;

/// What looks wrong.
pub fn warnings(config: &Config) -> Vec<String> {
    let external = &config.modules.external;
    let mut lines = Vec::new();
    let mut secrets = vec![("modules.external.secret".to_owned(), &external.secret)];
    for (number, service) in external.services.iter().enumerate() {
        let place = format!("service {} of modules.external.services", number + 1);
        if !TYPES.contains(&&*service.ty) {
            lines.push(format!(
                "{place} has the type \"{}\", which clients of calls do not ask for; they know {}",
                service.ty,
                TYPES.join(", ")
            ));
        }
        secrets.push((format!("the secret of {place}"), &service.secret));
        secrets.push((format!("the password of {place}"), &service.password));
    }
    let weak = secrets.into_iter().filter(|(_, secret)| is_placeholder(secret));
    lines.extend(weak.map(|(place, _)| {
        format!(
            "{place} looks like a placeholder, or can be guessed: whoever knows it uses your relay; \
             set what the TURN server has, such as of `openssl rand -hex 32`"
        )
    }));
    lines
}

/// What stands in documents, and what is too short to be a secret.
fn is_placeholder(Secret(secret): &Secret) -> bool {
    if secret.is_empty() {
        return false;
    }
    let small = secret.to_lowercase();
    let letters: String = small.chars().filter(|c| c.is_alphanumeric()).collect();
    let is_framed = [('<', '>'), ('[', ']'), ('{', '}')];
    let is_framed = is_framed.iter().any(|(a, b)| small.starts_with(*a) && small.ends_with(*b));
    let is_said = WORDS.iter().any(|word| letters.contains(word));
    is_framed || is_said || secret.chars().count() < SECRET_CHARS_MIN
}

/// RFC 7064, RFC 7065
const TYPES: &[&str] = &["stun", "stuns", "turn", "turns"];
const WORDS: &[&str] = &[
    "changeme",
    "changethis",
    "replaceme",
    "placeholder",
    "yoursecret",
    "sharedsecret",
    "staticauthsecret",
    "xxxx",
];
const SECRET_CHARS_MIN: usize = 8;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::server::config::{Inputs, load};

    fn warned(services: &str, secret: &str) -> Vec<String> {
        let set = |key: &str, value: &str| (format!("modules.external.{key}"), value.to_owned());
        let sets = vec![set("services", services), set("secret", secret)];
        warnings(&load(&Inputs { sets, ..Inputs::default() }).unwrap().config)
    }

    #[test]
    fn what_is_most_likely_not_meant_is_told() {
        let good =
            "[{ type = \"turns\", host = \"turn.x\" }, { type = \"stun\", host = \"turn.x\" }]";
        assert_eq!(warned(good, "0badc0ffee0ddf00d0badc0ffee0ddf00d"), Vec::<String>::new());
        for secret in ["change-me", "CHANGE_ME_PLEASE", "<the secret>", "your-secret-here", "short"]
        {
            let told = warned(good, secret);
            assert!(told.len() == 1 && told[0].contains("placeholder"), "{secret}: {told:?}");
            assert!(!told[0].contains(secret), "{told:?}");
        }
        let odd =
            "[{ type = \"trun\", host = \"turn.x\", username = \"a\", password = \"secret\" }]";
        let told = warned(odd, "");
        assert!(
            told.len() == 2 && told[0].contains("\"trun\"") && told[1].contains("password"),
            "{told:?}"
        );
    }
}
