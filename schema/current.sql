-- Generated from a migrated database; a test compares.

CREATE TABLE account (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    localpart TEXT NOT NULL,
    host TEXT NOT NULL,
    disabled INTEGER NOT NULL DEFAULT 0,
    -- Rises with every change of the credentials, so that what an old password opened can be shut.
    epoch INTEGER NOT NULL DEFAULT 1,
    created INTEGER NOT NULL,
    roster_ver INTEGER NOT NULL DEFAULT 0,
    -- XEP-0012: when the last available resource left, and its status text.
    last_logout INTEGER,
    last_status TEXT, removed INTEGER, role INTEGER NOT NULL DEFAULT 0,
    UNIQUE (host, localpart)
) STRICT;

CREATE INDEX account_removed ON account (removed) WHERE removed IS NOT NULL;

CREATE INDEX account_role ON account (role) WHERE role > 0;

CREATE TABLE archive (
    -- The place: rising, unique in the server, and the time in microseconds as near as that allows.
    seq INTEGER NOT NULL PRIMARY KEY,
    -- Without a foreign key: a deleted account's rows go in small batches, see archive_left.
    archive INTEGER NOT NULL,
    -- The other side's bare JID, and its resourcepart or ''.
    peer TEXT NOT NULL,
    resource TEXT NOT NULL,
    -- 0: sent by the account. 1: received. 2: received, and owed to it until confirmed.
    kind INTEGER NOT NULL,
    size INTEGER NOT NULL,
    stanza BLOB NOT NULL
, short_id INTEGER, at INTEGER NOT NULL DEFAULT 0) STRICT;

CREATE TABLE archive_back (
    archive INTEGER NOT NULL,
    seq INTEGER NOT NULL,
    PRIMARY KEY (archive, seq)
) STRICT, WITHOUT ROWID;

CREATE TABLE archive_exception (
    account INTEGER NOT NULL REFERENCES archive_policy (account) ON DELETE CASCADE,
    jid TEXT NOT NULL,
    -- 1: always kept. 0: never.
    kept INTEGER NOT NULL,
    PRIMARY KEY (account, jid)
) STRICT;

CREATE TABLE archive_indexed (
    archive INTEGER NOT NULL PRIMARY KEY,
    -- Rows of the archive are in the index if newest >= seq > oldest. What came before the first search
    -- follows behind, the newest of it first; 0 when there is no more.
    newest INTEGER NOT NULL,
    oldest INTEGER NOT NULL
) STRICT;

CREATE TABLE archive_left (
    archive INTEGER NOT NULL PRIMARY KEY,
    since INTEGER NOT NULL
) STRICT;

CREATE TABLE archive_mark (
    account INTEGER NOT NULL PRIMARY KEY REFERENCES account (id) ON DELETE CASCADE,
    seq INTEGER NOT NULL
) STRICT;

CREATE TABLE archive_place (
    archive INTEGER NOT NULL,
    seq INTEGER NOT NULL,
    -- What the mailbox counts.
    kind INTEGER NOT NULL,
    size INTEGER NOT NULL, at INTEGER NOT NULL DEFAULT 0,
    PRIMARY KEY (archive, seq)
) STRICT, WITHOUT ROWID;

CREATE TABLE archive_placed (
    seq INTEGER NOT NULL PRIMARY KEY
, at INTEGER NOT NULL DEFAULT 0) STRICT;

CREATE TABLE archive_policy (
    account INTEGER NOT NULL PRIMARY KEY REFERENCES account (id) ON DELETE CASCADE,
    -- 0: everything. 1: nothing. 2: what is with a contact of the roster.
    policy INTEGER NOT NULL
) STRICT;

CREATE TABLE archive_with (
    archive INTEGER NOT NULL,
    peer TEXT NOT NULL,
    seq INTEGER NOT NULL,
    -- So that a search for a full JID reads the messages it finds alone.
    resource TEXT NOT NULL, short_id INTEGER, at INTEGER NOT NULL DEFAULT 0,
    PRIMARY KEY (archive, peer, seq)
) STRICT, WITHOUT ROWID;

CREATE VIRTUAL TABLE archive_words USING fts5(
    words, content='', contentless_delete=1, detail=none, tokenize="ascii tokenchars '_'"
);

CREATE TABLE 'archive_words_config'(k PRIMARY KEY, v) WITHOUT ROWID;

CREATE TABLE 'archive_words_data'(id INTEGER PRIMARY KEY, block BLOB);

CREATE TABLE 'archive_words_docsize'(id INTEGER PRIMARY KEY, sz BLOB, origin INTEGER);

CREATE TABLE 'archive_words_idx'(segid, term, pgno, PRIMARY KEY(segid, term)) WITHOUT ROWID;

CREATE TABLE blocked (
    account INTEGER NOT NULL REFERENCES account (id) ON DELETE CASCADE,
    jid TEXT NOT NULL,
    PRIMARY KEY (account, jid)
) STRICT;

CREATE TABLE credential (
    account INTEGER NOT NULL REFERENCES account (id) ON DELETE CASCADE,
    hash TEXT NOT NULL,
    salt BLOB NOT NULL,
    iterations INTEGER NOT NULL,
    stored_key BLOB NOT NULL,
    server_key BLOB NOT NULL,
    PRIMARY KEY (account, hash)
) STRICT;

CREATE TABLE device (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    account INTEGER NOT NULL REFERENCES account (id) ON DELETE CASCADE,
    -- A hash of the user-agent's id.
    agent BLOB NOT NULL,
    -- What the client calls itself and what it runs on; '' if it did not say.
    software TEXT NOT NULL,
    name TEXT NOT NULL,
    first_seen INTEGER NOT NULL,
    -- Of its last login or the end of its last session, within the hour.
    last_seen INTEGER NOT NULL,
    UNIQUE (account, agent)
) STRICT;

CREATE INDEX device_last_seen ON device (last_seen);

CREATE TABLE handled (
    -- SHA-256 of the SM-ID.
    id BLOB NOT NULL PRIMARY KEY,
    account INTEGER NOT NULL REFERENCES account (id) ON DELETE CASCADE,
    h INTEGER NOT NULL,
    at INTEGER NOT NULL
) STRICT;

CREATE INDEX handled_account ON handled (account);

CREATE INDEX handled_at ON handled (at);

CREATE TABLE mailbox (
    seq INTEGER NOT NULL PRIMARY KEY,
    account INTEGER NOT NULL REFERENCES account (id) ON DELETE CASCADE,
    at INTEGER NOT NULL,
    size INTEGER NOT NULL,
    stanza BLOB NOT NULL
) STRICT;

CREATE INDEX mailbox_account ON mailbox (account, seq, size);

CREATE TABLE meta (
    name TEXT NOT NULL PRIMARY KEY,
    value BLOB NOT NULL
) STRICT;

CREATE TABLE migration (
    version INTEGER NOT NULL PRIMARY KEY,
    name TEXT NOT NULL,
    checksum TEXT NOT NULL,
    applied_at INTEGER NOT NULL
) STRICT;

CREATE TABLE notice_seen (
    account INTEGER NOT NULL PRIMARY KEY REFERENCES account (id) ON DELETE CASCADE,
    -- The number of the last message of the day that it was sent.
    motd INTEGER NOT NULL,
    -- 1: it was welcomed, or will not be.
    welcome INTEGER NOT NULL
) STRICT;

CREATE TABLE owed_before (
    account INTEGER NOT NULL REFERENCES account (id) ON DELETE CASCADE,
    seq INTEGER NOT NULL,
    PRIMARY KEY (account, seq)
) STRICT;

CREATE TABLE roster_group (
    account INTEGER NOT NULL,
    jid TEXT NOT NULL,
    name TEXT NOT NULL,
    PRIMARY KEY (account, jid, name),
    FOREIGN KEY (account, jid) REFERENCES roster_item (account, jid) ON DELETE CASCADE
) STRICT;

CREATE TABLE roster_item (
    account INTEGER NOT NULL REFERENCES account (id) ON DELETE CASCADE,
    jid TEXT NOT NULL,
    name TEXT,
    -- One of the nine states of RFC 6121 Appendix A.
    state TEXT NOT NULL,
    approved INTEGER NOT NULL,
    listed INTEGER NOT NULL,
    ver INTEGER NOT NULL,
    PRIMARY KEY (account, jid)
) STRICT;

CREATE TABLE roster_request (
    account INTEGER NOT NULL REFERENCES account (id) ON DELETE CASCADE,
    jid TEXT NOT NULL,
    at INTEGER NOT NULL,
    stanza BLOB NOT NULL,
    PRIMARY KEY (account, jid)
) STRICT;

CREATE TABLE sleeper (
    id BLOB NOT NULL PRIMARY KEY,
    account INTEGER NOT NULL REFERENCES account (id) ON DELETE CASCADE,
    state BLOB NOT NULL
) STRICT;

CREATE TABLE token (
    device INTEGER NOT NULL REFERENCES device (id) ON DELETE CASCADE,
    -- 0: the current one. 1: the next one, which was given out and not used yet (XEP-0484 §5.1).
    slot INTEGER NOT NULL,
    -- It works with no other.
    mechanism TEXT NOT NULL,
    -- The token is made of it with a key of the server's, and stands nowhere.
    nonce BLOB NOT NULL,
    -- The account's when it was given: with an older one it opens nothing.
    epoch INTEGER NOT NULL,
    issued INTEGER NOT NULL,
    expires INTEGER NOT NULL,
    -- XEP-0484 §3.4: the last one that the client sent along.
    count INTEGER,
    PRIMARY KEY (device, slot)
) STRICT;

CREATE INDEX token_expires ON token (expires);
