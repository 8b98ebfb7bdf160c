//! A job that waits for its children is woken when it may go on.
//!
//! What is published is the waiting job's own command, read from the log, without its delay: the
//! copy in the delay tier is then the second one, and absorbed. A wake-up that is lost costs only
//! time, because the job looks again by itself. So nothing here holds up an end, and nothing is
//! remembered over a restart. While a job is looked at, every end of a child makes the looks begin anew.

use std::{
    collections::HashMap,
    pin::pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::{
    sync::Notify,
    time::{sleep, timeout},
};
use uuid::Uuid;
use vmctl_core::{
    JobId, JobState,
    bus::{Log, LogStart, Publisher},
    children::{Standing, Waits, child_id},
    error::chain,
    event::{Event, EventType},
    fact::JobFact,
    record::{Record, Winner},
    store::JobStore,
};

use crate::metrics;

/// Looks at one parent after its newest end. The view may be behind the end by some of them.
const LOOKS: u32 = 9;

/// The first pause between two looks; each is twice the one before.
const FIRST: Duration = Duration::from_millis(10);

/// Least pause for each child that a look reads.
const FOR_EACH_CHILD: Duration = Duration::from_micros(200);

/// How long the log may take to give one entry.
const READ: Duration = Duration::from_secs(5);

/// Parents that are looked at at once; the others look by themselves.
const AT_ONCE: usize = 64;

/// Wakes parents.
pub(crate) struct Parents {
    pub store: Arc<dyn JobStore>,
    pub log: Arc<dyn Log>,
    pub publisher: Arc<dyn Publisher>,
    /// The jobs that are looked at, each by one series of looks, and what makes it begin anew.
    looking: Mutex<HashMap<JobId, Arc<Notify>>>,
}

/// What a look at a parent came to.
enum Look {
    /// It does not wait, or not for this.
    Over,
    /// Its children have not all ended yet, as far as the view knows; or it has not answered yet.
    NotYet(usize),
    /// Its command with this id was published.
    Woken(Uuid),
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

    fn looking(&self) -> MutexGuard<'_, HashMap<JobId, Arc<Notify>>> {
        // Every change under the lock is one statement.
        self.looking.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Wakes a job, if it may go on. Many calls for one job are one series of looks, and none of them
    /// is forgotten while it runs.
    pub(crate) async fn wake(&self, job: JobId) {
        if let Some(series) = self.begin(job) {
            series.run().await;
        }
    }

    /// Begins a series of looks; makes the one that runs begin anew instead, if there is one.
    fn begin(&self, job: JobId) -> Option<Series<'_>> {
        let mut looking = self.looking();
        if let Some(again) = looking.get(&job) {
            again.notify_one();
            return None;
        }
        if looking.len() >= AT_ONCE {
            metrics::add(metrics::EFFECTS, "not-woken", 1);
            return None;
        }
        let again = Arc::new(Notify::new());
        looking.insert(job, Arc::clone(&again));
        Some(Series {
            parents: self,
            job,
            again,
        })
    }

    /// `woken` is the command that was published already; `answered` when the job may have gone on
    /// because of it.
    async fn look(&self, job: JobId, woken: Option<Uuid>, answered: bool) -> Look {
        let Ok(lookup) = self.store.get(job).await else {
            return Look::NotYet(0);
        };
        let Some(record) = lookup.record else {
            return Look::NotYet(0);
        };
        if record.winner.as_ref().map(|winner| winner.id) == woken {
            return Look::NotYet(0);
        }
        let Some((winner, waits)) = waiting(&record) else {
            // Its word that it waits may still be on its way into the view.
            return if record.is_terminal() || answered {
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
        let Some(command) = self.command(winner).await else {
            return Look::NotYet(0);
        };
        match self.publisher.publish(command.to_message()).await {
            Ok(()) => Look::Woken(command.id),
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

    /// Reads the command that a waiting job goes on with, as it lies in the log.
    async fn command(&self, winner: &Winner) -> Option<Event> {
        let offset = winner.offset?;
        let read = async {
            let mut log = self.log.read(LogStart::Offset(offset)).await.ok()?;
            log.next_batch(1).await.ok()?.into_iter().next()
        };
        let entry = timeout(READ, read).await.ok()??;
        let mut event = Event::parse(&entry.message.body).ok()?;
        if event.id != winner.id || !event.event_type.is_command() {
            return None;
        }
        event.data.not_before = None;
        Some(event)
    }
}

/// Returns what a record says if its job waits.
fn waiting(record: &Record) -> Option<(&Winner, &Waits)> {
    let winner = record.winner.as_ref()?;
    let waits = winner.body.waits.as_deref()?;
    (winner.state == JobState::Waiting).then_some((winner, waits))
}

/// The looks at one job. It has a place as long as it lives.
struct Series<'a> {
    parents: &'a Parents,
    job: JobId,
    /// Told when there is a reason to look again.
    again: Arc<Notify>,
}

impl Series<'_> {
    /// Looks until the job has answered a wake-up, or the view had its time to know of the newest end.
    async fn run(&self) {
        let (mut pause, mut looks) = (FIRST, 0);
        let (mut woken, mut answered) = (None, false);
        loop {
            looks += 1;
            let look = self.parents.look(self.job, woken, answered).await;
            let mut least = FIRST;
            let mut is_over = looks >= LOOKS;
            match look {
                Look::Over => is_over = true,
                Look::NotYet(children) => {
                    let children = u32::try_from(children).unwrap_or(u32::MAX);
                    least = FIRST.max(FOR_EACH_CHILD.saturating_mul(children));
                }
                Look::Woken(command) => {
                    metrics::add(metrics::EFFECTS, "woken", 1);
                    // A later command of the job may be on its way into a tier: look what it says.
                    (woken, answered) = (Some(command), true);
                    (pause, looks, is_over) = (FIRST, 0, false);
                }
            }
            if is_over && self.ends() {
                return;
            }
            sleep(least).await;
            if !is_over {
                tokio::select! {
                    () = sleep(pause.saturating_sub(least)) => {
                        pause *= 2;
                        continue;
                    }
                    () = self.again.notified() => {}
                }
            }
            (pause, looks, answered) = (FIRST, 0, false);
        }
    }

    /// Gives its place back, unless there is a reason to look again: what comes later begins another
    /// series.
    fn ends(&self) -> bool {
        let mut looking = self.parents.looking();
        let mut again = pin!(self.again.notified());
        if again.as_mut().enable() {
            return false;
        }
        looking.remove(&self.job);
        true
    }
}

impl Drop for Series<'_> {
    fn drop(&mut self) {
        let mut looking = self.parents.looking();
        // By now another series may have begun.
        if looking
            .get(&self.job)
            .is_some_and(|again| Arc::ptr_eq(again, &self.again))
        {
            looking.remove(&self.job);
        }
    }
}
