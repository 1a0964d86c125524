-- The indexes of the archive become tables that are filled behind: a row of archive is durable at once, and
-- named here some thousand rows later, or when somebody asks for its account. So a page of an index is
-- written once for many rows, and not with each commit. Both are copied in the order of the indexes they
-- replace, which needs no sorting and no memory.
CREATE TABLE archive_place (
    account {{int}} NOT NULL,
    seq {{int}} NOT NULL,
    -- What the mailbox counts.
    kind {{int}} NOT NULL,
    size {{int}} NOT NULL,
    PRIMARY KEY (account, seq)
) {{clustered}};

INSERT INTO archive_place (account, seq, kind, size)
    SELECT account, seq, kind, size FROM archive ORDER BY account, seq;

DROP INDEX archive_account;

CREATE TABLE archive_with (
    account {{int}} NOT NULL,
    peer TEXT NOT NULL,
    seq {{int}} NOT NULL,
    -- So that a search for a full JID reads the messages it finds alone.
    resource TEXT NOT NULL,
    PRIMARY KEY (account, peer, seq)
) {{clustered}};

INSERT INTO archive_with (account, peer, seq, resource)
    SELECT account, peer, seq, resource FROM archive ORDER BY account, peer, seq;

DROP INDEX archive_peer;

-- One row: up to where the two name the rows of archive. Whoever adds a row below it names it at once;
-- next_seq starts above it, whatever the clock says.
CREATE TABLE archive_placed (
    seq {{int}} NOT NULL PRIMARY KEY
) {{strict}};

INSERT INTO archive_placed (seq) SELECT COALESCE(MAX(seq), 0) FROM archive;
