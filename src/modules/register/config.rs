//! `[modules.register]`

/// Settings of in-band registration.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Who may create an account.
    pub mode: Mode,
    /// New accounts per hour from one IP address (IPv6: one /64). 0: no bound.
    pub per_ip_per_hour: u32,
    /// Whether a new name may mix scripts, such as a Cyrillic letter among Latin ones, or look like a
    /// name that people expect the server's operator to have. `stonechat user add` accepts any name.
    pub lookalikes: bool,
    /// Names that only the operator can assign.
    pub reserved_names: Vec<String>,
    /// Characters that a password chosen in-band must have.
    pub password_length_min: usize,
    /// Days for which a removed account can be restored. 0: it is erased at once.
    pub grace_days: u32,
}

/// Who may create an account.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// Anyone.
    Open,
    /// Who was invited.
    Invitation,
    /// Nobody; only the operator makes accounts.
    Closed,
}

impl Config {
    /// Whether whoever was invited may create an account.
    pub fn takes_invited(&self) -> bool {
        self.mode != Mode::Closed
    }

    /// Whether anyone may create an account.
    pub fn is_open(&self) -> bool {
        self.mode == Mode::Open
    }
}

impl Default for Config {
    fn default() -> Self {
        Self {
            mode: Mode::Invitation,
            per_ip_per_hour: 5,
            lookalikes: false,
            reserved_names: RESERVED.iter().map(|&name| name.to_owned()).collect(),
            password_length_min: 8,
            grace_days: 7,
        }
    }
}

/// The mailboxes of RFC 2142, and names that people expect the server's operator to have.
pub(super) const RESERVED: &[&str] = &[
    "abuse",
    "admin",
    "administrator",
    "admins",
    "daemon",
    "ftp",
    "help",
    "host",
    "hostmaster",
    "info",
    "jabber",
    "mailer-daemon",
    "marketing",
    "moderator",
    "news",
    "nobody",
    "noc",
    "noreply",
    "operator",
    "owner",
    "postmaster",
    "register",
    "root",
    "sales",
    "security",
    "server",
    "service",
    "staff",
    "support",
    "sysadmin",
    "system",
    "usenet",
    "uucp",
    "webmaster",
    "www",
    "xmpp",
];
