//! A job that waits for its children is woken when it may go on.
//!
//! What is published is the waiting job's own command, read from the log, without its delay: the
//! copy in the delay tier is then the second one, and absorbed. A wake-up that is lost costs only
//! time, because the job looks again by itself.

use std::{sync::Arc, time::Duration};

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

use super::looks::{Known, Look, Looks};
use crate::said;

/// Least pause for each child that a look reads.
const FOR_EACH_CHILD: Duration = Duration::from_micros(200);

/// Wakes parents.
pub(crate) struct Parents {
    pub store: Arc<dyn JobStore>,
    pub log: Arc<dyn Log>,
    pub publisher: Arc<dyn Publisher>,
    looks: Looks,
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
            looks: Looks::default(),
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

    /// Wakes a job, if it may go on.
    pub(crate) async fn wake(&self, job: JobId) {
        self.looks.series(job, |known| self.look(job, known)).await;
    }

    async fn look(&self, job: JobId, known: Known) -> Look {
        let Ok(lookup) = self.store.get(job).await else {
            return Look::NotYet(Duration::ZERO);
        };
        let Some(record) = lookup.record else {
            return Look::NotYet(Duration::ZERO);
        };
        let decides = record.winner.as_ref().map(|winner| winner.id);
        if known.woken.is_some() && decides == known.woken {
            return Look::NotYet(Duration::ZERO);
        }
        let Some((winner, waits)) = waiting(&record) else {
            // Its word that it waits may still be on its way into the view.
            return if record.is_terminal() || known.answered {
                Look::Over
            } else {
                Look::NotYet(Duration::ZERO)
            };
        };
        if record.cancel_requested().is_none() || waits.decided || waits.shielded {
            let epoch = winner.epoch;
            let names = waits.children.iter();
            let ids: Vec<_> = names.map(|name| child_id(job, epoch, name)).collect();
            let Ok(children) = self.store.get_many(&ids).await else {
                return not_yet(ids.len());
            };
            let states: Vec<_> = children
                .iter()
                .map(|child| child.record.as_ref()?.state())
                .collect();
            match waits.standing(&states) {
                Standing::Ended => {}
                Standing::Decided if !waits.decided => {}
                _ => return not_yet(ids.len()),
            }
        }
        let Ok(Some(mut command)) = said::command(&*self.log, winner).await else {
            return Look::NotYet(Duration::ZERO);
        };
        command.data.not_before = None;
        match self.publisher.publish(command.to_message()).await {
            Ok(()) => Look::Woken(command.id),
            Err(error) => {
                tracing::debug!(
                    job.id = %job,
                    error = %chain(&error),
                    "a waiting job was not woken; it looks by itself"
                );
                Look::NotYet(Duration::ZERO)
            }
        }
    }
}

fn not_yet(children: usize) -> Look {
    let children = u32::try_from(children).unwrap_or(u32::MAX);
    Look::NotYet(FOR_EACH_CHILD.saturating_mul(children))
}

/// Returns what a record says if its job waits.
fn waiting(record: &Record) -> Option<(&Winner, &Waits)> {
    let winner = record.winner.as_ref()?;
    let waits = winner.body.waits.as_deref()?;
    (winner.state == JobState::Waiting).then_some((winner, waits))
}
