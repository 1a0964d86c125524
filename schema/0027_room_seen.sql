-- XEP-0437: when a member was in the room last, in microseconds since 1970.
ALTER TABLE room_affiliation ADD COLUMN seen_at {{int}};
