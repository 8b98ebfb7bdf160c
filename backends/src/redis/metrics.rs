//! What the store tells about itself.

use std::time::Duration;

use metrics::{Unit, counter, describe_counter, describe_histogram, histogram};

const COMMAND_SECONDS: &str = "store_command_seconds";
const RECONNECTS: &str = "store_reconnects_total";

/// Describes the metrics of this module to the recorder.
pub fn describe() {
    describe_histogram!(
        COMMAND_SECONDS,
        Unit::Seconds,
        "How long a command to the job store took, failed ones included"
    );
    describe_counter!(
        RECONNECTS,
        Unit::Count,
        "Connections made to the job store, the first one included"
    );
}

pub fn command(name: &'static str, took: Duration) {
    histogram!(COMMAND_SECONDS, "command" => name).record(took.as_secs_f64());
}

pub fn connected() {
    counter!(RECONNECTS).increment(1);
}
