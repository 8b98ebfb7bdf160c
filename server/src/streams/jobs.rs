//! A stream of some jobs, in the order of the log.
//!
//! Each job lies in a partition of the view, and partitions are not equally far. An event is sent
//! when no other job of the stream can still show one from before it: the partition of each is past
//! it, or the journal of the tail has nothing about that job in between.

use std::time::Duration;

use axum::response::sse::Event;
use futures::future::{join_all, select_all, try_join_all};
use tokio::time::{Instant, sleep_until};
use vmctl_api_types::{JobId, ProblemType};
use vmctl_core::store::Position;

use super::{
    End, Sink,
    followed::{Followed, Lost, last_until, until_end},
    frame,
};
use crate::{
    app::App,
    error::ApiError,
    http::access::Access,
    jobs::view::{self, Told},
};

/// Time before a view that gave no answer is asked again.
pub(super) const RETRY: Duration = Duration::from_secs(1);

/// A stream that is ready to run.
pub(crate) struct JobStream {
    access: Access,
    jobs: Vec<Followed>,
    snapshots: Vec<Event>,
}

impl JobStream {
    /// Reads the jobs. `last` is the event that the client has. `None` when that was the last one and
    /// all jobs have ended.
    pub async fn open(
        app: &App,
        access: &Access,
        ids: &[JobId],
        last: Option<&str>,
    ) -> Result<Option<Self>, ApiError> {
        // Before the jobs are read, so that nothing falls between.
        let bells: Vec<_> = ids.iter().map(|id| app.doorbell.listen(*id)).collect();
        let tell = |id: &JobId| view::tell(app, access, *id);
        let told = try_join_all(ids.iter().map(tell)).await?;
        let resumed = last.and_then(|id| cut(&told, id));
        let begun = resumed.is_none().then(|| beginning(app, ids, &told));
        let place = resumed.or_else(|| begun.clone().flatten());
        let after = place.as_ref().map(|place| place.offset);
        let (mut jobs, mut snapshots) = (Vec::new(), Vec::new());
        for ((id, bell), told) in ids.iter().zip(bells).zip(&told) {
            let job = told.record.to_job();
            let job = job.ok_or_else(|| ApiError::new(ProblemType::JobNotFound).job(*id))?;
            let mut followed = Followed::new(*id, bell, job.kind.clone(), told, after);
            if begun.is_some() {
                followed.skip_progress();
                // Only the last one names the place: a client that was cut before it begins again.
                let is_last = jobs.len() + 1 == ids.len();
                let name = place.as_ref().filter(|_| is_last).map(|p| p.id.as_str());
                snapshots.push(frame::snapshot(name, &job));
            }
            followed.looked(told, app.doorbell.latest(*id), app.doorbell.is_attached());
            jobs.push(followed);
        }
        if begun.is_none() && jobs.iter().all(Followed::is_over) {
            return Ok(None);
        }
        Ok(Some(Self {
            access: access.clone(),
            jobs,
            snapshots,
        }))
    }

    pub(super) async fn run(mut self, app: &App, sink: &Sink<'_>) -> End {
        for frame in std::mem::take(&mut self.snapshots) {
            if let Err(end) = sink.send(frame).await {
                return end;
            }
        }
        loop {
            if let Err(end) = self.send(app, sink).await {
                return end;
            }
            if self.jobs.iter().all(Followed::is_over) {
                return End::Done;
            }
            self.wait(app).await;
            if let Err(Lost) = self.look(app).await {
                return End::Lost;
            }
        }
    }

    /// Sends what can be sent.
    async fn send(&mut self, app: &App, sink: &Sink<'_>) -> Result<(), End> {
        let limit = self.limit(app);
        let next = |jobs: &[Followed]| {
            let first = |n: usize| Some((jobs[n].next_offset()?, n));
            (0..jobs.len()).filter_map(first).min()
        };
        while let Some((offset, n)) = next(&self.jobs) {
            if Some(offset) > limit {
                self.hurry(app, offset);
                break;
            }
            if let Some(frame) = self.jobs[n].next_event() {
                sink.send(frame).await?;
            }
        }
        for job in &mut self.jobs {
            if let Some(frame) = job.next_progress(Instant::now()) {
                sink.send(frame).await?;
            }
        }
        Ok(())
    }

    /// Returns the offset up to which every job has shown all of its events.
    fn limit(&self, app: &App) -> Option<u64> {
        if self.jobs.len() == 1 {
            return Some(u64::MAX);
        }
        let watched = self.jobs.iter().filter(|job| job.due.is_some());
        let limit = watched.map(|job| complete(app, job.id, job.stands)).min();
        limit.unwrap_or(Some(u64::MAX))
    }

    /// Looks soon at the jobs that hold back an event.
    fn hurry(&mut self, app: &App, offset: u64) {
        for job in &mut self.jobs {
            let holds = complete(app, job.id, job.stands) < Some(offset);
            if job.due.is_some() && holds && job.pace.hurry() {
                job.due = Some(Instant::now() + job.pace.next(app.doorbell.is_attached()));
            }
        }
    }

    /// Waits until there is something to look at or to send.
    async fn wait(&mut self, app: &App) {
        let due = |job: &Followed| job.due.into_iter().chain(job.progress_due()).min();
        // A stream whose jobs are all gone is over, so there is an instant.
        let due = self.jobs.iter().filter_map(due).min();
        let due = due.unwrap_or_else(Instant::now);
        let rings = self.jobs.iter_mut().map(|job| Box::pin(job.bell.rung()));
        let rung = tokio::select! {
            ((), n, _) = select_all(rings) => Some(n),
            () = sleep_until(due) => None,
        };
        if let Some(job) = rung.map(|n| &mut self.jobs[n])
            && job.due.is_some()
        {
            job.pace.rung();
            job.due = Some(Instant::now() + job.pace.next(app.doorbell.is_attached()));
        }
    }

    /// Reads the jobs that are to be looked at by now.
    async fn look(&mut self, app: &App) -> Result<(), Lost> {
        let now = Instant::now();
        let is_due = |job: &&mut Followed| job.due.is_some_and(|due| due <= now);
        let due: Vec<_> = self.jobs.iter_mut().filter(is_due).collect();
        let tell = |job: &&mut Followed| view::tell(app, &self.access, job.id);
        let told = join_all(due.iter().map(tell)).await;
        for (job, told) in due.into_iter().zip(told) {
            match told {
                Ok(told) if !told.behind => {
                    let latest = app.doorbell.latest(job.id);
                    job.looked(&told, latest, app.doorbell.is_attached());
                    job.update(&told)?;
                }
                Err(error) if matches!(error.status(), 404 | 410) => job.gone(),
                // The view is away, or has to catch up: what it says now may be old.
                Ok(_) | Err(_) => job.due = Some(Instant::now() + RETRY),
            }
        }
        Ok(())
    }
}

/// Returns the offset up to which a view that stands there shows every event of a job.
fn complete(app: &App, job: JobId, stands: Option<u64>) -> Option<u64> {
    if app.doorbell.is_attached() {
        app.doorbell.journal().complete(job, stands)
    } else {
        stands
    }
}

/// Finds the event that a client has last. One that is ahead of its partition is of another log.
fn cut(told: &[Told], id: &str) -> Option<Position> {
    let place = |told: &Told| {
        let entry = told.history.iter().find(|entry| entry.event.id == id)?;
        let offset = entry.offset;
        (Some(offset) <= told.stands).then(|| Position {
            offset,
            id: id.to_owned(),
        })
    };
    told.iter().find_map(place)
}

/// Returns the newest place that the snapshots of all jobs have.
fn beginning(app: &App, ids: &[JobId], told: &[Told]) -> Option<Position> {
    let complete = |(id, told): (&JobId, &Told)| complete(app, *id, told.stands);
    let limit = if ids.len() == 1 {
        Some(u64::MAX)
    } else {
        ids.iter().zip(told).map(complete).min().flatten()
    };
    let newest = |told: &Told| last_until(until_end(&told.record, &told.history), limit);
    told.iter().filter_map(newest).max_by_key(|p| p.offset)
}
