-- XEP-0398 §4: the SHA-1 of the image that contacts are told of, so that nobody has to read and hash the image
-- when the account logs in.
CREATE TABLE avatar (
    account {{int}} NOT NULL PRIMARY KEY REFERENCES account (id) ON DELETE CASCADE,
    id TEXT NOT NULL
) {{strict}};
