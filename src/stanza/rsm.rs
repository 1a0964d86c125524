//! XEP-0059: Result Set Management.

use super::StanzaError;
use crate::xml::ns;
use crate::xml::view::Node;
use crate::xml::writer::Xml;

/// The requested page.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Rsm {
    /// Maximum number of items; 0 requests only their number (§2.7).
    pub max: Option<usize>,
    /// Items after this one (§2.2).
    pub after: Option<String>,
    /// The last items before this one (§2.3); if empty, the last of all items (§2.5).
    pub before: Option<String>,
    /// Items starting at this position (§2.6).
    pub index: Option<usize>,
}

impl Rsm {
    /// Reads the `<set/>` in a request's payload; the default if there is none.
    pub fn read(payload: Node<'_>) -> Result<Self, StanzaError> {
        let mut sets = payload.children().filter(|child| child.is(ns::RSM, "set"));
        let Some(set) = sets.next() else { return Ok(Self::default()) };
        if sets.next().is_some() {
            return Err(bad("more than one result set"));
        }
        let rsm = Self {
            max: only(set, "max")?.map(number).transpose()?,
            // An empty one names no item, so the page starts at the first, as without it.
            after: only(set, "after")?.filter(|id| !id.is_empty()).map(str::to_owned),
            before: only(set, "before")?.map(str::to_owned),
            index: only(set, "index")?.map(number).transpose()?,
        };
        // §2.6: an index is for clients that know no item next to the page.
        if rsm.index.is_some() && (rsm.after.is_some() || rsm.before.is_some()) {
            return Err(bad("an index beside before or after"));
        }
        Ok(rsm)
    }
}

/// The `<set/>` of an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Set<'a> {
    /// The first and the last item of the page; none if it is empty.
    pub edges: Option<(&'a str, &'a str)>,
    /// The position of the first item in the whole result.
    pub index: Option<usize>,
    /// The number of items in the whole result.
    pub count: Option<usize>,
}

impl Set<'_> {
    /// Writes `<set/>` (§2.2).
    pub fn write(&self, xml: &mut Xml) {
        xml.start("set").attr("xmlns", ns::RSM);
        if let Some((first, last)) = self.edges {
            let index = self.index.map(|index| index.to_string());
            xml.start("first").attr_opt("index", index.as_deref()).text(first).end();
            xml.element("last", None, last);
        }
        if let Some(count) = self.count {
            xml.element("count", None, &count.to_string());
        }
        xml.end();
    }
}

/// Returns the text of a child that may occur only once (§8).
fn only<'d>(set: Node<'d>, name: &str) -> Result<Option<&'d str>, StanzaError> {
    let mut found = set.children().filter(|child| child.is(ns::RSM, name));
    let first = found.next().map(|child| child.text().trim());
    if found.next().is_some() {
        return Err(bad("an element of the result set is there twice"));
    }
    Ok(first)
}

/// Reads digits; a number that is too large becomes `usize::MAX`.
fn number(text: &str) -> Result<usize, StanzaError> {
    // An XML Schema int may start with a plus.
    let digits = text.strip_prefix('+').unwrap_or(text);
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(bad("not a number of items"));
    }
    Ok(digits.parse().unwrap_or(usize::MAX))
}

fn bad(text: &'static str) -> StanzaError {
    StanzaError::bad_request().text(text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::xml::view::Doc;

    fn read(payload: &str) -> Result<Rsm, String> {
        let xml = format!("<q xmlns='urn:q'>{payload}</q>");
        let doc = Doc::of(xml.as_bytes(), ns::CLIENT).unwrap();
        Rsm::read(doc.root()).map_err(|error| error.condition.as_str().to_owned())
    }

    #[test]
    fn a_set_is_read() {
        let none = Rsm::default;
        let id = |id: &str| Some(id.to_owned());
        for (inner, expected) in [
            ("", none()),
            ("<max>10</max>", Rsm { max: Some(10), ..none() }),
            ("<max> 010\n</max>", Rsm { max: Some(10), ..none() }),
            ("<max>+1</max>", Rsm { max: Some(1), ..none() }),
            ("<max>0</max>", Rsm { max: Some(0), ..none() }),
            ("<max>99999999999999999999999999</max>", Rsm { max: Some(usize::MAX), ..none() }),
            ("<after>a&amp;b</after>", Rsm { after: id("a&b"), ..none() }),
            ("<after/>", none()),
            ("<before/><max>5</max>", Rsm { before: id(""), max: Some(5), ..none() }),
            ("<before>x</before>", Rsm { before: id("x"), ..none() }),
            // XEP-0313 §9 leaves the combination undefined; a server may treat it as a range.
            ("<after>a</after><before/>", Rsm { after: id("a"), before: id(""), ..none() }),
            ("<index>371</index>", Rsm { index: Some(371), ..none() }),
            ("<count>3</count><colour xmlns='urn:x'/><max xmlns='urn:x'>-1</max>", none()),
        ] {
            let set = format!("<set xmlns='http://jabber.org/protocol/rsm'>{inner}</set>");
            assert_eq!(read(&set), Ok(expected), "{inner}");
        }
        assert_eq!(read("<set/>"), Ok(none()));
    }

    #[test]
    fn garbage_is_a_bad_request() {
        for inner in [
            "<max/>",
            "<max>-1</max>",
            "<max>ten</max>",
            "<max>1.5</max>",
            "<max>0x10</max>",
            "<max>١</max>",
            "<max>++1</max>",
            "<max>1 0</max>",
            "<index>-1</index>",
            "<index/>",
            "<max>1</max><max>1</max>",
            "<after>a</after><after>b</after>",
            "<before/><before/>",
            "<index>1</index><after>a</after>",
            "<index>1</index><before/>",
        ] {
            let set = format!("<set xmlns='http://jabber.org/protocol/rsm'>{inner}</set>");
            assert_eq!(read(&set), Err("bad-request".to_owned()), "{inner}");
        }
        let twice = "<set xmlns='http://jabber.org/protocol/rsm'/>".repeat(2);
        assert_eq!(read(&twice), Err("bad-request".to_owned()));
    }

    #[test]
    fn a_set_is_written() {
        let edges = Some(("a&", "b"));
        for (set, inner) in [
            (Set::default(), ""),
            (Set { count: Some(0), ..Set::default() }, "<count>0</count>"),
            // An empty page has no first item to give an index for.
            (Set { index: Some(3), ..Set::default() }, ""),
            (Set { edges, ..Set::default() }, "<first>a&amp;</first><last>b</last>"),
            (
                Set { edges, index: Some(0), count: Some(9) },
                "<first index='0'>a&amp;</first><last>b</last><count>9</count>",
            ),
        ] {
            let mut xml = Xml::new();
            set.write(&mut xml);
            let open = "<set xmlns='http://jabber.org/protocol/rsm'";
            let expected = match inner {
                "" => format!("{open}/>"),
                _ => format!("{open}>{inner}</set>"),
            };
            assert_eq!(xml.into_string(), expected);
        }
    }
}
