//! What a source is: a stream of pieces.

use crate::admin::Secret;
use crate::base::credential::ScramKeys;
use crate::modules::api::Tag;
use std::fmt;
use std::io::Read;

/// One thing out of another server's data. Bounded: what is large comes in many pieces.
#[derive(Debug)]
pub enum Piece {
    /// An account; the parts and files that follow are its, until the next account or room.
    Account(MovedAccount),
    /// A room; the parts that follow are its.
    Room {
        /// Its address as it was: `room@conference.example.org`.
        jid: String,
    },
    /// An element of what was named last.
    Part {
        /// What it stands in, the outermost first; empty: the account or room itself.
        within: Vec<Tag>,
        /// One whole element, UTF-8, with all namespace declarations that it needs. It need not be proved: the
        /// importer does that. At most [`PART_BYTES_MAX`] bytes.
        xml: Vec<u8>,
    },
    /// An uploaded file of the account that was named last.
    File(MovedFile),
    /// Something that the source knows it cannot give. The import goes on.
    Untaken {
        /// Of which kind, in the plural: `roster items`.
        what: String,
        /// Which one: an address, an id, a name.
        which: String,
        /// Why, for people.
        why: String,
    },
}

/// An account as it was. It prints no keys.
#[derive(Default)]
pub struct MovedAccount {
    /// The domain, as written there; the importer brings it into normal form.
    pub host: String,
    /// The localpart, as written there (not percent-encoded, not escaped by XEP-0106 beyond what the JID has).
    pub name: String,
    /// The password, if the source has it in full.
    pub password: Option<Secret>,
    /// Keys, of several hashes. Taken before the password.
    pub keys: Vec<ScramKeys>,
    /// Whether nobody may log in to it.
    pub disabled: bool,
    /// When it was made, in microseconds since 1970, if that is known.
    pub created: Option<i64>,
    /// It is only said whose the things are that follow: it is not made for their sake.
    pub only_named: bool,
}

impl fmt::Debug for MovedAccount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "MovedAccount({}@{})", self.name, self.host)
    }
}

/// An uploaded file.
pub struct MovedFile {
    /// Its name, as its owner called it; no path.
    pub name: String,
    /// Its media type.
    pub media_type: String,
    /// Its size in bytes, which `body` has to have.
    pub size: u64,
    /// When it was uploaded, in microseconds since 1970.
    pub at: i64,
    /// The link by which others know it, if that is known.
    pub url: Option<String>,
    /// Its bytes.
    pub body: Box<dyn Read + Send>,
}

impl fmt::Debug for MovedFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "MovedFile({:?}, {} bytes)", self.name, self.size)
    }
}

/// The data of another server, read once from the beginning to the end in bounded memory.
///
/// Pieces come in an order in which they can be written: an account, then its parts (messages of an archive from
/// the oldest to the newest; the configuration of a node before its items; an archive before the messages that wait),
/// then the next account; rooms where they stand. An account may come again: more of its parts follow.
pub trait Source: Send {
    /// The next piece; `None` at the end. After an error nothing more comes: a single thing that cannot be read is a
    /// [`Piece::Untaken`].
    fn next(&mut self) -> Result<Option<Piece>, SourceError>;

    /// Where it is, for people: a file, and a line or a number of bytes.
    fn place(&self) -> String;

    /// How far it is, as a share of 1,000; `None` if that cannot be known.
    fn progress(&self) -> Option<u32> {
        None
    }
}

/// Why a source cannot be read any further.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{place}: {what}")]
pub struct SourceError {
    /// The file, and the line or byte in it.
    pub place: String,
    /// What is wrong there.
    pub what: String,
}

/// The size of one element: a vCard or an item of a node with a large picture in it is below.
pub const PART_BYTES_MAX: usize = 8 * 1024 * 1024;
/// How deep elements may be nested in a part.
pub const PART_DEPTH_MAX: usize = 64;
