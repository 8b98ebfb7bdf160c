//! How far back in its line a job is that waits for its turn.

use std::time::Duration;

use vmctl_core::{
    record::Record,
    store::project::Run,
    turn::{Turn, turn},
};

use crate::app::{App, within};

/// How long the question may hold up an answer about the job.
const ADVISORY: Duration = Duration::from_millis(500);

/// Returns how many other jobs must end first; `None` while that is not known.
pub(crate) async fn ahead(app: &App, record: &Record) -> Option<u32> {
    let epoch = record.winner.as_ref()?.epoch;
    let spec = &record.spec.as_ref()?.spec;
    let keys: Vec<_> = spec
        .unique
        .iter()
        .map(|unique| unique.key.clone())
        .collect();
    let line = app.store.line(&spec.auth.project_id, &keys);
    let line = within(ADVISORY, line).await.ok()?;
    let run = Run {
        job: spec.id,
        epoch,
    };
    match turn(run, &line.places) {
        Turn::After(others) => u32::try_from(others).ok(),
        Turn::Now | Turn::Past => Some(0),
        Turn::Unknown => None,
    }
}
