-- XEP-0377: what people reported of those whom they blocked. For the operator, who is done with it one day.
CREATE TABLE report (
    id {{id}},
    -- Who reported it.
    account {{int}} NOT NULL REFERENCES account (id) ON DELETE CASCADE,
    -- When, in microseconds since 1970.
    at {{int}} NOT NULL,
    -- Who is reported: the address that was blocked.
    jid TEXT NOT NULL,
    -- The URN of the reason.
    reason TEXT NOT NULL,
    -- What the reporter said of it; '' for nothing.
    said TEXT NOT NULL,
    -- Whom it may be passed on to (§5): 1 the server of who is reported, 2 others who fight spam.
    consent {{int}} NOT NULL,
    -- When the operator was done with it.
    done {{int}}
) {{strict}};

CREATE INDEX report_at ON report (at);
CREATE INDEX report_account ON report (account);

-- The messages that are reported, by their ids in an archive (XEP-0359).
CREATE TABLE reported_message (
    report {{int}} NOT NULL REFERENCES report (id) ON DELETE CASCADE,
    place {{int}} NOT NULL,
    -- Whose archive it is.
    owner TEXT NOT NULL,
    stanza_id TEXT NOT NULL,
    PRIMARY KEY (report, place)
) {{strict}};

-- What an account does with messages of people who are not among its contacts, where it does not as the
-- server does: 0 deliver, 1 hold, 2 refuse.
CREATE TABLE stranger_policy (
    account {{int}} NOT NULL PRIMARY KEY REFERENCES account (id) ON DELETE CASCADE,
    policy {{int}} NOT NULL
) {{strict}};

-- Strangers whose messages pass: the account let them in, or wrote to them.
CREATE TABLE stranger_let_in (
    account {{int}} NOT NULL REFERENCES account (id) ON DELETE CASCADE,
    jid TEXT NOT NULL,
    PRIMARY KEY (account, jid)
) {{strict}};

-- Messages of strangers that wait until the account lets them in.
CREATE TABLE stranger_message (
    account {{int}} NOT NULL REFERENCES account (id) ON DELETE CASCADE,
    seq {{int}} NOT NULL,
    jid TEXT NOT NULL,
    at {{int}} NOT NULL,
    stanza {{bytes}} NOT NULL,
    -- Whether the account was told that somebody waits.
    told {{int}} NOT NULL,
    PRIMARY KEY (account, seq)
) {{strict}};

CREATE INDEX stranger_message_jid ON stranger_message (account, jid, seq);
CREATE INDEX stranger_message_told ON stranger_message (told, account);
CREATE INDEX stranger_message_at ON stranger_message (at);
