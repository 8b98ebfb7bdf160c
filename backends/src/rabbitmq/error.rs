//! Errors of the client library, in the words of the port.

use std::sync::Arc;

use lapin::ErrorKind;
use vmctl_core::bus::{BoxError, BusError};

/// Reply codes of AMQP 0-9-1 (chapter 1.2) that callers tell apart.
pub(super) const ACCESS_REFUSED: u16 = 403;
pub(super) const NOT_FOUND: u16 = 404;
pub(super) const PRECONDITION_FAILED: u16 = 406;

/// Why there is no connection. Cheap to copy: everybody who waits gets it.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{0}")]
pub(super) struct NoConnection(pub Arc<str>);

impl NoConnection {
    pub fn new(reason: impl Into<Arc<str>>) -> Self {
        Self(reason.into())
    }
}

impl From<NoConnection> for BusError {
    fn from(error: NoConnection) -> Self {
        Self::Unavailable(Some(Box::new(error)))
    }
}

/// Returns the broker's reply code and words, if it was the broker that objected.
pub(super) fn reply(error: &lapin::Error) -> Option<(u16, &str)> {
    match error.kind() {
        ErrorKind::ProtocolError(error) => Some((error.get_id(), error.get_message().as_str())),
        _ => None,
    }
}

/// Says what an error of the library means. Channel errors are the broker's answer to the call;
/// anything else means that the connection is of no use.
pub(super) fn bus_error(error: lapin::Error) -> BusError {
    if error.is_amqp_soft_error() {
        BusError::Refused(Box::new(error))
    } else {
        BusError::Unavailable(Some(Box::new(error)))
    }
}

/// As [`bus_error`], for a call about one queue.
pub(super) fn queue_error(queue: &str, error: lapin::Error) -> BusError {
    match reply(&error) {
        Some((NOT_FOUND, text)) if text.contains("no queue") => {
            BusError::MissingQueue(queue.to_owned())
        }
        _ => bus_error(error),
    }
}

/// Says whether the broker said that this user may not.
pub(super) fn is_access_refused(error: &BusError) -> bool {
    let BusError::Refused(source) = error else {
        return false;
    };
    let error = source.downcast_ref::<lapin::Error>();
    matches!(error.and_then(reply), Some((ACCESS_REFUSED, _)))
}

/// A name that AMQP cannot carry.
#[derive(Debug, thiserror::Error)]
#[error("{0} is longer than 255 bytes")]
pub(super) struct TooLong(pub &'static str);

impl From<TooLong> for BusError {
    fn from(error: TooLong) -> Self {
        let error: BoxError = Box::new(error);
        Self::Refused(error)
    }
}
