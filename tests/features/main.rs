//! Everything that is tested over real sockets, in one binary (one link instead of twenty).
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::disallowed_methods,
    missing_docs
)]

mod administration;
mod archive;
mod archive_preferences;
mod audit;
mod avatar;
mod backup;
mod bind;
mod bind2;
mod blocking;
mod bookmarks;
mod bosh;
mod c2s_stream;
mod caps;
mod carbons;
mod claims;
mod cli;
mod clock;
mod commands;
mod config;
mod csi;
mod damaged_rows;
mod devices;
mod durability;
mod fairness;
mod fast;
mod guesses;
mod harness;
mod harness_self;
mod history;
mod http_floods;
mod http_input;
mod invitations;
mod kill;
mod limits;
mod logins;
mod metrics;
mod migration;
mod muc;
mod muc_activity;
mod muc_admin;
mod muc_affiliations;
mod muc_archive;
mod muc_bounds;
mod muc_disco;
mod muc_entry;
mod muc_faults;
mod muc_find;
mod muc_invite;
mod muc_kill;
mod muc_looks;
mod muc_moderation;
mod muc_operator;
mod muc_phones;
mod muc_quota;
mod muc_register;
mod overdue;
mod overload;
mod pages;
mod pep;
mod power_cut;
mod private;
mod probe;
mod proxies;
mod pubsub_service;
mod push;
mod quota;
mod read_marks;
mod register;
mod reports;
mod restart;
mod resumption;
mod retraction;
mod s2s_admin;
mod sasl;
mod sasl2;
mod search;
mod security;
mod services;
mod shutdown;
mod silent;
mod stanza_ids;
mod storage_faults;
mod strangers;
mod stream_management;
mod surface;
mod team_rooms;
mod teams;
mod tls;
mod transcripts;
mod unicode;
mod upgrade;
mod upload;
mod upload_ends;
mod vcard;
mod websocket;
mod websocket_cases;
mod xml;
