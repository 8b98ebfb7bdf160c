//! Publishes what must follow the end of a job.
//!
//! Ends of jobs wait in a queue of their own, because what can be rewound must have no side effects:
//! the fold reads the log again whenever the view is lost. Each end is taken, what follows it is
//! published and confirmed, and only then it is acked. What follows has ids that are derived from
//! the end, so a reader that is killed between any two steps, and another that begins again, make
//! copies that worker and merge absorb.
//!
//! ```text
//! delivery --> an end of a job? --> what follows --> believed? --> published and confirmed --> ack
//!                  | no                                 | no
//!                 ack, counted                         ack, said
//! ```
//!
//! Each kind of effect is a module that says, without I/O, what follows a fact. Beside that, a job that
//! waits for its children, or for its turn, is woken; that may be lost.

mod callbacks;
mod looks;
mod parents;
mod turns;

use std::sync::{Arc, Mutex, PoisonError};

use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use vmctl_core::{
    bus::{Consumer, Delivery, LogEntry, Publisher},
    clock::{self, Clock},
    event::Event,
    fact::{Fact, JobFact, Retention, interpret},
    record::HistoryEntry,
    store::{FoldStore, Lookup},
    topology::QUEUE_EFFECTS,
};

pub(crate) use callbacks::Callbacks;
pub(crate) use parents::Parents;
pub(crate) use turns::Waking;

use crate::{
    Backoff, metrics,
    taking::{publish, take},
};

pub(crate) struct Effects {
    pub publisher: Arc<dyn Publisher>,
    pub consumer: Arc<dyn Consumer>,
    pub clock: Arc<dyn Clock>,
    pub callbacks: Callbacks,
    pub parents: Arc<Parents>,
    pub turns: Arc<Waking>,
    pub store: Arc<dyn FoldStore>,
    /// Looks at jobs that may go on; they end with this.
    pub waking: Mutex<JoinSet<()>>,
}

impl Effects {
    /// Follows ends until `shutdown`. What is in hand then goes back to the queue.
    pub(crate) async fn run(self, shutdown: &CancellationToken) {
        let this = Arc::new(self);
        let consumer = Arc::clone(&this.consumer);
        tokio::select! {
            () = shutdown.cancelled() => {}
            () = take(&consumer, QUEUE_EFFECTS, |delivery| Arc::clone(&this).process(delivery)) => {}
        }
    }

    /// Looks at jobs that may go on because of a fact, beside what is in hand.
    fn wake(&self, fact: JobFact) {
        let mut waking = self.waking.lock().unwrap_or_else(PoisonError::into_inner);
        while waking.try_join_next().is_some() {}
        if let Some(job) = Parents::concerned(&fact) {
            let parents = Arc::clone(&self.parents);
            waking.spawn(async move { parents.wake(job).await });
        }
        if Waking::concerns(&fact) {
            let turns = Arc::clone(&self.turns);
            waking.spawn(async move { turns.wake(fact).await });
        }
    }

    /// Settles one delivery. Holds it, and so its place in the prefetch, until the broker takes
    /// what follows or the delivery is lost.
    async fn process(self: Arc<Self>, delivery: Delivery) {
        let fact = read(&delivery);
        if let Ok(fact) = &fact {
            self.wake(fact.clone());
        }
        let result = match fact.and_then(terminal) {
            Ok(fact) => {
                let mut following = self.following(&fact);
                let believed = if following.is_empty() {
                    Some(true)
                } else {
                    self.is_believed(&fact, &delivery.lost).await
                };
                // Whoever gets a lost one begins again.
                let Some(believed) = believed else { return };
                if !believed {
                    tracing::warn!(job.id = %fact.job, "the end of a job is not believed, and nothing follows it");
                    following.clear();
                }
                for event in &following {
                    if !publish(&self.publisher, event, &delivery.lost).await {
                        // Whoever gets it next begins again.
                        metrics::add(metrics::EFFECTS, "lost", 1);
                        return;
                    }
                }
                if following.is_empty() {
                    "nothing"
                } else {
                    "followed"
                }
            }
            Err(reason) => {
                tracing::debug!(
                    message.id = delivery.message.message_id.as_deref().unwrap_or_default(),
                    bus.routing_key = delivery.message.routing_key,
                    reason,
                    "nothing can follow this message"
                );
                "unusable"
            }
        };
        if delivery.ack().await.is_err() {
            tracing::debug!("an end was lost before its ack; it is followed again");
        }
        metrics::add(metrics::EFFECTS, result, 1);
    }

    /// Waits until the view has an end, and says so; false when the view is complete and has the job
    /// without it: the log did not believe it. `None` when the delivery was lost before.
    async fn is_believed(&self, fact: &JobFact, lost: &CancellationToken) -> Option<bool> {
        let late = clock::add(self.clock.now(), clock::DIFFERENCE);
        let id = fact.id.to_string();
        // The broker may tell less of a command that it gave up to one of its queues than to another.
        let is_it = |HistoryEntry { event, .. }: &HistoryEntry| {
            let given_up = fact.given_up && event.event_type == fact.event_type.word();
            event.epoch == fact.epoch && (given_up || event.id == id)
        };
        let mut backoff = Backoff::default();
        loop {
            if let Ok(story) = self.store.story(fact.job).await {
                let Lookup { record, partition } = story.lookup;
                if story.history.iter().any(is_it) {
                    return Some(true);
                }
                if partition.newest_mark.is_some_and(|mark| mark > late) {
                    // What was forgotten meanwhile cannot be asked.
                    return Some(record.is_none());
                }
            }
            tokio::select! {
                () = lost.cancelled() => return None,
                () = backoff.wait() => {}
            }
        }
    }

    /// Says what follows a fact: nothing, or one message for each kind of effect.
    fn following(&self, fact: &JobFact) -> Vec<Event> {
        let now = self.clock.now();
        self.callbacks.follow(fact, now).into_iter().collect()
    }
}

/// Reads what a delivery says about a job; why it says nothing otherwise. A command that the broker gave
/// up is an end, as in the log.
fn read(delivery: &Delivery) -> Result<JobFact, String> {
    let entry = LogEntry {
        // It was not read from the log; nothing here looks at the offset.
        offset: 0,
        message: delivery.message.clone(),
    };
    match interpret(&entry, Retention::default()) {
        Fact::Job(fact) => Ok(*fact),
        Fact::Bad { reason, .. } => Err(reason),
        Fact::Mark(_) | Fact::Other => Err("not about a job".to_owned()),
    }
}

/// Says why a fact is not the end of a job.
fn terminal(fact: JobFact) -> Result<JobFact, String> {
    if fact.state.is_terminal() {
        Ok(fact)
    } else {
        Err(format!("{} ends no job", fact.event_type))
    }
}
