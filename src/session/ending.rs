//! Why a stream ends, and how long its closing may take.

use std::time::Duration;

use crate::stream::error::StreamFailure;

/// Why the stream ends.
pub(super) enum Ending {
    /// The client closed it.
    Closed,
    /// The client ended it with a stream error.
    GivenUp,
    /// We close it.
    Failure(Box<StreamFailure>),
    /// The connection is gone.
    Cut,
    /// No client resumed it in time.
    Expired,
    /// The server stops.
    Stop,
    /// The server stops, and everything that could still be sent to the session has been sent.
    Save,
}

/// How long the client of a closing connection may take to read the reason.
pub(super) const CLOSE_TIMEOUT: Duration = Duration::from_secs(2);
