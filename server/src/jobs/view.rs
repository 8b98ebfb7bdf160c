//! Answers about one job, from a view that may be behind.
//!
//! | record | partition | answer |
//! |---|---|---|
//! | there, of this project | caught up, or the job has ended, or it is fresh | the record |
//! | there, of this project | behind | wait, then 503 |
//! | absent, or of another project | behind, or not known to be caught up | wait, then 503 |
//! | absent, or of another project | caught up | 404, or 410 when its time is over |
//!
//! "Of this project" is what the policy says for who asks ([`Access`]): the own project, unless a rule
//! reaches further. A job of another one goes through the same lines as one that does not exist. "Caught up" is
//! told by this server's own marks: what was confirmed before a mark lies before it in the log, and of its
//! own marks alone a server knows when they were published.
//!
//! A partition is behind when it is less far than this server has seen it, or has not passed this
//! server's first mark: another server may have told a client what lies before that. It is also behind
//! when it lives another life than before (it was flushed, or another Redis answers) and has not passed
//! a mark that this server has published since.

use std::{
    collections::HashMap,
    convert::Infallible,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use jiff::Timestamp;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep};
use vmctl_api_types::{JobId, ProblemType};
use vmctl_core::{
    clock,
    partition::Partition,
    record::{HistoryEntry, Record},
    store::{Lookup, PartitionState, Story, clock_ahead},
};

use crate::{app::App, error::ApiError, http::access::Access};

/// A mark of this server that is this much younger than a version 7 id was published after whatever made
/// the id, whichever server's clock drew it: clocks differ, and a publish takes its time.
const CLOCK_SLACK: Duration = clock::DIFFERENCE.saturating_mul(2);

/// How long a record that was written ahead of the log is believed while the view is behind.
const FRESH: Duration = Duration::from_secs(60);

/// How often a server reads how far all partitions are, whether or not it is asked.
const OBSERVE_EVERY: Duration = Duration::from_secs(1);

/// How far a partition is.
///
/// The mark decides first, because offsets begin anew with a new log. Between two marks the offset
/// does: an end that a client was told must not be taken back by a store that has lost it since.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Reach {
    mark: Option<Timestamp>,
    offset: Option<u64>,
}

impl Reach {
    pub fn of(partition: &PartitionState) -> Self {
        Self {
            mark: partition.newest_mark,
            offset: partition.position.as_ref().map(|stands| stands.offset),
        }
    }

    fn is_ahead(self, now: Timestamp) -> bool {
        self.mark.is_some_and(|mark| clock::is_ahead(mark, now))
    }

    /// Returns the offset of the last entry that it has.
    pub fn offset(self) -> Option<u64> {
        self.offset
    }
}

/// How far this server has seen each partition: one that is less far has lost something.
///
/// Compare with what was seen before the store was asked: others see more meanwhile.
#[derive(Default)]
pub(crate) struct Seen(Mutex<HashMap<Partition, Sight>>);

/// What this server knows of one partition.
#[derive(Debug, Default)]
struct Sight {
    reach: Reach,
    life: Option<String>,
    /// When it was found to live another life.
    since: Option<Timestamp>,
}

impl Seen {
    /// Remembers how far the partition is, and when it began another life.
    pub fn observe(&self, number: Partition, partition: &PartitionState, now: Timestamp) {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let sight = all.entry(number).or_default();
        // Nobody publishes in the future: a mark from there says that some clock is wrong, or was when
        // it was believed. Kept, it would be more than what any honest view ever has.
        let reach = Some(Reach::of(partition)).filter(|reach| !reach.is_ahead(now));
        let kept = Some(sight.reach).filter(|reach| !reach.is_ahead(now));
        sight.reach = reach.max(kept).unwrap_or_default();
        if sight.life != partition.life {
            let is_another = sight.life.is_some();
            sight.life.clone_from(&partition.life);
            if is_another {
                sight.since = Some(now);
            }
        }
    }

    /// Returns when the partition was found to live another life, if it ever was. What any server
    /// had told of it until then may be missing until it has passed a mark from after then.
    pub fn since(&self, number: Partition) -> Option<Timestamp> {
        let all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.get(&number)?.since
    }

    /// Returns how far the partition was.
    pub fn reach(&self, number: Partition) -> Reach {
        let all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.get(&number).map(|s| s.reach).unwrap_or_default()
    }
}

/// Keeps reading how far all partitions are, so that this server knows what others may have told; and what
/// time it is where all can see it.
pub(crate) async fn observe(app: &App) -> Infallible {
    let mut ticks = interval(OBSERVE_EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        // A store that does not answer is told by readiness.
        let states = app.bounded(app.store.partitions()).await;
        for (number, state) in Partition::all().zip(&states.unwrap_or_default()) {
            app.seen.observe(number, state, app.now());
        }
        let ahead = app.bounded(clock_ahead(&*app.store, &*app.clock)).await;
        if let Ok(ahead) = ahead {
            app.skew.note(ahead);
        }
    }
}

/// Says whether a partition may lack what a client was told. `seen` is how far it was before the
/// store was asked; what the store has answered was observed since.
pub(crate) fn is_behind(
    app: &App,
    number: Partition,
    partition: &PartitionState,
    seen: Reach,
) -> bool {
    let passed = |mark| has_passed(own_mark(app, partition), mark);
    // The view keeps milliseconds.
    let after = |at| clock::add(at, Duration::from_millis(1));
    Reach::of(partition) < seen
        || !app.marks.first().is_some_and(passed)
        || app
            .seen
            .since(number)
            .map(after)
            .is_some_and(|m| !passed(m))
}

/// Returns the newest mark of this server that the partition has passed. No other server's mark is asked:
/// its clock may be wrong, or have been. None is younger than what this server has had confirmed, whoever
/// says so.
pub(crate) fn own_mark(app: &App, partition: &PartitionState) -> Option<Timestamp> {
    let passed = partition.marks.get(&app.config.name)?;
    let newest = app.marks.newest()?.time;
    Some(newest.min(*passed))
}

/// Says whether a partition that has passed this server's mark `own` has passed its mark of that time.
fn has_passed(own: Option<Timestamp>, mark: Timestamp) -> bool {
    // The view keeps milliseconds.
    own >= Some(clock::from_unix_ms(mark.as_millisecond()))
}

/// What the view has about a job, for all who have asked at the same moment.
#[derive(Debug, Clone, Default)]
pub(crate) struct SharedStory {
    pub record: Option<Arc<Record>>,
    pub partition: PartitionState,
    pub history: Arc<[HistoryEntry]>,
}

impl From<Story> for SharedStory {
    fn from(story: Story) -> Self {
        Self {
            record: story.lookup.record.map(Arc::new),
            partition: story.lookup.partition,
            history: story.history.into(),
        }
    }
}

/// What the store has answered about one job.
trait Answer {
    /// Returns the record, and how far its partition was.
    fn parts(&self) -> (Option<&Record>, &PartitionState);
}

impl Answer for Lookup {
    fn parts(&self) -> (Option<&Record>, &PartitionState) {
        (self.record.as_ref(), &self.partition)
    }
}

impl Answer for SharedStory {
    fn parts(&self) -> (Option<&Record>, &PartitionState) {
        (self.record.as_deref(), &self.partition)
    }
}

/// A job with its history, at one moment.
#[derive(Debug)]
pub(crate) struct Told {
    pub record: Arc<Record>,
    /// In log order.
    pub history: Arc<[HistoryEntry]>,
    /// Up to which offset the history has everything that it keeps.
    pub stands: Option<u64>,
    /// Whether the view has lost something that this server has seen.
    pub behind: bool,
}

/// Finds a job that the caller may know of, and refuses what the policy does not allow with it.
///
/// Waits for a view that is catching up, at most for the server's patience.
pub(crate) async fn find(app: &App, access: &Access, id: JobId) -> Result<Record, ApiError> {
    let knows = |record: &Record| access.knows(record);
    let (lookup, _) = ask(app, &knows, id, || app.get(id)).await?;
    let record = lookup.record.ok_or_else(|| not_found(id))?;
    access.check_job(&record)?;
    Ok(record)
}

/// Finds a job of a project, whoever asks; otherwise as [`find`].
pub(crate) async fn find_of(app: &App, project: &str, id: JobId) -> Result<Record, ApiError> {
    let ours = |record: &Record| record.project() == Some(project);
    let (lookup, _) = ask(app, &ours, id, || app.get(id)).await?;
    lookup.record.ok_or_else(|| not_found(id))
}

/// Finds a job with its history; otherwise as [`find`].
pub(crate) async fn tell(app: &App, access: &Access, id: JobId) -> Result<Told, ApiError> {
    let knows = |record: &Record| access.knows(record);
    let (story, behind) = ask(app, &knows, id, || app.story(id)).await?;
    let record = story.record.ok_or_else(|| not_found(id))?;
    access.check_job(&record)?;
    Ok(Told {
        record,
        history: story.history,
        stands: Reach::of(&story.partition).offset(),
        behind,
    })
}

/// What the view has of a job at one moment.
pub(crate) struct Look {
    /// The job; `None` when the view has none of this project.
    pub told: Option<Told>,
    /// Up to which offset that is so; `None` while the view has lost something.
    pub stands: Option<u64>,
}

/// Looks at a job of a project once. Who knows where in the log something was said need not wait for a
/// mark to be sure that there is nothing.
pub(crate) async fn look(app: &App, project: &str, id: JobId) -> Result<Look, ApiError> {
    let number = Partition::of(id);
    let seen = app.seen.reach(number);
    let story = app.story(id).await?;
    let behind = is_behind(app, number, &story.partition, seen);
    let stands = Reach::of(&story.partition).offset();
    let ours = |r: &Arc<Record>| r.project() == Some(project) && r.winner.is_some();
    let told = story.record.filter(ours).map(|record| Told {
        record,
        history: story.history,
        stands,
        behind,
    });
    Ok(Look {
        told,
        stands: stands.filter(|_| !behind),
    })
}

/// Says whether who asks is told of a job.
type Knows<'a> = dyn Fn(&Record) -> bool + Send + Sync + 'a;

/// Asks until the answer holds; returns it, and whether its partition is behind.
async fn ask<T, E, F>(
    app: &App,
    knows: &Knows<'_>,
    id: JobId,
    read: impl Fn() -> F,
) -> Result<(T, bool), ApiError>
where
    T: Answer,
    ApiError: From<E>,
    F: Future<Output = Result<T, E>>,
{
    if !id.is_ours() {
        return Err(not_found(id));
    }
    let arrived = app.now();
    let deadline = Instant::now() + app.config.limits.absence_patience;
    let mut pause = Duration::from_millis(10);
    loop {
        let number = Partition::of(id);
        let seen = app.seen.reach(number);
        let answer = read().await?;
        let (record, partition) = answer.parts();
        let behind = is_behind(app, number, partition, seen);
        let question = Question {
            knows,
            id,
            arrived,
            now: app.now(),
            own: own_mark(app, partition),
            retention: app.config.job_ttl,
            behind,
            since: app.seen.since(number),
        };
        match question.judge(record, partition) {
            Verdict::Found => return Ok((answer, behind)),
            Verdict::Unknown => return Err(not_found(id)),
            Verdict::Expired => return Err(expired(id)),
            Verdict::NotYet if Instant::now() + pause > deadline => return Err(rebuilding(id)),
            Verdict::NotYet => {}
        }
        sleep(pause).await;
        pause = (pause * 2).min(Duration::from_millis(200));
    }
}

pub(crate) fn not_found(id: JobId) -> ApiError {
    let error = ApiError::new(ProblemType::JobNotFound).job(id);
    if id.as_uuid().get_version_num() == 8 {
        return error.detail("unknown or expired");
    }
    error
}

fn expired(id: JobId) -> ApiError {
    ApiError::new(ProblemType::JobExpired)
        .job(id)
        .detail("records are kept for a limited time; this id is older")
}

pub(crate) fn rebuilding(id: JobId) -> ApiError {
    ApiError::new(ProblemType::StateRebuilding)
        .job(id)
        .detail("ask again: nothing is known about this job yet")
}

/// One question about one job, at one moment.
struct Question<'a> {
    knows: &'a Knows<'a>,
    id: JobId,
    arrived: Timestamp,
    now: Timestamp,
    /// The newest mark of this server that the partition has passed.
    own: Option<Timestamp>,
    retention: Duration,
    behind: bool,
    since: Option<Timestamp>,
}

/// What the view can say.
#[derive(Debug, PartialEq)]
enum Verdict {
    Found,
    Unknown,
    Expired,
    NotYet,
}

impl Question<'_> {
    fn judge(&self, record: Option<&Record>, partition: &PartitionState) -> Verdict {
        let ours = record.filter(|record| (self.knows)(record) && record.winner.is_some());
        if let Some(record) = ours {
            if record.is_terminal() || !self.behind || self.is_fresh(record) {
                return Verdict::Found;
            }
            return Verdict::NotYet;
        }
        if self.behind || !self.is_past() {
            return Verdict::NotYet;
        }
        match self.drawn_at() {
            Some(at) if self.is_over(at, partition) => Verdict::Expired,
            _ => Verdict::Unknown,
        }
    }

    /// When the id was drawn, if it says so.
    fn drawn_at(&self) -> Option<Timestamp> {
        self.id.unix_ms().map(clock::from_unix_ms)
    }

    /// Says whether nobody can know more than what the server wrote ahead of the log. A derived id
    /// may have been used long ago, so its record proves nothing; and one from before the view began
    /// another life may have been told to be further.
    fn is_fresh(&self, record: &Record) -> bool {
        let confirmed = record.winner.as_ref().map(|w| w.epoch) == record.confirmed;
        let submitted = record.spec.as_ref().map(|s| s.spec.created_at);
        let young = |at| clock::add(at, FRESH) > self.now;
        let later = |at| self.since.is_none_or(|since| at > since);
        let fresh = submitted.is_some_and(|at| young(at) && later(at));
        confirmed && self.drawn_at().is_some() && fresh
    }

    /// Says whether everything that was confirmed before the request is in the partition.
    fn is_past(&self) -> bool {
        let late = self.drawn_at().map(|at| clock::add(at, CLOCK_SLACK));
        self.own
            .is_some_and(|mark| mark > self.arrived || late.is_some_and(|late| mark >= late))
    }

    /// Says whether a job drawn then may have been there and be forgotten.
    fn is_over(&self, at: Timestamp, partition: &PartitionState) -> bool {
        partition.oldest.is_some_and(|oldest| at < oldest)
            || partition.shortened.is_some_and(|drawn| at <= drawn)
            || clock::add(at, self.retention) < self.now
    }
}

/// Whether lists are incomplete, found out at most once per second for all of them together.
#[derive(Default)]
pub(crate) struct Overview(Mutex<Option<(Instant, bool)>>);

impl Overview {
    const KEPT: Duration = Duration::from_secs(1);

    /// Returns what was found last, while it is young enough.
    pub fn recent(&self) -> Option<bool> {
        let kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        kept.filter(|(at, _)| at.elapsed() < Self::KEPT)
            .map(|(_, incomplete)| incomplete)
    }

    pub fn remember(&self, incomplete: bool) {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        *kept = Some((Instant::now(), incomplete));
    }
}

#[cfg(test)]
mod tests {
    use vmctl_api_types::JobState;
    use vmctl_core::{
        event::{Caller, Event, EventData, EventType, JobSpec},
        fact::{JobFact, Retention},
        merge::merge,
        store::Position,
    };

    use super::*;

    const V7_AT_NOON: &str = "019ab0f3-7c00-7a00-8abc-1f2e3d4c5b6a";
    const DERIVED: &str = "0198f2a4-7c1e-8a00-8abc-1f2e3d4c5b6a";

    fn noon(seconds: i64) -> Timestamp {
        let id: JobId = V7_AT_NOON.parse().unwrap();
        clock::from_unix_ms(id.unix_ms().unwrap() + seconds * 1000)
    }

    /// A record of project `p`, submitted at noon and confirmed.
    fn record(id: &str, state: JobState) -> Record {
        let spec = JobSpec::new(
            id.parse().unwrap(),
            "vm.create".parse().unwrap(),
            serde_json::Value::Null,
            noon(0),
            noon(3600),
            Caller {
                project_id: "p".into(),
                ..Caller::default()
            },
        );
        let event_type = if state.is_terminal() {
            EventType::Succeeded
        } else {
            EventType::Submitted
        };
        let id = *spec.id.as_uuid();
        let event = Event::new(id, event_type, "/t", noon(0), EventData::new(state, spec));
        let mut record = Record::default();
        let fact = JobFact {
            confirmed: true,
            ..JobFact::from_event(event, None, Retention::default())
        };
        merge(&mut record, &fact, noon(0));
        record
    }

    fn partition(newest: Option<i64>, ours: Option<i64>, oldest: i64) -> PartitionState {
        PartitionState {
            newest_mark: newest.map(noon),
            marks: ours
                .map(|s| ("me".to_owned(), noon(s)))
                .into_iter()
                .collect(),
            oldest: Some(noon(oldest)),
            ..PartitionState::default()
        }
    }

    /// Asked `asked` seconds after noon, in a view with that partition.
    fn judge(
        id: &str,
        record: Option<&Record>,
        asked: i64,
        behind: bool,
        partition: &PartitionState,
    ) -> &'static str {
        let question = Question {
            knows: &|record| record.project() == Some("p"),
            id: id.parse().unwrap(),
            arrived: noon(asked),
            now: noon(asked),
            own: partition.marks.get("me").copied(),
            retention: Duration::from_secs(24 * 3600),
            behind,
            since: None,
        };
        match question.judge(record, partition) {
            Verdict::Found => "found",
            Verdict::Unknown => "404",
            Verdict::Expired => "410",
            Verdict::NotYet => "wait",
        }
    }

    #[test]
    fn a_record_is_believed_unless_its_partition_is_behind() {
        let live = |id| record(id, JobState::Queued);
        let (drawn, derived) = (live(V7_AT_NOON), live(DERIVED));
        let ended = record(V7_AT_NOON, JobState::Succeeded);
        let at = |newest| partition(Some(newest), Some(newest), -60);
        assert_eq!(judge(V7_AT_NOON, Some(&drawn), 90, false, &at(80)), "found");
        assert_eq!(judge(V7_AT_NOON, Some(&ended), 90, true, &at(80)), "found");
        // Fresh, and nobody else can have used the id.
        assert_eq!(judge(V7_AT_NOON, Some(&drawn), 59, true, &at(50)), "found");
        assert_eq!(judge(V7_AT_NOON, Some(&drawn), 60, true, &at(50)), "wait");
        assert_eq!(judge(DERIVED, Some(&derived), 1, true, &at(0)), "wait");
        let mut unconfirmed = record(V7_AT_NOON, JobState::Queued);
        unconfirmed.confirmed = None;
        assert_eq!(
            judge(V7_AT_NOON, Some(&unconfirmed), 1, true, &at(0)),
            "wait"
        );
    }

    #[test]
    fn what_was_shown_between_two_marks_is_not_taken_back() {
        let at = |mark, offset| PartitionState {
            position: Some(Position {
                offset,
                id: String::new(),
            }),
            ..partition(mark, None, -60)
        };
        let number = Partition::of(V7_AT_NOON.parse().unwrap());
        let seen = Seen::default();
        assert!(Reach::of(&PartitionState::default()) >= seen.reach(number));
        seen.observe(number, &at(Some(5), 100), noon(6));
        seen.observe(number, &at(Some(5), 90), noon(6));
        let behind = |state: &PartitionState| Reach::of(state) < seen.reach(number);
        // Flushed, and read again up to the mark but not beyond.
        assert!(behind(&PartitionState::default()));
        assert!(behind(&at(Some(4), 200)));
        assert!(behind(&at(Some(5), 99)));
        assert!(!behind(&at(Some(5), 100)));
        // A new log begins with offset 0.
        assert!(!behind(&at(Some(6), 0)));
    }

    #[test]
    fn a_mark_is_passed_by_ones_own() {
        for (own, passed) in [(None, false), (Some(4), false), (Some(5), true)] {
            assert_eq!(has_passed(own.map(noon), noon(5)), passed, "{own:?}");
        }
        let finer = clock::add(noon(5), Duration::from_nanos(999_999));
        assert!(has_passed(Some(noon(5)), finer));
    }

    #[test]
    fn nothing_is_remembered_of_a_mark_from_the_future() {
        let at = |mark| partition(Some(mark), None, -60);
        let number = Partition::of(V7_AT_NOON.parse().unwrap());
        let seen = Seen::default();
        seen.observe(number, &at(5), noon(6));
        for mark in [17, 7200, 32_472_144_000] {
            seen.observe(number, &at(mark), noon(6));
            assert_eq!(seen.reach(number), Reach::of(&at(5)), "{mark}");
        }
        // Nor when this server's own clock was wrong.
        seen.observe(number, &at(7200), noon(7200));
        assert_eq!(seen.reach(number), Reach::of(&at(7200)));
        seen.observe(number, &at(7), noon(8));
        assert_eq!(seen.reach(number), Reach::of(&at(7)));
    }

    #[test]
    fn another_projects_record_is_no_record() {
        let mut foreign = record(V7_AT_NOON, JobState::Queued);
        if let Some(submission) = &mut foreign.spec {
            submission.spec.auth.project_id = "q".into();
        }
        for (own, answer) in [(19, "wait"), (20, "404")] {
            for record in [None, Some(&foreign)] {
                let state = partition(Some(own), Some(own), -60);
                assert_eq!(judge(V7_AT_NOON, record, 30, false, &state), answer);
            }
        }
    }

    #[test]
    fn absence_needs_a_mark_from_after_the_id_or_from_after_the_request() {
        for (id, newest, ours, answer) in [
            (V7_AT_NOON, None, None, "wait"),
            // This server's own mark decides, not another's, whatever that says.
            (V7_AT_NOON, Some(1_000_000), None, "wait"),
            (V7_AT_NOON, Some(1_000_000), Some(19), "wait"),
            (V7_AT_NOON, Some(20), Some(20), "404"),
            // Asked at 25.
            (DERIVED, Some(1_000), Some(25), "wait"),
            (DERIVED, Some(1_000), Some(26), "404"),
        ] {
            let state = || partition(newest, ours, -60);
            assert_eq!(
                judge(id, None, 25, false, &state()),
                answer,
                "{newest:?} {ours:?}"
            );
            assert_eq!(judge(id, None, 25, true, &state()), "wait");
        }
    }

    #[test]
    fn what_may_have_been_forgotten_is_410() {
        let day = 24 * 3600;
        for (asked, oldest, answer) in [
            (day, -1, "404"),
            (day + 1, -1, "410"),
            (60, 0, "404"),
            (60, 1, "410"),
        ] {
            let state = partition(Some(asked), Some(asked), oldest);
            assert_eq!(judge(V7_AT_NOON, None, asked, false, &state), answer);
        }
        // A derived id has no time.
        let state = partition(Some(99), Some(99), 98);
        assert_eq!(judge(DERIVED, None, 60, false, &state), "404");
    }
}
