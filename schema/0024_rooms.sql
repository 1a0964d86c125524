-- XEP-0045: rooms that their creators have configured. Who is in a room is not stored, but over a planned restart.
CREATE TABLE room (
    id {{id}},
    -- The bare JID.
    jid TEXT NOT NULL UNIQUE,
    -- Its domain, and 1 if it can be found there.
    domain TEXT NOT NULL,
    public {{int}} NOT NULL,
    -- JSON: what owners decided.
    settings TEXT NOT NULL,
    -- 0: it goes when nobody is in it.
    stays {{int}} NOT NULL,
    -- Makes the ids of its occupants (XEP-0421).
    secret {{bytes}} NOT NULL,
    -- Rises with each change of affiliations (XEP-0463).
    version {{int}} NOT NULL,
    -- The version up to which it was forgotten who is not listed any more: changes since then are all known.
    forgotten {{int}} NOT NULL,
    -- The message that set the subject, without 'to', and when, in microseconds since 1970.
    subject {{bytes}},
    subject_at {{int}} NOT NULL,
    created_at {{int}} NOT NULL,
    -- The bare JID of who created it, for the bound on rooms of one account.
    creator TEXT NOT NULL,
    -- Occupants over a planned restart, or nothing.
    occupants {{bytes}},
    -- For its avatar (XEP-0486), or nothing.
    vcard {{bytes}}
) {{strict}};
CREATE INDEX room_creator ON room (creator);
CREATE INDEX room_domain ON room (domain, jid);
CREATE INDEX room_temporary ON room (id) WHERE stays = 0;
CREATE INDEX room_occupied ON room (jid) WHERE occupants IS NOT NULL;
CREATE INDEX room_public ON room (domain, public, jid);
-- What people are to a room, by bare JID or domain; affiliation as in XEP-0045 §5.2: 0 outcast, 1 none, 2 member,
-- 3 admin, 4 owner. A row with 1 has a nickname, or says since which version somebody is not listed any more.
CREATE TABLE room_affiliation (
    room {{int}} NOT NULL REFERENCES room (id) ON DELETE CASCADE,
    jid TEXT NOT NULL,
    affiliation {{int}} NOT NULL,
    nick TEXT,
    reason TEXT,
    -- The nickname that a member had last.
    called TEXT,
    version {{int}} NOT NULL,
    PRIMARY KEY (room, jid)
) {{strict}};
CREATE INDEX room_affiliation_jid ON room_affiliation (jid);
-- Rooms that a team has: its members are members of the room, and have it among their bookmarks.
CREATE TABLE team_room (
    team {{int}} NOT NULL REFERENCES team (id) ON DELETE CASCADE,
    room {{int}} NOT NULL REFERENCES room (id) ON DELETE CASCADE,
    -- The room's address.
    jid TEXT NOT NULL,
    PRIMARY KEY (team, room)
) {{strict}};
CREATE INDEX team_room_room ON team_room (room);
-- What teams brought to whom, so that it can be taken away, and nothing else. It outlives team, room and account until
-- that is done.
CREATE TABLE team_room_given (
    account {{int}} NOT NULL,
    -- The account's address.
    address TEXT NOT NULL,
    room {{int}} NOT NULL,
    -- The room's address.
    jid TEXT NOT NULL,
    -- 0 not done yet, 1 brought, 2 it was there before, 3 being brought.
    membership {{int}} NOT NULL,
    bookmark {{int}} NOT NULL,
    PRIMARY KEY (account, room)
) {{strict}};
