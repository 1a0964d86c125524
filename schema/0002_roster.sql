-- RFC 6121: rosters, and the subscription requests that wait for an answer (§3.1.3).
CREATE TABLE roster_item (
    account {{int}} NOT NULL REFERENCES account (id) ON DELETE CASCADE,
    jid TEXT NOT NULL,
    name TEXT,
    -- One of the nine states of RFC 6121 Appendix A.
    state TEXT NOT NULL,
    approved {{int}} NOT NULL,
    listed {{int}} NOT NULL,
    ver {{int}} NOT NULL,
    PRIMARY KEY (account, jid)
) {{strict}};

CREATE TABLE roster_group (
    account {{int}} NOT NULL,
    jid TEXT NOT NULL,
    name TEXT NOT NULL,
    PRIMARY KEY (account, jid, name),
    FOREIGN KEY (account, jid) REFERENCES roster_item (account, jid) ON DELETE CASCADE
) {{strict}};

CREATE TABLE roster_request (
    account {{int}} NOT NULL REFERENCES account (id) ON DELETE CASCADE,
    jid TEXT NOT NULL,
    at {{int}} NOT NULL,
    stanza {{bytes}} NOT NULL,
    PRIMARY KEY (account, jid)
) {{strict}};
