-- XEP-0363: files that accounts upload, and slots for them. The bytes are in the folder `uploads`, in files that are
-- named by the ids.
CREATE TABLE upload (
    -- 128 random bits, for the address and for the file on disk.
    id TEXT PRIMARY KEY,
    -- No reference: the row outlives its account until the file is deleted.
    account {{int}} NOT NULL,
    -- 0: part of a message. 1: of a profile (§5.2).
    kind {{int}} NOT NULL,
    name TEXT NOT NULL,
    media_type TEXT,
    size {{int}} NOT NULL,
    -- When the slot was given; then, when the file came.
    made {{int}} NOT NULL,
    -- When it has to be gone, as its owner said. 0: it is to be deleted.
    expires {{int}} NOT NULL,
    -- By it the file may be uploaded; none once it is there.
    token TEXT
) {{strict}};
CREATE INDEX upload_account ON upload (account, made);
CREATE INDEX upload_made ON upload (kind, made);
CREATE INDEX upload_expires ON upload (expires);
CREATE INDEX upload_slot ON upload (made) WHERE token IS NOT NULL;

-- The bytes of all rows that are not to be deleted.
CREATE TABLE upload_total (
    one {{int}} PRIMARY KEY,
    bytes {{int}} NOT NULL
) {{strict}};
INSERT INTO upload_total (one, bytes) VALUES (1, 0);
