//! Stanza errors (RFC 6120 §8.3): the 22 defined conditions, their types and their wire form.

use std::borrow::Cow;
use std::fmt::{self, Write};

use crate::jid::BareJid;
use crate::xml::escape::{escape_attr, escape_text};

/// A stanza error, which the sender gets instead of a result; never sent in answer to an error or a result
/// (RFC 6120 §8.3.1).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StanzaError {
    /// The condition that the RFC defines for it.
    pub condition: Condition,
    /// What the sender may do about it.
    pub kind: ErrorType,
    /// A text for people who debug; programs never interpret it (RFC 6120 §8.3.2).
    pub text: Option<Cow<'static, str>>,
    /// An extension's own condition: (namespace, element name), as in RFC 6120 §8.3.4.
    pub application: Option<(&'static str, &'static str)>,
    /// What the extension's condition says besides. Boxed, as it is rare, and errors are passed on by value.
    pub detail: Option<Box<Detail>>,
    /// Whose error it is, where the address that it comes from does not say so (RFC 6120 §8.3.2). Boxed, too.
    pub by: Option<Box<BareJid>>,
}

/// What an extension's condition says besides its name: a name and a value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Detail {
    /// In an attribute.
    Attribute(&'static str, Cow<'static, str>),
    /// In an element of the same namespace.
    Child(&'static str, Cow<'static, str>),
}

/// The error type of RFC 6120 §8.3.2.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ErrorType {
    /// Retry after providing credentials.
    Auth,
    /// Do not retry: the error cannot be remedied.
    Cancel,
    /// Proceed: the condition was only a warning.
    Continue,
    /// Retry after changing the data sent.
    Modify,
    /// Retry after waiting: the error is temporary.
    Wait,
}

impl ErrorType {
    /// All five.
    pub const ALL: [Self; 5] = [Self::Auth, Self::Cancel, Self::Continue, Self::Modify, Self::Wait];

    /// The value of the 'type' attribute.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Auth => "auth",
            Self::Cancel => "cancel",
            Self::Continue => "continue",
            Self::Modify => "modify",
            Self::Wait => "wait",
        }
    }

    /// The reverse of [`Self::as_str`].
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == name)
    }
}

impl StanzaError {
    /// Adds a text for people who debug: lower case, no secrets, no content of the stanza.
    #[must_use]
    pub fn text(mut self, text: impl Into<Cow<'static, str>>) -> Self {
        self.text = Some(text.into());
        self
    }

    /// Replaces the recommended type, where the RFC leaves a choice.
    #[must_use]
    pub fn kind(mut self, kind: ErrorType) -> Self {
        self.kind = kind;
        self
    }

    /// Adds an extension's own condition (RFC 6120 §8.3.4).
    #[must_use]
    pub fn application(mut self, namespace: &'static str, name: &'static str) -> Self {
        self.application = Some((namespace, name));
        self
    }

    /// Gives the extension's condition an attribute.
    #[must_use]
    pub fn attribute(mut self, name: &'static str, value: impl Into<Cow<'static, str>>) -> Self {
        self.detail = Some(Box::new(Detail::Attribute(name, value.into())));
        self
    }

    /// Gives the extension's condition an element with this text.
    #[must_use]
    pub fn child(mut self, name: &'static str, value: impl Into<Cow<'static, str>>) -> Self {
        self.detail = Some(Box::new(Detail::Child(name, value.into())));
        self
    }

    /// Names its author.
    #[must_use]
    pub fn by(mut self, author: BareJid) -> Self {
        self.by = Some(Box::new(author));
        self
    }

    /// The new address of the recipient, as a URI; only for `gone` and `redirect`.
    #[must_use]
    pub fn address(mut self, uri: impl Into<Cow<'static, str>>) -> Self {
        if let Condition::Gone(slot) | Condition::Redirect(slot) = &mut self.condition {
            *slot = Some(uri.into());
        }
        self
    }

    /// The `<error/>` element, in the order of the schema: condition, text, application.
    pub fn to_xml(&self) -> String {
        let mut out = String::with_capacity(160);
        out.push_str("<error");
        if let Some(by) = &self.by {
            let _ = write!(out, " by='{}'", escape_attr(by.as_str()));
        }
        let _ = write!(out, " type='{}'>", self.kind.as_str());
        let name = self.condition.as_str();
        match &self.condition {
            Condition::Gone(Some(uri)) | Condition::Redirect(Some(uri)) => {
                let _ = write!(out, "<{name} xmlns='{NS}'>");
                out.push_str(&escape_text(uri));
                let _ = write!(out, "</{name}>");
            }
            _ => {
                let _ = write!(out, "<{name} xmlns='{NS}'/>");
            }
        }
        if let Some(text) = &self.text {
            let _ = write!(out, "<text xmlns='{NS}' xml:lang='en'>");
            out.push_str(&escape_text(text));
            out.push_str("</text>");
        }
        if let Some((namespace, name)) = self.application {
            let _ = write!(out, "<{name} xmlns='{namespace}'");
            let _ = match self.detail.as_deref() {
                None => out.write_str("/>"),
                Some(Detail::Attribute(of, value)) => {
                    write!(out, " {of}='{}'/>", escape_attr(value))
                }
                Some(Detail::Child(of, value)) => {
                    write!(out, "><{of}>{}</{of}></{name}>", escape_text(value))
                }
            };
        }
        out.push_str("</error>");
        out
    }
}

impl From<Condition> for StanzaError {
    fn from(condition: Condition) -> Self {
        let kind = condition.kind();
        Self { condition, kind, text: None, application: None, detail: None, by: None }
    }
}

impl fmt::Display for StanzaError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.condition.as_str())?;
        match &self.text {
            Some(text) => write!(f, ": {text}"),
            None => Ok(()),
        }
    }
}

impl std::error::Error for StanzaError {}

/// Generates the enum, the conversions from and to names, the types and the constructors from one list.
macro_rules! conditions {
    ($($(#[$doc:meta])* $variant:ident $(($content:ty, $read:ident))?,
        $constructor:ident, $name:literal, $kind:ident;)*) => {
        /// The defined conditions of RFC 6120 §8.3.3.
        #[derive(Debug, Clone, PartialEq, Eq)]
        pub enum Condition {
            $($(#[$doc])* $variant $(($content))?,)*
        }

        impl Condition {
            /// The name of the condition's element.
            pub const fn as_str(&self) -> &'static str {
                match self { $(Self::$variant { .. } => $name,)* }
            }

            /// The reverse of [`Self::as_str`]; `content` is the element's character data. An
            /// unknown name MUST be treated as `undefined-condition` (RFC 6120 §8.3.2).
            pub fn parse(name: &str, content: &str) -> Self {
                // Only the two conditions that carry an address read it.
                let _ = content;
                match name {
                    $($name => Self::$variant $(($read(content)))?,)*
                    _ => Self::UndefinedCondition,
                }
            }

            /// The type that the RFC recommends; the first one if it names two.
            pub const fn kind(&self) -> ErrorType {
                match self { $(Self::$variant { .. } => ErrorType::$kind,)* }
            }
        }

        impl StanzaError {
            $(
                #[doc = concat!("`", $name, "`, with the type that the RFC recommends.")]
                pub fn $constructor() -> Self {
                    Condition::$variant $(($read("")))?.into()
                }
            )*
        }
    };
}

/// A URI or IRI, as XML character data.
type Address = Option<Cow<'static, str>>;

conditions! {
    /// RFC 6120 §8.3.3.1: XML that breaks its schema or cannot be processed.
    BadRequest, bad_request, "bad-request", Modify;
    /// RFC 6120 §8.3.3.2: something of the same name or address exists already.
    Conflict, conflict, "conflict", Cancel;
    /// RFC 6120 §8.3.3.3: the namespace is understood, the element is not.
    FeatureNotImplemented, feature_not_implemented, "feature-not-implemented", Cancel;
    /// RFC 6120 §8.3.3.4: the requester lacks the permission.
    Forbidden, forbidden, "forbidden", Auth;
    /// RFC 6120 §8.3.3.5: the recipient has left this address for good; with its new address, if known.
    Gone(Address, read_address), gone, "gone", Cancel;
    /// RFC 6120 §8.3.3.6: our own fault.
    InternalServerError, internal_server_error, "internal-server-error", Cancel;
    /// RFC 6120 §8.3.3.7: the addressed JID or item does not exist.
    ItemNotFound, item_not_found, "item-not-found", Cancel;
    /// RFC 6120 §8.3.3.8: an address that breaks the rules of RFC 7622.
    JidMalformed, jid_malformed, "jid-malformed", Modify;
    /// RFC 6120 §8.3.3.9: understood, but it does not meet the recipient's criteria.
    NotAcceptable, not_acceptable, "not-acceptable", Modify;
    /// RFC 6120 §8.3.3.10: nobody may do this.
    NotAllowed, not_allowed, "not-allowed", Cancel;
    /// RFC 6120 §8.3.3.11: credentials are missing or wrong.
    NotAuthorized, not_authorized, "not-authorized", Auth;
    /// RFC 6120 §8.3.3.12: a local policy forbids it.
    PolicyViolation, policy_violation, "policy-violation", Modify;
    /// RFC 6120 §8.3.3.13: the recipient is away for a time.
    RecipientUnavailable, recipient_unavailable, "recipient-unavailable", Wait;
    /// RFC 6120 §8.3.3.14: another address serves this temporarily; with that address, if known.
    Redirect(Address, read_address), redirect, "redirect", Modify;
    /// RFC 6120 §8.3.3.15: the requester must register first.
    RegistrationRequired, registration_required, "registration-required", Auth;
    /// RFC 6120 §8.3.3.16: the remote domain does not exist or does not resolve.
    RemoteServerNotFound, remote_server_not_found, "remote-server-not-found", Cancel;
    /// RFC 6120 §8.3.3.17: the remote domain resolves, but no stream was established in time.
    RemoteServerTimeout, remote_server_timeout, "remote-server-timeout", Wait;
    /// RFC 6120 §8.3.3.18: the server or recipient is too busy.
    ResourceConstraint, resource_constraint, "resource-constraint", Wait;
    /// RFC 6120 §8.3.3.19: the service is not provided here.
    ServiceUnavailable, service_unavailable, "service-unavailable", Cancel;
    /// RFC 6120 §8.3.3.20: the requester must subscribe first.
    SubscriptionRequired, subscription_required, "subscription-required", Auth;
    /// RFC 6120 §8.3.3.21: none of the others; only together with an application's condition.
    UndefinedCondition, undefined_condition, "undefined-condition", Cancel;
    /// RFC 6120 §8.3.3.22: understood, but out of order.
    UnexpectedRequest, unexpected_request, "unexpected-request", Wait;
}

fn read_address(content: &str) -> Address {
    let uri = content.trim();
    (!uri.is_empty()).then(|| Cow::Owned(uri.to_owned()))
}

const NS: &str = "urn:ietf:params:xml:ns:xmpp-stanzas";

#[cfg(test)]
mod tests {
    use super::*;

    type Row = (&'static str, &'static str, fn() -> StanzaError);

    /// RFC 6120 §8.3.3.1 to §8.3.3.22, in order, each with its recommended type.
    const TABLE: [Row; 22] = [
        ("bad-request", "modify", StanzaError::bad_request),
        ("conflict", "cancel", StanzaError::conflict),
        ("feature-not-implemented", "cancel", StanzaError::feature_not_implemented),
        ("forbidden", "auth", StanzaError::forbidden),
        ("gone", "cancel", StanzaError::gone),
        ("internal-server-error", "cancel", StanzaError::internal_server_error),
        ("item-not-found", "cancel", StanzaError::item_not_found),
        ("jid-malformed", "modify", StanzaError::jid_malformed),
        ("not-acceptable", "modify", StanzaError::not_acceptable),
        ("not-allowed", "cancel", StanzaError::not_allowed),
        ("not-authorized", "auth", StanzaError::not_authorized),
        ("policy-violation", "modify", StanzaError::policy_violation),
        ("recipient-unavailable", "wait", StanzaError::recipient_unavailable),
        ("redirect", "modify", StanzaError::redirect),
        ("registration-required", "auth", StanzaError::registration_required),
        ("remote-server-not-found", "cancel", StanzaError::remote_server_not_found),
        ("remote-server-timeout", "wait", StanzaError::remote_server_timeout),
        ("resource-constraint", "wait", StanzaError::resource_constraint),
        ("service-unavailable", "cancel", StanzaError::service_unavailable),
        ("subscription-required", "auth", StanzaError::subscription_required),
        ("undefined-condition", "cancel", StanzaError::undefined_condition),
        ("unexpected-request", "wait", StanzaError::unexpected_request),
    ];

    #[test]
    fn every_condition_of_rfc_6120_8_3_3_goes_both_ways() {
        for (name, kind, constructor) in TABLE {
            let error = constructor();
            assert_eq!(error.condition.as_str(), name);
            assert_eq!(error.kind.as_str(), kind, "{name}");
            assert_eq!(ErrorType::parse(kind), Some(error.kind));
            assert_eq!(Condition::parse(name, ""), error.condition);
            assert_eq!(
                error.to_xml(),
                format!("<error type='{kind}'><{name} xmlns='{NS}'/></error>")
            );
            let xml = error.text("a & b \u{0} \u{ffff} ]]>").to_xml();
            assert!(roxmltree::Document::parse(&xml).is_ok(), "{xml}");
        }
    }

    #[test]
    fn an_unknown_condition_is_undefined_as_rfc_6120_8_3_2_demands() {
        assert_eq!(Condition::parse("no-such", ""), Condition::UndefinedCondition);
        assert_eq!(ErrorType::parse("no-such"), None);
    }

    #[test]
    fn gone_and_redirect_carry_an_address_and_the_others_do_not() {
        let uri = "xmpp:la-mer@example.com?a&b";
        let gone = StanzaError::gone().address(uri);
        assert_eq!(gone.condition, Condition::parse("gone", &format!("\n  {uri}\n")));
        assert!(
            gone.to_xml()
                .contains(&format!("<gone xmlns='{NS}'>xmpp:la-mer@example.com?a&amp;b</gone>"))
        );
        assert!(StanzaError::redirect().address(uri).to_xml().contains("</redirect>"));
        assert_eq!(StanzaError::conflict().address(uri), StanzaError::conflict());
    }

    #[test]
    fn the_whole_element_stands_in_the_order_of_the_schema() {
        let error = StanzaError::policy_violation()
            .kind(ErrorType::Wait)
            .text("too <fast>")
            .application("urn:xmpp:errors", "slow-down");
        assert_eq!(
            error.to_xml(),
            format!(
                "<error type='wait'><policy-violation xmlns='{NS}'/>\
                 <text xmlns='{NS}' xml:lang='en'>too &lt;fast&gt;</text>\
                 <slow-down xmlns='urn:xmpp:errors'/></error>"
            )
        );
        assert_eq!(error.to_string(), "policy-violation: too <fast>");
        let error = StanzaError::conflict().application("urn:e", "gone").attribute("of", "a'b");
        let end = "<gone xmlns='urn:e' of='a&apos;b'/></error>";
        assert!(error.to_xml().ends_with(end), "{}", error.to_xml());
        let error = StanzaError::conflict().application("urn:e", "large").child("max", "1<2");
        let end = "<large xmlns='urn:e'><max>1&lt;2</max></large></error>";
        assert!(error.to_xml().ends_with(end), "{}", error.to_xml());
        let error = StanzaError::conflict().by(BareJid::parse("hall@x").unwrap());
        assert!(error.to_xml().starts_with("<error by='hall@x' type='cancel'>"));
    }
}
