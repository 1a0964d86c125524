//! The newest lines of the log, in memory, for an operator who is not at the machine. No secrets are logged; what looks
//! like one is taken out all the same, as whoever reads this need not be who reads the log.

use std::collections::VecDeque;
use std::io;
use std::sync::{Mutex, PoisonError};

use tracing_subscriber::fmt::MakeWriter;

use crate::admin::{LOG_LINES_MAX, TOKEN_PREFIX};

/// One log has the process, and so one end.
static LINES: Mutex<VecDeque<String>> = Mutex::new(VecDeque::new());

/// The lines, the oldest first.
pub fn lines() -> Vec<String> {
    LINES.lock().unwrap_or_else(PoisonError::into_inner).iter().cloned().collect()
}

/// Takes the lines of the log.
#[derive(Debug, Clone, Copy)]
pub struct Recent;

impl<'w> MakeWriter<'w> for Recent {
    type Writer = Self;

    fn make_writer(&'w self) -> Self {
        *self
    }
}

/// The log writes each line at once.
impl io::Write for Recent {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let text = String::from_utf8_lossy(bytes);
        let line: String = text.trim_end().chars().take(LINE_CHARS_MAX).collect();
        let mut lines = LINES.lock().unwrap_or_else(PoisonError::into_inner);
        if lines.len() >= LOG_LINES_MAX {
            lines.pop_front();
        }
        lines.push_back(scrubbed(line));
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Without what follows after the words that secrets follow.
fn scrubbed(mut line: String) -> String {
    for word in BEFORE_SECRETS {
        let mut from = 0;
        while let Some(at) = line.get(from..).and_then(|rest| rest.find(word)) {
            let start = from + at + word.len();
            let rest = line.get(start..).unwrap_or_default();
            let ends = |c: char| c.is_whitespace() || "\"';&,".contains(c);
            let end = start + rest.find(ends).unwrap_or(rest.len());
            line.replace_range(start..end, HIDDEN);
            from = start + HIDDEN.len();
        }
    }
    line
}

const BEFORE_SECRETS: [&str; 6] =
    [TOKEN_PREFIX, "preauth=", "password=", "secret=", "token=", "Bearer "];
const HIDDEN: &str = "…";
const LINE_CHARS_MAX: usize = 2_000;

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    #[test]
    fn the_end_of_the_log_is_kept_without_secrets() {
        for n in 0..LOG_LINES_MAX + 5 {
            Recent.write_all(format!("line {n} password=hunter2 x\n").as_bytes()).unwrap();
        }
        let lines = lines();
        assert_eq!(lines.len(), LOG_LINES_MAX);
        assert_eq!(lines.last().unwrap(), &format!("line {} password=… x", LOG_LINES_MAX + 4));
        for (line, wanted) in [
            ("a stonechat_1_abcdef b", "a stonechat_… b"),
            ("xmpp:x?register;preauth=abc;ibr=y", "xmpp:x?register;preauth=…;ibr=y"),
            ("token=a token=b", "token=… token=…"),
            ("nothing", "nothing"),
        ] {
            assert_eq!(scrubbed(line.to_owned()), wanted);
        }
    }
}
