-- Contacts that the server gives to an account, each in a group of its roster; apart from the account's own
-- items, so that one that is taken away again leaves them as they were.
CREATE TABLE roster_given (
    account {{int}} NOT NULL REFERENCES account (id) ON DELETE CASCADE,
    jid TEXT NOT NULL,
    label TEXT NOT NULL,
    -- How the contact is called there.
    name TEXT,
    PRIMARY KEY (account, jid, label)
) {{clustered}};

-- Accounts that see each other in their rosters without asking.
CREATE TABLE team (
    id {{id}},
    -- The name in lower case, by which it is found.
    folded TEXT NOT NULL UNIQUE,
    name TEXT NOT NULL
) {{strict}};

CREATE TABLE team_member (
    team {{int}} NOT NULL REFERENCES team (id) ON DELETE CASCADE,
    account {{int}} NOT NULL REFERENCES account (id) ON DELETE CASCADE,
    -- How the others' rosters call it.
    name TEXT NOT NULL,
    -- 0 while the account is shut or deleted: it is in nobody's roster then, and nobody is in its.
    shown {{int}} NOT NULL,
    PRIMARY KEY (team, account)
) {{strict}};

CREATE INDEX team_member_account ON team_member (account);
