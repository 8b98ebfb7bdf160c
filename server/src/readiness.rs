//! Whether this server should get requests.
//!
//! It is ready once the broker has confirmed a mark of its own. Without the broker, the store or the
//! identity service it does less afterwards, which is degraded and no reason to take it away: every other
//! server has the same ones, and none would be left to read jobs from. With a wrong clock it cannot tell what
//! is in the view, which is degraded too: it still takes jobs.

use std::{future::Future, pin::Pin, sync::Arc, time::Duration};

use vmctl_core::bus::BusState;

use crate::{
    app::{App, within},
    error::chain,
};

/// How long the store may take to answer a probe.
const PING: Duration = Duration::from_secs(1);

/// What can be said about the server's readiness, at any time.
#[derive(Clone)]
pub struct Readiness(Arc<App>);

impl std::fmt::Debug for Readiness {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Readiness").finish_non_exhaustive()
    }
}

/// One thing that readiness depends on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Check {
    /// `bus`, `marks`, `clock`, `store` or `identity`.
    pub name: &'static str,
    /// How it is.
    pub state: CheckState,
}

/// How one thing is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CheckState {
    /// Works.
    Ok,
    /// Does not work, and the server serves all the same.
    Degraded(String),
    /// Does not work, and the server should get no requests.
    Failing(String),
}

impl Readiness {
    pub(crate) fn new(app: Arc<App>) -> Self {
        Self(app)
    }

    /// Looks at everything. Ends within about a second.
    pub async fn check(&self) -> Vec<Check> {
        vec![
            named("bus", self.bus()),
            named("marks", self.marks()),
            named("clock", self.clock()),
            named("store", self.store().await),
            named("identity", self.identity()),
        ]
    }

    /// Returns the checks one by one, for a health endpoint that runs them by name.
    pub fn checks(&self) -> Vec<(&'static str, CheckFn)> {
        let sync = |f: fn(&Self) -> CheckState| -> CheckFn {
            let this = self.clone();
            Arc::new(move || {
                let state = f(&this);
                Box::pin(std::future::ready(state))
            })
        };
        let this = self.clone();
        let store: CheckFn = Arc::new(move || {
            let this = this.clone();
            Box::pin(async move { this.store().await })
        });
        vec![
            ("bus", sync(Self::bus)),
            ("marks", sync(Self::marks)),
            ("clock", sync(Self::clock)),
            ("store", store),
            ("identity", sync(Self::identity)),
        ]
    }

    fn bus(&self) -> CheckState {
        match self.0.bus.publisher.state() {
            BusState::Up => CheckState::Ok,
            BusState::Blocked(reason) => {
                self.without_broker(format!("the broker takes no messages: {reason}"))
            }
            BusState::Down(reason) => {
                self.without_broker(format!("no connection to the broker: {reason}"))
            }
        }
    }

    /// A server that has never reached the broker may have wrong settings, and others right ones.
    fn without_broker(&self, reason: String) -> CheckState {
        match self.0.marks.newest() {
            None => CheckState::Failing(reason),
            Some(_) => CheckState::Degraded(reason),
        }
    }

    fn marks(&self) -> CheckState {
        if self.0.leaving.is_cancelled() {
            return CheckState::Failing("the server is stopping".to_owned());
        }
        let stale = self.0.config.limits.mark_stale;
        match self.0.marks.newest() {
            None => CheckState::Failing("the broker has confirmed nothing yet".to_owned()),
            Some(mark) if mark.age() >= stale => CheckState::Degraded(format!(
                "the broker confirmed the last message {} s ago",
                mark.age().as_secs()
            )),
            Some(_) => CheckState::Ok,
        }
    }

    fn clock(&self) -> CheckState {
        let trouble = self.0.skew.trouble();
        trouble.map_or(CheckState::Ok, CheckState::Degraded)
    }

    async fn store(&self) -> CheckState {
        match within(PING, self.0.store.ping()).await {
            Ok(()) => CheckState::Ok,
            Err(error) => CheckState::Degraded(chain(&error)),
        }
    }

    fn identity(&self) -> CheckState {
        match self.0.identity_state() {
            // Nobody has asked yet.
            None | Some(Ok(())) => CheckState::Ok,
            Some(Err(reason)) => CheckState::Degraded(reason),
        }
    }
}

fn named(name: &'static str, state: CheckState) -> Check {
    Check { name, state }
}

/// One check, ready to be run again and again.
pub type CheckFn = Arc<dyn Fn() -> Pin<Box<dyn Future<Output = CheckState> + Send>> + Send + Sync>;
