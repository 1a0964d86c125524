//! Dialback from our side (XEP-0220 §2.1): pairs that we ask for, and keys that we have verified.

use super::machine::{Outgoing, State};
use super::question::{asked, verified};
use super::step::{Output, Outputs};
use crate::stanza::StanzaError;
use crate::stream::error::StreamError;
use crate::stream::s2s::dialback::{Content, Dialback, Kind, Outcome};
use crate::stream::s2s::failure::Failure;
use crate::stream::s2s::policy::How;
use crate::xml::element::Element;

impl Outgoing {
    /// Asks for the pair of this stream by dialback; `refused` is what became of EXTERNAL.
    pub(super) fn dial(&mut self, refused: Option<String>) -> Outputs {
        if !self.speaks_dialback() {
            return self.fail(&refused.map_or(Failure::NoWay, Failure::External));
        }
        self.state = State::Dialling;
        let (local, remote) = (self.local.clone(), self.remote.clone());
        self.ask(&local, &remote)
    }

    /// XEP-0220 §2.4: by a feature, or as ever by a namespace.
    pub(super) fn speaks_dialback(&self) -> bool {
        self.features.dialback || self.answered.as_ref().is_some_and(|header| header.dialback)
    }

    fn ask(&mut self, local: &str, remote: &str) -> Outputs {
        let stream_id = self.answered.as_ref().map_or("", |header| &header.id);
        let key = self.policy.secret.key(remote, local, stream_id);
        let request = Dialback {
            kind: Kind::Result,
            from: local.to_owned(),
            to: remote.to_owned(),
            id: String::new(),
            content: Content::Key(key),
        };
        let outputs = Outputs::from_iter([asked(&request)]);
        self.asked.push(request);
        outputs
    }

    pub(super) fn add_pair(&mut self, local: &str, remote: &str) -> Outputs {
        let under_way = |one: &Dialback| one.from == local && one.to == remote;
        let (local, remote) = (local.to_owned(), remote.to_owned());
        if self.pairs.has(&local, &remote) {
            return Outputs::from_iter([Output::Paired { local, remote }]);
        }
        if self.asked.iter().any(under_way) {
            return Outputs::new();
        }
        let other = remote != self.remote;
        let proved = self.secured.as_ref().map_or(Err(String::new()), |tls| match other {
            true => tls.proves_by_name(&remote),
            false => tls.proves(&remote),
        });
        let failure = match proved {
            _ if self.state != State::Ready || !self.speaks_dialback() => Failure::NoWay,
            // XEP-0220 §2.6.2: other target domains only where an error does not end the stream.
            _ if other && !self.features.dialback_errors => Failure::NoWay,
            _ if self.pairs.len() + self.asked.len() >= self.policy.domains_per_stream_max => {
                Failure::Dialback(StanzaError::resource_constraint())
            }
            Err(why) if !self.policy.is_exempt(&remote) => Failure::Certificate(why),
            _ => return self.ask(&local, &remote),
        };
        Outputs::from_iter([Output::PairFailed { local, remote, failure }])
    }

    pub(super) fn verify(&mut self, question: Dialback) -> Outputs {
        if self.state != State::Ready || self.verifying.len() >= self.policy.domains_per_stream_max
        {
            let error = StanzaError::remote_server_timeout();
            return Outputs::from_iter([verified(question, Outcome::Error(error))]);
        }
        let outputs = Outputs::from_iter([asked(&question)]);
        self.verifying.push(question);
        outputs
    }

    pub(super) fn dialback(&mut self, element: &Element) -> Outputs {
        let read = match Dialback::read(element) {
            Ok(read) => read,
            Err(unreadable) => {
                return self.broken(StreamError::ImproperAddressing.text(unreadable.0));
            }
        };
        match (read.kind, &read.content) {
            (Kind::Result, Content::Answer(outcome)) => self.result(&read, outcome.clone()),
            (Kind::Verify, Content::Answer(outcome)) => {
                let about = |one: &Dialback| {
                    one.from == read.to && one.to == read.from && one.id == read.id
                };
                // XEP-0220 §2.1.2, §3.1: nobody asked, so nobody is told.
                let Some(at) = self.verifying.iter().position(about) else { return Outputs::new() };
                let question = self.verifying.swap_remove(at);
                // §2.5: "If an error is encountered in Step 3 …"
                let outcome = match outcome {
                    Outcome::Error(error) => {
                        let said = error.condition.as_str();
                        let why = format!("its authoritative server says {said}");
                        Outcome::Error(StanzaError::remote_server_not_found().text(why))
                    }
                    known => known.clone(),
                };
                let mut outputs = Outputs::from_iter([verified(question, outcome)]);
                if self.state == State::Verifying {
                    outputs.extend(self.end());
                }
                outputs
            }
            (Kind::Verify, Content::Key(_)) if self.bidi => {
                self.policy.verify(&read).iter().map(asked).collect()
            }
            // XEP-0288 §2.2 lets the peer ask for more of its domains here. It is sent to a stream of its own,
            // as XEP-0220 §2.5 says, because one that we opened cannot be used to call back.
            (Kind::Result, Content::Key(_)) if self.bidi => {
                let error = StanzaError::resource_constraint();
                Outputs::from_iter([asked(&read.answer(Outcome::Error(error)))])
            }
            (_, Content::Key(_)) => self.broken(StreamError::NotAuthorized.into()),
        }
    }

    /// XEP-0220 §2.1.1: the answer to a request for a pair.
    fn result(&mut self, answer: &Dialback, outcome: Outcome) -> Outputs {
        let about = |one: &Dialback| one.from == answer.to && one.to == answer.from;
        // §3.1: an answer to nothing is nothing.
        let Some(at) = self.asked.iter().position(about) else { return Outputs::new() };
        let Dialback { from: local, to: remote, .. } = self.asked.swap_remove(at);
        let failure = match outcome {
            Outcome::Valid if self.state == State::Dialling => return self.ready(How::Dialback),
            Outcome::Valid => {
                self.pairs.add_ours(&local, &remote, How::Dialback, false);
                return Outputs::from_iter([Output::Paired { local, remote }]);
            }
            Outcome::Invalid => Failure::Invalid,
            Outcome::Error(error) => Failure::Dialback(error),
        };
        if self.state == State::Dialling {
            return self.fail(&failure);
        }
        Outputs::from_iter([Output::PairFailed { local, remote, failure }])
    }
}
