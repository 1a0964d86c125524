//! Splits a text into searchable tokens, in the same way for messages and for search terms.
//!
//! A **word** is a run of letters and digits, without case and accents: `Café` is `cafe`. Scripts that put no
//! spaces between words have **runs** instead (北京大学): the index contains each of their characters and each
//! overlapping pair, and a run is found wherever it occurs within a longer one.

use std::collections::BTreeSet;

use unicode_normalization::UnicodeNormalization;
use unicode_normalization::char::{decompose_compatible, is_combining_mark};

/// The kind of a part of a text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Kind {
    /// Matches the same word only.
    Word,
    /// Matches as any part of a longer run.
    Run,
}

/// The terms of a search: words and runs, all of which must match.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct SearchTerms {
    parts: BTreeSet<(Kind, String)>,
}

/// Why a search is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refused {
    /// The text is too long.
    TooLong,
    /// It has too many words.
    TooMany,
}

impl SearchTerms {
    /// Reads a text that a user typed. No sign in it has a special meaning.
    pub fn read(text: &str) -> Result<Self, Refused> {
        if text.len() > SOUGHT_BYTES_MAX {
            return Err(Refused::TooLong);
        }
        let mut parts = BTreeSet::new();
        each_part(text, &mut |kind, part| parts.extend([(kind, part.to_owned())]));
        let search_terms = Self { parts };
        if search_terms.tokens().len() > SEARCH_TOKENS_MAX {
            return Err(Refused::TooMany);
        }
        Ok(search_terms)
    }

    /// Whether the text had no words.
    pub fn is_empty(&self) -> bool {
        self.parts.is_empty()
    }

    /// Returns the tokens that a row must have in the index: a subset of what [`tokens`] returns for any text
    /// that matches.
    pub fn tokens(&self) -> BTreeSet<String> {
        let mut found = BTreeSet::new();
        for (kind, part) in &self.parts {
            if *kind == Kind::Run && chars(part) > 1 {
                each_pair(part, &mut |pair| found.extend([pair.to_owned()]));
            } else {
                found.insert(part.clone());
            }
        }
        found
    }

    /// Whether the index alone decides if a row matches. Of a longer run it has only the pairs.
    pub fn is_exact(&self) -> bool {
        !self.parts.iter().any(|(kind, part)| *kind == Kind::Run && chars(part) > 2)
    }

    /// Whether these texts contain all the terms.
    pub fn is_in<'t>(&self, texts: impl IntoIterator<Item = &'t str>) -> bool {
        let mut left: Vec<_> = self.parts.iter().collect();
        for text in texts {
            each_part(text, &mut |kind, part| {
                left.retain(|(search_terms, this)| {
                    let found = if kind == Kind::Run { part.contains(this) } else { part == this };
                    *search_terms != kind || !found
                });
            });
        }
        left.is_empty()
    }
}

/// Calls `each` for every token of a message's text that goes into the index; a token may come more than
/// once.
pub fn tokens(text: &str, each: &mut dyn FnMut(&str)) {
    each_part(text, &mut |kind, part| match kind {
        Kind::Word => each(part),
        Kind::Run => {
            for (at, c) in part.char_indices() {
                each(part.get(at..at + c.len_utf8()).unwrap_or_default());
            }
            each_pair(part, each);
        }
    });
}

fn chars(text: &str) -> usize {
    text.chars().count()
}

fn each_pair(run: &str, each: &mut dyn FnMut(&str)) {
    let ends = run.char_indices().map(|(at, c)| at + c.len_utf8()).skip(1);
    for ((at, _), end) in run.char_indices().zip(ends) {
        each(run.get(at..end).unwrap_or_default());
    }
}

fn each_part(text: &str, each: &mut dyn FnMut(Kind, &str)) {
    let mut reader = Reader { kind: Kind::Word, part: String::new(), chars: 0, each };
    if text.is_ascii() {
        text.chars().for_each(|c| reader.letter(c));
    } else {
        // NFKC composes: か and its mark become one character, and so does a syllable of Hangul.
        text.nfkc().for_each(|c| reader.character(c));
    }
    reader.end();
}

struct Reader<'e> {
    kind: Kind,
    /// The part read so far; its allocation is reused for all.
    part: String,
    chars: usize,
    each: &'e mut dyn FnMut(Kind, &str),
}

impl Reader<'_> {
    fn character(&mut self, c: char) {
        if is_of_a_run(c) {
            self.push(Kind::Run, c);
        } else {
            decompose_compatible(c, |c| self.letter(c));
        }
    }

    /// Reads a character that is no part of a run, without its accents.
    fn letter(&mut self, c: char) {
        match c {
            'a'..='z' | '0'..='9' => self.push(Kind::Word, c),
            'A'..='Z' => self.push(Kind::Word, c.to_ascii_lowercase()),
            c if c.is_ascii() => self.end(),
            c if is_dropped(c) => {}
            c if c.is_alphanumeric() => self.fold(c),
            c if is_combining_mark(c) && self.in_word() => self.push(Kind::Word, c),
            _ => self.end(),
        }
    }

    fn fold(&mut self, c: char) {
        for c in c.to_lowercase() {
            match FOLDED.iter().find(|(from, _)| *from == c) {
                Some((_, to)) => to.chars().for_each(|c| self.push(Kind::Word, c)),
                None if is_dropped(c) => {}
                None => self.push(Kind::Word, c),
            }
        }
    }

    fn in_word(&self) -> bool {
        self.chars > 0 && self.kind == Kind::Word
    }

    fn push(&mut self, kind: Kind, c: char) {
        if self.kind != kind {
            self.end();
            self.kind = kind;
        }
        // Characters of a word beyond the maximum are neither indexed nor searched for.
        if kind == Kind::Run || self.chars < WORD_CHARS_MAX {
            self.part.push(c);
            self.chars += 1;
        }
    }

    fn end(&mut self) {
        if self.chars > 0 {
            (self.each)(self.kind, &self.part);
            self.part.clear();
            self.chars = 0;
        }
    }
}

/// Han, kana, bopomofo and Hangul; and Thai, Lao, Burmese and Khmer, which put no spaces between words
/// either. Half-width and full-width forms of a character are the same by then.
fn is_of_a_run(c: char) -> bool {
    let letters = matches!(c,
        '\u{e00}'..='\u{eff}' | '\u{1000}'..='\u{109f}' | '\u{1100}'..='\u{11ff}'
        | '\u{1780}'..='\u{17dd}' | '\u{3005}'..='\u{3007}' | '\u{3021}'..='\u{3029}'
        | '\u{3031}'..='\u{3035}' | '\u{3041}'..='\u{30fa}' | '\u{30fc}'..='\u{318f}'
        | '\u{31a0}'..='\u{31bf}' | '\u{31f0}'..='\u{31ff}' | '\u{3400}'..='\u{4dbf}'
        | '\u{4e00}'..='\u{9fff}' | '\u{a960}'..='\u{a97f}' | '\u{ac00}'..='\u{d7ff}'
        | '\u{f900}'..='\u{faff}' | '\u{1b000}'..='\u{1b16f}' | '\u{20000}'..='\u{3ffff}');
    letters && (c.is_alphanumeric() || is_combining_mark(c)) && !c.is_ascii_digit()
}

/// Accents, the vowel points of Hebrew and Arabic, and invisible characters.
fn is_dropped(c: char) -> bool {
    matches!(c,
        '\u{300}'..='\u{36f}' | '\u{591}'..='\u{5bd}' | '\u{5bf}' | '\u{5c1}' | '\u{5c2}' | '\u{5c4}'
        | '\u{5c5}' | '\u{5c7}' | '\u{610}'..='\u{61a}' | '\u{640}' | '\u{64b}'..='\u{65f}' | '\u{670}'
        | '\u{ad}' | '\u{200b}'..='\u{200f}' | '\u{2060}' | '\u{fe00}'..='\u{fe0f}' | '\u{feff}')
}

/// Letters that are separate letters in Unicode but that people treat as variants.
const FOLDED: [(char, &str); 8] = [
    ('ß', "ss"),
    ('ς', "σ"),
    ('ı', "i"),
    ('ø', "o"),
    ('ł', "l"),
    ('đ', "d"),
    ('æ', "ae"),
    ('œ', "oe"),
];
/// Longer words are keys and addresses.
const WORD_CHARS_MAX: usize = 40;
/// Maximum number of bytes of a search text.
const SOUGHT_BYTES_MAX: usize = 1_024;
/// Maximum number of words and pairs of runs in a search.
const SEARCH_TOKENS_MAX: usize = 32;

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Words as they are, runs in brackets.
    fn parts(text: &str) -> String {
        let mut all = Vec::new();
        each_part(text, &mut |kind, part| {
            all.push(if kind == Kind::Run { format!("[{part}]") } else { part.to_owned() });
        });
        all.join(" ")
    }

    fn indexed(text: &str) -> BTreeSet<String> {
        let mut all = BTreeSet::new();
        tokens(text, &mut |token| all.extend([token.to_owned()]));
        all
    }

    #[test]
    fn a_text_falls_into_words_and_runs() {
        for (text, expected) in [
            ("", ""),
            ("Hello, World! 2nd", "hello world 2nd"),
            ("don't a_b x*y \"q\" (c) NEAR", "don t a b x y q c near"),
            // The same letter written in two ways.
            ("Café Cafe\u{301} CAFÉ", "cafe cafe cafe"),
            ("Ångström naïve Straße STRASSE", "angstrom naive strasse strasse"),
            ("Łódź smørrebrød Æsir", "lodz smorrebrod aesir"),
            ("ΣΊΣΥΦΟΣ σίσυφος", "σισυφοσ σισυφοσ"),
            ("Ёлка ёлка елка", "елка елка елка"),
            ("İstanbul ISTANBUL ırmak", "istanbul istanbul irmak"),
            ("שָׁלוֹם שלום", "שלום שלום"),
            ("كِتَاب كتاب", "كتاب كتاب"),
            ("می\u{200c}خواهم co\u{ad}op", "میخواهم coop"),
            // Marks that are letters are not dropped.
            ("हिन्दी", "हिन्दी"),
            ("ﬁne １２３ ＡＢＣ x²", "fine 123 abc x2"),
            ("我在北京大学。你呢?", "[我在北京大学] [你呢]"),
            ("Tokyo東京タワーtower", "tokyo [東京タワー] tower"),
            ("ｶﾞｷﾞ か\u{3099}", "[ガギ] [が]"),
            ("안녕하세요 세계", "[안녕하세요] [세계]"),
            ("\u{1112}\u{1161}\u{11ab} 한", "[한] [한]"),
            ("ภาษาไทย、々", "[ภาษาไทย] [々]"),
            ("日本・中国", "[日本] [中国]"),
            ("👍 ok 👍🏽\u{fe0f}", "ok"),
        ] {
            assert_eq!(parts(text), expected, "{text}");
        }
        assert_eq!(parts(&"x".repeat(50)), "x".repeat(40));
    }

    #[test]
    fn what_is_looked_for_is_found_where_it_is() {
        for (search_terms, text, found) in [
            ("hello", "Hello, World", true),
            ("world HELLO", "Hello, World", true),
            ("hello moon", "Hello, World", false),
            // Whole words.
            ("hell", "Hello, World", false),
            ("wor*", "Hello, World", false),
            ("resume", "my résumé", true),
            ("résumé", "my RESUME", true),
            ("北京", "我在北京", true),
            ("京", "我在北京", true),
            ("我京", "我在北京", false),
            ("北京大学", "北京和大学", false),
            // The text has all pairs, but not the run.
            ("北京大", "京大 北京", false),
            ("하세", "안녕하세요", true),
            ("東京 tower", "Tokyo東京タワーtower", true),
            ("*", "a*b", true),
        ] {
            let query = SearchTerms::read(search_terms).unwrap();
            assert_eq!(query.is_in([text]), found, "{search_terms} in {text}");
            let have = indexed(text);
            let all = query.tokens().is_subset(&have);
            assert!(all || !found, "{search_terms} in {text}: the index would not give it");
            assert!(all == found || !query.is_exact(), "{search_terms} in {text}");
        }
        assert!(SearchTerms::read("北京").unwrap().is_in(["x", "北京"]));
        assert!(!SearchTerms::read("北京").unwrap().is_in(["北", "京"]));
    }

    #[test]
    fn what_is_looked_for_has_bounds() {
        assert_eq!(SearchTerms::read(&"a ".repeat(513)), Err(Refused::TooLong));
        assert!(SearchTerms::read(&"a ".repeat(512)).is_ok());
        let words = |n: u32| (0..n).map(|n| format!("w{n} ")).collect::<String>();
        assert!(SearchTerms::read(&words(32)).is_ok());
        assert_eq!(SearchTerms::read(&words(33)), Err(Refused::TooMany));
        let run: String = ('\u{4e00}'..'\u{4e22}').collect();
        assert_eq!(SearchTerms::read(&run), Err(Refused::TooMany));
        assert!(SearchTerms::read("?! *").unwrap().is_empty());
    }

    /// Letters of many scripts, signs and spaces.
    fn text() -> impl Strategy<Value = String> {
        let letter = prop_oneof![
            "[a-zA-Z0-9 .,*\"_-]",
            "[北京大学中文字日本語かがタワー한글말]",
            "[àéîõüßŁøİςΣЙё\u{301}\u{308}\u{3099}]",
            any::<char>().prop_map(String::from),
        ];
        proptest::collection::vec(letter, 0..40).prop_map(|all| all.concat())
    }

    proptest! {
        /// The index leads to every text that contains the terms.
        #[test]
        fn the_index_never_loses_a_text(text in text(), from in 0..40_usize, length in 1..12_usize) {
            let piece: String = text.chars().skip(from).take(length).collect();
            let Ok(search_terms) = SearchTerms::read(&piece) else { return Ok(()) };
            let have = indexed(&text);
            let all = search_terms.tokens().is_subset(&have);
            prop_assert!(all || !search_terms.is_in([&*text]));
            prop_assert!(!search_terms.is_exact() || all == search_terms.is_in([&*text]));
        }

        /// Every text is found by itself, and by itself in capitals.
        #[test]
        fn a_text_is_found_by_itself(text in text()) {
            let Ok(search_terms) = SearchTerms::read(&text) else { return Ok(()) };
            prop_assert!(search_terms.is_in([&*text]));
            prop_assert!(search_terms.tokens().is_subset(&indexed(&text)));
        }

        /// The index's own tokenizer gets only letters and digits, so it splits no token further.
        #[test]
        fn a_token_has_no_sign_of_ascii(text in text()) {
            for token in indexed(&text) {
                let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || !c.is_ascii();
                prop_assert!(!token.is_empty() && token.chars().all(plain), "{token:?}");
            }
        }

        /// Folding a folded text changes nothing.
        #[test]
        fn what_is_folded_stays(text in text()) {
            let mut words = Vec::new();
            each_part(&text, &mut |kind, part| {
                if kind == Kind::Word {
                    words.push(part.to_owned());
                }
            });
            for word in words {
                prop_assert_eq!(parts(&word), word);
            }
        }
    }
}
