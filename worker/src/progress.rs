//! Progress on its way from a handler to the bus.
//!
//! A handler never waits: it leaves its newest progress in one place, and what it had left there
//! before is overwritten. The slice publishes what it finds, at most once an interval, and the last
//! one at the end.

use std::{sync::Arc, time::Duration};

use tokio::{sync::watch, time::Instant};
use vmctl_core::{Progress, clock::Clock};

/// Where a handler reports progress.
#[derive(Clone)]
pub struct ProgressSink {
    newest: watch::Sender<Option<Progress>>,
    clock: Arc<dyn Clock>,
}

impl std::fmt::Debug for ProgressSink {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ProgressSink").finish_non_exhaustive()
    }
}

impl ProgressSink {
    /// Says how far the job is. Percentages above 100 are 100, and a job never goes back.
    pub fn report(&self, percent: u8, step: &str) {
        self.report_step(percent, step, None, None);
    }

    /// As [`ProgressSink::report`], with the number of the step and a line for people.
    pub fn report_step(
        &self,
        percent: u8,
        step: &str,
        number: Option<(u32, u32)>,
        message: Option<String>,
    ) {
        let at = self.clock.now();
        self.newest.send_modify(|newest| {
            let floor = newest.as_ref().map_or(0, |p| p.percent);
            *newest = Some(Progress {
                percent: percent.min(100).max(floor),
                step: step.to_owned(),
                step_number: number.map(|(n, _)| n),
                steps: number.map(|(_, of)| of),
                message,
                at,
            });
        });
    }
}

/// The other end: hands out progress at its pace.
pub(crate) struct ProgressPump {
    newest: watch::Receiver<Option<Progress>>,
    interval: Duration,
    next_at: Instant,
    number: u32,
}

/// When the first progress is handed out. What a shorter slice reports is in the event that ends it.
const FIRST: Duration = Duration::from_millis(100);

/// Makes both ends. `start` is where the slice before had come to.
pub(crate) fn channel(
    start: Option<Progress>,
    clock: Arc<dyn Clock>,
    interval: Duration,
) -> (ProgressSink, ProgressPump) {
    let (newest, receiver) = watch::channel(start);
    let sink = ProgressSink { newest, clock };
    let pump = ProgressPump {
        newest: receiver,
        interval,
        next_at: Instant::now() + interval.min(FIRST),
        number: 0,
    };
    (sink, pump)
}

impl ProgressPump {
    /// Waits for the next progress to publish and its number, from 1. Cancel safe. Never ends once
    /// the handler is gone.
    pub(crate) async fn next(&mut self) -> (u32, Progress) {
        loop {
            tokio::time::sleep_until(self.next_at).await;
            if self.newest.changed().await.is_err() {
                std::future::pending::<()>().await;
            }
            let newest = self.newest.borrow_and_update().clone();
            if let Some(progress) = newest {
                self.next_at = Instant::now() + self.interval;
                self.number = self.number.saturating_add(1);
                return (self.number, progress);
            }
        }
    }

    /// Returns what changes with each report.
    pub(crate) fn reports(&self) -> watch::Receiver<Option<Progress>> {
        self.newest.clone()
    }

    /// Returns where the job has come to.
    pub(crate) fn newest(&self) -> Option<Progress> {
        self.newest.borrow().clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use vmctl_core::clock::SystemClock;

    fn pair(start: Option<Progress>) -> (ProgressSink, ProgressPump) {
        channel(start, Arc::new(SystemClock), Duration::from_millis(250))
    }

    #[tokio::test(start_paused = true)]
    async fn a_burst_becomes_its_last_report() {
        let (sink, mut pump) = pair(None);
        let begun = Instant::now();
        sink.report(1, "a");
        assert_eq!(pump.next().await.1.percent, 1);
        assert!(begun.elapsed() >= FIRST);
        for percent in 2..=50 {
            sink.report(percent, "a");
        }
        let before = Instant::now();
        let (number, progress) = pump.next().await;
        assert_eq!((number, progress.percent), (2, 50));
        assert!(before.elapsed() >= Duration::from_millis(250));
    }

    #[tokio::test(start_paused = true)]
    async fn the_last_report_outlives_the_handler() {
        let (sink, pump) = pair(None);
        sink.report(7, "a");
        drop(sink);
        assert_eq!(pump.newest().map(|p| p.percent), Some(7));
    }

    #[tokio::test(start_paused = true)]
    async fn a_job_never_goes_back() {
        let (sink, mut pump) = pair(None);
        sink.report(60, "boot");
        sink.report(40, "start");
        sink.report(200, "ready");
        assert_eq!(pump.next().await.1.percent, 100);
        let (sink, pump) = pair(pump.newest());
        sink.report(5, "again");
        assert_eq!(pump.newest().map(|p| p.percent), Some(100));
    }
}
