//! XEP-0160: messages for those who are offline. The keeping itself is older than the modules:
//! `router` queues the row, the archive or the mailbox holds it, and the session that takes messages
//! claims it.

use super::api::{Module, On, Spec};
use crate::xml::ns;

/// The module.
pub const MODULE: Module = Module {
    name: "offline",
    specs: &[
        Spec::whole("XEP-0160", "1.0.1", "transcripts/0160-offline.scs"),
        Spec::whole("XEP-0203", "2.0", "transcripts/0160-offline.scs"),
        Spec::whole("XEP-0085", "2.1", "transcripts/0160-not-stored.scs"),
        Spec::whole("XEP-0334", "1.0.0", "transcripts/0160-not-stored.scs"),
    ],
    // XEP-0160 §4
    features: &[
        On::Server("msgoffline"),
        // XEP-0359 §5: ids that claim to be ours are removed on every domain.
        On::Server(ns::STANZA_ID),
        On::Account(ns::STANZA_ID),
    ],
    ..Module::EMPTY
};
