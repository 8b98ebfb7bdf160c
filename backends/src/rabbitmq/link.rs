//! One supervised connection: opened, watched, given up and opened again, for as long as the
//! process wants it.
//!
//! ```text
//!             +---------------- lost ----------------+
//!             v                                      |
//!   Connecting --all fail--> Down --connected--> Up <-> Blocked
//!             +---------------- connected ---------^
//! ```
//!
//! Everything that needs a connection asks the [`Link`] for the [`Live`] one and gets a token that
//! fires when it is gone. Nothing is recovered on an old connection.

use std::{
    pin::pin,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use futures::{StreamExt as _, future::OptionFuture};
use lapin::{Channel, Connection, Event};
use tokio::{
    sync::{Notify, watch},
    time::{Instant, MissedTickBehavior, interval, sleep, timeout},
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use vmctl_core::{
    bus::{BusError, BusState},
    error::chain,
};

use super::{
    config::{Config, SecretUrl},
    dial::{Cutter, Dialled, dial, probe},
    error::{NoConnection, bus_error},
    metrics,
};

/// How often the state of the connection is looked at, besides the events that it sends.
const LOOK: Duration = Duration::from_millis(250);

/// A connection that ends sooner counts as a failed attempt.
const STABLE: Duration = Duration::from_secs(5);

/// How long a close may take when the process ends.
const CLOSE: Duration = Duration::from_secs(1);

/// What a connection is for. Publishing has one of its own, because the broker stops reading from
/// those that publish when it runs out of memory or disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Role {
    Publish,
    Consume,
}

impl Role {
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Publish => "publish",
            Self::Consume => "consume",
        }
    }
}

/// An open connection.
pub(super) struct Live {
    id: u64,
    connection: Connection,
    cutter: Cutter,
    lost: CancellationToken,
    suspected: Notify,
}

impl Live {
    /// Tells connections apart.
    pub const fn id(&self) -> u64 {
        self.id
    }

    /// Fires when the connection is gone.
    pub const fn lost(&self) -> &CancellationToken {
        &self.lost
    }

    /// Asks the supervisor to see whether the peer still answers.
    pub fn suspect(&self) {
        self.suspected.notify_one();
    }

    /// Opens a channel.
    pub async fn channel(&self, within: Duration) -> Result<Channel, BusError> {
        tokio::select! {
            biased;
            () = self.lost.cancelled() => Err(NoConnection::new("lost while in use").into()),
            opened = timeout(within, self.connection.create_channel()) => match opened {
                Ok(opened) => opened.map_err(bus_error),
                Err(_) => Err(BusError::Timeout(within)),
            },
        }
    }

    /// Gives the connection up: whoever uses it is told, and its socket is closed.
    fn give_up(&self) {
        self.lost.cancel();
        self.cutter.cut();
    }
}

#[derive(Clone)]
enum State {
    Connecting(NoConnection),
    Up(Arc<Live>),
    Blocked(Arc<Live>, Arc<str>),
    Down(NoConnection),
    Closed,
}

/// Why a publish cannot go on.
pub(super) enum Obstacle {
    Blocked(String),
    Down(NoConnection),
}

/// Where to ask for the connection.
#[derive(Clone)]
pub(super) struct Link {
    state: watch::Receiver<State>,
}

impl Link {
    /// Starts the supervisor. It ends when `stop` fires.
    pub fn start(
        role: Role,
        config: Arc<Config>,
        stop: CancellationToken,
        tasks: &TaskTracker,
    ) -> Self {
        let first = NoConnection::new("connecting for the first time");
        let (sender, state) = watch::channel(State::Connecting(first));
        let supervisor = Supervisor {
            role,
            config,
            stop,
            state: sender,
        };
        tasks.spawn(Box::pin(supervisor.run()));
        Self { state }
    }

    /// Says what a publish would meet.
    pub fn state(&self) -> BusState {
        match &*self.state.borrow() {
            State::Up(_) => BusState::Up,
            State::Blocked(_, reason) => BusState::Blocked(reason.to_string()),
            State::Connecting(reason) | State::Down(reason) => BusState::Down(reason.to_string()),
            State::Closed => BusState::Down("shut down".to_owned()),
        }
    }

    /// Returns what stands in the way of a publish. A first or second attempt to connect does not:
    /// it is worth a short wait.
    pub fn obstacle(&self) -> Option<Obstacle> {
        obstacle(&self.state.borrow())
    }

    /// Waits until something stands in the way of a publish.
    pub async fn obstructed(&self) -> Obstacle {
        let mut state = self.state.clone();
        let found = state.wait_for(|state| obstacle(state).is_some()).await;
        found
            .ok()
            .and_then(|state| obstacle(&state))
            .unwrap_or_else(|| Obstacle::Down(NoConnection::new("shut down")))
    }

    /// Waits for the connection, whether or not publishers are blocked. `None` when the adapter is
    /// shut down.
    pub async fn live(&self) -> Option<Arc<Live>> {
        let mut state = self.state.clone();
        let found = state
            .wait_for(|s| matches!(s, State::Up(_) | State::Blocked(..) | State::Closed))
            .await;
        match &*found.ok()? {
            State::Up(live) | State::Blocked(live, _) => Some(live.clone()),
            _ => None,
        }
    }

    /// Waits for a connection that takes publishes. `None` when the adapter is shut down.
    pub async fn up(&self) -> Option<Arc<Live>> {
        let mut state = self.state.clone();
        let found = state
            .wait_for(|s| matches!(s, State::Up(_) | State::Closed))
            .await;
        match &*found.ok()? {
            State::Up(live) => Some(live.clone()),
            _ => None,
        }
    }

    /// Waits until the adapter is shut down.
    pub async fn closed(&self) {
        // An error means that the supervisor is gone, which comes to the same.
        let _ = self
            .state
            .clone()
            .wait_for(|s| matches!(s, State::Closed))
            .await;
    }

    /// Waits for the connection no longer than `within`, and not at all when the last attempts to
    /// get one have failed.
    pub async fn live_within(&self, within: Duration) -> Result<Arc<Live>, BusError> {
        if let State::Down(reason) = &*self.state.borrow() {
            return Err(reason.clone().into());
        }
        match timeout(within, self.live()).await {
            Ok(Some(live)) => Ok(live),
            Ok(None) => Err(NoConnection::new("shut down").into()),
            Err(_) => Err(BusError::Timeout(within)),
        }
    }
}

fn obstacle(state: &State) -> Option<Obstacle> {
    match state {
        State::Up(_) | State::Connecting(_) => None,
        State::Blocked(_, reason) => Some(Obstacle::Blocked(reason.to_string())),
        State::Down(reason) => Some(Obstacle::Down(reason.clone())),
        State::Closed => Some(Obstacle::Down(NoConnection::new("shut down"))),
    }
}

struct Supervisor {
    role: Role,
    config: Arc<Config>,
    stop: CancellationToken,
    state: watch::Sender<State>,
}

impl Supervisor {
    async fn run(self) {
        self.stop.run_until_cancelled(self.supervise()).await;
        let last = self.state.send_replace(State::Closed);
        if let State::Up(live) | State::Blocked(live, _) = last {
            // What is in the socket's buffer still gets out.
            let close = live.connection.close(200, "the process ends".into());
            let _ = timeout(CLOSE, close).await;
            live.give_up();
            metrics::disconnected(self.role);
        }
    }

    /// Connects to one address after the other, for ever.
    async fn supervise(&self) {
        let mut rounds = 0;
        loop {
            if self.config.urls.is_empty() {
                let none = NoConnection::new("no address of a broker is set");
                self.state.send_replace(State::Down(none));
                return std::future::pending().await;
            }
            let mut lasted = Duration::ZERO;
            for url in &self.config.urls {
                // The next address follows a lost connection too: its broker may be the sick one.
                lasted = lasted.max(self.attend(url).await);
            }
            rounds = if lasted > STABLE { 0 } else { rounds + 1 };
            if rounds > 0 {
                sleep(self.pause(rounds)).await;
            }
        }
    }

    /// Connects to one address and stays with it. Returns how long the connection lasted.
    async fn attend(&self, url: &SecretUrl) -> Duration {
        let role = self.role.as_str();
        let dialled = match Box::pin(dial(url, &self.config)).await {
            Ok(dialled) => dialled,
            Err(error) => {
                let reason = format!("{url}: {}", chain(&error));
                tracing::warn!(bus.role = role, "cannot connect to the broker: {reason}");
                metrics::connect_failed(self.role);
                let down = State::Down(NoConnection::new(reason));
                self.state.send_replace(down);
                return Duration::ZERO;
            }
        };
        let since = Instant::now();
        let live = Arc::new(live(dialled));
        tracing::info!(bus.role = role, "connected to the broker at {url}");
        metrics::connected(self.role);
        let reason = self.watch(url, &live).await;
        live.give_up();
        metrics::disconnected(self.role);
        tracing::warn!(bus.role = role, "lost the broker at {url}: {reason}");
        let reason = NoConnection::new(format!("{url}: {reason}"));
        self.state.send_replace(State::Connecting(reason));
        since.elapsed()
    }

    /// Follows a connection until it is of no use any more, and says why.
    async fn watch(&self, url: &SecretUrl, live: &Arc<Live>) -> String {
        let status = live.connection.status();
        let mut events = pin!(live.connection.events_listener());
        self.state.send_replace(State::Up(live.clone()));
        // An event from before the listener was there would be missed.
        if status.blocked() {
            self.block(live, "the broker did not say why");
        }
        let mut look = interval(LOOK);
        look.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut check = OptionFuture::default();
        let mut checking = false;
        loop {
            tokio::select! {
                event = events.next() => match event {
                    Some(Event::ConnectionBlocked(reason)) => self.block(live, &reason),
                    Some(Event::ConnectionUnblocked) => {
                        tracing::info!("the broker takes publishes again");
                        self.state.send_replace(State::Up(live.clone()));
                    }
                    // Channels report here too; those errors concern nobody else.
                    Some(Event::Error(error)) if !status.connected() => return error.to_string(),
                    Some(_) => {}
                    None => return "no events any more".to_owned(),
                },
                () = live.suspected.notified(), if !checking => {
                    checking = true;
                    check = Some(Box::pin(probe(url, &self.config))).into();
                }
                Some(answer) = &mut check => {
                    checking = false;
                    check = OptionFuture::default();
                    if let Err(error) = answer {
                        return format!("no confirms, and {}", chain(&error));
                    }
                }
                _ = look.tick() => if !status.connected() {
                    return "closed".to_owned();
                },
            }
        }
    }

    fn block(&self, live: &Arc<Live>, reason: &str) {
        tracing::warn!("the broker has blocked publishers: {reason}");
        metrics::blocked(self.role);
        self.state
            .send_replace(State::Blocked(live.clone(), reason.into()));
    }

    /// Doubles from round to round up to the limit, and differs between processes.
    fn pause(&self, rounds: u32) -> Duration {
        let doubled = self.config.backoff_min * 2_u32.saturating_pow((rounds - 1).min(16));
        doubled
            .min(self.config.backoff_max)
            .mul_f64(rand::random_range(0.5..1.0))
    }
}

fn live(dialled: Dialled) -> Live {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    Live {
        id: NEXT.fetch_add(1, Ordering::Relaxed),
        connection: dialled.connection,
        cutter: dialled.cutter,
        lost: CancellationToken::new(),
        suspected: Notify::new(),
    }
}
