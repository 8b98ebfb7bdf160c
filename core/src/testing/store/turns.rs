//! Lines of jobs that wait for their turn.

use std::{sync::Arc, time::Duration};

use super::{
    StoreFixture,
    support::{OneJob, batch, until},
};
use crate::{
    clock,
    partition::Partition,
    store::{FoldOutcome, FoldStore, PartitionBatch, project::Run},
    turn::{End, Moved, Place, Step, Turn, turn},
};

const PROJECT: &str = "demo";

/// The lines of one project.
struct Line {
    store: Arc<dyn FoldStore>,
    one: OneJob,
    next: u64,
}

impl Line {
    fn new(fixture: &impl StoreFixture) -> Self {
        Self {
            store: fixture.store(),
            one: OneJob::new(fixture),
            next: 0,
        }
    }

    fn run(&self, name: &str) -> Run {
        Run {
            job: self.one.story.job_in(super::support::here(), name),
            epoch: 0,
        }
    }

    fn step(&self, name: &str, keys: &[&str], moved: Moved) -> Step {
        Step {
            project: PROJECT.to_owned(),
            run: self.run(name),
            keys: keys.iter().map(|key| (*key).to_owned()).collect(),
            moved,
            expires: clock::add(self.one.now, Duration::from_secs(3600)),
        }
    }

    async fn batch(&self, steps: Vec<Step>) -> PartitionBatch {
        let partition = Partition::of_project(PROJECT);
        let stands = self.store.partitions().await.unwrap();
        let expected = stands[partition.index()].position.clone();
        PartitionBatch {
            steps,
            ..batch(partition, expected, &[])
        }
    }

    async fn fold(&mut self, steps: Vec<Step>) {
        let batch = self.batch(steps).await;
        let outcomes = self.store.fold(vec![batch], self.one.now).await.unwrap();
        assert_eq!(outcomes, [FoldOutcome::Written { changed: 0 }]);
    }

    /// Takes one step at the next place of the log.
    async fn take(&mut self, name: &str, keys: &[&str], what: &str) {
        self.next += 1;
        let moved = match what {
            "in" => Moved::In { offset: self.next },
            "on" => Moved::On,
            "begun" => Moved::Begun,
            "done" => Moved::Out(End::Worker),
            "not started" => Moved::Out(End::NotStarted),
            _ => Moved::Out(End::Any),
        };
        let step = self.step(name, keys, moved);
        self.fold(vec![step]).await;
    }

    async fn places(&self, keys: &[&str]) -> Vec<Place> {
        let keys: Vec<_> = keys.iter().map(|key| (*key).to_owned()).collect();
        let mut places = self.store.line(PROJECT, &keys).await.unwrap().places;
        places.sort_by_key(|place| (place.waits, place.run));
        places
    }

    async fn turn(&self, name: &str, keys: &[&str]) -> Turn {
        turn(self.run(name), &self.places(keys).await)
    }
}

/// Who came first goes first; a copy does not move anybody; who goes on or ends makes room.
pub async fn a_line_is_in_the_order_of_the_log<F: StoreFixture>(fixture: &F) {
    let mut line = Line::new(fixture);
    assert_eq!(line.places(&["k"]).await, []);
    for (name, what) in [("c", "in"), ("a", "in"), ("b", "in"), ("c", "in")] {
        line.take(name, &["k"], what).await;
    }
    let waits = |name, offset| Place {
        run: line.run(name),
        waits: Some(offset),
    };
    let expected = [waits("c", 1), waits("a", 2), waits("b", 3)];
    assert_eq!(line.places(&["k"]).await, expected);
    assert_eq!(line.places(&["other"]).await, []);
    assert_eq!(line.turn("c", &["k"]).await, Turn::Now);
    assert_eq!(line.turn("b", &["k"]).await, Turn::After(2));
    line.take("c", &["k"], "on").await;
    // A late copy of its submission.
    line.take("c", &["k"], "in").await;
    assert_eq!(line.turn("c", &["k"]).await, Turn::Past);
    assert_eq!(line.turn("a", &["k"]).await, Turn::After(1));
    line.take("a", &["k"], "out").await;
    line.take("c", &["k"], "out").await;
    assert_eq!(line.turn("b", &["k"]).await, Turn::Now);
    fixture.flush().await;
    assert_eq!(line.turn("b", &["k"]).await, Turn::Unknown);
}

/// A run with two keys needs its turn at both.
pub async fn a_run_stands_at_all_its_keys<F: StoreFixture>(fixture: &F) {
    let mut line = Line::new(fixture);
    line.take("a", &["k{1}"], "on").await;
    line.take("b", &["l 2", "k{1}"], "in").await;
    line.take("c", &["l 2"], "in").await;
    assert_eq!(line.turn("b", &["l 2", "k{1}"]).await, Turn::After(1));
    assert_eq!(line.turn("c", &["l 2"]).await, Turn::After(1));
    line.take("a", &["k{1}"], "out").await;
    assert_eq!(line.turn("b", &["l 2", "k{1}"]).await, Turn::Now);
    assert_eq!(line.turn("c", &["l 2"]).await, Turn::After(1));
}

/// An end is remembered for as long as a late copy would count; a place ends by itself.
pub async fn an_ended_run_is_in_no_line_again<F: StoreFixture>(fixture: &F) {
    let mut line = Line::new(fixture);
    line.take("a", &["k"], "out").await;
    for what in ["in", "on"] {
        line.take("a", &["k"], what).await;
        assert_eq!(line.places(&["k"]).await, []);
    }
    let short = Step {
        expires: clock::add(fixture.now(), Duration::from_secs(2)),
        ..line.step("b", &["k"], Moved::On)
    };
    line.fold(vec![short]).await;
    until(fixture, "forgotten place", async || {
        line.places(&["k"]).await.is_empty()
    })
    .await;
}

/// Steps are in the write that moves the position: a batch that does not belong takes none.
pub async fn a_step_is_taken_only_where_it_belongs<F: StoreFixture>(fixture: &F) {
    let mut line = Line::new(fixture);
    let waits = vec![line.step("a", &["k"], Moved::In { offset: 1 })];
    let late = line.batch(waits.clone()).await;
    line.fold(waits).await;
    line.take("a", &["k"], "on").await;
    let late = PartitionBatch {
        steps: vec![line.step("b", &["k"], Moved::On)],
        ..late
    };
    let outcomes = line.store.fold(vec![late], line.one.now).await.unwrap();
    assert!(matches!(outcomes[..], [FoldOutcome::Moved(Some(_))]));
    assert_eq!(line.places(&["k"]).await.len(), 1);
    assert_eq!(line.turn("a", &["k"]).await, Turn::Past);
}

/// A place that is known to be an earlier one counts from then on; a later one moves nobody.
pub async fn a_place_in_line_is_the_earliest_that_is_known<F: StoreFixture>(fixture: &F) {
    let mut line = Line::new(fixture);
    for (name, at) in [("a", 11), ("b", 12), ("b", 5), ("a", 21)] {
        line.next = at - 1;
        line.take(name, &["k"], "in").await;
    }
    let places = line.places(&["k"]).await;
    let waits: Vec<_> = places.iter().map(|p| (p.run, p.waits)).collect();
    let expected = [(line.run("b"), Some(5)), (line.run("a"), Some(11))];
    assert_eq!(waits, expected);
    line.take("b", &["k"], "on").await;
    line.next = 1;
    line.take("b", &["k"], "in").await;
    assert_eq!(line.turn("b", &["k"]).await, Turn::Past);
}

/// An end that cannot be makes no room, and is not remembered.
pub async fn an_end_that_cannot_be_moves_nobody<F: StoreFixture>(fixture: &F) {
    let mut line = Line::new(fixture);
    line.take("a", &["k", "l"], "in").await;
    line.take("b", &["k"], "in").await;
    line.take("a", &["k", "l"], "done").await;
    assert_eq!(line.turn("b", &["k"]).await, Turn::After(1));
    assert_eq!(line.turn("a", &["k", "l"]).await, Turn::Now);
    line.take("a", &["k", "l"], "on").await;
    line.take("a", &["k", "l"], "begun").await;
    line.take("a", &["k", "l"], "on").await;
    line.take("a", &["k", "l"], "not started").await;
    assert_eq!(line.turn("b", &["k"]).await, Turn::After(1));
    assert_eq!(line.turn("a", &["k", "l"]).await, Turn::Past);
    line.take("a", &["k", "l"], "done").await;
    assert_eq!(line.turn("b", &["k"]).await, Turn::Now);
    line.take("b", &["k"], "not started").await;
    assert_eq!(line.places(&["k", "l"]).await, []);
    for name in ["a", "b"] {
        line.take(name, &["k"], "begun").await;
    }
    assert_eq!(line.places(&["k", "l"]).await, []);
}

/// A line says how far the log was read for it.
pub async fn a_line_has_the_newest_mark_before_it<F: StoreFixture>(fixture: &F) {
    let line = Line::new(fixture);
    let read = async || {
        let found = line.store.line(PROJECT, &["k".to_owned()]).await;
        found.unwrap().newest_mark
    };
    assert_eq!(read().await, None);
    let mark = line.one.story.at(7);
    let mut batch = line.batch(Vec::new()).await;
    batch.marks.push(("s1".to_owned(), mark));
    line.store.fold(vec![batch], line.one.now).await.unwrap();
    let mark = clock::from_unix_ms(mark.as_millisecond());
    assert_eq!(read().await, Some(mark));
}
