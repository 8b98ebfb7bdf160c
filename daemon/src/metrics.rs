//! Metrics in the text format of Prometheus.

use std::sync::OnceLock;
use std::thread;
use std::time::Duration;

use anyhow::Context;
use axum::Router;
use axum::http::header::CONTENT_TYPE;
use axum::routing::get;
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};

/// How often samples that wait are put into their buckets. Without it they pile up until someone
/// asks for the metrics.
const UPKEEP: Duration = Duration::from_secs(5);

/// Buckets of what is measured in seconds: from a cache hit to a slow job.
const SECONDS: &[f64] = &[
    0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0,
    120.0, 300.0, 900.0, 3600.0,
];

/// Buckets of everything else: counts and sizes.
const COUNTS: &[f64] = &[
    1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0, 200.0, 500.0, 1_000.0, 10_000.0, 100_000.0,
];

static INSTALLED: OnceLock<Metrics> = OnceLock::new();

/// The recorder of the process. Clones share it.
#[derive(Clone)]
pub struct Metrics {
    handle: PrometheusHandle,
}

impl Metrics {
    /// Installs the recorder of the process, once; later calls give the same.
    ///
    /// Fails if the process has another recorder.
    pub fn install() -> anyhow::Result<Self> {
        if let Some(installed) = INSTALLED.get() {
            return Ok(installed.clone());
        }
        let recorder = PrometheusBuilder::new()
            .set_buckets(COUNTS)?
            .set_buckets_for_metric(Matcher::Suffix("_seconds".into()), SECONDS)?
            .build_recorder();
        let metrics = Self {
            handle: recorder.handle(),
        };
        // Two first calls at once: one recorder is installed, the other is dropped.
        let mut ours = false;
        let installed = INSTALLED.get_or_init(|| {
            ours = true;
            metrics
        });
        if ours {
            metrics::set_global_recorder(recorder)
                .map_err(|_| anyhow::anyhow!("the process has another metrics recorder"))?;
            let handle = installed.handle.clone();
            // A thread, not a task: the recorder outlives any runtime.
            thread::Builder::new()
                .name("metrics-upkeep".into())
                .spawn(move || upkeep(&handle))
                .context("cannot start the upkeep of metrics")?;
        }
        Ok(installed.clone())
    }

    /// All metrics, as text.
    pub fn render(&self) -> String {
        self.handle.render()
    }

    /// The route `/metrics`.
    pub fn router(&self) -> Router {
        let metrics = self.clone();
        Router::new().route(
            "/metrics",
            get(move || async move {
                (
                    [(CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")],
                    metrics.render(),
                )
            }),
        )
    }
}

#[expect(clippy::disallowed_methods, reason = "a thread that does nothing else")]
fn upkeep(handle: &PrometheusHandle) {
    loop {
        thread::sleep(UPKEEP);
        handle.run_upkeep();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn histograms_have_buckets_and_a_second_install_is_the_same() {
        let first = Metrics::install().unwrap();
        metrics::histogram!("vmctl_test_wait_seconds").record(0.3);
        metrics::histogram!("vmctl_test_batch").record(30.0);
        metrics::counter!("vmctl_test_total", "kind" => "vm.create").increment(2);
        let text = Metrics::install().unwrap().render();
        assert_eq!(text.is_empty(), first.render().is_empty());
        for line in [
            r#"vmctl_test_wait_seconds_bucket{le="0.25"} 0"#,
            r#"vmctl_test_wait_seconds_bucket{le="0.5"} 1"#,
            r#"vmctl_test_batch_bucket{le="50"} 1"#,
            r#"vmctl_test_total{kind="vm.create"} 2"#,
        ] {
            assert!(text.contains(line), "{line} is not in\n{text}");
        }
    }
}
