//! Logs on standard error: lines for people, or JSON for programs.

use super::config::{Log, LogFormat, Problem};
use super::recent::Recent;
use crate::base::time::stamp;
use std::fmt;
use std::io::IsTerminal;
use std::time::SystemTime;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::time::FormatTime;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{Layer, Registry, fmt as lines, layer::SubscriberExt};

/// Starts logging for the whole process; once only.
pub fn init(log: &Log) -> Result<(), Problem> {
    let colour = std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none();
    // journald adds the time to each line itself.
    let journal = std::env::var_os("JOURNAL_STREAM").is_some() && !colour;
    let style = Style { colour, stamps: !journal };
    subscriber(log, style, std::io::stderr)?.try_init().map_err(|error| Problem {
        what: format!("logging cannot start: {error}"),
        place: "log".to_owned(),
        fix: "this is a fault of the server; please report it".to_owned(),
    })
}

/// How text lines look.
#[derive(Debug, Clone, Copy)]
struct Style {
    colour: bool,
    stamps: bool,
}

type Logger = Box<dyn tracing::Subscriber + Send + Sync>;

fn subscriber<W>(log: &Log, style: Style, writer: W) -> Result<Logger, Problem>
where
    W: for<'w> MakeWriter<'w> + Send + Sync + 'static,
{
    let filter = log.level.parse::<Targets>().map_err(|error| Problem {
        what: format!("`{}` is no log level: {error}", log.level),
        place: "log.level".to_owned(),
        fix: "use error, warn, info, debug or trace".to_owned(),
    })?;
    let layer = lines::layer().with_writer(writer).with_ansi(style.colour);
    let layer: Box<dyn Layer<Registry> + Send + Sync> = match log.format {
        LogFormat::Json => layer.json().flatten_event(true).with_timer(Stamp).boxed(),
        LogFormat::Text if style.stamps => layer.compact().with_timer(Stamp).boxed(),
        LogFormat::Text => layer.compact().without_time().boxed(),
    };
    let recent = lines::layer().with_writer(Recent).with_ansi(false).compact().with_timer(Stamp);
    let both = vec![layer.with_filter(filter.clone()).boxed(), recent.with_filter(filter).boxed()];
    Ok(Box::new(tracing_subscriber::registry().with(both)))
}

/// UTC in the form of XEP-0082, to the millisecond.
struct Stamp;

impl FormatTime for Stamp {
    #[allow(clippy::disallowed_methods)] // the wall clock, at the floor that has one
    fn format_time(&self, writer: &mut Writer<'_>) -> fmt::Result {
        writer.write_str(&stamp(SystemTime::now()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;
    use std::sync::{Arc, Mutex};

    #[derive(Clone, Default)]
    struct Page(Arc<Mutex<Vec<u8>>>);

    impl Write for Page {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    fn written(format: LogFormat, level: &str, style: Style) -> String {
        let page = Page::default();
        let copy = page.clone();
        let log = Log { format, level: level.to_owned() };
        let subscriber = subscriber(&log, style, move || copy.clone()).unwrap();
        tracing::subscriber::with_default(subscriber, || {
            tracing::info!(port = 5222, "listening");
            tracing::debug!("detail");
        });
        let bytes = page.0.lock().unwrap().clone();
        String::from_utf8(bytes).unwrap()
    }

    const PLAIN: Style = Style { colour: false, stamps: true };

    #[test]
    fn text_is_one_plain_line() {
        let text = written(LogFormat::Text, "info", PLAIN);
        assert_eq!(text.lines().count(), 1, "{text}");
        assert!(text.starts_with("20") && text.contains("INFO") && !text.contains('\u{1b}'));
        assert!(text.contains("listening") && text.contains("port=5222"), "{text}");
        let bare = written(LogFormat::Text, "info", Style { stamps: false, ..PLAIN });
        assert!(bare.trim_start().starts_with("INFO"), "{bare}");
        assert!(
            written(LogFormat::Text, "info", Style { colour: true, ..PLAIN }).contains('\u{1b}')
        );
    }

    #[test]
    fn json_is_one_object_a_line() {
        let text = written(LogFormat::Json, "debug", PLAIN);
        let objects: Vec<serde_json::Value> =
            text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert_eq!(objects.len(), 2);
        assert_eq!(objects[0]["message"], "listening");
        assert_eq!(objects[0]["port"], 5222);
    }

    #[test]
    fn the_level_may_differ_by_part() {
        assert_eq!(written(LogFormat::Text, "warn,stonechat=debug", PLAIN).lines().count(), 2);
        assert_eq!(written(LogFormat::Text, "debug,stonechat=off", PLAIN), "");
    }

    #[test]
    fn a_wrong_level_is_told() {
        let log = Log { level: "a=b=c".to_owned(), ..Log::default() };
        let told = init(&log).unwrap_err().to_string();
        assert!(told.contains("a=b=c") && told.contains("log.level"), "{told}");
    }
}
