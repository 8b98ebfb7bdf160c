//! The journal in a file, by `redb`.
//!
//! - A commit is two-phase: what was committed can be read again after the loss of the process or of
//!   power, and damage to it is told, never mended by going back to an older state.
//! - Every opening reads the whole file and checks each page.
//! - The file is locked; a second process is refused.
//! - After an I/O error (no space left) the library does not go on with its handle. It is dropped,
//!   and the next commit opens the file again, which brings back the last commit.

use std::{
    fmt,
    fs::{self, File},
    io,
    path::{Path, PathBuf},
    sync::{Mutex, MutexGuard, PoisonError},
};

use redb::{
    Builder, CommitError, Database, DatabaseError, ReadableDatabase as _, ReadableTable as _,
    StorageError, TableDefinition, TableError, TransactionError, backends::FileBackend,
};
use vmctl_core::memory::bus::journal::{Change, Journal, JournalError, Row, Table};

/// Memory that the library may use to keep pages: the broker holds everything itself.
const CACHE: usize = 32 << 20;

/// A file that is smaller is not made smaller.
const COMPACT_FROM: u64 = 64 << 20;

/// Opens the database; a test gives one on a storage that fails.
pub type Open = dyn Fn(&Builder) -> Result<Database, DatabaseError> + Send + Sync;

/// A journal in a file.
pub struct RedbJournal {
    open: Box<Open>,
    /// `None` after an error, until the next call opens it again.
    database: Mutex<Option<Database>>,
}

impl fmt::Debug for RedbJournal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedbJournal").finish_non_exhaustive()
    }
}

impl RedbJournal {
    /// Opens the file, which must be there and may be empty. Reads and checks all of it, and makes
    /// it smaller when most of it is unused.
    ///
    /// # Errors
    ///
    /// [`JournalError`]: damaged, in use, cannot be read.
    pub fn open(path: &Path) -> Result<Self, JournalError> {
        let unavailable = |error: io::Error| JournalError::Unavailable(error.into());
        let length = fs::metadata(path).map_err(unavailable)?.len();
        let path = PathBuf::from(path);
        let journal = Self::with(Box::new(move |builder| {
            let file = File::options().read(true).write(true).open(&path)?;
            builder.create_with_backend(FileBackend::new(file)?)
        }))?;
        if length >= COMPACT_FROM
            && let Some(database) = &mut *journal.lock()
        {
            shrink(database, length)?;
        }
        Ok(journal)
    }

    /// Opens another database, as often as it is needed.
    ///
    /// # Errors
    ///
    /// As [`open`](Self::open).
    pub fn with(open: Box<Open>) -> Result<Self, JournalError> {
        let database = open_database(&open)?;
        Ok(Self {
            open,
            database: Mutex::new(Some(database)),
        })
    }

    fn lock(&self) -> MutexGuard<'_, Option<Database>> {
        self.database.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Does one thing with the database; after an error it is opened again first.
    fn act<T>(
        &self,
        act: impl FnOnce(&Database) -> Result<T, JournalError>,
    ) -> Result<T, JournalError> {
        let mut slot = self.lock();
        let database = match slot.take() {
            Some(database) => database,
            None => open_database(&self.open)?,
        };
        let outcome = act(&database)?;
        *slot = Some(database);
        Ok(outcome)
    }
}

impl Journal for RedbJournal {
    fn load(&self, table: Table, row: &mut Row<'_>) -> Result<(), JournalError> {
        self.act(|database| {
            let transaction = database.begin_read().map_err(of_transaction)?;
            let table = match transaction.open_table(definition(table)) {
                Err(TableError::TableDoesNotExist(_)) => return Ok(()),
                table => table.map_err(of_table)?,
            };
            for found in table.iter().map_err(of_storage)? {
                let (key, value) = found.map_err(of_storage)?;
                row(key.value(), value.value())?;
            }
            Ok(())
        })
    }

    fn commit(&self, changes: &[Change]) -> Result<(), JournalError> {
        self.act(|database| {
            let mut transaction = database.begin_write().map_err(of_transaction)?;
            // Damage to the last commit must be told, not mended with the one before.
            transaction.set_two_phase_commit(true);
            // Changes of different tables do not depend on each other's order.
            for table in Table::ALL {
                let mut found = changes.iter().filter(|c| c.table == table).peekable();
                if found.peek().is_none() {
                    continue;
                }
                let mut rows = transaction
                    .open_table(definition(table))
                    .map_err(of_table)?;
                for Change { key, value, .. } in found {
                    let key = key.as_slice();
                    match value {
                        Some(value) => rows.insert(key, value.as_slice()).map(drop),
                        None => rows.remove(key).map(drop),
                    }
                    .map_err(of_storage)?;
                }
            }
            transaction.commit().map_err(of_commit)
        })
    }
}

fn definition(table: Table) -> TableDefinition<'static, &'static [u8], &'static [u8]> {
    TableDefinition::new(table.name())
}

fn open_database(open: &Open) -> Result<Database, JournalError> {
    let mut builder = Builder::new();
    builder
        .set_cache_size(CACHE)
        .set_check_integrity_on_open(true);
    open(&builder).map_err(of_database)
}

/// Gives space back when most of the file is unused.
fn shrink(database: &mut Database, length: u64) -> Result<(), JournalError> {
    let transaction = database.begin_write().map_err(of_transaction)?;
    let stats = transaction.stats().map_err(of_storage)?;
    transaction.abort().map_err(of_storage)?;
    let used = stats.stored_bytes() + stats.metadata_bytes() + stats.fragmented_bytes();
    if used > length / 2 {
        return Ok(());
    }
    let compacted = database.compact().map(drop);
    compacted.map_err(|error| JournalError::Unavailable(error.into()))
}

fn of_database(error: DatabaseError) -> JournalError {
    match error {
        DatabaseError::DatabaseAlreadyOpen | DatabaseError::LockProtocolMismatch => {
            JournalError::InUse
        }
        DatabaseError::Storage(error) => of_storage(error),
        error => JournalError::Unavailable(error.into()),
    }
}

fn of_storage(error: StorageError) -> JournalError {
    match error {
        StorageError::Corrupted(text) => JournalError::Damaged(text),
        StorageError::Io(error) => match error.kind() {
            io::ErrorKind::InvalidData | io::ErrorKind::UnexpectedEof => {
                JournalError::Damaged(error.to_string())
            }
            _ => JournalError::Unavailable(error.into()),
        },
        error => JournalError::Unavailable(error.into()),
    }
}

fn of_transaction(error: TransactionError) -> JournalError {
    match error {
        TransactionError::Storage(error) => of_storage(error),
        error => JournalError::Unavailable(error.into()),
    }
}

fn of_table(error: TableError) -> JournalError {
    match error {
        TableError::Storage(error) => of_storage(error),
        error => JournalError::Damaged(error.to_string()),
    }
}

fn of_commit(error: CommitError) -> JournalError {
    match error {
        CommitError::Storage(error) => of_storage(error),
        error => JournalError::Unavailable(error.into()),
    }
}
