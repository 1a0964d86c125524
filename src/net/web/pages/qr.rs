//! A link as a picture for a phone's camera (ISO/IEC 18004).

use std::fmt::Write as _;

use maud::{Markup, html};
use qrcode::{Color, QrCode};

/// The picture, with its margin; none if the text is too long for one.
pub fn picture(text: &str, label: &str) -> Option<Markup> {
    let code = QrCode::new(text).ok()?;
    let (width, colors) = (code.width(), code.to_colors());
    let mut path = String::new();
    for (y, row) in colors.chunks(width).enumerate() {
        let mut x = MARGIN;
        for run in row.chunk_by(|one, next| one == next) {
            let length = run.len();
            if run.first() == Some(&Color::Dark) {
                let _ = write!(path, "M{x} {}h{length}v1h-{length}z", y + MARGIN);
            }
            x += length;
        }
    }
    let side = width + 2 * MARGIN;
    // White and black whatever the colours of the page: a camera wants it so.
    Some(html! {
        svg.qr role="img" aria-label=(label) viewBox={ "0 0 " (side) " " (side) }
            shape-rendering="crispEdges" {
            path fill="#fff" d={ "M0 0h" (side) "v" (side) "h-" (side) "z" } {}
            path fill="#000" d=(path) {}
        }
    })
}

/// §9.1 of the standard, in modules.
const MARGIN: usize = 4;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_link_is_drawn_with_its_margin() {
        let drawn = picture("https://localhost:5443/i/abcdefghijklmnopqrstuvwxyz", "<label>");
        let drawn = drawn.unwrap().into_string();
        // Version 4 has 33 modules a side; its first row begins with a finder pattern's seven.
        assert!(
            drawn.contains("viewBox=\"0 0 41 41\"") && drawn.contains("M4 4h7v1h-7z"),
            "{drawn}"
        );
        assert!(drawn.contains("&lt;label&gt;"), "{drawn}");
        assert!(picture(&"x".repeat(5_000), "").is_none());
    }
}
