-- Messages owed to an account (XEP-0160), in the order of seq, which is unique in the server.
CREATE TABLE mailbox (
    seq {{int}} NOT NULL PRIMARY KEY,
    account {{int}} NOT NULL REFERENCES account (id) ON DELETE CASCADE,
    at {{int}} NOT NULL,
    size {{int}} NOT NULL,
    stanza {{bytes}} NOT NULL
) {{strict}};

-- Carries the size, so that the usage of an account is read from the index alone.
CREATE INDEX mailbox_account ON mailbox (account, seq, size);
