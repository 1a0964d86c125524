-- XEP-0313: every message that an account sent or received and that is worth keeping, one row each.
-- The messages owed to the account (promise.md 1) are its rows of kind 2 behind its mark, those named
-- in owed_before, and the mailbox, which has what the archive may not keep.
CREATE TABLE archive (
    -- The place: rising, unique in the server, and the time in microseconds as near as that allows.
    seq {{int}} NOT NULL PRIMARY KEY,
    -- Without a foreign key: a deleted account's rows go in small batches, see archive_left.
    account {{int}} NOT NULL,
    -- The other side's bare JID, and its resourcepart or ''.
    peer TEXT NOT NULL,
    resource TEXT NOT NULL,
    -- 0: sent by the account. 1: received. 2: received, and owed to it until confirmed.
    kind {{int}} NOT NULL,
    size {{int}} NOT NULL,
    stanza {{bytes}} NOT NULL
) {{strict}};

-- Carries what the mailbox counts, so that it is read from the index alone.
CREATE INDEX archive_account ON archive (account, seq, kind, size);
-- Carries the resourcepart, so that a search for a full JID reads the messages it finds alone.
CREATE INDEX archive_peer ON archive (account, peer, seq, resource);

-- Up to where an account has confirmed what it was owed (promise.md 1).
CREATE TABLE archive_mark (
    account {{int}} NOT NULL PRIMARY KEY REFERENCES account (id) ON DELETE CASCADE,
    seq {{int}} NOT NULL
) {{strict}};

-- Rows that the mark passed unconfirmed: confirmations came out of order.
CREATE TABLE owed_before (
    account {{int}} NOT NULL REFERENCES account (id) ON DELETE CASCADE,
    seq {{int}} NOT NULL,
    PRIMARY KEY (account, seq)
) {{strict}};

-- Deleted accounts whose rows are still to be deleted.
CREATE TABLE archive_left (
    account {{int}} NOT NULL PRIMARY KEY,
    since {{int}} NOT NULL
) {{strict}};
