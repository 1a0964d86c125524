//! Erlang terms as `io:format("~p.~n")` writes them: the text dump of a Mnesia database, and terms in ejabberd's SQL
//! tables. Nothing is run.

use std::io::BufRead;

use crate::moving::scan::{Bounds, Fault, Scanner};

/// A term.
#[derive(Debug, Clone, PartialEq)]
pub enum Term {
    /// `none`, `'it''s'`.
    Atom(String),
    /// A whole number.
    Int(i64),
    /// Any other number, or a whole one that is larger.
    Float(f64),
    /// `<<"text">>`, `<<1,2,3>>`.
    Binary(Vec<u8>),
    /// `"text"`: a list of code points, all below 256 of them as they are.
    Text(String),
    /// `[a, b]`.
    List(Vec<Term>),
    /// `{a, b}`.
    Tuple(Vec<Term>),
    /// `#{a => b}`.
    Map(Vec<(Term, Term)>),
    /// What has no meaning outside of the node that wrote it: `<0.1.0>`, `#Ref<…>`.
    Opaque,
}

impl Term {
    /// The name of an atom.
    pub fn atom(&self) -> Option<&str> {
        match self {
            Self::Atom(name) => Some(name),
            _ => None,
        }
    }

    /// The bytes of a binary, as text.
    pub fn text(&self) -> Option<&str> {
        match self {
            Self::Binary(bytes) => std::str::from_utf8(bytes).ok(),
            Self::Text(text) => Some(text),
            Self::List(list) if list.is_empty() => Some(""),
            _ => None,
        }
    }

    /// The elements of a tuple; none for anything else.
    pub fn tuple(&self) -> &[Self] {
        match self {
            Self::Tuple(elements) => elements,
            _ => &[],
        }
    }

    /// The elements of a list; none for anything else.
    pub fn list(&self) -> &[Self] {
        match self {
            Self::List(elements) => elements,
            _ => &[],
        }
    }

    /// A whole number.
    pub fn int(&self) -> Option<i64> {
        match self {
            Self::Int(number) => Some(*number),
            _ => None,
        }
    }

    /// Whether it is `true`.
    pub fn is_true(&self) -> bool {
        self.atom() == Some("true")
    }

    /// The value of a key in a list of pairs.
    pub fn get(&self, key: &str) -> Option<&Self> {
        let pair = |it: &&Self| matches!(it.tuple(), [name, _] if name.atom() == Some(key));
        self.list().iter().find(pair).and_then(|it| it.tuple().get(1))
    }
}

/// Terms, each ended by a full stop.
#[derive(Debug)]
pub struct Terms<R> {
    scanner: Scanner<R>,
}

impl<R: BufRead> Terms<R> {
    /// Reads from the beginning.
    pub fn new(from: R, bounds: Bounds) -> Self {
        Self { scanner: Scanner::new(from, bounds) }
    }

    /// How many bytes have been read.
    pub fn read(&self) -> u64 {
        self.scanner.read()
    }

    /// The first byte and the line of the next term; none at the end.
    pub fn start(&mut self) -> Result<Option<(u64, u64)>, Fault> {
        space(&mut self.scanner)?;
        let there = self.scanner.peek()?.is_some();
        Ok(there.then(|| (self.scanner.read(), self.scanner.line())))
    }

    /// The next term; none at the end. After a fault there is no next.
    pub fn term(&mut self) -> Result<Option<Term>, Fault> {
        let scanner = &mut self.scanner;
        scanner.fresh();
        space(scanner)?;
        if scanner.peek()?.is_none() {
            return Ok(None);
        }
        let term = term(scanner, 0)?;
        space(scanner)?;
        scanner.expect(b'.')?;
        Ok(Some(term))
    }
}

/// One term without a full stop, as the SQL tables have them.
pub fn one(text: &str) -> Result<Term, Fault> {
    record(text.as_bytes())
}

/// One term, with a full stop or without.
pub fn record(text: &[u8]) -> Result<Term, Fault> {
    let mut scanner = Scanner::new(text, Bounds::DEFAULT);
    let term = term(&mut scanner, 0)?;
    space(&mut scanner)?;
    scanner.take_if(b'.')?;
    space(&mut scanner)?;
    match scanner.peek()? {
        None => Ok(term),
        Some(_) => Err(scanner.fault("there is more after the term")),
    }
}

fn space<R: BufRead>(scanner: &mut Scanner<R>) -> Result<(), Fault> {
    scanner.space()?;
    while scanner.peek()? == Some(b'%') {
        let mut comment = Vec::new();
        scanner.until(b'\n', b'\n', &mut comment)?;
        scanner.space()?;
    }
    Ok(())
}

fn term<R: BufRead>(scanner: &mut Scanner<R>, depth: usize) -> Result<Term, Fault> {
    scanner.count(depth)?;
    space(scanner)?;
    match scanner.peek()? {
        Some(b'{') => {
            scanner.take()?;
            elements(scanner, b'}', depth).map(Term::Tuple)
        }
        Some(b'[') => {
            scanner.take()?;
            elements(scanner, b']', depth).map(Term::List)
        }
        Some(b'<') => binary(scanner),
        Some(b'#') => map(scanner, depth),
        Some(b'"') => {
            let points = quoted(scanner, b'"')?;
            Ok(Term::Text(joined(scanner, points)?.into_iter().collect()))
        }
        Some(b'\'') => {
            quoted(scanner, b'\'').map(|points| Term::Atom(points.into_iter().collect()))
        }
        Some(b'a'..=b'z') => scanner.word(is_atom).map(Term::Atom),
        Some(b'-' | b'0'..=b'9') => number(scanner),
        Some(byte) => Err(scanner.fault(format!("{:?} begins no term", char::from(byte)))),
        None => Err(scanner.fault("the file ends where a term should be")),
    }
}

fn is_atom(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'@'
}

fn elements<R: BufRead>(
    scanner: &mut Scanner<R>,
    end: u8,
    depth: usize,
) -> Result<Vec<Term>, Fault> {
    let mut elements = Vec::new();
    space(scanner)?;
    if scanner.take_if(end)? {
        return Ok(elements);
    }
    loop {
        elements.push(term(scanner, depth.saturating_add(1))?);
        space(scanner)?;
        if scanner.take_if(end)? {
            return Ok(elements);
        }
        // The tail of an improper list becomes its last element.
        if !(end == b']' && scanner.take_if(b'|')?) {
            scanner.expect(b',')?;
        }
    }
}

/// `#{…}`, or what a node has no text for, as `#Ref<0.1.2>` and `#Fun<…>`.
fn map<R: BufRead>(scanner: &mut Scanner<R>, depth: usize) -> Result<Term, Fault> {
    scanner.expect(b'#')?;
    if !scanner.take_if(b'{')? {
        scanner.word(|byte| byte.is_ascii_alphabetic())?;
        scanner.expect(b'<')?;
        return opaque(scanner);
    }
    let mut pairs = Vec::new();
    space(scanner)?;
    if scanner.take_if(b'}')? {
        return Ok(Term::Map(pairs));
    }
    loop {
        let key = term(scanner, depth.saturating_add(1))?;
        space(scanner)?;
        scanner.expect(b'=')?;
        scanner.expect(b'>')?;
        pairs.push((key, term(scanner, depth.saturating_add(1))?));
        space(scanner)?;
        if scanner.take_if(b'}')? {
            return Ok(Term::Map(pairs));
        }
        scanner.expect(b',')?;
    }
}

/// Up to the `>` that ends it.
fn opaque<R: BufRead>(scanner: &mut Scanner<R>) -> Result<Term, Fault> {
    scanner.word(|byte| byte != b'>' && !byte.is_ascii_whitespace())?;
    scanner.expect(b'>')?;
    Ok(Term::Opaque)
}

/// `<<…>>`, or a process as `<0.1.0>`.
fn binary<R: BufRead>(scanner: &mut Scanner<R>) -> Result<Term, Fault> {
    scanner.expect(b'<')?;
    if !scanner.take_if(b'<')? {
        return opaque(scanner);
    }
    let mut bytes = Vec::new();
    loop {
        space(scanner)?;
        match scanner.peek()? {
            Some(b'>') => break,
            Some(b'"') => text_of_binary(scanner, &mut bytes)?,
            Some(b'0'..=b'9') => {
                let number = scanner.word(|byte| byte.is_ascii_digit())?;
                let number = number.parse::<u8>();
                bytes.push(number.map_err(|_| scanner.fault("a part of a binary is no byte"))?);
            }
            _ => return Err(scanner.fault("a binary has neither a text nor bytes in it")),
        }
        space(scanner)?;
        // Texts that stand one after the other are one: so long ones are broken.
        if !scanner.take_if(b',')? && scanner.peek()? != Some(b'"') {
            break;
        }
    }
    scanner.expect(b'>')?;
    scanner.expect(b'>')?;
    Ok(Term::Binary(bytes))
}

/// A text in a binary, with `/utf8` behind it or not.
fn text_of_binary<R: BufRead>(scanner: &mut Scanner<R>, bytes: &mut Vec<u8>) -> Result<(), Fault> {
    let raw = raw(scanner, b'"')?;
    if scanner.take_if(b'/')? {
        let kind = scanner.word(|byte| byte.is_ascii_alphanumeric())?;
        if kind != "utf8" {
            return Err(scanner.fault(format!("a text of the type {kind:?} in a binary")));
        }
        for piece in raw {
            match piece {
                Raw::Bytes(plain) => bytes.extend(plain),
                Raw::Point(point) => bytes.extend(point.encode_utf8(&mut [0; 4]).bytes()),
            }
        }
        return Ok(());
    }
    for piece in raw {
        match piece {
            Raw::Bytes(plain) => bytes.extend(plain),
            Raw::Point(point) => {
                let byte = u8::try_from(u32::from(point));
                bytes.push(byte.map_err(|_| scanner.fault("a byte of a binary is above 255"))?);
            }
        }
    }
    Ok(())
}

/// A part of a quoted text.
enum Raw {
    /// As it stands in the file.
    Bytes(Vec<u8>),
    /// As an escape says.
    Point(char),
}

/// What is between two quotes.
fn raw<R: BufRead>(scanner: &mut Scanner<R>, quote: u8) -> Result<Vec<Raw>, Fault> {
    let (mut parts, mut plain) = (Vec::new(), Vec::new());
    scanner.expect(quote)?;
    loop {
        scanner.until(quote, b'\\', &mut plain)?;
        let point = if scanner.take()? == quote { None } else { Some(escape(scanner)?) };
        // Of ASCII it is the same byte in each kind of text; a part for each would take many times its room.
        if let Some(byte) = point.and_then(|it| u8::try_from(it).ok()).filter(u8::is_ascii) {
            plain.push(byte);
            continue;
        }
        if !plain.is_empty() {
            parts.push(Raw::Bytes(std::mem::take(&mut plain)));
        }
        match point {
            Some(point) => parts.push(Raw::Point(point)),
            None => return Ok(parts),
        }
    }
}

fn escape<R: BufRead>(scanner: &mut Scanner<R>) -> Result<char, Fault> {
    Ok(match scanner.take()? {
        b'b' => '\u{8}',
        b'd' => '\u{7f}',
        b'e' => '\u{1b}',
        b'f' => '\u{c}',
        b'n' => '\n',
        b'r' => '\r',
        b's' => ' ',
        b't' => '\t',
        b'v' => '\u{b}',
        b'x' => {
            scanner.expect(b'{')?;
            let digits = scanner.word(|byte| byte.is_ascii_hexdigit())?;
            scanner.expect(b'}')?;
            let point = u32::from_str_radix(&digits, 16).ok().and_then(char::from_u32);
            point.ok_or_else(|| {
                scanner.fault(format!("the escape \\x{{{digits}}} is no character"))
            })?
        }
        first @ b'0'..=b'7' => {
            let mut number = u32::from(first & 7);
            for _ in 0..2 {
                let Some(digit @ b'0'..=b'7') = scanner.peek()? else { break };
                number = number * 8 + u32::from(digit & 7);
                scanner.take()?;
            }
            char::from_u32(number).unwrap_or('\u{fffd}')
        }
        other => char::from(other),
    })
}

fn quoted<R: BufRead>(scanner: &mut Scanner<R>, quote: u8) -> Result<Vec<char>, Fault> {
    let mut points = Vec::new();
    for part in raw(scanner, quote)? {
        match part {
            Raw::Bytes(plain) => match std::str::from_utf8(&plain) {
                Ok(text) => points.extend(text.chars()),
                Err(_) => points.extend(plain.into_iter().map(char::from)),
            },
            Raw::Point(point) => points.push(point),
        }
    }
    Ok(points)
}

/// Texts that stand one after the other are one: so long ones are broken.
fn joined<R: BufRead>(scanner: &mut Scanner<R>, mut points: Vec<char>) -> Result<Vec<char>, Fault> {
    space(scanner)?;
    while scanner.peek()? == Some(b'"') {
        points.extend(quoted(scanner, b'"')?);
        space(scanner)?;
    }
    Ok(points)
}

fn number<R: BufRead>(scanner: &mut Scanner<R>) -> Result<Term, Fault> {
    let mut word = scanner.word(|byte| byte == b'-' || byte.is_ascii_digit())?;
    if let Ok(number) = word.parse() {
        // A full stop that is followed by no digit ends the term; so one dot of look-ahead does not do.
        return fraction(scanner, &mut word, number);
    }
    let number = word.parse::<f64>().ok().filter(|number| number.is_finite());
    number.map(Term::Float).ok_or_else(|| scanner.fault(format!("{word:?} is no number")))
}

/// Floats do not stand at the outermost level, so a dot behind a number there is the end of the term.
fn fraction<R: BufRead>(
    scanner: &mut Scanner<R>,
    word: &mut String,
    whole: i64,
) -> Result<Term, Fault> {
    if scanner.peek()? != Some(b'.') {
        return Ok(Term::Int(whole));
    }
    scanner.take()?;
    let rest = scanner.word(|byte| byte.is_ascii_digit() || matches!(byte, b'e' | b'-' | b'+'))?;
    word.push('.');
    word.push_str(&rest);
    let number = word.parse::<f64>().ok().filter(|number| number.is_finite() && !rest.is_empty());
    number.map(Term::Float).ok_or_else(|| scanner.fault(format!("{word:?} is no number")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn terms_of_all_kinds() {
        let text = "%% a dump\n{tables,[{passwd,[{record_name,passwd},\n  {attributes,[us,password]}]}]}.\n\
                    {roster,{<<\"a\">>,<<\"h\">>},[],\"te\"\n   \"xt\",'it\\'s',-5,1.5e3,<<195,164>>,<<\"\\\"\"\n\"x\\n\">>,\n\
                    #{a => 1},<0.1.2>,#Ref<0.1.2.3>,<<\"\\x{1F986}\"/utf8>>,[a|b],<<>>}.\n";
        let mut terms = Terms::new(text.as_bytes(), Bounds::DEFAULT);
        let first = terms.term().expect("a term").expect("one");
        let table = first.tuple().get(1).and_then(|it| it.get("passwd")).expect("a table");
        assert_eq!(table.get("attributes").map(|it| it.list().len()), Some(2));
        let second = terms.term().expect("a term").expect("one");
        let [
            _,
            us,
            empty,
            text,
            atom,
            int,
            float,
            binary,
            escaped,
            map,
            pid,
            reference,
            duck,
            improper,
            none,
        ] = second.tuple()
        else {
            panic!("{second:?}")
        };
        assert_eq!(us.tuple().first().and_then(Term::text), Some("a"));
        assert_eq!(
            (empty.text(), text.text(), atom.atom()),
            (Some(""), Some("text"), Some("it's"))
        );
        assert_eq!((int.int(), float), (Some(-5), &Term::Float(1500.0)));
        assert_eq!(
            (binary.text(), escaped.text(), duck.text()),
            (Some("ä"), Some("\"x\n"), Some("🦆"))
        );
        assert!(matches!(map, Term::Map(pairs) if pairs.len() == 1));
        assert_eq!((pid, reference, none.text()), (&Term::Opaque, &Term::Opaque, Some("")));
        assert_eq!(improper.list().len(), 2);
        assert_eq!(terms.term(), Ok(None));
    }

    proptest::proptest! {
        #[test]
        fn whatever_comes_is_read_or_refused(text in r#"[{}\[\]<>"\\'a-c0-9.|,=#%x\n -]{0,60}"#) {
            let mut terms = Terms::new(text.as_bytes(), Bounds::DEFAULT);
            while let Ok(Some(_)) = terms.term() {}
        }
    }

    #[test]
    fn what_is_broken_is_refused_with_its_line() {
        for (text, line) in [
            ("{a,\n", 2),
            ("{a}", 1),
            ("{a b}.", 1),
            ("<<300>>.", 1),
            ("\"\\x{110000}\".", 1),
            ("X.", 1),
            ("<<\"a\"/float>>.", 1),
            ("\n\n]", 3),
            ("{'", 1),
        ] {
            let fault = Terms::new(text.as_bytes(), Bounds::DEFAULT).term().expect_err(text);
            assert_eq!(fault.line, line, "{text}: {fault}");
        }
        let deep = "[".repeat(100_000);
        assert!(one(&deep).expect_err("deep").what.contains("deeper"));
        assert!(one("a b").is_err());
    }
}
