-- XEP-0357: where the devices of an account are told that something waits for them.
CREATE TABLE push (
    id {{id}},
    account {{int}} NOT NULL REFERENCES account (id) ON DELETE CASCADE,
    -- The push service, and the node there; '' if none was named.
    jid TEXT NOT NULL,
    node TEXT NOT NULL,
    -- The device that enabled it: revoked or forgotten, it is told nothing more. By its resource one is known that
    -- has no id.
    device {{int}} REFERENCES device (id) ON DELETE CASCADE,
    resource TEXT NOT NULL,
    -- The form of publish-options (XEP-0357 §5); '' if there was none.
    options TEXT NOT NULL,
    -- What a summary may say besides the count: 1: the sender, 2: the body, 3: both.
    summary {{int}} NOT NULL,
    -- When it was enabled.
    enabled {{int}} NOT NULL,
    -- Errors in a row, and the last one.
    failures {{int}} NOT NULL,
    error TEXT NOT NULL,
    -- When it was disabled because of its errors; NULL while it is enabled.
    ended {{int}},
    UNIQUE (account, jid, node)
) {{strict}};

CREATE INDEX push_device ON push (device);
CREATE INDEX push_ended ON push (ended);
