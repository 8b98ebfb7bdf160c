//! A job that waits for its turn is woken when it may go on, or is to end.
//!
//! Its command is read from the log and looked at as if it had come from its queue. The one that goes
//! round finds later that it has gone on.

use std::{sync::Arc, time::Duration};

use vmctl_core::{
    bus::Log,
    event::EventType,
    fact::JobFact,
    store::{JobStore, StoreError, project::Run},
    turn::next,
};

use super::looks::{Look, Looks};
use crate::{
    said,
    turns::{Next, Turns, run_of},
};

/// Wakes whoever is next in line.
pub(crate) struct Waking {
    turns: Arc<Turns>,
    store: Arc<dyn JobStore>,
    log: Arc<dyn Log>,
    looks: Looks,
}

impl Waking {
    pub(crate) fn new(turns: Arc<Turns>, log: Arc<dyn Log>) -> Self {
        Self {
            store: Arc::clone(&turns.store),
            turns,
            log,
            looks: Looks::default(),
        }
    }

    /// Says whether a fact may concern somebody who waits.
    pub(crate) fn concerns(fact: &JobFact) -> bool {
        let keys = fact.spec.as_ref().is_some_and(|s| !s.unique.is_empty());
        keys && (fact.state.is_terminal() || is_wish(fact))
    }

    /// Looks at whom a fact concerns: the job itself, if somebody wants it cancelled, or who is next
    /// where it was.
    pub(crate) async fn wake(&self, fact: JobFact) {
        self.looks.series(fact.job, |_| self.look(&fact)).await;
    }

    async fn look(&self, fact: &JobFact) -> Look {
        self.try_look(fact).await.unwrap_or(NOT_YET)
    }

    async fn try_look(&self, fact: &JobFact) -> Result<Look, StoreError> {
        let run = Run {
            job: fact.job,
            epoch: fact.epoch,
        };
        if is_wish(fact) {
            return self.consider(run).await;
        }
        let Some(spec) = &fact.spec else {
            return Ok(Look::Over);
        };
        let mut found = Look::Over;
        for unique in &spec.unique {
            let key = std::slice::from_ref(&unique.key);
            let places = self.store.line(&spec.auth.project_id, key).await?.places;
            if places.iter().any(|place| place.run == run) {
                found = NOT_YET;
            } else if places.iter().all(|place| place.waits.is_some())
                && let Some(run) = next(&places)
                && !matches!(self.consider(run).await?, Look::Over)
            {
                found = NOT_YET;
            }
        }
        Ok(found)
    }

    /// Looks at a job that waits.
    async fn consider(&self, run: Run) -> Result<Look, StoreError> {
        let record = self.store.get(run.job).await?.record;
        let winner = record.as_ref().and_then(|record| record.winner.as_ref());
        let Some(winner) = winner.filter(|winner| winner.epoch == run.epoch) else {
            return Ok(NOT_YET);
        };
        if !winner.body.in_line {
            return Ok(Look::Over);
        }
        let Ok(Some(command)) = said::command(&*self.log, winner).await else {
            return Ok(NOT_YET);
        };
        if !command.is_in_line() || run_of(&command) != run {
            return Ok(Look::Over);
        }
        match self.turns.look(&command).await? {
            Next::Say(event) => match self.turns.publisher.publish(event.to_message()).await {
                Ok(()) => {
                    self.turns.confirmed(&event).await;
                    Ok(Look::Over)
                }
                Err(_) => Ok(NOT_YET),
            },
            Next::Nothing => Ok(Look::Over),
            Next::Wait | Next::Unknown | Next::Taken(_) => Ok(NOT_YET),
        }
    }
}

const NOT_YET: Look = Look::NotYet(Duration::ZERO);

fn is_wish(fact: &JobFact) -> bool {
    fact.event_type == EventType::CancelRequested
}
