-- Messages to other servers and to components that the addressee's server has not acknowledged yet.
CREATE TABLE peer_queue (
    -- The position, as in the archive and the mailbox.
    seq {{int}} PRIMARY KEY,
    -- The domain of this server that it comes from, and the one that it goes to.
    local TEXT NOT NULL,
    remote TEXT NOT NULL,
    -- When it came, in microseconds since 1970.
    at {{int}} NOT NULL,
    stanza {{bytes}} NOT NULL
) {{strict}};
CREATE INDEX peer_queue_pair ON peer_queue (remote, local, seq);
