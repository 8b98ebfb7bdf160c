//! Lines of logs: what is kept, of whom, and for how long.

use std::time::Duration;

use jiff::Timestamp;
use vmctl_api_types::{LineId, LogLine, LogStream};

use super::{
    StoreFixture,
    support::{OneJob, said, until},
};
use crate::{
    clock,
    event::EventType::{Redriven, Started, Submitted, Succeeded},
    fact::JobFact,
    lines::{BYTES, LogChunk, MAX_LINE, MOST, SLACK},
};

/// Lines of one try, by the command and the number inside it.
fn chunk(job: &OneJob, (epoch, attempt): (u32, u32), lines: &[(u32, u32, &str)]) -> LogChunk {
    let line = |&(seq, number, text): &(u32, u32, &str)| LogLine {
        id: LineId {
            epoch,
            attempt,
            seq,
            number,
        },
        time: clock::from_unix_ms(job.now.as_millisecond()),
        stream: LogStream::Stdout,
        text: text.to_owned(),
    };
    LogChunk {
        job: job.id(),
        epoch,
        attempt,
        lines: lines.iter().map(line).collect(),
    }
}

async fn add(job: &OneJob, chunks: &[LogChunk]) {
    add_late(job, chunks, job.now).await;
}

async fn add_late(job: &OneJob, chunks: &[LogChunk], late: Timestamp) {
    job.store.add_lines(chunks, late).await.unwrap();
}

async fn texts(job: &OneJob) -> Vec<String> {
    let lines = job.store.lines(job.id()).await.unwrap();
    lines.into_iter().map(|line| line.text).collect()
}

/// Copies come once, late ones at their place.
pub async fn lines_are_kept_once_and_in_order<F: StoreFixture>(fixture: &F) {
    let job = OneJob::new(fixture);
    assert_eq!(texts(&job).await, [""; 0]);
    job.fold(&[job.says(Started, 1, 2)]).await;
    let first = chunk(&job, (0, 1), &[(1, 1, "a"), (1, 10, "d")]);
    let late = chunk(&job, (0, 1), &[(1, 9, "c"), (1, 2, "b"), (1, 1, "other")]);
    let next = chunk(&job, (0, 1), &[(2, 1, "e")]);
    add(&job, &[first.clone(), next]).await;
    add(&job, &[late, first.clone()]).await;
    assert_eq!(texts(&job).await, ["a", "b", "c", "d", "e"]);
    let lines = job.store.lines(job.id()).await.unwrap();
    assert_eq!(lines[0], first.lines[0]);
    add(&job, &[]).await;
}

/// Both bounds hold, whatever arrives.
pub async fn only_the_newest_lines_are_kept<F: StoreFixture>(fixture: &F) {
    let job = OneJob::new(fixture);
    job.fold(&[job.says(Started, 1, 2)]).await;
    let numbers: Vec<u32> = (1..=1000).collect();
    for some in numbers.chunks(SLACK / 2 + 1) {
        let lines: Vec<_> = some.iter().map(|&n| (1, n, "x")).collect();
        add(&job, &[chunk(&job, (0, 1), &lines)]).await;
    }
    let lines = job.store.lines(job.id()).await.unwrap();
    let kept: Vec<u32> = lines.iter().map(|line| line.id.number).collect();
    assert_eq!(kept, numbers[numbers.len() - MOST..]);
    let long = "\0".repeat(MAX_LINE);
    let lines: Vec<_> = (1..=100).map(|n| (2, n, long.as_str())).collect();
    add(&job, &[chunk(&job, (0, 1), &lines)]).await;
    let lines = job.store.lines(job.id()).await.unwrap();
    let bytes = |line: &LogLine| serde_json::to_vec(line).unwrap().len();
    assert!(!lines.is_empty() && lines.iter().map(bytes).sum::<usize>() <= BYTES);
    assert_eq!(lines.last().map(|line| line.id.number), Some(100));
    assert!(lines.iter().all(|line| line.id.seq == 2));
}

/// Another run's lines, and those of a try that is not to be expected, are no lines of the job.
pub async fn lines_belong_to_the_run<F: StoreFixture>(fixture: &F) {
    let job = OneJob::new(fixture);
    add(&job, &[chunk(&job, (0, 1), &[(0, 1, "unknown job")])]).await;
    assert_eq!(texts(&job).await, [""; 0]);
    job.fold(&[job.says(Started, 1, 2)]).await;
    for foreign in [(1, 1), (0, 3), (0, 1 << 30)] {
        add(&job, &[chunk(&job, foreign, &[(0, 1, "foreign")])]).await;
    }
    assert_eq!(texts(&job).await, [""; 0]);
    let next = chunk(&job, (0, 2), &[(0, 1, "faster than its event")]);
    let mine = chunk(&job, (0, 1), &[(0, 1, "mine")]);
    add(&job, &[next, mine]).await;
    assert_eq!(texts(&job).await, ["mine", "faster than its event"]);
    // What an earlier run has said stays before what the next one says.
    let again = said(Redriven, 1, 0, 9);
    let again = job.story.fact(&job.spec, &again, Some(9));
    job.fold(&[again]).await;
    add(&job, &[chunk(&job, (1, 1), &[(0, 1, "again")])]).await;
    add(&job, &[chunk(&job, (0, 1), &[(0, 2, "too late")])]).await;
    assert_eq!(
        texts(&job).await,
        ["mine", "faster than its event", "again"]
    );
}

/// The last lines and the end come by different ways; long after the end nothing is added.
pub async fn lines_of_a_job_that_has_just_ended_are_taken<F: StoreFixture>(fixture: &F) {
    let job = OneJob::new(fixture);
    job.fold(&[job.says(Submitted, 0, 1), job.says(Started, 1, 2)])
        .await;
    let end = job.says(Succeeded, 2, 3);
    let forgotten = end.expires;
    job.fold(&[end]).await;
    let last = chunk(&job, (0, 1), &[(2, 1, "last")]);
    add_late(&job, &[last], forgotten).await;
    let stray = chunk(&job, (0, 1), &[(2, 2, "stray")]);
    let after = clock::add(forgotten, Duration::from_secs(1));
    add_late(&job, &[stray], after).await;
    let other_run = chunk(&job, (1, 1), &[(0, 1, "other run")]);
    add_late(&job, &[other_run], forgotten).await;
    assert_eq!(texts(&job).await, ["last"]);
}

/// Nothing is left of a job whose record is gone.
pub async fn lines_are_forgotten_with_the_record<F: StoreFixture>(fixture: &F) {
    let job = OneJob::new(fixture);
    job.fold(&[job.says(Started, 1, 2)]).await;
    add(&job, &[chunk(&job, (0, 1), &[(1, 1, "a")])]).await;
    assert_eq!(texts(&job).await, ["a"]);
    // The end is forgotten sooner than the live record would have been.
    let end = JobFact {
        expires: clock::add(job.now, Duration::from_secs(2)),
        ..job.says(Succeeded, 2, 3)
    };
    job.fold(&[end]).await;
    assert_eq!(texts(&job).await, ["a"]);
    until(fixture, "end of the lines", async || {
        texts(&job).await.is_empty()
    })
    .await;
    assert_eq!(job.record().await, None);
}
