-- XEP-0441: what the archive of an account keeps. No row: everything.
CREATE TABLE archive_policy (
    account {{int}} NOT NULL PRIMARY KEY REFERENCES account (id) ON DELETE CASCADE,
    -- 0: everything. 1: nothing. 2: what is with a contact of the roster.
    policy {{int}} NOT NULL
) {{strict}};

-- The JIDs, bare or full, that the policy is not asked for.
CREATE TABLE archive_exception (
    account {{int}} NOT NULL REFERENCES archive_policy (account) ON DELETE CASCADE,
    jid TEXT NOT NULL,
    -- 1: always kept. 0: never.
    kept {{int}} NOT NULL,
    PRIMARY KEY (account, jid)
) {{strict}};
