//! The interface between a command of XEP-0050 and `modules/commands.rs`, which implements the protocol.

use std::borrow::Cow;

use super::reply::Effect;

/// The answers to the form of one stage.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Answers(pub Vec<(String, Vec<String>)>);

impl Answers {
    /// The values of a field; empty if the field is missing.
    pub fn get(&self, var: &str) -> &[String] {
        self.0.iter().find(|(name, _)| name == var).map_or(&[], |(_, values)| values)
    }

    /// The memory that it takes to hold them.
    pub fn bytes(&self) -> usize {
        let of = |(var, values): &(String, Vec<String>)| {
            var.len() + values.iter().map(|value| value.len() + 24).sum::<usize>() + 48
        };
        self.0.iter().map(of).sum()
    }
}

/// The outcome of a stage.
#[derive(Debug)]
pub enum StageOutcome {
    /// Another stage follows.
    Ask {
        /// `<x type='form'/>`
        form: Vec<u8>,
        /// It is the last stage.
        last: bool,
    },
    /// The command is done.
    Done {
        /// `<x type='result'/>`, or nothing.
        form: Vec<u8>,
        /// A note to show with it.
        note: Option<Note>,
        /// A change to the requesting session.
        effect: Option<Effect>,
    },
}

impl StageOutcome {
    /// Done, with only a note.
    pub const fn done(note: Note) -> Self {
        Self::Done { form: Vec::new(), note: Some(note), effect: None }
    }
}

/// XEP-0050 §4.3
#[derive(Debug)]
pub struct Note {
    /// `info`, `warn` or `error`
    pub ty: &'static str,
    /// The text for people.
    pub text: Cow<'static, str>,
}

impl Note {
    /// A note of type `info`.
    pub fn info(text: impl Into<Cow<'static, str>>) -> Self {
        Self { ty: "info", text: text.into() }
    }
}
