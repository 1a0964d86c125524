//! What is kept for a session: which nodes' news its client wants, and what that was learnt from.

use std::sync::Arc;

use super::super::ResourceState;
use super::super::api::Persist;
use super::said::{Mark, Said};
use super::wanted::Wanted;
use crate::router::registry::Resource;

/// A session's state. What is known survives a restart of the server, so that a session that lives on is not
/// asked again and misses no news.
#[derive(Debug, Default)]
pub struct State {
    wanted: Option<Arc<Wanted>>,
    /// What its client said last; nothing, if that could not be learnt.
    mark: Mark,
    /// Set while a task finds out what that stands for.
    asking: Option<Box<Asking>>,
    /// Up to when its questions are used up, in microseconds since 1970.
    used_up: i64,
}

/// What a client said meanwhile.
#[derive(Debug, Default)]
struct Asking {
    next: Option<Said>,
}

/// What to do when a client has said something.
#[derive(Debug)]
pub enum Step {
    /// Nothing is new, or it is being found out.
    Nothing,
    /// This is wanted now, and was before.
    Changed(Arc<Wanted>, Arc<Wanted>),
    /// To be asked.
    Ask(Said),
}

impl State {
    /// The client said this; `known` if others of the same hash were verified before.
    pub(super) fn hear(&mut self, said: Said, known: Option<Arc<Wanted>>) -> Step {
        if said.mark == self.mark {
            return Step::Nothing;
        }
        self.mark = said.mark;
        if let Some(now) = known {
            // What is being asked is outdated.
            self.asking.iter_mut().for_each(|asking| asking.next = None);
            return self.change(now);
        }
        match &mut self.asking {
            Some(asking) => {
                asking.next = Some(said);
                Step::Nothing
            }
            None => {
                self.asking = Some(Box::default());
                Step::Ask(said)
            }
        }
    }

    /// What the client said with this mark stands for this; nothing, if it did not answer.
    pub(super) fn learnt(
        &mut self,
        mark: Mark,
        found: Option<Arc<Wanted>>,
    ) -> (Step, Option<Said>) {
        let next = self.asking.as_mut().and_then(|asking| asking.next.take());
        if next.is_none() {
            self.asking = None;
        }
        // It has said something else meanwhile, or is not available any more.
        if mark != self.mark {
            return (Step::Nothing, next);
        }
        match found {
            Some(now) => (self.change(now), next),
            // The same presence again may have more luck.
            None => {
                self.mark = Mark::default();
                (Step::Nothing, next)
            }
        }
    }

    /// What its client wants, as far as it is known.
    pub(super) fn wanted(&self) -> Option<&Arc<Wanted>> {
        self.wanted.as_ref()
    }

    /// The client is not available any more: its next presence is an initial one.
    pub(super) fn forget(&mut self) {
        self.wanted = None;
        self.mark = Mark::default();
        self.asking.iter_mut().for_each(|asking| asking.next = None);
    }

    /// Counts a question. How long it has to wait, in microseconds, as one session may ask for a few at once and
    /// then for one now and then.
    pub(super) fn pace(&mut self, now: i64) -> i64 {
        self.used_up = self.used_up.max(now).saturating_add(QUESTION_MICROS);
        let wait = self.used_up.saturating_sub(now).saturating_sub(QUESTIONS * QUESTION_MICROS);
        // Each one waits for itself, whatever the clock did.
        wait.clamp(0, QUESTION_MICROS)
    }

    fn change(&mut self, now: Arc<Wanted>) -> Step {
        let before = self.wanted.replace(now.clone()).unwrap_or_default();
        if before == now { Step::Nothing } else { Step::Changed(before, now) }
    }
}

impl Persist for State {
    const VERSION: u16 = 1;

    fn save(&self) -> Vec<u8> {
        // What is not known yet is asked again.
        let mark = if self.asking.is_some() { Mark::default() } else { self.mark };
        let Some(wanted) = &self.wanted else { return Vec::new() };
        let nodes: Vec<&str> = wanted.nodes().iter().map(|node| &**node).collect();
        postcard::to_allocvec(&(mark, nodes)).unwrap_or_default()
    }

    fn load(bytes: &[u8]) -> Option<Self> {
        if bytes.is_empty() {
            return Some(Self::default());
        }
        let (mark, nodes): (Mark, Vec<&str>) = postcard::from_bytes(bytes).ok()?;
        let wanted = Some(Arc::new(Wanted::of(nodes.into_iter())));
        Some(Self { wanted, mark, ..Self::default() })
    }
}

/// Whether a session's client wants the news of a node (XEP-0163 §4.2).
pub fn wants(resource: &Resource, node: &str) -> bool {
    of(resource).is_some_and(|wanted| wanted.has(node))
}

/// All nodes whose news it wants, sorted.
pub fn wanted_by(resource: &Resource) -> &[Arc<str>] {
    of(resource).map_or(&[], |wanted| wanted.nodes())
}

fn of(resource: &Resource) -> Option<&Wanted> {
    ResourceState::of(resource)?.caps.wanted.as_deref()
}

/// Questions that one session may cause at once.
const QUESTIONS: i64 = 5;
/// After how long there is one more.
const QUESTION_MICROS: i64 = 10_000_000;

#[cfg(test)]
mod tests {
    use super::*;

    fn said(n: u8) -> Said {
        Said { key: None, node: None, mark: [n; 16] }
    }

    fn wanted(nodes: &[&str]) -> Arc<Wanted> {
        Arc::new(Wanted::of(nodes.iter().copied()))
    }

    fn nodes(state: &State) -> Vec<&str> {
        let wanted = state.wanted.as_deref();
        wanted.map_or(Vec::new(), |wanted| wanted.nodes().iter().map(|node| &**node).collect())
    }

    #[test]
    fn the_newest_counts_and_one_is_asked_at_a_time() {
        let mut state = State::default();
        assert!(matches!(state.hear(said(1), None), Step::Ask(_)));
        assert!(matches!(state.hear(said(1), None), Step::Nothing));
        assert!(matches!(state.hear(said(2), None), Step::Nothing));
        assert!(matches!(state.hear(said(3), None), Step::Nothing));
        let (step, next) = state.learnt([1; 16], Some(wanted(&["old"])));
        assert!(matches!(step, Step::Nothing) && nodes(&state).is_empty());
        assert_eq!(next, Some(said(3)));
        let (step, next) = state.learnt([3; 16], Some(wanted(&["a"])));
        let Step::Changed(before, now) = step else { panic!("{step:?}") };
        assert_eq!((before, now, next), (wanted(&[]), wanted(&["a"]), None));
        // One that others taught, while another is asked for.
        assert!(matches!(state.hear(said(4), None), Step::Ask(_)));
        assert!(matches!(state.hear(said(5), None), Step::Nothing));
        assert!(matches!(state.hear(said(6), Some(wanted(&["b"]))), Step::Changed(..)));
        assert!(matches!(state.learnt([4; 16], Some(wanted(&["c"]))), (Step::Nothing, None)));
        assert_eq!(nodes(&state), ["b"]);
        assert!(matches!(state.hear(said(7), Some(wanted(&["b"]))), Step::Nothing), "the same");
    }

    #[test]
    fn what_was_not_answered_may_be_asked_again_and_what_was_known_stays() {
        let mut state = State::default();
        state.hear(said(1), Some(wanted(&["a"])));
        assert!(matches!(state.hear(said(2), None), Step::Ask(_)));
        assert!(matches!(state.learnt([2; 16], None), (Step::Nothing, None)));
        assert_eq!(nodes(&state), ["a"]);
        assert!(matches!(state.hear(said(2), None), Step::Ask(_)));
        state.forget();
        assert!(matches!(state.learnt([2; 16], Some(wanted(&["b"]))), (Step::Nothing, None)));
        assert!(nodes(&state).is_empty());
        assert!(matches!(state.hear(said(1), Some(wanted(&["a"]))), Step::Changed(..)));
    }

    #[test]
    fn questions_are_paced() {
        let mut state = State::default();
        let at = 1_000_000_000_000;
        let waits: Vec<i64> = (0..7).map(|_| state.pace(at) / 1_000_000).collect();
        assert_eq!(waits, [0, 0, 0, 0, 0, 10, 10]);
        assert_eq!(state.pace(at + 25_000_000), 5_000_000);
        assert_eq!(state.pace(at + 900_000_000), 0);
        assert_eq!(state.pace(0), QUESTION_MICROS);
    }

    #[test]
    fn what_is_known_is_saved() {
        let mut state = State::default();
        assert!(State::load(&state.save()).unwrap().wanted.is_none());
        state.hear(said(1), Some(wanted(&["a", "b"])));
        let mut back = State::load(&state.save()).unwrap();
        assert_eq!(nodes(&back), ["a", "b"]);
        assert!(matches!(back.hear(said(1), None), Step::Nothing), "not asked again");
        state.hear(said(2), None);
        let mut back = State::load(&state.save()).unwrap();
        assert_eq!(nodes(&back), ["a", "b"]);
        assert!(matches!(back.hear(said(2), None), Step::Ask(_)), "it was not answered yet");
        assert!(State::load(&[1, 2, 3]).is_none());
        assert!(size_of::<State>() <= 48);
    }
}
