//! The newest entries of the log, as this server's tail has read them: places and ids, no content.
//!
//! It tells in which order things happened, to streams that follow more than one job, and where a
//! project's stream was cut. Every server reads the whole log, so a stream that was cut here goes on
//! at any of them. Entries are numbered as they are read: numbers never repeat, offsets do when the
//! log is made anew. After the tail was lost the journal begins again, and numbers before are void.

use std::{
    collections::{HashMap, VecDeque},
    sync::Arc,
};

use uuid::Uuid;
use vmctl_api_types::JobId;
use vmctl_core::{
    audit,
    bus::{HeaderValue, LogEntry},
    event::MARK_TYPE,
    fact::{Fact, Retention, interpret},
    topology::EXCHANGE_JOBS,
};

/// How many entries are kept.
const MOST: usize = 50_000;

/// Longest project id that is believed.
const MAX_PROJECT: usize = 64;

/// One entry.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Noted {
    pub offset: u64,
    /// The event's id, as histories have it.
    pub id: Uuid,
    /// Nothing for a mark.
    pub about: Option<About>,
}

/// What an entry is about, as far as it says itself. Whose job it is, only the view knows.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct About {
    pub job: JobId,
    pub project: Arc<str>,
}

impl Noted {
    /// Reads an entry; `None` when it has nothing to follow.
    pub fn of(entry: &LogEntry) -> Option<Self> {
        if audit::is_audit(&entry.message) {
            return None;
        }
        Self::by_properties(entry).or_else(|| Self::by_body(entry))
    }

    /// The short way: nothing is parsed.
    fn by_properties(entry: &LogEntry) -> Option<Self> {
        let message = &entry.message;
        if message.exchange != EXCHANGE_JOBS {
            return None;
        }
        let id = message.message_id.as_deref()?.parse().ok()?;
        let is_mark = message.message_type.as_deref() == Some(MARK_TYPE);
        let about = if is_mark {
            None
        } else {
            Some(About {
                job: message.correlation_id.as_deref()?.parse().ok()?,
                project: project(entry)?,
            })
        };
        let offset = entry.offset;
        Some(Self { offset, id, about })
    }

    /// For dead letters, whose event has an id of its own, and for workers that set no properties.
    fn by_body(entry: &LogEntry) -> Option<Self> {
        let Fact::Job(fact) = interpret(entry, Retention::default()) else {
            return None;
        };
        let said = fact
            .spec
            .map(|spec| Arc::from(spec.auth.project_id.as_str()));
        Some(Self {
            offset: entry.offset,
            id: fact.id,
            about: Some(About {
                job: fact.job,
                project: project(entry).or(said).unwrap_or_default(),
            }),
        })
    }
}

fn project(entry: &LogEntry) -> Option<Arc<str>> {
    match entry.message.headers.get("project")? {
        HeaderValue::Text(text) if text.len() <= MAX_PROJECT => Some(text.as_str().into()),
        _ => None,
    }
}

/// The entries.
#[derive(Debug, Default)]
pub(crate) struct Journal {
    entries: VecDeque<Noted>,
    /// The number of the first entry that is kept.
    first: u64,
    /// The offset from which on no entry is missing.
    from: Option<u64>,
    newest: Option<u64>,
    latest: HashMap<JobId, u64>,
}

/// What a project's stream is given next.
#[derive(Debug, PartialEq)]
pub(crate) struct Page {
    /// Numbers and entries, in log order.
    pub entries: Vec<(u64, Noted)>,
    /// The number to go on from.
    pub next: u64,
}

impl Journal {
    /// Begins again: entries may have been missed.
    pub fn restart(&mut self) {
        *self = Self {
            // One more than any number that was given out.
            first: self.end() + 1,
            ..Self::default()
        };
    }

    /// Notes that the tail has read an entry.
    pub fn note(&mut self, offset: u64, noted: Option<Noted>) {
        if self.newest.is_some_and(|newest| offset <= newest) {
            // The log is another one.
            self.restart();
        }
        self.from.get_or_insert(offset);
        self.newest = Some(offset);
        let Some(noted) = noted else { return };
        while self.entries.len() >= MOST {
            self.forget();
        }
        if let Some(about) = &noted.about {
            self.latest.insert(about.job, offset);
        }
        self.entries.push_back(noted);
    }

    fn forget(&mut self) {
        let Some(old) = self.entries.pop_front() else {
            return;
        };
        self.first += 1;
        self.from = Some(old.offset + 1);
        if let Some(about) = old.about
            && self.latest.get(&about.job) == Some(&old.offset)
        {
            self.latest.remove(&about.job);
        }
    }

    fn end(&self) -> u64 {
        self.first + self.entries.len() as u64
    }

    /// Returns the offset of the newest entry that was read.
    pub fn newest(&self) -> Option<u64> {
        self.newest
    }

    /// Returns the offset of the newest entry about a job, if it is kept.
    pub fn latest(&self, job: JobId) -> Option<u64> {
        self.latest.get(&job).copied()
    }

    /// Returns the offset up to which a view that stands at `stands` has every event of a job: further
    /// than where it stands when the log is known to have nothing about the job in between.
    pub fn complete(&self, job: JobId, stands: Option<u64>) -> Option<u64> {
        let next = stands.map_or(0, |stands| stands + 1);
        let covered = self.from.is_some_and(|from| from <= next);
        if covered && self.latest(job) <= stands {
            return stands.max(self.newest);
        }
        stands
    }

    /// Returns where a stream begins that begins now, and the id that names the place: the newest
    /// mark. It is at most some seconds old, and nobody's.
    pub fn start(&self) -> (u64, Option<Uuid>) {
        let mark = self.entries.iter().rposition(|noted| noted.about.is_none());
        match mark {
            Some(at) => (self.first + at as u64 + 1, Some(self.entries[at].id)),
            None => (self.end(), None),
        }
    }

    /// Returns the number after the entry that has this id and may be known to this project.
    pub fn after(&self, id: Uuid, project: &str) -> Option<u64> {
        let known = |noted: &Noted| {
            let foreign = noted.about.as_ref().is_some_and(|a| &*a.project != project);
            noted.id == id && !foreign
        };
        let at = self.entries.iter().rposition(known)?;
        Some(self.first + at as u64 + 1)
    }

    /// Says whether the entry of this number is forgotten.
    pub fn is_past(&self, number: u64) -> bool {
        number < self.first
    }

    /// Returns at most `max` entries of a project from a number on; `None` when some of them may be
    /// gone.
    pub fn page(&self, from: u64, project: &str, max: usize) -> Option<Page> {
        let skip = usize::try_from(from.checked_sub(self.first)?).ok()?;
        let numbered = (self.first..).zip(&self.entries).skip(skip);
        let ours = |noted: &Noted| noted.about.as_ref().is_some_and(|a| &*a.project == project);
        let entries: Vec<_> = numbered
            .filter(|(_, noted)| ours(noted))
            .take(max)
            .map(|(number, noted)| (number, noted.clone()))
            .collect();
        let next = match entries.last() {
            Some((last, _)) if entries.len() == max => last + 1,
            _ => self.end(),
        };
        Some(Page { entries, next })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn job(n: u8) -> JobId {
        format!("0198f2a4-7c1e-7a00-8abc-1f2e3d4c5b{n:02x}")
            .parse()
            .unwrap()
    }

    fn id(n: u64) -> Uuid {
        Uuid::from_u64_pair(0, n)
    }

    fn note(journal: &mut Journal, offset: u64, about: Option<(u8, &str)>) {
        let about = about.map(|(n, project)| About {
            job: job(n),
            project: project.into(),
        });
        let id = id(offset);
        journal.note(offset, Some(Noted { offset, id, about }));
    }

    fn offsets(page: &Page) -> Vec<u64> {
        page.entries.iter().map(|(_, noted)| noted.offset).collect()
    }

    #[test]
    fn a_project_reads_its_own_entries_in_order_from_where_it_was_cut() {
        let mut journal = Journal::default();
        for (offset, about) in [
            (7, None),
            (8, Some((1, "a"))),
            (9, Some((2, "b"))),
            (12, Some((3, "a"))),
        ] {
            note(&mut journal, offset, about);
        }
        assert_eq!(journal.start().1, Some(id(7)));
        let all = journal.page(journal.start().0, "a", 10).unwrap();
        assert_eq!(offsets(&all), [8, 12]);
        assert!(journal.page(all.next, "a", 10).unwrap().entries.is_empty());
        let first = journal.page(0, "a", 1).unwrap();
        assert_eq!(offsets(&first), [8]);
        assert_eq!(offsets(&journal.page(first.next, "a", 1).unwrap()), [12]);
        let cut = journal.after(id(8), "a").unwrap();
        assert_eq!(offsets(&journal.page(cut, "a", 10).unwrap()), [12]);
        // Another project's event names no place.
        assert_eq!(journal.after(id(8), "b"), None);
        assert_eq!(journal.after(id(99), "a"), None);
    }

    #[test]
    fn what_is_forgotten_or_missed_is_told() {
        let mut journal = Journal::default();
        let begun = journal.start().0;
        for offset in 0..=MOST as u64 {
            note(&mut journal, offset, Some((1, "a")));
        }
        assert_eq!(journal.page(begun, "a", 1), None);
        assert_eq!(journal.after(id(0), "a"), None);
        let now = journal.start().0;
        assert!(journal.page(now, "a", 1).is_some());
        journal.restart();
        assert_eq!(journal.page(now, "a", 1), None);
        // A log that begins anew is noticed by its offsets.
        note(&mut journal, 70, None);
        let now = journal.start().0;
        note(&mut journal, 3, None);
        assert_eq!(journal.page(now, "a", 1), None);
        assert!(journal.page(journal.start().0, "a", 1).is_some());
    }

    #[test]
    fn a_view_is_complete_up_to_the_newest_entry_unless_something_is_on_its_way() {
        let mut journal = Journal::default();
        assert_eq!(journal.complete(job(1), Some(9)), Some(9));
        note(&mut journal, 10, Some((1, "a")));
        note(&mut journal, 14, None);
        assert_eq!(journal.complete(job(1), Some(9)), Some(9));
        assert_eq!(journal.complete(job(1), Some(10)), Some(14));
        assert_eq!(journal.complete(job(2), Some(9)), Some(14));
        // What lies between 5 and 10 was not read.
        assert_eq!(journal.complete(job(2), Some(5)), Some(5));
        assert_eq!(journal.complete(job(2), None), None);
        // The view is ahead of the tail.
        assert_eq!(journal.complete(job(2), Some(20)), Some(20));
        assert_eq!(journal.latest(job(1)), Some(10));
    }
}
