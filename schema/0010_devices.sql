-- The installations of clients that an account is used with (XEP-0388 §2.3), and the tokens with which
-- they log in (XEP-0484).
CREATE TABLE device (
    id {{id}},
    account {{int}} NOT NULL REFERENCES account (id) ON DELETE CASCADE,
    -- A hash of the user-agent's id.
    agent {{bytes}} NOT NULL,
    -- What the client calls itself and what it runs on; '' if it did not say.
    software TEXT NOT NULL,
    name TEXT NOT NULL,
    first_seen {{int}} NOT NULL,
    -- Of its last login or the end of its last session, within the hour.
    last_seen {{int}} NOT NULL,
    UNIQUE (account, agent)
) {{strict}};

CREATE INDEX device_last_seen ON device (last_seen);

CREATE TABLE token (
    device {{int}} NOT NULL REFERENCES device (id) ON DELETE CASCADE,
    -- 0: the current one. 1: the next one, which was given out and not used yet (XEP-0484 §5.1).
    slot {{int}} NOT NULL,
    -- It works with no other.
    mechanism TEXT NOT NULL,
    -- The token is made of it with a key of the server's, and stands nowhere.
    nonce {{bytes}} NOT NULL,
    -- The account's when it was given: with an older one it opens nothing.
    epoch {{int}} NOT NULL,
    issued {{int}} NOT NULL,
    expires {{int}} NOT NULL,
    -- XEP-0484 §3.4: the last one that the client sent along.
    count {{int}},
    PRIMARY KEY (device, slot)
) {{strict}};

CREATE INDEX token_expires ON token (expires);
