//! A worker of one's own, with the kit: builds reports, a kind that the suite knows by
//! `examples/kinds/report.build.toml` alone.
//!
//! ```sh
//! export VMCTL_KINDS_DIR=examples/kinds    # for the server, the reader and this worker
//! cargo run -p vmctl-worker --example report_worker
//! ```

use std::{env, path::Path, sync::Arc, time::Duration};

use anyhow::Context as _;
use async_trait::async_trait;
use secrecy::SecretString;
use serde::{Deserialize, Serialize};
use serde_json::json;
use tokio::signal::{
    ctrl_c,
    unix::{SignalKind, signal},
};
use tokio_util::sync::CancellationToken;
use vmctl_backends::{rabbitmq, redis};
use vmctl_core::{JobError, clock::SystemClock, kinds::Registry};
use vmctl_worker::{Backends, CancelReason, Config, Ctx, Handler, Outcome, Worker};

/// More pages than that go on in the next slice: a rolling update waits for one slice at most.
const PAGES_IN_A_SLICE: u64 = 10;

/// What is asked for; the registry file has checked it.
#[derive(Deserialize)]
struct Input {
    title: String,
    #[serde(default = "three")]
    pages: u64,
    #[serde(default = "hundred")]
    page_ms: u64,
    #[serde(default)]
    jams: u32,
    #[serde(default)]
    unreadable: bool,
}

const fn three() -> u64 {
    3
}

const fn hundred() -> u64 {
    100
}

/// Where the next slice goes on.
#[derive(Default, Serialize, Deserialize)]
struct Checkpoint {
    page: u64,
}

struct BuildReport;

#[async_trait]
impl Handler for BuildReport {
    async fn run(&self, ctx: Ctx) -> Outcome {
        let input = match Input::deserialize(&ctx.job().input) {
            Ok(input) => input,
            Err(error) => return Outcome::Fail(job_error("bad-input", &error.to_string())),
        };
        if input.unreadable {
            return Outcome::Fail(job_error("unreadable", "nobody can read the sources"));
        }
        if ctx.attempt() <= input.jams {
            let error = JobError {
                retryable: true,
                ..job_error("paper-jam", "the printer is jammed")
            };
            return Outcome::Retry { after: None, error };
        }
        let Checkpoint { page } = ctx.checkpoint().unwrap_or_default();
        let done = input.pages.min(page + PAGES_IN_A_SLICE);
        for number in page..done {
            // At most 100, so it fits.
            let percent = u8::try_from(number * 100 / input.pages).unwrap_or(100);
            let step = format!("page {} of {}", number + 1, input.pages);
            ctx.progress().report(percent, &step);
            tokio::select! {
                () = ctx.stop().cancelled() => {
                    return match ctx.cancel_reason() {
                        Some(CancelReason::Requested(_)) => Outcome::Cancelled,
                        _ => go_on(number),
                    };
                }
                () = tokio::time::sleep(Duration::from_millis(input.page_ms)) => {}
            }
        }
        if done < input.pages {
            return go_on(done);
        }
        Outcome::Done(json!({"title": input.title, "pages": input.pages}))
    }
}

fn go_on(page: u64) -> Outcome {
    Outcome::Continue {
        after: Duration::ZERO,
        checkpoint: json!(Checkpoint { page }),
    }
}

fn job_error(error_type: &str, title: &str) -> JobError {
    JobError {
        error_type: error_type.to_owned(),
        title: title.to_owned(),
        detail: None,
        retryable: false,
        attempt: None,
        worker: None,
    }
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    vmctl_daemon::install_crypto();
    let registry = match env::var_os("VMCTL_KINDS_DIR") {
        Some(directory) => Registry::with_directory(Path::new(&directory))?,
        None => Registry::built_in()?,
    };
    let setting = |name, default: &str| env::var(name).unwrap_or_else(|_| default.to_owned());
    let amqp = setting("VMCTL_AMQP_URL", "amqp://127.0.0.1:5672/%2f").parse()?;
    let redis_url = SecretString::from(setting("VMCTL_REDIS_URL", "redis://127.0.0.1:6379/0"));
    // In messages, in the log of the broker, and in the name of a queue: different in every process.
    let name = format!("report-{}", std::process::id());
    let rabbitmq = rabbitmq::RabbitMq::connect_lazy(rabbitmq::Config {
        name: name.clone(),
        ..rabbitmq::Config::new(vec![amqp])
    });
    let backends = Backends {
        bus: rabbitmq.bus(),
        store: Arc::new(redis::RedisStore::connect_lazy(redis::Config::new(
            redis_url,
        ))?),
        clock: Arc::new(SystemClock),
        registry: Arc::new(registry),
    };
    let config = Config {
        slots: 1,
        ..Config::new(name)
    };
    let worker = Worker::builder(config, backends)
        .handler("report.build".parse()?, Arc::new(BuildReport))
        .build()?;
    let shutdown = CancellationToken::new();
    let stop = shutdown.clone();
    tokio::spawn(async move {
        // A process that cannot hear the signal is ended by the second one.
        if interrupted().await.is_ok() {
            stop.cancel();
        }
    });
    worker.run(shutdown).await.context("the worker ended")?;
    rabbitmq.shutdown().await;
    Ok(())
}

/// Waits for SIGTERM or SIGINT.
async fn interrupted() -> std::io::Result<()> {
    let mut terminate = signal(SignalKind::terminate())?;
    tokio::select! {
        _ = terminate.recv() => Ok(()),
        interrupted = ctrl_c() => interrupted,
    }
}
