//! One stream: a log of bounded length, kept in segments.

use std::{collections::VecDeque, sync::Arc};

use jiff::Timestamp;
use tokio::sync::Notify;

use super::{Limits, message::Stored};
use crate::{bus::LogStart, clock, topology::QueueSpec};

/// The log.
pub(super) struct Stream {
    pub spec: QueueSpec,
    /// Tells a recreated stream from the one before.
    pub incarnation: u64,
    pub readers: u32,
    /// Wakes the readers.
    pub grown: Arc<Notify>,
    /// Oldest first; the last is being written.
    segments: VecDeque<Segment>,
    next_offset: u64,
    /// Readers see nothing from here on: it is not kept yet.
    shown: u64,
    /// When the last entry came. Times never go back, so that reading from one misses nothing.
    newest: Timestamp,
    entries: usize,
    bytes: usize,
    max_entries: usize,
    max_bytes: usize,
    segment_entries: usize,
}

/// A segment that a stream has forgotten.
pub(super) struct Forgotten {
    pub first: u64,
    pub entries: Vec<(Timestamp, Arc<Stored>)>,
}

struct Segment {
    first: u64,
    entries: Vec<(Timestamp, Arc<Stored>)>,
    bytes: usize,
}

impl Segment {
    fn new(first: u64) -> Self {
        Self {
            first,
            entries: Vec::new(),
            bytes: 0,
        }
    }

    fn end(&self) -> u64 {
        self.first + self.entries.len() as u64
    }

    fn newest(&self) -> Timestamp {
        self.entries.last().map_or(Timestamp::MIN, |(at, _)| *at)
    }
}

impl Stream {
    /// Makes a stream whose offsets start at `first`.
    pub fn new(spec: QueueSpec, limits: &Limits, first: u64, incarnation: u64) -> Self {
        let asked = spec.max_length_bytes.map(usize::try_from);
        let max_bytes = match asked {
            Some(Ok(bytes)) => bytes.min(limits.log_bytes),
            _ => limits.log_bytes,
        };
        Self {
            spec,
            incarnation,
            readers: 0,
            grown: Arc::new(Notify::new()),
            segments: VecDeque::new(),
            next_offset: first,
            shown: u64::MAX,
            newest: Timestamp::MIN,
            entries: 0,
            bytes: 0,
            max_entries: limits.log_entries,
            max_bytes,
            segment_entries: limits.log_segment_entries.max(1),
        }
    }

    pub fn len(&self) -> usize {
        self.entries
    }

    /// Returns the offset that the next entry gets.
    pub fn end(&self) -> u64 {
        self.next_offset
    }

    fn first(&self) -> u64 {
        self.segments.front().map_or(self.next_offset, |s| s.first)
    }

    /// Shows what lies before this offset, and nothing else until the next call.
    pub fn show(&mut self, end: u64) {
        self.shown = end;
        self.grown.notify_waiters();
    }

    /// Adds an entry, and forgets the oldest segments if there is too much. Returns the time of the
    /// new entry, and what is forgotten, with the offset of the first.
    pub fn append(&mut self, stored: Arc<Stored>, now: Timestamp) -> (Timestamp, Vec<Forgotten>) {
        self.newest = self.newest.max(now);
        self.put(stored);
        self.grown.notify_waiters();
        (self.newest, self.forget(now))
    }

    /// Puts back an entry that was kept, after all that lie before it.
    pub fn restore(&mut self, offset: u64, at: Timestamp, stored: Arc<Stored>) {
        // A segment has no gaps.
        if offset != self.next_offset {
            self.segments.push_back(Segment::new(offset));
            self.next_offset = offset;
        }
        self.newest = self.newest.max(at);
        self.put(stored);
    }

    fn put(&mut self, stored: Arc<Stored>) {
        let size = stored.size();
        // Small limits are kept too: a segment is at most a quarter of them.
        let full = |s: &Segment| {
            s.entries.len() >= self.segment_entries.min(self.max_entries / 4).max(1)
                || s.bytes >= self.max_bytes / 4
        };
        if self.segments.back().is_none_or(full) {
            self.segments.push_back(Segment::new(self.next_offset));
        }
        if let Some(segment) = self.segments.back_mut() {
            segment.entries.push((self.newest, stored));
            segment.bytes += size;
        }
        self.entries += 1;
        self.bytes += size;
        self.next_offset += 1;
    }

    /// Forgets what is too old or too much.
    pub fn forget(&mut self, now: Timestamp) -> Vec<Forgotten> {
        let mut forgotten = Vec::new();
        // What is being written stays.
        while self.segments.len() > 1 && self.front_is_over(now) {
            if let Some(segment) = self.segments.pop_front() {
                self.entries -= segment.entries.len();
                self.bytes -= segment.bytes;
                forgotten.push(Forgotten {
                    first: segment.first,
                    entries: segment.entries,
                });
            }
        }
        forgotten
    }

    /// Returns all entries.
    pub fn all(&self) -> impl Iterator<Item = (u64, &Arc<Stored>)> {
        self.segments.iter().flat_map(|segment| {
            let offsets = segment.first..;
            offsets.zip(segment.entries.iter().map(|(_, stored)| stored))
        })
    }

    fn front_is_over(&self, now: Timestamp) -> bool {
        let too_old = |segment: &Segment| {
            let max_age = self.spec.max_age;
            max_age.is_some_and(|age| clock::add(segment.newest(), age) < now)
        };
        self.entries > self.max_entries
            || self.bytes > self.max_bytes
            || self.segments.front().is_some_and(too_old)
    }

    /// Returns the offset where a reader starts.
    pub fn start(&self, from: LogStart) -> u64 {
        match from {
            LogStart::First => self.first(),
            LogStart::Offset(offset) => offset.clamp(self.first(), self.next_offset),
            LogStart::Next => self.next_offset,
            LogStart::Time(time) => self
                .segments
                .iter()
                .find(|segment| segment.newest() >= time)
                .map_or(self.next_offset, |segment| {
                    let before = segment.entries.partition_point(|(at, _)| *at < time);
                    segment.first + before as u64
                }),
        }
    }

    /// Returns at most `max` entries from `offset` on, or from the oldest kept one.
    pub fn read(&self, offset: u64, max: usize) -> Vec<(u64, Arc<Stored>)> {
        let segment = self.segments.partition_point(|s| s.end() <= offset);
        let mut found = Vec::new();
        for segment in self.segments.iter().skip(segment) {
            let skip = usize::try_from(offset.saturating_sub(segment.first)).unwrap_or(usize::MAX);
            let entries = segment.entries.iter().enumerate().skip(skip);
            let room = max - found.len();
            found.extend(
                entries
                    .map(|(n, (_, stored))| (segment.first + n as u64, stored))
                    .take_while(|(offset, _)| *offset < self.shown)
                    .take(room)
                    .map(|(offset, stored)| (offset, Arc::clone(stored))),
            );
            if found.len() >= max || segment.end() >= self.shown {
                break;
            }
        }
        found
    }
}
