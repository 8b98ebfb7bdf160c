//! What the server must be told, and the bounds that it keeps.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use axum::http::StatusCode;
use ipnet::IpNet;
use secrecy::SecretString;
use url::Url;
use vmctl_api_types::{AuthDiscovery, Kind};
use vmctl_core::{
    bus::Bus,
    clock::{self, Clock, SystemClock},
    identity::Identity,
    kinds::Registry,
    store::{
        JobStore,
        project::{ProjectLimits, Rate},
    },
};
use vmctl_egress::Guard;
use vmctl_search::Cluster;

use crate::policy::Policy;

/// Settings of one server.
#[derive(Debug, Clone)]
pub struct Config {
    /// The address to listen on; port 0 takes a free one.
    pub listen: SocketAddr,
    /// What TLS is spoken with on that address; `None` speaks none. It offers `http/1.1` alone.
    pub tls: Option<Arc<rustls::ServerConfig>>,
    /// Names this process in marks, messages and queues: different in every process.
    pub name: String,
    /// Ids are derived from an `Idempotency-Key` with it: the same on every server of a deployment,
    /// and never changed.
    pub id_secret: SecretString,
    /// How long a record is kept after the job's end. The same as the reader's.
    pub job_ttl: Duration,
    /// What `/v1/vm` answers to an accepted request.
    pub compat_post_status: CompatPostStatus,
    /// What discovery tells clients about logging in.
    pub auth: AuthDiscovery,
    /// Project that `POST /v1/connect` scopes to when the body names none; `None` leaves it to the
    /// user's default.
    pub connect_project: Option<String>,
    /// Where callbacks may go. The same rules as the workers', so that what is accepted is sent.
    pub callbacks: Guard,
    /// Networks of proxies whose `X-Forwarded-For` is believed.
    pub trusted_proxies: Vec<IpNet>,
    /// Id of the project whose admins may in `/v1/admin` for all projects; others for their own.
    pub admin_project: Option<String>,
    /// Who may do what.
    pub policy: Policy,
    /// Kinds that take no jobs for now; what was accepted before goes on.
    pub paused_kinds: Vec<Kind>,
    /// How synchronous kinds are answered.
    pub sync: SyncConfig,
    /// Where jobs are searched; `None` when they are not.
    pub search: Option<Cluster>,
    /// The bounds.
    pub limits: Limits,
}

/// How synchronous kinds are answered.
#[derive(Debug, Clone, Default)]
pub struct SyncConfig {
    /// Addresses of the workers' own API, tried in turn; `vm.list` and `vm.show` need one.
    pub workers: Vec<Url>,
    /// What the workers' API asks for. Sent to nobody else.
    pub workers_token: Option<SecretString>,
    /// What the server says to every other upstream, to be told from anybody else.
    pub token: Option<SecretString>,
    /// Certificates, PEM, to trust besides the system's.
    pub ca_pem: Option<Vec<u8>>,
}

impl Config {
    /// Makes the settings of a server whose name is drawn and whose other settings are the defaults.
    pub fn new(listen: SocketAddr, id_secret: SecretString) -> Self {
        let drawn = clock::new_uuid(&SystemClock).simple().to_string();
        Self {
            listen,
            tls: None,
            // The last characters are the random ones.
            name: format!("server-{}", &drawn[drawn.len() - 12..]),
            id_secret,
            job_ttl: Duration::from_secs(24 * 3600),
            compat_post_status: CompatPostStatus::Accepted,
            auth: AuthDiscovery::Connect,
            connect_project: None,
            callbacks: Guard::default(),
            trusted_proxies: Vec::new(),
            admin_project: None,
            policy: Policy::default(),
            paused_kinds: Vec::new(),
            sync: SyncConfig::default(),
            search: None,
            limits: Limits::default(),
        }
    }
}

/// What `/v1/vm` answers to an accepted request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CompatPostStatus {
    /// 200, as the original service did.
    Ok,
    /// 202, as it should have.
    Accepted,
}

impl CompatPostStatus {
    /// Returns the status.
    pub const fn status(self) -> StatusCode {
        match self {
            Self::Ok => StatusCode::OK,
            Self::Accepted => StatusCode::ACCEPTED,
        }
    }
}

/// A number that is no status of `/v1/vm`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the status is 200 or 202")]
pub struct CompatPostStatusError;

impl TryFrom<u16> for CompatPostStatus {
    type Error = CompatPostStatusError;

    fn try_from(status: u16) -> Result<Self, Self::Error> {
        match status {
            200 => Ok(Self::Ok),
            202 => Ok(Self::Accepted),
            _ => Err(CompatPostStatusError),
        }
    }
}

/// Every bound of the server.
#[derive(Debug, Clone)]
pub struct Limits {
    /// Open connections; more are closed at once.
    pub connections: usize,
    /// TLS handshakes in progress; more are closed at once.
    pub handshakes: usize,
    /// Time for a TLS handshake.
    pub handshake_deadline: Duration,
    /// Requests in work; more get 503.
    pub requests: usize,
    /// Requests that wait for a change; more are answered without waiting.
    pub waiters: usize,
    /// Open streams; more get 503.
    pub streams: usize,
    /// Open streams of one project; more get 429.
    pub project_streams: usize,
    /// Jobs that one stream may name.
    pub stream_jobs: usize,
    /// Frames that wait for a slow reader of a stream.
    pub stream_frames: usize,
    /// Time for a slow reader to make room for one more frame, before its stream is ended.
    pub stream_patience: Duration,
    /// Time after which a stream is ended, so that its client connects anew.
    pub stream_life: Duration,
    /// How often a stream asks whether its token is still valid.
    pub stream_check: Duration,
    /// Silence after which a stream says that it is alive.
    pub stream_ping: Duration,
    /// Bytes of a body.
    pub body_bytes: usize,
    /// Bytes of a path with its query.
    pub uri_bytes: usize,
    /// Bytes of all headers together.
    pub header_bytes: usize,
    /// Time for the headers of a request, from its first byte or from the last answer.
    pub header_deadline: Duration,
    /// Time for a whole body.
    pub body_deadline: Duration,
    /// Time without progress in which a client must take a part of its answer.
    pub write_deadline: Duration,
    /// Time for which a server that is asked to stop goes on as before, but for not being ready: whoever
    /// sends it requests learns to send them elsewhere.
    pub drain_delay: Duration,
    /// Time for requests in work after that.
    pub drain: Duration,
    /// Messages in a work queue from which on the server admits no more.
    pub queue_ready: u64,
    /// Time between two looks at the work queues.
    pub inspect_every: Duration,
    /// Time for one call to the store.
    pub store_deadline: Duration,
    /// Time for writing the record ahead of the log, before the answer is given without it.
    pub prewrite_budget: Duration,
    /// Time for the view to catch up before an absent job is answered with 503.
    pub absence_patience: Duration,
    /// Time that a request waits for another one with the same `Idempotency-Key`.
    pub twin_patience: Duration,
    /// Time between two marks.
    pub mark_every: Duration,
    /// Age of the last confirmed mark from which on the server is not ready.
    pub mark_stale: Duration,
    /// Login attempts in a minute for one name from one address.
    pub logins_per_minute: u32,
    /// Audit entries that wait for the broker; more are dropped and counted.
    pub audit_queue: usize,
    /// Entries in a second about callers whom nobody knows; more are dropped and counted.
    pub audit_strangers: u32,
    /// Requests to one upstream of synchronous kinds at once; more get 503.
    pub sync_in_flight: usize,
    /// Bytes of an upstream's answer.
    pub sync_body_bytes: usize,
    /// Failures of an upstream in a row after which it is left alone.
    pub sync_failures: u32,
    /// Time for which it is left alone, before one request tries again.
    pub sync_open: Duration,
    /// What one project may have.
    pub project: ProjectLimits,
    /// Messages in a work queue from which on it is busy: a project may then have only its fair share
    /// of active jobs to submit one more of that kind.
    pub busy_queue: u64,
    /// The active jobs of a project that are its fair share.
    pub fair_share: u64,
    /// Jobs on one page of a list.
    pub page: usize,
    /// Lines of a project's index that one request may look at.
    pub scan: usize,
    /// Searches under way; more get 503.
    pub searches: usize,
    /// Time for one request of the search cluster.
    pub search_deadline: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: 10_000,
            handshakes: 1_024,
            handshake_deadline: Duration::from_secs(10),
            requests: 1_024,
            waiters: 4_096,
            streams: 4_096,
            project_streams: 2_048,
            stream_jobs: 50,
            stream_frames: 16,
            // Less than the deadline for writes, so that it is this one that is counted.
            stream_patience: Duration::from_secs(5),
            stream_life: Duration::from_secs(3600),
            stream_check: Duration::from_secs(60),
            stream_ping: Duration::from_secs(15),
            body_bytes: 64 * 1024,
            uri_bytes: 8 * 1024,
            header_bytes: 32 * 1024,
            header_deadline: Duration::from_secs(10),
            body_deadline: Duration::from_secs(15),
            write_deadline: Duration::from_secs(10),
            drain_delay: Duration::ZERO,
            drain: Duration::from_secs(20),
            queue_ready: 100_000,
            inspect_every: Duration::from_secs(3),
            store_deadline: Duration::from_secs(2),
            prewrite_budget: Duration::from_millis(50),
            absence_patience: Duration::from_secs(2),
            twin_patience: Duration::from_secs(2),
            mark_every: Duration::from_secs(1),
            mark_stale: Duration::from_secs(10),
            logins_per_minute: 5,
            audit_queue: 4_096,
            audit_strangers: 20,
            sync_in_flight: 64,
            sync_body_bytes: 1024 * 1024,
            sync_failures: 5,
            sync_open: Duration::from_secs(10),
            project: ProjectLimits {
                active: Some(10_000),
                rate: Some(Rate {
                    quota: 1_000,
                    window: Duration::from_secs(1),
                }),
            },
            busy_queue: 1_000,
            fair_share: 100,
            page: 200,
            scan: 2_000,
            searches: 32,
            search_deadline: Duration::from_secs(3),
        }
    }
}

/// What the server stands on.
#[derive(Clone)]
pub struct Backends {
    /// Takes commands, gives the log.
    pub bus: Bus,
    /// The view.
    pub store: Arc<dyn JobStore>,
    /// Says who calls.
    pub identity: Arc<dyn Identity>,
    /// Tells the time.
    pub clock: Arc<dyn Clock>,
    /// What may be asked for.
    pub registry: Arc<Registry>,
}

impl std::fmt::Debug for Backends {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Backends").finish_non_exhaustive()
    }
}
