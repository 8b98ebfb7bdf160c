//! One job of a stream: what was read of it and not sent yet. Pure, but for its bell.

use std::{collections::VecDeque, time::Duration};

use axum::response::sse::Event;
use tokio::time::Instant;
use vmctl_api_types::{JobId, Kind};
use vmctl_core::{
    record::{HistoryEntry, Record, Tick, Winner},
    store::Position,
};

use super::frame;
use crate::jobs::{doorbell::Listener, view::Told, wait::Pace};

/// How often one stream tells the progress of one job.
const PROGRESS_EVERY: Duration = Duration::from_secs(1);

/// How often a job is looked at although nothing rings.
const IDLE_LOOK: Duration = Duration::from_secs(15);

/// One job.
pub(super) struct Followed {
    pub id: JobId,
    pub bell: Listener,
    pub pace: Pace,
    /// When it is looked at next; `None` once it is gone.
    pub due: Option<Instant>,
    /// Up to which offset the view had everything about it.
    pub stands: Option<u64>,
    kind: Kind,
    /// The last event that was sent, or is in the snapshot that was.
    sent: Option<Position>,
    pending: VecDeque<HistoryEntry>,
    ended: bool,
    progress: Latest,
}

/// The newest progress, and when it may be sent.
struct Latest {
    tick: Option<(Winner, Tick)>,
    sent: Option<Tick>,
    due: Instant,
}

/// The view does not have the event any more that was sent last: its log is another one, or more
/// came at once than a history keeps.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Lost;

impl Followed {
    /// Starts behind the last event at or before `after`.
    pub fn new(id: JobId, bell: Listener, kind: Kind, told: &Told, after: Option<u64>) -> Self {
        let now = Instant::now();
        let mut followed = Self {
            id,
            bell,
            pace: Pace::idle(IDLE_LOOK),
            due: Some(now),
            stands: told.stands,
            kind,
            sent: last_until(&told.history, after),
            pending: VecDeque::new(),
            ended: false,
            progress: Latest {
                tick: None,
                sent: None,
                due: now,
            },
        };
        followed.take(&told.record, &told.history);
        followed
    }

    /// Says when to look again after a read. `latest` is the newest entry that the log is known to
    /// have about the job: the view may not be there yet.
    pub fn looked(&mut self, told: &Told, latest: Option<u64>, attached: bool) {
        self.pace.looked(told.record.etag(), latest > told.stands);
        self.due = Some(Instant::now() + self.pace.next(attached));
    }

    /// Takes progress as told: the snapshot has it.
    pub fn skip_progress(&mut self) {
        self.progress.sent = self.progress.tick.take().map(|(_, tick)| tick);
    }

    /// Takes what was read.
    pub fn update(&mut self, told: &Told) -> Result<(), Lost> {
        let kept = |sent: &Position| told.history.iter().any(|e| e.event.id == sent.id);
        if told.stands < self.stands || !self.sent.as_ref().is_none_or(kept) {
            return Err(Lost);
        }
        self.stands = told.stands;
        self.take(&told.record, &told.history);
        Ok(())
    }

    fn take(&mut self, record: &Record, history: &[HistoryEntry]) {
        let sent = self.sent.as_ref().map(|sent| sent.offset);
        self.pending = until_end(record, history)
            .iter()
            .filter(|entry| Some(entry.offset) > sent)
            .cloned()
            .collect();
        self.ended = record.is_terminal();
        let tick = record.winner.clone().zip(record.live_tick().cloned());
        self.progress.tick = tick.filter(|(_, tick)| self.progress.sent.as_ref() != Some(tick));
    }

    /// Returns the offset of the next event.
    pub fn next_offset(&self) -> Option<u64> {
        self.pending.front().map(|entry| entry.offset)
    }

    /// Returns the next event's frame; it counts as sent.
    pub fn next_event(&mut self) -> Option<Event> {
        let entry = self.pending.pop_front()?;
        self.sent = Some(place(&entry));
        Some(frame::event(self.id, &self.kind, entry))
    }

    /// Returns when progress is to be told, if there is some. What happened before comes first.
    pub fn progress_due(&self) -> Option<Instant> {
        let ready = self.pending.is_empty() && self.progress.tick.is_some();
        ready.then_some(self.progress.due)
    }

    /// Returns the progress's frame, if its time has come; it counts as sent.
    pub fn next_progress(&mut self, now: Instant) -> Option<Event> {
        self.progress_due().filter(|due| *due <= now)?;
        let (winner, tick) = self.progress.tick.take()?;
        let frame = frame::progress(self.id, &self.kind, &winner, &tick);
        self.progress.sent = Some(tick);
        self.progress.due = now + PROGRESS_EVERY;
        Some(frame)
    }

    /// Says whether nothing more will come unless somebody runs the job again.
    pub fn is_over(&self) -> bool {
        self.due.is_none() || (self.ended && self.pending.is_empty())
    }

    /// Stops looking: the record is forgotten.
    pub fn gone(&mut self) {
        self.due = None;
        self.pending.clear();
        self.progress.tick = None;
    }
}

/// Returns a history up to the job's end, if it has ended: what came after it changed nothing.
pub(super) fn until_end<'h>(record: &Record, history: &'h [HistoryEntry]) -> &'h [HistoryEntry] {
    let winner = record.winner.as_ref().filter(|_| record.is_terminal());
    let end = winner.and_then(|winner| {
        let id = winner.id.to_string();
        history.iter().position(|entry| entry.event.id == id)
    });
    end.map_or(history, |end| &history[..=end])
}

/// Returns the place of the last event at or before an offset.
pub(super) fn last_until(history: &[HistoryEntry], offset: Option<u64>) -> Option<Position> {
    let at_or_before = |entry: &&HistoryEntry| Some(entry.offset) <= offset;
    history.iter().rev().find(at_or_before).map(place)
}

fn place(entry: &HistoryEntry) -> Position {
    Position {
        offset: entry.offset,
        id: entry.event.id.clone(),
    }
}

#[cfg(test)]
mod tests {
    use vmctl_api_types::{JobEvent, JobState};
    use vmctl_core::event::EventType;

    use super::*;
    use crate::jobs::doorbell::Doorbell;
    use JobState::{Running, Succeeded};

    const JOB: &str = "0198f2a4-7c1e-7a00-8abc-1f2e3d4c5b6a";

    fn id(offset: u64) -> uuid::Uuid {
        uuid::Uuid::from_u64_pair(0, offset)
    }

    fn entry(offset: u64, state: JobState) -> HistoryEntry {
        let event = JobEvent {
            id: id(offset).to_string(),
            event_type: "kept".to_owned(),
            time: "2026-11-23T17:00:00Z".parse().unwrap(),
            state,
            epoch: 0,
            attempt: 1,
            seq: 0,
            progress: None,
            output: None,
            error: None,
            worker: None,
        };
        HistoryEntry { offset, event }
    }

    /// A job whose state `winner` decides, with these entries.
    fn told(entries: &[(u64, JobState)], winner: u64, stands: u64) -> Told {
        let history: Vec<_> = entries.iter().map(|(o, s)| entry(*o, *s)).collect();
        let decides = history.iter().find(|e| e.offset == winner).unwrap();
        let record = Record {
            winner: Some(Winner {
                id: id(winner),
                offset: Some(winner),
                kept: false,
                first: None,
                event_type: EventType::Kept,
                state: decides.event.state,
                epoch: 0,
                attempt: 1,
                rank: 3,
                seq: 0,
                time: decides.event.time,
                expires: decides.event.time,
                body: vmctl_core::fact::FactBody::default(),
            }),
            ..Record::default()
        };
        Told {
            record: record.into(),
            history: history.into(),
            stands: Some(stands),
            behind: false,
        }
    }

    fn follow(told: &Told, after: Option<u64>) -> Followed {
        let id: JobId = JOB.parse().unwrap();
        let bell = Doorbell::default().listen(id);
        Followed::new(id, bell, "vm.create".parse().unwrap(), told, after)
    }

    fn pending(followed: &mut Followed) -> Vec<u64> {
        let next = || {
            let offset = followed.next_offset()?;
            followed.next_event().map(|_| offset)
        };
        std::iter::from_fn(next).collect()
    }

    #[test]
    fn what_comes_after_the_end_is_not_shown() {
        let all = [(3, Running), (5, Succeeded), (7, Running), (9, Succeeded)];
        let ended = told(&all, 5, 9);
        let mut followed = follow(&ended, None);
        assert_eq!(pending(&mut followed), [3, 5]);
        assert!(followed.is_over());
        // Somebody runs it again: now that is history too.
        let mut again = all.to_vec();
        again.push((12, Running));
        followed.update(&told(&again, 12, 12)).unwrap();
        assert!(!followed.is_over());
        assert_eq!(pending(&mut followed), [7, 9, 12]);
        assert!(follow(&ended, Some(5)).is_over());
        assert!(follow(&ended, Some(9)).is_over());
    }

    #[test]
    fn a_view_that_does_not_know_the_last_event_loses_the_stream() {
        let start = told(&[(3, Running), (5, Running)], 5, 6);
        let sent = || {
            let mut followed = follow(&start, Some(3));
            assert_eq!(pending(&mut followed), [5]);
            followed
        };
        assert_eq!(sent().update(&start), Ok(()));
        // More came than a history keeps: the one that was sent has gone from its middle.
        let pruned = told(&[(3, Running), (90, Running)], 90, 90);
        assert_eq!(sent().update(&pruned), Err(Lost));
        // A log that was made anew gives smaller offsets.
        let renewed = told(&[(2, Running), (3, Running), (5, Running)], 2, 4);
        assert_eq!(sent().update(&renewed), Err(Lost));
    }
}
