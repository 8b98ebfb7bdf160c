//! A journal in memory that can fail, and a fixture that proves what a journal holds.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use super::{TokioClock, patiently};
use crate::memory::bus::{
    InMemoryBus, Limits,
    journal::{Change, Journal, JournalError, Row, Table},
};

/// Rows in memory. Clones share them.
#[derive(Debug, Clone, Default)]
pub struct InMemoryJournal(Arc<Mutex<Rows>>);

#[derive(Debug, Default)]
struct Rows {
    tables: BTreeMap<(Table, Vec<u8>), Vec<u8>>,
    batches: Vec<Vec<Change>>,
    failure: Option<Failure>,
}

/// How a commit fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Failure {
    /// Nothing is written.
    Before,
    /// Everything is written all the same.
    After,
}

impl InMemoryJournal {
    /// Makes an empty one.
    pub fn new() -> Self {
        Self::default()
    }

    /// Makes one of the first `count` batches, as a crash would leave it.
    #[must_use]
    pub fn after(&self, count: usize) -> Self {
        let mut rows = Rows::default();
        for batch in self.rows().batches.iter().take(count) {
            rows.apply(batch);
        }
        Self(Arc::new(Mutex::new(rows)))
    }

    /// Returns how many batches were written.
    pub fn batches(&self) -> usize {
        self.rows().batches.len()
    }

    /// Returns how many rows a table has.
    pub fn len(&self, table: Table) -> usize {
        let rows = self.rows();
        rows.tables.keys().filter(|(at, _)| *at == table).count()
    }

    /// Lets every commit fail from now on, or no longer.
    pub fn fail(&self, failure: Option<Failure>) {
        self.rows().failure = failure;
    }

    fn rows(&self) -> MutexGuard<'_, Rows> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Rows {
    fn apply(&mut self, changes: &[Change]) {
        self.batches.push(changes.to_vec());
        for Change { table, key, value } in changes.iter().cloned() {
            match value {
                Some(value) => self.tables.insert((table, key), value),
                None => self.tables.remove(&(table, key)),
            };
        }
    }
}

impl Journal for InMemoryJournal {
    fn load(&self, table: Table, row: &mut Row<'_>) -> Result<(), JournalError> {
        let rows = self.rows();
        let of_table = rows.tables.iter().filter(|((at, _), _)| *at == table);
        for ((_, key), value) in of_table {
            row(key, value)?;
        }
        Ok(())
    }

    fn commit(&self, changes: &[Change]) -> Result<(), JournalError> {
        let mut rows = self.rows();
        let failure = rows.failure;
        if failure != Some(Failure::Before) {
            rows.apply(changes);
        }
        match failure {
            Some(_) => Err(JournalError::Unavailable("no space left".into())),
            None => Ok(()),
        }
    }
}

/// Expects that a broker made of the journal holds exactly what this one does.
///
/// # Panics
///
/// When it does not.
pub async fn assert_kept(broker: &InMemoryBus, clock: TokioClock, journal: Arc<dyn Journal>) {
    patiently("written journal", async {
        while !broker.is_kept() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    })
    .await;
    let held = broker.snapshot();
    let (again, _) = InMemoryBus::with_journal(Arc::new(clock), Limits::default(), journal)
        .await
        .unwrap();
    assert_eq!(again.snapshot(), held);
}
