-- When an account was deleted, in microseconds since 1970. Until it is erased it is nobody's: it can be
-- restored, and its name is not given away. NULL: it is there.
ALTER TABLE account ADD COLUMN removed {{int}};

CREATE INDEX account_removed ON account (removed) WHERE removed IS NOT NULL;
