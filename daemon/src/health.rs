//! What the process says of itself: alive, started, ready.
//!
//! | path | 200 | 503 |
//! |---|---|---|
//! | `/health/live` | the process answers | never: no answer is the sign |
//! | `/health/startup` | the component said that it started | not yet |
//! | `/health/ready` | no check fails; some may be degraded | a check fails, not started, or draining |
//!
//! A check must answer at once and without I/O: it reads what its owner last saw. What has to be asked
//! for is asked in the background, by [`Health::poll`].

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::Json;
use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::get;
use sd_notify::NotifyState;
use serde::Serialize;
use tokio::sync::watch;
use tokio::time::{sleep, timeout};

/// What a check says, from best to worst.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(tag = "status", content = "reason", rename_all = "lowercase")]
pub enum Status {
    /// All is well.
    Ok,
    /// Requests should still come, and someone should look.
    Degraded(String),
    /// Requests should go elsewhere.
    Failing(String),
}

/// What readiness says, with the answer of each check.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Report {
    /// `ok`, `degraded` or `failing`.
    pub status: &'static str,
    /// The answer of each check, by name.
    pub checks: BTreeMap<String, Status>,
}

impl Report {
    fn code(&self) -> StatusCode {
        if self.status == "failing" {
            StatusCode::SERVICE_UNAVAILABLE
        } else {
            StatusCode::OK
        }
    }
}

/// How long an answer of [`Health::poll`] may take.
pub const POLL_DEADLINE: Duration = Duration::from_secs(5);

type Check = Box<dyn Fn() -> Status + Send + Sync>;

/// The health of one process. Clones share it.
#[derive(Clone, Default)]
pub struct Health {
    inner: Arc<Inner>,
}

#[derive(Default)]
struct Inner {
    checks: Mutex<Vec<(String, Check)>>,
    started: AtomicBool,
    draining: AtomicBool,
}

impl Health {
    /// Makes a health with no check, not started.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a check to readiness. A check of the same name replaces the one before.
    pub fn check(
        &self,
        name: impl Into<String>,
        check: impl Fn() -> Status + Send + Sync + 'static,
    ) {
        let name = name.into();
        let mut checks = self.lock();
        checks.retain(|(other, _)| *other != name);
        checks.push((name, Box::new(check)));
    }

    /// Adds a check that asks `ask` in the background, again and again, with a pause of `every`
    /// between two times. It fails until the first answer, and when none comes within
    /// [`POLL_DEADLINE`].
    ///
    /// # Panics
    ///
    /// Outside a tokio runtime.
    pub fn poll<F, Fut>(&self, name: impl Into<String>, every: Duration, ask: F)
    where
        F: Fn() -> Fut + Send + 'static,
        Fut: Future<Output = Status> + Send,
    {
        let (tell, last) = watch::channel(Status::Failing("not asked yet".into()));
        let name = name.into();
        tokio::spawn({
            let name = name.clone();
            async move {
                loop {
                    let status = timeout(POLL_DEADLINE, ask()).await.unwrap_or_else(|_| {
                        Status::Failing(format!("no answer within {POLL_DEADLINE:?}"))
                    });
                    tell.send_if_modified(|last| {
                        let changed = *last != status;
                        if changed {
                            log(&name, &status);
                        }
                        *last = status;
                        changed
                    });
                    sleep(every).await;
                }
            }
        });
        self.check(name, move || last.borrow().clone());
    }

    /// Says that the component has started, also to systemd if it waits for that. Until then it is not ready.
    pub fn set_started(&self) {
        self.inner.started.store(true, Ordering::Relaxed);
        tell_systemd(NotifyState::Ready);
    }

    /// Says that the component drains, also to systemd. From then on it is not ready.
    pub fn set_draining(&self) {
        self.inner.draining.store(true, Ordering::Relaxed);
        tell_systemd(NotifyState::Stopping);
    }

    /// What readiness says now.
    pub fn report(&self) -> Report {
        let mut checks: BTreeMap<String, Status> = self
            .lock()
            .iter()
            .map(|(name, check)| (name.clone(), check()))
            .collect();
        if !self.started() {
            checks.insert("started".into(), Status::Failing("starting".into()));
        }
        if self.inner.draining.load(Ordering::Relaxed) {
            checks.insert("draining".into(), Status::Failing("shutting down".into()));
        }
        let status = match checks.values().max() {
            None | Some(Status::Ok) => "ok",
            Some(Status::Degraded(_)) => "degraded",
            Some(Status::Failing(_)) => "failing",
        };
        Report { status, checks }
    }

    /// The routes `/health/live`, `/health/startup` and `/health/ready`.
    pub fn router(&self) -> Router {
        Router::new()
            .route("/health/live", get(|| async { answer("ok") }))
            .route("/health/startup", get(startup))
            .route("/health/ready", get(ready))
            .with_state(self.clone())
    }

    fn started(&self) -> bool {
        self.inner.started.load(Ordering::Relaxed)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<(String, Check)>> {
        // A check that panicked leaves the list as it was.
        self.inner
            .checks
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

/// Says how far the process is to systemd, where it started the process and waits to hear of it (`Type=notify`).
fn tell_systemd(state: NotifyState<'_>) {
    if let Err(error) = sd_notify::notify(&[state]) {
        tracing::warn!(%error, "systemd is not told how far the process is");
    }
}

fn log(check: &str, status: &Status) {
    match status {
        Status::Ok => tracing::info!(check, "well"),
        Status::Degraded(reason) | Status::Failing(reason) => {
            tracing::warn!(check, reason, "not well");
        }
    }
}

fn answer(status: &'static str) -> Json<Report> {
    Json(Report {
        status,
        checks: BTreeMap::new(),
    })
}

async fn startup(State(health): State<Health>) -> (StatusCode, Json<Report>) {
    if health.started() {
        (StatusCode::OK, answer("ok"))
    } else {
        (StatusCode::SERVICE_UNAVAILABLE, answer("failing"))
    }
}

async fn ready(State(health): State<Health>) -> (StatusCode, Json<Report>) {
    let report = health.report();
    (report.code(), Json(report))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn started() -> Health {
        let health = Health::new();
        health.set_started();
        health
    }

    #[test]
    fn the_worst_check_decides() {
        let cases: [(&[Status], &str, u16); 4] = [
            (&[], "ok", 200),
            (&[Status::Ok, Status::Ok], "ok", 200),
            (
                &[Status::Ok, Status::Degraded("slow".into())],
                "degraded",
                200,
            ),
            (
                &[
                    Status::Failing("gone".into()),
                    Status::Degraded("slow".into()),
                ],
                "failing",
                503,
            ),
        ];
        for (checks, status, code) in cases {
            let health = started();
            for (index, check) in checks.iter().cloned().enumerate() {
                health.check(format!("check{index}"), move || check.clone());
            }
            let report = health.report();
            assert_eq!((report.status, report.code().as_u16()), (status, code));
            assert_eq!(report.checks.len(), checks.len());
        }
    }

    #[test]
    fn a_report_names_each_check_and_its_reason() {
        let health = started();
        health.check("bus", || Status::Ok);
        health.check("redis", || Status::Degraded("eviction is on".into()));
        assert_eq!(
            serde_json::to_value(health.report()).unwrap(),
            serde_json::json!({
                "status": "degraded",
                "checks": {
                    "bus": {"status": "ok"},
                    "redis": {"status": "degraded", "reason": "eviction is on"},
                },
            })
        );
    }

    #[tokio::test(start_paused = true)]
    async fn a_poll_is_bounded_and_follows_its_answers() {
        let health = started();
        let (answer, answers) = watch::channel(Some(Status::Degraded("refused".into())));
        health.poll("redis", POLL_DEADLINE, move || {
            let answer = answers.borrow().clone();
            async move {
                match answer {
                    Some(status) => status,
                    None => std::future::pending().await,
                }
            }
        });
        let failing = |reason: &str| Status::Failing(reason.to_owned());
        assert_eq!(health.report().checks["redis"], failing("not asked yet"));
        sleep(Duration::from_millis(1)).await;
        assert_eq!(health.report().status, "degraded");
        answer.send(Some(Status::Ok)).unwrap();
        sleep(POLL_DEADLINE).await;
        assert_eq!(health.report().checks["redis"], Status::Ok);
        answer.send(None).unwrap();
        sleep(3 * POLL_DEADLINE).await;
        assert_eq!(
            health.report().checks["redis"],
            failing("no answer within 5s")
        );
    }

    #[test]
    fn a_check_of_the_same_name_replaces_the_one_before() {
        let health = started();
        health.check("bus", || Status::Failing("gone".into()));
        health.check("bus", || Status::Ok);
        assert_eq!(health.report().status, "ok");
    }

    #[test]
    fn not_ready_before_the_start_and_while_draining() {
        let health = Health::new();
        assert_eq!(health.report().status, "failing");
        health.set_started();
        assert_eq!(health.report().status, "ok");
        health.set_draining();
        assert_eq!(health.report().status, "failing");
    }
}
