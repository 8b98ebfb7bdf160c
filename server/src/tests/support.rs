//! A server over memory backends, with a reader beside it, driven through its router.

use std::{
    collections::HashMap,
    net::SocketAddr,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU32, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use axum::{
    Router,
    body::Body,
    http::{HeaderMap, Request, StatusCode, header},
};
use bytes::Bytes;
use http_body_util::BodyExt;
use jiff::Timestamp;
use serde_json::{Value, json};
use tokio::{sync::watch, task::JoinSet, time::Instant};
use tower::ServiceExt;
use vmctl_core::{
    bus::{Bus, BusError, Deliveries, Delivery, LogStart},
    clock::{self, Clock, Ids},
    event::{Event, EventType},
    fact::{Fact, Retention, interpret},
    identity::{AuthContext, Identity, IdentityError, Login, Project, Token},
    kinds::Registry,
    memory::{
        bus::{InMemoryBus, Limits as BusLimits},
        store::InMemoryJobStore,
    },
    partition::Partition,
    store::{FoldOutcome, FoldStore, JobStore, PartitionBatch, Position},
};

use crate::{Backends, Config, app::App, routes, server};

/// How long a test waits for something that must happen.
pub(super) const PATIENCE: Duration = Duration::from_secs(30);

/// A clock that moves with the runtime's, so that a paused runtime owns it.
pub(super) struct RuntimeClock {
    base: Timestamp,
    since: Instant,
    ids: Ids,
}

impl Clock for RuntimeClock {
    fn now(&self) -> Timestamp {
        let now = clock::add(self.base, self.since.elapsed());
        clock::from_unix_ms(now.as_millisecond())
    }

    fn ids(&self) -> &Ids {
        &self.ids
    }
}

/// Tokens that are their own description: `<user>@<project>:<roles>`, or `<user>@:<roles>` without
/// a project; `~<instant>` at the end is when they expire.
#[derive(Default)]
pub(super) struct TestIdentity {
    pub down: AtomicBool,
    passwords: Mutex<HashMap<String, String>>,
    revoked: Mutex<Vec<String>>,
}

impl TestIdentity {
    pub fn revoke(&self, token: &str) {
        self.revoked.lock().unwrap().push(token.to_owned());
    }

    fn check_up(&self) -> Result<(), IdentityError> {
        if self.down.load(Ordering::Relaxed) {
            return Err(IdentityError::Unavailable("connection refused".into()));
        }
        Ok(())
    }
}

fn describe(token: &str) -> Option<AuthContext> {
    let (token, expires_at) = token
        .split_once('~')
        .unwrap_or((token, "2999-01-01T00:00:00Z"));
    let (user, rest) = token.split_once('@')?;
    let (project, roles) = rest.split_once(':')?;
    Some(AuthContext {
        user_id: format!("id-of-{user}"),
        user_name: user.to_owned(),
        project: (!project.is_empty()).then(|| Project {
            id: project.to_owned(),
            name: project.to_owned(),
            domain_id: "default".to_owned(),
        }),
        roles: roles.split(',').map(str::to_owned).collect(),
        methods: vec!["password".to_owned()],
        issued_at: None,
        expires_at: expires_at.parse().ok()?,
    })
}

#[async_trait]
impl Identity for TestIdentity {
    async fn authenticate(&self, login: &Login) -> Result<(Token, AuthContext), IdentityError> {
        use secrecy::ExposeSecret;
        self.check_up()?;
        let passwords = self.passwords.lock().unwrap();
        if passwords.get(&login.user).map(String::as_str) != Some(login.password.expose_secret()) {
            return Err(IdentityError::Refused);
        }
        let project = login.project.as_deref().unwrap_or("demo");
        let token = Token::parse(&format!("{}@{project}:member", login.user)).unwrap();
        let context = describe(token.expose()).unwrap();
        Ok((token, context))
    }

    async fn validate(&self, token: &Token) -> Result<AuthContext, IdentityError> {
        self.check_up()?;
        if self
            .revoked
            .lock()
            .unwrap()
            .iter()
            .any(|t| t == token.expose())
        {
            return Err(IdentityError::Invalid);
        }
        describe(token.expose()).ok_or(IdentityError::Invalid)
    }

    async fn revoke(&self, _: &Token) -> Result<(), IdentityError> {
        self.check_up()
    }
}

pub(super) const MEMBER: &str = "joe@demo:member";
pub(super) const READER: &str = "rita@demo:reader";
pub(super) const OTHER: &str = "eve@other:member";
pub(super) const UNSCOPED: &str = "joe@:member";

/// A server, what it stands on, and a reader.
pub(super) struct Suite {
    pub app: Arc<App>,
    pub router: Router,
    pub broker: InMemoryBus,
    pub store: InMemoryJobStore,
    pub identity: Arc<TestIdentity>,
    reading: watch::Sender<bool>,
    _tasks: JoinSet<BusError>,
    _reader: JoinSet<()>,
}

/// What a suite is made of.
pub(super) type Parts = (
    Config,
    Backends,
    (InMemoryBus, InMemoryJobStore, Arc<TestIdentity>),
);

impl Suite {
    pub async fn start() -> Self {
        Self::with(|_| {}).await
    }

    /// Starts with changed settings, and waits until the server is ready and the view caught up.
    pub async fn with(change: impl FnOnce(&mut Config)) -> Self {
        Self::of(Self::parts(change)).await
    }

    /// Starts with these kinds.
    pub async fn with_kinds(registry: Registry, change: impl FnOnce(&mut Config)) -> Self {
        let (config, mut backends, parts) = Self::parts(change);
        backends.registry = Arc::new(registry);
        Self::of((config, backends, parts)).await
    }

    /// Starts with these parts.
    pub async fn of((config, backends, parts): Parts) -> Self {
        let (broker, store, identity) = parts;
        let app = Arc::new(App::new(config, backends));
        let tasks = server::background(&app);
        let reading = watch::Sender::new(true);
        let mut reader = JoinSet::new();
        reader.spawn(read(
            app.bus.clone(),
            store.clone(),
            Arc::clone(&app.clock),
            app.retention(),
            reading.subscribe(),
        ));
        let suite = Self {
            router: routes::router(&app, Router::new()),
            app,
            broker,
            store,
            identity,
            reading,
            _tasks: tasks,
            _reader: reader,
        };
        suite.caught_up().await;
        eventually("the doorbell is attached", async || {
            suite.app.doorbell.is_attached()
        })
        .await;
        suite
    }

    pub fn parts(change: impl FnOnce(&mut Config)) -> Parts {
        let clock: Arc<dyn Clock> = Arc::new(RuntimeClock {
            base: "2026-11-23T17:00:00Z".parse().unwrap(),
            since: Instant::now(),
            ids: Ids::default(),
        });
        let broker = InMemoryBus::new(Arc::clone(&clock), BusLimits::default());
        let store = InMemoryJobStore::new(Arc::clone(&clock));
        let identity = Arc::new(TestIdentity::default());
        identity
            .passwords
            .lock()
            .unwrap()
            .insert("joe".into(), "1234".into());
        let mut config = Config::new(([127, 0, 0, 1], 0).into(), "secret of the tests".into());
        change(&mut config);
        let backends = Backends {
            bus: broker.bus(),
            store: Arc::new(store.clone()),
            identity: Arc::clone(&identity) as Arc<dyn Identity>,
            clock,
            registry: Arc::new(Registry::built_in().unwrap()),
        };
        (config, backends, (broker, store, identity))
    }

    /// Lets the reader read, or not.
    pub fn set_reading(&self, reading: bool) {
        self.reading.send_replace(reading);
    }

    /// Waits until the view has passed a mark that is published after now.
    pub async fn caught_up(&self) {
        let now = self.app.now();
        eventually("the view is caught up", async || {
            let states = self.store.partitions().await.unwrap_or_default();
            !states.is_empty() && states.iter().all(|s| s.newest_mark > Some(now))
        })
        .await;
    }

    pub fn request(&self, method: &str, path: &str) -> Call<'_> {
        Call {
            suite: self,
            request: Request::builder().method(method).uri(path),
            body: Body::empty(),
        }
    }

    pub async fn get(&self, path: &str) -> Reply {
        self.request("GET", path).token(MEMBER).send().await
    }

    pub async fn post(&self, path: &str, body: Value) -> Reply {
        self.request("POST", path)
            .token(MEMBER)
            .json(&body)
            .send()
            .await
    }

    /// Submits a job and returns its id.
    pub async fn submit(&self) -> String {
        let reply = self.post("/v1/jobs", another()).await;
        assert_eq!(reply.status, StatusCode::ACCEPTED, "{reply:?}");
        reply.json()["id"].as_str().unwrap().to_owned()
    }

    pub async fn work(&self, kind: &str) -> Box<dyn Deliveries> {
        let queue = format!("work.{kind}");
        self.app.bus.consumer.consume(&queue, 10).await.unwrap()
    }

    /// Publishes an event about the job of a command.
    pub async fn say(
        &self,
        command: &Event,
        event_type: EventType,
        change: impl FnOnce(&mut Event),
    ) {
        let mut event = command.clone();
        event.id = clock::new_uuid(&*self.app.clock);
        event.event_type = event_type;
        event.time = self.app.now();
        event.source = "/worker/test".to_owned();
        change(&mut event);
        let published = self.app.bus.publisher.publish(event.to_message()).await;
        published.unwrap();
    }

    /// Does the next job of a queue: started, then succeeded.
    pub async fn finish(&self, delivery: Delivery) {
        let command = Event::parse(&delivery.message.body).unwrap();
        self.say(&command, EventType::Started, |event| {
            event.data.state = vmctl_core::JobState::Running;
        })
        .await;
        self.say(&command, EventType::Succeeded, |event| {
            event.data.state = vmctl_core::JobState::Succeeded;
            event.data.output = Some(json!({"vm_hostname": "lx1", "provider": "test"}));
        })
        .await;
        delivery.ack().await.unwrap();
    }
}

/// Waits for a condition.
pub(super) async fn eventually(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !holds().await {
        assert!(Instant::now() < deadline, "waited in vain: {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// The next delivery of a queue.
pub(super) async fn next(work: &mut Box<dyn Deliveries>) -> Delivery {
    tokio::time::timeout(PATIENCE, work.next())
        .await
        .expect("a delivery comes")
        .expect("the consumer lives")
}

pub(super) fn vm() -> Value {
    json!({"app_env": "DEV", "app_trigram": "string", "vm_desc": "string",
           "vm_hostname": "lxstring", "vm_profile": "Micro", "vm_region": "GreaterParis"})
}

pub(super) fn create() -> Value {
    json!({"kind": "vm.create", "input": vm()})
}

/// A submission that no other job is in the way of.
pub(super) fn another() -> Value {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let mut body = create();
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    body["input"]["vm_hostname"] = json!(format!("lx{number}"));
    body
}

/// A request under construction.
pub(super) struct Call<'a> {
    suite: &'a Suite,
    request: axum::http::request::Builder,
    body: Body,
}

impl Call<'_> {
    pub fn token(self, token: &str) -> Self {
        self.header("X-TOKEN", token)
    }

    pub fn header(mut self, name: &str, value: impl AsRef<[u8]>) -> Self {
        self.request = self.request.header(name, value.as_ref());
        self
    }

    pub fn json(self, body: &Value) -> Self {
        self.header("Content-Type", "application/json")
            .body(body.to_string())
    }

    pub fn body(mut self, body: impl Into<Body>) -> Self {
        self.body = body.into();
        self
    }

    pub async fn send(self) -> Reply {
        let request = self.request.body(self.body).unwrap();
        let response = self.suite.router.clone().oneshot(request).await.unwrap();
        let (parts, body) = response.into_parts();
        let reply = Reply {
            status: parts.status,
            headers: parts.headers,
            body: Bytes::new(),
        };
        if reply.header("content-type") == "text/event-stream" {
            // It may not end.
            return reply;
        }
        let body = body.collect().await.unwrap().to_bytes();
        Reply { body, ..reply }
    }

    /// Sends it as one who wants a stream, and gets one.
    pub async fn open(self) -> Frames {
        self.open_or_end().await.expect("there is more to come")
    }

    /// As [`Self::open`]; `None` when nothing will follow.
    pub async fn open_or_end(self) -> Option<Frames> {
        let call = self.header("Accept", "text/event-stream");
        let request = call.request.body(call.body).unwrap();
        let response = call.suite.router.clone().oneshot(request).await.unwrap();
        if response.status() == StatusCode::NO_CONTENT {
            return None;
        }
        assert_eq!(response.status(), StatusCode::OK);
        assert_eq!(
            response.headers()[header::CONTENT_TYPE],
            "text/event-stream"
        );
        Some(Frames {
            body: response.into_body(),
            text: String::new(),
        })
    }
}

/// An answer.
#[derive(Debug)]
pub(super) struct Reply {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub body: Bytes,
}

impl Reply {
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|e| panic!("{e}: {self:?}"))
    }

    pub fn header(&self, name: &str) -> &str {
        self.headers
            .get(name)
            .map_or("", |value| value.to_str().unwrap())
    }

    /// Checks that this is a problem document of this type, in form too.
    #[track_caller]
    pub fn is_problem(&self, status: u16, slug: &str) -> Value {
        assert_eq!(
            self.header("content-type"),
            "application/problem+json",
            "{self:?}"
        );
        let problem = self.json();
        assert_eq!(
            (self.status.as_u16(), problem["type"].as_str()),
            (status, Some(&*format!("/problems/{slug}"))),
            "{problem}"
        );
        assert_eq!(problem["status"], status);
        assert_eq!(problem["request_id"], self.header("x-request-id"));
        assert!(problem["title"].is_string() && problem["instance"].is_string());
        match status {
            401 => assert_eq!(self.header("www-authenticate"), "Keystone"),
            429 | 503 => assert!(self.headers.contains_key(header::RETRY_AFTER)),
            _ => {}
        }
        problem
    }
}

/// One frame of a stream.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Frame {
    pub id: String,
    pub event: String,
    pub data: Value,
    pub comment: String,
    pub retry: String,
}

/// A stream, as its client reads it.
pub(super) struct Frames {
    body: Body,
    text: String,
}

impl Frames {
    /// The next frame, whatever it is; `None` when the stream has ended.
    pub async fn raw(&mut self) -> Option<Frame> {
        let whole = loop {
            if let Some((frame, rest)) = self.text.split_once("\n\n") {
                let (frame, rest) = (frame.to_owned(), rest.to_owned());
                self.text = rest;
                break frame;
            }
            let chunk = tokio::time::timeout(PATIENCE, self.body.frame()).await;
            let Some(chunk) = chunk.expect("a frame comes, or the end") else {
                assert_eq!(self.text, "", "the stream ends between frames");
                return None;
            };
            let bytes = chunk.unwrap().into_data().unwrap();
            self.text.push_str(std::str::from_utf8(&bytes).unwrap());
        };
        let mut frame = Frame::default();
        for line in whole.lines() {
            let (field, value) = line.split_once(": ").unwrap();
            match field {
                "" => frame.comment = value.to_owned(),
                "id" => frame.id = value.to_owned(),
                "event" => frame.event = value.to_owned(),
                "data" => frame.data = serde_json::from_str(value).unwrap(),
                "retry" => frame.retry = value.to_owned(),
                other => panic!("the field {other:?}"),
            }
        }
        Some(frame)
    }

    /// The next frame that a client is told of.
    pub async fn next(&mut self) -> Option<Frame> {
        loop {
            let frame = self.raw().await?;
            if !frame.event.is_empty() {
                return Some(frame);
            }
        }
    }

    /// The next frame, which must be of this name.
    pub async fn is(&mut self, event: &str) -> Frame {
        let frame = self.next().await;
        let frame = frame.unwrap_or_else(|| panic!("the end, and no {event}"));
        assert_eq!(frame.event, event, "{frame:?}");
        frame
    }

    /// Everything up to the end.
    pub async fn rest(mut self) -> Vec<Frame> {
        let mut frames = Vec::new();
        while let Some(frame) = self.next().await {
            frames.push(frame);
        }
        frames
    }
}

/// A reader: folds the log into the store, from where each partition stands.
async fn read(
    bus: Bus,
    store: InMemoryJobStore,
    clock: Arc<dyn Clock>,
    retention: Retention,
    mut reading: watch::Receiver<bool>,
) {
    loop {
        if let Some(()) = read_until_lost(&bus, &store, &*clock, retention, &mut reading).await {
            return;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Returns `Some` when the test is over.
async fn read_until_lost(
    bus: &Bus,
    store: &InMemoryJobStore,
    clock: &dyn Clock,
    retention: Retention,
    reading: &mut watch::Receiver<bool>,
) -> Option<()> {
    let states = store.partitions().await.ok()?;
    let mut positions: Vec<_> = states.into_iter().map(|s| s.position).collect();
    let Ok(mut log) = bus.log.read(LogStart::First).await else {
        return None;
    };
    loop {
        let Ok(entries) = log.next_batch(500).await else {
            return None;
        };
        if reading.wait_for(|open| *open).await.is_err() {
            return Some(());
        }
        let last = entries.last()?;
        let position = Position {
            offset: last.offset,
            id: last.message.message_id.clone().unwrap_or_default(),
        };
        let mut batches: Vec<_> = Partition::all()
            .zip(&positions)
            .map(|(partition, expected)| PartitionBatch {
                partition,
                expected: expected.clone(),
                position: position.clone(),
                facts: Vec::new(),
                steps: Vec::new(),
                marks: Vec::new(),
                bad: Vec::new(),
                first_time: entries[0].message.timestamp,
            })
            .collect();
        for entry in &entries {
            let fact = interpret(entry, retention);
            for batch in &mut batches {
                let old = |p: &Position| entry.offset <= p.offset;
                if batch.expected.as_ref().is_some_and(old) {
                    continue;
                }
                match &fact {
                    Fact::Job(fact) if Partition::of(fact.job) == batch.partition => {
                        batch.facts.push((**fact).clone());
                    }
                    Fact::Mark(mark) => batch.marks.push((mark.server.clone(), mark.time)),
                    _ => {}
                }
            }
        }
        batches.retain(|batch| {
            batch
                .expected
                .as_ref()
                .is_none_or(|p| p.offset < position.offset)
        });
        let outcomes = store.fold(batches, clock.now()).await.ok()?;
        if outcomes.iter().any(|o| matches!(o, FoldOutcome::Moved(_))) {
            return None;
        }
        positions = store
            .partitions()
            .await
            .ok()?
            .into_iter()
            .map(|s| s.position)
            .collect();
    }
}

/// A server on a real socket.
pub(super) struct Listening {
    pub address: SocketAddr,
    pub shutdown: tokio_util::sync::CancellationToken,
    pub ended: tokio::task::JoinHandle<Result<(), crate::RunError>>,
}

pub(super) fn listen(change: impl FnOnce(&mut Config)) -> Listening {
    let (config, backends, _) = Suite::parts(change);
    let server = config.build(backends).unwrap();
    let address = server.address();
    let shutdown = tokio_util::sync::CancellationToken::new();
    Listening {
        address,
        ended: tokio::spawn(server.run(shutdown.clone())),
        shutdown,
    }
}
