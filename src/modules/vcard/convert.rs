//! XEP-0292 §11: vcard-temp as vCard4, and back. Each side keeps what only it can say.

use std::borrow::Cow;

use super::property::{FOUR, Property, TEMP};
use crate::xml::view::{Doc, Node};
use crate::xml::writer::Xml;

/// A vCard of vcard-temp in the form of vCard4. What the one before said in more detail stays as it was if it
/// did not change, and so does what vcard-temp has no words for.
pub fn to_four(temp: Node<'_>, before: Option<&[u8]>) -> Vec<u8> {
    let form =
        Form { ns: FOUR, root: "vcard", read: Property::of_four, write: Property::write_four };
    form.merged(temp.children().filter_map(Property::of_temp), before)
}

/// The reverse of [`to_four`].
pub fn to_temp(four: Node<'_>, before: Option<&[u8]>) -> Vec<u8> {
    let form =
        Form { ns: TEMP, root: "vCard", read: Property::of_temp, write: Property::write_temp };
    form.merged(four.children().filter_map(Property::of_four), before)
}

/// The form that is written.
struct Form {
    ns: &'static str,
    root: &'static str,
    read: fn(Node<'_>) -> Option<Property>,
    write: fn(&Property, &mut Xml),
}

impl Form {
    fn merged(&self, new: impl Iterator<Item = Property>, before: Option<&[u8]>) -> Vec<u8> {
        let doc = before.and_then(|before| Doc::of(before, self.ns).ok());
        let old = doc.iter().flat_map(|doc| doc.root().children());
        let mut old: Vec<_> = old.map(|node| (node, (self.read)(node))).collect();
        let mut xml = Xml::new();
        xml.start(self.root).attr("xmlns", self.ns);
        for property in new.filter(|property| !property.is_empty()) {
            let says = |old: &Option<Property>| old.as_ref().is_some_and(|old| old.says(&property));
            match old.iter().position(|(_, old)| says(old)) {
                Some(at) => _ = xml.raw(within(old.remove(at).0, self.ns).as_bytes()),
                None => (self.write)(&property, &mut xml),
            }
        }
        for (node, _) in old.iter().filter(|(_, property)| property.is_none()) {
            xml.raw(within(*node, self.ns).as_bytes());
        }
        xml.end();
        xml.finish().to_vec()
    }
}

/// An element as it can stand within one whose default namespace is `ns`.
pub fn within<'d>(node: Node<'d>, ns: &str) -> Cow<'d, str> {
    let raw = node.raw();
    // One that is too much for a stanza is left out.
    let Some(alone) = node.standalone() else { return Cow::Borrowed("") };
    let name = raw.find([' ', '\t', '\r', '\n', '/', '>']).unwrap_or(raw.len());
    let rest = alone.get(name..).and_then(|rest| rest.strip_prefix(&format!(" xmlns='{ns}'")));
    // Nothing else was declared around it.
    if rest.is_some() && rest == raw.get(name..) {
        Cow::Borrowed(raw)
    } else {
        alone.into_owned().into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn four(inner: &str, before: Option<&str>) -> String {
        let temp = format!("<vCard xmlns='vcard-temp'>{inner}</vCard>");
        let before = before.map(|inner| format!("<vcard xmlns='{FOUR}'>{inner}</vcard>"));
        let doc = Doc::of(temp.as_bytes(), "").unwrap();
        let made = to_four(doc.root(), before.as_ref().map(String::as_bytes));
        inside(&made, &format!("<vcard xmlns='{FOUR}'"))
    }

    fn temp(inner: &str, before: Option<&str>) -> String {
        let four = format!("<vcard xmlns='{FOUR}'>{inner}</vcard>");
        let before = before.map(|inner| format!("<vCard xmlns='vcard-temp'>{inner}</vCard>"));
        let doc = Doc::of(four.as_bytes(), "").unwrap();
        let made = to_temp(doc.root(), before.as_ref().map(String::as_bytes));
        inside(&made, "<vCard xmlns='vcard-temp'")
    }

    fn inside(vcard: &[u8], head: &str) -> String {
        let text = std::str::from_utf8(vcard).unwrap().strip_prefix(head).unwrap();
        let text = text.strip_prefix('>').unwrap_or("");
        text.rsplit_once("</").map_or(String::new(), |(inner, _)| inner.to_owned())
    }

    /// XEP-0292 §11.1 to §11.4.
    const BOTH: &[(&str, &str)] = &[
        ("<FN>Peter &amp; Co</FN>", "<fn><text>Peter &amp; Co</text></fn>"),
        (
            "<N><FAMILY>Saint-Andre</FAMILY><GIVEN>Peter</GIVEN><MIDDLE>M</MIDDLE><PREFIX>Mr</PREFIX>\
             <SUFFIX>Jr</SUFFIX></N>",
            "<n><surname>Saint-Andre</surname><given>Peter</given><additional>M</additional>\
             <prefix>Mr</prefix><suffix>Jr</suffix></n>",
        ),
        ("<NICKNAME>stpeter</NICKNAME>", "<nickname><text>stpeter</text></nickname>"),
        ("<BDAY>1966-08-06</BDAY>", "<bday><date>1966-08-06</date></bday>"),
        (
            "<BDAY>1966-08-06T01:02:03Z</BDAY>",
            "<bday><date-time>1966-08-06T01:02:03Z</date-time></bday>",
        ),
        (
            "<ADR><HOME/><WORK/><PREF/><POBOX>1</POBOX><EXTADD>2</EXTADD><STREET>3</STREET>\
             <LOCALITY>4</LOCALITY><REGION>5</REGION><PCODE>6</PCODE><CTRY>7</CTRY></ADR>",
            "<adr><parameters><type><text>home</text><text>work</text></type><pref><integer>1</integer></pref>\
             </parameters><pobox>1</pobox><ext>2</ext><street>3</street><locality>4</locality>\
             <region>5</region><code>6</code><country>7</country></adr>",
        ),
        (
            "<TEL><WORK/><VOICE/><FAX/><CELL/><VIDEO/><PAGER/><NUMBER>303</NUMBER></TEL>",
            "<tel><parameters><type><text>work</text><text>voice</text><text>fax</text><text>cell</text>\
             <text>video</text><text>pager</text></type></parameters><uri>tel:303</uri></tel>",
        ),
        (
            "<EMAIL><PREF/><USERID>a@b</USERID></EMAIL>",
            "<email><parameters><pref><integer>1</integer></pref></parameters><text>a@b</text></email>",
        ),
        ("<JABBERID>a@b</JABBERID>", "<impp><uri>xmpp:a@b</uri></impp>"),
        ("<TZ>America/Denver</TZ>", "<tz><text>America/Denver</text></tz>"),
        (
            "<GEO><LAT>39.59</LAT><LON>-105.01</LON></GEO>",
            "<geo><uri>geo:39.59,-105.01</uri></geo>",
        ),
        ("<TITLE>t</TITLE>", "<title><text>t</text></title>"),
        ("<ROLE>r</ROLE>", "<role><text>r</text></role>"),
        ("<LOGO><EXTVAL>http://x/l</EXTVAL></LOGO>", "<logo><uri>http://x/l</uri></logo>"),
        (
            "<LOGO><TYPE>image/png</TYPE><BINVAL>AAAA</BINVAL></LOGO>",
            "<logo><uri>data:image/png;base64,AAAA</uri></logo>",
        ),
        (
            "<ORG><ORGNAME>o</ORGNAME><ORGUNIT>u</ORGUNIT><ORGUNIT>v</ORGUNIT></ORG>",
            "<org><text>o</text><text>u</text><text>v</text></org>",
        ),
        (
            "<CATEGORIES><KEYWORD>k</KEYWORD><KEYWORD>l</KEYWORD></CATEGORIES>",
            "<categories><text>k</text><text>l</text></categories>",
        ),
        ("<DESC>d\n e</DESC>", "<note><text>d\n e</text></note>"),
        ("<PRODID>p</PRODID>", "<prodid><text>p</text></prodid>"),
        ("<REV>2012</REV>", "<rev><timestamp>2012</timestamp></rev>"),
        ("<SOUND><EXTVAL>http://x/s</EXTVAL></SOUND>", "<sound><uri>http://x/s</uri></sound>"),
        ("<UID>u</UID>", "<uid><uri>u</uri></uid>"),
        ("<URL>http://x/</URL>", "<url><uri>http://x/</uri></url>"),
        ("<KEY><CRED>k</CRED></KEY>", "<key><text>k</text></key>"),
    ];

    #[test]
    fn both_forms_say_the_same() {
        for (old, new) in BOTH {
            assert_eq!(four(old, None), *new);
            assert_eq!(temp(new, None), *old);
        }
        let (all_old, all_new): (String, String) = BOTH.iter().copied().unzip();
        assert_eq!(
            (four(&all_old, None), temp(&all_new, None)),
            (all_new, all_old),
            "in their order"
        );
    }

    /// Other spellings, of which only one is written.
    #[test]
    fn spellings_are_read() {
        for (new, old) in [
            ("<tel><text>1</text></tel>", "<TEL><NUMBER>1</NUMBER></TEL>"),
            ("<tel>\n<uri>\ntel:1\n</uri></tel>", "<TEL><NUMBER>1</NUMBER></TEL>"),
            (
                "<email><parameters><pref>1</pref><type><text>Work</text><text>odd</text></type></parameters>\
                 <text>a</text></email>",
                "<EMAIL><WORK/><PREF/><USERID>a</USERID></EMAIL>",
            ),
            ("<uid><text>u</text></uid>", "<UID>u</UID>"),
            ("<tz><utc-offset>-0700</utc-offset></tz>", "<TZ>-0700</TZ>"),
            ("<geo><uri>geo:1,2;u=3</uri></geo>", "<GEO><LAT>1</LAT><LON>2</LON></GEO>"),
        ] {
            assert_eq!(temp(new, None), old);
        }
        let logo = "<LOGO><TYPE>image/png</TYPE><BINVAL>\n AA\n AA\n</BINVAL></LOGO>";
        assert_eq!(four(logo, None), "<logo><uri>data:image/png;base64,AAAA</uri></logo>");
        assert_eq!(four("<NOTE>n</NOTE>", None), "<note><text>n</text></note>");
    }

    /// §11.1 to §11.5: of these one form has nothing.
    #[test]
    fn what_has_no_counterpart_is_not_written() {
        for old in [
            "<MAILER>m</MAILER>",
            "<LABEL><LINE>l</LINE></LABEL>",
            "<CLASS><PUBLIC/></CLASS>",
            "<AGENT><vCard><FN>a</FN></vCard></AGENT>",
            "<PHOTO><TYPE>image/png</TYPE><BINVAL>AAAA</BINVAL></PHOTO>",
            "<SOUND><PHONETIC>p</PHONETIC></SOUND>",
            "<TEL><WORK/><FAX/><NUMBER/></TEL>",
            "<ORG/><N/><FN> </FN><other xmlns='o'/>",
        ] {
            assert_eq!(four(old, None), "", "{old}");
        }
        for new in [
            "<gender><sex><text>M</text></sex></gender>",
            "<impp><uri>sip:a@b</uri></impp>",
            "<geo><uri>here</uri></geo>",
            "<photo><uri>http://x/p</uri></photo>",
        ] {
            assert_eq!(temp(new, None), "", "{new}");
        }
    }

    /// So that a client that knows one form only takes nothing away that it could not see.
    #[test]
    fn each_form_keeps_what_only_it_says() {
        let kept = format!("<gender xmlns='{FOUR}'><sex><text>M</text></sex></gender>");
        let detail = format!(
            "<email xmlns='{FOUR}'><parameters><pid><text>1</text></pid></parameters><text>a</text></email>"
        );
        let before = format!("<fn><text>Old</text></fn>{kept}{detail}");
        let set = "<FN>New</FN><EMAIL><INTERNET/><USERID>a</USERID></EMAIL>";
        assert_eq!(four(set, Some(&before)), format!("<fn><text>New</text></fn>{detail}{kept}"));
        let changed = "<EMAIL><USERID>b</USERID></EMAIL>";
        assert_eq!(four(changed, Some(&before)), format!("<email><text>b</text></email>{kept}"));

        let mailer = "<MAILER xmlns='vcard-temp'>m</MAILER>";
        let note = "<NOTE xmlns='vcard-temp'>n</NOTE>";
        let tel = "<TEL xmlns='vcard-temp'><MSG/><NUMBER>1</NUMBER></TEL>";
        let before = format!("<FN>Old</FN>{mailer}{note}{tel}");
        let published =
            "<note><text>n</text></note><tel><uri>tel:1</uri></tel><fn><text>New</text></fn>";
        assert_eq!(temp(published, Some(&before)), format!("{note}{tel}<FN>New</FN>{mailer}"));
        assert_eq!(temp("", Some("<FN>Old</FN>")), "");
        assert_eq!(temp("<fn><text>a</text></fn>", Some("")), "<FN>a</FN>");
    }
}
