-- An account (durable), what it keeps instead of a password, and the server's own secrets.
-- Times are microseconds since the epoch, UTC. Booleans are 0 and 1.
CREATE TABLE account (
    id {{id}},
    localpart TEXT NOT NULL,
    host TEXT NOT NULL,
    disabled {{int}} NOT NULL DEFAULT 0,
    -- Rises with every change of the credentials, so that what an old password opened can be shut.
    epoch {{int}} NOT NULL DEFAULT 1,
    created {{int}} NOT NULL,
    roster_ver {{int}} NOT NULL DEFAULT 0,
    -- XEP-0012: when the last available resource left, and its status text.
    last_logout {{int}},
    last_status TEXT,
    UNIQUE (host, localpart)
) {{strict}};

CREATE TABLE credential (
    account {{int}} NOT NULL REFERENCES account (id) ON DELETE CASCADE,
    hash TEXT NOT NULL,
    salt {{bytes}} NOT NULL,
    iterations {{int}} NOT NULL,
    stored_key {{bytes}} NOT NULL,
    server_key {{bytes}} NOT NULL,
    PRIMARY KEY (account, hash)
) {{strict}};

CREATE TABLE meta (
    name TEXT NOT NULL PRIMARY KEY,
    value {{bytes}} NOT NULL
) {{strict}};
