//! The words that a query searches for (XEP-0431).

use crate::stanza::StanzaError;
use crate::stanza::form::Form;
use crate::store::search::words::{Refused, SearchTerms};

/// The search words of a form; an empty field counts as none (§2.2).
pub(super) fn search_terms(form: &Form<'_>) -> Result<Option<SearchTerms>, StanzaError> {
    let Some(text) = form.value(FIELD)?.filter(|text| !text.trim().is_empty()) else {
        return Ok(None);
    };
    let text = match SearchTerms::read(text) {
        Ok(search_terms) => return Ok(Some(search_terms)),
        Err(Refused::TooLong) => "the text to search for is too long",
        Err(Refused::TooMany) => "there are too many words to search for",
    };
    Err(StanzaError::policy_violation().text(text))
}

/// §3.1
pub(super) const FIELD: &str = "{urn:xmpp:fulltext:0}fulltext";
