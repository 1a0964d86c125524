-- What an account has is summed for each slot that it asks for, from the index alone.
CREATE INDEX upload_sums ON upload (account, kind, expires, size);
-- Its oldest files, which make room, are found without those of all others.
CREATE INDEX upload_own ON upload (account, kind, made, id);
-- Slots that nobody used stay for a day, marked, as they count for the day; these find the others.
CREATE INDEX upload_own_slot ON upload (account, made) WHERE token IS NOT NULL AND expires > 0;
DROP INDEX upload_slot;
CREATE INDEX upload_slot ON upload (made, id) WHERE token IS NOT NULL AND expires > 0;
-- Pages of what is to be deleted go on behind what cannot be deleted now.
DROP INDEX upload_expires;
CREATE INDEX upload_expires ON upload (expires, id);
DROP INDEX upload_made;
CREATE INDEX upload_made ON upload (kind, made, id);
