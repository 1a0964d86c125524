//! What a request to register holds, and what is asked for: as fields of the XEP, and as a data form (§4).

use crate::stanza::StanzaError;
use crate::stanza::form;
use crate::stanza::iq::Iq;
use crate::xml::ns;
use crate::xml::writer::Xml;

/// The namespace of the requests, and the FORM_TYPE of the form (§13.4.1).
pub(super) const NS: &str = "jabber:iq:register";

/// The contents of `<query/>`. No `Debug`: it holds a password.
pub(super) struct Form {
    pub(super) username: Option<String>,
    pub(super) password: Option<String>,
    pub(super) remove: bool,
    pub(super) children: usize,
}

impl Form {
    /// §6: the form goes before the fields.
    pub(super) fn read(iq: &Iq) -> Result<Self, StanzaError> {
        let doc = iq.stanza().element().view();
        let query = doc.root().first_child();
        let remove = query.is_some_and(|query| query.child(NS, "remove").is_some());
        let children = query.map_or(0, |query| query.children().count());
        let submitted = query.map(form::Form::submitted).transpose()?.flatten();
        let Some(form) = submitted else {
            let text = |name| query?.child_text(NS, name).map(str::to_owned);
            let (username, password) = (text("username"), text("password"));
            return Ok(Self { username, password, remove, children });
        };
        // XEP-0068 §3.1. §13.4.3: the form to change a password has a type of its own.
        if form.form_type().is_some_and(|ty| ty != NS && ty != CHANGE) {
            return Err(StanzaError::bad_request().text("the form is not one of registration"));
        }
        let text = |name| form.value(name).map(|text| text.map(str::to_owned));
        Ok(Self { username: text("username")?, password: text("password")?, remove, children })
    }
}

/// §3.1 and §4: the fields, then the form with the same; `name` is there already.
pub(super) fn asks(instructions: &str, name: &str) -> Vec<u8> {
    let mut xml = Xml::new();
    xml.start("query")
        .attr("xmlns", NS)
        .element("instructions", None, instructions)
        .element("username", None, name)
        .element("password", None, "");
    xml.start("x").attr("xmlns", ns::DATA_FORM).attr("type", "form");
    xml.element("instructions", None, instructions);
    form::field(&mut xml, "hidden", "FORM_TYPE", &[NS]);
    for (ty, var, label, value) in [
        ("text-single", "username", "Username", name),
        ("text-private", "password", "Password", ""),
    ] {
        xml.start("field").attr("type", ty).attr("var", var).attr("label", label);
        xml.start("required").end();
        if !value.is_empty() {
            xml.element("value", None, value);
        }
        xml.end();
    }
    xml.end().end();
    xml.finish().to_vec()
}

/// §13.4.3
const CHANGE: &str = "jabber:iq:register:changepassword";
