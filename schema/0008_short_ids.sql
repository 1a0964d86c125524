-- XEP-0424: the message's own id in 32 bits, by which a retraction finds it among those with the same
-- peer. NULL: it has none, or is older than this column.
ALTER TABLE archive ADD COLUMN short_id {{int}};

ALTER TABLE archive_with ADD COLUMN short_id {{int}};
