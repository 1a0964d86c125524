-- XEP-0045: rooms that their creators have configured. Who is in a room is not stored, but over a planned restart.
CREATE TABLE room (
    id {{id}},
    -- The bare JID.
    jid TEXT NOT NULL UNIQUE,
    -- Its domain: the service's.
    domain TEXT NOT NULL,
    -- JSON: what owners decided.
    settings TEXT NOT NULL,
    -- 0: it goes when nobody is in it.
    stays {{int}} NOT NULL,
    -- Makes the ids of its occupants (XEP-0421).
    secret {{bytes}} NOT NULL,
    -- Rises with each change of affiliations (XEP-0463).
    version {{int}} NOT NULL,
    -- The message that set the subject, without 'to', and when, in microseconds since 1970.
    subject {{bytes}},
    subject_at {{int}} NOT NULL,
    created_at {{int}} NOT NULL,
    -- The bare JID of who created it, for the bound on rooms of one account.
    creator TEXT NOT NULL,
    -- Occupants over a planned restart, or nothing.
    occupants {{bytes}}
) {{strict}};
CREATE INDEX room_creator ON room (creator);
CREATE INDEX room_domain ON room (domain, jid);
CREATE INDEX room_temporary ON room (id) WHERE stays = 0;
CREATE INDEX room_occupied ON room (jid) WHERE occupants IS NOT NULL;
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
