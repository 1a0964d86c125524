//! What passes between a command of XEP-0050 and `modules/commands.rs`, which speaks the protocol.

use std::borrow::Cow;

use super::reply::Effect;

/// What was filled in at one stage of a command.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Answers(pub Vec<(String, Vec<String>)>);

impl Answers {
    /// The values of a field; none if it is not there.
    pub fn get(&self, var: &str) -> &[String] {
        self.0.iter().find(|(name, _)| name == var).map_or(&[], |(_, values)| values)
    }

    /// What it takes to remember them.
    pub fn bytes(&self) -> usize {
        let of = |(var, values): &(String, Vec<String>)| {
            var.len() + values.iter().map(|value| value.len() + 24).sum::<usize>() + 48
        };
        self.0.iter().map(of).sum()
    }
}

/// What came of a stage.
#[derive(Debug)]
pub enum StageOutcome {
    /// Another stage.
    Ask {
        /// `<x type='form'/>`
        form: Vec<u8>,
        /// There is none after it.
        last: bool,
    },
    /// The command is done.
    Done {
        /// `<x type='result'/>`, or nothing.
        form: Vec<u8>,
        /// What is to be said of it.
        note: Option<Note>,
        /// What changes for the asking session.
        effect: Option<Effect>,
    },
}

impl StageOutcome {
    /// Done, with nothing but a note.
    pub const fn done(note: Note) -> Self {
        Self::Done { form: Vec::new(), note: Some(note), effect: None }
    }
}

/// XEP-0050 §4.3
#[derive(Debug)]
pub struct Note {
    /// `info`, `warn` or `error`
    pub ty: &'static str,
    /// For people.
    pub text: Cow<'static, str>,
}

impl Note {
    /// Nothing is wrong.
    pub fn info(text: impl Into<Cow<'static, str>>) -> Self {
        Self { ty: "info", text: text.into() }
    }
}
