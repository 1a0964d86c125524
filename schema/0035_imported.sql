-- What an import has taken once: it is not taken again, so that a second run undoes nothing that people did meanwhile.
CREATE TABLE imported (
    -- The first 8 bytes of SHA-256 over whose it is, what it stands in, and its text.
    mark {{int}} PRIMARY KEY
) {{strict}};
