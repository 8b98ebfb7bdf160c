//! Metrics of a worker, by name.

use metrics::{
    Unit, counter, describe_counter, describe_gauge, describe_histogram, gauge, histogram,
};
use vmctl_core::{Kind, event::Event, event::EventType};

use crate::author::until;

const DELIVERIES: &str = "worker_deliveries_total";
const ACTIVE: &str = "jobs_active";
const FINISHED: &str = "jobs_finished_total";
const RETRIES: &str = "job_retries_total";
const DEAD: &str = "jobs_dead_total";
const QUEUE_WAIT: &str = "job_queue_wait_seconds";
const RUN: &str = "job_run_seconds";
const TOTAL: &str = "job_total_seconds";
const CALLBACKS: &str = "callback_deliveries_total";
const STUCK: &str = "flow_compensations_stuck_total";
const UNCONFIRMED: &str = "worker_unconfirmed_total";

/// Describes the worker's metrics to the recorder.
pub fn describe() {
    describe_counter!(DELIVERIES, Unit::Count, "Deliveries, by how they ended");
    describe_gauge!(ACTIVE, Unit::Count, "Slices that run in this process");
    describe_counter!(FINISHED, Unit::Count, "Jobs ended by this process");
    describe_counter!(
        RETRIES,
        Unit::Count,
        "Attempts that failed and are tried again"
    );
    describe_counter!(DEAD, Unit::Count, "Jobs parked as failed, by error type");
    describe_histogram!(
        QUEUE_WAIT,
        Unit::Seconds,
        "From submission to the first start"
    );
    describe_histogram!(RUN, Unit::Seconds, "Running time of one slice");
    describe_histogram!(TOTAL, Unit::Seconds, "From submission to the end");
    describe_counter!(
        CALLBACKS,
        Unit::Count,
        "Attempts to deliver a callback, by outcome"
    );
    describe_counter!(
        STUCK,
        Unit::Count,
        "Steps of flows that could not be undone many times in a row"
    );
    describe_counter!(
        UNCONFIRMED,
        Unit::Count,
        "Publishes that had to be tried again"
    );
}

pub(crate) fn delivery(kind: &Kind, result: &'static str) {
    counter!(DELIVERIES, "kind" => kind.to_string(), "result" => result).increment(1);
}

/// `delivered`, `refused`, `redirect`, `gone`, `timeout`, `unreachable`, `forbidden`, `unsigned`.
pub(crate) fn callback(outcome: &'static str) {
    counter!(CALLBACKS, "outcome" => outcome).increment(1);
}

pub(crate) fn stuck(kind: &Kind) {
    counter!(STUCK, "kind" => kind.to_string()).increment(1);
}

pub(crate) fn unconfirmed(kind: &Kind) {
    counter!(UNCONFIRMED, "kind" => kind.to_string()).increment(1);
}

pub(crate) fn started(event: &Event) {
    if event.data.attempt == 1 {
        let waited = until(event.data.job.created_at, event.time);
        histogram!(QUEUE_WAIT, "kind" => event.data.job.kind.to_string())
            .record(waited.as_secs_f64());
    }
}

pub(crate) fn ran(kind: &Kind, time: std::time::Duration) {
    histogram!(RUN, "kind" => kind.to_string()).record(time.as_secs_f64());
}

/// Counts what the message of an outcome says, once it is confirmed.
pub(crate) fn concluded(event: &Event) {
    let kind = event.data.job.kind.to_string();
    match event.event_type {
        EventType::Retry => counter!(RETRIES, "kind" => kind).increment(1),
        t if t.is_terminal() => {
            if let (EventType::Failed, Some(error)) = (t, &event.data.error) {
                let reason = error.error_type.clone();
                counter!(DEAD, "kind" => kind.clone(), "reason" => reason).increment(1);
            }
            let state = event.data.state.as_str();
            counter!(FINISHED, "kind" => kind.clone(), "state" => state).increment(1);
            let total = until(event.data.job.created_at, event.time);
            histogram!(TOTAL, "kind" => kind).record(total.as_secs_f64());
        }
        _ => {}
    }
}

/// Counts a slice as running for as long as it lives.
pub(crate) struct Active(metrics::Gauge);

impl Active {
    pub(crate) fn new(kind: &Kind) -> Self {
        let gauge = gauge!(ACTIVE, "kind" => kind.to_string(), "state" => "running");
        gauge.increment(1.0);
        Self(gauge)
    }
}

impl Drop for Active {
    fn drop(&mut self) {
        self.0.decrement(1.0);
    }
}
