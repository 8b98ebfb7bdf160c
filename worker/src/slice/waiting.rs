//! The slices of a job that has asked for other jobs.

use vmctl_core::{
    Progress,
    bus::BusError,
    event::{Control, Event},
    record::Record,
    topology::Topology,
};

use super::{Interrupted, PUBLISH_PAUSE, Slice};
use crate::{
    children::{self, Next},
    handler::Outcome,
    signals::Signals,
    worker::Shared,
};

impl Slice<'_> {
    /// Looks at the children that the command waits for. Returns their records when the handler is to
    /// go on, `None` when the job waits on.
    pub(super) async fn children(
        &self,
        signals: &Signals,
    ) -> Result<Option<Vec<Option<Record>>>, Interrupted> {
        let Shared {
            author, backends, ..
        } = self.shared();
        let command = &*self.command;
        let Some(waits) = &command.data.waits else {
            return Ok(Some(Vec::new()));
        };
        let records = children::look(&backends.store, command, &waits.children).await;
        let states = children::states(&records);
        let cancelled = signals.cancel().is_cancelled() && !waits.shielded;
        let now = backends.clock.now();
        if children::is_over(waits, &states, cancelled, now) {
            for wish in children::cancels(&records, author.source(), now) {
                self.cancel_child(&wish).await?;
            }
        }
        // A command that was delayed came when it was due; one that was not was sent to wake.
        let woken = command.data.not_before.is_none();
        match children::next(waits, &states, cancelled, woken, now) {
            Next::Go => Ok(Some(records)),
            Next::Wait { waits, pause } => {
                let checkpoint = command.data.checkpoint.clone();
                let event = author.waiting(command, waits, pause, checkpoint);
                self.publish(event.to_due_message(now)).await?;
                Ok(None)
            }
        }
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

    /// Asks for the children of an outcome, before the job says that it waits for them.
    pub(super) async fn spawn(
        &self,
        outcome: Outcome,
        progress: Option<&Progress>,
    ) -> Result<Outcome, Interrupted> {
        let Outcome::Spawn(spawn) = &outcome else {
            return Ok(outcome);
        };
        let Shared {
            author, backends, ..
        } = self.shared();
        let now = backends.clock.now();
        let planned = children::plan(
            &self.command,
            spawn,
            &backends.registry,
            author.source(),
            now,
        );
        let commands = match planned {
            Ok(commands) => commands,
            Err(error) => return Ok(Outcome::Fail(error)),
        };
        // What cannot be told must not be begun.
        let told = author.conclude(&self.command, outcome.clone(), progress.cloned(), None);
        if told.event_type.is_terminal() {
            return Ok(outcome);
        }
        if !commands.is_empty() {
            self.declare(&children::topology(&commands)).await?;
        }
        children::publish_all(&commands, |event| self.publish(event.to_message())).await?;
        Ok(outcome)
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
            if matches!(error, BusError::Drift(_) | BusError::Refused(_)) {
                return Err(Interrupted::Refused);
            }
            self.pause(&mut pause).await?;
        }
    }
}
