//! Names that strangers may not take because people would mistake them for others (UTS 39).
//!
//! RFC 7622 §7.3.2 leaves this to the service that makes accounts. The operator's commands accept any
//! valid name.

use icu_properties::props::Script;
use icu_properties::script::ScriptWithExtensions;
use smallvec::SmallVec;
use unicode_normalization::UnicodeNormalization;

use super::shapes::SHAPES;

/// Whether the name is not Highly Restrictive (UTS 39 §5.2): its letters belong to no single script,
/// nor to Latin together with Chinese, Japanese or Korean. Whether a script is in common use does not
/// matter here.
pub(super) fn mixes_scripts(local: &str) -> bool {
    let (mut all, mut beside_latin) = (None, None);
    for scripts in local.chars().filter_map(scripts) {
        if !scripts.single.contains(&Script::Latin) {
            keep_common(&mut beside_latin, &scripts);
        }
        keep_common(&mut all, &scripts);
    }
    let none = |left: Scripts| left.single.is_empty() && left.joint == 0;
    all.is_some_and(none) && beside_latin.is_none_or(|left| left.joint == 0)
}

/// The scripts that a character is used in (UTS 39 §5.1).
#[derive(Clone)]
struct Scripts {
    single: SmallVec<[Script; 8]>,
    /// [`HANB`], [`JPAN`] and [`KORE`].
    joint: u8,
}

/// `None` for a character that is used in all scripts.
fn scripts(c: char) -> Option<Scripts> {
    let extensions = ScriptWithExtensions::new().get_script_extensions_val(c);
    let has = |scripts: &[Script]| scripts.iter().any(|script| extensions.contains(script));
    if has(&[Script::Common, Script::Inherited]) {
        return None;
    }
    let of = |scripts: &[Script], joint| if has(scripts) { joint } else { 0 };
    let joint = of(&[Script::Han], HANB | JPAN | KORE)
        | of(&[Script::Bopomofo], HANB)
        | of(&[Script::Hiragana, Script::Katakana], JPAN)
        | of(&[Script::Hangul], KORE);
    Some(Scripts { single: extensions.iter().collect(), joint })
}

fn keep_common(left: &mut Option<Scripts>, scripts: &Scripts) {
    let Some(left) = left else {
        *left = Some(scripts.clone());
        return;
    };
    left.single.retain(|script| scripts.single.contains(script));
    left.joint &= scripts.joint;
}

/// Sets of scripts: Chinese, Japanese and Korean are each written with several.
const HANB: u8 = 1;
const JPAN: u8 = 2;
const KORE: u8 = 4;

/// Whether the name looks like another one, which is ASCII (UTS 39 §4).
pub(super) fn is_like(local: &str, name: &str) -> bool {
    local != name && shape(local).eq(shape(name))
}

/// The skeleton where it is ASCII. A character that looks like no ASCII stays as it is, and so matches
/// none.
fn shape(local: &str) -> impl Iterator<Item = char> {
    local.nfd().flat_map(|c| {
        let at = SHAPES.binary_search_by_key(&c, |(c, _)| *c).ok();
        let shape = at.and_then(|at| SHAPES.get(at)).map(|(_, shape)| *shape);
        let itself = shape.is_none().then_some(c);
        let ascii = shape.unwrap_or_default().into_iter().filter(|byte| *byte != 0);
        itself.into_iter().chain(ascii.map(char::from))
    })
}

#[cfg(test)]
mod tests {
    use super::super::config::RESERVED;
    use super::*;
    use crate::jid::precis::{self, Property};
    use crate::jid::prep;
    use unicode_normalization::is_nfd;
    use unicode_security::mixed_script::AugmentedScriptSet;
    use unicode_security::skeleton;

    #[test]
    fn what_looks_like_another_is_found() {
        for (name, honest) in [
            // Of one script, or of a usual combination (UTS 39 §5.1).
            ("romeo", true),
            ("r2d2.o'b_-+", true),
            ("m\u{fc}ller", true),
            ("jose\u{301}", true),
            ("\u{43c}\u{430}\u{440}\u{438}\u{44f}-7", true),
            ("\u{3b5}\u{3bb}\u{3ad}\u{3bd}\u{3b7}", true),
            ("\u{5d3}\u{5d5}\u{5d3}", true),
            ("\u{639}\u{644}\u{64a}\u{661}", true),
            ("\u{592a}\u{90ce}\u{3055}\u{3093}\u{30fc}", true),
            ("ken\u{592a}\u{90ce}", true),
            ("\u{ae40}kim", true),
            // New in Unicode, and rare.
            ("\u{9fcd}\u{9fd6}", true),
            ("\u{560}\u{56f}", true),
            ("\u{9fc}\u{995}", true),
            // Cyrillic and Greek letters among Latin ones.
            ("rom\u{435}o", false),
            ("\u{430}dmin", false),
            ("p\u{3b1}ul", false),
            ("ken\u{5d3}", false),
            ("\u{43c}\u{3b1}", false),
            ("m\u{661}", false),
            // All of one script, and mistaken for another name.
            ("\u{455}\u{443}\u{455}", true),
            ("adrnin", false),
            ("\u{251}dmin", false),
            ("\u{445}mpp", false),
            ("roo\u{307}t", true),
        ] {
            let like = RESERVED.iter().find(|reserved| is_like(name, reserved));
            assert_eq!(!mixes_scripts(name) && like.is_none(), honest, "{name} {like:?}");
        }
        for name in RESERVED {
            assert!(!mixes_scripts(name), "{name}");
        }
    }

    /// Compared with an independent implementation, over pairs of all characters that a name may have,
    /// except for most ideographs and syllables, which all behave alike.
    #[test]
    fn scripts_mix_as_uts_39_says() {
        let other = |name: &str| {
            let mut beside_latin = AugmentedScriptSet::default();
            for set in name.chars().map(AugmentedScriptSet::for_char) {
                if !set.base.contains_script(unicode_script::Script::Latin) {
                    beside_latin.intersect_with(set);
                }
            }
            AugmentedScriptSet::for_str(name).is_empty()
                && !(beside_latin.hanb || beside_latin.jpan || beside_latin.kore)
        };
        let beside = [
            "a",
            "\u{430}",
            "\u{3042}",
            "\u{592a}",
            "\u{ae40}",
            "\u{660}",
            "\u{3105}",
            "a\u{592a}",
        ];
        let alike = |c: &char| matches!(c, '\u{4e00}'..='\u{9fff}' | '\u{ac00}'..='\u{d7a3}' | '\u{20000}'..);
        let valid = |c: &char| precis::property(*c) == Property::Valid && !alike(c);
        for c in ('\0'..=char::MAX).filter(valid) {
            for beside in beside {
                let name = format!("{beside}{c}");
                assert_eq!(mixes_scripts(&name), other(&name), "{name:?}");
            }
        }
    }

    /// The test generates the table: `UPDATE_DOCS=1` writes it.
    #[test]
    fn shapes_are_those_of_uts_39() {
        use std::fmt::Write;
        let mut table = HEAD.to_owned();
        let is_name =
            |c: &char| prep::localpart(&c.to_string()).is_ok_and(|name| name == c.to_string());
        let mut in_line = 0;
        for c in ('\0'..=char::MAX).filter(is_name) {
            let shape: String = skeleton(&c.to_string()).collect();
            if is_nfd(&c.to_string()) && shape.is_ascii() && shape != c.to_string() {
                assert!(shape.len() <= 4, "{c} {shape}");
                let mut bytes = shape.into_bytes();
                bytes.resize(4, 0);
                let lead = if in_line % 4 == 0 { "\n    " } else { " " };
                write!(table, "{lead}('\\u{{{:x}}}', {bytes:?}),", u32::from(c)).unwrap();
                in_line += 1;
            }
        }
        table.push('\n');
        table.push_str("];\n");
        let file = concat!(env!("CARGO_MANIFEST_DIR"), "/src/modules/register/shapes.rs");
        if std::env::var_os("UPDATE_DOCS").is_some() {
            std::fs::write(file, &table).unwrap();
        }
        assert_eq!(std::fs::read_to_string(file).unwrap(), table, "UPDATE_DOCS=1 writes it");
    }

    const HEAD: &str = "\
//! Made by `lookalike::tests` of the confusables of UTS 39; not to be edited.

/// Characters that a name may have and that look like ASCII, in order, and what they look like.
#[rustfmt::skip]
pub(super) const SHAPES: &[(char, [u8; 4])] = &[";
}
