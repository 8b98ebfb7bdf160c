//! Whether a kind's work queue, or the delay before it, takes more.
//!
//! The broker's own limit is a far backstop: one full queue would stop a delay tier for every kind.
//! So the server looks at the queues every few seconds and refuses before it publishes.
//!
//! The broker confirms a command that only the log holds. So a kind is admitted only when its work
//! queue and the log have been seen since the broker was last away: only then does a confirm mean
//! that a worker can get the command.

use std::{collections::HashMap, convert::Infallible, time::Duration};

use tokio::{
    sync::{Notify, watch},
    time::{MissedTickBehavior, interval, timeout},
};
use vmctl_api_types::{JobId, Kind, KindQueue, ProblemType};
use vmctl_core::{
    bus::{BusError, BusState, PublishError},
    topology::{
        QUEUE_DEAD, QUEUE_EFFECTS, QUEUE_LOG, QUEUE_REPORTS, QUEUE_TURN, Tier, Topology,
        delay_queue, work_queue,
    },
};

use crate::{
    app::App,
    error::{ApiError, publish_error},
};

/// How long one look may take.
const LOOK: Duration = Duration::from_secs(5);

/// How long a submission waits for a look that it has asked for.
const AT_ONCE: Duration = Duration::from_secs(1);

/// How often the state of the link is read. A broker that restarts is away for longer.
const LINK_EVERY: Duration = Duration::from_millis(100);

/// What the last looks found.
#[derive(Default)]
pub(crate) struct Admission {
    seen: watch::Sender<Seen>,
    /// Somebody waits for a look.
    wanted: Notify,
}

/// What was seen since the broker was last away. What nobody could look at is not there.
#[derive(Default)]
struct Seen {
    log: Option<Queue>,
    work: HashMap<Kind, Queue>,
    consumers: HashMap<Kind, u32>,
    delay: HashMap<Tier, Queue>,
    turn: Option<Queue>,
    /// Counts how often all of it was forgotten, so that a look that was under way is dropped.
    era: u64,
}

/// What a command passes before it is in its work queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Passage {
    /// Nothing.
    Straight,
    /// A delay.
    Delay(Tier),
    /// Its line.
    Turn,
}

impl Passage {
    /// Returns that of a command with this delay, or that waits for its turn.
    pub fn new(delay: Option<Tier>, queues: bool) -> Self {
        if queues {
            Self::Turn
        } else {
            delay.map_or(Self::Straight, Self::Delay)
        }
    }
}

/// How long a command that waits for its turn rests most of the time.
const TURN_RESTS: Tier = Tier::M1;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Queue {
    Missing,
    Holds(u64),
}

impl Seen {
    fn knows(&self, kind: &Kind) -> bool {
        self.log.is_some() && self.work.contains_key(kind)
    }
}

impl Admission {
    /// Refuses a kind whose queue is full, missing or not known.
    pub fn check(&self, kind: &Kind, limit: u64) -> Result<(), ApiError> {
        let seen = self.seen.borrow();
        match (seen.log, seen.work.get(kind)) {
            (_, Some(Queue::Missing)) => Err(unavailable("this kind has no work queue")),
            (Some(Queue::Missing), _) => Err(unavailable("the broker has no log")),
            (Some(Queue::Holds(_)), Some(Queue::Holds(ready))) if *ready >= limit => {
                Err(ApiError::new(ProblemType::QueueFull)
                    .retry_after(10)
                    .detail("too many jobs of this kind are waiting; nothing was accepted"))
            }
            (Some(Queue::Holds(_)), Some(Queue::Holds(_))) => Ok(()),
            (None, _) | (_, None) => Err(unavailable("the work queue has not been seen yet")),
        }
    }

    /// Refuses a passage of which a queue is full or missing. One that nobody has seen yet was declared
    /// with the work queues.
    pub fn check_passage(&self, passage: Passage, limit: u64) -> Result<(), ApiError> {
        let seen = self.seen.borrow();
        let on_the_way = match passage {
            Passage::Straight => [None, None],
            Passage::Delay(tier) => [seen.delay.get(&tier), None],
            Passage::Turn => [seen.turn.as_ref(), seen.delay.get(&TURN_RESTS)],
        };
        for queue in on_the_way.into_iter().flatten() {
            match queue {
                Queue::Missing => {
                    return Err(unavailable("the broker has no queue for this delay"));
                }
                Queue::Holds(ready) if *ready >= limit => {
                    let full = ApiError::new(ProblemType::QueueFull).retry_after(10);
                    return Err(full.detail(
                        "too many jobs are scheduled or wait like this one; nothing was accepted",
                    ));
                }
                Queue::Holds(_) => {}
            }
        }
        Ok(())
    }

    /// Returns how many commands of a kind waited when its queue was looked at last.
    pub fn waiting(&self, kind: &Kind) -> u64 {
        match self.seen.borrow().work.get(kind) {
            Some(Queue::Holds(ready)) => *ready,
            Some(Queue::Missing) | None => 0,
        }
    }

    /// Returns what was seen of a kind's work queue last.
    pub fn queue(&self, kind: &Kind) -> Option<KindQueue> {
        let seen = self.seen.borrow();
        match (seen.work.get(kind)?, seen.consumers.get(kind)?) {
            (Queue::Holds(depth), consumers) => Some(KindQueue {
                depth: *depth,
                consumers: *consumers,
            }),
            (Queue::Missing, _) => None,
        }
    }

    fn era(&self) -> u64 {
        self.seen.borrow().era
    }

    /// Notes what a look found that began in this era.
    fn note(&self, era: u64, change: impl FnOnce(&mut Seen)) {
        self.seen.send_if_modified(|seen| {
            let holds = seen.era == era;
            if holds {
                change(seen);
            }
            holds
        });
    }

    fn forget(&self) {
        self.seen.send_modify(|seen| {
            *seen = Seen {
                era: seen.era.wrapping_add(1),
                ..Seen::default()
            }
        });
    }
}

fn unavailable(why: &str) -> ApiError {
    ApiError::new(ProblemType::KindUnavailable)
        .retry_after(10)
        .detail(format!("{why}; nothing was accepted"))
}

/// Refuses a job whose command would not be published, or would be in no queue. What is not known
/// yet is looked at now, for at most a second.
///
/// `passage` is what its command passes first.
pub(crate) async fn admit(
    app: &App,
    kind: &Kind,
    passage: Passage,
    job: JobId,
) -> Result<(), ApiError> {
    if app.config.paused_kinds.contains(kind) {
        return Err(ApiError::new(ProblemType::KindPaused)
            .retry_after(60)
            .detail(format!(
                "{kind} takes no jobs for now; those that were accepted before go on"
            )));
    }
    let obstacle = match app.bus.publisher.state() {
        BusState::Up => None,
        BusState::Blocked(reason) => Some(PublishError::Blocked(reason)),
        BusState::Down(reason) => {
            app.admission.forget();
            Some(PublishError::Unavailable(Some(reason.into())))
        }
    };
    if let Some(obstacle) = obstacle {
        return Err(publish_error(obstacle, job));
    }
    let mut seen = app.admission.seen.subscribe();
    if !seen.borrow_and_update().knows(kind) {
        app.admission.wanted.notify_one();
        // In vain or not: the check below says what is known.
        let _ = timeout(AT_ONCE, seen.wait_for(|seen| seen.knows(kind))).await;
    }
    let limit = app.config.limits.queue_ready;
    app.admission.check(kind, limit)?;
    app.admission.check_passage(passage, limit)
}

/// Declares what the server needs, then looks at the work queues for ever. Ends only with drift,
/// which waiting does not cure.
pub(crate) async fn watch(app: &App) -> BusError {
    tokio::select! {
        drift = look_for_ever(app) => drift,
        never = forget_when_down(app) => match never {},
    }
}

/// A broker that was away may have come back empty.
async fn forget_when_down(app: &App) -> Infallible {
    let mut ticks = interval(LINK_EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        if matches!(app.bus.publisher.state(), BusState::Down(_)) {
            app.admission.forget();
        }
    }
}

async fn look_for_ever(app: &App) -> BusError {
    let kinds: Vec<_> = app.registry.kinds().map(|spec| spec.kind.clone()).collect();
    let topology = Topology::new(&kinds);
    let mut ticks = interval(app.config.limits.inspect_every);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut declared = None;
    let mut refusal = Refusal::default();
    loop {
        tokio::select! {
            _ = ticks.tick() => {}
            () = app.admission.wanted.notified() => {}
        }
        let era = app.admission.era();
        if declared != Some(era) {
            match app.bus.admin.declare(&topology).await {
                Ok(()) => {
                    declared = Some(era);
                    refusal = Refusal::default();
                }
                Err(error @ BusError::Drift(_)) => return error,
                // Whoever may not declare works with what others have declared.
                Err(error @ (BusError::Refused(_) | BusError::Absent(_))) => {
                    if refusal.is_news(&error) {
                        tracing::warn!(
                            error = crate::error::chain(&error),
                            "the broker refuses to declare the topology"
                        );
                    }
                }
                // A queue that is there may not be bound yet: it is being declared by somebody else.
                Err(error) => {
                    tracing::debug!(
                        error = crate::error::chain(&error),
                        "the topology is not declared yet"
                    );
                    continue;
                }
            }
        }
        if look(app, &kinds, era).await == Found::Gap {
            declared = None;
        }
    }
}

/// The last refusal that was told: each is told once.
#[derive(Default)]
struct Refusal(Option<String>);

impl Refusal {
    fn is_news(&mut self, error: &BusError) -> bool {
        if !matches!(error, BusError::Refused(_) | BusError::Absent(_)) {
            return false;
        }
        let text = crate::error::chain(error);
        let news = self.0.as_ref() != Some(&text);
        self.0 = Some(text);
        news
    }
}

/// Whether a queue that was looked at is missing.
#[derive(Debug, PartialEq, Eq)]
enum Found {
    All,
    Gap,
}

async fn look(app: &App, kinds: &[Kind], era: u64) -> Found {
    let mut found = Found::All;
    // A look that fails changes nothing: while the link is up, what was seen last holds.
    if let Some((log, _)) = inspect(app, QUEUE_LOG).await {
        app.admission.note(era, |seen| seen.log = Some(log));
        if log == Queue::Missing {
            found = Found::Gap;
        }
    }
    for tier in Tier::ALL {
        if let Some((queue, _)) = inspect(app, &delay_queue(tier)).await {
            app.admission.note(era, |seen| {
                seen.delay.insert(tier, queue);
            });
            if queue == Queue::Missing {
                found = Found::Gap;
            }
        }
    }
    for kind in kinds {
        let Some((queue, consumers)) = inspect(app, &work_queue(kind)).await else {
            continue;
        };
        app.admission.note(era, |seen| {
            seen.work.insert(kind.clone(), queue);
            seen.consumers.insert(kind.clone(), consumers);
        });
        if queue == Queue::Missing {
            found = Found::Gap;
        }
    }
    if let Some((queue, _)) = inspect(app, QUEUE_TURN).await {
        app.admission.note(era, |seen| seen.turn = Some(queue));
        if queue == Queue::Missing {
            found = Found::Gap;
        }
    }
    for name in [QUEUE_EFFECTS, QUEUE_REPORTS, QUEUE_DEAD] {
        if let Some((Queue::Missing, _)) = inspect(app, name).await {
            found = Found::Gap;
        }
    }
    found
}

/// Returns what a queue holds and who takes from it.
async fn inspect(app: &App, name: &str) -> Option<(Queue, u32)> {
    match timeout(LOOK, app.bus.admin.inspect(name)).await {
        Ok(Ok(stats)) => {
            metrics::gauge!("queue_missing", "queue" => name.to_owned())
                .set(u8::from(stats.is_none()));
            let found = stats.unwrap_or_default();
            // Precise up to 2^52 messages.
            #[expect(clippy::cast_precision_loss, reason = "a gauge is a float")]
            metrics::gauge!("queue_messages_ready", "queue" => name.to_owned())
                .set(found.ready as f64);
            metrics::gauge!("queue_consumers", "queue" => name.to_owned()).set(found.consumers);
            let queue = stats.map_or(Queue::Missing, |stats| Queue::Holds(stats.ready));
            Some((queue, found.consumers))
        }
        Ok(Err(_)) | Err(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_was_seen_is_admitted() {
        let admission = Admission::default();
        let kind: Kind = "vm.create".parse().unwrap();
        let slug = || {
            let refused = admission.check(&kind, 10).err();
            refused.map(|e| e.problem().problem_type.clone())
        };
        let note = |log, work| {
            admission.note(admission.era(), |seen| {
                seen.log = Some(log);
                seen.work.insert(kind.clone(), work);
            });
        };
        let unavailable = Some("/problems/kind-unavailable");
        assert_eq!(slug().as_deref(), unavailable);
        let era = admission.era();
        admission.note(era, |seen| {
            seen.work.insert(kind.clone(), Queue::Holds(9));
        });
        assert_eq!(slug().as_deref(), unavailable);
        note(Queue::Holds(1_000), Queue::Holds(9));
        assert_eq!(slug(), None);
        note(Queue::Holds(1_000), Queue::Holds(10));
        assert_eq!(slug().as_deref(), Some("/problems/queue-full"));
        note(Queue::Holds(1_000), Queue::Missing);
        assert_eq!(slug().as_deref(), unavailable);
        note(Queue::Missing, Queue::Holds(9));
        assert_eq!(slug().as_deref(), unavailable);
        note(Queue::Holds(1_000), Queue::Holds(9));
        let passage = |passage| {
            let refused = admission.check_passage(passage, 10).err();
            refused.map(|e| e.problem().problem_type.clone())
        };
        let tier = |tier| passage(Passage::Delay(tier));
        for (queue, answer) in [
            (Queue::Holds(9), None),
            (Queue::Holds(10), Some("/problems/queue-full")),
            (Queue::Missing, unavailable),
        ] {
            admission.note(admission.era(), |seen| {
                seen.delay.insert(Tier::H6, queue);
            });
            assert_eq!(tier(Tier::H6).as_deref(), answer);
            assert_eq!(tier(Tier::H1), None);
            assert_eq!(passage(Passage::Turn), None);
        }
        admission.note(admission.era(), |seen| seen.turn = Some(Queue::Holds(10)));
        assert_eq!(
            passage(Passage::Turn).as_deref(),
            Some("/problems/queue-full")
        );
        assert_eq!(passage(Passage::Straight), None);
        admission.forget();
        assert_eq!(slug().as_deref(), unavailable);
        // A look that began before the loss says nothing about now.
        admission.note(era, |seen| seen.log = Some(Queue::Holds(0)));
        assert!(admission.seen.borrow().log.is_none());
    }

    #[test]
    fn a_refusal_is_told_once_until_it_changes() {
        let mut refusal = Refusal::default();
        let refused = |text: &str| BusError::Refused(text.into());
        assert!(refusal.is_news(&refused("no permission")));
        assert!(!refusal.is_news(&refused("no permission")));
        assert!(!refusal.is_news(&BusError::Unavailable(None)));
        assert!(!refusal.is_news(&refused("no permission")));
        assert!(refusal.is_news(&refused("no such type")));
    }
}
