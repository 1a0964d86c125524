//! Tests of both machines: each alone, together over the framing, and with anything at all.

mod chaos;
mod incoming;
mod outgoing;
mod together;
mod world;
