//! PRECIS (RFC 8264, RFC 8265) over the current version of Unicode.
//!
//! The class of a code point follows from its properties (RFC 8264 §8). These come from crates that keep up
//! with Unicode; only the exceptions that the RFC itself lists are listed here. The tests compare the result
//! with an independent implementation on the tables of Unicode 6.3, so that no name that was once valid
//! changes or becomes invalid.

use std::borrow::Cow;

use icu_properties::props::{
    BidiClass, DefaultIgnorableCodePoint, GeneralCategory, HangulSyllableType, JoiningType, Script,
};
use icu_properties::script::ScriptWithExtensions;
use icu_properties::{CodePointMapData, CodePointSetData};
use unicode_normalization::char::{canonical_combining_class, decompose_compatible};
use unicode_normalization::{UnicodeNormalization, is_nfc, is_nfkc};

/// The derived property of a code point (RFC 8264 §8).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Property {
    /// PVALID
    Valid,
    /// FREE_PVAL and ID_DIS: only in the FreeformClass.
    Freeform,
    /// CONTEXTJ and CONTEXTO: allowed where its rule (RFC 5892 App. A) is met.
    Context,
    /// DISALLOWED
    Disallowed,
    /// UNASSIGNED in the tables used here.
    Unassigned,
}

/// The string classes of RFC 8264 §4.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Class {
    /// Letters, digits and printable ASCII.
    Identifier,
    /// In addition, symbols, punctuation and spaces.
    Freeform,
}

/// UsernameCaseMapped (RFC 8265 §3.3); `None` if the text is not valid.
pub fn username(text: &str) -> Option<Cow<'_, str>> {
    stable(text, |text| {
        let text = map_width(text);
        allows(Class::Identifier, &text).then_some(())?;
        let text = map_case(text)?;
        let text = compose(text);
        has_one_direction(&text).then_some(text)
    })
}

/// OpaqueString (RFC 8265 §4.2); `None` if the text is not valid.
pub fn opaque(text: &str) -> Option<Cow<'_, str>> {
    stable(text, |text| {
        allows(Class::Freeform, text).then_some(())?;
        Some(compose(map_spaces(text)))
    })
}

/// A nickname as it is displayed (RFC 8266 §2.3); `None` if the text is not valid.
pub fn nickname(text: &str) -> Option<Cow<'_, str>> {
    stable(text, |text| {
        allows(Class::Freeform, text).then_some(())?;
        Some(compose_compatible(trim_spaces(map_spaces(text)))).filter(|text| !text.is_empty())
    })
}

/// A key that is equal for nicknames that people take for the same (RFC 8266 §2.4).
pub fn nickname_key(text: &str) -> Option<Cow<'_, str>> {
    stable(text, |text| {
        allows(Class::Freeform, text).then_some(())?;
        let text = trim_spaces(map_spaces(text));
        let text = match text.contains(char::is_uppercase) {
            true => Cow::Owned(text.chars().flat_map(char::to_lowercase).collect()),
            false => text,
        };
        Some(compose_compatible(text)).filter(|text| !text.is_empty())
    })
}

/// Whether the class allows every character of the text, each in its context.
pub fn allows(class: Class, text: &str) -> bool {
    text.char_indices().all(|(at, c)| match property(c) {
        Property::Valid => true,
        Property::Freeform => class == Class::Freeform,
        Property::Context => in_context(text, at, c),
        Property::Disallowed | Property::Unassigned => false,
    })
}

/// RFC 8264 §7: applies a profile's rules until nothing changes, at most four times.
fn stable(text: &str, rules: impl Fn(&str) -> Option<Cow<'_, str>>) -> Option<Cow<'_, str>> {
    let mut last = match rules(text).filter(|_| !text.is_empty())? {
        // Nothing was mapped.
        Cow::Borrowed(_) => return Some(Cow::Borrowed(text)),
        Cow::Owned(mapped) => mapped,
    };
    for _ in 0..3 {
        let next = rules(&last)?;
        if next == last {
            return Some(Cow::Owned(last));
        }
        last = next.into_owned();
    }
    None
}

/// The derived property, by the rules of RFC 8264 §8 in their order.
pub fn property(c: char) -> Property {
    use GeneralCategory as G;
    use Property as P;
    if let Some(ruled) = exception(c) {
        return ruled;
    }
    let category = CodePointMapData::<GeneralCategory>::new().get(c);
    match category {
        // RFC 8264 §9.10: noncharacters do not count as unassigned.
        G::Unassigned if !is_noncharacter(c) => return P::Unassigned,
        _ if c.is_ascii_graphic() => return P::Valid,
        _ if matches!(c, ZWNJ | ZWJ) => return P::Context,
        _ if is_old_jamo(c) || is_ignorable(c) => return P::Disallowed,
        G::Control => return P::Disallowed,
        // toNFKC(cp) != cp (§9.17)
        _ if !std::iter::once(c).nfkc().eq(std::iter::once(c)) => return P::Freeform,
        _ => {}
    }
    match category {
        // LetterDigits (§9.1)
        G::UppercaseLetter | G::LowercaseLetter | G::OtherLetter | G::ModifierLetter => P::Valid,
        G::DecimalNumber | G::NonspacingMark | G::SpacingMark => P::Valid,
        // OtherLetterDigits (§9.18)
        G::TitlecaseLetter | G::LetterNumber | G::OtherNumber | G::EnclosingMark => P::Freeform,
        // Spaces, Symbols and Punctuation (§9.14 to §9.16)
        G::SpaceSeparator => P::Freeform,
        G::MathSymbol | G::CurrencySymbol | G::ModifierSymbol | G::OtherSymbol => P::Freeform,
        G::ConnectorPunctuation | G::DashPunctuation | G::OtherPunctuation => P::Freeform,
        G::OpenPunctuation | G::ClosePunctuation => P::Freeform,
        G::InitialPunctuation | G::FinalPunctuation => P::Freeform,
        _ => P::Disallowed,
    }
}

/// Exceptions (RFC 8264 §9.6, RFC 5892 §2.6), and BackwardCompatible (§9.7).
const fn exception(c: char) -> Option<Property> {
    Some(match c {
        '\u{df}' | '\u{3c2}' | '\u{6fd}' | '\u{6fe}' | '\u{f0b}' | '\u{3007}' => Property::Valid,
        '\u{b7}' | '\u{375}' | '\u{5f3}' | '\u{5f4}' | '\u{30fb}' => Property::Context,
        '\u{660}'..='\u{669}' | '\u{6f0}'..='\u{6f9}' => Property::Context,
        '\u{640}' | '\u{7fa}' | '\u{302e}' | '\u{302f}' => Property::Disallowed,
        '\u{3031}'..='\u{3035}' | '\u{303b}' => Property::Disallowed,
        _ => return None,
    })
}

/// Noncharacter_Code_Point, a set that never changes.
const fn is_noncharacter(c: char) -> bool {
    matches!(c, '\u{fdd0}'..='\u{fdef}') || (c as u32) & 0xfffe == 0xfffe
}

/// OldHangulJamo (RFC 8264 §9.9).
fn is_old_jamo(c: char) -> bool {
    let ty = CodePointMapData::<HangulSyllableType>::new().get(c);
    [
        HangulSyllableType::LeadingJamo,
        HangulSyllableType::VowelJamo,
        HangulSyllableType::TrailingJamo,
    ]
    .contains(&ty)
}

/// PrecisIgnorableProperties (RFC 8264 §9.13).
fn is_ignorable(c: char) -> bool {
    is_noncharacter(c) || CodePointSetData::new::<DefaultIgnorableCodePoint>().contains(c)
}

/// The contextual rules (RFC 5892 App. A), for the code point at `at`.
fn in_context(text: &str, at: usize, c: char) -> bool {
    let (before, rest) = text.split_at_checked(at).unwrap_or_default();
    let mut before = before.chars().rev();
    let mut after = rest.chars().skip(1);
    let any = |of: &[Script]| text.chars().any(|c| of.contains(&script(c)));
    match c {
        ZWNJ => before.clone().next().is_some_and(is_virama) || joins(before, after),
        ZWJ => before.next().is_some_and(is_virama),
        '\u{b7}' => before.next() == Some('l') && after.next() == Some('l'),
        '\u{375}' => after.next().is_some_and(|c| script(c) == Script::Greek),
        '\u{5f3}' | '\u{5f4}' => before.next().is_some_and(|c| script(c) == Script::Hebrew),
        '\u{30fb}' => any(&[Script::Hiragana, Script::Katakana, Script::Han]),
        '\u{660}'..='\u{669}' => !text.contains(|c| matches!(c, '\u{6f0}'..='\u{6f9}')),
        '\u{6f0}'..='\u{6f9}' => !text.contains(|c| matches!(c, '\u{660}'..='\u{669}')),
        // RFC 8264 §8: a code point without a rule is not allowed.
        _ => false,
    }
}

/// RFC 5892 App. A.1: `(Joining_Type:{L,D})(Joining_Type:T)*` before, and its mirror image after.
fn joins(before: impl Iterator<Item = char>, after: impl Iterator<Item = char>) -> bool {
    let joining = |c| CodePointMapData::<JoiningType>::new().get(c);
    let visible = |ty: &JoiningType| *ty != JoiningType::Transparent;
    let (Some(before), Some(after)) =
        (before.map(joining).find(visible), after.map(joining).find(visible))
    else {
        return false;
    };
    [JoiningType::LeftJoining, JoiningType::DualJoining].contains(&before)
        && [JoiningType::RightJoining, JoiningType::DualJoining].contains(&after)
}

fn is_virama(c: char) -> bool {
    canonical_combining_class(c) == 9
}

fn script(c: char) -> Script {
    // In-band registration uses the same table.
    ScriptWithExtensions::new().get_script_val(c)
}

/// RFC 8265 §3.3.2 rule 1: fullwidth and halfwidth forms become the characters that they stand for. Forms
/// whose result still has a compatibility mapping are not valid in identifiers either way.
fn map_width(text: &str) -> Cow<'_, str> {
    if !text.contains(is_wide_or_narrow) {
        return Cow::Borrowed(text);
    }
    let mut mapped = String::with_capacity(text.len());
    for c in text.chars() {
        match is_wide_or_narrow(c) {
            true => decompose_compatible(c, |c| mapped.push(c)),
            false => mapped.push(c),
        }
    }
    Cow::Owned(mapped)
}

/// Whether the decomposition type is wide or narrow: the block Halfwidth and Fullwidth Forms, and one space.
const fn is_wide_or_narrow(c: char) -> bool {
    matches!(c, '\u{3000}' | '\u{ff00}'..='\u{ffef}')
}

/// RFC 8265 §3.3.2 rule 3: toLowerCase. Rust's tables may be older than those of the classes. A capital that
/// they do not know yet is refused until they do; otherwise the name would change then.
fn map_case(text: Cow<'_, str>) -> Option<Cow<'_, str>> {
    let category = CodePointMapData::<GeneralCategory>::new();
    let unknown =
        |c: char| !c.is_uppercase() && category.get(c) == GeneralCategory::UppercaseLetter;
    if text.contains(unknown) {
        return None;
    }
    if !text.contains(char::is_uppercase) {
        return Some(text);
    }
    Some(Cow::Owned(text.chars().flat_map(char::to_lowercase).collect()))
}

/// RFC 8265 §4.2.2 rule 2: every space becomes SPACE.
fn map_spaces(text: &str) -> Cow<'_, str> {
    let category = CodePointMapData::<GeneralCategory>::new();
    let odd = |c: char| !c.is_ascii() && category.get(c) == GeneralCategory::SpaceSeparator;
    match text.contains(odd) {
        true => Cow::Owned(text.replace(odd, " ")),
        false => Cow::Borrowed(text),
    }
}

/// RFC 8266 §2.1 rule 2: removes spaces at the ends, and reduces sequences of them to one.
fn trim_spaces(text: Cow<'_, str>) -> Cow<'_, str> {
    if !(text.starts_with(' ') || text.ends_with(' ') || text.contains("  ")) {
        return text;
    }
    let words: Vec<_> = text.split(' ').filter(|word| !word.is_empty()).collect();
    Cow::Owned(words.join(" "))
}

/// Normalization Form KC.
fn compose_compatible(text: Cow<'_, str>) -> Cow<'_, str> {
    if is_nfkc(&text) { text } else { Cow::Owned(text.nfkc().collect()) }
}

/// Normalization Form C.
fn compose(text: Cow<'_, str>) -> Cow<'_, str> {
    if is_nfc(&text) { text } else { Cow::Owned(text.nfc().collect()) }
}

/// The Bidi Rule (RFC 5893 §2). It applies only to a string with a right-to-left character (RFC 8265 §3.3.2
/// rule 5), and a string that starts left-to-right must not contain one.
fn has_one_direction(text: &str) -> bool {
    type B = BidiClass;
    let class = |c| CodePointMapData::<BidiClass>::new().get(c);
    let has = |of: &[B]| text.chars().any(|c| of.contains(&class(c)));
    if !has(&[B::RightToLeft, B::ArabicLetter, B::ArabicNumber]) {
        return true;
    }
    let first = text.chars().next().map(class);
    let last = text.chars().rev().map(class).find(|class| *class != B::NonspacingMark);
    let allowed = [
        B::RightToLeft,
        B::ArabicLetter,
        B::ArabicNumber,
        B::EuropeanNumber,
        B::EuropeanSeparator,
        B::CommonSeparator,
        B::EuropeanTerminator,
        B::OtherNeutral,
        B::BoundaryNeutral,
        B::NonspacingMark,
    ];
    let ends = [B::RightToLeft, B::ArabicLetter, B::EuropeanNumber, B::ArabicNumber];
    first.is_some_and(|first| [B::RightToLeft, B::ArabicLetter].contains(&first))
        && text.chars().all(|c| allowed.contains(&class(c)))
        && last.is_some_and(|last| ends.contains(&last))
        && !(has(&[B::EuropeanNumber]) && has(&[B::ArabicNumber]))
}

const ZWNJ: char = '\u{200c}';
const ZWJ: char = '\u{200d}';

#[cfg(test)]
mod tests {
    use super::*;
    use precis_profiles::precis_core::profile::{PrecisFastInvocation, stabilize};
    use precis_profiles::precis_core::{
        DerivedPropertyValue as Old, FreeformClass, IdentifierClass, StringClass,
    };
    use precis_profiles::{Nickname, OpaqueString, UsernameCaseMapped};
    use proptest::prelude::*;

    fn old_username(text: &str) -> Option<Cow<'_, str>> {
        stabilize(text, |text| UsernameCaseMapped::enforce(text)).ok()
    }

    fn old_opaque(text: &str) -> Option<Cow<'_, str>> {
        stabilize(text, |text| OpaqueString::enforce(text)).ok()
    }

    /// Every code point of Unicode 6.3 has the property that the PRECIS registry lists. No change since then
    /// affected one, so nothing has to be listed as BackwardCompatible (RFC 8264 §9.7). If a new version of
    /// Unicode changes one, this test fails, and the old property goes into [`exception`].
    #[test]
    fn no_verdict_of_unicode_6_3_has_changed() {
        let (identifier, freeform) = (IdentifierClass::default(), FreeformClass::default());
        for c in '\0'..=char::MAX {
            let old = match (identifier.get_value_from_char(c), freeform.get_value_from_char(c)) {
                (Old::PValid, Old::PValid) => Property::Valid,
                (Old::SpecClassDis, Old::SpecClassPval) => Property::Freeform,
                (Old::ContextJ | Old::ContextO, _) => Property::Context,
                (Old::Disallowed, _) => Property::Disallowed,
                (Old::Unassigned, _) => continue,
                other => panic!("{c:?}: {other:?}"),
            };
            assert_eq!(property(c), old, "U+{:04X}", u32::from(c));
        }
    }

    /// Names of existing accounts stay valid and unchanged, wherever in a name the code point is.
    #[test]
    fn what_was_valid_stays_and_means_the_same() {
        let class = FreeformClass::default();
        for c in '\0'..=char::MAX {
            if matches!(class.get_value_from_char(c), Old::Unassigned | Old::Disallowed) {
                continue;
            }
            let alone = [format!("{c}")];
            // Ideographs and syllables are too many to try in combinations, so each is tried alone.
            let many =
                matches!(c, '\u{3400}'..='\u{9fff}' | '\u{ac00}'..='\u{d7a3}' | '\u{20000}'..);
            let among = [format!("l{c}l"), format!("{c}\u{301}"), format!("\u{5d0}{c}\u{5d0}")];
            for text in alone.iter().chain(among.iter().filter(|_| !many)) {
                if let Some(old) = old_username(text) {
                    assert_eq!(username(text), Some(old), "{text:?}");
                }
                if let Some(old) = old_opaque(text) {
                    assert_eq!(opaque(text), Some(old), "{text:?}");
                }
            }
        }
    }

    proptest! {
        #[test]
        fn so_do_names_of_many(text in "\\PC{0,8}|[a-cA-C\u{b7}l\u{5d0}-\u{5d3}\u{627}-\u{628}\u{660}\u{6f0}0-2.\u{5b0}-]{1,6}\
            |[\u{200c}\u{200d}\u{94d}\u{915}\u{628}\u{627}\u{64b}\u{375}\u{3b1}\u{5f3}\u{5d0}\u{30fb}\u{30a2}]{1,5}\
            |[\u{ff21}-\u{ff24}\u{ff76}\u{ff9e}\u{3000}\u{1100}\u{ac00}\u{130}\u{3a3}\u{1f88}]{1,5}") {
            if let Some(old) = old_username(&text) {
                prop_assert_eq!(username(&text), Some(old));
            }
            if let Some(old) = old_opaque(&text) {
                prop_assert_eq!(opaque(&text), Some(old));
            }
        }
    }

    /// RFC 8264 §8 for code points added after 6.3, and its exceptions, ignorables and contexts.
    #[test]
    fn the_unicode_of_today_is_known() {
        use Property as P;
        for (text, want) in [
            ("\u{9fcd}\u{1c8a}\u{10d40}".to_owned(), P::Valid),
            ("\u{9fd6}\u{560}\u{9fc}\u{313}\u{1e922}".to_owned(), P::Valid),
            ("🧋🏽\u{1f910}\u{20bd}\u{1fae0}".to_owned(), P::Freeform),
            // Squared letters and the like have a compatibility mapping.
            ("\u{1f130}\u{1f18b}".to_owned(), P::Freeform),
            // The joiners and modifiers of emoji stay disallowed (§9.8, §9.13).
            ("\u{fe0f}\u{e0067}\u{fdd0}\u{10ffff}\u{e000}\u{1107}\u{ad}".to_owned(), P::Disallowed),
            ("\u{200d}\u{200c}\u{b7}\u{667}".to_owned(), P::Context),
            ("\u{378}\u{e0fff}".to_owned(), P::Unassigned),
        ] {
            for c in text.chars() {
                assert_eq!(property(c), want, "U+{:04X}", u32::from(c));
            }
        }
    }

    /// RFC 5893 §2 rule 3 allows marks at the end of a name; it does not forbid them before the end.
    #[test]
    fn points_may_stand_in_right_to_left_names() {
        for (text, valid) in [
            ("\u{5d0}\u{5b0}\u{5d1}", true),
            ("\u{5d0}\u{5b0}", true),
            ("\u{5d0}1", true),
            ("\u{627}\u{661}", true),
            ("\u{627}1\u{661}", false),
            ("1\u{5d0}", false),
            ("\u{5d0}-", false),
            ("\u{5d0}a", false),
            ("a\u{5d0}", false),
        ] {
            assert_eq!(username(text).is_some(), valid, "{text:?}");
        }
    }

    /// Letter case and the classes come from different tables. No capital may pass unmapped, because its name
    /// would change as soon as both tables agree.
    #[test]
    fn no_capital_is_left_in_a_name() {
        let category = CodePointMapData::<GeneralCategory>::new();
        for c in '\0'..=char::MAX {
            if let Some(name) = username(&c.to_string()) {
                let capital = |c| category.get(c) == GeneralCategory::UppercaseLetter;
                assert!(!name.contains(capital), "U+{:04X}: {name:?}", u32::from(c));
            }
        }
        assert_eq!(
            username("\u{1c90}").as_deref(),
            Some("\u{10d0}"),
            "Georgian has capitals since 11"
        );
    }

    #[test]
    fn nothing_is_no_name() {
        assert_eq!((username(""), opaque("")), (None, None));
        assert_eq!((nickname(""), nickname("  "), nickname_key("\u{a0}")), (None, None, None));
    }

    /// RFC 8266 §3, table 1, and characters added after Unicode 6.3.
    #[test]
    fn nicknames_are_shown_as_they_are_and_compared_by_what_they_mean() {
        for (text, shown, key) in [
            ("Foo", "Foo", "foo"),
            ("foo", "foo", "foo"),
            ("Foo Bar", "Foo Bar", "foo bar"),
            ("  foo  bar ", "foo bar", "foo bar"),
            ("\u{a0}foo\u{3000}\u{2003}Bar", "foo Bar", "foo bar"),
            ("\u{3a3}", "\u{3a3}", "\u{3c3}"),
            ("\u{3c3}", "\u{3c3}", "\u{3c3}"),
            ("\u{3c2}", "\u{3c2}", "\u{3c2}"),
            ("\u{265a}", "\u{265a}", "\u{265a}"),
            ("Richard \u{2163}", "Richard IV", "richard iv"),
            ("🧋 Boba", "🧋 Boba", "🧋 boba"),
        ] {
            assert_eq!(nickname(text).as_deref(), Some(shown), "{text:?}");
            assert_eq!(nickname_key(text).as_deref(), Some(key), "{text:?}");
        }
        assert_eq!((nickname("a\nb"), nickname_key("a\u{202e}b")), (None, None));
    }

    proptest! {
        #[test]
        fn nicknames_of_unicode_6_3_mean_the_same(text in "\\PC{0,8}| {0,2}[a-cA-C\u{a0}\u{2163}\u{fb01}\u{3000}]{0,5} {0,2}") {
            if let Ok(old) = stabilize(&text, |text| Nickname::enforce(text)) {
                prop_assert_eq!(nickname(&text), Some(old));
            }
        }
    }

    /// The documents name the version of Unicode.
    #[test]
    fn the_documents_name_the_version() {
        let (major, ..) = unicode_normalization::UNICODE_VERSION;
        let says = include_str!("../../docs/conformance-rfc6121.md");
        assert!(says.contains(&format!("Unicode {major}.0,")), "docs/conformance-rfc6121.md");
    }
}
