//! Progress of the jobs of a project, for its stream: of each job at most once a second.
//!
//! The feed of progress says which jobs have some; the view says whose they are and what it is.

use std::{collections::HashMap, time::Duration};

use axum::response::sse::Event;
use tokio::time::Instant;
use vmctl_api_types::JobId;
use vmctl_core::{partition::Partition, record::Tick};

use super::frame;
use crate::{
    app::App,
    jobs::{doorbell::TICKED, list::Filter, view},
};

/// How often the progress of one job is told.
const EVERY: Duration = Duration::from_secs(1);

/// How soon a job is looked at again whose progress is not in the view yet, and how often.
const AGAIN: Duration = Duration::from_millis(100);
const TRIES: u8 = 5;

/// Jobs that are read in one step.
const STEP: usize = 64;

/// What is to be told, and what was.
#[derive(Default)]
pub(super) struct Progresses {
    due: HashMap<JobId, Due>,
    told: HashMap<JobId, (Tick, Instant)>,
}

struct Due {
    at: Instant,
    tries: u8,
}

impl Progresses {
    /// Notes that a job has progress.
    pub fn note(&mut self, job: JobId) {
        let now = Instant::now();
        let told = self.told.get(&job).map(|(_, at)| *at + EVERY);
        let at = told.map_or(now, |at| at.max(now));
        let due = self.due.entry(job).or_insert(Due { at, tries: 0 });
        due.tries = 0;
    }

    /// Returns when to look.
    pub fn due(&self) -> Option<Instant> {
        self.due.values().map(|due| due.at).min()
    }

    /// Reads the jobs whose time has come and returns the frames of those that have something new.
    /// `newest` is the last event that the stream can have sent: no progress comes before it.
    pub async fn frames(
        &mut self,
        app: &App,
        project: &str,
        filter: &Filter,
        newest: Option<u64>,
    ) -> Vec<Event> {
        let now = Instant::now();
        let ids = self.due.iter().filter(|(_, due)| due.at <= now);
        let ids: Vec<JobId> = ids.map(|(id, _)| *id).take(STEP).collect();
        if ids.is_empty() {
            return Vec::new();
        }
        let seen: Vec<_> = ids
            .iter()
            .map(|id| app.seen.reach(Partition::of(*id)))
            .collect();
        let Ok(found) = app.bounded(app.store.get_many(&ids)).await else {
            // Progress is repeated soon enough.
            self.due.retain(|id, _| !ids.contains(id));
            return Vec::new();
        };
        let mut frames = Vec::new();
        for ((id, lookup), seen) in ids.into_iter().zip(found).zip(seen) {
            let number = Partition::of(id);
            app.seen.observe(number, &lookup.partition, app.now());
            let behind = view::is_behind(app, number, &lookup.partition, seen);
            let record = lookup
                .record
                .filter(|r| !behind && r.project() == Some(project));
            let news = record.as_ref().and_then(|record| {
                let early = record.winner.as_ref()?.offset > newest;
                let tick = record.live_tick().filter(|_| !early)?;
                let known = self.told.get(&id).is_some_and(|(told, _)| told == tick);
                (!known).then_some(tick)
            });
            let Some((record, tick)) = record.as_ref().zip(news) else {
                self.again(id, now);
                continue;
            };
            self.due.remove(&id);
            if self.told.len() >= TICKED {
                self.told.retain(|_, (_, at)| *at + EVERY > now);
            }
            self.told.insert(id, (tick.clone(), now));
            if let (Some(winner), Some(spec)) = (&record.winner, &record.spec)
                && filter.takes_event(&spec.spec.kind, winner.state)
            {
                frames.push(frame::progress(id, &spec.spec.kind, winner, tick));
            }
        }
        frames
    }

    fn again(&mut self, id: JobId, now: Instant) {
        if let Some(due) = self.due.get_mut(&id) {
            due.tries += 1;
            due.at = now + AGAIN;
            if due.tries > TRIES {
                self.due.remove(&id);
            }
        }
    }
}
