//! Which characters XML 1.0 allows, and which a name may have (XML 1.0 §2.2, §2.3).

use super::names_wide::{is_wide_name, is_wide_start};

/// XML white space: space, TAB, LF, CR.
pub const fn is_space(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\n' | b'\r')
}

/// May this character stand in an XML 1.0 document at all (production `Char`)?
pub const fn is_char(c: char) -> bool {
    matches!(c, '\t' | '\n' | '\r' | ' '..='\u{D7FF}' | '\u{E000}'..='\u{FFFD}' | '\u{10000}'..)
}

/// May this byte begin an NCName? Of a byte above ASCII only the whole character can tell.
pub const fn may_start_name(byte: u8) -> bool {
    byte.is_ascii_alphabetic() || byte == b'_' || byte >= 0x80
}

/// The ASCII part of `NameChar`, without the colon.
const fn is_ascii_name(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.')
}

/// The length of the NCName that begins `text`; 0 when none does.
pub fn ncname_len(text: &str) -> usize {
    let bytes = text.as_bytes();
    let mut at = 0;
    while let Some(&byte) = bytes.get(at) {
        if byte < 0x80 {
            let fits = if at == 0 { may_start_name(byte) } else { is_ascii_name(byte) };
            if !fits {
                break;
            }
            at += 1;
            continue;
        }
        let Some(c) = text.get(at..).and_then(|rest| rest.chars().next()) else { break };
        let fits = if at == 0 { is_wide_start(c) } else { is_wide_name(c) };
        if !fits {
            break;
        }
        at += c.len_utf8();
    }
    at
}

/// Does UTF-8 text hold a character that XML 1.0 forbids (production `Char`)?
pub fn has_forbidden_char(bytes: &[u8]) -> bool {
    // No early exit, so that the compiler makes one vector loop of it.
    let (mut control, mut noncharacter) = (false, false);
    for &byte in bytes {
        control |= byte < 0x20 && byte != b'\t' && byte != b'\n' && byte != b'\r';
        noncharacter |= byte == 0xEF;
    }
    control || (noncharacter && has_noncharacter(bytes))
}

/// U+FFFE and U+FFFF; the surrogates are no UTF-8.
fn has_noncharacter(bytes: &[u8]) -> bool {
    memchr::memchr_iter(0xEF, bytes).any(|at| {
        bytes.get(at + 1) == Some(&0xBF) && matches!(bytes.get(at + 2), Some(0xBE | 0xBF))
    })
}
