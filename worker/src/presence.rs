//! That the worker lives, what it consumes and what it has in hand: said now and then, for those who run
//! the service.
//!
//! It is said by the runtime that runs the handlers, and only what the lanes themselves say of their
//! consumers and slots. Nothing waits for it, and nothing depends on it.

use std::{convert::Infallible, sync::Arc, time::Duration};

use jiff::Timestamp;
use tokio::time::{Instant, sleep, timeout};
use tokio_util::sync::CancellationToken;
use vmctl_api_types::{JobInHand, Presence, ServedKind, WorkerState};
use vmctl_core::{
    JobId,
    bus::{BusState, Message},
    clock,
    presence::{EVERY, MAX_JOBS, to_message},
};

use crate::{running::Hand, slice::Lane, worker::Shared};

/// How often it is looked whether there is something new to say.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// How long the last word is waited for.
const LAST_WORD: Duration = Duration::from_secs(1);

/// Who speaks for a worker.
pub(crate) struct Speaker {
    shared: Arc<Shared>,
    lanes: Vec<Arc<Lane>>,
    started_at: Timestamp,
}

/// Speaks until it is dropped: at least every [`EVERY`], and soon after what it consumes has changed.
pub(crate) async fn speak(speaker: Arc<Speaker>, stop: CancellationToken) -> Infallible {
    let mut said = None;
    let mut next = Instant::now();
    loop {
        let state = if stop.is_cancelled() {
            WorkerState::Draining
        } else {
            WorkerState::Working
        };
        let now = (state, speaker.consuming());
        if Instant::now() >= next || said.as_ref() != Some(&now) {
            speaker.say(state).await;
            next = Instant::now() + EVERY.mul_f64(rand::random_range(0.8..1.0));
            said = Some(now);
        }
        tokio::select! {
            () = stop.cancelled(), if state == WorkerState::Working => {}
            () = sleep(LOOK_EVERY) => {}
        }
    }
}

impl Speaker {
    pub(crate) fn new(shared: Arc<Shared>, lanes: Vec<Arc<Lane>>) -> Self {
        Self {
            started_at: shared.backends.clock.now(),
            shared,
            lanes,
        }
    }

    /// Says it once. Without a broker nobody would hear it; then it is not kept for later either.
    async fn say(&self, state: WorkerState) {
        let publisher = &self.shared.backends.bus.publisher;
        if publisher.state() != BusState::Up {
            return;
        }
        if let Err(error) = publisher.publish_tick(self.message(state)).await {
            tracing::debug!(
                error = &error as &dyn std::error::Error,
                "the worker's presence was not published"
            );
        }
    }

    /// Says the last word. The connection may be closed right after, so that this one is waited for, but
    /// not long: without it the worker is gone a little later.
    pub(crate) async fn say_the_end(&self) {
        let message = self.message(WorkerState::Ended);
        let publisher = &self.shared.backends.bus.publisher;
        let _ = timeout(LAST_WORD, publisher.publish(message)).await;
    }

    fn message(&self, state: WorkerState) -> Message {
        let clock = &*self.shared.backends.clock;
        let now = clock.now();
        to_message(self.presence(state, now), clock::new_uuid(clock), now)
    }

    fn consuming(&self) -> Vec<bool> {
        self.lanes.iter().map(|lane| lane.is_consuming()).collect()
    }

    fn presence(&self, state: WorkerState, now: Timestamp) -> Presence {
        let config = &self.shared.config;
        let hands = self.shared.running.in_hand(MAX_JOBS);
        Presence {
            name: config.name.clone(),
            app: config.app.clone(),
            version: config.version.clone(),
            language: "rust".to_owned(),
            started_at: self.started_at,
            state,
            kinds: self.lanes.iter().map(|lane| served(lane)).collect(),
            jobs: hands.into_iter().map(|hand| in_hand(hand, now)).collect(),
        }
    }
}

fn served(lane: &Lane) -> ServedKind {
    ServedKind {
        kind: lane.kind.clone(),
        slots: lane.shared.config.slots().into(),
        in_hand: lane.in_hand(),
        consuming: lane.is_consuming(),
    }
}

fn in_hand((id, hand): (JobId, Hand), now: Timestamp) -> JobInHand {
    let before = |at: Instant| now.checked_sub(at.elapsed()).unwrap_or(now);
    JobInHand {
        id,
        kind: hand.kind,
        project_id: hand.project,
        attempt: hand.attempt,
        since: before(hand.since),
        heard_at: before(hand.pulse.last()),
    }
}
