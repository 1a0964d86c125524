//! What an operator sets for the API.

/// The settings.
#[derive(Debug, Clone, Default)]
pub struct ApiSettings {
    /// Names under which it is asked for, beside `localhost`, addresses and the served domains.
    pub names: Vec<String>,
    /// Requests that a token, or an address, may send a second on average; 0: no bound.
    pub requests_per_second: u32,
    /// How many above that at once.
    pub requests_burst: u32,
}
