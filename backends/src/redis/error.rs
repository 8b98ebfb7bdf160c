//! What went wrong, in the words of the port.

use redis::{ErrorKind, RedisError, ServerErrorKind};
use vmctl_core::store::StoreError;

/// Tells what a caller can act on.
pub fn store_error(error: RedisError) -> StoreError {
    if is_full(&error) {
        return StoreError::Full(error.into());
    }
    match error.kind() {
        ErrorKind::UnexpectedReturnType => StoreError::Corrupt(error.to_string()),
        _ if error.code() == Some("WRONGTYPE") => StoreError::Corrupt(error.to_string()),
        _ => StoreError::Unavailable(error.into()),
    }
}

/// Redis before 7 wraps what a script met into an error of its own.
fn is_full(error: &RedisError) -> bool {
    let wrapped = "OOM command not allowed";
    error.code() == Some("OOM") || error.detail().is_some_and(|d| d.contains(wrapped))
}

/// Says whether the connection is of no use any more: lost, or to a server that no longer leads.
pub fn ends_connection(error: &RedisError) -> bool {
    match error.kind() {
        ErrorKind::Server(kind) => matches!(kind, ServerErrorKind::ReadOnly),
        ErrorKind::Io | ErrorKind::Parse => true,
        _ => error.is_unrecoverable_error(),
    }
}

/// Says whether the server does not have the script.
pub fn is_missing_script(error: &RedisError) -> bool {
    error.kind() == ErrorKind::Server(ServerErrorKind::NoScript)
}

/// Something that this version cannot read.
pub fn corrupt(what: impl std::fmt::Display) -> StoreError {
    StoreError::Corrupt(what.to_string())
}
