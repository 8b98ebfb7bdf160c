//! The index of a project.

use super::{
    StoreFixture,
    support::{OneJob, here},
};
use crate::{event::EventType::Submitted, store::IndexKey};

/// Submits jobs at these milliseconds and returns their lines, newest first.
async fn submit(job: &OneJob, project: &str, times: &[i64]) -> Vec<IndexKey> {
    let mut lines = Vec::new();
    for (n, &ms) in times.iter().enumerate() {
        let id = job.story.job(&format!("{project}-{n}"), ms);
        let spec = job.story.spec(id, project, ms);
        let submission = job.story.submission(&spec);
        job.store.prewrite(&submission, job.now).await.unwrap();
        lines.push(IndexKey {
            created_at: spec.created_at,
            id,
        });
    }
    lines.sort_unstable();
    lines.reverse();
    lines
}

/// Reads all pages, oldest first.
async fn pages_from_the_oldest(job: &OneJob, project: &str, limit: usize) -> Vec<IndexKey> {
    let mut all: Vec<IndexKey> = Vec::new();
    loop {
        let page = job.store.list_oldest(project, all.last(), limit).await;
        let page = page.unwrap();
        assert!(page.len() <= limit);
        if page.is_empty() {
            return all;
        }
        all.extend(page);
    }
}

/// Reads all pages.
async fn pages(job: &OneJob, project: &str, limit: usize) -> Vec<IndexKey> {
    let mut all: Vec<IndexKey> = Vec::new();
    loop {
        let page = job.store.list(project, all.last(), limit).await.unwrap();
        assert!(page.len() <= limit);
        if page.is_empty() {
            return all;
        }
        all.extend(page);
    }
}

/// Every line once, oldest first, whatever the size of a page; ties are in the order of their ids.
pub async fn a_list_is_oldest_first_where_that_is_asked<F: StoreFixture>(fixture: &F) {
    let job = OneJob::new(fixture);
    let mut lines = submit(&job, "demo", &[5, 1, 900, 20, 4, 4, 4, 8]).await;
    lines.reverse();
    for limit in [1, 3, 8, 100] {
        assert_eq!(pages_from_the_oldest(&job, "demo", limit).await, lines);
    }
    assert_eq!(pages_from_the_oldest(&job, "nobody", 3).await, []);
}

/// Every line once, newest first, whatever the size of a page.
pub async fn a_list_is_newest_first_and_paged<F: StoreFixture>(fixture: &F) {
    let job = OneJob::new(fixture);
    let lines = submit(&job, "demo", &[5, 1, 900, 20, 3, 7, 8]).await;
    for limit in [1, 3, 7, 100] {
        assert_eq!(pages(&job, "demo", limit).await, lines);
    }
    assert_eq!(job.store.list("demo", None, 2).await.unwrap(), lines[..2]);
    assert_eq!(job.store.list("demo", None, 0).await.unwrap(), []);
}

/// Jobs of one millisecond are in the order of their ids, and no page loses one.
pub async fn ties_are_paged_by_id<F: StoreFixture>(fixture: &F) {
    let job = OneJob::new(fixture);
    let lines = submit(&job, "demo", &[4, 4, 4, 4, 4, 6]).await;
    for limit in [1, 2, 4] {
        assert_eq!(pages(&job, "demo", limit).await, lines);
    }
}

/// A project sees its own jobs, also when its name is that of another and something more.
pub async fn projects_are_apart<F: StoreFixture>(fixture: &F) {
    let job = OneJob::new(fixture);
    let names = ["demo", "demo2", "dem", "d}emo", "d{emo"];
    let mut all = Vec::new();
    for name in names {
        all.push(submit(&job, name, &[1, 2]).await);
    }
    for (name, lines) in names.into_iter().zip(all) {
        assert_eq!(pages(&job, name, 10).await, lines, "{name}");
    }
    assert_eq!(pages(&job, "nobody", 10).await, []);
}

/// A line that was removed is gone; the others stay; removing it again does nothing.
pub async fn unlisted_lines_are_gone<F: StoreFixture>(fixture: &F) {
    let job = OneJob::new(fixture);
    let lines = submit(&job, "demo", &[1, 2, 3, 4]).await;
    for _ in 0..2 {
        job.store.unlist("demo", &lines[1..3]).await.unwrap();
        let left = [lines[0].clone(), lines[3].clone()];
        assert_eq!(pages(&job, "demo", 10).await, left);
    }
    job.store.unlist("other", &lines).await.unwrap();
    job.store.unlist("demo", &[]).await.unwrap();
    assert_eq!(pages(&job, "demo", 10).await.len(), 2);
}

/// A rebuilt view has its lists again.
pub async fn the_fold_fills_the_index<F: StoreFixture>(fixture: &F) {
    let job = OneJob::new(fixture);
    job.fold(&[job.says(Submitted, 0, 1)]).await;
    let lines = pages(&job, "demo", 10).await;
    let expected = IndexKey {
        created_at: job.spec.created_at,
        id: job.id(),
    };
    assert_eq!(lines, [expected]);
    assert_eq!(crate::partition::Partition::of(job.id()), here());
}
