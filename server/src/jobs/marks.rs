//! Marks: this server's signs in the log.
//!
//! Whatever was confirmed before a mark lies before it, so a view that has passed a mark knows all
//! of that. A confirmed mark is also the proof that the server can publish: readiness looks at it.

use std::{
    convert::Infallible,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use jiff::Timestamp;
use tokio::time::{Instant, MissedTickBehavior, interval};
use vmctl_core::{clock, event::Mark};

use crate::app::App;

/// The marks that the broker has confirmed: the first and the newest.
#[derive(Default)]
pub(crate) struct Marks(Mutex<Option<(Timestamp, Confirmed)>>);

/// A mark that is in the log.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Confirmed {
    /// Its time, as it stands in the log.
    pub time: Timestamp,
    at: Instant,
}

impl Marks {
    /// Returns the newest confirmed mark.
    pub fn newest(&self) -> Option<Confirmed> {
        self.both().map(|(_, newest)| newest)
    }

    /// Returns the time of the first confirmed mark: what was confirmed before this server was
    /// there lies before it.
    pub fn first(&self) -> Option<Timestamp> {
        self.both().map(|(first, _)| first)
    }

    fn both(&self) -> Option<(Timestamp, Confirmed)> {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn confirmed(&self, time: Timestamp) {
        let at = Instant::now();
        let mut both = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let first = both.map_or(time, |(first, _)| first);
        *both = Some((first, Confirmed { time, at }));
    }
}

impl Confirmed {
    pub fn age(&self) -> Duration {
        self.at.elapsed()
    }
}

/// Publishes marks for ever.
pub(crate) async fn publish(app: &App) -> Infallible {
    let mut ticks = interval(app.config.limits.mark_every);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut failing = false;
    loop {
        ticks.tick().await;
        let mark = Mark {
            id: clock::new_uuid(&*app.clock),
            server: app.config.name.clone(),
            time: app.now(),
        };
        match app.bus.publisher.publish(mark.to_message()).await {
            Ok(()) => {
                app.marks.confirmed(mark.time);
                failing = false;
            }
            // Said once: the readiness answer says it for as long as it lasts.
            Err(error) if !failing => {
                failing = true;
                tracing::warn!(
                    error = crate::error::chain(&error),
                    "a mark was not confirmed, publishing fails"
                );
            }
            Err(_) => {}
        }
    }
}
