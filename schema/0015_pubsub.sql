-- XEP-0060: nodes of accounts, whose service is the account's id, and of services with a domain of their own,
-- whose number is below zero (store/ids.rs). So there is no foreign key to accounts.
CREATE TABLE pubsub_node (
    id {{id}},
    service {{int}} NOT NULL,
    -- Its name, compared as it is written.
    node TEXT NOT NULL,
    creator TEXT NOT NULL,
    -- In microseconds since 1970, as all times here.
    created {{int}} NOT NULL,
    -- A line for each option that is not of NodeConfig::BASE (modules/pubsub/fields.rs).
    config TEXT NOT NULL,
    -- So that nobody has to count: the number of its items, and what it weighs with all that is in it.
    items {{int}} NOT NULL,
    bytes {{int}} NOT NULL,
    UNIQUE (service, node)
) {{strict}};

CREATE TABLE pubsub_item (
    -- Their order; an item that is published again comes last.
    seq {{id}},
    node {{int}} NOT NULL REFERENCES pubsub_node (id) ON DELETE CASCADE,
    item TEXT NOT NULL,
    -- Whom its publisher is known as.
    publisher TEXT NOT NULL,
    at {{int}} NOT NULL,
    -- One element, which declares all namespaces that it uses, or nothing.
    payload {{bytes}} NOT NULL,
    UNIQUE (node, item)
) {{strict}};

CREATE INDEX pubsub_item_order ON pubsub_item (node, seq);

CREATE TABLE pubsub_affiliation (
    node {{int}} NOT NULL REFERENCES pubsub_node (id) ON DELETE CASCADE,
    -- A bare JID.
    jid TEXT NOT NULL,
    affiliation TEXT NOT NULL,
    PRIMARY KEY (node, jid)
) {{clustered}};

CREATE INDEX pubsub_affiliation_jid ON pubsub_affiliation (jid);

CREATE TABLE pubsub_subscription (
    node {{int}} NOT NULL REFERENCES pubsub_node (id) ON DELETE CASCADE,
    -- The address to be notified, and the bare JID whose it is.
    jid TEXT NOT NULL,
    bare TEXT NOT NULL,
    state TEXT NOT NULL,
    PRIMARY KEY (node, jid)
) {{clustered}};

CREATE INDEX pubsub_subscription_bare ON pubsub_subscription (bare, node);
