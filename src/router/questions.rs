//! Requests that the server itself sends, and who waits for their answers (RFC 6120 §8.2.3): the one place
//! where an answer finds its question, from wherever it comes.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::{oneshot, watch};

use crate::jid::Jid;
use crate::stanza::iq::IqType;
use crate::stanza::{Kind, Stanza};

/// The questions of one server. Bounded in all and for each addressee.
#[derive(Debug, Default)]
pub struct Questions {
    /// How many there are, so that every other answer costs one look here.
    count: AtomicUsize,
    /// By addressee: whoever answers can only answer what it was asked.
    open: Mutex<HashMap<String, Vec<Waiting>>>,
    closed: watch::Sender<bool>,
}

#[derive(Debug)]
struct Waiting {
    id: String,
    asker: String,
    answer: oneshot::Sender<Stanza>,
}

/// An open question. Dropping it closes it: a later answer finds nobody.
#[derive(Debug)]
pub struct Question<'a> {
    questions: &'a Questions,
    to: &'a str,
    id: &'a str,
    answer: oneshot::Receiver<Stanza>,
}

impl Questions {
    /// Opens a question under an id that cannot be guessed. None where too many are open, or the server
    /// stops.
    pub fn open<'a>(&'a self, asker: &str, to: &'a Jid, id: &'a str) -> Option<Question<'a>> {
        self.open_within(QUESTIONS_MAX, asker, to, id)
    }

    /// The same for a module, which leaves room for the questions by which streams between servers see that
    /// they live: a connection that is dead is found out however much is asked.
    pub fn open_for_module<'a>(
        &'a self,
        asker: &str,
        to: &'a Jid,
        id: &'a str,
    ) -> Option<Question<'a>> {
        self.open_within(QUESTIONS_MAX - RESERVE, asker, to, id)
    }

    fn open_within<'a>(
        &'a self,
        max: usize,
        asker: &str,
        to: &'a Jid,
        id: &'a str,
    ) -> Option<Question<'a>> {
        if *self.closed.borrow() || self.count.load(Ordering::Relaxed) >= max {
            return None;
        }
        let mut open = self.lock();
        let to_same = open.entry(to.as_str().to_owned()).or_default();
        if to_same.len() >= TO_ONE_MAX {
            return None;
        }
        let (sender, answer) = oneshot::channel();
        to_same.push(Waiting { id: id.to_owned(), asker: asker.to_owned(), answer: sender });
        self.count.fetch_add(1, Ordering::Relaxed);
        Some(Question { questions: self, to: to.as_str(), id, answer })
    }

    /// Hands an answer to whoever waits for it: sent by who was asked, to who asked, with the question's id.
    /// False for everything else.
    pub fn take(&self, stanza: &Stanza) -> bool {
        if self.count.load(Ordering::Relaxed) == 0 || stanza.kind() != Kind::Iq {
            return false;
        }
        let ty = IqType::parse(stanza.ty().as_deref());
        if !matches!(ty, Some(IqType::Result | IqType::Error)) {
            return false;
        }
        let Some(id) = stanza.id() else { return false };
        let to = stanza.to().map_or(stanza.from().bare_str(), Jid::as_str);
        let is_it = |waiting: &Waiting| waiting.id == id && waiting.asker == to;
        match self.remove(stanza.from().as_str(), is_it) {
            // Whoever waited may have given up this moment.
            Some(waiting) => waiting.answer.send(stanza.clone()).is_ok(),
            None => false,
        }
    }

    /// Nobody answers at this address any more: a session that ended.
    pub fn gone(&self, addressee: &Jid) {
        if self.count.load(Ordering::Relaxed) > 0 {
            let left = self.lock().remove(addressee.as_str()).map_or(0, |waiting| waiting.len());
            self.count.fetch_sub(left, Ordering::Relaxed);
        }
    }

    /// The server stops: nobody waits any longer, and nobody asks again.
    pub fn close(&self) {
        self.closed.send_replace(true);
        let left: usize = self.lock().drain().map(|(_, waiting)| waiting.len()).sum();
        self.count.fetch_sub(left, Ordering::Relaxed);
    }

    /// Waits until the server stops.
    pub async fn closed(&self) {
        // It fails only when the sender is gone, which lives in here.
        let mut stops = self.closed.subscribe();
        let _ = stops.wait_for(|closed| *closed).await;
    }

    fn remove(&self, to: &str, is_it: impl Fn(&Waiting) -> bool) -> Option<Waiting> {
        let mut open = self.lock();
        let to_same = open.get_mut(to)?;
        let at = to_same.iter().position(is_it)?;
        let waiting = to_same.swap_remove(at);
        if to_same.is_empty() {
            open.remove(to);
        }
        self.count.fetch_sub(1, Ordering::Relaxed);
        Some(waiting)
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, Vec<Waiting>>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Question<'_> {
    /// The answer, result or error. None if there will be none; the caller bounds the wait.
    pub async fn answered(mut self) -> Option<Stanza> {
        (&mut self.answer).await.ok()
    }
}

impl Drop for Question<'_> {
    fn drop(&mut self) {
        self.questions.remove(self.to, |waiting| waiting.id == self.id);
    }
}

/// Questions of the whole server that wait at a time.
const QUESTIONS_MAX: usize = 4_096;
/// Of these, not for modules.
const RESERVE: usize = QUESTIONS_MAX / 8;
/// Of these, to one addressee: a session is asked one or two, an app server something for many accounts.
const TO_ONE_MAX: usize = 256;

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(ty: &str, id: &str, from: &str, to: &str) -> Stanza {
        let xml = format!("<iq type='{ty}' id='{id}' from='{from}'{to}/>");
        Stanza::ours(xml.into()).unwrap()
    }

    #[tokio::test]
    async fn only_who_was_asked_answers_and_only_who_asked_hears() {
        let questions = Questions::default();
        let to = Jid::parse("a@x/1").unwrap();
        let question = questions.open("a@x", &to, "q1").unwrap();
        let other = questions.open("x", &to, "q2").unwrap();
        for (ty, id, from, to) in [
            ("result", "q1", "a@x/2", " to='a@x'"),
            ("result", "q1", "a@x", " to='a@x'"),
            ("result", "q3", "a@x/1", " to='a@x'"),
            ("result", "q1", "a@x/1", " to='x'"),
            ("result", "q2", "a@x/1", ""),
            ("get", "q1", "a@x/1", " to='a@x'"),
        ] {
            assert!(!questions.take(&answer(ty, id, from, to)), "{ty} {id} {from} {to}");
        }
        // RFC 6120 §10.3.3: without an address it is for the account itself.
        assert!(questions.take(&answer("result", "q1", "a@x/1", "")));
        assert!(!questions.take(&answer("result", "q1", "a@x/1", "")), "once");
        assert!(questions.take(&answer("error", "q2", "a@x/1", " to='x'")));
        assert_eq!(question.answered().await.unwrap().id().as_deref(), Some("q1"));
        assert_eq!(other.answered().await.unwrap().ty().as_deref(), Some("error"));
        assert_eq!(questions.count.load(Ordering::Relaxed), 0);
        assert!(questions.lock().is_empty());
    }

    #[tokio::test]
    async fn nobody_waits_for_who_is_gone_and_nothing_is_left_of_who_gave_up() {
        let questions = Questions::default();
        let (a, b) = (Jid::parse("a@x/1").unwrap(), Jid::parse("b@x/1").unwrap());
        let gone = questions.open("x", &a, "1").unwrap();
        let given_up = questions.open("x", &b, "2").unwrap();
        questions.gone(&a);
        assert!(gone.answered().await.is_none());
        drop(given_up);
        assert!(!questions.take(&answer("result", "2", "b@x/1", " to='x'")));
        assert_eq!(questions.count.load(Ordering::Relaxed), 0);
        let stopped = questions.open("x", &b, "3").unwrap();
        questions.close();
        assert!(stopped.answered().await.is_none());
        assert!(questions.open("x", &b, "4").is_none());
        questions.closed().await;
        assert_eq!(questions.count.load(Ordering::Relaxed), 0);
    }

    #[test]
    fn they_are_bounded() {
        let questions = Questions::default();
        let ids: Vec<String> = (0..TO_ONE_MAX).map(|n| n.to_string()).collect();
        let a = Jid::parse("a@x/1").unwrap();
        let held: Vec<_> = ids.iter().map(|id| questions.open("x", &a, id).unwrap()).collect();
        assert!(questions.open("x", &a, "more").is_none());
        let others: Vec<_> = (0..QUESTIONS_MAX).map(|n| format!("u{n}@x/1")).collect();
        let others: Vec<_> = others.iter().map(|jid| Jid::parse(jid).unwrap()).collect();
        let more: Vec<_> =
            others.iter().filter_map(|jid| questions.open_for_module("x", jid, "1")).collect();
        assert_eq!(held.len() + more.len(), QUESTIONS_MAX - RESERVE);
        let pings: Vec<_> = others.iter().filter_map(|jid| questions.open("x", jid, "2")).collect();
        assert_eq!(pings.len(), RESERVE);
        drop((held, more, pings));
        assert!(questions.open("x", &a, "again").is_some());
    }
}
