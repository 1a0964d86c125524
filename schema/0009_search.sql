-- XEP-0431: accounts search their archives. An archive is indexed when its owner searches for the first
-- time, and again and again from then on; who never searches costs nothing.
CREATE TABLE archive_search (
    account {{int}} NOT NULL PRIMARY KEY REFERENCES account (id) ON DELETE CASCADE,
    -- Rows of the account are in the index if newest >= seq > oldest. What came before the first search
    -- follows behind, the newest of it first; 0 when there is no more.
    newest {{int}} NOT NULL,
    oldest {{int}} NOT NULL
) {{strict}};

{{sqlite_only}}
-- The words of a row by its seq. Its text stays in the row alone. Each word begins with the account it
-- belongs to, so that a search walks through what the account has written and read, and through nothing
-- else. The words are ours (store/search/words.rs): the tokenizer only parts them at spaces.
CREATE VIRTUAL TABLE archive_words USING fts5(
    words, content='', contentless_delete=1, detail=none, tokenize="ascii tokenchars '_'"
);
{{end_only}}
