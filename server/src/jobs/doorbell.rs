//! Wakes requests and streams that wait for a change of a job, or of any job of a project.
//!
//! The tail of the log and the progress feed say *that* something happened; what happened is read
//! from the store, so that no client sees state go back. A doorbell that is down costs freshness
//! only: waiting requests then look at the store by themselves.

use std::{
    collections::{BTreeMap, HashMap, hash_map::Entry},
    convert::Infallible,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use tokio::{sync::watch, time::sleep};
use vmctl_api_types::JobId;
use vmctl_core::bus::{BusError, Feed, HeaderValue, LogEntry, LogStart, Received};

use crate::{
    app::App,
    jobs::journal::{Journal, Noted},
};

const FIRST_PAUSE: Duration = Duration::from_millis(200);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);
const BATCH: usize = 1_000;

/// The type attribute of lines of a log.
const LOG_TYPE: &str = "jobs.log.v1";

/// Who waits for what.
#[derive(Default)]
pub(crate) struct Doorbell {
    bells: Arc<Mutex<HashMap<Subject, Bell>>>,
    journal: Mutex<Journal>,
    attached: AtomicBool,
}

/// Jobs of one project whose progress is remembered for its streams; more lose some.
pub(crate) const TICKED: usize = 1_024;

/// Which bell.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Subject {
    Job(JobId),
    Lines(JobId),
    Project(Arc<str>),
}

struct Bell {
    rings: watch::Sender<()>,
    listeners: usize,
    ticked: Ticked,
}

/// Jobs with progress, each under the number of its newest one.
#[derive(Default)]
struct Ticked {
    newest: u64,
    jobs: BTreeMap<u64, JobId>,
    numbers: HashMap<JobId, u64>,
}

impl Ticked {
    fn note(&mut self, job: JobId) {
        self.newest += 1;
        if let Some(old) = self.numbers.insert(job, self.newest) {
            self.jobs.remove(&old);
        }
        self.jobs.insert(self.newest, job);
        while self.jobs.len() > TICKED
            && let Some((_, oldest)) = self.jobs.pop_first()
        {
            self.numbers.remove(&oldest);
        }
    }
}

/// Hears one bell. Bounded by the number of requests that may wait and of streams.
pub(crate) struct Listener {
    subject: Subject,
    rings: watch::Receiver<()>,
    bells: Arc<Mutex<HashMap<Subject, Bell>>>,
}

impl Doorbell {
    /// Starts to listen for a job: rings from now on are not missed.
    pub fn listen(&self, id: JobId) -> Listener {
        self.listen_to(Subject::Job(id))
    }

    /// Starts to listen for lines of a job's log.
    pub fn listen_to_lines(&self, id: JobId) -> Listener {
        self.listen_to(Subject::Lines(id))
    }

    /// Starts to listen for all jobs of a project, and for their progress.
    pub fn listen_to_project(&self, project: &str) -> Listener {
        self.listen_to(Subject::Project(project.into()))
    }

    fn listen_to(&self, subject: Subject) -> Listener {
        let mut bells = self.bells.lock().unwrap_or_else(PoisonError::into_inner);
        let bell = bells.entry(subject.clone()).or_insert_with(|| Bell {
            rings: watch::Sender::new(()),
            listeners: 0,
            ticked: Ticked::default(),
        });
        bell.listeners += 1;
        Listener {
            subject,
            rings: bell.rings.subscribe(),
            bells: Arc::clone(&self.bells),
        }
    }

    /// Says whether rings can be expected at all.
    pub fn is_attached(&self) -> bool {
        self.attached.load(Ordering::Relaxed)
    }

    /// Returns the offset of the newest entry that the log had about this job lately. Whoever starts
    /// to wait after the ring and before the view has the entry knows by it that a change is on its
    /// way.
    pub fn latest(&self, id: JobId) -> Option<u64> {
        self.journal().latest(id)
    }

    /// Returns the newest entries of the log. While the tail is lost they say nothing about now.
    pub fn journal(&self) -> MutexGuard<'_, Journal> {
        self.journal.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Begins anew, and rings for everything: what happened while the tail was lost has not rung.
    fn attach(&self) {
        self.journal().restart();
        self.attached.store(true, Ordering::Relaxed);
        let bells = self.bells.lock().unwrap_or_else(PoisonError::into_inner);
        for bell in bells.values() {
            bell.rings.send_replace(());
        }
    }

    /// Rings for an entry of the log.
    fn entry(&self, entry: &LogEntry) {
        let noted = Noted::of(entry);
        let about = noted.as_ref().and_then(|noted| noted.about.clone());
        // Before the ring, so that who is woken finds it.
        self.journal().note(entry.offset, noted);
        if let Some(about) = about {
            self.ring(&[Subject::Job(about.job), Subject::Project(about.project)]);
        }
    }

    /// Rings for lines of a log, or for progress.
    fn tick(&self, message: &Received) {
        let id = message.correlation_id.as_deref();
        let Some(id) = id.and_then(|text| text.parse().ok()) else {
            return;
        };
        if message.message_type.as_deref() == Some(LOG_TYPE) {
            self.ring(&[Subject::Lines(id)]);
            return;
        }
        self.ring(&[Subject::Job(id)]);
        if let Some(HeaderValue::Text(project)) = message.headers.get("project") {
            self.ring_for_progress(project, id);
        }
    }

    fn ring_for_progress(&self, project: &str, id: JobId) {
        let mut bells = self.bells.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(bell) = bells.get_mut(&Subject::Project(project.into())) {
            bell.ticked.note(id);
            bell.rings.send_replace(());
        }
    }

    fn ring(&self, subjects: &[Subject]) {
        let bells = self.bells.lock().unwrap_or_else(PoisonError::into_inner);
        for bell in subjects.iter().filter_map(|subject| bells.get(subject)) {
            bell.rings.send_replace(());
        }
    }
}

impl Listener {
    /// Returns the jobs of a project that had progress since `heard`, and moves that on.
    pub fn ticked(&self, heard: &mut u64) -> Vec<JobId> {
        let bells = self.bells.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(bell) = bells.get(&self.subject) else {
            return Vec::new();
        };
        let news = bell.ticked.jobs.range(*heard + 1..);
        let news = news.map(|(_, job)| *job).collect();
        *heard = bell.ticked.newest;
        news
    }

    /// Waits for the next ring. Cancel safe.
    pub async fn rung(&mut self) {
        // The sender lives in the map for as long as this listener is counted there.
        if self.rings.changed().await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        let mut bells = self.bells.lock().unwrap_or_else(PoisonError::into_inner);
        if let Entry::Occupied(mut entry) = bells.entry(self.subject.clone()) {
            entry.get_mut().listeners -= 1;
            if entry.get().listeners == 0 {
                entry.remove();
            }
        }
    }
}

/// Follows the log for ever, from its end.
pub(crate) async fn follow_log(app: &App) -> Infallible {
    let mut pause = FIRST_PAUSE;
    loop {
        match tail(app, &mut pause).await {
            Ok(never) => return never,
            Err(error) => tracing::warn!(
                error = crate::error::chain(&error),
                "the tail of the log is lost, waiting requests poll the store"
            ),
        }
        app.doorbell.attached.store(false, Ordering::Relaxed);
        sleep(pause).await;
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
}

async fn tail(app: &App, pause: &mut Duration) -> Result<Infallible, BusError> {
    let mut reader = app.bus.log.read(LogStart::Next).await?;
    app.doorbell.attach();
    app.audit.sees_from(app.now());
    loop {
        for entry in reader.next_batch(BATCH).await? {
            app.doorbell.entry(&entry);
            app.audit.saw(&entry);
        }
        *pause = FIRST_PAUSE;
    }
}

/// Follows the progress feed for ever.
pub(crate) async fn follow_ticks(app: &App) -> Infallible {
    let mut pause = FIRST_PAUSE;
    loop {
        match app
            .bus
            .consumer
            .subscribe(Feed::Ticks, &app.config.name)
            .await
        {
            Ok(mut feed) => {
                app.workers.listen_on(feed.attachment());
                while let Some(tick) = feed.next().await {
                    pause = FIRST_PAUSE;
                    if !app.workers.saw(&tick, app.now()) {
                        app.doorbell.tick(&tick);
                    }
                }
            }
            Err(error) => tracing::warn!(
                error = crate::error::chain(&error),
                "no progress feed, waiting requests see progress later"
            ),
        }
        sleep(pause).await;
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(n: u8) -> JobId {
        format!("0198f2a4-7c1e-7a00-8abc-1f2e3d4c5b{n:02x}")
            .parse()
            .unwrap()
    }

    fn tick(id: Option<&str>, message_type: &str) -> Received {
        Received {
            exchange: "jobs.tick".into(),
            routing_key: String::new(),
            content_type: None,
            message_id: None,
            correlation_id: id.map(str::to_owned),
            message_type: Some(message_type.to_owned()),
            timestamp: None,
            headers: BTreeMap::new(),
            death: None,
            redelivered: false,
            delivery_count: 0,
            body: bytes::Bytes::new(),
        }
    }

    #[test]
    fn progress_of_a_project_is_remembered_once_a_job_and_bounded() {
        let doorbell = Doorbell::default();
        let listener = doorbell.listen_to_project("demo");
        let mut heard = 0;
        for n in [1, 2, 1] {
            doorbell.ring_for_progress("demo", id(n));
            doorbell.ring_for_progress("other", id(9));
        }
        assert_eq!(listener.ticked(&mut heard), [id(2), id(1)]);
        assert_eq!(listener.ticked(&mut heard), []);
        for _ in 0..2 * TICKED {
            let job = vmctl_core::clock::new_job_id(&vmctl_core::clock::SystemClock);
            doorbell.ring_for_progress("demo", job);
        }
        assert_eq!(listener.ticked(&mut heard).len(), TICKED);
    }

    async fn is_quiet(listener: &mut Listener) -> bool {
        tokio::time::timeout(Duration::from_secs(1), listener.rung())
            .await
            .is_err()
    }

    #[tokio::test(start_paused = true)]
    async fn only_what_rings_is_heard_and_nothing_is_left_behind() {
        let doorbell = Doorbell::default();
        let mut first = doorbell.listen(id(1));
        let mut twin = doorbell.listen(id(1));
        let mut other = doorbell.listen(id(2));
        let mut project = doorbell.listen_to_project("demo");
        doorbell.tick(&tick(Some(&id(1).to_string()), "jobs.progress.v1"));
        doorbell.tick(&tick(Some("nonsense"), "jobs.progress.v1"));
        doorbell.tick(&tick(Some(&id(2).to_string()), LOG_TYPE));
        doorbell.tick(&tick(None, LOG_TYPE));
        first.rung().await;
        twin.rung().await;
        assert!(is_quiet(&mut other).await && is_quiet(&mut project).await);
        doorbell.ring(&[Subject::Job(id(2)), Subject::Project("demo".into())]);
        other.rung().await;
        project.rung().await;
        assert!(is_quiet(&mut first).await);
        doorbell.attach();
        for listener in [&mut first, &mut twin, &mut other, &mut project] {
            listener.rung().await;
        }
        drop((first, twin, other, project));
        assert!(doorbell.bells.lock().unwrap().is_empty());
    }
}
