-- XEP-0049: the elements that an account's clients keep for themselves. Those of one name and namespace
-- replace each other together; nth is their order.
CREATE TABLE private_xml (
    account {{int}} NOT NULL REFERENCES account (id) ON DELETE CASCADE,
    ns TEXT NOT NULL,
    name TEXT NOT NULL,
    nth {{int}} NOT NULL,
    -- With all namespace declarations that it needs.
    element {{bytes}} NOT NULL,
    PRIMARY KEY (account, ns, name, nth)
) {{strict}};
