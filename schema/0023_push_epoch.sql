-- The account's epoch when a push registration was enabled: one of a client without an id is shut with what else the
-- old password opened. One of a device that has an id is known by whether that knows the password.
ALTER TABLE push ADD COLUMN epoch {{int}} NOT NULL DEFAULT 0;

UPDATE push SET epoch = (SELECT epoch FROM account WHERE account.id = push.account);
