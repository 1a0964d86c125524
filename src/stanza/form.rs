//! XEP-0004: Data Forms, and the FORM_TYPE of XEP-0068.

use super::StanzaError;
use crate::xml::ns;
use crate::xml::view::Node;
use crate::xml::writer::Xml;

/// A form that was submitted.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Form<'d> {
    fields: Vec<Field<'d>>,
}

/// One field of a form.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Field<'d> {
    /// Its name.
    pub var: &'d str,
    /// Its values in order; an empty one stands for none (XEP-0004 §3.6) and is left out.
    pub values: Vec<&'d str>,
}

impl<'d> Form<'d> {
    /// Reads the form in a request's payload, if there is one. It must be of type submit, and name
    /// each field once.
    pub fn submitted(payload: Node<'d>) -> Result<Option<Self>, StanzaError> {
        Self::of_type(payload, &["submit"])
    }

    /// Like [`Form::submitted`], but for commands, where `cancel` counts like `submit` (XEP-0050 §3.5.1).
    pub fn answered(payload: Node<'d>) -> Result<Option<Self>, StanzaError> {
        Self::of_type(payload, &["submit", "cancel"])
    }

    /// Like [`Form::submitted`], but for payloads with several forms.
    pub fn all_submitted(payload: Node<'d>) -> Result<Vec<Self>, StanzaError> {
        let forms = payload.children().filter(|child| child.is(ns::DATA_FORM, "x"));
        forms.map(|form| Self::of(form, &["submit"])).collect()
    }

    /// Reads the form in an element of exported data, where it may be of any type but `cancel` (XEP-0227 §4.10.1).
    pub fn moved(payload: Node<'d>) -> Result<Option<Self>, StanzaError> {
        Self::of_type(payload, &["form", "submit", "result"])
    }

    /// The same, of the form itself.
    pub fn moved_form(form: Node<'d>) -> Result<Self, StanzaError> {
        Self::of(form, &["form", "submit", "result"])
    }

    fn of_type(payload: Node<'d>, types: &[&str]) -> Result<Option<Self>, StanzaError> {
        let mut forms = payload.children().filter(|child| child.is(ns::DATA_FORM, "x"));
        let Some(form) = forms.next() else { return Ok(None) };
        if forms.next().is_some() {
            return Err(bad("more than one form"));
        }
        Self::of(form, types).map(Some)
    }

    fn of(form: Node<'d>, types: &[&str]) -> Result<Self, StanzaError> {
        if form.attr("type").is_none_or(|ty| !types.contains(&ty)) {
            return Err(bad("the form is not of type submit"));
        }
        let mut fields: Vec<Field<'d>> = Vec::new();
        for field in form.children().filter(|child| child.is(ns::DATA_FORM, "field")) {
            let Some(var) = field.attr("var") else {
                // XEP-0004 §3.2: only fixed text needs no name.
                if field.attr("type") == Some("fixed") {
                    continue;
                }
                return Err(bad("a field without a name"));
            };
            if fields.iter().any(|known| known.var == var) {
                return Err(bad("a field is there twice"));
            }
            if fields.len() >= FIELDS_MAX {
                return Err(bad("too many fields"));
            }
            let values = field.children().filter(|child| child.is(ns::DATA_FORM, "value"));
            let values = values.map(Node::text).filter(|value| !value.is_empty()).collect();
            fields.push(Field { var, values });
        }
        Ok(Self { fields })
    }

    /// The form's FORM_TYPE (XEP-0068 §3.1).
    pub fn form_type(&self) -> Option<&'d str> {
        self.values("FORM_TYPE").first().copied()
    }

    /// The fields without FORM_TYPE.
    pub fn fields(&self) -> impl Iterator<Item = &Field<'d>> {
        self.fields.iter().filter(|field| field.var != "FORM_TYPE")
    }

    /// The value of a field that has at most one (XEP-0004 §3.2).
    pub fn value(&self, var: &str) -> Result<Option<&'d str>, StanzaError> {
        match self.values(var) {
            [] => Ok(None),
            [value] => Ok(Some(value)),
            _ => Err(bad("a field has more than one value")),
        }
    }

    /// All values of a field; none if the field is missing.
    pub fn values(&self, var: &str) -> &[&'d str] {
        self.fields.iter().find(|field| field.var == var).map_or(&[], |field| &field.values)
    }
}

/// The two types of form that a server writes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Written {
    /// To be filled in.
    Form,
    /// Data that was requested.
    Result,
}

/// Opens `<x/>` with its hidden FORM_TYPE (XEP-0068 §4.2); the caller adds fields and ends it.
pub fn start(xml: &mut Xml, ty: Written, form_type: &str) {
    open(xml, ty);
    field(xml, "hidden", "FORM_TYPE", &[form_type]);
}

/// Like [`start`], but with a title instead of a FORM_TYPE, for people only.
pub fn titled(xml: &mut Xml, ty: Written, title: &str) {
    open(xml, ty);
    xml.element("title", None, title);
}

fn open(xml: &mut Xml, ty: Written) {
    let ty = match ty {
        Written::Form => "form",
        Written::Result => "result",
    };
    xml.start("x").attr("xmlns", ns::DATA_FORM).attr("type", ty);
}

/// The head of a table (XEP-0004 §3.4): names and labels of its columns.
pub fn reported(xml: &mut Xml, columns: &[(&str, &str)]) {
    xml.start("reported");
    for (var, label) in columns {
        xml.start("field").attr("var", var).attr("label", label).end();
    }
    xml.end();
}

/// A row of a table.
pub fn item(xml: &mut Xml, fields: &[(&str, &str)]) {
    xml.start("item");
    for (var, value) in fields {
        xml.start("field").attr("var", var).element("value", None, value).end();
    }
    xml.end();
}

/// A required field with these options: label and value.
pub fn choice(xml: &mut Xml, ty: &str, var: &str, label: &str, options: &[(String, String)]) {
    xml.start("field").attr("type", ty).attr("var", var).attr("label", label);
    xml.start("required").end();
    for (label, value) in options {
        xml.start("option").attr("label", label).element("value", None, value).end();
    }
    xml.end();
}

/// A field of this type with these values.
pub fn field(xml: &mut Xml, ty: &str, var: &str, values: &[&str]) {
    xml.start("field").attr("type", ty).attr("var", var);
    for value in values {
        xml.element("value", None, value);
    }
    xml.end();
}

fn bad(text: &'static str) -> StanzaError {
    StanzaError::bad_request().text(text)
}

/// Maximum number of fields; no form of ours has more. Each field is compared with those before it.
const FIELDS_MAX: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::xml::view::Doc;

    /// `type | name=value,value | …`, or the error's text.
    fn read(payload: &str) -> String {
        let xml = format!("<q xmlns='urn:q'>{payload}</q>");
        let doc = Doc::of(xml.as_bytes(), ns::CLIENT).unwrap();
        match Form::submitted(doc.root()) {
            Err(error) => error.to_string().replace("bad-request: ", "!"),
            Ok(None) => "none".to_owned(),
            Ok(Some(form)) => {
                let mut out = form.form_type().unwrap_or("-").to_owned();
                for field in form.fields() {
                    out += &format!(" | {}={}", field.var, field.values.join(","));
                }
                out
            }
        }
    }

    #[test]
    fn a_submitted_form_is_read() {
        let form = |inner: &str| format!("<x xmlns='jabber:x:data' type='submit'>{inner}</x>");
        let ty = "<field var='FORM_TYPE' type='hidden'><value>urn:q</value></field>";
        for (payload, expected) in [
            (String::new(), "none"),
            ("<x type='submit'/>".to_owned(), "none"),
            (form(""), "-"),
            (form(ty), "urn:q"),
            (form(&format!("{ty}<field var='a'><value>1</value></field>")), "urn:q | a=1"),
            (form("<field var='a'><value>1</value><value>&lt;</value></field>"), "- | a=1,<"),
            // XEP-0004 §3.6: three ways to give no value.
            (form("<field var='a'/>"), "- | a="),
            (form("<field var='a'><value/></field>"), "- | a="),
            (form("<field var='a'><value></value></field>"), "- | a="),
            (form("<title>t</title><field type='fixed'><value>x</value></field>"), "-"),
            (form("<field xmlns='urn:x' var='a'/>"), "-"),
            (form("<field><value>1</value></field>"), "!a field without a name"),
            (form("<field var='a'/><field var='a'/>"), "!a field is there twice"),
            (form("") + &form(""), "!more than one form"),
            (form("").replace("submit", "form"), "!the form is not of type submit"),
            (form("").replace("submit", "cancel"), "!the form is not of type submit"),
            (form("").replace(" type='submit'", ""), "!the form is not of type submit"),
            (
                form(&(0..65).map(|n| format!("<field var='{n}'/>")).collect::<String>()),
                "!too many fields",
            ),
        ] {
            assert_eq!(read(&payload), expected, "{payload}");
        }
    }

    #[test]
    fn a_single_field_has_one_value_at_most() {
        let xml = "<q><x xmlns='jabber:x:data' type='submit'><field var='a'><value>1</value>\
                   <value>2</value></field><field var='b'><value>3</value></field></x></q>";
        let doc = Doc::of(xml.as_bytes(), ns::CLIENT).unwrap();
        let form = Form::submitted(doc.root()).unwrap().unwrap();
        assert!(form.value("a").is_err());
        assert_eq!(form.values("a"), ["1", "2"]);
        assert_eq!((form.value("b"), form.value("c")), (Ok(Some("3")), Ok(None)));
    }

    #[test]
    fn a_form_is_written() {
        let mut xml = Xml::new();
        start(&mut xml, Written::Form, "urn:q");
        field(&mut xml, "jid-single", "with", &[]);
        field(&mut xml, "text-multi", "<", &["a", "b&"]);
        xml.end();
        assert_eq!(
            xml.into_string(),
            "<x xmlns='jabber:x:data' type='form'><field type='hidden' var='FORM_TYPE'>\
             <value>urn:q</value></field><field type='jid-single' var='with'/>\
             <field type='text-multi' var='&lt;'><value>a</value><value>b&amp;</value></field></x>"
        );
        let mut xml = Xml::new();
        start(&mut xml, Written::Result, "urn:q");
        xml.end();
        assert!(xml.into_string().starts_with("<x xmlns='jabber:x:data' type='result'><field"));
    }
}
