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

CREATE TABLE api_token (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    -- What people call it, and what the audit log says.
    name TEXT NOT NULL,
    -- SHA-256 of the secret.
    hash BLOB NOT NULL,
    -- 1 reader, 2 inviter, 3 operator, 4 owner.
    rank INTEGER NOT NULL,
    -- All times in microseconds since 1970.
    made INTEGER NOT NULL,
    expires INTEGER NOT NULL,
    -- To the minute; none: never.
    used INTEGER,
    revoked INTEGER
) STRICT;

CREATE UNIQUE INDEX api_token_name ON api_token (name) WHERE revoked IS NULL;

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

CREATE TABLE audit (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    -- Microseconds since 1970.
    at INTEGER NOT NULL,
    -- An account's address, a token's name, or the command line.
    actor TEXT NOT NULL,
    -- By which way: command line, client, api, page.
    via TEXT NOT NULL,
    -- From which network address, if by one.
    address TEXT,
    -- The verb, as in its table.
    verb TEXT NOT NULL,
    -- What it was about.
    target TEXT,
    -- Why it was not done; none: it was.
    failure TEXT
) STRICT;

CREATE INDEX audit_at ON audit (at);

CREATE TABLE avatar (
    account INTEGER NOT NULL PRIMARY KEY REFERENCES account (id) ON DELETE CASCADE,
    id TEXT NOT NULL
) STRICT;

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
    last_seen INTEGER NOT NULL, password INTEGER NOT NULL DEFAULT 1,
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

CREATE TABLE imported (
    -- The first 8 bytes of SHA-256 over whose it is, what it stands in, and its text.
    mark INTEGER PRIMARY KEY
) STRICT;

CREATE TABLE invitation (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    -- A hash of the token, which itself stands nowhere.
    hash BLOB NOT NULL UNIQUE,
    -- 0: for an account or a contact. 1: for a new password.
    purpose INTEGER NOT NULL,
    -- Who invites; or whose password it is. NULL: the operator invites.
    account INTEGER REFERENCES account (id) ON DELETE CASCADE,
    host TEXT NOT NULL,
    -- The one name of an account that it is for, which nobody else gets meanwhile.
    localpart TEXT,
    -- Whether an account can be made with it.
    registers INTEGER NOT NULL,
    -- Whether whoever uses it and who invites become contacts.
    befriends INTEGER NOT NULL,
    -- The team that the account joins.
    team TEXT,
    uses_left INTEGER NOT NULL,
    revoked INTEGER NOT NULL DEFAULT 0,
    created INTEGER NOT NULL,
    expires INTEGER NOT NULL
) STRICT;

CREATE INDEX invitation_account ON invitation (account);

CREATE INDEX invitation_expires ON invitation (expires);

CREATE INDEX invitation_name ON invitation (host, localpart) WHERE localpart IS NOT NULL;

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

CREATE TABLE peer_handled (
    -- SHA-256 of the SM-ID.
    id BLOB NOT NULL PRIMARY KEY,
    -- The domain of the other server.
    remote TEXT NOT NULL,
    h INTEGER NOT NULL,
    at INTEGER NOT NULL
) STRICT;

CREATE INDEX peer_handled_at ON peer_handled (at);

CREATE INDEX peer_handled_remote ON peer_handled (remote, at);

CREATE TABLE peer_queue (
    -- The position, as in the archive and the mailbox.
    seq INTEGER PRIMARY KEY,
    -- The domain of this server that it comes from, and the one that it goes to.
    local TEXT NOT NULL,
    remote TEXT NOT NULL,
    -- When it came, in microseconds since 1970.
    at INTEGER NOT NULL,
    stanza BLOB NOT NULL
) STRICT;

CREATE INDEX peer_queue_pair ON peer_queue (remote, local, seq);

CREATE TABLE peer_rule (
    -- In normal form; `*` stands for all that no other rule names.
    domain TEXT PRIMARY KEY,
    -- 1 if it is let in, 0 if it is kept out.
    allowed INTEGER NOT NULL,
    -- When that was said, in microseconds since 1970.
    at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE private_xml (
    account INTEGER NOT NULL REFERENCES account (id) ON DELETE CASCADE,
    ns TEXT NOT NULL,
    name TEXT NOT NULL,
    nth INTEGER NOT NULL,
    -- With all namespace declarations that it needs.
    element BLOB NOT NULL,
    PRIMARY KEY (account, ns, name, nth)
) STRICT;

CREATE TABLE pubsub_affiliation (
    node INTEGER NOT NULL REFERENCES pubsub_node (id) ON DELETE CASCADE,
    -- A bare JID.
    jid TEXT NOT NULL,
    affiliation TEXT NOT NULL,
    PRIMARY KEY (node, jid)
) STRICT, WITHOUT ROWID;

CREATE INDEX pubsub_affiliation_jid ON pubsub_affiliation (jid);

CREATE TABLE pubsub_item (
    -- Their order; an item that is published again comes last.
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    node INTEGER NOT NULL REFERENCES pubsub_node (id) ON DELETE CASCADE,
    item TEXT NOT NULL,
    -- Whom its publisher is known as.
    publisher TEXT NOT NULL,
    at INTEGER NOT NULL,
    -- One element, which declares all namespaces that it uses, or nothing.
    payload BLOB NOT NULL,
    UNIQUE (node, item)
) STRICT;

CREATE INDEX pubsub_item_order ON pubsub_item (node, seq);

CREATE TABLE pubsub_node (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    service INTEGER NOT NULL,
    -- Its name, compared as it is written.
    node TEXT NOT NULL,
    creator TEXT NOT NULL,
    -- In microseconds since 1970, as all times here.
    created INTEGER NOT NULL,
    -- A line for each option that is not of NodeConfig::BASE (modules/pubsub/fields.rs).
    config TEXT NOT NULL,
    -- So that nobody has to count: the number of its items, and what it weighs with all that is in it.
    items INTEGER NOT NULL,
    bytes INTEGER NOT NULL,
    UNIQUE (service, node)
) STRICT;

CREATE INDEX pubsub_node_creator ON pubsub_node (service, creator, bytes);

CREATE TABLE pubsub_service (
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    domain TEXT NOT NULL UNIQUE
) STRICT;

CREATE TABLE pubsub_subscription (
    node INTEGER NOT NULL REFERENCES pubsub_node (id) ON DELETE CASCADE,
    -- The address to be notified, and the bare JID whose it is.
    jid TEXT NOT NULL,
    bare TEXT NOT NULL,
    state TEXT NOT NULL,
    PRIMARY KEY (node, jid)
) STRICT, WITHOUT ROWID;

CREATE INDEX pubsub_subscription_bare ON pubsub_subscription (bare, node);

CREATE TABLE push (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    account INTEGER NOT NULL REFERENCES account (id) ON DELETE CASCADE,
    -- The push service, and the node there; '' if none was named.
    jid TEXT NOT NULL,
    node TEXT NOT NULL,
    -- The device that enabled it: revoked or forgotten, it is told nothing more. By its resource one is known that
    -- has no id.
    device INTEGER REFERENCES device (id) ON DELETE CASCADE,
    resource TEXT NOT NULL,
    -- The form of publish-options (XEP-0357 §5); '' if there was none.
    options TEXT NOT NULL,
    -- What a summary may say besides the count: 1: the sender, 2: the body, 3: both.
    summary INTEGER NOT NULL,
    -- When it was enabled.
    enabled INTEGER NOT NULL,
    -- Errors in a row, and the last one.
    failures INTEGER NOT NULL,
    error TEXT NOT NULL,
    -- When it was disabled because of its errors; NULL while it is enabled.
    ended INTEGER, epoch INTEGER NOT NULL DEFAULT 0,
    UNIQUE (account, jid, node)
) STRICT;

CREATE INDEX push_device ON push (device);

CREATE INDEX push_ended ON push (ended);

CREATE TABLE report (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    -- Who reported it.
    account INTEGER NOT NULL REFERENCES account (id) ON DELETE CASCADE,
    -- When, in microseconds since 1970.
    at INTEGER NOT NULL,
    -- Who is reported: the address that was blocked.
    jid TEXT NOT NULL,
    -- The URN of the reason.
    reason TEXT NOT NULL,
    -- What the reporter said of it; '' for nothing.
    said TEXT NOT NULL,
    -- Whom it may be passed on to (§5): 1 the server of who is reported, 2 others who fight spam.
    consent INTEGER NOT NULL,
    -- When the operator was done with it.
    done INTEGER
) STRICT;

CREATE INDEX report_account ON report (account);

CREATE INDEX report_at ON report (at);

CREATE TABLE reported_message (
    report INTEGER NOT NULL REFERENCES report (id) ON DELETE CASCADE,
    place INTEGER NOT NULL,
    -- Whose archive it is.
    owner TEXT NOT NULL,
    stanza_id TEXT NOT NULL,
    PRIMARY KEY (report, place)
) STRICT;

CREATE TABLE room (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    -- The bare JID.
    jid TEXT NOT NULL UNIQUE,
    -- Its domain, and 1 if it can be found there.
    domain TEXT NOT NULL,
    public INTEGER NOT NULL,
    -- JSON: what owners decided.
    settings TEXT NOT NULL,
    -- 0: it goes when nobody is in it.
    stays INTEGER NOT NULL,
    -- Makes the ids of its occupants (XEP-0421).
    secret BLOB NOT NULL,
    -- Rises with each change of affiliations (XEP-0463).
    version INTEGER NOT NULL,
    -- The version up to which it was forgotten who is not listed any more: changes since then are all known.
    forgotten INTEGER NOT NULL,
    -- The message that set the subject, without 'to', and when, in microseconds since 1970.
    subject BLOB,
    subject_at INTEGER NOT NULL,
    created_at INTEGER NOT NULL,
    -- The bare JID of who created it, for the bound on rooms of one account.
    creator TEXT NOT NULL,
    -- Occupants over a planned restart, or nothing.
    occupants BLOB,
    -- For its avatar (XEP-0486), or nothing.
    vcard BLOB
, archive_bytes INTEGER NOT NULL DEFAULT 0) STRICT;

CREATE INDEX room_creator ON room (creator);

CREATE INDEX room_domain ON room (domain, jid);

CREATE INDEX room_occupied ON room (jid) WHERE occupants IS NOT NULL;

CREATE INDEX room_public ON room (domain, public, jid);

CREATE INDEX room_temporary ON room (id) WHERE stays = 0;

CREATE TABLE room_affiliation (
    room INTEGER NOT NULL REFERENCES room (id) ON DELETE CASCADE,
    jid TEXT NOT NULL,
    affiliation INTEGER NOT NULL,
    nick TEXT,
    reason TEXT,
    -- The nickname that a member had last.
    called TEXT,
    version INTEGER NOT NULL, seen_at INTEGER,
    PRIMARY KEY (room, jid)
) STRICT;

CREATE INDEX room_affiliation_jid ON room_affiliation (jid);

CREATE TABLE room_notice (
    account INTEGER NOT NULL REFERENCES account (id) ON DELETE CASCADE,
    -- The bare JID.
    room TEXT NOT NULL,
    notice INTEGER NOT NULL,
    PRIMARY KEY (account, room)
) STRICT;

CREATE INDEX room_notice_room ON room_notice (room, notice);

CREATE TABLE roster_given (
    account INTEGER NOT NULL REFERENCES account (id) ON DELETE CASCADE,
    jid TEXT NOT NULL,
    label TEXT NOT NULL,
    -- How the contact is called there.
    name TEXT,
    PRIMARY KEY (account, jid, label)
) STRICT, WITHOUT ROWID;

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

CREATE TABLE stranger_let_in (
    account INTEGER NOT NULL REFERENCES account (id) ON DELETE CASCADE,
    jid TEXT NOT NULL,
    PRIMARY KEY (account, jid)
) STRICT;

CREATE TABLE stranger_message (
    account INTEGER NOT NULL REFERENCES account (id) ON DELETE CASCADE,
    seq INTEGER NOT NULL,
    jid TEXT NOT NULL,
    at INTEGER NOT NULL,
    stanza BLOB NOT NULL,
    -- Whether the account was told that somebody waits.
    told INTEGER NOT NULL,
    PRIMARY KEY (account, seq)
) STRICT;

CREATE INDEX stranger_message_at ON stranger_message (at);

CREATE INDEX stranger_message_jid ON stranger_message (account, jid, seq);

CREATE INDEX stranger_message_told ON stranger_message (told, account);

CREATE TABLE stranger_policy (
    account INTEGER NOT NULL PRIMARY KEY REFERENCES account (id) ON DELETE CASCADE,
    policy INTEGER NOT NULL
) STRICT;

CREATE TABLE team (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    -- The name in lower case, by which it is found.
    folded TEXT NOT NULL UNIQUE,
    name TEXT NOT NULL
) STRICT;

CREATE TABLE team_member (
    team INTEGER NOT NULL REFERENCES team (id) ON DELETE CASCADE,
    account INTEGER NOT NULL REFERENCES account (id) ON DELETE CASCADE,
    -- How the others' rosters call it.
    name TEXT NOT NULL,
    -- 0 while the account is shut or deleted: it is in nobody's roster then, and nobody is in its.
    shown INTEGER NOT NULL,
    PRIMARY KEY (team, account)
) STRICT;

CREATE INDEX team_member_account ON team_member (account);

CREATE TABLE team_room (
    team INTEGER NOT NULL REFERENCES team (id) ON DELETE CASCADE,
    room INTEGER NOT NULL REFERENCES room (id) ON DELETE CASCADE,
    -- The room's address.
    jid TEXT NOT NULL,
    PRIMARY KEY (team, room)
) STRICT;

CREATE INDEX team_room_room ON team_room (room);

CREATE TABLE team_room_given (
    account INTEGER NOT NULL,
    -- The account's address.
    address TEXT NOT NULL,
    room INTEGER NOT NULL,
    -- The room's address.
    jid TEXT NOT NULL,
    -- 0 not done yet, 1 brought, 2 it was there before, 3 being brought.
    membership INTEGER NOT NULL,
    bookmark INTEGER NOT NULL,
    PRIMARY KEY (account, room)
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

CREATE TABLE upload (
    -- 128 random bits, for the address and for the file on disk.
    id TEXT PRIMARY KEY,
    -- No reference: the row outlives its account until the file is deleted.
    account INTEGER NOT NULL,
    -- 0: part of a message. 1: of a profile (§5.2).
    kind INTEGER NOT NULL,
    name TEXT NOT NULL,
    media_type TEXT,
    size INTEGER NOT NULL,
    -- When the slot was given; then, when the file came.
    made INTEGER NOT NULL,
    -- When it has to be gone, as its owner said. 0: it is to be deleted.
    expires INTEGER NOT NULL,
    -- By it the file may be uploaded; none once it is there.
    token TEXT
) STRICT;

CREATE INDEX upload_account ON upload (account, made);

CREATE INDEX upload_expires ON upload (expires, id);

CREATE INDEX upload_made ON upload (kind, made, id);

CREATE INDEX upload_own ON upload (account, kind, made, id);

CREATE INDEX upload_own_slot ON upload (account, made) WHERE token IS NOT NULL AND expires > 0;

CREATE INDEX upload_slot ON upload (made, id) WHERE token IS NOT NULL AND expires > 0;

CREATE INDEX upload_sums ON upload (account, kind, expires, size);

CREATE TABLE upload_total (
    one INTEGER PRIMARY KEY,
    bytes INTEGER NOT NULL
) STRICT;
