//! Live jobs by when they were last heard of, and what keeps them.

use jiff::Timestamp;

use super::{
    StoreFixture,
    support::{OneJob, here, said},
};
use crate::{
    clock::from_unix_ms,
    event::{
        Event,
        EventType::{CancelRequested, Continued, Redriven, Started, Submitted, Succeeded},
    },
    fact::{JobFact, Retention},
    kept::kept,
    store::HeardKey,
    turn::{Moved, Step},
    unique::{Scope, Unique},
};

async fn silent(
    job: &OneJob,
    after: Option<&HeardKey>,
    at: Timestamp,
    limit: usize,
) -> Vec<HeardKey> {
    job.store.silent(here(), after, at, limit).await.unwrap()
}

fn key(fact: &JobFact) -> HeardKey {
    HeardKey {
        heard_at: from_unix_ms(fact.time.as_millisecond()),
        id: fact.job,
    }
}

/// Longest silence first, each once, whatever the size of a page.
pub async fn silent_jobs_are_paged_longest_silence_first<F: StoreFixture>(fixture: &F) {
    let job = OneJob::new(fixture);
    let mut keys = Vec::new();
    for (n, ms) in [40, 7, 7, 7, 7, 300, 2].into_iter().enumerate() {
        let id = job.story.job_in(here(), &format!("silent-{n}"));
        let spec = job.story.spec(id, "demo", ms);
        let fact = job.story.submission(&spec);
        job.store.prewrite(&fact, job.now).await.unwrap();
        keys.push(key(&fact));
    }
    keys.sort_unstable();
    for limit in [1, 2, 3, 7, 100] {
        let mut all: Vec<HeardKey> = Vec::new();
        loop {
            let page = silent(&job, all.last(), job.now, limit).await;
            assert!(page.len() <= limit);
            if page.is_empty() {
                break;
            }
            all.extend(page);
        }
        assert_eq!(all, keys, "{limit}");
    }
    let early = silent(&job, None, job.story.at(40), 100).await;
    assert_eq!(early, keys[..6]);
}

/// Any newer word of a live job counts, and none of an ended one; a late copy makes nothing newer.
pub async fn what_is_said_of_a_live_job_ends_its_silence<F: StoreFixture>(fixture: &F) {
    let job = OneJob::new(fixture);
    let heard = async || {
        let found = silent(&job, None, job.now, 10).await;
        found.into_iter().next()
    };
    assert_eq!(heard().await, None);
    let submitted = job.says(Submitted, 0, 1);
    let started = job.says(Started, 1, 20);
    job.fold(&[submitted.clone(), started.clone()]).await;
    assert_eq!(heard().await, Some(key(&started)));
    job.fold(&[submitted]).await;
    assert_eq!(heard().await, Some(key(&started)));
    let wish = job.says(CancelRequested, 0, 30);
    job.fold(std::slice::from_ref(&wish)).await;
    assert_eq!(heard().await, Some(key(&wish)));
    // Nobody is heard of later than now.
    let future = JobFact {
        time: crate::clock::add(job.now, std::time::Duration::from_secs(3600)),
        ..job.says(Continued, 2, 40)
    };
    job.fold(&[future]).await;
    assert_eq!(
        heard().await.unwrap().heard_at,
        from_unix_ms(job.now.as_millisecond())
    );
    job.fold(&[job.says(Succeeded, 3, 50)]).await;
    assert_eq!(heard().await, None);
    let again = job
        .story
        .fact(&job.spec, &said(Redriven, 1, 0, 60), Some(60));
    job.fold(std::slice::from_ref(&again)).await;
    assert_eq!(heard().await, Some(key(&again)));
}

/// What keeps a job changes nothing of its record but where its winner is read, and alone it gives the
/// same record: after a flush, from a log that has forgotten the rest.
pub async fn a_kept_alone_gives_the_record<F: StoreFixture>(fixture: &F) {
    for (epoch, last, queue) in [
        (0, Submitted, false),
        (0, Submitted, true),
        (1, Redriven, false),
        (1, Redriven, true),
        (0, Started, true),
        (1, Continued, false),
    ] {
        fixture.flush().await;
        let mut job = OneJob::new(fixture);
        job.spec.unique.push(Unique {
            key: "k".to_owned(),
            scope: Scope::Active,
            queue,
        });
        let say = |what, seq, at| {
            let said = said(what, epoch, seq, at);
            job.story.fact(&job.spec, &said, Some(at))
        };
        let opening = if epoch == 0 { Submitted } else { Redriven };
        let mut ahead = say(opening, 0, 1);
        (ahead.offset, ahead.confirmed) = (None, true);
        job.store.prewrite(&ahead, job.now).await.unwrap();
        job.fold(&[say(opening, 0, 1), say(CancelRequested, 0, 2)])
            .await;
        match last {
            Started => job.fold(&[say(Started, 1, 3)]).await,
            Continued => job.fold(&[say(Started, 1, 3), say(Continued, 2, 4)]).await,
            _ => 0,
        };
        let before = job.record().await.unwrap();
        assert_eq!(before.winner.as_ref().unwrap().event_type, last);

        let heard = silent(&job, None, job.now, 1).await.remove(0);
        let event = kept(&before, None, heard.heard_at, "/reader/r", job.now).unwrap();
        let event = Event::parse(&event.to_body()).unwrap();
        let id = event.id.to_string();
        let fact = JobFact::from_event(event, Some(9), Retention::default());
        job.fold(std::slice::from_ref(&fact)).await;
        let after = job.record().await.unwrap();
        let mut expected = before.clone();
        if let Some(winner) = &mut expected.winner {
            (winner.offset, winner.kept, winner.first) = (Some(9), true, winner.offset);
        }
        assert_eq!(after, expected);
        assert_eq!(after.etag(), before.etag());
        assert_eq!(after.to_job(), before.to_job());
        assert_eq!(silent(&job, None, job.now, 1).await, [key(&fact)]);
        // Who waits for a turn waits since then.
        let in_line = queue && matches!(last, Submitted | Redriven);
        let moved = Step::of(&fact, job.now).map(|step| step.moved);
        assert_eq!(moved == Some(Moved::In { offset: 1 }), in_line);

        fixture.flush().await;
        job.fold(&[fact]).await;
        assert_eq!(job.record().await, Some(after.clone()));
        assert!(after.is_accepted());
        let history = job.store.story(job.id()).await.unwrap().history;
        let ids: Vec<_> = history.iter().map(|e| e.event.id.as_str()).collect();
        assert_eq!(ids, [id.as_str()]);
        // What was said after that goes on from here.
        job.fold(&[say(Succeeded, 3, 10)]).await;
        assert!(job.record().await.unwrap().is_terminal());
    }
}
