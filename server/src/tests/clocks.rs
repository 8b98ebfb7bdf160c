//! Marks with a wrong time, and servers whose clock is wrong: nobody is told that a job is not there, and
//! everything comes back.

use std::{sync::Arc, time::Duration};

use jiff::{SignedDuration, Timestamp};
use vmctl_core::{
    JobId,
    clock::{self, Clock, Ids, new_uuid},
    event::{Event, EventType, Mark},
    partition::Partition,
    store::{FoldStore as _, JobStore as _, PartitionBatch},
};

use super::{
    answering::second_by,
    support::{Suite, eventually},
};
use crate::{CheckState, Readiness, app::App, jobs::view, server};

/// A clock that is wrong.
struct Off(Arc<dyn Clock>, SignedDuration);

impl Clock for Off {
    fn now(&self) -> Timestamp {
        self.0.now() + self.1
    }

    fn ids(&self) -> &Ids {
        self.0.ids()
    }
}

impl Suite {
    /// A mark of anybody, at a time so many seconds from now.
    pub(super) async fn mark(&self, server: &str, seconds: i64) {
        let mark = Mark {
            id: new_uuid(&*self.app.clock),
            server: server.to_owned(),
            time: self.app.now() + SignedDuration::from_secs(seconds),
        };
        let published = self.app.bus.publisher.publish(mark.to_message());
        published.await.unwrap();
    }

    /// A server beside the first one, with a clock that differs by so many seconds.
    fn server_off_by(&self, seconds: i64) -> Arc<App> {
        let off = SignedDuration::from_secs(seconds);
        second_by(self, Arc::new(Off(Arc::clone(&self.app.clock), off)))
    }

    /// Submits a job that the view has not read, and of which no server has written a record.
    async fn unseen(&self) -> JobId {
        let (_, command) = self.job().await;
        self.set_reading(false);
        let id = clock::new_job_id(&*self.app.clock);
        let another = |event: &mut Event| {
            event.subject = id;
            event.data.job.id = id;
        };
        self.say(&command, EventType::Submitted, another).await;
        id
    }

    /// Has every partition pass a mark where it stands, as a reader whose clock says `now`.
    async fn pass(&self, server: &str, mark: Timestamp, now: Timestamp) {
        let states = self.store.partitions().await.unwrap();
        let batches = Partition::all().zip(states).map(|(partition, state)| {
            let position = state.position.unwrap();
            PartitionBatch {
                partition,
                expected: Some(position.clone()),
                position,
                facts: Vec::new(),
                steps: Vec::new(),
                marks: vec![(server.to_owned(), mark)],
                bad: Vec::new(),
                first_time: None,
            }
        });
        self.store.fold(batches.collect(), now).await.unwrap();
    }
}

async fn ask(app: &App, id: JobId) -> String {
    match view::find_of(app, "demo", id).await {
        Ok(record) => record.state().unwrap().to_string(),
        Err(error) => error.problem().problem_type.replace("/problems/", ""),
    }
}

const CENTURY: i64 = 30_000_000_000;

#[tokio::test(start_paused = true)]
async fn a_mark_from_the_future_makes_no_job_unknown_and_blocks_nobody() {
    let suite = Suite::start().await;
    let second = suite.server_off_by(0);
    let _tasks = server::background(&second);
    let name = suite.app.config.name.clone();
    for (server, seconds) in [
        ("evil", 7200),
        ("evil", CENTURY),
        (&name, 7200),
        ("evil", 9),
    ] {
        suite.mark(server, seconds).await;
        suite.caught_up().await;
        let id = suite.unseen().await;
        for app in [&suite.app, &second] {
            assert_eq!(ask(app, id).await, "state-rebuilding", "{server} {seconds}");
        }
        suite.set_reading(true);
        suite.caught_up().await;
        assert_eq!(ask(&suite.app, id).await, "queued");
        // The view is lost, with what the servers have seen of it.
        tokio::time::sleep(Duration::from_secs(61)).await;
        suite.store.flush();
        for app in [&suite.app, &second] {
            eventually("the job is there again", async || {
                ask(app, id).await == "queued"
            })
            .await;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_server_with_a_wrong_clock_says_so_and_harms_no_other() {
    for seconds in [7200, 11, -11, -1000] {
        let suite = Suite::start().await;
        let skewed = suite.server_off_by(seconds);
        let _tasks = server::background(&skewed);
        let readiness = Readiness::new(Arc::clone(&skewed));
        eventually("the server says so", async || {
            let checks = readiness.check().await;
            let clock = checks.into_iter().find(|c| c.name == "clock").unwrap();
            let words = if seconds > 0 { "ahead of" } else { "behind" };
            matches!(clock.state, CheckState::Degraded(text)
                if text.contains(&format!("{} s {words}", seconds.unsigned_abs())))
        })
        .await;
        let honest = Readiness::new(Arc::clone(&suite.app)).check().await;
        assert!(
            honest.iter().all(|c| c.state == CheckState::Ok),
            "{honest:?}"
        );
        suite.caught_up().await;
        // Neither is misled by the other's marks.
        let id = suite.unseen().await;
        for app in [&suite.app, &skewed] {
            assert_eq!(ask(app, id).await, "state-rebuilding", "{seconds}");
        }
        suite.set_reading(true);
        suite.caught_up().await;
        assert_eq!(ask(&suite.app, id).await, "queued");
        let absent = clock::new_job_id(&*suite.app.clock);
        assert_eq!(ask(&suite.app, absent).await, "job-not-found");
        suite.store.flush();
        eventually("the job is there again", async || {
            ask(&suite.app, id).await == "queued"
        })
        .await;
    }
}

/// What an older version has left in the view.
#[tokio::test(start_paused = true)]
async fn a_view_with_a_mark_from_the_future_is_healed() {
    let suite = Suite::start().await;
    let (id, command) = suite.job().await;
    let id = id.parse().unwrap();
    suite.started(&command).await;
    suite.caught_up().await;
    suite.set_reading(false);
    let future = suite.app.now() + SignedDuration::from_secs(CENTURY);
    suite.pass("evil", future, future).await;
    tokio::time::sleep(Duration::from_secs(2)).await;
    let states = suite.store.partitions().await.unwrap();
    assert!(states.iter().all(|s| s.newest_mark == Some(future)));
    suite.set_reading(true);
    eventually("no mark is from the future", async || {
        let states = suite.store.partitions().await.unwrap();
        states.iter().all(|s| s.newest_mark < Some(future))
    })
    .await;
    eventually("the job is told", async || {
        ask(&suite.app, id).await == "running"
    })
    .await;
}
