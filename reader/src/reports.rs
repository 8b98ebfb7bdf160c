//! Turns the flat reports of simple workers into the events that they mean.
//!
//! A report names a job and a state. The rest of the event is in the view, so a report waits until
//! the view is sure to have the job, or to have none.

use std::sync::Arc;

use tokio_util::sync::CancellationToken;
use vmctl_core::{
    bus::{Consumer, Delivery, Publisher},
    clock::{self, Clock},
    error::chain,
    event::Event,
    report::Report,
    store::FoldStore,
    topology::QUEUE_REPORTS,
};

use crate::{
    Backoff, metrics,
    taking::{publish, take},
};

pub(crate) struct Reports {
    pub publisher: Arc<dyn Publisher>,
    pub consumer: Arc<dyn Consumer>,
    pub store: Arc<dyn FoldStore>,
    pub clock: Arc<dyn Clock>,
    pub source: String,
}

impl Reports {
    /// Reads reports until `shutdown`. What is in hand then goes back to the queue.
    pub(crate) async fn run(self, shutdown: &CancellationToken) {
        let this = Arc::new(self);
        let consumer = Arc::clone(&this.consumer);
        tokio::select! {
            () = shutdown.cancelled() => {}
            () = take(&consumer, QUEUE_REPORTS, |delivery| Arc::clone(&this).process(delivery)) => {}
        }
    }

    async fn process(self: Arc<Self>, delivery: Delivery) {
        let result = match Report::parse(&delivery.message.body) {
            Ok(report) => self.answer(&report, &delivery.lost).await,
            Err(error) => {
                tracing::warn!(error = %chain(&error), "a flat report cannot be read");
                Some("unusable")
            }
        };
        // Whoever gets a lost one begins again.
        let Some(result) = result else { return };
        metrics::add(metrics::REPORTS, result, 1);
        if delivery.ack().await.is_err() {
            tracing::debug!("a report was lost before its ack; it is read again");
        }
    }

    /// Publishes what a report means; `None` when its delivery was lost before.
    async fn answer(&self, report: &Report, lost: &CancellationToken) -> Option<&'static str> {
        match self.event(report, lost).await? {
            Meant::Events(events) => {
                for event in &events {
                    if !publish(&self.publisher, event, lost).await {
                        return None;
                    }
                }
                Some("published")
            }
            Meant::Nothing => Some("nothing"),
            Meant::Unknown => {
                tracing::warn!(job.id = %report.uuid, "a flat report names no job that is known");
                Some("unknown")
            }
        }
    }

    /// Looks the job up until the report means something, or the view is known to be caught up.
    ///
    /// A view that lags may still have an earlier run of the job, or none of it at all.
    async fn event(&self, report: &Report, lost: &CancellationToken) -> Option<Meant> {
        let asked = self.clock.now();
        let mut backoff = Backoff::default();
        loop {
            match self.store.get(report.uuid).await {
                Ok(lookup) => {
                    let known = lookup.record.filter(|record| record.spec.is_some());
                    let now = self.clock.now();
                    let events = known
                        .as_ref()
                        .map(|record| report.events(record, &self.source, now))
                        .unwrap_or_default();
                    if !events.is_empty() {
                        return Some(Meant::Events(events));
                    }
                    // A mark that is younger than the report has passed, whoever's clock drew it: what was
                    // confirmed before it is in the view.
                    let late = clock::add(asked, clock::DIFFERENCE);
                    if lookup.partition.newest_mark.is_some_and(|mark| mark > late) {
                        return Some(known.map_or(Meant::Unknown, |_| Meant::Nothing));
                    }
                }
                Err(error) => {
                    tracing::debug!(error = %chain(&error), "a report waits for the view");
                }
            }
            tokio::select! {
                () = lost.cancelled() => return None,
                () = backoff.wait() => {}
            }
        }
    }
}

/// What a report comes to.
enum Meant {
    /// The job has moved.
    Events(Vec<Event>),
    /// The view has it already, the job is in another run, or it is not to run yet.
    Nothing,
    /// There is no such job.
    Unknown,
}
