-- XEP-0492: of which messages of a room an account wants to be told, as its bookmark of the room says; no row for a
-- bookmark that says nothing. Written with the bookmark: 0 of none, 1 of those that mention it, 2 of all.
CREATE TABLE room_notice (
    account {{int}} NOT NULL REFERENCES account (id) ON DELETE CASCADE,
    -- The bare JID.
    room TEXT NOT NULL,
    notice {{int}} NOT NULL,
    PRIMARY KEY (account, room)
) {{strict}};
CREATE INDEX room_notice_room ON room_notice (room, notice);
