//! A reader on memory backends, with a clock of its own under tokio's paused one.

pub mod killing;

use std::{sync::Arc, time::Duration};

use jiff::Timestamp;
use serde_json::json;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;
use vmctl_core::{
    JobId, JobState,
    bus::{Bus, Message},
    children::{Join, OnFailure, Waits, child_id},
    clock::{self, Clock, ManualClock, from_unix_ms, new_job_id, new_uuid},
    event::{Caller, Event, EventData, EventType, JobSpec, Mark},
    kinds::Registry,
    memory::{
        bus::{InMemoryBus, Limits},
        store::InMemoryJobStore,
    },
    record::Record,
    store::{FoldStore, JobStore as _},
    topology::{EXCHANGE_JOBS, Tier, Topology},
};
use vmctl_reader::{Config, Reader, StatusWatch};

pub struct World {
    pub clock: Arc<ManualClock>,
    pub broker: InMemoryBus,
    pub bus: Bus,
    pub store: InMemoryJobStore,
    pub registry: Registry,
}

pub struct Running {
    pub status: StatusWatch,
    shutdown: CancellationToken,
    task: JoinHandle<()>,
}

impl Running {
    /// Ends the reader as SIGTERM does.
    pub async fn stop(self) {
        self.shutdown.cancel();
        self.task.await.unwrap();
    }

    /// Ends the reader as SIGKILL does.
    pub fn kill(self) {
        self.task.abort();
    }
}

impl World {
    pub async fn new() -> Self {
        let clock = Arc::new(ManualClock::new(from_unix_ms(1_795_000_000_000)));
        let store = InMemoryJobStore::new(clock.clone());
        Self::with(clock, store).await
    }

    /// Another broker, with an empty log, beside the same view.
    pub async fn with_new_broker(&self) -> Self {
        Self::with(self.clock.clone(), self.store.clone()).await
    }

    async fn with(clock: Arc<ManualClock>, store: InMemoryJobStore) -> Self {
        Self::on(clock, store, Limits::default()).await
    }

    /// On a broker with other limits.
    pub async fn on(clock: Arc<ManualClock>, store: InMemoryJobStore, limits: Limits) -> Self {
        let broker = InMemoryBus::new(clock.clone(), limits);
        let registry = Registry::built_in().unwrap();
        let bus = broker.bus();
        let topology = Topology::new(registry.kinds().map(|k| &k.kind));
        bus.admin.declare(&topology).await.unwrap();
        Self {
            clock,
            broker,
            bus,
            store,
            registry,
        }
    }

    pub fn start(&self, name: &str) -> Running {
        self.start_on(name, self.bus.clone())
    }

    /// Starts a reader with other settings.
    pub fn start_with(&self, config: Config) -> Running {
        self.start_as(config, self.bus.clone())
    }

    /// Starts a reader on another view of the same bus.
    pub fn start_on(&self, name: &str, bus: Bus) -> Running {
        self.start_as(Config::new(name), bus)
    }

    fn start_as(&self, config: Config, bus: Bus) -> Running {
        let reader = Reader::new(
            config,
            bus,
            Arc::new(self.store.clone()) as Arc<dyn FoldStore>,
            self.clock.clone(),
            &self.registry,
        );
        let status = reader.status();
        let shutdown = CancellationToken::new();
        let token = shutdown.clone();
        let task = tokio::spawn(async move { reader.run(token).await.unwrap() });
        Running {
            status,
            shutdown,
            task,
        }
    }

    pub fn job(&self) -> JobSpec {
        let now = self.clock.now();
        JobSpec::new(
            new_job_id(&*self.clock),
            "vm.create".parse().unwrap(),
            json!({"vm_hostname": "lx1"}),
            now,
            clock::add(now, Duration::from_secs(3600)),
            Caller {
                user_id: "u".into(),
                user_name: "joe".into(),
                project_id: "demo".into(),
                domain_id: "default".into(),
                roles: vec!["member".into()],
                request_id: None,
            },
        )
    }

    pub fn event(&self, job: &JobSpec, event_type: EventType, state: JobState) -> Event {
        let data = EventData::new(state, job.clone());
        let id = new_uuid(&*self.clock);
        Event::new(id, event_type, "/test", self.clock.now(), data)
    }

    pub async fn publish(&self, event: &Event) {
        self.bus
            .publisher
            .publish(event.to_message())
            .await
            .unwrap();
    }

    pub async fn say(&self, job: &JobSpec, event_type: EventType, state: JobState) -> Uuid {
        let event = self.event(job, event_type, state);
        self.publish(&event).await;
        event.id
    }

    /// A worker starts the job and says how it has ended; returns the id of the end.
    pub async fn end(&self, job: &JobSpec, event_type: EventType, state: JobState) -> Uuid {
        self.say(job, EventType::Started, JobState::Running).await;
        let mut end = self.event(job, event_type, state);
        if event_type == EventType::Deadline {
            end.time = job.deadline;
        }
        self.publish(&end).await;
        end.id
    }

    pub async fn submit(&self) -> JobSpec {
        let job = self.job();
        self.say(&job, EventType::Submitted, JobState::Queued).await;
        job
    }

    /// Says it as a simple worker does: no id, no time, no type.
    pub async fn publish_report(&self, body: Vec<u8>) {
        let message = Message {
            exchange: EXCHANGE_JOBS.to_owned(),
            routing_key: "reader".parse().unwrap(),
            content_type: "application/json".to_owned(),
            message_id: String::new(),
            correlation_id: String::new(),
            message_type: String::new(),
            timestamp: self.clock.now(),
            persistent: true,
            headers: std::collections::BTreeMap::new(),
            body: body.into(),
        };
        self.bus.publisher.publish(message).await.unwrap();
    }

    /// What a server says every second.
    pub async fn mark(&self) -> Timestamp {
        self.mark_of("s1", self.clock.now()).await
    }

    /// A mark of any server and time.
    pub async fn mark_of(&self, server: &str, time: Timestamp) -> Timestamp {
        let mark = Mark {
            id: new_uuid(&*self.clock),
            server: server.into(),
            time,
        };
        self.bus.publisher.publish(mark.to_message()).await.unwrap();
        mark.time
    }

    pub async fn record(&self, id: JobId) -> Option<Record> {
        self.store.get(id).await.unwrap().record
    }

    pub async fn state(&self, id: JobId) -> Option<JobState> {
        self.record(id).await?.state()
    }

    /// Waits until a job is in that state.
    pub async fn until(&self, id: JobId, state: JobState) {
        until(&format!("{id} {state}"), async || {
            self.state(id).await == Some(state)
        })
        .await;
    }
}

/// Publishes a job that waits for its children, and looks again after `pause`, as its worker does.
pub async fn waiting(world: &World, pause: Duration, names: &[&str]) -> Event {
    let mut event = world.event(&world.job(), EventType::Continued, JobState::Waiting);
    event.data.seq = 1;
    event.data.children = names.iter().map(|n| (*n).to_owned()).collect();
    event.data.waits = Some(Waits {
        children: event.data.children.clone(),
        join: Join::All,
        on_failure: OnFailure::FailFast,
        until: None,
        shielded: false,
        looks: 2,
        decided: false,
    });
    event.data.checkpoint = Some(json!({"at": 1}));
    event.data.not_before = Some(clock::add(event.time, pause));
    event.extra.insert("newer".to_owned(), json!(1));
    let message = event.to_delayed_message(Tier::at_most(pause).unwrap());
    world.bus.publisher.publish(message).await.unwrap();
    event
}

/// A job that another one has asked for.
pub fn child(world: &World, parent: &Event, name: &str) -> JobSpec {
    JobSpec {
        id: child_id(parent.subject, 0, name),
        kind: "vm.delete".parse().unwrap(),
        parent_id: Some(parent.subject),
        ..world.job()
    }
}

/// Waits until something is so; a minute of tokio's clock at most.
pub async fn until(what: &str, mut check: impl AsyncFnMut() -> bool) {
    let patience = tokio::time::timeout(Duration::from_secs(60), async {
        while !check().await {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    });
    assert!(patience.await.is_ok(), "not so: {what}");
}

/// The value of the only line of metrics that begins so.
pub fn value(text: &str, metric: &str) -> f64 {
    let mut lines = text.lines().filter_map(|line| line.strip_prefix(metric));
    let line = lines
        .next()
        .unwrap_or_else(|| panic!("no {metric}: {text}"));
    assert_eq!(lines.next(), None);
    line.trim().parse().unwrap()
}
