-- Invitations and links to set a new password. Whoever has the token of one may use it.
CREATE TABLE invitation (
    id {{id}},
    -- A hash of the token, which itself stands nowhere.
    hash {{bytes}} NOT NULL UNIQUE,
    -- 0: for an account or a contact. 1: for a new password.
    purpose {{int}} NOT NULL,
    -- Who invites; or whose password it is. NULL: the operator invites.
    account {{int}} REFERENCES account (id) ON DELETE CASCADE,
    host TEXT NOT NULL,
    -- The one name of an account that it is for, which nobody else gets meanwhile.
    localpart TEXT,
    -- Whether an account can be made with it.
    registers {{int}} NOT NULL,
    -- Whether whoever uses it and who invites become contacts.
    befriends {{int}} NOT NULL,
    -- The team that the account joins.
    team TEXT,
    uses_left {{int}} NOT NULL,
    revoked {{int}} NOT NULL DEFAULT 0,
    created {{int}} NOT NULL,
    expires {{int}} NOT NULL
) {{strict}};

CREATE INDEX invitation_account ON invitation (account);
CREATE INDEX invitation_name ON invitation (host, localpart) WHERE localpart IS NOT NULL;
CREATE INDEX invitation_expires ON invitation (expires);
