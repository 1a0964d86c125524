-- XEP-0060: pubsub services with a domain of their own. The number is the service's in pubsub_node, below zero.
CREATE TABLE pubsub_service (
    number {{id}},
    domain TEXT NOT NULL UNIQUE
) {{strict}};
-- What a service holds, and whoever created nodes there, is bounded.
CREATE INDEX pubsub_node_creator ON pubsub_node (service, creator, bytes);
