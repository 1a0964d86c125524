-- What an account may do to the server as a whole: 0 as any user, 1 operator, 2 owner.
ALTER TABLE account ADD COLUMN role {{int}} NOT NULL DEFAULT 0;

CREATE INDEX account_role ON account (role) WHERE role > 0;

-- XEP-0133 §4.24, §4.27: what an account was told of the message of the day and the welcome message,
-- whose texts are in `meta`.
CREATE TABLE notice_seen (
    account {{int}} NOT NULL PRIMARY KEY REFERENCES account (id) ON DELETE CASCADE,
    -- The number of the last message of the day that it was sent.
    motd {{int}} NOT NULL,
    -- 1: it was welcomed, or will not be.
    welcome {{int}} NOT NULL
) {{strict}};

-- Whether the device has logged in since the password was last changed.
ALTER TABLE device ADD COLUMN password {{int}} NOT NULL DEFAULT 1;
