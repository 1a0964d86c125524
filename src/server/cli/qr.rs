//! A link as a QR code (ISO/IEC 18004), for the camera of a phone.

use crate::admin::Response;
use crate::server::config::Problems;
use qrcode::QrCode;
use qrcode::render::unicode::Dense1x2;
use std::io::{IsTerminal, Write};

/// The code of the link that an answer begins with: on a terminal, or where it is `wanted`.
pub(super) fn of(answer: &Result<Response, Problems>, wanted: bool) -> Option<String> {
    let is_terminal = std::io::stdout().is_terminal();
    let Ok(Response::Ok { outcome }) = answer else { return None };
    let link = outcome.lines().into_iter().next().filter(|_| wanted || is_terminal)?;
    code(&link, is_terminal)
}

/// Draws it.
pub(super) fn draw(code: Option<String>) {
    if let Some(code) = code {
        // The reader may stop reading: `… | head`.
        let _ = writeln!(std::io::stdout(), "\n{code}");
    }
}

/// Two rows of the code in one of text. A terminal may be dark: there it is drawn black on white.
fn code(link: &str, on_terminal: bool) -> Option<String> {
    let code = QrCode::new(link).ok()?;
    let text = code.render::<Dense1x2>().build();
    if !on_terminal {
        return Some(text);
    }
    let lines = text.lines().map(|line| format!("\x1b[30;107m{line}\x1b[0m"));
    Some(lines.collect::<Vec<_>>().join("\n"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_link_is_drawn_with_its_margin() {
        let link = "xmpp:example.org?register;preauth=abcdefghijklmnopqrstuvwxyz";
        let code = code(link, false).unwrap();
        let widths: Vec<_> = code.lines().map(|line| line.chars().count()).collect();
        // Version 4 has 33 modules a side, and four more around it; two rows are one line.
        assert_eq!((widths.len(), widths[0]), (21, 41), "{code}");
        assert!(widths.iter().all(|width| *width == 41), "{code}");
        assert!(code.starts_with(&" ".repeat(41)) && code.contains('█'), "{code}");
        let coloured = super::code(link, true).unwrap();
        assert!(
            coloured.lines().all(|line| line.starts_with("\x1b[") && line.ends_with("\x1b[0m"))
        );
        assert_eq!(super::code(&"x".repeat(5_000), false), None);
        let answer = Ok(Response::done(link));
        assert!(of(&answer, true).is_some() && of(&Ok(Response::error("no")), true).is_none());
    }
}
