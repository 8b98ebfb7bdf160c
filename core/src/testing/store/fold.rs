//! Positions, marks, and that folding is the merge.

use jiff::SignedDuration;
use vmctl_api_types::JobState;

use super::{
    StoreFixture,
    sample::nobody,
    support::{OneJob, batch, here, merged, position, said},
};
use crate::{
    event::EventType::{
        CancelRequested, Continued, Failed, Kept, Redriven, Retry, Started, Submitted, Succeeded,
    },
    fact::JobFact,
    partition::Partition,
    store::{FoldOutcome, PartitionBatch},
};

/// A life with a retry, a cancel that came too late, a late copy and a second run.
fn life(job: &OneJob) -> Vec<JobFact> {
    let again = said(Redriven, 1, 0, 29);
    vec![
        job.says(Submitted, 0, 1),
        job.says(Started, 1, 4),
        job.says(Continued, 2, 5),
        job.says(Retry, 3, 9),
        job.says(CancelRequested, 0, 12),
        job.says(Succeeded, 5, 20),
        job.says(Failed, 4, 21),
        job.says(Kept, 0, 22),
        job.story.fact(&job.spec, &again, Some(29)),
    ]
}

/// Record and history are those of the pure merge.
pub async fn folding_gives_what_the_merge_gives<F: StoreFixture>(fixture: &F) {
    let job = OneJob::new(fixture);
    let life = life(&job);
    for facts in life.chunks(4) {
        job.fold(facts).await;
    }
    let (record, history) = merged(&life, job.now);
    assert_eq!(job.record().await, Some(record));
    assert_eq!(job.store.story(job.id()).await.unwrap().history, history);
}

/// A reader that has read everything already changes nothing, and says so.
pub async fn folding_again_changes_nothing<F: StoreFixture>(fixture: &F) {
    let job = OneJob::new(fixture);
    let life = life(&job);
    assert_eq!(job.fold(&life[..3]).await, 3);
    job.fold(&life).await;
    let before = (
        job.record().await,
        job.store.story(job.id()).await.unwrap().history,
    );
    assert_eq!(job.fold(&life).await, 0);
    let after = (
        job.record().await,
        job.store.story(job.id()).await.unwrap().history,
    );
    assert_eq!(before.0, after.0);
    assert_eq!(before.1, after.1);
}

/// Another position, by offset or by id, and nothing is written; the stored one comes back.
pub async fn a_batch_is_written_only_where_it_belongs<F: StoreFixture>(fixture: &F) {
    let job = OneJob::new(fixture);
    let store = &job.store;
    let elsewhere = batch(here(), Some(position(5)), &[job.says(Submitted, 0, 6)]);
    let outcome = store.fold(vec![elsewhere.clone()], job.now).await.unwrap();
    assert_eq!(outcome, [FoldOutcome::Moved(None)]);
    assert_eq!(job.record().await, None);

    job.fold(&[job.says(Submitted, 0, 5)]).await;
    let before = job.lookup().await;
    let mut other_id = position(5);
    other_id.id = String::new();
    for expected in [None, Some(position(4)), Some(other_id)] {
        let batch = PartitionBatch {
            expected,
            marks: vec![("s1".to_owned(), job.now)],
            bad: vec![(6, "bad".to_owned())],
            facts: vec![job.says(Started, 1, 6)],
            ..elsewhere.clone()
        };
        let outcome = store.fold(vec![batch], job.now).await.unwrap();
        assert_eq!(outcome, [FoldOutcome::Moved(Some(position(5)))]);
        assert_eq!(job.lookup().await, before);
        assert_eq!(fixture.bad(here()).await, []);
    }
    let outcome = store.fold(vec![elsewhere], job.now).await.unwrap();
    assert!(matches!(outcome[..], [FoldOutcome::Written { .. }]));
    assert_eq!(job.position().await, Some(position(6)));
}

/// One batch that does not fit holds up no other, and outcomes keep the order.
pub async fn batches_are_independent<F: StoreFixture>(fixture: &F) {
    let job = OneJob::new(fixture);
    let there = Partition::new(3).unwrap();
    let other = job.story.spec(job.story.job_in(there, "other"), "demo", 0);
    let other = job.story.fact(&other, &said(Submitted, 0, 0, 2), Some(2));
    let outcomes = job
        .store
        .fold(
            vec![
                batch(there, Some(position(9)), std::slice::from_ref(&other)),
                batch(here(), None, &[job.says(Submitted, 0, 1)]),
            ],
            job.now,
        )
        .await
        .unwrap();
    assert_eq!(
        outcomes,
        [
            FoldOutcome::Moved(None),
            FoldOutcome::Written { changed: 1 }
        ]
    );
    assert!(job.record().await.is_some());
    assert_eq!(job.store.get(other.job).await.unwrap().record, None);
    let states = job.store.partitions().await.unwrap();
    assert_eq!(states.len(), 64);
    assert_eq!(states[17].position, Some(position(1)));
    assert_eq!(states[3].position, None);
    assert_eq!(job.store.fold(Vec::new(), job.now).await.unwrap(), []);
}

/// A partition moves although none of its jobs is in the batch.
pub async fn an_empty_batch_moves_the_position<F: StoreFixture>(fixture: &F) {
    let job = OneJob::new(fixture);
    assert_eq!(job.fold(&[]).await, 0);
    assert_eq!(job.position().await, Some(position(0)));
    let mut big = batch(here(), Some(position(0)), &[]);
    big.position.offset = u64::MAX;
    big.position.id = String::new();
    let expected = big.position.clone();
    job.store.fold(vec![big], job.now).await.unwrap();
    assert_eq!(job.position().await, Some(expected));
}

/// A position is voided only if it is the expected one; records stay.
pub async fn a_voided_position_is_the_first_entry<F: StoreFixture>(fixture: &F) {
    let job = OneJob::new(fixture);
    job.fold(&[job.says(Submitted, 0, 5)]).await;
    let void = async |offset| {
        let expected = position(offset);
        job.store.void_position(here(), &expected).await.unwrap();
        job.position().await
    };
    assert_eq!(void(4).await, Some(position(5)));
    assert_eq!(void(5).await, None);
    assert_eq!(void(5).await, None);
    assert!(job.record().await.is_some());
    let first = batch(here(), None, &[job.says(Submitted, 0, 5)]);
    let outcome = job.store.fold(vec![first], job.now).await.unwrap();
    assert_eq!(outcome, [FoldOutcome::Written { changed: 0 }]);
}

/// Whatever happened to the store between two folds, the reader learns where it stands.
pub async fn a_flushed_store_starts_at_the_first_entry<F: StoreFixture>(fixture: &F) {
    let job = OneJob::new(fixture);
    job.fold(&[job.says(Submitted, 0, 5)]).await;
    fixture.flush().await;
    let next = batch(here(), Some(position(5)), &[job.says(Started, 1, 6)]);
    let outcome = job.store.fold(vec![next], job.now).await.unwrap();
    assert_eq!(outcome, [FoldOutcome::Moved(None)]);
    assert_eq!(job.lookup().await.record, None);
    job.fold(&[job.says(Submitted, 0, 5), job.says(Started, 1, 6)])
        .await;
    let state = job.record().await.and_then(|r| r.state());
    assert_eq!(state, Some(JobState::Running));
}

/// The newest mark of each server counts; those of servers gone for an hour are dropped.
pub async fn marks_are_kept_for_an_hour<F: StoreFixture>(fixture: &F) {
    let job = OneJob::new(fixture);
    let after = |minutes| {
        let later = SignedDuration::from_mins(minutes);
        job.now.checked_add(later).unwrap()
    };
    let fold = async |marks: &[(&str, i64)]| {
        let mut batch = batch(here(), job.position().await, &[]);
        let mark = |(server, minutes): &(&str, i64)| ((*server).to_owned(), after(*minutes));
        batch.marks = marks.iter().map(mark).collect();
        job.store.fold(vec![batch], after(64)).await.unwrap();
        job.lookup().await.partition
    };
    let state = fold(&[("s1", 1), ("s2", 0), ("s1", 3), ("s1", 2)]).await;
    assert_eq!(state.newest_mark, Some(after(3)));
    assert_eq!(state.marks["s1"], after(3));
    assert_eq!(state.marks["s2"], after(0));
    let state = fold(&[("s2", 60)]).await;
    assert_eq!(state.newest_mark, Some(after(60)));
    assert_eq!(state.marks.len(), 2);
    let state = fold(&[("s3", 64), ("s4", 1)]).await;
    assert_eq!(state.newest_mark, Some(after(64)));
    let servers: Vec<_> = state.marks.keys().map(String::as_str).collect();
    assert_eq!(servers, ["s2", "s3"]);
}

/// A mark from the future is forgotten, also one that a reader with another clock has believed; honest
/// ones stay. However many servers are named, some of them are kept.
pub async fn marks_from_the_future_are_forgotten<F: StoreFixture>(fixture: &F) {
    let job = OneJob::new(fixture);
    let after = |seconds| {
        job.now
            .checked_add(SignedDuration::from_secs(seconds))
            .unwrap()
    };
    let fold = async |marks: &[(&str, i64)], now| {
        let mut batch = batch(here(), job.position().await, &[]);
        let mark = |(server, seconds): &(&str, i64)| ((*server).to_owned(), after(*seconds));
        batch.marks = marks.iter().map(mark).collect();
        job.store.fold(vec![batch], now).await.unwrap();
        job.lookup().await.partition
    };
    let state = fold(&[("honest", 0), ("evil", 7200), ("fast", 10)], job.now).await;
    assert_eq!(state.newest_mark, Some(after(10)));
    let servers: Vec<_> = state.marks.keys().map(String::as_str).collect();
    assert_eq!(servers, ["fast", "honest"]);
    let state = fold(&[("evil", 7200)], after(7200)).await;
    assert_eq!(state.newest_mark, Some(after(7200)));
    let state = fold(&[("honest", 1)], job.now).await;
    assert_eq!(state.newest_mark, Some(after(1)));
    assert_eq!(state.marks.len(), 1);

    let names: Vec<_> = (0..300).map(|n| format!("s{n}")).collect();
    let many: Vec<_> = names.iter().map(|name| (name.as_str(), 2)).collect();
    let state = fold(&many, job.now).await;
    assert_eq!(
        (state.newest_mark, state.marks.len()),
        (Some(after(2)), 100)
    );
}

/// A partition that begins anew says from when on it has read every entry.
pub async fn a_partition_says_since_when_it_has_no_gap<F: StoreFixture>(fixture: &F) {
    let job = OneJob::new(fixture);
    let fold = async |ms: i64| {
        let mut batch = batch(here(), job.position().await, &[]);
        batch.first_time = Some(job.story.at(ms));
        job.store.fold(vec![batch], job.now).await.unwrap();
        job.lookup().await.partition.since
    };
    assert_eq!(fold(500).await, Some(job.story.at(500)));
    assert_eq!(fold(600).await, Some(job.story.at(500)));
    let stands = job.position().await.unwrap();
    job.store.void_position(here(), &stands).await.unwrap();
    assert_eq!(fold(700).await, Some(job.story.at(700)));
}

/// The store tells the time by which it forgets.
pub async fn the_store_tells_the_time<F: StoreFixture>(fixture: &F) {
    let told = fixture.store().time().await.unwrap();
    let differs = told.duration_since(fixture.now()).abs();
    assert!(differs < SignedDuration::from_secs(10), "{differs}");
}

/// A partition knows from when on it was built, also after it was built again.
pub async fn the_oldest_entry_is_remembered<F: StoreFixture>(fixture: &F) {
    let job = OneJob::new(fixture);
    let fold = async |ms: Option<i64>| {
        let mut batch = batch(here(), job.position().await, &[]);
        batch.first_time = ms.map(|ms| job.story.at(ms));
        job.store.fold(vec![batch], job.now).await.unwrap();
        job.lookup().await.partition.oldest
    };
    assert_eq!(fold(None).await, None);
    assert_eq!(fold(Some(500)).await, Some(job.story.at(500)));
    assert_eq!(fold(Some(700)).await, Some(job.story.at(500)));
    assert_eq!(fold(Some(300)).await, Some(job.story.at(300)));
    assert_eq!(fold(None).await, Some(job.story.at(300)));
}

/// The position moves on behind what cannot be merged; the last 100 are kept.
pub async fn what_cannot_be_merged_is_kept_in_a_bounded_list<F: StoreFixture>(fixture: &F) {
    let job = OneJob::new(fixture);
    for from in [0, 70] {
        let mut batch = batch(here(), job.position().await, &[]);
        batch.bad = (from..from + 70)
            .map(|offset| (offset, format!("why \"{offset}\"")))
            .collect();
        batch.position = position(from + 70);
        job.store.fold(vec![batch], job.now).await.unwrap();
    }
    let expected: Vec<_> = (40..140)
        .map(|offset| (offset, format!("why \"{offset}\"")))
        .collect();
    assert_eq!(fixture.bad(here()).await, expected);
    assert_eq!(job.position().await, Some(position(140)));
}

/// What a server has written ahead is there at once, and no position has moved.
pub async fn a_written_ahead_job_is_read_at_once<F: StoreFixture>(fixture: &F) {
    let job = OneJob::new(fixture);
    let submission = job.story.submission(&job.spec);
    job.store.prewrite(&submission, job.now).await.unwrap();
    let lookup = job.lookup().await;
    let record = lookup.record.unwrap();
    assert_eq!(record, merged(&[submission], job.now).0);
    assert!(record.is_accepted());
    assert_eq!(record.to_job().unwrap().input, job.spec.input);
    assert_eq!(lookup.partition.position, None);
    assert_eq!(job.store.story(job.id()).await.unwrap().history, []);
    let lines = job.store.list("demo", None, 10).await.unwrap();
    assert_eq!(lines[0].id, job.id());
}

/// The same message from the log adds its place and its history, and takes nothing away.
pub async fn the_copy_in_the_log_finds_its_place<F: StoreFixture>(fixture: &F) {
    let job = OneJob::new(fixture);
    let submission = job.story.submission(&job.spec);
    job.store.prewrite(&submission, job.now).await.unwrap();
    let copy = JobFact {
        offset: Some(7),
        confirmed: false,
        ..submission.clone()
    };
    job.fold(std::slice::from_ref(&copy)).await;
    let record = job.record().await.unwrap();
    assert_eq!(record.winner.as_ref().unwrap().offset, Some(7));
    assert_eq!(record.confirmed, Some(0));
    assert_eq!(job.store.story(job.id()).await.unwrap().history.len(), 1);
    assert_eq!(record, merged(&[copy, submission], job.now).0);
}

/// A server that repeats itself changes nothing.
pub async fn writing_ahead_again_changes_nothing<F: StoreFixture>(fixture: &F) {
    let job = OneJob::new(fixture);
    let submission = job.story.submission(&job.spec);
    job.store.prewrite(&submission, job.now).await.unwrap();
    job.fold(&[job.says(Submitted, 0, 0), job.says(Started, 1, 1)])
        .await;
    let before = job.lookup().await;
    job.store.prewrite(&submission, job.now).await.unwrap();
    assert_eq!(job.lookup().await, before);
    assert_eq!(job.store.list("demo", None, 10).await.unwrap().len(), 1);
}

/// A server that was slow does not undo what the log has said since.
pub async fn a_late_write_ahead_does_not_move_state_back<F: StoreFixture>(fixture: &F) {
    let job = OneJob::new(fixture);
    job.fold(&[job.says(Submitted, 0, 0), job.says(Succeeded, 1, 1)])
        .await;
    let submission = job.story.submission(&job.spec);
    job.store.prewrite(&submission, job.now).await.unwrap();
    let record = job.record().await.unwrap();
    assert_eq!(record.state(), Some(JobState::Succeeded));
    assert_eq!(record.confirmed, Some(0));
}

/// A cancel that is read first is no state, but is not forgotten.
pub async fn a_wish_to_cancel_decides_no_state<F: StoreFixture>(fixture: &F) {
    let job = OneJob::new(fixture);
    assert_eq!(job.fold(&[job.says(CancelRequested, 0, 3)]).await, 1);
    assert_eq!(job.record().await, None);
    assert_eq!(job.store.story(job.id()).await.unwrap().history.len(), 1);
    job.fold(&[job.says(Submitted, 0, 1)]).await;
    let record = job.record().await.unwrap();
    assert_eq!(record.cancel_requested().unwrap().at, job.story.at(3));
}

/// One answer for each id, in the order of the ids.
pub async fn many_records_come_in_the_order_asked<F: StoreFixture>(fixture: &F) {
    let job = OneJob::new(fixture);
    let specs: Vec<_> = (0..20)
        .map(|n| {
            let id = job.story.job(&format!("many-{n}"), n);
            job.story.spec(id, "demo", n)
        })
        .collect();
    for spec in &specs {
        let submission = job.story.submission(spec);
        job.store.prewrite(&submission, job.now).await.unwrap();
    }
    let mut ids: Vec<_> = specs.iter().rev().map(|s| s.id).collect();
    ids.insert(7, nobody());
    ids.push(ids[0]);
    let found = job.store.get_many(&ids).await.unwrap();
    let found: Vec<_> = found
        .into_iter()
        .map(|l| l.record.and_then(|r| r.spec).map(|s| s.spec.id))
        .collect();
    let expected: Vec<_> = ids.iter().map(|&i| (i != nobody()).then_some(i)).collect();
    assert_eq!(found, expected);
    assert_eq!(job.store.get_many(&[]).await.unwrap(), []);
}

/// A job that is not there still says how far its partition is.
pub async fn an_absent_job_has_a_partition<F: StoreFixture>(fixture: &F) {
    let job = OneJob::new(fixture);
    job.fold(&[]).await;
    let absent = job.story.job_in(here(), "absent");
    let lookup = job.store.get(absent).await.unwrap();
    assert_eq!(lookup.record, None);
    assert_eq!(lookup.partition.position, Some(position(0)));
    assert_eq!(job.store.story(absent).await.unwrap().history, []);
}

/// A long history keeps its first and last entries and the ends, whatever order they came in.
pub async fn a_history_is_in_log_order_and_bounded<F: StoreFixture>(fixture: &F) {
    let job = OneJob::new(fixture);
    let facts: Vec<_> = (0..150)
        .map(|n| match n {
            30 | 31 | 60..=80 => job.says(Failed, n, u64::from(n) * 10),
            _ => job.says(Continued, n, u64::from(n) * 10),
        })
        .collect();
    let (first, last) = facts.split_at(60);
    job.fold(last).await;
    job.fold(first).await;
    let (_, expected) = merged(&facts, job.now);
    assert_eq!(expected.len(), 96);
    assert_eq!(job.store.story(job.id()).await.unwrap().history, expected);
}

/// Copies of a message at several places are one line, at the first place.
pub async fn a_message_is_in_the_history_once<F: StoreFixture>(fixture: &F) {
    let job = OneJob::new(fixture);
    let copy = |offset| JobFact {
        offset: Some(offset),
        ..job.says(Submitted, 0, 2)
    };
    job.fold(&[copy(9), job.says(Started, 1, 5)]).await;
    job.fold(&[copy(2), copy(9)]).await;
    let history = job.store.story(job.id()).await.unwrap().history;
    let offsets: Vec<_> = history.iter().map(|e| e.offset).collect();
    assert_eq!(offsets, [2, 5]);
}

/// One read gives what three would give, were nothing written between them.
pub async fn a_story_is_record_partition_and_history<F: StoreFixture>(fixture: &F) {
    let job = OneJob::new(fixture);
    let absent = job.store.story(job.id()).await.unwrap();
    assert_eq!((absent.lookup.record, absent.history.len()), (None, 0));
    job.fold(&[job.says(Submitted, 0, 2), job.says(Started, 1, 5)])
        .await;
    let tick = job.story.tick(job.id(), (0, 1), 1, 50);
    job.store.ticks(&[tick]).await.unwrap();
    let story = job.store.story(job.id()).await.unwrap();
    assert_eq!(story.lookup, job.lookup().await);
    assert_eq!(story.lookup.partition.position, Some(position(5)));
    let places: Vec<_> = story.history.iter().map(|entry| entry.offset).collect();
    assert_eq!(places, [2, 5]);
}

/// A message that names another project or another kind changes neither record nor history, ahead of the
/// log or in it; nor is progress of the job lost.
pub async fn nobody_speaks_for_another_project_or_kind<F: StoreFixture>(fixture: &F) {
    let job = OneJob::new(fixture);
    job.fold(&[job.says(Submitted, 0, 1), job.says(Started, 1, 2)])
        .await;
    let before = job.store.story(job.id()).await.unwrap();
    let mut offset = 2;
    for what in [Succeeded, Failed, Redriven, CancelRequested, Submitted] {
        let (mut project, mut kind) = (job.spec.clone(), job.spec.clone());
        "evil".clone_into(&mut project.auth.project_id);
        kind.kind = "vm.delete".parse().unwrap();
        for spec in [project, kind] {
            offset += 1;
            let epoch = u32::from(what == Redriven);
            let lie = said(what, epoch, 9, offset);
            let lie = job.story.fact(&spec, &lie, Some(offset));
            job.store.prewrite(&lie, job.now).await.unwrap();
            assert_eq!(job.fold(std::slice::from_ref(&lie)).await, 0, "{what}");
        }
    }
    let after = job.store.story(job.id()).await.unwrap();
    assert_eq!(after.lookup.record, before.lookup.record);
    assert_eq!(after.history, before.history);
    assert_eq!(job.fold(&[job.says(Succeeded, 2, 99)]).await, 1);
}
