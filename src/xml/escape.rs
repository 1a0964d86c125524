//! Character data in both directions: references and normalisation on input, escapes on output.

use std::borrow::Cow;

use super::names::is_char;

/// The character that a reference stands for; `inner` is the text between `&` and `;`.
///
/// Only the five predefined entities and references to characters that XML allows
/// (RFC 6120 §11.1, XML 1.0 §4.1).
pub fn reference(inner: &str) -> Option<char> {
    match inner {
        "lt" => return Some('<'),
        "gt" => return Some('>'),
        "amp" => return Some('&'),
        "apos" => return Some('\''),
        "quot" => return Some('"'),
        _ => {}
    }
    let number = inner.strip_prefix('#')?;
    let (digits, radix) = match number.strip_prefix('x') {
        Some(hex) => (hex, 16),
        None => (number, 10),
    };
    // `from_str_radix` would take a sign.
    if !digits.bytes().all(|b| (b as char).is_digit(radix)) {
        return None;
    }
    u32::from_str_radix(digits, radix).ok().and_then(char::from_u32).filter(|&c| is_char(c))
}

/// The value of an attribute as written between its quotes (XML 1.0 §3.3.3: references are
/// resolved, white space as written becomes spaces).
pub fn decode_attr(raw: &str) -> Cow<'_, str> {
    // Most values are plain, and this check is fast: without an early exit, the compiler makes it one
    // vector loop.
    if !raw.bytes().fold(false, |found, byte| found | (byte < b' ') | (byte == b'&')) {
        return Cow::Borrowed(raw);
    }
    decode(raw, b"\t\n\r", ' ')
}

/// The value of character data as written (XML 1.0 §2.11: CR and CR LF become LF).
pub fn decode_text(raw: &str) -> Cow<'_, str> {
    decode(raw, b"\r", '\n')
}

/// The value of a CDATA section's content: line ends only.
pub fn decode_cdata(raw: &str) -> Cow<'_, str> {
    if memchr::memchr(b'\r', raw.as_bytes()).is_none() {
        return Cow::Borrowed(raw);
    }
    Cow::Owned(raw.replace("\r\n", "\n").replace('\r', "\n"))
}

fn decode<'a>(raw: &'a str, spaces: &[u8], space: char) -> Cow<'a, str> {
    let special = |b: u8| b == b'&' || spaces.contains(&b);
    let Some(first) = raw.bytes().position(special) else { return Cow::Borrowed(raw) };
    let (head, mut rest) = raw.split_at(first);
    let mut out = String::with_capacity(raw.len());
    out.push_str(head);
    while let Some(byte) = rest.bytes().next() {
        let skip = if byte == b'&' {
            // The gate lets no unknown reference pass; in other text it stays as written.
            let end = memchr::memchr(b';', rest.as_bytes()).unwrap_or(0);
            match rest.get(1..end).and_then(reference) {
                Some(c) => {
                    out.push(c);
                    end + 1
                }
                None => {
                    out.push('&');
                    1
                }
            }
        } else {
            out.push(space);
            if rest.starts_with("\r\n") { 2 } else { 1 }
        };
        rest = rest.get(skip..).unwrap_or_default();
        let plain = rest.bytes().position(special).unwrap_or(rest.len());
        out.push_str(rest.get(..plain).unwrap_or_default());
        rest = rest.get(plain..).unwrap_or_default();
    }
    Cow::Owned(out)
}

/// Escapes character data for the place between tags. Characters that XML forbids become U+FFFD.
pub fn escape_text(value: &str) -> Cow<'_, str> {
    escape(value, |c| match c {
        '&' => Some("&amp;"),
        '<' => Some("&lt;"),
        '>' => Some("&gt;"),
        // A literal CR would reach the reader as LF (XML 1.0 §2.11).
        '\r' => Some("&#xD;"),
        _ => None,
    })
}

/// Escapes an attribute's value for either kind of quotes.
pub fn escape_attr(value: &str) -> Cow<'_, str> {
    escape(value, |c| match c {
        '&' => Some("&amp;"),
        '<' => Some("&lt;"),
        '>' => Some("&gt;"),
        '\'' => Some("&apos;"),
        '"' => Some("&quot;"),
        // A parser would normalise these to spaces if they were literal (XML 1.0 §3.3.3).
        '\t' => Some("&#x9;"),
        '\n' => Some("&#xA;"),
        '\r' => Some("&#xD;"),
        _ => None,
    })
}

fn escape(value: &str, special: fn(char) -> Option<&'static str>) -> Cow<'_, str> {
    // 0xEF begins U+FFFE and U+FFFF. Most values are plain, and this check is fast.
    let suspect = |b: u8| b < b' ' || matches!(b, b'&' | b'<' | b'>' | b'\'' | b'"' | 0xEF);
    if !value.bytes().fold(false, |found, byte| found | suspect(byte)) {
        return Cow::Borrowed(value);
    }
    let replace = |c: char| if is_char(c) { special(c) } else { Some("\u{FFFD}") };
    let Some(first) = value.find(|c| replace(c).is_some()) else { return Cow::Borrowed(value) };
    let (head, tail) = value.split_at(first);
    let mut out = String::with_capacity(value.len() + 16);
    out.push_str(head);
    for c in tail.chars() {
        match replace(c) {
            Some(text) => out.push_str(text),
            None => out.push(c),
        }
    }
    Cow::Owned(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn references_are_the_five_and_legal_characters() {
        for (inner, expected) in [
            ("lt", Some('<')),
            ("apos", Some('\'')),
            ("#65", Some('A')),
            ("#x41", Some('A')),
            ("#x1F600", Some('\u{1F600}')),
            ("#9", Some('\t')),
            ("#00065", Some('A')),
            ("nbsp", None),
            ("LT", None),
            ("#0", None),
            ("#1", None),
            ("#x1F", None),
            ("#xD800", None),
            ("#xFFFE", None),
            ("#x110000", None),
            ("#99999999999", None),
            ("#X41", None),
            ("#+65", None),
            ("#x+41", None),
            ("#", None),
            ("#x", None),
            ("", None),
        ] {
            assert_eq!(reference(inner), expected, "{inner}");
        }
    }

    #[test]
    fn values_are_normalised_as_xml_says() {
        for (raw, attr, text) in [
            ("plain", "plain", "plain"),
            ("a&amp;b&#10;c", "a&b\nc", "a&b\nc"),
            ("a\tb\nc\rd\r\ne", "a b c d e", "a\tb\nc\nd\ne"),
            ("&#13;&#9;", "\r\t", "\r\t"),
            ("&lt;&gt;&apos;&quot;", "<>'\"", "<>'\""),
            ("&amp;lt;", "&lt;", "&lt;"),
            ("ö&#xF6;", "öö", "öö"),
            ("&nope; & x", "&nope; & x", "&nope; & x"),
            ("&", "&", "&"),
            ("&;", "&;", "&;"),
        ] {
            assert_eq!(decode_attr(raw), attr, "{raw:?}");
            assert_eq!(decode_text(raw), text, "{raw:?}");
        }
        assert_eq!(decode_cdata("a\r\nb\rc&amp;"), "a\nb\nc&amp;");
    }

    #[test]
    fn what_is_escaped_comes_back() {
        for value in ["", "plain", "<a b='c'>\"&amp;\"</a>", "\t\r\n \r\n", "]]>", "ö\u{1F600}"] {
            assert_eq!(decode_text(&escape_text(value)), value);
            assert_eq!(decode_attr(&escape_attr(value)), value);
        }
        assert_eq!(escape_text("a\u{0}b\u{FFFE}\u{1F}"), "a\u{FFFD}b\u{FFFD}\u{FFFD}");
    }
}
