//! The connection: made when it is needed, made again when it is of no use, never waited for beyond
//! a caller's deadline.
//!
//! ```text
//! Idle --first call--> Connecting --> Up --error or timeout--> Connecting
//!                          |  ^
//!                  failed  v  | after a pause
//!                         Down: callers fail at once
//! ```
//!
//! One task connects, whoever waits. A timeout ends the connection for all: behind a peer that does
//! not answer, the library would wait for as long as the kernel does.

use std::{
    fmt, io,
    sync::{
        Arc, Weak,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use futures::future::join_all;
use redis::{
    Cmd, Pipeline, RedisError, RedisResult, Value, aio::MultiplexedConnection,
    cluster_async::ClusterConnection,
};
use tokio::{
    sync::watch,
    time::{Instant, sleep, timeout},
};
use vmctl_core::store::StoreError;

use super::{
    config::{Config, Source, connection},
    error::{ends_connection, is_missing_script, store_error},
    metrics,
    script::Call,
};

/// The pause after the first failed attempt to connect, and the longest one.
const PAUSES: (Duration, Duration) = (Duration::from_millis(50), Duration::from_millis(500));

/// A connection, of whatever kind.
#[derive(Clone)]
enum Connection {
    /// With the server's name for its own run: another one after every restart.
    Single(MultiplexedConnection, Arc<str>),
    Cluster(ClusterConnection),
}

#[derive(Clone)]
enum State {
    Idle,
    Connecting,
    Up(Connection, u64),
    Down(Arc<str>),
}

/// The connection to Redis, shared by all callers.
pub struct Link {
    shared: Arc<Shared>,
}

struct Shared {
    source: Source,
    tls: bool,
    connect_timeout: Duration,
    state: watch::Sender<State>,
}

/// No connection, and why.
#[derive(Debug)]
struct NotConnected(Arc<str>);

impl fmt::Display for NotConnected {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "not connected to Redis: {}", self.0)
    }
}

impl std::error::Error for NotConnected {}

/// A deadline that passed.
#[derive(Debug, thiserror::Error)]
#[error("no answer from Redis within {0:?}")]
struct TooLate(Duration);

impl Link {
    /// Connects nothing yet.
    pub fn new(source: Source, config: &Config) -> Self {
        let (state, _) = watch::channel(State::Idle);
        Self {
            shared: Arc::new(Shared {
                source,
                tls: config.is_tls(),
                connect_timeout: config.connect_timeout,
                state,
            }),
        }
    }

    /// Sends calls together and returns their answers in order, all within the deadline, and which
    /// server has answered, if it is one. A call that met a lost connection is sent once more: calls
    /// must be safe to repeat.
    pub async fn send(
        &self,
        name: &'static str,
        deadline: Duration,
        calls: &[Call],
    ) -> Result<(Vec<Value>, Option<Arc<str>>), StoreError> {
        let start = Instant::now();
        let mut used = None;
        let sent = timeout(deadline, self.send_twice(calls, &mut used)).await;
        metrics::command(name, start.elapsed());
        let (answers, server) = sent.unwrap_or_else(|_| {
            if let Some(generation) = used {
                self.shared.lose(generation);
            }
            Err(StoreError::Unavailable(TooLate(deadline).into()))
        })?;
        let answers = answers.into_iter().collect::<RedisResult<_>>();
        Ok((answers.map_err(store_error)?, server))
    }

    /// Says whether a connection is to many servers.
    pub fn is_cluster(&self) -> bool {
        matches!(self.shared.source, Source::Cluster(_))
    }

    async fn send_twice(
        &self,
        calls: &[Call],
        used: &mut Option<u64>,
    ) -> Result<(Vec<RedisResult<Value>>, Option<Arc<str>>), StoreError> {
        for last in [false, true] {
            let (mut connection, generation) = self.shared.connection().await?;
            *used = Some(generation);
            let answers = connection.send_calls(calls).await;
            let lost = match &answers {
                Err(error) => ends_connection(error),
                Ok(answers) => answers
                    .iter()
                    .any(|a| a.as_ref().is_err_and(ends_connection)),
            };
            if lost {
                self.shared.lose(generation);
            }
            if !lost || last {
                let server = connection.server();
                return answers
                    .map(|answers| (answers, server))
                    .map_err(store_error);
            }
        }
        Ok((Vec::new(), None))
    }
}

impl Connection {
    fn server(&self) -> Option<Arc<str>> {
        match self {
            Self::Single(_, server) => Some(Arc::clone(server)),
            Self::Cluster(_) => None,
        }
    }

    /// Asks a server for the name of its run. One that does not tell gets a name for this connection:
    /// then every connection is taken for another server's.
    async fn single(mut connection: MultiplexedConnection) -> RedisResult<Self> {
        let info: RedisResult<String> = redis::cmd("INFO")
            .arg("server")
            .query_async(&mut connection)
            .await;
        let told = match info {
            Err(error) if ends_connection(&error) => return Err(error),
            Err(_) => None,
            Ok(info) => info
                .lines()
                .find_map(|line| line.strip_prefix("run_id:"))
                .map(|id| id.trim().into()),
        };
        let unknown = || format!("connection-{:016x}", rand::random::<u64>()).into();
        Ok(Self::Single(connection, told.unwrap_or_else(unknown)))
    }

    async fn send_calls(&mut self, calls: &[Call]) -> RedisResult<Vec<RedisResult<Value>>> {
        let mut answers = self.send(calls.iter().map(Call::by_hash).collect()).await?;
        let missing: Vec<_> = answers
            .iter()
            .enumerate()
            .filter(|(_, answer)| answer.as_ref().is_err_and(is_missing_script))
            .map(|(n, _)| n)
            .collect();
        if missing.is_empty() {
            return Ok(answers);
        }
        let again = missing.iter().map(|&n| calls[n].by_source()).collect();
        for (n, answer) in missing.into_iter().zip(self.send(again).await?) {
            answers[n] = answer;
        }
        Ok(answers)
    }

    async fn send(&mut self, commands: Vec<Cmd>) -> RedisResult<Vec<RedisResult<Value>>> {
        match self {
            Self::Single(connection, _) => {
                let mut pipeline = Pipeline::with_capacity(commands.len());
                for command in commands {
                    pipeline.add_command(command);
                }
                pipeline.ignore_errors().query_async(connection).await
            }
            // Keys of several slots cannot share a pipeline; the library sends these side by side.
            Self::Cluster(connection) => {
                let sent = commands.into_iter().map(|command| {
                    let mut connection = connection.clone();
                    async move { command.query_async(&mut connection).await }
                });
                Ok(join_all(sent).await)
            }
        }
    }
}

impl Shared {
    /// Returns the connection, or waits while the first attempt to make it lasts.
    async fn connection(self: &Arc<Self>) -> Result<(Connection, u64), StoreError> {
        let mut states = self.state.subscribe();
        self.connect_if(|state| matches!(state, State::Idle));
        loop {
            match &*states.borrow_and_update() {
                State::Up(connection, generation) => return Ok((connection.clone(), *generation)),
                State::Down(reason) => {
                    let reason = NotConnected(reason.clone());
                    return Err(StoreError::Unavailable(reason.into()));
                }
                State::Idle | State::Connecting => {}
            }
            if states.changed().await.is_err() {
                let reason = NotConnected("the store is closed".into());
                return Err(StoreError::Unavailable(reason.into()));
            }
        }
    }

    /// Gives up a connection, unless that was done already, and makes another.
    fn lose(self: &Arc<Self>, generation: u64) {
        self.connect_if(|state| matches!(state, State::Up(_, g) if *g == generation));
    }

    fn connect_if(self: &Arc<Self>, wanted: impl FnOnce(&State) -> bool) {
        let next = self.state.send_if_modified(|state| {
            let wanted = wanted(state);
            if wanted {
                *state = State::Connecting;
            }
            wanted
        });
        if next {
            tokio::spawn(connect(Task {
                shared: Arc::downgrade(self),
                done: false,
            }));
        }
    }

    fn failed(&self, error: &RedisError) {
        let known = matches!(&*self.state.borrow(), State::Down(_));
        if !known {
            tracing::warn!(%error, "Redis cannot be reached; trying on");
        }
        let reason = error.to_string().into();
        self.state.send_replace(State::Down(reason));
    }

    async fn attempt(&self) -> Result<Connection, RedisError> {
        let config = connection();
        let made = async {
            Ok(match &self.source {
                Source::Single(client) => {
                    let made = client.get_multiplexed_async_connection_with_config(&config);
                    Connection::single(made.await?).await?
                }
                Source::Sentinel(client) => {
                    let mut client = client.lock().await;
                    let made = client.get_async_connection_with_config(&config);
                    Connection::single(made.await?).await?
                }
                Source::Cluster(client) => {
                    Connection::Cluster(client.get_async_connection().await?)
                }
            })
        };
        // A group is asked node by node: one that is silent must not use up the time of all.
        let nodes = match self.source {
            Source::Single(_) => 1,
            Source::Sentinel(_) | Source::Cluster(_) => 4,
        };
        let limit = self.connect_timeout * nodes;
        timeout(limit, made).await.unwrap_or_else(|_| {
            // A Redis without TLS waits for the end of what it takes for a command.
            let hint = if self.tls { "; does it speak TLS?" } else { "" };
            let why = format!("no connection within {limit:?}{hint}");
            Err(io::Error::new(io::ErrorKind::TimedOut, why).into())
        })
    }
}

/// The task that connects. However it ends, the next caller must not wait for it.
struct Task {
    shared: Weak<Shared>,
    done: bool,
}

impl Drop for Task {
    fn drop(&mut self) {
        let unfinished = self.shared.upgrade().filter(|_| !self.done);
        if let Some(shared) = unfinished {
            shared.state.send_replace(State::Idle);
        }
    }
}

async fn connect(mut task: Task) {
    static GENERATIONS: AtomicU64 = AtomicU64::new(0);

    let (mut pause, longest) = PAUSES;
    while let Some(shared) = task.shared.upgrade() {
        match shared.attempt().await {
            Ok(connection) => {
                tracing::info!("connected to Redis");
                metrics::connected();
                task.done = true;
                let generation = GENERATIONS.fetch_add(1, Ordering::Relaxed);
                shared.state.send_replace(State::Up(connection, generation));
                return;
            }
            Err(error) => shared.failed(&error),
        }
        drop(shared);
        sleep(pause.mul_f64(rand::random_range(0.5..1.0))).await;
        pause = (pause * 2).min(longest);
    }
}
