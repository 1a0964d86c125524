-- XEP-0191: whom an account does not meet, in normal form: bare and full JIDs, domains.
CREATE TABLE blocked (
    account {{int}} NOT NULL REFERENCES account (id) ON DELETE CASCADE,
    jid TEXT NOT NULL,
    PRIMARY KEY (account, jid)
) {{strict}};
