-- Order and time are two things: `seq` is a message's place in the order, `at` is when it was received, in
-- microseconds since 1970 as the clock showed it (XEP-0313 §4.2). Until now the place was both.
ALTER TABLE archive ADD COLUMN at {{int}} NOT NULL DEFAULT 0;

UPDATE archive SET at = seq;

ALTER TABLE archive_place ADD COLUMN at {{int}} NOT NULL DEFAULT 0;

UPDATE archive_place SET at = seq;

ALTER TABLE archive_with ADD COLUMN at {{int}} NOT NULL DEFAULT 0;

UPDATE archive_with SET at = seq;

-- The highest of all rows that are placed: while a clock goes on, no row is before it.
ALTER TABLE archive_placed ADD COLUMN at {{int}} NOT NULL DEFAULT 0;

UPDATE archive_placed SET at = seq;

-- Places whose time is before that of the account's place before them: the clock was set back there. Few.
-- Between two of them times rise with places, so that the places of a time are found by halving.
CREATE TABLE archive_back (
    account {{int}} NOT NULL,
    seq {{int}} NOT NULL,
    PRIMARY KEY (account, seq)
) {{clustered}};
