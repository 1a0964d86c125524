//! Why a stream ends, and how long its last words may take.

use std::time::Duration;

use crate::stream::error::StreamFailure;

/// Why the stream ends.
pub(super) enum Ending {
    /// The client closed it.
    Closed,
    /// The client gave it up with a stream error.
    GivenUp,
    /// We close it.
    Failure(Box<StreamFailure>),
    /// The connection is gone.
    Cut,
    /// Nobody came to resume it in time.
    Expired,
    /// The server stops.
    Stop,
    /// The server stops, and all that could still be sent to the session was.
    Save,
}

/// How long a closing connection may take to hear the reason.
pub(super) const CLOSE_TIMEOUT: Duration = Duration::from_secs(2);
