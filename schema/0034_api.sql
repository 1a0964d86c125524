-- Who may use the operator's verbs over HTTP. Of the secret only a hash is kept.
CREATE TABLE api_token (
    id {{id}},
    -- What people call it, and what the audit log says.
    name TEXT NOT NULL,
    -- SHA-256 of the secret.
    hash {{bytes}} NOT NULL,
    -- 1 reader, 2 inviter, 3 operator, 4 owner.
    rank {{int}} NOT NULL,
    -- All times in microseconds since 1970.
    made {{int}} NOT NULL,
    expires {{int}} NOT NULL,
    -- To the minute; none: never.
    used {{int}},
    revoked {{int}}
) {{strict}};

-- Of tokens that were not taken back each has a name of its own.
CREATE UNIQUE INDEX api_token_name ON api_token (name) WHERE revoked IS NULL;

-- What operators did, by whatever way, and what was refused them.
CREATE TABLE audit (
    id {{id}},
    -- Microseconds since 1970.
    at {{int}} NOT NULL,
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
) {{strict}};

CREATE INDEX audit_at ON audit (at);
