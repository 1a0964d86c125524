-- An archive is an account's or a room's: its key is the account's id, or the room's below zero
-- (store/ids.rs). The columns get its name; no row is written anew.
ALTER TABLE archive RENAME COLUMN account TO archive;

ALTER TABLE archive_place RENAME COLUMN account TO archive;

ALTER TABLE archive_with RENAME COLUMN account TO archive;

ALTER TABLE archive_back RENAME COLUMN account TO archive;

ALTER TABLE archive_left RENAME COLUMN account TO archive;

-- archive_search without its foreign key, which a room's archive would break: its row goes where the
-- archive is left.
CREATE TABLE archive_indexed (
    archive {{int}} NOT NULL PRIMARY KEY,
    -- Rows of the archive are in the index if newest >= seq > oldest. What came before the first search
    -- follows behind, the newest of it first; 0 when there is no more.
    newest {{int}} NOT NULL,
    oldest {{int}} NOT NULL
) {{strict}};

INSERT INTO archive_indexed (archive, newest, oldest) SELECT account, newest, oldest FROM archive_search;

DROP TABLE archive_search;
