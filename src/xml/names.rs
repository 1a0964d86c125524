//! The characters that XML 1.0 allows, and those that a name may have (XML 1.0 §2.2, §2.3).

use super::names_wide::{is_wide_name, is_wide_start};

/// XML white space: space, TAB, LF, CR.
pub const fn is_space(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\n' | b'\r')
}

/// Whether this character may occur in an XML 1.0 document at all (production `Char`).
pub const fn is_char(c: char) -> bool {
    matches!(c, '\t' | '\n' | '\r' | ' '..='\u{D7FF}' | '\u{E000}'..='\u{FFFD}' | '\u{10000}'..)
}

/// Whether this byte may begin an NCName. For a byte above ASCII, only the whole character decides.
pub const fn may_start_name(byte: u8) -> bool {
    byte.is_ascii_alphabetic() || byte == b'_' || byte >= 0x80
}

/// The ASCII part of `NameChar`, without the colon, as a table: names are most of the markup.
static ASCII_NAME: [bool; 128] = {
    let mut table = [false; 128];
    let mut byte = 0_u8;
    while byte < 128 {
        let fits = byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.');
        #[allow(clippy::indexing_slicing)] // below 128
        {
            table[byte as usize] = fits;
        }
        byte += 1;
    }
    table
};

/// The length of the NCName at the start of `text`; 0 if there is none.
pub fn ncname_len(text: &str) -> usize {
    let bytes = text.as_bytes();
    let Some(&first) = bytes.first() else { return 0 };
    if !may_start_name(first) {
        return 0;
    }
    let is_ascii = |byte: &u8| ASCII_NAME.get(*byte as usize) == Some(&true);
    let ascii = bytes.iter().position(|byte| !is_ascii(byte)).unwrap_or(bytes.len());
    if bytes.get(ascii).is_none_or(u8::is_ascii) { ascii } else { wide_ncname_len(text) }
}

/// Like [`ncname_len`], but for a name with characters above ASCII.
fn wide_ncname_len(text: &str) -> usize {
    let fits = |(at, c): &(usize, char)| match (*at, u8::try_from(*c)) {
        (_, Ok(byte)) if byte.is_ascii() => {
            ASCII_NAME.get(byte as usize) == Some(&true) && (*at > 0 || may_start_name(byte))
        }
        (0, _) => is_wide_start(*c),
        _ => is_wide_name(*c),
    };
    text.char_indices().find(|found| !fits(found)).map_or(text.len(), |(at, _)| at)
}

/// Whether UTF-8 text contains a character that XML 1.0 forbids (production `Char`).
pub fn has_forbidden_char(bytes: &[u8]) -> bool {
    // No early exit, so that the compiler makes it one vector loop.
    let (mut control, mut noncharacter) = (false, false);
    for &byte in bytes {
        control |= byte < 0x20 && byte != b'\t' && byte != b'\n' && byte != b'\r';
        noncharacter |= byte == 0xEF;
    }
    control || (noncharacter && has_noncharacter(bytes))
}

/// Whether U+FFFE or U+FFFF occurs; surrogates are not valid UTF-8.
fn has_noncharacter(bytes: &[u8]) -> bool {
    memchr::memchr_iter(0xEF, bytes).any(|at| {
        bytes.get(at + 1) == Some(&0xBF) && matches!(bytes.get(at + 2), Some(0xBE | 0xBF))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_end_where_the_name_characters_end() {
        for (text, length) in [
            ("", 0),
            ("a", 1),
            ("a>", 1),
            ("a-1._b:c", 6),
            ("_", 1),
            ("1a", 0),
            ("-", 0),
            (":a", 0),
            ("\u{E9}a\u{E9} ", 5),
            ("a\u{E9}", 3),
            ("a\u{B7}b", 4),
            ("\u{B7}", 0),
            ("a\u{D7}b", 1),
            ("a\u{1F600}", 1),
            ("\u{1F600}", 0),
        ] {
            assert_eq!(ncname_len(text), length, "{text:?}");
        }
    }

    #[test]
    fn characters_outside_xml_are_found() {
        for c in (0..0x2_0000).filter_map(char::from_u32) {
            let text = c.to_string();
            assert_eq!(has_forbidden_char(text.as_bytes()), !is_char(c), "{c:?}");
        }
    }
}
