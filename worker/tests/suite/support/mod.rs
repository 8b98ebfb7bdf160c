//! A whole small world in memory: bus, store, a reader that folds the log, and workers that can be
//! started, drained and killed.
#![cfg_attr(
    not(all(feature = "backends", feature = "testing")),
    allow(dead_code, reason = "the tests of these features use it")
)]

pub mod book;
#[allow(dead_code, reason = "the tests of all programs use it too")]
pub mod receiver;
pub mod site;
pub mod wire;

use std::{
    collections::{BTreeSet, HashMap},
    future::Future,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use serde_json::{Value, json};
use tokio::{sync::watch, task::JoinHandle};
use tokio_util::sync::CancellationToken;
use vmctl_core::{
    JobError, JobId, JobState, Kind,
    bus::{Bus, LogEntry, LogStart},
    clock::{self, Clock},
    event::{Caller, Control, Event, EventData, EventType, JobSpec},
    fact::{Fact, JobFact, Retention, interpret},
    kinds::Registry,
    memory::{
        bus::{InMemoryBus, Limits},
        store::InMemoryJobStore,
    },
    partition::Partition,
    store::{
        FoldStore as _, JobStore, PartitionBatch, Position,
        project::{self, Entered, Entry, Holder, ProjectLimits, ProjectStore as _},
    },
    testing::bus::{TokioClock, eventually},
    topology::Topology,
};
use vmctl_worker::{Backends, Config, Ctx, Handler, Outcome, RunError, Worker};

/// The kind that most tests run their own handlers under.
pub fn kind() -> Kind {
    "vm.create".parse().unwrap()
}

pub fn vm_input() -> Value {
    json!({
        "app_env": "DEV",
        "app_trigram": "vmc",
        "vm_desc": "",
        "vm_hostname": "lxtest",
        "vm_profile": "Micro",
        "vm_region": "North",
    })
}

pub fn error(word: &str) -> JobError {
    JobError {
        error_type: word.to_owned(),
        title: format!("it was {word}"),
        detail: None,
        retryable: true,
        attempt: None,
        worker: None,
    }
}

type Run = dyn Fn(Ctx) -> Pin<Box<dyn Future<Output = Outcome> + Send>> + Send + Sync;

/// A handler made from a closure; counts its runs.
#[derive(Clone)]
pub struct Script {
    run: Arc<Run>,
    pub runs: Arc<AtomicU32>,
    pub at_once: Arc<AtomicU32>,
    pub most: Arc<AtomicU32>,
}

impl Script {
    pub fn new<F, Fut>(run: F) -> Self
    where
        F: Fn(Ctx) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Outcome> + Send + 'static,
    {
        Self {
            run: Arc::new(move |ctx| Box::pin(run(ctx))),
            runs: Arc::default(),
            at_once: Arc::default(),
            most: Arc::default(),
        }
    }

    /// Runs for `time`, whatever it is told, and is done.
    pub fn busy(time: Duration) -> Self {
        Self::new(move |_| async move {
            tokio::time::sleep(time).await;
            Outcome::Done(json!({"busy": true}))
        })
    }

    pub fn runs(&self) -> u32 {
        self.runs.load(Ordering::SeqCst)
    }

    pub fn most(&self) -> u32 {
        self.most.load(Ordering::SeqCst)
    }
}

struct Inside(Arc<AtomicU32>);

impl Drop for Inside {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

#[async_trait]
impl Handler for Script {
    async fn run(&self, ctx: Ctx) -> Outcome {
        self.runs.fetch_add(1, Ordering::SeqCst);
        let now = self.at_once.fetch_add(1, Ordering::SeqCst) + 1;
        let _inside = Inside(self.at_once.clone());
        self.most.fetch_max(now, Ordering::SeqCst);
        (self.run)(ctx).await
    }
}

/// One message of the log.
#[derive(Debug, Clone)]
pub struct Seen {
    pub exchange: String,
    pub routing_key: String,
    pub message_id: String,
    /// `None` when the body is not an event.
    pub event: Option<Event>,
    pub reason: Option<String>,
}

/// Bus, store and reader. The clock is tokio's, so a paused test moves all of it.
pub struct World {
    memory: Option<InMemoryBus>,
    pub bus: Bus,
    pub store: InMemoryJobStore,
    pub clock: Arc<dyn Clock>,
    pub registry: Arc<Registry>,
    log: watch::Sender<Vec<Seen>>,
    _reader: AbortOnDrop,
}

struct AbortOnDrop(JoinHandle<()>);

impl Drop for AbortOnDrop {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// A worker that runs.
pub struct Started {
    pub shutdown: CancellationToken,
    task: JoinHandle<Result<(), RunError>>,
}

impl Drop for Started {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Started {
    pub fn run(worker: Worker) -> Self {
        let shutdown = CancellationToken::new();
        let task = tokio::spawn(worker.run(shutdown.clone()));
        Self { shutdown, task }
    }

    /// Ends it as `kill -9` does: nothing of it goes on.
    pub async fn kill(mut self) {
        self.task.abort();
        assert!((&mut self.task).await.unwrap_err().is_cancelled());
    }

    /// Asks it to stop and waits for that.
    pub async fn drain(mut self) {
        self.shutdown.cancel();
        patiently_long("end of the worker", &mut self.task)
            .await
            .unwrap()
            .unwrap();
    }

    pub async fn ended(mut self) -> RunError {
        patiently_long("end of the worker", &mut self.task)
            .await
            .unwrap()
            .unwrap_err()
    }
}

/// Paused clocks make long waits short, so this is generous.
pub async fn patiently_long<T>(what: &str, future: impl Future<Output = T>) -> T {
    let outcome = tokio::time::timeout(Duration::from_secs(3 * 24 * 3600), future).await;
    outcome.unwrap_or_else(|_| panic!("no {what} within three days"))
}

impl World {
    pub async fn new() -> Self {
        let clock: Arc<dyn Clock> = Arc::new(TokioClock::new());
        let memory = InMemoryBus::new(clock.clone(), Limits::default());
        let world = Self::on(memory.bus(), clock).await;
        Self {
            memory: Some(memory),
            ..world
        }
    }

    /// A world on this bus, once it is there.
    pub async fn on(bus: Bus, clock: Arc<dyn Clock>) -> Self {
        let store = InMemoryJobStore::new(clock.clone());
        let registry = Registry::built_in().unwrap();
        let topology = Topology::new(registry.kinds().map(|spec| &spec.kind));
        eventually("topology", async || bus.admin.declare(&topology).await.ok()).await;
        let log = watch::Sender::new(Vec::new());
        let reader = read(bus.clone(), store.clone(), clock.clone(), log.clone());
        Self {
            memory: None,
            bus,
            store,
            clock,
            registry: Arc::new(registry),
            log,
            _reader: AbortOnDrop(tokio::spawn(reader)),
        }
    }

    /// The bus, to break it.
    pub fn memory(&self) -> &InMemoryBus {
        self.memory.as_ref().unwrap()
    }

    pub fn backends(&self) -> Backends {
        Backends {
            bus: self.bus.clone(),
            store: Arc::new(self.store.clone()),
            clock: self.clock.clone(),
            registry: self.registry.clone(),
        }
    }

    pub fn start(&self, name: &str, handler: Script) -> Started {
        self.start_with(Config::new(name), handler)
    }

    pub fn start_with(&self, config: Config, handler: Script) -> Started {
        self.start_handlers(config, vec![(kind(), Arc::new(handler))])
    }

    pub fn start_handlers(
        &self,
        config: Config,
        handlers: Vec<(Kind, Arc<dyn Handler>)>,
    ) -> Started {
        self.start_on(self.bus.clone(), config, handlers)
    }

    /// As a process with a connection of its own.
    pub fn start_on(
        &self,
        bus: Bus,
        config: Config,
        handlers: Vec<(Kind, Arc<dyn Handler>)>,
    ) -> Started {
        let backends = Backends {
            bus,
            ..self.backends()
        };
        let worker = Worker::builder(config, backends)
            .handlers(handlers)
            .build()
            .unwrap();
        Started::run(worker)
    }

    /// Makes a command as the server does, with an hour to live.
    pub fn command(&self, kind: Kind, input: Value) -> Event {
        let now = self.clock.now();
        let caller = Caller {
            user_id: "u1".to_owned(),
            user_name: "joe".to_owned(),
            project_id: "p1".to_owned(),
            domain_id: "default".to_owned(),
            roles: vec!["member".to_owned()],
            request_id: None,
        };
        let id = clock::new_job_id(&*self.clock);
        let deadline = clock::add(now, Duration::from_secs(3600));
        let job = JobSpec {
            max_attempts: 5,
            ..JobSpec::new(id, kind, input, now, deadline, caller)
        };
        let data = EventData::new(JobState::Queued, job);
        let id = clock::new_uuid(&*self.clock);
        Event::new(id, EventType::Submitted, "/server/test", now, data)
    }

    pub async fn publish(&self, event: &Event) -> JobId {
        self.bus
            .publisher
            .publish(event.to_message())
            .await
            .unwrap();
        event.subject
    }

    pub async fn submit(&self) -> JobId {
        self.publish(&self.command(kind(), vm_input())).await
    }

    /// Asks to cancel as the server does: into the log, into the view, to every worker.
    pub async fn cancel(&self, job: JobId, reason: &str) {
        let mut event = self.events(job).remove(0);
        event.id = clock::new_uuid(&*self.clock);
        event.event_type = EventType::CancelRequested;
        event.time = self.clock.now();
        event.data.reason = Some(reason.to_owned());
        self.publish(&event).await;
        let fact = JobFact::from_event(event, None, Retention::default());
        self.store.prewrite(&fact, self.clock.now()).await.unwrap();
        let control = Control::Cancel {
            job_id: job,
            epoch: 0,
            reason: Some(reason.to_owned()),
        };
        self.bus.publisher.broadcast(control).await.unwrap();
    }

    pub fn log(&self) -> Vec<Seen> {
        self.log.borrow().clone()
    }

    /// The events of one job, in log order; dead letters are none.
    pub fn events(&self, job: JobId) -> Vec<Event> {
        self.log()
            .into_iter()
            .filter(|seen| seen.exchange == "jobs")
            .filter_map(|seen| seen.event)
            .filter(|event| event.subject == job)
            .collect()
    }

    /// The words of a job's events.
    pub fn words(&self, job: JobId) -> Vec<&'static str> {
        let events = self.events(job);
        events.iter().map(|e| e.event_type.word()).collect()
    }

    /// Waits for the first event of a type.
    pub async fn event(&self, job: JobId, event_type: EventType) -> Event {
        self.first(job, event_type.word(), |e| e.event_type == event_type)
            .await
    }

    /// Waits for the job's end.
    pub async fn end(&self, job: JobId) -> Event {
        self.first(job, "end of the job", |e| e.event_type.is_terminal())
            .await
    }

    async fn first(&self, job: JobId, what: &str, is_it: impl Fn(&Event) -> bool) -> Event {
        let mut log = self.log.subscribe();
        let find = |log: &Vec<Seen>| {
            let of_bus = log.iter().filter(|seen| seen.exchange == "jobs");
            let mut events = of_bus.filter_map(|seen| seen.event.clone());
            events.find(|event| event.subject == job && is_it(event))
        };
        patiently_long(what, async {
            let log = log.wait_for(|log| find(log).is_some()).await.unwrap();
            find(&log).unwrap()
        })
        .await
    }

    /// Waits until nothing is left in the work queue and nobody holds anything of it.
    pub async fn settled(&self) {
        eventually("empty work queue", async || {
            let probe = self.bus.admin.inspect("work.vm.create").await.unwrap()?;
            (probe.ready == 0).then_some(())
        })
        .await;
        // What is held comes back when its consumer goes, so a new consumer would see it.
        let mut deliveries = self
            .bus
            .consumer
            .consume("work.vm.create", 100)
            .await
            .unwrap();
        let left = tokio::time::timeout(Duration::from_millis(50), deliveries.next()).await;
        assert!(left.is_err(), "something is left: {left:?}");
    }

    pub async fn ready(&self, queue: &str) -> u64 {
        let stats = self.bus.admin.inspect(queue).await.unwrap();
        stats.unwrap().ready
    }

    /// Enters a run as a server does, under a name of its own; returns who has a key of it.
    pub async fn enter(&self, project: &str, run: project::Run, key: &str) -> Option<Holder> {
        match self.try_enter(project, run, key).await {
            Entered::Held(holders) => Some(holders[0].clone()),
            _ => None,
        }
    }

    async fn try_enter(&self, project: &str, run: project::Run, key: &str) -> Entered {
        let entry = Entry {
            run,
            expires: clock::add(self.clock.now(), Duration::from_secs(7200)),
            keys: [key.to_owned()].into(),
            frees: BTreeSet::new(),
            queue: false,
            limits: ProjectLimits::default(),
        };
        self.store.enter(project, &entry).await.unwrap().0
    }

    /// Returns who has a name.
    pub async fn holder(&self, project: &str, key: &str) -> Option<Holder> {
        let probe = project::Run {
            job: clock::new_job_id(&*self.clock),
            epoch: 0,
        };
        match self.try_enter(project, probe, key).await {
            Entered::Held(holders) => Some(holders[0].clone()),
            Entered::In { since, .. } => {
                let keys = [key.to_owned()].into();
                let left = self.store.leave(project, probe, &keys, since);
                left.await.unwrap();
                None
            }
            other => panic!("without limits there is no other answer: {other:?}"),
        }
    }

    pub async fn state(&self, job: JobId) -> Option<JobState> {
        self.store.get(job).await.unwrap().record?.state()
    }
}

/// Waits for what comes after the first `started` of a job: what its first slice said.
pub async fn event_after_start(world: &World, job: JobId) -> Event {
    world
        .first(job, "outcome of the slice", |event| {
            !matches!(event.event_type, EventType::Submitted | EventType::Started)
        })
        .await
}

/// Waits until `what` holds.
pub async fn until(what: &str, mut holds: impl FnMut() -> bool) {
    patiently_long(what, async {
        while !holds() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await;
}

async fn read(
    bus: Bus,
    store: InMemoryJobStore,
    clock: Arc<dyn Clock>,
    log: watch::Sender<Vec<Seen>>,
) {
    let mut next = LogStart::First;
    let mut positions: HashMap<Partition, Position> = HashMap::new();
    loop {
        let Ok(mut reader) = bus.log.read(next).await else {
            tokio::time::sleep(Duration::from_millis(50)).await;
            continue;
        };
        while let Ok(batch) = reader.next_batch(100).await {
            for entry in batch {
                next = LogStart::Offset(entry.offset + 1);
                for batch in batches(&entry, &positions) {
                    let (partition, position) = (batch.partition, batch.position.clone());
                    // A store that is down stays behind; the tests of that look at the log.
                    if store.fold(vec![batch], clock.now()).await.is_ok() {
                        positions.insert(partition, position);
                    }
                }
                log.send_modify(|log| log.push(seen(&entry)));
            }
        }
    }
}

/// What one entry of the log is for the partitions.
fn batches(entry: &LogEntry, stand: &HashMap<Partition, Position>) -> Vec<PartitionBatch> {
    let (partitions, facts, marks) = match interpret(entry, Retention::default()) {
        Fact::Job(fact) => (vec![Partition::of(fact.job)], vec![*fact], vec![]),
        Fact::Mark(mark) => (
            Partition::all().collect(),
            vec![],
            vec![(mark.server, mark.time)],
        ),
        Fact::Bad { .. } | Fact::Other => return Vec::new(),
    };
    let position = Position {
        offset: entry.offset,
        id: entry.message.message_id.clone().unwrap_or_default(),
    };
    let batch = |partition| PartitionBatch {
        partition,
        expected: stand.get(&partition).cloned(),
        position: position.clone(),
        facts: facts.clone(),
        steps: Vec::new(),
        marks: marks.clone(),
        bad: Vec::new(),
        first_time: None,
    };
    partitions.into_iter().map(batch).collect()
}

fn seen(entry: &LogEntry) -> Seen {
    let message = &entry.message;
    Seen {
        exchange: message.exchange.clone(),
        routing_key: message.routing_key.clone(),
        message_id: message.message_id.clone().unwrap_or_default(),
        event: Event::parse(&message.body).ok(),
        reason: message.death.as_ref().map(|d| d.reason.clone()),
    }
}
