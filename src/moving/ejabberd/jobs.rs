//! What is read of a database one after the other.

/// What is to be read next.
#[derive(Debug)]
pub enum Job {
    /// The account behind this one: domain and name.
    NextAccount(String, String),
    /// A part of an account.
    Part(Part, String, String),
    /// Contacts behind this row.
    #[allow(missing_docs)]
    Roster { name: String, host: String, after: i64 },
    /// A node of an account, by its number and name.
    Node(i64, String),
    /// Its items behind this time and row.
    Items(i64, String, String, i64),
    /// An archive behind this time and row: of an account or a room as the table has it, at a domain or at any.
    #[allow(missing_docs)]
    Archive { name: String, host: Option<String>, after: (i64, i64) },
    /// Messages that wait behind this row.
    #[allow(missing_docs)]
    Waiting { name: String, host: String, after: i64 },
    /// The room behind this one: service and name.
    NextRoom(String, String),
}

/// What an account has, in the order in which it is read.
#[derive(Debug, Clone, Copy)]
#[allow(missing_docs)]
pub enum Part {
    Vcard,
    Private,
    Privacy,
    Prefs,
    Nodes,
}
