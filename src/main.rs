//! The thin binary: see [`stonechat::server`].
fn main() {}
