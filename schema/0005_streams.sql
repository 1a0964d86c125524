-- XEP-0198: how many stanzas of a stream were handled, written in the transaction of the rows that
-- the count covers (promise.md 6), and kept for a while after the session.
CREATE TABLE handled (
    -- SHA-256 of the SM-ID.
    id {{bytes}} NOT NULL PRIMARY KEY,
    account {{int}} NOT NULL REFERENCES account (id) ON DELETE CASCADE,
    h {{int}} NOT NULL,
    at {{int}} NOT NULL
) {{strict}};

CREATE INDEX handled_at ON handled (at);
CREATE INDEX handled_account ON handled (account);

-- Sessions that sleep over a restart of the server (promise.md 11).
CREATE TABLE sleeper (
    id {{bytes}} NOT NULL PRIMARY KEY,
    account {{int}} NOT NULL REFERENCES account (id) ON DELETE CASCADE,
    state {{bytes}} NOT NULL
) {{strict}};
