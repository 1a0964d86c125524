//! XEP-0480: tasks between a login and its `<success/>` (XEP-0388 §2.6.3), in which the client sends what
//! its account lacks for a better mechanism.

use super::inline::Tasks;
use super::machine::{C2s, State};
use super::sasl2;
use super::step::{Output, Outputs, write};
use crate::base::credential::HashName;
use crate::base::hash::base64;
use crate::base::id::Rng;
use crate::stream::sasl::SaslFailure;
use crate::stream::sasl::upgrade::{Task, Upgrade};
use crate::xml::element::Element;
use crate::xml::ns;
use crate::xml::writer::Xml;

impl C2s {
    /// Takes the hashes that the account has keys for, and begins the first task that is due.
    pub(super) fn hashes(&mut self, has: &[HashName], rng: &mut dyn Rng) -> Outputs {
        let asked = self.inline.as_mut().map(|inline| std::mem::take(&mut inline.upgrades));
        let mut left = Task::due(&asked.unwrap_or_default(), has);
        left.reverse();
        self.next_task(left, rng)
    }

    /// Continues after the keys of a task were stored. If they could not be, the login succeeds all the
    /// same (XEP-0480 §2).
    pub(super) fn keys_added(&mut self, rng: &mut dyn Rng) -> Outputs {
        match std::mem::replace(&mut self.state, State::Inlining) {
            State::Tasks(tasks) => self.next_task(tasks.left, rng),
            state => {
                self.state = state;
                Outputs::new()
            }
        }
    }

    /// Begins the next task (XEP-0480 §2.2: one at a time), or completes the login if none is left.
    fn next_task(&mut self, mut left: Vec<Task>, rng: &mut dyn Rng) -> Outputs {
        let Some(task) = left.pop() else { return self.proceed() };
        let mut xml = Xml::new();
        xml.start("continue").attr("xmlns", ns::SASL2);
        // The mechanism's additional data goes with the first answer after it.
        let data = self.inline.as_mut().and_then(|inline| inline.success.data.take());
        if let Some(data) = data {
            xml.element("additional-data", None, &base64(&data));
        }
        xml.start("tasks").element("task", None, task.as_str()).end().end();
        let now = Upgrade::start(task, self.policy.iterations, rng);
        self.state = State::Tasks(Box::new(Tasks { left, now, begun: false }));
        write(xml.finish())
    }

    /// Handles `<next/>` and `<task-data/>`; every other element ends the stream.
    pub(super) fn task(&mut self, element: &Element, rng: &mut dyn Rng) -> Outputs {
        let State::Tasks(tasks) = &mut self.state else {
            return self.task_failed(SaslFailure::MalformedRequest, rng);
        };
        match (element.name(), tasks.begun) {
            ("next", false)
                if element.attr("task").as_deref() == Some(tasks.now.task().as_str()) =>
            {
                tasks.begun = true;
                let (salt, iterations) = tasks.now.salt();
                let mut xml = Xml::new();
                xml.start("task-data").attr("xmlns", ns::SASL2);
                xml.start("salt").attr("xmlns", ns::SCRAM_UPGRADE);
                xml.attr("iterations", &iterations.to_string()).text(&salt).end().end();
                write(xml.finish())
            }
            ("task-data", true) => {
                let doc = element.view();
                let hash = doc.root().child_text(ns::SCRAM_UPGRADE, "hash").unwrap_or_default();
                match tasks.now.finish(hash) {
                    Ok(keys) => Outputs::from_iter([Output::AddKeys(Box::new(keys))]),
                    Err(failure) => self.task_failed(failure, rng),
                }
            }
            ("abort", _) => self.task_failed(SaslFailure::Aborted, rng),
            _ => self.task_failed(SaslFailure::MalformedRequest, rng),
        }
    }

    /// XEP-0388 §2.6.3. Closes the stream: the client has proved its identity on it, and is not asked for
    /// that again here.
    fn task_failed(&mut self, failure: SaslFailure, rng: &mut dyn Rng) -> Outputs {
        let mut outputs = write(sasl2::failure(failure));
        outputs.extend(self.close(None, rng));
        outputs
    }
}
