//! What a client says of its file: name and media type. Neither is more than a label: on disk a file has its id.

/// A name that is one in every system: one part of a path, no controls, none that turns the text around it, and
/// not longer than what file systems take, with its ending intact (§4).
pub(super) fn clean(name: &str) -> String {
    let fits = |c: char| match c {
        '/' | '\\' => '_',
        c if c.is_control() || turns(c) => '_',
        c => c,
    };
    let name: String = name.trim().chars().map(fits).collect();
    let name = shortened(name);
    // No path goes up by it.
    if name.chars().all(|c| c == '.') { "_".to_owned() } else { name }
}

fn shortened(name: String) -> String {
    if name.len() <= NAME_BYTES_MAX {
        return name;
    }
    let ending = name.rfind('.').map_or("", |at| name.get(at..).unwrap_or_default());
    let ending = if ending.len() <= ENDING_BYTES_MAX { ending } else { "" };
    let mut end = NAME_BYTES_MAX - ending.len();
    while !name.is_char_boundary(end) {
        end -= 1;
    }
    format!("{}{ending}", name.get(..end).unwrap_or_default())
}

/// Changes the direction of what follows it.
const fn turns(c: char) -> bool {
    matches!(c, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// RFC 3986 §2.1: all but what needs no encoding anywhere (§2.3).
pub(super) fn encoded(name: &str) -> String {
    let mut out = String::with_capacity(name.len());
    for byte in name.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            out.push(char::from(byte));
        } else {
            out.push_str(&format!("%{byte:02X}"));
        }
    }
    out
}

/// A media type as it may stand in a header (RFC 9110 §8.3.1); none if it cannot.
pub(super) fn media_type(text: &str) -> Option<&str> {
    let text = text.trim();
    let (kind, rest) = text.split_once('/')?;
    let subtype = rest.split(';').next()?.trim_end();
    let is_token = |part: &str| {
        let mut bytes = part.bytes();
        !part.is_empty() && bytes.all(|b| b.is_ascii_alphanumeric() || b"!#$&^_.+-".contains(&b))
    };
    let printable = text.bytes().all(|byte| matches!(byte, b' '..=b'~'));
    let fits = is_token(kind) && is_token(subtype) && printable && text.len() <= TYPE_BYTES_MAX;
    fits.then_some(text)
}

/// Whether two types are the same but for their parameters.
pub(super) fn is_same_type(one: &str, other: &str) -> bool {
    let essence = |text: &str| text.split(';').next().unwrap_or_default().trim().to_owned();
    essence(one).eq_ignore_ascii_case(&essence(other))
}

/// RFC 6266: shown in the browser only if nothing in it can run.
pub(super) fn disposition(name: &str, media_type: &str) -> String {
    let essence = media_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    let way = if SHOWN.contains(&essence.as_str()) { "inline" } else { "attachment" };
    let plain = |c: char| if c.is_ascii_graphic() && !"\"\\%".contains(c) { c } else { '_' };
    let ascii: String = name.chars().map(plain).collect();
    format!("{way}; filename=\"{ascii}\"; filename*=UTF-8''{}", encoded(name))
}

/// Pictures without scripts, sounds and films.
const SHOWN: &[&str] = &[
    "audio/aac",
    "audio/flac",
    "audio/mp4",
    "audio/mpeg",
    "audio/ogg",
    "audio/opus",
    "audio/wav",
    "audio/webm",
    "audio/x-m4a",
    "image/avif",
    "image/gif",
    "image/heic",
    "image/jpeg",
    "image/jxl",
    "image/png",
    "image/webp",
    "video/mp4",
    "video/mpeg",
    "video/ogg",
    "video/quicktime",
    "video/webm",
    "video/x-matroska",
];
/// What file systems take.
const NAME_BYTES_MAX: usize = 255;
const ENDING_BYTES_MAX: usize = 16;
const TYPE_BYTES_MAX: usize = 127;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_one_part_of_a_path() {
        for (given, kept) in [
            ("très cool.jpg", "très cool.jpg"),
            ("Отпуск.png", "Отпуск.png"),
            ("🐎🐎.gif", "🐎🐎.gif"),
            ("a/b\\c.txt", "a_b_c.txt"),
            ("../../etc/passwd", ".._.._etc_passwd"),
            ("..", "_"),
            (".", "_"),
            ("a\r\nb", "a__b"),
            ("x\u{202e}gpj.exe", "x_gpj.exe"),
        ] {
            assert_eq!(clean(given), kept);
        }
        let long = clean(&format!("{}.jpeg", "я".repeat(300)));
        assert!(long.len() <= 255 && long.ends_with("я.jpeg"), "{long}");
        assert_eq!(encoded("très cool.jpg"), "tr%C3%A8s%20cool.jpg");
        assert_eq!(encoded("a?b#c&d+e"), "a%3Fb%23c%26d%2Be");
    }

    #[test]
    fn a_type_breaks_no_header() {
        for (text, good) in [
            ("image/jpeg", true),
            ("text/plain; charset=utf-8", true),
            ("image", false),
            ("/", false),
            ("a/b\r\nX: y", false),
            ("a b/c", false),
            ("text/пример", false),
        ] {
            assert_eq!(media_type(text).is_some(), good, "{text}");
        }
        assert!(is_same_type("text/plain", "Text/Plain; charset=utf-8"));
        assert!(!is_same_type("text/plain", "text/html"));
    }

    #[test]
    fn only_what_cannot_run_is_shown() {
        assert_eq!(
            disposition("a\"é.png", "image/png"),
            "inline; filename=\"a__.png\"; filename*=UTF-8''a%22%C3%A9.png"
        );
        for media_type in ["text/html", "image/svg+xml", "application/pdf", "text/plain"] {
            assert!(disposition("x", media_type).starts_with("attachment;"), "{media_type}");
        }
    }
}
