-- Other servers that an operator let in or keeps out while the server runs; the configuration has lists, too.
CREATE TABLE peer_rule (
    -- In normal form; `*` stands for all that no other rule names.
    domain TEXT PRIMARY KEY,
    -- 1 if it is let in, 0 if it is kept out.
    allowed {{int}} NOT NULL,
    -- When that was said, in microseconds since 1970.
    at {{int}} NOT NULL
) {{clustered}};
