//! Where each partition stands, and what a run of log entries means for each: pure decisions.
//!
//! Positions of partitions differ: a write moves only the partitions that it touches, and a mark
//! moves all. The log is read once, from the lowest position on; a partition skips what it has.
//!
//! A position read from the store is *unproven*. It is proven by meeting the very entry that it
//! names, and void when anything else stands there: the stream was recreated, or lost its tail.

use std::{collections::BTreeMap, iter};

use jiff::Timestamp;
use vmctl_core::{
    bus::{LogEntry, LogStart},
    fact::{Fact, JobFact, Retention, implausible, interpret},
    partition::Partition,
    store::{PartitionBatch, PartitionState, Position},
    turn::Step,
};

/// One partition's place.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Cursor {
    position: Option<Position>,
    proven: bool,
}

/// The places of all partitions that a reader holds.
#[derive(Debug, Clone, Default)]
pub struct Cursors {
    cursors: BTreeMap<Partition, Cursor>,
}

/// What a run of entries means.
#[derive(Debug, PartialEq)]
pub enum Plan {
    /// Write these batches; nothing else stands in the way.
    Write(Vec<PartitionBatch>),
    /// These positions are void; nothing of the run is to be written.
    Void {
        /// Each with its partition.
        positions: Vec<(Partition, Position)>,
        /// The entry that came instead.
        found: Position,
    },
}

impl Cursors {
    /// Starts from what the store says about the partitions held.
    pub fn new(held: &[Partition], states: &[PartitionState]) -> Self {
        let cursors = held
            .iter()
            .map(|&partition| {
                let position = states
                    .get(partition.index())
                    .and_then(|state| state.position.clone());
                let proven = position.is_none();
                (partition, Cursor { position, proven })
            })
            .collect();
        Self { cursors }
    }

    /// Says where the log must be read from.
    pub fn start(&self) -> LogStart {
        let mut lowest = None;
        for cursor in self.cursors.values() {
            match &cursor.position {
                None => return LogStart::First,
                Some(position) => {
                    lowest =
                        Some(lowest.map_or(position.offset, |low: u64| low.min(position.offset)));
                }
            }
        }
        lowest.map_or(LogStart::First, LogStart::Offset)
    }

    /// Returns the unproven position that lies furthest ahead.
    pub fn furthest_unproven(&self) -> Option<Position> {
        self.cursors
            .values()
            .filter(|cursor| !cursor.proven)
            .filter_map(|cursor| cursor.position.as_ref())
            .max_by_key(|position| position.offset)
            .cloned()
    }

    /// Returns the positions that are void because `found`, or nothing, came when the log was read
    /// from `wanted` on. An earlier entry than was asked for is the next one that the log got, so none
    /// of the later positions can be in it either.
    pub fn void_by(
        &self,
        wanted: &Position,
        found: Option<&Position>,
    ) -> Vec<(Partition, Position)> {
        let end = found.filter(|found| found.offset < wanted.offset);
        let is_void = |position: &Position| match end {
            Some(end) => position.offset >= end.offset && position != end,
            None => position == wanted,
        };
        self.cursors
            .iter()
            .filter(|(_, cursor)| !cursor.proven)
            .filter_map(|(partition, cursor)| Some((*partition, cursor.position.clone()?)))
            .filter(|(_, position)| is_void(position))
            .collect()
    }

    /// Takes a position as proven: the entry that it names was seen.
    pub fn prove(&mut self, position: &Position) {
        for cursor in self.cursors.values_mut() {
            if cursor.position.as_ref() == Some(position) {
                cursor.proven = true;
            }
        }
    }

    /// Forgets a partition's position.
    pub fn void(&mut self, partition: Partition) {
        if let Some(cursor) = self.cursors.get_mut(&partition) {
            *cursor = Cursor {
                position: None,
                proven: true,
            };
        }
    }

    /// Stops caring for partitions that are not held any more.
    pub fn retain(&mut self, held: &[Partition]) {
        self.cursors.retain(|partition, _| held.contains(partition));
    }

    /// Says whether every one of them is cared for.
    pub fn cover(&self, held: &[Partition]) -> bool {
        held.iter().all(|p| self.cursors.contains_key(p))
    }

    /// Returns the lowest offset that all partitions have.
    pub fn lowest(&self) -> Option<u64> {
        self.cursors
            .values()
            .map(|c| c.position.as_ref().map(|p| p.offset))
            .min()
            .flatten()
    }

    /// Splits a run of entries, in log order, into one batch for each partition that it concerns.
    /// Steps of jobs are as of `now`.
    pub fn plan(&self, entries: &[LogEntry], retention: Retention, now: Timestamp) -> Plan {
        let mut after = self.cursors.clone();
        let mut batches: BTreeMap<Partition, PartitionBatch> = BTreeMap::new();
        for entry in entries {
            let here = place(entry);
            let void = prove_or_void(&mut after, &here);
            if !void.is_empty() {
                return Plan::Void {
                    positions: void,
                    found: here,
                };
            }
            let fact = interpret(entry, retention);
            for partition in concerned(&fact, &after) {
                let Some(cursor) = after.get_mut(&partition) else {
                    continue;
                };
                if cursor
                    .position
                    .as_ref()
                    .is_some_and(|p| p.offset >= here.offset)
                {
                    continue;
                }
                let expected = cursor.position.replace(here.clone());
                let batch = batches.entry(partition).or_insert_with(|| PartitionBatch {
                    partition,
                    expected,
                    position: here.clone(),
                    facts: Vec::new(),
                    steps: Vec::new(),
                    marks: Vec::new(),
                    bad: Vec::new(),
                    first_time: entry.message.timestamp,
                });
                batch.position = here.clone();
                add(batch, entry.offset, &fact, now);
            }
        }
        Plan::Write(batches.into_values().collect())
    }

    /// Moves to where a written batch has put its partition.
    pub fn written(&mut self, batch: &PartitionBatch) {
        if let Some(cursor) = self.cursors.get_mut(&batch.partition) {
            cursor.position = Some(batch.position.clone());
            cursor.proven = true;
        }
    }

    /// Takes what a run of entries has proven, when nothing of it was void.
    pub fn proven_by(&mut self, entries: &[LogEntry]) {
        for entry in entries {
            self.prove(&place(entry));
        }
    }
}

/// Returns the place that an entry takes.
pub fn place(entry: &LogEntry) -> Position {
    Position {
        offset: entry.offset,
        id: entry.message.message_id.clone().unwrap_or_default(),
    }
}

/// Cuts a run of entries so that no piece has more than `bytes` of bodies, or one entry.
pub fn pieces(entries: &[LogEntry], bytes: usize) -> Vec<&[LogEntry]> {
    let mut pieces = Vec::new();
    let (mut from, mut size) = (0, 0);
    for (at, entry) in entries.iter().enumerate() {
        let more = entry.message.body.len();
        if at > from && size + more > bytes {
            pieces.push(&entries[from..at]);
            (from, size) = (at, 0);
        }
        size += more;
    }
    if from < entries.len() {
        pieces.push(&entries[from..]);
    }
    pieces
}

/// An entry proves the positions that name it, and voids those that should have come by now.
fn prove_or_void(
    cursors: &mut BTreeMap<Partition, Cursor>,
    here: &Position,
) -> Vec<(Partition, Position)> {
    let mut void = Vec::new();
    for (partition, cursor) in cursors.iter_mut().filter(|(_, c)| !c.proven) {
        match &cursor.position {
            Some(position) if position == here => cursor.proven = true,
            Some(position) if position.offset <= here.offset => {
                void.push((*partition, position.clone()));
            }
            _ => {}
        }
    }
    void
}

fn concerned(fact: &Fact, cursors: &BTreeMap<Partition, Cursor>) -> Vec<Partition> {
    match fact {
        Fact::Job(fact) => {
            let own = Partition::of(fact.job);
            let lines = lines(fact).filter(|lines| *lines != own);
            iter::once(own).chain(lines).collect()
        }
        Fact::Mark(_) => cursors.keys().copied().collect(),
        Fact::Bad { job: Some(job), .. } => vec![Partition::of(*job)],
        Fact::Bad { job: None, .. } => Partition::new(0).into_iter().collect(),
        Fact::Other => Vec::new(),
    }
}

/// Returns the partition in which the lines of a job with keys are.
fn lines(fact: &JobFact) -> Option<Partition> {
    let spec = fact.spec.as_ref().filter(|spec| !spec.unique.is_empty())?;
    Some(Partition::of_project(&spec.auth.project_id))
}

fn add(batch: &mut PartitionBatch, offset: u64, fact: &Fact, now: Timestamp) {
    match fact {
        Fact::Job(fact) => {
            if lines(fact) == Some(batch.partition) && implausible(fact, now).is_none() {
                batch.steps.extend(Step::of(fact, now));
            }
            if Partition::of(fact.job) == batch.partition {
                batch.facts.push((**fact).clone());
            }
        }
        Fact::Mark(mark) => batch.marks.push((mark.server.clone(), mark.time)),
        Fact::Bad { reason, .. } => batch.bad.push((offset, reason.clone())),
        Fact::Other => {}
    }
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeMap, time::Duration};

    use vmctl_core::{
        JobState,
        bus::Received,
        clock::{Clock as _, SystemClock, add as add_time, from_unix_ms, new_job_id, new_uuid},
        event::{Caller, Event, EventData, EventType, JobSpec, Mark},
        unique::{Scope, Unique},
    };

    use super::*;

    fn received(message_id: &str, message_type: &str, body: Vec<u8>) -> Received {
        Received {
            exchange: "jobs".into(),
            routing_key: "x".into(),
            content_type: None,
            message_id: Some(message_id.into()),
            correlation_id: None,
            message_type: Some(message_type.into()),
            timestamp: Some(Timestamp::UNIX_EPOCH),
            headers: BTreeMap::new(),
            death: None,
            redelivered: false,
            delivery_count: 0,
            body: body.into(),
        }
    }

    fn mark(offset: u64, id: &str) -> LogEntry {
        let mark = Mark {
            id: new_uuid(&SystemClock),
            server: "s1".into(),
            time: from_unix_ms(1000),
        };
        let message = mark.to_message();
        LogEntry {
            offset,
            message: received(id, &message.message_type, message.body.to_vec()),
        }
    }

    /// An entry that cannot be merged, of a job in `partition`.
    fn bad(offset: u64, id: &str, partition: Partition) -> LogEntry {
        let job = (0..10_000)
            .map(|_| new_job_id(&SystemClock))
            .find(|job| Partition::of(*job) == partition)
            .unwrap();
        let mut message = received(id, "jobs.future.v9", b"{".to_vec());
        message.correlation_id = Some(job.to_string());
        LogEntry { offset, message }
    }

    fn p(number: u8) -> Partition {
        Partition::new(number).unwrap()
    }

    fn at(offset: u64, id: &str) -> Position {
        Position {
            offset,
            id: id.into(),
        }
    }

    fn cursors(positions: &[Option<Position>]) -> Cursors {
        let held: Vec<_> = (0..positions.len())
            .map(|n| p(u8::try_from(n).unwrap()))
            .collect();
        let states: Vec<_> = positions
            .iter()
            .map(|position| PartitionState {
                position: position.clone(),
                ..PartitionState::default()
            })
            .collect();
        Cursors::new(&held, &states)
    }

    fn batches(plan: Plan) -> Vec<PartitionBatch> {
        match plan {
            Plan::Write(batches) => batches,
            void @ Plan::Void { .. } => panic!("{void:?}"),
        }
    }

    #[test]
    fn reading_starts_at_the_lowest_position_or_at_the_first_entry() {
        assert_eq!(cursors(&[]).start(), LogStart::First);
        let two = cursors(&[Some(at(7, "a")), Some(at(5, "b"))]);
        assert_eq!(two.start(), LogStart::Offset(5));
        assert_eq!(two.lowest(), Some(5));
        assert_eq!(two.furthest_unproven(), Some(at(7, "a")));
        let fresh = cursors(&[Some(at(7, "a")), None]);
        assert_eq!(fresh.start(), LogStart::First);
        assert_eq!(fresh.lowest(), None);
    }

    #[test]
    fn a_log_that_ends_early_voids_all_that_lies_beyond() {
        let four = cursors(&[
            Some(at(9, "a")),
            Some(at(7, "b")),
            Some(at(3, "m")),
            Some(at(2, "c")),
        ]);
        let void = |wanted: &Position, found: Option<Position>| -> Vec<_> {
            let void = four.void_by(wanted, found.as_ref()).into_iter();
            void.map(|(partition, _)| partition).collect()
        };
        // Nothing came, or something later: only what was asked for is known to be gone.
        assert_eq!(void(&at(9, "a"), None), [p(0)]);
        assert_eq!(void(&at(9, "a"), Some(at(12, "z"))), [p(0)]);
        assert_eq!(void(&at(9, "a"), Some(at(9, "z"))), [p(0)]);
        // The log went on at 3: with the entry that one of them names, and with another.
        assert_eq!(void(&at(9, "a"), Some(at(3, "m"))), [p(0), p(1)]);
        assert_eq!(void(&at(9, "a"), Some(at(3, "z"))), [p(0), p(1), p(2)]);
    }

    #[test]
    fn a_mark_moves_every_partition_and_an_entry_only_its_own() {
        let fresh = cursors(&[None, None]);
        let entries = [bad(1, "a", p(1)), mark(2, "m"), bad(4, "b", p(0))];
        let written = batches(fresh.plan(&entries, Retention::default(), Timestamp::UNIX_EPOCH));
        assert_eq!(written.len(), 2);
        assert_eq!(written[0].expected, None);
        assert_eq!(written[0].position, at(4, "b"));
        assert_eq!((written[0].marks.len(), written[0].bad.len()), (1, 1));
        assert_eq!(written[1].position, at(2, "m"));
        assert_eq!((written[1].marks.len(), written[1].bad.len()), (1, 1));
    }

    #[test]
    fn a_partition_skips_what_it_has() {
        let mut two = cursors(&[Some(at(5, "m5")), Some(at(3, "m3"))]);
        let entries = [mark(3, "m3"), mark(5, "m5"), mark(6, "m6")];
        let written = batches(two.plan(&entries, Retention::default(), Timestamp::UNIX_EPOCH));
        assert_eq!(written[0].expected, Some(at(5, "m5")));
        assert_eq!(written[0].marks.len(), 1);
        assert_eq!(written[1].expected, Some(at(3, "m3")));
        assert_eq!(written[1].marks.len(), 2);
        two.proven_by(&entries);
        for batch in &written {
            two.written(batch);
        }
        assert_eq!(two.furthest_unproven(), None);
        assert_eq!(two.lowest(), Some(6));
    }

    #[test]
    fn another_entry_at_the_position_voids_it() {
        let two = cursors(&[Some(at(5, "m5")), Some(at(3, "m3"))]);
        for (offset, id) in [
            (5, "other"),
            // Gone altogether: the next one comes instead.
            (6, "m6"),
        ] {
            let entries = [mark(3, "m3"), mark(offset, id)];
            let plan = two.plan(&entries, Retention::default(), Timestamp::UNIX_EPOCH);
            let void = Plan::Void {
                positions: vec![(p(0), at(5, "m5"))],
                found: at(offset, id),
            };
            assert_eq!(plan, void);
        }
    }

    #[test]
    fn a_proven_position_is_not_asked_for_again() {
        let mut one = cursors(&[Some(at(5, "m5"))]);
        one.prove(&at(5, "m5"));
        let written = batches(one.plan(
            &[mark(9, "m9")],
            Retention::default(),
            Timestamp::UNIX_EPOCH,
        ));
        assert_eq!(written[0].position, at(9, "m9"));
    }

    #[test]
    fn large_entries_are_written_in_pieces() {
        let sizes = |bytes: &[usize], limit| -> Vec<usize> {
            let entries: Vec<_> = bytes
                .iter()
                .map(|size| LogEntry {
                    offset: 0,
                    message: received("", "", vec![b'x'; *size]),
                })
                .collect();
            pieces(&entries, limit).iter().map(|p| p.len()).collect()
        };
        assert_eq!(sizes(&[], 10), [0_usize; 0]);
        assert_eq!(sizes(&[4, 4, 4], 10), [2, 1]);
        assert_eq!(sizes(&[40, 1, 9, 1], 10), [1, 2, 1]);
    }

    #[test]
    fn nobody_is_cared_for_who_is_not_held() {
        let mut two = cursors(&[None, None]);
        two.retain(&[p(1)]);
        assert!(two.cover(&[p(1)]));
        assert!(!two.cover(&[p(0)]));
        let written =
            batches(two.plan(&[mark(1, "m")], Retention::default(), Timestamp::UNIX_EPOCH));
        assert_eq!(written.len(), 1);
        assert_eq!(written[0].partition, p(1));
    }

    /// The lines of a project are in one partition, wherever its jobs are.
    #[test]
    fn a_job_with_keys_concerns_the_partition_of_its_project_too() {
        let lines = Partition::of_project("demo");
        for (key, steps) in [(Some("k"), 1), (None, 0)] {
            let elsewhere = Partition::all().find(|p| *p != lines).unwrap();
            let event = job_in(elsewhere, key);
            let message = event.to_message();
            let entry = LogEntry {
                offset: 4,
                message: received("e", &message.message_type, message.body.to_vec()),
            };
            let held: Vec<_> = Partition::all().collect();
            let fresh = Cursors::new(&held, &[]);
            let plan = fresh.plan(&[entry], Retention::default(), event.time);
            let written = batches(plan);
            assert_eq!(written.len(), 1 + steps);
            for batch in written {
                let own = batch.partition == Partition::of(event.subject);
                assert_eq!(batch.facts.len(), usize::from(own));
                assert_eq!(batch.steps.len(), usize::from(!own));
                assert_eq!(batch.position, at(4, "e"));
            }
        }
    }

    fn job_in(partition: Partition, key: Option<&str>) -> Event {
        let id = (0..10_000)
            .map(|_| new_job_id(&SystemClock))
            .find(|job| Partition::of(*job) == partition)
            .unwrap();
        let now = SystemClock.now();
        let caller = Caller {
            project_id: "demo".into(),
            ..Caller::default()
        };
        let (kind, input) = ("vm.create".parse().unwrap(), serde_json::json!({}));
        let deadline = add_time(now, Duration::from_secs(60));
        let mut job = JobSpec::new(id, kind, input, now, deadline, caller);
        job.unique.extend(key.map(|key| Unique {
            key: key.to_owned(),
            scope: Scope::Active,
            queue: false,
        }));
        let data = EventData::new(JobState::Queued, job);
        let id = new_uuid(&SystemClock);
        Event::new(id, EventType::Submitted, "/test", now, data)
    }
}
