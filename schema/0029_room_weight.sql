-- Bytes of a room's archive when it was weighed last, for the bound on what one account's rooms store together.
ALTER TABLE room ADD COLUMN archive_bytes {{int}} NOT NULL DEFAULT 0;
