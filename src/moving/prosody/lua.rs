//! The data files of Prosody: tables in Lua's syntax as its `util.serialization` writes them. Nothing is run: what is
//! not a table, a text, a number, true, false or nil is refused.

use std::collections::BTreeMap;
use std::io::BufRead;

use super::super::scan::{Bounds, Fault, Scanner};

/// A value.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// Nothing.
    Nil,
    /// True or false.
    Bool(bool),
    /// A number; integers up to 2^53 are exact.
    Number(f64),
    /// Bytes, nearly always UTF-8.
    Text(Vec<u8>),
    /// A table.
    Table(Table),
}

/// A key of a table.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Key {
    /// True or false: a roster keeps its version under `false`.
    Bool(bool),
    /// A whole number that does not go on the list.
    Int(i64),
    /// A text.
    Text(Vec<u8>),
}

/// A table: a list and a map in one.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Table {
    /// What has the keys 1, 2, 3 …
    pub list: Vec<Value>,
    /// Everything else.
    pub map: BTreeMap<Key, Value>,
}

impl Table {
    /// The value of a key that is a text.
    pub fn get(&self, key: &str) -> Option<&Value> {
        self.map.get(&Key::Text(key.as_bytes().to_vec()))
    }

    /// The same, if it is UTF-8.
    pub fn text(&self, key: &str) -> Option<&str> {
        self.get(key)?.text()
    }

    /// The same, if it is a table.
    pub fn table(&self, key: &str) -> Option<&Self> {
        self.get(key)?.table()
    }

    /// Whether the key's value is true.
    pub fn is(&self, key: &str) -> bool {
        self.get(key) == Some(&Value::Bool(true))
    }

    /// All keys that are texts in UTF-8, with their values.
    pub fn texts(&self) -> impl Iterator<Item = (&str, &Value)> {
        self.map.iter().filter_map(|(key, value)| match key {
            Key::Text(key) => Some((std::str::from_utf8(key).ok()?, value)),
            _ => None,
        })
    }
}

impl Value {
    /// A text in UTF-8.
    pub fn text(&self) -> Option<&str> {
        match self {
            Self::Text(bytes) => std::str::from_utf8(bytes).ok(),
            _ => None,
        }
    }

    /// A table.
    pub fn table(&self) -> Option<&Table> {
        match self {
            Self::Table(table) => Some(table),
            _ => None,
        }
    }

    /// A number; also one that is written as a text.
    pub fn number(&self) -> Option<f64> {
        match self {
            Self::Number(number) => Some(*number),
            Self::Text(_) => self.text()?.parse().ok(),
            _ => None,
        }
    }

    /// A number, a text, or true or false, as a text.
    pub fn shown(&self) -> Option<String> {
        match self {
            Self::Bool(it) => Some(it.to_string()),
            Self::Number(number) => Some(number.to_string()),
            Self::Text(_) => self.text().map(str::to_owned),
            Self::Nil | Self::Table(_) => None,
        }
    }
}

/// A file with one value: `return {…};`.
pub fn one(from: impl BufRead, bounds: Bounds) -> Result<Value, Fault> {
    let mut scanner = Scanner::new(from, bounds);
    scanner.space()?;
    let word = scanner.word(|byte| byte.is_ascii_lowercase())?;
    if word != "return" {
        return Err(scanner.fault(format!("does not begin with `return`, but {word:?}")));
    }
    let value = value(&mut scanner, 0)?;
    scanner.space()?;
    scanner.take_if(b';')?;
    scanner.space()?;
    match scanner.peek()? {
        None => Ok(value),
        Some(_) => Err(scanner.fault("there is more after the value")),
    }
}

/// A file of a list that is appended to: `item({…});` again and again.
#[derive(Debug)]
pub struct List<R> {
    scanner: Scanner<R>,
}

impl<R: BufRead> List<R> {
    /// Reads from the beginning.
    pub fn new(from: R, bounds: Bounds) -> Self {
        Self { scanner: Scanner::new(from, bounds) }
    }

    /// The line of what comes next.
    pub fn line(&self) -> u64 {
        self.scanner.line()
    }

    /// The next item; none at the end. After a fault there is no next.
    pub fn item(&mut self) -> Result<Option<Value>, Fault> {
        let scanner = &mut self.scanner;
        scanner.fresh();
        scanner.space()?;
        if scanner.peek()?.is_none() {
            return Ok(None);
        }
        let word = scanner.word(|byte| byte.is_ascii_lowercase())?;
        if word != "item" {
            return Err(scanner.fault(format!("an item does not begin with `item`, but {word:?}")));
        }
        scanner.space()?;
        scanner.expect(b'(')?;
        let value = value(scanner, 0)?;
        scanner.space()?;
        scanner.expect(b')')?;
        scanner.space()?;
        scanner.take_if(b';')?;
        Ok(Some(value))
    }
}

fn value<R: BufRead>(scanner: &mut Scanner<R>, depth: usize) -> Result<Value, Fault> {
    scanner.count(depth)?;
    scanner.space()?;
    match scanner.peek()? {
        Some(b'{') => table(scanner, depth).map(Value::Table),
        Some(b'"') => text(scanner).map(Value::Text),
        Some(b'(') => fraction(scanner),
        Some(b'-' | b'0'..=b'9') => number(scanner),
        Some(b'a'..=b'z') => {
            let word = scanner.word(|byte| byte.is_ascii_alphanumeric() || byte == b'_')?;
            match word.as_str() {
                "nil" => Ok(Value::Nil),
                "true" => Ok(Value::Bool(true)),
                "false" => Ok(Value::Bool(false)),
                _ => Err(scanner.fault(format!("{word:?} is no value"))),
            }
        }
        Some(byte) => Err(scanner.fault(format!("{:?} begins no value", char::from(byte)))),
        None => Err(scanner.fault("the file ends where a value should be")),
    }
}

fn table<R: BufRead>(scanner: &mut Scanner<R>, depth: usize) -> Result<Table, Fault> {
    let mut table = Table::default();
    scanner.expect(b'{')?;
    loop {
        scanner.space()?;
        if scanner.take_if(b'}')? {
            return Ok(table);
        }
        entry(scanner, &mut table, depth.saturating_add(1))?;
        scanner.space()?;
        if !(scanner.take_if(b';')? || scanner.take_if(b',')?) {
            scanner.expect(b'}')?;
            return Ok(table);
        }
    }
}

/// `value`, `[key] = value` or `name = value`.
fn entry<R: BufRead>(
    scanner: &mut Scanner<R>,
    table: &mut Table,
    depth: usize,
) -> Result<(), Fault> {
    let key = match scanner.peek()? {
        Some(b'[') => {
            scanner.take()?;
            let key = value(scanner, depth)?;
            scanner.space()?;
            scanner.expect(b']')?;
            key
        }
        Some(b'a'..=b'z' | b'A'..=b'Z' | b'_') => {
            let word = scanner.word(|byte| byte.is_ascii_alphanumeric() || byte == b'_')?;
            let found = match word.as_str() {
                "nil" => Some(Value::Nil),
                "true" => Some(Value::Bool(true)),
                "false" => Some(Value::Bool(false)),
                _ => None,
            };
            if let Some(found) = found {
                scanner.count(depth)?;
                table.list.push(found);
                return Ok(());
            }
            Value::Text(word.into_bytes())
        }
        _ => {
            let value = value(scanner, depth)?;
            table.list.push(value);
            return Ok(());
        }
    };
    scanner.space()?;
    scanner.expect(b'=')?;
    let value = value(scanner, depth)?;
    insert(table, key, value).map_err(|what| scanner.fault(what))
}

/// Puts a value under a key; the next number of the list goes on the list.
pub fn insert(table: &mut Table, key: Value, value: Value) -> Result<(), String> {
    let key = match key {
        Value::Text(text) => Key::Text(text),
        Value::Bool(it) => Key::Bool(it),
        Value::Number(number) if number.fract() == 0.0 && number.abs() < 9e15 => {
            #[allow(clippy::cast_possible_truncation)] // it is whole, and small enough
            let number = number as i64;
            if usize::try_from(number).ok() == table.list.len().checked_add(1) {
                table.list.push(value);
                return Ok(());
            }
            Key::Int(number)
        }
        _ => return Err("a key that is neither a text nor a whole number".to_owned()),
    };
    table.map.insert(key, value);
    Ok(())
}

/// The infinities, and what is no number, as Prosody writes them: `(1/0)`, `(-1/0)`, `(0/0)`.
fn fraction<R: BufRead>(scanner: &mut Scanner<R>) -> Result<Value, Fault> {
    scanner.expect(b'(')?;
    let word = scanner.word(|byte| matches!(byte, b'0' | b'1' | b'-' | b'/'))?;
    scanner.expect(b')')?;
    match word.as_str() {
        "1/0" => Ok(Value::Number(f64::INFINITY)),
        "-1/0" => Ok(Value::Number(f64::NEG_INFINITY)),
        "0/0" => Ok(Value::Nil),
        _ => Err(scanner.fault("what is in parentheses is no number")),
    }
}

fn number<R: BufRead>(scanner: &mut Scanner<R>) -> Result<Value, Fault> {
    let word =
        scanner.word(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'+' | b'.'))?;
    match word.parse::<f64>() {
        Ok(number) if number.is_finite() => Ok(Value::Number(number)),
        _ => Err(scanner.fault(format!("{word:?} is no number"))),
    }
}

fn text<R: BufRead>(scanner: &mut Scanner<R>) -> Result<Vec<u8>, Fault> {
    let mut text = Vec::new();
    scanner.expect(b'"')?;
    loop {
        scanner.until(b'"', b'\\', &mut text)?;
        if scanner.take()? == b'"' {
            return Ok(text);
        }
        let escaped = scanner.take()?;
        text.push(match escaped {
            b'a' => 7,
            b'b' => 8,
            b'f' => 12,
            b'n' | b'\n' => b'\n',
            b'r' => b'\r',
            b't' => b'\t',
            b'v' => 11,
            b'\\' | b'"' | b'\'' => escaped,
            b'x' => hexadecimal(scanner)?,
            b'0'..=b'9' => decimal(scanner, escaped)?,
            _ => {
                let escaped = char::from(escaped);
                return Err(scanner.fault(format!("the escape \\{escaped} in a text")));
            }
        });
    }
}

/// One to three digits.
fn decimal<R: BufRead>(scanner: &mut Scanner<R>, first: u8) -> Result<u8, Fault> {
    let mut number = u16::from(first & 0x0f);
    for _ in 0..2 {
        match scanner.peek()? {
            Some(digit @ b'0'..=b'9') => {
                number = number * 10 + u16::from(digit & 0x0f);
                scanner.take()?;
            }
            _ => break,
        }
    }
    u8::try_from(number).map_err(|_| scanner.fault(format!("the escape \\{number} in a text")))
}

fn hexadecimal<R: BufRead>(scanner: &mut Scanner<R>) -> Result<u8, Fault> {
    let digits = [scanner.take()?, scanner.take()?];
    let number = std::str::from_utf8(&digits).ok().filter(|it| !it.starts_with('+'));
    number
        .and_then(|it| u8::from_str_radix(it, 16).ok())
        .ok_or_else(|| scanner.fault("the escape \\x in a text lacks two digits"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Value, Fault> {
        one(text.as_bytes(), Bounds::DEFAULT)
    }

    fn table_of(text: &str) -> Table {
        match read(text) {
            Ok(Value::Table(table)) => table,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_table_has_a_list_and_a_map() {
        let table = table_of(
            "return {\n\t[\"a\\195\\164\\n\\\"\\'\\\\\"] = 10000.0;\n\t[false] = { version = 3; };\n\t\"one\";\n\t[2] = \"two\";\n\
             \t[7] = nil;\n\t[\"inf\"] = (1/0);\n};\n",
        );
        assert_eq!(table.list, [Value::Text(b"one".to_vec()), Value::Text(b"two".to_vec())]);
        assert_eq!(table.get("aä\n\"'\\").and_then(Value::number), Some(10_000.0));
        let roster = table.map.get(&Key::Bool(false)).and_then(Value::table);
        assert_eq!(roster.and_then(|it| it.get("version")?.number()), Some(3.0));
        assert_eq!(table.map.get(&Key::Int(7)), Some(&Value::Nil));
        assert_eq!(table.get("inf"), Some(&Value::Number(f64::INFINITY)));
    }

    #[test]
    fn a_list_is_read_item_by_item_and_says_where_it_is_broken() {
        let text = "item({\n\t[\"key\"] = \"a\";\n});\nitem(\"b\");\n   item({ 1, ";
        let mut list = List::new(text.as_bytes(), Bounds::DEFAULT);
        assert!(matches!(list.item(), Ok(Some(Value::Table(_)))));
        assert_eq!(list.item(), Ok(Some(Value::Text(b"b".to_vec()))));
        let fault = list.item().expect_err("it is torn");
        assert_eq!(fault.to_string(), "line 5: the file ends where a value should be");
    }

    #[test]
    fn nothing_is_run() {
        for text in [
            "return os.execute(\"true\")",
            "return (function() end)()",
            "return {[{}] = 1}",
            "x = 1",
            "return \"a\" .. \"b\"",
            "return [[long]]",
            "return {} {}",
            "return \"\\400\"",
            "return \"\\q\"",
            "return 1e999",
            "return \"",
            "",
            "return -- comment\n1",
        ] {
            assert!(read(text).is_err(), "{text}");
        }
    }

    proptest::proptest! {
        #[test]
        fn whatever_comes_is_read_or_refused(text in r#"(return |item\()?[{}\[\]"\\'a-c0-9.;,=()\n nil-]{0,60}"#) {
            let _ = read(&text);
            let mut list = List::new(text.as_bytes(), Bounds::DEFAULT);
            while let Ok(Some(_)) = list.item() {}
        }
    }

    #[test]
    fn what_is_too_deep_too_long_or_too_much_is_refused() {
        let deep = format!("return {}{}", "{".repeat(100_000), "}".repeat(100_000));
        assert!(read(&deep).expect_err("deep").what.contains("deeper"));
        let bounds = Bounds { bytes: 1000, values: 100, depth: 10 };
        let many = format!("return {{{}}}", "1,".repeat(200));
        let fault = one(many.as_bytes(), bounds).expect_err("many");
        assert!(fault.what.contains("100 values"), "{fault}");
        let long = format!("return \"{}\"", "x".repeat(2000));
        assert!(one(long.as_bytes(), bounds).expect_err("long").what.contains("1000 bytes"));
    }
}
