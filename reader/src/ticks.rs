//! Merges progress into live records and adds lines to the logs of jobs. Losing some is harmless, so
//! nothing is retried.

use std::{sync::Arc, time::Duration};

use jiff::{SignedDuration, Timestamp};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use vmctl_core::{
    bus::{Consumer, Feed, FeedStream, Received},
    clock::{self, Clock},
    error::chain,
    event::{Event, EventType},
    fact::Retention,
    lines::LogChunk,
    partition::Partition,
    record::Tick,
    store::FoldStore,
};

use crate::{Backoff, metrics};

/// Most ticks merged in one write.
const BATCH: usize = 500;

/// Lines from which on a batch is full.
const BATCH_LINES: usize = 1000;

/// How long after its end a job still takes lines: they and the end come by different ways.
const LATE_LINES: SignedDuration = SignedDuration::from_secs(60);

pub(crate) struct Ticks {
    pub consumer: Arc<dyn Consumer>,
    pub store: Arc<dyn FoldStore>,
    pub name: String,
    pub clock: Arc<dyn Clock>,
    pub retention: Retention,
    pub holds: watch::Receiver<Vec<Partition>>,
}

/// What is written at once.
#[derive(Default)]
struct Batch {
    ticks: Vec<Tick>,
    chunks: Vec<LogChunk>,
    lines: usize,
}

impl Ticks {
    pub(crate) async fn run(self, shutdown: &CancellationToken) {
        tokio::select! {
            () = shutdown.cancelled() => {}
            () = self.follow() => {}
        }
    }

    async fn follow(&self) {
        let mut backoff = Backoff::default();
        loop {
            match self.consumer.subscribe(Feed::Ticks, &self.name).await {
                Ok(mut feed) => {
                    backoff.reset();
                    while let Some(batch) = self.batch(feed.as_mut()).await {
                        self.write(batch).await;
                    }
                }
                Err(error) => {
                    tracing::debug!(error = %chain(&error), "no progress and no logs for now");
                }
            }
            backoff.wait().await;
        }
    }

    async fn write(&self, mut batch: Batch) {
        {
            let holds = self.holds.borrow();
            let held = |job| holds.contains(&Partition::of(job));
            batch.ticks.retain(|tick| held(tick.job));
            batch.chunks.retain(|chunk| held(chunk.job));
        }
        if !batch.ticks.is_empty() {
            let written = self.store.ticks(&batch.ticks).await;
            metrics::add(metrics::TICKS, result(&written), batch.ticks.len());
        }
        if !batch.chunks.is_empty() {
            let written = self.store.add_lines(&batch.chunks, self.late()).await;
            let lines = batch.chunks.iter().map(|chunk| chunk.lines.len()).sum();
            metrics::add(metrics::LINES, result(&written), lines);
        }
    }

    /// Returns when an ended record that still takes lines is forgotten at the earliest.
    fn late(&self) -> Timestamp {
        let forgotten = clock::add(self.clock.now(), self.retention.0);
        forgotten.checked_sub(LATE_LINES).unwrap_or(forgotten)
    }

    /// Waits for one message and takes those that come with it.
    async fn batch(&self, feed: &mut dyn FeedStream) -> Option<Batch> {
        let mut batch = Batch::default();
        batch.take(&feed.next().await?, self.clock.now());
        // What is there already needs no waiting; a short time bounds the reading of a flood.
        let _ = tokio::time::timeout(Duration::from_millis(20), async {
            while batch.ticks.len() + batch.chunks.len() < BATCH && batch.lines < BATCH_LINES {
                match feed.next().await {
                    Some(message) => batch.take(&message, self.clock.now()),
                    None => break,
                }
            }
        })
        .await;
        Some(batch)
    }
}

const fn result<T, E>(written: &Result<T, E>) -> &'static str {
    match written {
        Ok(_) => "applied",
        Err(_) => "dropped",
    }
}

impl Batch {
    /// Adds what a message says; one that cannot be read says nothing.
    fn take(&mut self, message: &Received, now: Timestamp) {
        let Ok(event) = Event::parse(&message.body) else {
            return;
        };
        if let Some(chunk) = LogChunk::of(&event, now) {
            self.lines += chunk.lines.len();
            self.chunks.push(chunk);
        } else {
            self.ticks.extend(tick(event));
        }
    }
}

fn tick(event: Event) -> Option<Tick> {
    if event.event_type != EventType::Progress {
        return None;
    }
    Some(Tick {
        job: event.subject,
        epoch: event.data.epoch,
        attempt: event.data.attempt,
        seq: event.data.seq,
        number: event.data.tick?,
        progress: event.data.progress?,
    })
}
