//! What lets the broker outlive its process: a port for keeping rows, and what is kept.
//!
//! The broker works in memory. What it changes in durable queues and in streams it also notes as
//! rows that are put or removed, and a writer hands those to a [`Journal`], many at a time. What
//! always holds:
//!
//! - What one call changes is in one batch, and a batch is kept whole or not at all. So the journal
//!   is at every instant the state between two calls.
//! - A publish is confirmed when its batch is kept, and nobody is given a message before: no worker
//!   and no reader of the log acts on what a crash could take back.
//! - What only removes (an ack) is kept a little later. A crash in between delivers again, as a
//!   broker may.
//! - A batch that could not be kept is tried again until it is, and meanwhile publishers are
//!   blocked. Batches are never skipped and never reordered.
//!
//! Classic queues, which may lose what they hold, are not kept: ticks and control messages.

mod recorder;
mod restore;
mod rows;
#[cfg(feature = "testing")]
mod snapshot;
mod writer;

pub(super) use recorder::Recorder;
pub(super) use writer::{Progress, spawn};

use crate::bus::BoxError;

/// The format of the rows. A journal of a later one is refused.
pub const FORMAT: u32 = 1;

/// A kind of rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Table {
    /// The format.
    Meta,
    /// Exchanges, by name.
    Exchange,
    /// Durable queues and streams with their bindings, by name.
    Queue,
    /// Messages, by a number of their own.
    Message,
    /// What is in the queues, by queue and place: the message, and how often it came back.
    Entry,
    /// Dead letters that some queue refused, by queue and number.
    Letter,
    /// Entries of streams, by stream and offset: the message.
    Log,
}

impl Table {
    /// All of them.
    pub const ALL: [Self; 7] = [
        Self::Meta,
        Self::Exchange,
        Self::Queue,
        Self::Message,
        Self::Entry,
        Self::Letter,
        Self::Log,
    ];

    /// Returns the name, as it stands in journals.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Meta => "meta",
            Self::Exchange => "exchange",
            Self::Queue => "queue",
            Self::Message => "message",
            Self::Entry => "entry",
            Self::Letter => "letter",
            Self::Log => "log",
        }
    }
}

/// One row that is put, or removed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// Where.
    pub table: Table,
    /// Which row.
    pub key: Vec<u8>,
    /// What it holds from now on; `None` removes it.
    pub value: Option<Vec<u8>>,
}

/// Why a journal cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum JournalError {
    /// It cannot be read or written now: no space, an I/O error. The same call may succeed later.
    #[error("the journal cannot be read or written")]
    Unavailable(#[source] BoxError),
    /// What it holds cannot be what was written.
    #[error("the journal is damaged: {0}")]
    Damaged(String),
    /// It was written by a later version.
    #[error("the journal has format {found}, and this version knows none after {known}")]
    Newer {
        /// Its format.
        found: u32,
        /// The newest format that is known here.
        known: u32,
    },
    /// Another process uses it.
    #[error("another process uses the journal")]
    InUse,
}

/// Receives a row: its key and its value.
pub type Row<'a> = dyn FnMut(&[u8], &[u8]) -> Result<(), JournalError> + 'a;

/// Keeps rows. Both calls may block, and are made on threads that may.
pub trait Journal: Send + Sync {
    /// Gives every row of a table to `row`, in the order of the keys' bytes.
    ///
    /// # Errors
    ///
    /// [`JournalError`], also those of `row`.
    fn load(&self, table: Table, row: &mut Row<'_>) -> Result<(), JournalError>;

    /// Makes these changes, all or none, in this order. When it returns, they survive the loss of
    /// the process and of power. After an error they may have been made or not; the same call is
    /// made again, which must do no harm.
    ///
    /// # Errors
    ///
    /// [`JournalError::Unavailable`], as a rule.
    fn commit(&self, changes: &[Change]) -> Result<(), JournalError>;
}

/// What a journal held when it was opened.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Restored {
    /// Entries of all streams.
    pub log_entries: u64,
    /// Messages in all queues.
    pub queued: u64,
}
