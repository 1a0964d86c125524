//! The failed attempts on one stream: how many more it may make (RFC 6120 §6.4.5), and which are one
//! mistake.

use crate::stream::sasl::{Mechanism, Refusal};

/// The failures of one stream.
#[derive(Debug, Default)]
pub(super) struct Tries {
    counted: u32,
    /// Mechanisms by which an exchange ended before a secret was checked.
    unlooked: Vec<Mechanism>,
    /// Accounts, with the forms of the password that failed since the account's last new mistake.
    mistakes: Vec<(String, Vec<Form>)>,
}

/// The form in which a mechanism checks a password: a client that goes through all mechanisms tries the
/// same password once in each form.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Form(Option<crate::base::credential::HashName>);

impl Tries {
    /// Counts a failed attempt.
    ///
    /// - An exchange by an offered mechanism that ended before a secret was checked is not counted the
    ///   first time: the client cannot use that mechanism, and tries the next.
    /// - The same secret by mechanisms with different forms of it is one mistake. The server cannot see
    ///   that the secret is the same, so it trusts each form once, until one of them comes again.
    pub(super) fn failed(
        &mut self,
        begun: Option<Mechanism>,
        refusal: Refusal,
        account: Option<&str>,
    ) {
        match (begun, account.filter(|_| refusal.is_guess())) {
            (Some(mechanism), None) if !self.unlooked.contains(&mechanism) => {
                self.unlooked.push(mechanism);
            }
            (Some(mechanism), Some(account)) => {
                let again = self.is_again(begun, Some(account));
                self.counted += u32::from(!again);
                self.note(account, Form(mechanism.hash()), again);
            }
            _ => self.counted += 1,
        }
    }

    /// Whether a guess at this account would be counted as the same mistake as an earlier one on this
    /// stream.
    pub(super) fn is_again(&self, begun: Option<Mechanism>, account: Option<&str>) -> bool {
        begun.zip(account).is_some_and(|(mechanism, account)| {
            let forms = self.mistakes.iter().find(|(known, _)| known == account);
            forms.is_some_and(|(_, forms)| !forms.contains(&Form(mechanism.hash())))
        })
    }

    fn note(&mut self, account: &str, form: Form, again: bool) {
        match self.mistakes.iter_mut().find(|(known, _)| known == account) {
            Some((_, forms)) if again => forms.push(form),
            Some((_, forms)) => *forms = vec![form],
            None => self.mistakes.push((account.to_owned(), vec![form])),
        }
    }

    /// Counts an attempt that the client dropped for another one.
    pub(super) fn replaced(&mut self) {
        self.counted += 1;
    }

    /// Whether the stream has used up its attempts.
    pub(super) fn are_over(&self, most: u32) -> bool {
        self.counted >= most
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stream::sasl::SaslFailure;

    /// How many of these attempts a stream that allows five may make, and how many of them were counted as
    /// the same mistake as another.
    fn borne(turns: &[(Option<Mechanism>, Refusal, &str)]) -> (usize, usize) {
        let (mut tries, mut same) = (Tries::default(), 0);
        for (index, (begun, refusal, account)) in turns.iter().cycle().take(100).enumerate() {
            let account = Some(*account).filter(|account| !account.is_empty());
            same += usize::from(refusal.is_guess() && tries.is_again(*begun, account));
            tries.failed(*begun, *refusal, account);
            if tries.are_over(5) {
                return (index + 1, same);
            }
        }
        panic!("for ever");
    }

    /// RFC 6120 §6.4.5
    #[test]
    fn what_a_stream_bears() {
        use Mechanism::{Plain, ScramSha1, ScramSha256, ScramSha256Plus, ScramSha512};
        let wrong = |one, account| (Some(one), Refusal::WrongPassword, account);
        let told = |one, failure: SaslFailure| (one, failure.into(), "");
        let family = [ScramSha512, ScramSha256, ScramSha1, Plain].map(|one| wrong(one, "a"));
        for (what, turns, want) in [
            ("one mechanism", vec![wrong(Plain, "a")], (5, 0)),
            ("all of them", family.to_vec(), (17, 12)),
            (
                "with and without -PLUS",
                vec![wrong(ScramSha256, "a"), wrong(ScramSha256Plus, "a")],
                (5, 0),
            ),
            (
                "many accounts",
                vec![wrong(Plain, "a"), wrong(Plain, "b"), wrong(Plain, "c")],
                (5, 0),
            ),
            ("nobody has such a password", vec![(Some(Plain), Refusal::NoPassword, "")], (6, 0)),
            ("no account was looked up", vec![(Some(Plain), Refusal::OtherName, "")], (6, 0)),
            ("base64", vec![told(None, SaslFailure::IncorrectEncoding)], (5, 0)),
            ("abort", vec![told(Some(Plain), SaslFailure::Aborted)], (6, 0)),
            ("not offered", vec![told(None, SaslFailure::InvalidMechanism)], (5, 0)),
        ] {
            assert_eq!(borne(&turns), want, "{what}");
        }
        // Each mechanism fails before a secret is checked; then two passwords are mistyped.
        let mut tries = Tries::default();
        for mechanism in Mechanism::ALL {
            tries.failed(Some(mechanism), Refusal::Downgrade, None);
            assert_eq!(tries.counted, 0);
        }
        for _ in 0..2 {
            for mechanism in [ScramSha512, ScramSha256, ScramSha1, Plain] {
                tries.failed(Some(mechanism), Refusal::NoAccount, Some("a"));
            }
        }
        assert_eq!((tries.counted, tries.are_over(3)), (2, false));
        tries.replaced();
        assert!(tries.are_over(3));
    }
}
