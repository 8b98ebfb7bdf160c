//! The one who hands batches to the journal.
//!
//! While one batch is being written, the next gathers: many publishes share one commit, and a
//! single one does not wait for others.

use std::{
    collections::BTreeMap,
    sync::{Arc, Weak},
    time::Duration,
};

use tokio::{
    sync::Notify,
    task::{JoinHandle, spawn_blocking},
    time::sleep,
};

use super::{Change, Journal, JournalError, Recorder, recorder::Batch};
use crate::{
    error::chain,
    memory::bus::{Shared, broker::Broker},
};

/// How long what nobody waits for may be in memory only.
const LAZY: Duration = Duration::from_millis(20);

/// Between two tries of a batch that could not be written.
const AGAIN: Duration = Duration::from_millis(500);

/// How far the writer is.
#[derive(Debug, Clone, Default)]
pub(in crate::memory::bus) struct Progress {
    /// The last batch that is kept.
    pub kept: u64,
    /// Why the one after it is not.
    pub failure: Option<Arc<str>>,
}

/// Starts the writer. It ends when the broker is gone or shut down, and has written all by then.
pub(in crate::memory::bus) fn spawn(
    shared: &Arc<Shared>,
    journal: Arc<dyn Journal>,
) -> Option<JoinHandle<()>> {
    let (urgent, lazy) = shared.with(|broker, _| {
        let recorder = broker.journal.as_ref()?;
        Some((Arc::clone(&recorder.urgent), Arc::clone(&recorder.lazy)))
    })?;
    let writer = write(Arc::downgrade(shared), journal, urgent, lazy);
    Some(tokio::spawn(writer))
}

async fn write(
    shared: Weak<Shared>,
    journal: Arc<dyn Journal>,
    urgent: Arc<Notify>,
    lazy: Arc<Notify>,
) {
    loop {
        let Some((batch, is_over)) = next(&shared) else {
            return;
        };
        match batch {
            Some(batch) => keep(&shared, &journal, batch).await,
            None if is_over => return,
            None => tokio::select! {
                () = urgent.notified() => {}
                () = async { lazy.notified().await; sleep(LAZY).await } => {}
            },
        }
    }
}

/// Takes the next batch, and tells whether no other will come. `None` when nobody is left.
fn next(shared: &Weak<Shared>) -> Option<(Option<Batch>, bool)> {
    let shared = shared.upgrade()?;
    Some(shared.with(|broker, _| {
        let batch = broker.journal.as_mut().and_then(Recorder::take);
        (batch, broker.is_closed())
    }))
}

/// Writes a batch, if need be again and again.
async fn keep(shared: &Weak<Shared>, journal: &Arc<dyn Journal>, batch: Batch) {
    let Batch {
        number,
        changes,
        touched,
    } = batch;
    let changes: Arc<[Change]> = changes.into();
    while let Err(failure) = commit(journal, &changes).await {
        let Some(shared) = shared.upgrade() else {
            return;
        };
        let is_over = shared.with(|broker, _| {
            if let Some(recorder) = &mut broker.journal {
                recorder.set_failure(&chain(&failure));
            }
            broker.is_closed()
        });
        drop(shared);
        if is_over {
            return;
        }
        sleep(AGAIN).await;
    }
    if let Some(shared) = shared.upgrade() {
        shared.with(|broker, _| broker.kept(number, &touched));
    }
}

async fn commit(journal: &Arc<dyn Journal>, changes: &Arc<[Change]>) -> Result<(), JournalError> {
    let (journal, changes) = (Arc::clone(journal), Arc::clone(changes));
    match spawn_blocking(move || journal.commit(&changes)).await {
        Ok(outcome) => outcome,
        Err(panic) => Err(JournalError::Unavailable(panic.into())),
    }
}

impl Broker {
    /// A batch is kept: what it put can be given to everybody.
    fn kept(&mut self, number: u64, touched: &BTreeMap<String, u64>) {
        if let Some(recorder) = &mut self.journal {
            recorder.set_kept(number);
        }
        for (name, end) in touched {
            if let Some(stream) = self.streams.get_mut(name) {
                stream.show(*end);
            }
            self.dispatch(name);
        }
    }
}
