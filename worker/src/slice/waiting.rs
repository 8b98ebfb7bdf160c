//! The slices of a job that has asked for other jobs.

use std::time::Duration;

use jiff::Timestamp;
use vmctl_core::{
    JobError,
    bus::BusError,
    children::{Standing, Waits},
    clock,
    event::{Control, Event, EventType},
    record::Record,
    topology::Topology,
};

use super::{End, HandlerTask, Interrupted, PUBLISH_PAUSE, Slice, ended_as};
use crate::{
    author::until,
    children::{self, Next, Spawn},
    handler::{Ctx, Outcome},
    names::Names,
    signals::Signals,
    worker::Shared,
};

/// How often a handler may decide again after jobs were refused; then its job fails.
const MOST_REFUSED: u32 = 3;

/// How long an attempt whose time is over waits for the children that it has cancelled.
const LAST_WAIT: Duration = Duration::from_secs(60);

impl Slice<'_> {
    /// Looks at the children that the command waits for. Returns their records when the handler is to
    /// go on, `None` when the job waits on.
    pub(super) async fn children(
        &self,
        signals: &Signals,
        attempt_until: Option<Timestamp>,
    ) -> Result<Option<Vec<Option<Record>>>, Interrupted> {
        let backends = &self.shared().backends;
        let command = &*self.command;
        let Some(waits) = &command.data.waits else {
            return Ok(Some(Vec::new()));
        };
        let records = children::look(&backends.store, command, &waits.children).await;
        let states = children::states(&records);
        let cancelled = signals.cancel().is_cancelled() && !waits.shielded;
        let now = backends.clock.now();
        if children::is_over(waits, &states, cancelled, now) {
            self.cancel_children(&records, now).await?;
        }
        // A command that was delayed came when it was due; one that was not was sent to wake.
        let woken = command.data.not_before.is_none();
        match children::next(waits, &states, cancelled, woken, now) {
            Next::Go => Ok(Some(records)),
            Next::Wait { waits, pause } => {
                self.wait_on(waits, pause, attempt_until).await?;
                Ok(None)
            }
        }
    }

    /// Says whether the job waits for children that take back what others did.
    pub(super) fn waits_for_clean_up(&self) -> bool {
        let waits = self.command.data.waits.as_ref();
        waits.is_some_and(|waits| waits.shielded)
    }

    /// Ends the wait of an attempt whose time was over then: asks the children that live to cancel. Says
    /// whether the job still waits for their end, so that its next attempt does not run beside them; for
    /// a moment at most.
    pub(super) async fn give_up_children(&self, over: Timestamp) -> Result<bool, Interrupted> {
        let backends = &self.shared().backends;
        let Some(waits) = &self.command.data.waits else {
            return Ok(false);
        };
        let records = children::look(&backends.store, &self.command, &waits.children).await;
        let states = children::states(&records);
        if waits.standing(&states) == Standing::Ended {
            return Ok(false);
        }
        let now = backends.clock.now();
        self.cancel_children(&records, now).await?;
        let left = until(now, clock::add(over, LAST_WAIT));
        let waits = Waits {
            looks: 0,
            ..waits.clone()
        };
        match children::next(&waits, &states, true, false, now) {
            Next::Wait { waits, pause } if !left.is_zero() => {
                self.wait_on(waits, pause.min(left), Some(over)).await?;
                Ok(true)
            }
            _ => Ok(false),
        }
    }

    async fn wait_on(
        &self,
        waits: Waits,
        pause: Duration,
        attempt_until: Option<Timestamp>,
    ) -> Result<(), Interrupted> {
        let Shared {
            author, backends, ..
        } = self.shared();
        let checkpoint = self.command.data.checkpoint.clone();
        let mut event = author.waiting(&self.command, waits, pause, checkpoint);
        event.data.attempt_until = attempt_until;
        let now = backends.clock.now();
        self.publish(event.to_due_message(now)).await
    }

    async fn cancel_children(
        &self,
        records: &[Option<Record>],
        now: Timestamp,
    ) -> Result<(), Interrupted> {
        for wish in children::cancels(records, self.shared().author.source(), now) {
            self.cancel_child(&wish).await?;
        }
        Ok(())
    }

    async fn cancel_child(&self, wish: &Event) -> Result<(), Interrupted> {
        self.publish(wish.to_message()).await?;
        let control = Control::Cancel {
            job_id: wish.subject,
            epoch: wish.data.epoch,
            reason: wish.data.reason.clone(),
        };
        let publisher = &self.shared().backends.bus.publisher;
        if let Err(error) = publisher.broadcast(control).await {
            tracing::debug!(
                error = &error as &dyn std::error::Error,
                "the cancel of a child was not broadcast; its next slice sees it"
            );
        }
        Ok(())
    }

    /// Returns what is to be published at the end of a slice, after the jobs that it asks for were
    /// published. Whoever asks for jobs that are refused decides again.
    pub(super) async fn ask(
        &self,
        mut end: End,
        ctx: Ctx,
        tell: impl Fn(End) -> Event,
    ) -> Result<Event, Interrupted> {
        let mut refusals = 0;
        loop {
            let End::Finished(Outcome::Spawn(spawn), None) = end else {
                return Ok(tell(end));
            };
            let event = tell(End::Finished(Outcome::Spawn(spawn.clone()), None));
            let Err(error) = self.spawn(&spawn, &event).await? else {
                return Ok(event);
            };
            refusals += 1;
            if refusals > MOST_REFUSED {
                return Ok(tell(End::Finished(Outcome::Fail(error), None)));
            }
            let (handler, ctx) = (self.lane.handler.clone(), ctx.clone());
            // A panic of it is a failed attempt, too.
            let mut task = HandlerTask(tokio::spawn(
                async move { handler.refused(&ctx, spawn, error) },
            ));
            end = ended_as((&mut task.0).await, None)?;
        }
    }

    /// Asks for the children of an outcome, before its message says that the job waits for them. Returns
    /// why they are refused; then nothing was asked for.
    async fn spawn(
        &self,
        spawn: &Spawn,
        told: &Event,
    ) -> Result<Result<(), JobError>, Interrupted> {
        let Shared {
            author,
            backends,
            config,
            ..
        } = self.shared();
        let command = &*self.command;
        let now = backends.clock.now();
        let planned = children::plan(command, spawn, &backends.registry, author.source(), now);
        let commands = match planned {
            Ok(commands) => commands,
            Err(error) => return Ok(Err(error)),
        };
        // What cannot be told must not be begun.
        match (told.event_type, &told.data.error) {
            (EventType::Failed, Some(error)) => return Ok(Err(error.clone())),
            (word, _) if word.is_terminal() => return Ok(Ok(())),
            _ => {}
        }
        if commands.is_empty() {
            return Ok(Ok(()));
        }
        self.declare(&children::topology(&commands)).await?;
        let names = Names {
            store: &*backends.store,
            patience: config.store_timeout,
            parent: command,
            now,
        };
        if let Err(error) = names.take(&commands).await {
            return Ok(Err(error));
        }
        children::publish_all(&commands, |event| self.publish(event.to_message())).await?;
        Ok(Ok(()))
    }

    /// Makes sure that the queues of children are there: their workers may never have run.
    async fn declare(&self, topology: &Topology) -> Result<(), Interrupted> {
        let admin = &self.shared().backends.bus.admin;
        let (mut pause, _) = PUBLISH_PAUSE;
        loop {
            let Err(error) = admin.declare(topology).await else {
                return Ok(());
            };
            tracing::warn!(
                job.id = %self.command.subject,
                error = &error as &dyn std::error::Error,
                "the queues of children are not declared; trying again"
            );
            if matches!(
                error,
                BusError::Drift(_) | BusError::Refused(_) | BusError::Absent(_)
            ) {
                return Err(Interrupted::Refused);
            }
            self.pause(&mut pause).await?;
        }
    }
}
