-- XEP-0198: how many stanzas of another server's stream were handled, written in the transaction of the rows that the
-- count covers (promise.md 6), and kept for a while after the stream.
CREATE TABLE peer_handled (
    -- SHA-256 of the SM-ID.
    id {{bytes}} NOT NULL PRIMARY KEY,
    -- The domain of the other server.
    remote TEXT NOT NULL,
    h {{int}} NOT NULL,
    at {{int}} NOT NULL
) {{strict}};

CREATE INDEX peer_handled_at ON peer_handled (at);
CREATE INDEX peer_handled_remote ON peer_handled (remote, at);
