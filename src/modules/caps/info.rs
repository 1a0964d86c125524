//! The answer to a question for capabilities, and the texts that are hashed.

use std::borrow::Cow;

use super::said::{Key, Method};
use super::wanted::Wanted;
use crate::stanza::Stanza;
use crate::xml::ns;
use crate::xml::view::Node;

/// What a client says that it is and can.
#[derive(Debug, Default)]
pub struct Info {
    /// Category, type, language as written, name.
    identities: Vec<[String; 4]>,
    /// The language of those that name none (XEP-0390 §4.1).
    lang: String,
    features: Vec<String>,
    forms: Vec<Form>,
    /// It has what XEP-0390 §4.1 does not allow.
    is_odd: bool,
}

/// A form of XEP-0128.
#[derive(Debug, Default)]
struct Form {
    /// Values of fields of that name and of type hidden (XEP-0068 §3.1).
    form_type: Vec<String>,
    /// Name and values, FORM_TYPE included.
    fields: Vec<(String, Vec<String>)>,
}

impl Info {
    /// Reads an answer. None if it is no such answer, or too large to be looked at.
    pub fn of(answer: &Stanza) -> Option<Self> {
        let doc = answer.element().view();
        let query = doc.root().child(NS, "query")?;
        let outer = || answer.lang().map(Cow::into_owned);
        let lang = query.lang().map(str::to_owned).or_else(outer).unwrap_or_default();
        let mut info = Self { lang, ..Self::default() };
        let mut parts = 0;
        for child in query.children() {
            parts += 1;
            if child.is(NS, "feature") {
                info.features.push(attr(child, "var"));
            } else if child.is(NS, "identity") {
                let names = ["category", "type", "xml:lang", "name"];
                info.identities.push(names.map(|name| attr(child, name)));
            } else if child.is(ns::DATA_FORM, "x") {
                let form = Form::of(child, &mut parts);
                info.is_odd |= form.is_none();
                info.forms.extend(form);
            } else {
                info.is_odd = true;
            }
            if parts > PARTS_MAX {
                return None;
            }
        }
        Some(info)
    }

    /// What this client itself wants, whatever it hashes to.
    pub fn wanted(&self) -> Wanted {
        Wanted::among(self.features.iter().map(String::as_str))
    }

    /// What all want who say this hash, if it is that of this answer. It is read from the text that is hashed,
    /// and from nothing else: where different answers make the same text, as they can with XEP-0115, all of
    /// them say the same here.
    pub fn proved(&self, key: &Key) -> Option<Wanted> {
        let text = match key.method {
            Method::One => self.text_1(),
            Method::Two => self.text_2(),
        };
        let text = text.filter(|text| key.is_of(text.as_bytes()))?;
        Some(match key.method {
            Method::One => Wanted::among(text.split('<')),
            // The features are the first of the three parts.
            Method::Two => Wanted::among(text.split('\u{1c}').next()?.split('\u{1f}')),
        })
    }

    /// XEP-0115 §5.1; none for what §5.4 calls ill-formed.
    fn text_1(&self) -> Option<String> {
        let mut identities: Vec<[&str; 4]> =
            self.identities.iter().map(|parts| parts.each_ref().map(String::as_str)).collect();
        identities.sort_unstable();
        let mut features: Vec<&str> = self.features.iter().map(String::as_str).collect();
        features.sort_unstable();
        // Rules 3.3 and 3.4.
        if has_twins(&identities) || has_twins(&features) {
            return None;
        }
        // Rule 3.6: a form without a proper FORM_TYPE is passed over.
        let mut forms: Vec<(&str, &Form)> = Vec::new();
        for form in &self.forms {
            let Some(name) = form.form_type.first() else { continue };
            // Rule 3.5.
            if form.form_type.iter().any(|other| other != name) {
                return None;
            }
            forms.push((name, form));
        }
        forms.sort_unstable_by_key(|(name, _)| *name);
        if forms.windows(2).any(|pair| matches!(pair, [one, other] if one.0 == other.0)) {
            return None;
        }
        let mut text = String::new();
        for parts in identities {
            text.push_str(&parts.join("/"));
            text.push('<');
        }
        features.iter().for_each(|feature| text.extend([*feature, "<"]));
        for (name, form) in forms {
            text.extend([name, "<"]);
            for (var, values) in form.sorted().iter().filter(|(var, _)| *var != FORM_TYPE) {
                text.extend([*var, "<"]);
                values.iter().for_each(|value| text.extend([*value, "<"]));
            }
        }
        Some(text)
    }

    /// XEP-0390 §4.1; none for what is an error there.
    fn text_2(&self) -> Option<String> {
        if self.is_odd || self.forms.iter().any(|form| form.form_type.len() != 1) {
            return None;
        }
        let features = self.features.iter().map(|feature| format!("{feature}\u{1f}"));
        let identities = self.identities.iter().map(|[category, ty, lang, name]| {
            let lang = if lang.is_empty() { &self.lang } else { lang };
            format!("{category}\u{1f}{ty}\u{1f}{lang}\u{1f}{name}\u{1f}\u{1e}")
        });
        let forms = self.forms.iter().map(|form| {
            let fields = form.sorted().into_iter().map(|(var, values)| {
                let values = values.iter().map(|value| format!("{value}\u{1f}"));
                format!("{var}\u{1f}{}\u{1e}", joined(values))
            });
            format!("{}\u{1d}", joined(fields))
        });
        let parts = [joined(features), joined(identities), joined(forms)];
        Some(parts.into_iter().map(|part| part + "\u{1c}").collect())
    }
}

impl Form {
    /// None with what XEP-0390 §4.1 rule 2 does not allow.
    fn of(x: Node<'_>, parts: &mut usize) -> Option<Self> {
        let mut form = Self::default();
        for child in x.children() {
            *parts += 1;
            let is_table = ["reported", "item"].iter().any(|name| child.is(ns::DATA_FORM, name));
            if is_table || *parts > PARTS_MAX {
                return None;
            }
            if !child.is(ns::DATA_FORM, "field") {
                continue;
            }
            let values = child.children().filter(|value| value.is(ns::DATA_FORM, "value"));
            let values: Vec<String> = values.map(|value| value.text().to_owned()).collect();
            *parts += values.len();
            let var = attr(child, "var");
            if var == FORM_TYPE && child.attr("type") == Some("hidden") {
                form.form_type.extend(values.iter().cloned());
            }
            form.fields.push((var, values));
        }
        Some(form)
    }

    /// Fields by name, values by their text.
    fn sorted(&self) -> Vec<(&str, Vec<&str>)> {
        let mut fields: Vec<(&str, Vec<&str>)> = Vec::new();
        for (var, values) in &self.fields {
            let mut values: Vec<&str> = values.iter().map(String::as_str).collect();
            values.sort_unstable();
            fields.push((var, values));
        }
        fields.sort();
        fields
    }
}

fn attr(node: Node<'_>, name: &str) -> String {
    node.attr(name).unwrap_or_default().to_owned()
}

/// In the order of their bytes.
fn joined(parts: impl Iterator<Item = String>) -> String {
    let mut parts: Vec<String> = parts.collect();
    parts.sort_unstable();
    parts.concat()
}

fn has_twins<T: PartialEq>(sorted: &[T]) -> bool {
    sorted.windows(2).any(|pair| matches!(pair, [one, other] if one == other))
}

/// What is asked, and answered.
pub const NS: &str = "http://jabber.org/protocol/disco#info";
const FORM_TYPE: &str = "FORM_TYPE";
/// Identities, features, fields and values of one answer: those of clients have a hundred.
const PARTS_MAX: usize = 2_000;

#[cfg(test)]
mod tests {
    use super::super::said::Function;
    use super::*;
    use crate::base::hash::{sha1, unbase64};
    use crate::jid::FullJid;
    use crate::stanza::Kind;

    /// What a client of the examples answers.
    fn info(query: &str) -> Info {
        let xml = format!(
            "<iq from='a@x/1' to='a@x' type='result'><query xmlns='{NS}'>{query}</query></iq>"
        );
        Info::of(&Stanza::ours(xml.into()).unwrap()).unwrap()
    }

    fn features(names: &[&str]) -> String {
        names.iter().map(|name| format!("<feature var='{name}'/>")).collect()
    }

    fn key(method: Method, function: Function, value: &str) -> Key {
        Key { method, function, value: unbase64(value).unwrap().into() }
    }

    fn nodes(wanted: &Wanted) -> Vec<&str> {
        wanted.nodes().iter().map(|node| &**node).collect()
    }

    const PROTOCOL: [&str; 4] = [
        "http://jabber.org/protocol/muc",
        "http://jabber.org/protocol/caps",
        "http://jabber.org/protocol/disco#items",
        "http://jabber.org/protocol/disco#info",
    ];
    const SOFTWARE: &str = "<x xmlns='jabber:x:data' type='result'>\
        <field var='FORM_TYPE' type='hidden'><value>urn:xmpp:dataforms:softwareinfo</value></field>\
        <field var='os'><value>Mac</value></field>\
        <field var='ip_version' type='text-multi'><value>ipv6</value><value>ipv4</value></field>\
        <field var='os_version'><value>10.5.1</value></field>\
        <field var='software'><value>Psi</value></field>\
        <field var='software_version'><value>0.11</value></field></x>";
    const PSI: &str = "<identity xml:lang='en' category='client' name='Psi 0.11' type='pc'/>\
        <identity xml:lang='el' category='client' name='\u{3a8} 0.11' type='pc'/>";

    #[test]
    fn the_examples_of_xep_0115() {
        let simple = format!(
            "<identity category='client' type='pc' name='Exodus 0.9.1'/>{}",
            features(&PROTOCOL)
        );
        let complex = format!("{SOFTWARE}{PSI}{}", features(&PROTOCOL));
        for (query, ver) in
            [(&simple, "QgayPKawpkPSDYmwT/WM94uAlu0="), (&complex, "q07IKJEyjvHSyhy//CH0CxmKi8w=")]
        {
            let key = key(Method::One, Function::Sha1, ver);
            assert!(info(query).proved(&key).is_some(), "{ver}");
            let more = format!("{query}<feature var='x'/>");
            assert!(info(&more).proved(&key).is_none(), "{ver}");
        }
    }

    #[test]
    fn the_examples_of_xep_0390() {
        let simple = format!(
            "<identity category='client' name='BombusMod' type='mobile'/>{}",
            features(&[
                "http://jabber.org/protocol/si",
                "http://jabber.org/protocol/bytestreams",
                "http://jabber.org/protocol/chatstates",
                "http://jabber.org/protocol/disco#info",
                "http://jabber.org/protocol/disco#items",
                "urn:xmpp:ping",
                "jabber:iq:time",
                "jabber:iq:privacy",
                "jabber:iq:version",
                "http://jabber.org/protocol/rosterx",
                "urn:xmpp:time",
                "jabber:x:oob",
                "http://jabber.org/protocol/ibb",
                "http://jabber.org/protocol/si/profile/file-transfer",
                "urn:xmpp:receipts",
                "jabber:iq:roster",
                "jabber:iq:last",
            ])
        );
        let complex = include_str!("../../../tests/fixtures/caps-0390.xml");
        for (query, sha_2, sha_3) in [
            (
                &*simple,
                "kzBZbkqJ3ADrj7v08reD1qcWUwNGHaidNUgD7nHpiw8=",
                "79mdYAfU9rEdTOcWDO7UEAt6E56SUzk/g6TnqUeuD9Q=",
            ),
            (
                complex,
                "u79ZroNJbdSWhdSp311mddz44oHHPsEBntQ5b1jqBSY=",
                "XpUJzLAc93258sMECZ3FJpebkzuyNXDzRNwQog8eycg=",
            ),
        ] {
            for (function, value) in [(Function::Sha256, sha_2), (Function::Sha3, sha_3)] {
                let key = key(Method::Two, function, value);
                assert!(info(query).proved(&key).is_some(), "{value}");
                let more = format!("{query}<feature var='x'/>");
                assert!(info(&more).proved(&key).is_none(), "{value}");
            }
        }
        let key = key(Method::Two, Function::Sha3, "XpUJzLAc93258sMECZ3FJpebkzuyNXDzRNwQog8eycg=");
        let wanted = info(complex).proved(&key).unwrap();
        assert_eq!(nodes(&wanted), nodes(&info(complex).wanted()));
        assert_eq!(wanted.nodes().len(), 5);
    }

    /// XEP-0390 §4.1: the language may be said further out.
    #[test]
    fn an_inherited_language_counts() {
        let identity = "<identity category='client' type='pc' name='x'/>";
        let text = |stanza: &Stanza| Info::of(stanza).unwrap().text_2().unwrap();
        let of = |iq: &str, query: &str| {
            let query = format!("<query xmlns='{NS}'{query}>{identity}</query>");
            format!("<iq from='a@x/1' to='a@x' type='result'{iq}>{query}</iq>")
        };
        let ours = |iq: &str, query: &str| text(&Stanza::ours(of(iq, query).into()).unwrap());
        let de = " xml:lang='de'";
        let own = info("<identity category='client' type='pc' name='x' xml:lang='de'/>");
        let want = own.text_2().unwrap();
        assert_eq!(ours(de, ""), want);
        assert_eq!(ours(" xml:lang='en'", de), want);
        assert_ne!(ours("", ""), want);
        let element = Stanza::ours(of("", "").into()).unwrap().element().clone();
        let jid = FullJid::parse("a@x/1").unwrap();
        let said = Stanza::from_client(Kind::Iq, element, &jid, Some(&"de".into()), None).unwrap();
        assert_eq!(text(&said), want, "of the stream");
    }

    #[test]
    fn what_is_ill_formed_proves_nothing() {
        let form = |inside: &str| format!("<x xmlns='jabber:x:data' type='result'>{inside}</x>");
        let named = |ty: &str, values: &str| {
            form(&format!("<field var='FORM_TYPE' type='{ty}'>{values}</field>"))
        };
        let twice = named("hidden", "<value>a</value><value>a</value>");
        let two = named("hidden", "<value>a</value><value>b</value>");
        let one = named("hidden", "<value>a</value>");
        for (query, text_1, text_2) in [
            // XEP-0115 §5.4 rules 3.3, 3.4, 3.5, 3.5, 3.6, 3.6.
            (PSI.replace("el", "en").replace('\u{3a8}', "Psi"), false, true),
            (features(&["a", "b", "a"]), false, true),
            (format!("{one}{one}"), false, true),
            (two, false, false),
            (twice, true, false),
            (form("<field var='x'><value>a</value></field>"), true, false),
            (named("text-single", "<value>a</value>"), true, false),
            // XEP-0390 §4.1 rules 1 and 2.
            ("<y xmlns='z'/>".to_owned(), true, false),
            (form("<reported/>"), true, false),
            (form("<item/>"), true, false),
        ] {
            let info = info(&query);
            assert_eq!(info.text_1().is_some(), text_1, "{query}");
            assert_eq!(info.text_2().is_some(), text_2, "{query}");
        }
        // A form that is passed over is not in the text.
        assert_eq!(info(&form("<field var='x'/>")).text_1().as_deref(), Some(""));
    }

    /// Different answers that make the same text of XEP-0115: features as a form, as an identity, as one
    /// feature. Whatever comes first, all who say the hash get what the text says.
    #[test]
    fn whoever_answers_first_cannot_hide_what_others_want() {
        let honest = features(&["a+notify", "b", "c+notify"]);
        let text = info(&honest).text_1().unwrap();
        let key = Key {
            method: Method::One,
            function: Function::Sha1,
            value: sha1(text.as_bytes()).into(),
        };
        let form = |of: &str, fields: &[&str]| {
            let fields: String =
                fields.iter().map(|field| format!("<field var='{field}'/>")).collect();
            format!(
                "<x xmlns='jabber:x:data' type='result'>\
                 <field var='FORM_TYPE' type='hidden'><value>{of}</value></field>{fields}</x>"
            )
        };
        for forged in [
            form("a+notify", &["b", "c+notify"]),
            features(&["a+notify&lt;b&lt;c+notify"]),
            features(&["a+notify", "b&lt;c+notify"]),
            format!("{}{}", features(&["a+notify"]), form("b", &["c+notify"])),
        ] {
            let info = info(&forged);
            let wanted = info.proved(&key).expect(&forged);
            assert_eq!(nodes(&wanted), ["a", "c"], "{forged}");
            assert_ne!(nodes(&info.wanted()), ["a", "c"], "{forged}");
        }
    }

    #[test]
    fn what_is_too_large_is_not_looked_at() {
        let many = |n: usize| {
            let query: String = (0..n).map(|n| format!("<feature var='{n}'/>")).collect();
            let xml =
                format!("<iq from='a@x/1' type='result'><query xmlns='{NS}'>{query}</query></iq>");
            Info::of(&Stanza::ours(xml.into()).unwrap())
        };
        assert!(many(PARTS_MAX).is_some());
        assert!(many(PARTS_MAX + 1).is_none());
    }
}
