//! A stream of a whole project, in the order of the log.
//!
//! The journal of the tail says what happened in the project and in which order; the view says what
//! it was. A stream that cannot go on where it was, because the journal does not reach back so far or
//! the tail was lost, says `gap` and begins again with a snapshot.

use std::{collections::HashMap, time::Duration};

use axum::response::sse::Event;
use tokio::time::{Instant, sleep, timeout_at};
use vmctl_api_types::{JobId, JobList};
use vmctl_core::record::HistoryEntry;

use super::{End, Sink, frame, jobs::RETRY, progress::Progresses};
use crate::{
    app::App,
    error::ApiError,
    jobs::{
        doorbell::Listener,
        journal::{About, Noted},
        list::{self, Filter, Source},
        view::{self, Told},
    },
};

/// Jobs in a snapshot.
const SNAPSHOT: usize = 50;

/// Events that are taken from the journal in one step.
const STEP: usize = 64;

/// How often the journal is looked at although nothing rings.
const IDLE_LOOK: Duration = Duration::from_secs(15);

/// First and longest pause while the view does not have an event yet.
const FIRST_PAUSE: Duration = Duration::from_millis(1);
const LONGEST_PAUSE: Duration = Duration::from_millis(500);

const UNKNOWN: &str = "this server does not remember that event";
const MISSED: &str = "events may have been missed: the tail of the log was lost, or is far ahead";

/// A stream that is ready to run.
pub(crate) struct ProjectStream {
    project: String,
    filter: Filter,
    bell: Listener,
    /// The number of the journal's entry to go on from.
    next: u64,
    /// How much of the feed of progress was heard.
    heard: u64,
    progresses: Progresses,
    opening: Vec<Event>,
}

impl ProjectStream {
    /// Finds where to begin. `last` is the event that the client has.
    pub async fn open(
        app: &App,
        project: &str,
        filter: Filter,
        last: Option<&str>,
    ) -> Result<Self, ApiError> {
        let mut stream = Self {
            project: project.to_owned(),
            filter,
            bell: app.doorbell.listen_to_project(project),
            next: 0,
            heard: 0,
            progresses: Progresses::default(),
            opening: Vec::new(),
        };
        let cut = last.map(|id| {
            let id = id.parse().ok()?;
            app.doorbell.journal().after(id, project)
        });
        match cut {
            Some(Some(next)) => stream.next = next,
            Some(None) => {
                let gap = frame::gap(UNKNOWN);
                let snapshot = stream.begin(app).await?;
                stream.opening = vec![gap, snapshot];
            }
            None => stream.opening = vec![stream.begin(app).await?],
        }
        Ok(stream)
    }

    /// Goes to the newest place and returns what stands there.
    async fn begin(&mut self, app: &App) -> Result<Event, ApiError> {
        // Before the list is read, so that nothing falls between.
        let (next, name) = app.doorbell.journal().start();
        let page = list::page(
            app,
            &self.project,
            &self.filter,
            &Source::Index,
            None,
            SNAPSHOT,
        )
        .await?;
        let jobs = JobList {
            items: page.items,
            next_cursor: page.next.as_ref().map(list::cursor),
            incomplete: list::is_incomplete(app).await?,
        };
        self.next = next;
        // What the snapshot says is not told again.
        self.bell.ticked(&mut self.heard);
        let name = name.map(|id| id.to_string());
        Ok(frame::snapshot(name.as_deref(), &jobs))
    }

    pub(super) async fn run(mut self, app: &App, sink: &Sink<'_>) -> End {
        for frame in std::mem::take(&mut self.opening) {
            if let Err(end) = sink.send(frame).await {
                return end;
            }
        }
        loop {
            if let Err(end) = self.step(app, sink).await {
                return end;
            }
        }
    }

    /// Sends the next events, or waits for one.
    async fn step(&mut self, app: &App, sink: &Sink<'_>) -> Result<(), End> {
        let page = app.doorbell.journal().page(self.next, &self.project, STEP);
        let Some(page) = page else {
            return self.begin_again(app, sink).await;
        };
        if page.entries.is_empty() {
            self.next = page.next;
            return self.idle(app, sink).await;
        }
        let mut told = HashMap::new();
        for (number, noted) in page.entries {
            let Some(about) = noted.about.clone() else {
                continue;
            };
            self.await_view(app, number, &noted, &about, &mut told)
                .await;
            if let Some(frame) = self.frame(&noted, told.get(&about.job)) {
                sink.send(frame).await?;
            }
            self.next = number + 1;
        }
        self.next = page.next;
        Ok(())
    }

    /// Tells progress, or waits until there is something to tell.
    async fn idle(&mut self, app: &App, sink: &Sink<'_>) -> Result<(), End> {
        for job in self.bell.ticked(&mut self.heard) {
            self.progresses.note(job);
        }
        let newest = app.doorbell.journal().newest();
        let frames = self
            .progresses
            .frames(app, &self.project, &self.filter, newest);
        let frames = frames.await;
        for frame in &frames {
            sink.send(frame.clone()).await?;
        }
        if frames.is_empty() {
            let idle = Instant::now() + IDLE_LOOK;
            let due = self.progresses.due().map_or(idle, |due| due.min(idle));
            // Nothing in time is an occasion to look.
            let _ = timeout_at(due, self.bell.rung()).await;
        }
        Ok(())
    }

    async fn begin_again(&mut self, app: &App, sink: &Sink<'_>) -> Result<(), End> {
        let Ok(snapshot) = self.begin(app).await else {
            sleep(RETRY).await;
            return Ok(());
        };
        sink.send(frame::gap(MISSED)).await?;
        sink.send(snapshot).await
    }

    /// Waits until the view has an event, or it is known that there is none for this project.
    async fn await_view(
        &self,
        app: &App,
        number: u64,
        noted: &Noted,
        about: &About,
        told: &mut HashMap<JobId, Told>,
    ) {
        let has = |told: &Told| !told.behind && told.stands >= Some(noted.offset);
        let mut pause = FIRST_PAUSE;
        while !told.get(&about.job).is_some_and(has) {
            match view::look(app, &self.project, about.job).await {
                // Who owns a job is said by the view, not by the message: a forged one costs no more
                // than any other.
                Ok(look) if look.stands >= Some(noted.offset) => {
                    match look.told {
                        Some(now) => told.insert(about.job, now),
                        None => told.remove(&about.job),
                    };
                    return;
                }
                Ok(_) => sleep(pause).await,
                Err(_) => sleep(RETRY).await,
            }
            pause = (pause * 2).min(LONGEST_PAUSE);
            if app.doorbell.journal().is_past(number) {
                // The log is another one, or the view is so late that the place is forgotten.
                told.remove(&about.job);
                return;
            }
        }
    }

    fn frame(&self, noted: &Noted, told: Option<&Told>) -> Option<Event> {
        let told = told?;
        // A copy of a message has its own place, but is one event.
        let is_it = |entry: &&HistoryEntry| entry.offset == noted.offset;
        let entry = told.history.iter().find(is_it)?;
        let spec = &told.record.spec.as_ref()?.spec;
        let takes = self.filter.takes_event(&spec.kind, entry.event.state);
        takes.then(|| frame::event(spec.id, &spec.kind, entry.clone()))
    }
}
