//! XEP-0050: Ad-Hoc Commands, which people use by filling in forms. The commands themselves are in their
//! modules ([`super::api::Command`]); this module runs them, stage by stage.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use super::api::{
    Answers, Command, Cx, IqRoute, Module, Note, On, Reply, Spec, StageOutcome, Target,
};
use crate::base::id::{self, OsRng};
use crate::stanza::StanzaError;
use crate::stanza::error::ErrorType;
use crate::stanza::form::Form;
use crate::stanza::iq::{Iq, IqType};
use crate::xml::ns;
use crate::xml::writer::Xml;

/// The module.
pub const MODULE: Module = Module {
    name: "commands",
    specs: &[Spec::whole("XEP-0050", "1.3.0", "features/commands.rs")],
    features: &[On::Server(ns::COMMANDS), On::Account(ns::COMMANDS)],
    iqs: &[IqRoute {
        ty: IqType::Set,
        ns: ns::COMMANDS,
        name: "command",
        targets: &[Target::Server, Target::Own],
        handler: |cx, iq| Box::pin(command(cx, iq)),
    }],
    ..Module::EMPTY
};

/// §2.4: one stage of a command.
async fn command(cx: Cx, iq: Iq) -> Result<Reply, StanzaError> {
    let asked = Asked::read(&iq)?;
    let at = cx.target(iq.to()).unwrap_or(Target::Own);
    let command = cx.server.command(at, &asked.node).ok_or_else(StanzaError::item_not_found)?;
    if !(command.allowed)(&cx) {
        // With the error type of §4.4.
        return Err(StanzaError::forbidden().kind(ErrorType::Cancel));
    }
    let Some(id) = &asked.session else {
        // §3.3: a command's session begins with its first stage.
        if asked.action != Action::Execute {
            return Err(bad("bad-sessionid"));
        }
        let run = Run { id: id::random(&mut OsRng), stages: Vec::new(), last: false };
        return run.go(&cx, command, Vec::new()).await.map_err(|(error, _)| error);
    };
    let open = &cx.server.shared().commands;
    let run = open.take(cx.session(), id, command.node, cx.now)?;
    match run.step(asked) {
        Ok(None) => Ok(Reply::payload(frame(command, &run.id, "canceled", |_| {}))),
        Ok(Some(stages)) => run.go(&cx, command, stages).await.map_err(|(error, run)| {
            // After an error the client may try the same stage again.
            open.put(cx.session(), command.node, run, cx.now);
            error
        }),
        Err(error) => {
            open.put(cx.session(), command.node, run, cx.now);
            Err(error)
        }
    }
}

/// §4.4: `bad-request` with an application condition of the XEP.
fn bad(condition: &'static str) -> StanzaError {
    StanzaError::bad_request().application(ns::COMMANDS, condition)
}

/// §4.1
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Action {
    Execute,
    Cancel,
    Prev,
    Next,
    Complete,
}

/// The content of a request.
struct Asked {
    node: String,
    session: Option<String>,
    action: Action,
    /// The answers, if there was a form.
    answers: Option<Answers>,
}

impl Asked {
    fn read(iq: &Iq) -> Result<Self, StanzaError> {
        let doc = iq.stanza().element().view();
        let command = doc.root().first_child().ok_or_else(StanzaError::bad_request)?;
        let node = command.attr("node").ok_or_else(StanzaError::bad_request)?;
        let action = match command.attr("action") {
            None | Some("execute") => Action::Execute,
            Some("cancel") => Action::Cancel,
            Some("prev") => Action::Prev,
            Some("next") => Action::Next,
            Some("complete") => Action::Complete,
            Some(_) => return Err(bad("malformed-action")),
        };
        let form = Form::answered(command)
            .map_err(|error| error.application(ns::COMMANDS, "bad-payload"))?;
        let session = command.attr("sessionid").map(str::to_owned);
        Ok(Self { node: node.to_owned(), session, action, answers: form.map(answers) })
    }
}

fn answers(form: Form<'_>) -> Answers {
    let owned = |values: &[&str]| values.iter().map(|value| (*value).to_owned()).collect();
    Answers(form.fields().map(|field| (field.var.to_owned(), owned(&field.values))).collect())
}

/// A command under way.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Run {
    id: String,
    /// The answers so far, stage by stage.
    stages: Vec<Answers>,
    /// Whether the client is at the last stage.
    last: bool,
}

impl Run {
    /// The stages to run the command with next; `None` if it is canceled.
    fn step(&self, asked: Asked) -> Result<Option<Vec<Answers>>, StanzaError> {
        let mut stages = self.stages.clone();
        match (asked.action, self.last) {
            (Action::Cancel, _) => return Ok(None),
            // There is no stage before the first one.
            (Action::Prev, _) => drop(stages.pop().ok_or_else(|| bad("bad-action"))?),
            (Action::Next, true) | (Action::Complete, false) => return Err(bad("bad-action")),
            // §3.4: `execute` stands for the stage's default action.
            (Action::Execute | Action::Next | Action::Complete, _) => {
                stages.push(asked.answers.ok_or_else(|| bad("bad-payload"))?);
            }
        }
        let sizes = stages.iter().map(Answers::bytes);
        if stages.len() > STAGES_MAX || sizes.sum::<usize>() > ANSWERS_BYTES_MAX {
            return Err(bad("bad-payload"));
        }
        Ok(Some(stages))
    }

    /// Runs the command with these stages. After an error the run is unchanged.
    async fn go(
        self,
        cx: &Cx,
        command: &'static Command,
        stages: Vec<Answers>,
    ) -> Result<Reply, (StanzaError, Self)> {
        match (command.run)(cx.clone(), stages.clone()).await {
            Err(error) => Err((error, self)),
            Ok(StageOutcome::Ask { form, last }) => {
                let payload = frame(command, &self.id, "executing", |xml| {
                    let next = if last { "complete" } else { "next" };
                    xml.start("actions").attr("execute", next);
                    if !stages.is_empty() {
                        xml.start("prev").end();
                    }
                    xml.start(next).end().end().raw(&form);
                });
                let run = Self { id: self.id, stages, last };
                cx.server.shared().commands.put(cx.session(), command.node, run, cx.now);
                Ok(Reply::payload(payload))
            }
            Ok(StageOutcome::Done { form, note, effect }) => {
                let payload = frame(command, &self.id, "completed", |xml| {
                    if let Some(Note { ty, text }) = &note {
                        xml.start("note").attr("type", ty).text(text).end();
                    }
                    xml.raw(&form);
                });
                Ok(Reply { effect, ..Reply::payload(payload) })
            }
        }
    }
}

/// `<command/>` around what `inner` writes.
///
/// COMPAT(many): §3.7 has `bad-locale` for a language that we do not support. Clients that send their user's
/// language could then run no command at all, so they get English, marked as such.
fn frame(command: &Command, id: &str, status: &str, inner: impl FnOnce(&mut Xml)) -> Vec<u8> {
    let mut xml = Xml::new();
    xml.start("command")
        .attr("xmlns", ns::COMMANDS)
        .attr("xml:lang", "en")
        .attr("node", command.node)
        .attr("sessionid", id)
        .attr("status", status);
    inner(&mut xml);
    xml.end();
    xml.finish().to_vec()
}

/// Commands under way in the whole server (§3.3): few, and each for a limited time.
#[derive(Debug, Default)]
pub struct Sessions(Mutex<Vec<Open>>);

#[derive(Debug)]
struct Open {
    /// The number of the stream's session.
    owner: u64,
    node: &'static str,
    run: Run,
    since: SystemTime,
}

impl Sessions {
    /// Takes a command out, so that it cannot run at two stages at once.
    fn take(&self, owner: u64, id: &str, node: &str, now: SystemTime) -> Result<Run, StanzaError> {
        let mut all = self.lock(now);
        let of = |open: &Open| open.owner == owner && open.run.id == id;
        let index = all.iter().position(of).ok_or_else(|| {
            StanzaError::not_allowed().application(ns::COMMANDS, "session-expired")
        })?;
        if all.get(index).is_none_or(|open| open.node != node) {
            return Err(bad("bad-sessionid"));
        }
        Ok(all.remove(index).run)
    }

    fn put(&self, owner: u64, node: &'static str, run: Run, now: SystemTime) {
        let mut all = self.lock(now);
        // The oldest command is dropped: one of the same session, if it has too many, before that of another.
        let own = all.iter().filter(|open| open.owner == owner).count();
        let gives_way = match (own >= OWN_MAX, all.len() >= ALL_MAX) {
            (true, _) => all.iter().position(|open| open.owner == owner),
            (false, true) => Some(0),
            (false, false) => None,
        };
        if let Some(index) = gives_way {
            all.remove(index);
        }
        all.push(Open { owner, node, run, since: now });
    }

    /// Drops commands that are too old, and those dated in the future because the clock was set back.
    fn lock(&self, now: SystemTime) -> MutexGuard<'_, Vec<Open>> {
        // A panic while holding this lock cannot leave it half-changed.
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.retain(|open| now.duration_since(open.since).is_ok_and(|age| age < TIME_MAX));
        all
    }
}

/// Maximum time from one stage to the next.
const TIME_MAX: Duration = Duration::from_secs(600);
/// Maximum number of commands under way in one session.
const OWN_MAX: usize = 4;
/// Maximum number in all sessions.
const ALL_MAX: usize = 1_000;
/// Maximum number of stages; no command of ours has more.
const STAGES_MAX: usize = 8;
const ANSWERS_BYTES_MAX: usize = 8_192;

#[cfg(test)]
mod tests {
    use super::*;

    fn run(id: &str, stages: usize, last: bool) -> Run {
        let stages = vec![Answers::default(); stages];
        Run { id: id.to_owned(), stages, last }
    }

    #[test]
    fn actions_fit_their_stage() {
        use Action::{Cancel, Complete, Execute, Next, Prev};
        let (bad_action, bad_payload) = (Err(Some("bad-action")), Err(Some("bad-payload")));
        for (action, stages, last, form, want) in [
            (Cancel, 0, false, false, Ok(None)),
            (Prev, 0, false, false, bad_action),
            (Prev, 2, true, false, Ok(Some(1))),
            (Next, 0, false, true, Ok(Some(1))),
            (Next, 0, false, false, bad_payload),
            (Next, 1, true, true, bad_action),
            (Complete, 1, true, true, Ok(Some(2))),
            (Complete, 1, false, true, bad_action),
            (Execute, 0, false, true, Ok(Some(1))),
            (Execute, 1, true, true, Ok(Some(2))),
            (Execute, STAGES_MAX, true, true, bad_payload),
        ] {
            let answers = form.then(Answers::default);
            let asked = Asked { node: String::new(), session: None, action, answers };
            let got = run("a", stages, last).step(asked).map(|next| next.map(|next| next.len()));
            let got = got.map_err(|error| error.application.map(|(_, name)| name));
            assert_eq!(got, want, "{action:?} {stages} {last}");
        }
    }

    #[test]
    fn sessions_are_their_owners_and_few_and_end() {
        let at = |secs| SystemTime::UNIX_EPOCH + Duration::from_secs(secs);
        let all = Sessions::default();
        let condition = |got: Result<Run, StanzaError>| {
            got.map(|run| run.id).map_err(|error| error.application.map_or("", |(_, name)| name))
        };
        all.put(1, "n", run("a", 0, false), at(0));
        assert_eq!(condition(all.take(2, "a", "n", at(1))), Err("session-expired"));
        assert_eq!(condition(all.take(1, "b", "n", at(1))), Err("session-expired"));
        assert_eq!(condition(all.take(1, "a", "m", at(1))), Err("bad-sessionid"));
        assert_eq!(condition(all.take(1, "a", "n", at(1))), Ok("a".to_owned()));
        assert_eq!(condition(all.take(1, "a", "n", at(1))), Err("session-expired"));
        all.put(1, "n", run("a", 0, false), at(0));
        assert_eq!(condition(all.take(1, "a", "n", at(600))), Err("session-expired"));
        for id in ["a", "b", "c", "d", "e"] {
            all.put(1, "n", run(id, 0, false), at(700));
        }
        assert_eq!(condition(all.take(1, "a", "n", at(700))), Err("session-expired"));
        assert_eq!(condition(all.take(1, "b", "n", at(700))), Ok("b".to_owned()));
        for owner in 0..2_000 {
            all.put(owner, "n", run("x", 0, false), at(700));
        }
        assert_eq!(all.lock(at(700)).len(), ALL_MAX);
        assert_eq!(all.lock(at(0)).len(), 0);
    }
}
