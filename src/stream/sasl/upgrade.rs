//! XEP-0480: SASL Upgrade Tasks, for the SCRAM family (§3): a client that has just proved its password
//! sends what the account lacks for a better mechanism.

use super::SaslFailure;
use super::hash;
use super::keys::SALT_BYTES;
use crate::base::credential::{HashName, ScramKeys};
use crate::base::hash::{base64, unbase64};
use crate::base::id::Rng;

/// A task, named by its hash.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Task {
    /// `UPGR-SCRAM-SHA-512`
    ScramSha512,
    /// `UPGR-SCRAM-SHA-256`
    ScramSha256,
}

impl Task {
    /// All of them, the best first. They are advertised to every client: the client's identity is not
    /// certain before it has logged in, and what an account lacks concerns only its owner.
    pub const ALL: [Self; 2] = [Self::ScramSha512, Self::ScramSha256];

    /// Its name (XEP-0480 §2.1).
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::ScramSha512 => "UPGR-SCRAM-SHA-512",
            Self::ScramSha256 => "UPGR-SCRAM-SHA-256",
        }
    }

    /// The reverse of [`Self::as_str`].
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|task| task.as_str() == name)
    }

    /// The hash that it makes keys for.
    pub const fn hash(self) -> HashName {
        match self {
            Self::ScramSha512 => HashName::Sha512,
            Self::ScramSha256 => HashName::Sha256,
        }
    }

    /// Returns the tasks to be done of those that a client asked for: the account lacks their keys.
    ///
    /// Only for a client that logged in with the password. A client with a token (XEP-0484) could set
    /// itself a password this way, which would outlive the token.
    pub fn due(asked: &[Self], has: &[HashName]) -> Vec<Self> {
        let due = |task: &Self| asked.contains(task) && !has.contains(&task.hash());
        Self::ALL.into_iter().filter(due).collect()
    }
}

/// One task in progress.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Upgrade {
    task: Task,
    salt: Vec<u8>,
    iterations: u32,
}

impl Upgrade {
    /// Begins a task with a salt of its own.
    pub fn start(task: Task, iterations: u32, rng: &mut dyn Rng) -> Self {
        let mut salt = vec![0; SALT_BYTES];
        rng.fill(&mut salt);
        Self { task, salt, iterations }
    }

    /// The task.
    pub fn task(&self) -> Task {
        self.task
    }

    /// The text of `<salt/>`, and its `iterations` (XEP-0480 §3).
    pub fn salt(&self) -> (String, u32) {
        (base64(&self.salt), self.iterations)
    }

    /// Takes the text of the client's `<hash/>`: the SaltedPassword of RFC 5802 §3, of which only the
    /// derived keys are stored.
    pub fn finish(&self, hash: &str) -> Result<ScramKeys, SaslFailure> {
        // The XEP's own example breaks it over lines.
        let text: String = hash.split_ascii_whitespace().collect();
        let salted = unbase64(&text).ok_or(SaslFailure::IncorrectEncoding)?;
        let name = self.task.hash();
        if salted.len() != hash::digest(name, b"").len() {
            return Err(SaslFailure::MalformedRequest);
        }
        let (stored_key, server_key) =
            hash::keys_of_salted(name, &salted).ok_or(SaslFailure::TemporaryAuthFailure)?;
        let (salt, iterations) = (self.salt.clone(), self.iterations);
        Ok(ScramKeys { hash: name, salt, iterations, stored_key, server_key })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::id::OsRng;
    use crate::stream::sasl::keys;

    #[test]
    fn a_task_is_due_when_it_is_asked_for_and_its_keys_are_missing() {
        use HashName::{Sha1, Sha256, Sha512};
        use Task::{ScramSha256, ScramSha512};
        let both = [ScramSha256, ScramSha512];
        for (asked, has, want) in [
            (&both[..], &[Sha1][..], &[ScramSha512, ScramSha256][..]),
            (&both, &[Sha1, Sha256], &[ScramSha512]),
            (&both, &HashName::ALL, &[]),
            (&[ScramSha256], &[Sha1], &[ScramSha256]),
            (&[], &[Sha1, Sha512], &[]),
        ] {
            assert_eq!(Task::due(asked, has), want, "{asked:?} {has:?}");
        }
        for task in Task::ALL {
            assert_eq!(Task::parse(task.as_str()), Some(task));
            assert!(task.as_str().ends_with(task.hash().as_str()));
            assert!(task.as_str().len() <= 20, "SaslMechName");
        }
        assert_eq!(Task::parse("UPGR-SCRAM-SHA-256-PLUS"), None);
    }

    /// XEP-0480 §3 does not give its password, so the vector is RFC 7677 §3's, with SaltedPassword made by
    /// Python's hashlib.pbkdf2_hmac.
    #[test]
    fn the_keys_are_those_of_the_password() {
        let salt = unbase64("W22ZaJ0SNY7soEsUEjb6gQ==").unwrap();
        let upgrade = Upgrade { task: Task::ScramSha256, salt: salt.clone(), iterations: 4096 };
        assert_eq!(upgrade.salt(), ("W22ZaJ0SNY7soEsUEjb6gQ==".to_owned(), 4096));
        let keys =
            upgrade.finish("\n  xKSVEDI6tPlSysH6mUQZOeeOp01r6B3fcJbodRPcYV0=\n").ok().unwrap();
        assert!(keys == keys::derive("pencil", HashName::Sha256, &salt, 4096).ok().unwrap());
    }

    #[test]
    fn what_is_no_hash_is_refused() {
        let upgrade = Upgrade::start(Task::ScramSha512, 4096, &mut OsRng);
        assert_eq!(unbase64(&upgrade.salt().0).unwrap().len(), SALT_BYTES);
        for (text, want) in [
            ("", SaslFailure::MalformedRequest),
            ("YQ==", SaslFailure::MalformedRequest),
            (&base64(&[1; 32]), SaslFailure::MalformedRequest),
            ("YQ", SaslFailure::IncorrectEncoding),
            ("pencil!", SaslFailure::IncorrectEncoding),
        ] {
            assert_eq!(upgrade.finish(text).err(), Some(want), "{text}");
        }
        assert!(upgrade.finish(&base64(&[1; 64])).is_ok());
    }
}
