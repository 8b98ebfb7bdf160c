//! A job that waits for its children is woken when it may go on.
//!
//! What is published is the waiting job's own command, read from the log, without its delay: the
//! copy in the delay tier is then the second one, and absorbed. A wake-up that is lost costs only
//! time, because the job looks again by itself. So nothing here holds up an end, and nothing is
//! remembered over a restart.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::{sync::Semaphore, time::sleep};
use vmctl_core::{
    JobId, JobState,
    bus::{Log, Publisher},
    children::{Standing, Waits, child_id},
    error::chain,
    event::EventType,
    fact::JobFact,
    record::{Record, Winner},
    store::JobStore,
};

use crate::{metrics, said};

/// Looks at one parent after an end. The view may be behind the end by some of them.
const LOOKS: u32 = 9;

/// The first pause between two looks; each is twice the one before.
const FIRST: Duration = Duration::from_millis(10);

/// Least pause for each child that a look reads.
const FOR_EACH_CHILD: Duration = Duration::from_micros(200);

/// Parents that are looked at at once; the others look by themselves.
const AT_ONCE: usize = 64;

/// Wakes parents.
pub(crate) struct Parents {
    pub store: Arc<dyn JobStore>,
    pub log: Arc<dyn Log>,
    pub publisher: Arc<dyn Publisher>,
    looking: Mutex<HashMap<JobId, bool>>,
    places: Semaphore,
}

/// What a look at a parent came to.
enum Look {
    /// It does not wait, or not for this.
    Over,
    /// Its children have not all ended yet, as far as the view knows.
    NotYet(usize),
    Woken,
}

impl Parents {
    pub(crate) fn new(
        store: Arc<dyn JobStore>,
        log: Arc<dyn Log>,
        publisher: Arc<dyn Publisher>,
    ) -> Self {
        Self {
            store,
            log,
            publisher,
            looking: Mutex::default(),
            places: Semaphore::new(AT_ONCE),
        }
    }

    /// Returns the job that a fact may wake: the parent of a job that has ended, or a job that
    /// somebody wants cancelled.
    pub(crate) fn concerned(fact: &JobFact) -> Option<JobId> {
        if fact.event_type == EventType::CancelRequested {
            return (fact.state == JobState::Waiting).then_some(fact.job);
        }
        fact.spec.as_ref()?.parent_id
    }

    fn looking(&self) -> MutexGuard<'_, HashMap<JobId, bool>> {
        // Every change under the lock is one statement.
        self.looking.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Wakes a job, if it may go on. Many calls for one job are one series of looks.
    pub(crate) async fn wake(&self, job: JobId) {
        if let Some(again) = self.looking().get_mut(&job) {
            *again = true;
            return;
        }
        let Ok(_place) = self.places.try_acquire() else {
            metrics::add(metrics::EFFECTS, "not-woken", 1);
            return;
        };
        self.looking().insert(job, false);
        let _gone = Gone(self, job);
        let mut pause = FIRST;
        let mut looks = 0;
        while looks < LOOKS {
            looks += 1;
            let mut least = Duration::ZERO;
            match self.look(job).await {
                Look::Over => return,
                Look::NotYet(children) => {
                    let children = u32::try_from(children).unwrap_or(u32::MAX);
                    least = FOR_EACH_CHILD.saturating_mul(children);
                }
                Look::Woken => {
                    metrics::add(metrics::EFFECTS, "woken", 1);
                    // A later command of the job may be on its way into a tier: look again.
                    pause = pause.max(Duration::from_secs(1));
                }
            }
            sleep(pause.max(least)).await;
            pause *= 2;
            if let Some(again) = self.looking().get_mut(&job)
                && std::mem::take(again)
            {
                (pause, looks) = (FIRST, 0);
            }
        }
    }

    async fn look(&self, job: JobId) -> Look {
        let Ok(lookup) = self.store.get(job).await else {
            return Look::NotYet(0);
        };
        let Some(record) = lookup.record else {
            return Look::NotYet(0);
        };
        let Some((winner, waits)) = waiting(&record) else {
            // Its word that it waits may still be on its way into the view.
            return if record.is_terminal() {
                Look::Over
            } else {
                Look::NotYet(0)
            };
        };
        if record.cancel_requested().is_none() || waits.decided || waits.shielded {
            let epoch = winner.epoch;
            let names = waits.children.iter();
            let ids: Vec<_> = names.map(|name| child_id(job, epoch, name)).collect();
            let Ok(children) = self.store.get_many(&ids).await else {
                return Look::NotYet(ids.len());
            };
            let states: Vec<_> = children
                .iter()
                .map(|child| child.record.as_ref()?.state())
                .collect();
            match waits.standing(&states) {
                Standing::Ended => {}
                Standing::Decided if !waits.decided => {}
                _ => return Look::NotYet(ids.len()),
            }
        }
        let Some(mut command) = said::command(&*self.log, winner).await else {
            return Look::NotYet(0);
        };
        command.data.not_before = None;
        match self.publisher.publish(command.to_message()).await {
            Ok(()) => Look::Woken,
            Err(error) => {
                tracing::debug!(
                    job.id = %job,
                    error = %chain(&error),
                    "a waiting job was not woken; it looks by itself"
                );
                Look::NotYet(0)
            }
        }
    }
}

/// Returns what a record says if its job waits.
fn waiting(record: &Record) -> Option<(&Winner, &Waits)> {
    let winner = record.winner.as_ref()?;
    let waits = winner.body.waits.as_deref()?;
    (winner.state == JobState::Waiting).then_some((winner, waits))
}

/// Forgets a job when the looks at it end, however they end.
struct Gone<'a>(&'a Parents, JobId);

impl Drop for Gone<'_> {
    fn drop(&mut self) {
        self.0.looking().remove(&self.1);
    }
}
