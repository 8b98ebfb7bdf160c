//! Turns the flat reports of simple workers into the events that they mean.
//!
//! A report names a job and a state. The rest of the event is in the view, so a report waits until
//! the view is sure to have the job, or to have none.

use std::sync::Arc;

use tokio_util::sync::CancellationToken;
use vmctl_core::{
    bus::{Consumer, Delivery, Publisher},
    clock::Clock,
    error::chain,
    record::Record,
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
        let Some(record) = self.record(report, lost).await? else {
            tracing::warn!(job.id = %report.uuid, "a flat report names no job that is known");
            return Some("unknown");
        };
        let Some(event) = report.event(&record, &self.source, self.clock.now()) else {
            return Some("nothing");
        };
        publish(&self.publisher, &event, lost)
            .await
            .then_some("published")
    }

    /// Looks the job up until the view has it, or is known to be caught up and has it not.
    async fn record(&self, report: &Report, lost: &CancellationToken) -> Option<Option<Record>> {
        let asked = self.clock.now();
        let mut backoff = Backoff::default();
        loop {
            match self.store.get(report.uuid).await {
                Ok(lookup) => {
                    let known = lookup.record.filter(|record| record.spec.is_some());
                    // A mark that is younger than the report has passed: what was confirmed before it
                    // is in the view.
                    let sure = lookup
                        .partition
                        .newest_mark
                        .is_some_and(|mark| mark > asked)
                        || known.is_some();
                    if sure {
                        return Some(known);
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
