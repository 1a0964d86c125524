//! Preparation of the three parts of an address (RFC 7622 §3.2-§3.4, RFC 8265, RFC 5890-5893).
//!
//! Almost every address is ASCII, where each profile only checks the bytes; only the others need PRECIS and
//! IDNA. Both paths give the same result, and preparing twice changes nothing.

use std::borrow::Cow;
use std::net::Ipv6Addr;

use idna::uts46::{AsciiDenyList, DnsLength, Hyphens, Uts46};

use super::precis::{self, Class};
use super::{JidError, Part};
use crate::base::limits::JID_PART_BYTES_MAX;

/// Localpart: UsernameCaseMapped without eight characters (RFC 7622 §3.3, RFC 8265 §3.3).
pub fn localpart(text: &str) -> Result<Cow<'_, str>, JidError> {
    let part = Part::Local;
    check_raw(text, part)?;
    let mapped = if !text.is_ascii() {
        precis::username(text).ok_or(JidError::Forbidden(part))?
    } else if text.bytes().any(|b| b.is_ascii_uppercase()) {
        Cow::Owned(text.to_ascii_lowercase())
    } else {
        Cow::Borrowed(text)
    };
    // Checked after mapping, because U+FF20 FULLWIDTH COMMERCIAL AT becomes `@`.
    if mapped.bytes().any(|b| b.is_ascii() && !is_local_byte(b)) {
        return Err(JidError::Forbidden(part));
    }
    check_len(mapped, part)
}

/// Resourcepart: OpaqueString (RFC 7622 §3.4, RFC 8265 §4.2).
pub fn resourcepart(text: &str) -> Result<Cow<'_, str>, JidError> {
    let part = Part::Resource;
    check_raw(text, part)?;
    let mapped = if text.is_ascii() {
        if text.bytes().any(|b| b.is_ascii_control()) {
            return Err(JidError::Forbidden(part));
        }
        Cow::Borrowed(text)
    } else {
        precis::opaque(text).ok_or(JidError::Forbidden(part))?
    };
    // The profile alone would allow it; RFC 7622 §3.5 example 18 declares it invalid.
    if mapped.starts_with(' ') {
        return Err(JidError::Forbidden(part));
    }
    check_len(mapped, part)
}

/// Domainpart: an IPv6 literal, or a name of U-labels and plain labels in lower case (RFC 7622 §3.2). An IPv4
/// address has the form of such a name.
pub fn domainpart(text: &str) -> Result<Cow<'_, str>, JidError> {
    let part = Part::Domain;
    check_raw(text, part)?;
    if text.starts_with('[') {
        return ip_literal(text).map(Cow::Owned).ok_or(JidError::Forbidden(part));
    }
    // RFC 7622 §3.2: the final dot is removed before any other step.
    let text = text.strip_suffix(DOTS).unwrap_or(text);
    if text.is_empty() {
        return Err(JidError::Empty(part));
    }
    if text.len() <= NAME_BYTES_MAX && text.split('.').all(is_plain_label) {
        return Ok(Cow::Borrowed(text));
    }
    idn(text)
}

/// Prepares a name that is not already lower-case ASCII.
fn idn(text: &str) -> Result<Cow<'_, str>, JidError> {
    let bad = JidError::Forbidden(Part::Domain);
    let rules = Uts46::new();
    // RFC 7622 §3.2.1: A-labels become U-labels; only NR-LDH and U-labels may stay.
    let (name, result) = rules.to_unicode(text.as_bytes(), AsciiDenyList::STD3, Hyphens::Check);
    result.map_err(|_| bad)?;
    // The lengths of RFC 1034 apply to A-labels (RFC 7622 §3.2); empty labels fail here too.
    rules
        .to_ascii(name.as_bytes(), AsciiDenyList::STD3, Hyphens::Check, DnsLength::Verify)
        .map_err(|_| bad)?;
    // UTS 46 accepts symbols that IDNA2008 disallows. After its mapping, a label is valid in RFC 5892 exactly
    // when PRECIS, whose tables derive from it, accepts it as an identifier.
    if !name.split('.').all(|label| label.is_ascii() || precis::allows(Class::Identifier, label)) {
        return Err(bad);
    }
    check_len(name, Part::Domain)
}

/// `[` IPv6 address with an optional zone `]` (RFC 3986 §3.2.2, RFC 6874 §2), the address in the
/// form of RFC 5952. `IPvFuture` has no version yet and is refused.
fn ip_literal(text: &str) -> Option<String> {
    let inner = text.strip_prefix('[')?.strip_suffix(']')?;
    let (address, zone) = match inner.split_once("%25") {
        Some((address, zone)) => (address, Some(zone)),
        None => (inner, None),
    };
    let address: Ipv6Addr = address.parse().ok()?;
    match zone {
        None => Some(format!("[{address}]")),
        Some(zone) if is_zone(zone) => Some(format!("[{address}%25{zone}]")),
        Some(_) => None,
    }
}

/// RFC 6874's ZoneID without percent-encoding: no interface name needs it.
fn is_zone(zone: &str) -> bool {
    let unreserved = |b: u8| b.is_ascii_alphanumeric() || b"-._~".contains(&b);
    (1..=ZONE_BYTES_MAX).contains(&zone.len()) && zone.bytes().all(unreserved)
}

/// Whether IDNA would return this label unchanged: NR-LDH (RFC 5890 §2.3.2.2) in lower case.
fn is_plain_label(label: &str) -> bool {
    let bytes = label.as_bytes();
    (1..=LABEL_BYTES_MAX).contains(&bytes.len())
        && bytes.iter().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || *b == b'-')
        && bytes.first() != Some(&b'-')
        && bytes.last() != Some(&b'-')
        && bytes.get(2..4) != Some(b"--")
}

/// ASCII of the IdentifierClass (RFC 8264 §9.11) except the eight characters of RFC 7622 §3.3.1.
fn is_local_byte(b: u8) -> bool {
    b.is_ascii_graphic() && !b"\"&'/:<>@".contains(&b)
}

/// Bounds the length before mapping: no mapping shrinks a part to less than a quarter.
fn check_raw(text: &str, part: Part) -> Result<(), JidError> {
    match text.len() {
        0 => Err(JidError::Empty(part)),
        len if len > 4 * JID_PART_BYTES_MAX => Err(JidError::TooLong(part)),
        _ => Ok(()),
    }
}

/// RFC 7622 §3.1 counts bytes after preparation.
fn check_len(text: Cow<'_, str>, part: Part) -> Result<Cow<'_, str>, JidError> {
    match text.len() {
        0 => Err(JidError::Empty(part)),
        len if len > JID_PART_BYTES_MAX => Err(JidError::TooLong(part)),
        _ => Ok(text),
    }
}

/// The characters that UTS 46 treats as label separators.
const DOTS: [char; 4] = ['.', '\u{3002}', '\u{ff0e}', '\u{ff61}'];
/// RFC 1034 §3.1, in text form without the final dot.
const NAME_BYTES_MAX: usize = 253;
/// RFC 1034 §3.1.
const LABEL_BYTES_MAX: usize = 63;
/// Longer than any interface name.
const ZONE_BYTES_MAX: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn check(prep: fn(&str) -> Result<Cow<'_, str>, JidError>, input: &str, want: Option<&str>) {
        assert_eq!(prep(input).ok().as_deref(), want, "{input:?}");
    }

    #[test]
    fn localparts() {
        for (input, want) in [
            ("juliet", Some("juliet")),
            ("Juliet", Some("juliet")),
            ("JULİET", Some("juli\u{307}et")),
            ("foo\\20bar", Some("foo\\20bar")),
            ("a!#$%()*+,-.;=?[\\]^_`{|}~", Some("a!#$%()*+,-.;=?[\\]^_`{|}~")),
            ("fu\u{df}ball", Some("fu\u{df}ball")),
            ("\u{ff2a}\u{ff55}", Some("ju")),
            ("e\u{301}", Some("\u{e9}")),
            ("\u{3c2}", Some("\u{3c2}")),
            ("", None),
            ("foo bar", None),
            ("a\"b", None),
            ("a&b", None),
            ("a'b", None),
            ("a/b", None),
            ("a:b", None),
            ("a<b", None),
            ("a>b", None),
            ("a@b", None),
            ("a\u{ff20}b", None),
            ("a\u{7f}", None),
            ("a\u{0}", None),
            // Invisible characters are refused rather than mapped to nothing, so no part becomes empty.
            ("\u{200b}", None),
            ("\u{ad}", None),
            ("\u{feff}", None),
            ("henry\u{2163}", None),
            ("\u{265a}", None),
            // RFC 5893 §2: right-to-left with a left-to-right letter.
            ("\u{5d0}b", None),
            ("\u{5d0}\u{5d1}", Some("\u{5d0}\u{5d1}")),
        ] {
            check(localpart, input, want);
        }
    }

    #[test]
    fn domainparts() {
        for (input, want) in [
            ("example.com", Some("example.com")),
            ("EXAMPLE.com", Some("example.com")),
            ("example.com.", Some("example.com")),
            ("localhost", Some("localhost")),
            ("a-b.c1", Some("a-b.c1")),
            ("127.0.0.1", Some("127.0.0.1")),
            ("[::1]", Some("[::1]")),
            ("[2001:DB8:0::1]", Some("[2001:db8::1]")),
            ("[fe80::1%25eth0]", Some("[fe80::1%25eth0]")),
            ("xn--bcher-kva.example", Some("b\u{fc}cher.example")),
            ("XN--BCHER-KVA.example", Some("b\u{fc}cher.example")),
            ("B\u{dc}CHER.example", Some("b\u{fc}cher.example")),
            ("fu\u{df}ball.example", Some("fu\u{df}ball.example")),
            ("\u{ff45}xample\u{3002}com\u{3002}", Some("example.com")),
            ("\u{5d0}.example", Some("\u{5d0}.example")),
            ("", None),
            (".", None),
            ("example..com", None),
            ("example.com..", None),
            ("example.com\u{3002}.", None),
            (".example.com", None),
            ("-a.com", None),
            ("a-.com", None),
            ("ab--c.com", None),
            ("a_b.com", None),
            ("a b.com", None),
            ("a@b.com", None),
            ("a\u{ff0f}b.com", None),
            ("xn--a.com", None),
            ("xn--.com", None),
            ("i\u{2764}.ws", None),
            ("\u{265a}.example", None),
            ("[::1", None),
            ("[]", None),
            ("[::1]x", None),
            ("[v1.a]", None),
            ("[fe80::1%25]", None),
            ("::1", None),
            ("\u{5d0}b.example", None),
        ] {
            check(domainpart, input, want);
        }
        let label = "a".repeat(63);
        check(domainpart, &label, Some(&label));
        check(domainpart, &"a".repeat(64), None);
        check(domainpart, &[label.as_str(); 4].join("."), None);
    }

    #[test]
    fn resourceparts() {
        for (input, want) in [
            ("balcony", Some("balcony")),
            ("Balcony", Some("Balcony")),
            ("foo bar ", Some("foo bar ")),
            ("foo@bar/x", Some("foo@bar/x")),
            ("\u{265a}", Some("\u{265a}")),
            ("\u{2163}", Some("\u{2163}")),
            ("a\u{3000}b", Some("a b")),
            ("e\u{301}", Some("\u{e9}")),
            ("", None),
            (" foo", None),
            ("\u{3000}foo", None),
            ("a\tb", None),
            ("a\u{7f}", None),
            ("\u{200b}", None),
        ] {
            check(resourcepart, input, want);
        }
    }

    #[test]
    fn lengths_count_prepared_bytes() {
        let at_most = "a".repeat(1023);
        check(localpart, &at_most, Some(&at_most));
        check(resourcepart, &at_most, Some(&at_most));
        let more = "a".repeat(1024);
        assert_eq!(localpart(&more), Err(JidError::TooLong(Part::Local)));
        assert_eq!(resourcepart(&more), Err(JidError::TooLong(Part::Resource)));
        // Three bytes each before mapping, one byte after.
        check(localpart, &"\u{ff41}".repeat(1023), Some(&at_most));
    }

    #[test]
    fn the_ascii_path_agrees_with_the_profiles() {
        for b in 0..=0x7f_u8 {
            let text = format!("a{}z", char::from(b));
            let precis = precis::username(&text);
            let excluded = "\"&'/:<>@".contains(char::from(b));
            check(localpart, &text, precis.as_deref().filter(|_| !excluded));
            let precis = precis::opaque(&text);
            check(resourcepart, &text, precis.as_deref());
            let idn = idn(&text).ok();
            check(domainpart, &text, idn.as_deref());
        }
    }

    proptest! {
        #[test]
        fn preparing_twice_changes_nothing(text in "\\PC{1,12}|[\u{e0}-\u{17f}\u{370}-\u{3ff}\u{ff00}-\u{ff5e}.-]{1,8}|xn--[a-z0-9-]{1,8}") {
            for prep in [localpart, domainpart, resourcepart] {
                if let Ok(once) = prep(&text) {
                    let twice = prep(&once);
                    prop_assert_eq!(twice.as_deref(), Ok(&*once));
                }
            }
        }
    }
}
