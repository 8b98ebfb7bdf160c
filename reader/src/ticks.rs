//! Merges progress into live records. Losing some is harmless, so nothing is retried.

use std::{sync::Arc, time::Duration};

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use vmctl_core::{
    bus::{Consumer, Feed, FeedStream, Received},
    error::chain,
    event::{Event, EventType},
    partition::Partition,
    record::Tick,
    store::FoldStore,
};

use crate::{Backoff, metrics};

/// Most ticks merged in one write.
const BATCH: usize = 500;

pub(crate) struct Ticks {
    pub consumer: Arc<dyn Consumer>,
    pub store: Arc<dyn FoldStore>,
    pub name: String,
    pub holds: watch::Receiver<Vec<Partition>>,
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
                    while let Some(ticks) = batch(feed.as_mut()).await {
                        self.write(ticks).await;
                    }
                }
                Err(error) => {
                    tracing::debug!(error = %chain(&error), "no progress for now");
                }
            }
            backoff.wait().await;
        }
    }

    async fn write(&self, mut ticks: Vec<Tick>) {
        let all = ticks.len();
        {
            let holds = self.holds.borrow();
            ticks.retain(|tick| holds.contains(&Partition::of(tick.job)));
        }
        if ticks.is_empty() {
            return;
        }
        let result = match self.store.ticks(&ticks).await {
            Ok(()) => "applied",
            Err(_) => "dropped",
        };
        metrics::add(metrics::TICKS, result, ticks.len());
        tracing::trace!(all, held = ticks.len(), result, "progress");
    }
}

/// Waits for one tick and takes those that come with it.
async fn batch(feed: &mut dyn FeedStream) -> Option<Vec<Tick>> {
    let mut ticks = Vec::new();
    ticks.extend(parse(&feed.next().await?));
    // What is there already needs no waiting; a short time bounds the reading of a flood.
    let _ = tokio::time::timeout(Duration::from_millis(20), async {
        while ticks.len() < BATCH {
            match feed.next().await {
                Some(message) => ticks.extend(parse(&message)),
                None => break,
            }
        }
    })
    .await;
    Some(ticks)
}

fn parse(message: &Received) -> Option<Tick> {
    let event = Event::parse(&message.body).ok()?;
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
