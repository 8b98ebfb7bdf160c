//! Jobs that run one after the other, on memory backends.
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex},
    time::Duration,
};

use crate::support::World;
use rand::{RngExt as _, SeedableRng as _, rngs::StdRng};
use tokio::time::sleep;
use vmctl_core::{
    JobId, JobState,
    bus::{Deliveries, Delivery},
    clock::{self, Clock as _},
    event::{Event, EventType, JobSpec, Mark},
    memory::bus::ConfirmFailure,
    store::project::{Entry, ProjectLimits, ProjectStore as _, Run},
    unique::{Scope, Unique},
};

const KEY: &str = "host:lx1";

fn queued(world: &World) -> JobSpec {
    JobSpec {
        unique: vec![Unique {
            key: KEY.to_owned(),
            scope: Scope::Active,
            queue: true,
        }],
        ..world.job()
    }
}

async fn submit(world: &World, job: &JobSpec) {
    let event = world.event(job, EventType::Submitted, JobState::Queued);
    publish(world, &event).await;
    mark(world).await;
}

/// What a server says every second: nobody goes on while it is not known that the view is up to date.
async fn mark(world: &World) {
    let mark = Mark {
        id: clock::new_uuid(&*world.clock),
        server: "s1".to_owned(),
        time: world.clock.now(),
    };
    // The next one serves as well.
    let _ = world.bus.publisher.publish(mark.to_message()).await;
}

/// Publishes until it is confirmed.
async fn publish(world: &World, event: &Event) {
    let publisher = &world.bus.publisher;
    while publisher.publish(event.to_message()).await.is_err() {
        sleep(Duration::from_millis(10)).await;
    }
}

async fn work(world: &World) -> Box<dyn Deliveries> {
    let consumer = &world.bus.consumer;
    consumer.consume("work.vm.create", 30).await.unwrap()
}

/// Takes the next command from the work queue; `None` when none comes in ten minutes.
async fn next(work: &mut Box<dyn Deliveries>) -> Option<Event> {
    let delivery = tokio::time::timeout(Duration::from_secs(600), work.next());
    let delivery = delivery.await.ok()??;
    let event = Event::parse(&delivery.message.body).unwrap();
    delivery.ack().await.unwrap();
    Some(event)
}

async fn end(world: &World, command: &Event) {
    let job = &command.data.job;
    let mut event = world.event(job, EventType::Succeeded, JobState::Succeeded);
    event.data.epoch = command.data.epoch;
    publish(world, &event).await;
}

async fn start(world: &World, command: &Event) {
    let mut event = world.event(&command.data.job, EventType::Started, JobState::Running);
    event.data.epoch = command.data.epoch;
    publish(world, &event).await;
}

#[tokio::test(start_paused = true)]
async fn jobs_of_one_key_run_one_after_the_other_and_workers_see_plain_commands() {
    let world = World::new().await;
    let reader = world.start("r1");
    let mut work = work(&world).await;
    let jobs: Vec<_> = (0..5).map(|_| queued(&world)).collect();
    for job in &jobs {
        submit(&world, job).await;
    }
    for job in &jobs {
        let command = next(&mut work).await.unwrap();
        assert_eq!(command.subject, job.id);
        assert_eq!(command.event_type, EventType::Submitted);
        assert!(command.is_untouched() && command.data.turn);
        // The others wait, however long this one takes.
        let early = tokio::time::timeout(Duration::from_secs(300), work.next()).await;
        assert!(early.is_err(), "{early:?}");
        start(&world, &command).await;
        world.until(job.id, JobState::Running).await;
        let ended = tokio::time::Instant::now();
        end(&world, &command).await;
        world.until(job.id, JobState::Succeeded).await;
        // Whoever is next is woken.
        assert!(ended.elapsed() < Duration::from_secs(1));
    }
    reader.stop().await;
}

#[tokio::test(start_paused = true)]
async fn who_is_woken_goes_on_at_once_and_once() {
    let world = World::new().await;
    let reader = world.start("r1");
    let mut work = work(&world).await;
    let (first, second) = (queued(&world), queued(&world));
    submit(&world, &first).await;
    submit(&world, &second).await;
    let command = next(&mut work).await.unwrap();
    start(&world, &command).await;
    sleep(Duration::from_secs(60)).await;
    let ended = tokio::time::Instant::now();
    end(&world, &command).await;
    let command = next(&mut work).await.unwrap();
    assert_eq!(command.subject, second.id);
    assert!(
        ended.elapsed() < Duration::from_secs(1),
        "{:?}",
        ended.elapsed()
    );
    start(&world, &command).await;
    // The copy that went round finds that it has gone on.
    assert!(next(&mut work).await.is_none());
    reader.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_job_that_does_not_wait_holds_up_those_that_do() {
    let world = World::new().await;
    let reader = world.start("r1");
    let mut work = work(&world).await;
    let mut first = queued(&world);
    first.unique[0].queue = false;
    submit(&world, &first).await;
    let command = next(&mut work).await.unwrap();
    let second = queued(&world);
    submit(&world, &second).await;
    assert!(next(&mut work).await.is_none());
    end(&world, &command).await;
    assert_eq!(next(&mut work).await.unwrap().subject, second.id);
    reader.stop().await;
}

/// A server has taken the key, and its command is still on its way to the log.
#[tokio::test(start_paused = true)]
async fn a_submission_that_is_under_way_is_waited_for() {
    let world = World::new().await;
    let reader = world.start("r1");
    let mut work = work(&world).await;
    let (other, job) = (world.job(), queued(&world));
    let entry = Entry {
        run: Run {
            job: other.id,
            epoch: 0,
        },
        expires: clock::add(world.clock.now(), Duration::from_secs(3600)),
        keys: [KEY.to_owned()].into(),
        frees: BTreeSet::new(),
        queue: false,
        limits: ProjectLimits::default(),
    };
    world.store.enter("demo", &entry).await.unwrap();
    submit(&world, &job).await;
    assert!(next(&mut work).await.is_none());
    // Nobody has published it.
    world.clock.advance(Duration::from_secs(31));
    mark(&world).await;
    assert_eq!(next(&mut work).await.unwrap().subject, job.id);
    reader.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_cancelled_job_leaves_the_line_and_never_runs() {
    let world = World::new().await;
    let reader = world.start("r1");
    let mut work = work(&world).await;
    let jobs: Vec<_> = (0..3).map(|_| queued(&world)).collect();
    for job in &jobs {
        submit(&world, job).await;
    }
    let command = next(&mut work).await.unwrap();
    sleep(Duration::from_secs(300)).await;
    let asked = tokio::time::Instant::now();
    let mut wish = world.event(&jobs[1], EventType::CancelRequested, JobState::Queued);
    wish.data.reason = Some("why".to_owned());
    world.publish(&wish).await;
    world.until(jobs[1].id, JobState::Cancelled).await;
    assert!(asked.elapsed() < Duration::from_secs(1));
    end(&world, &command).await;
    assert_eq!(next(&mut work).await.unwrap().subject, jobs[2].id);
    assert!(next(&mut work).await.is_none());
    reader.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_job_whose_time_is_over_leaves_the_line() {
    let world = World::new().await;
    let reader = world.start("r1");
    let mut work = work(&world).await;
    let (first, mut second, mut third) = (queued(&world), queued(&world), queued(&world));
    second.deadline = clock::add(world.clock.now(), Duration::from_secs(60));
    third.start_by = Some(clock::add(world.clock.now(), Duration::from_secs(90)));
    for job in [&first, &second, &third] {
        submit(&world, job).await;
    }
    let command = next(&mut work).await.unwrap();
    for (job, after, error) in [(&second, 61, "deadline"), (&third, 30, "start-deadline")] {
        world.clock.advance(Duration::from_secs(after));
        world.until(job.id, JobState::Failed).await;
        let record = world.record(job.id).await.unwrap();
        let told = record.winner.unwrap().body.error.unwrap();
        assert_eq!(told.error_type, error);
    }
    end(&world, &command).await;
    assert!(next(&mut work).await.is_none());
    reader.stop().await;
}

/// The work queue refuses the command, and the reader dies before it tries again.
#[tokio::test(start_paused = true)]
async fn a_turn_that_only_the_log_has_is_published_again() {
    let world = World::new().await;
    let job = queued(&world);
    submit(&world, &job).await;
    let mut passed = world.event(&job, EventType::Submitted, JobState::Queued);
    passed.data.turn = true;
    let mut only_the_log = passed.to_message();
    only_the_log.routing_key = "nowhere".parse().unwrap();
    world.bus.publisher.publish(only_the_log).await.unwrap();
    let reader = world.start("r1");
    let mut work = work(&world).await;
    let command = next(&mut work).await.unwrap();
    assert!(command.data.turn && command.subject == job.id);
    reader.stop().await;
}

/// Two keys, and a job that wants both.
#[tokio::test(start_paused = true)]
async fn a_job_with_two_keys_waits_at_both() {
    let world = World::new().await;
    let reader = world.start("r1");
    let mut work = work(&world).await;
    let other = Unique {
        key: "other".to_owned(),
        scope: Scope::Active,
        queue: true,
    };
    let (first, mut both, mut last) = (queued(&world), queued(&world), queued(&world));
    both.unique.push(other.clone());
    last.unique = vec![other];
    for job in [&first, &both, &last] {
        submit(&world, job).await;
    }
    for job in [&first, &both, &last] {
        let command = next(&mut work).await.unwrap();
        assert_eq!(command.subject, job.id);
        end(&world, &command).await;
    }
    reader.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_job_that_runs_again_joins_the_line_again() {
    let world = World::new().await;
    let reader = world.start("r1");
    let mut work = work(&world).await;
    let (first, second) = (queued(&world), queued(&world));
    submit(&world, &first).await;
    end(&world, &next(&mut work).await.unwrap()).await;
    submit(&world, &second).await;
    let holder = next(&mut work).await.unwrap();
    let mut again = world.event(&first, EventType::Redriven, JobState::Queued);
    again.data.epoch = 1;
    world.publish(&again).await;
    assert!(next(&mut work).await.is_none());
    end(&world, &holder).await;
    let command = next(&mut work).await.unwrap();
    let (epoch, kind) = (command.data.epoch, command.event_type);
    assert_eq!((command.subject, epoch), (first.id, 1));
    assert_eq!(kind, EventType::Redriven);
    reader.stop().await;
}

/// While the view is away nobody goes on; when it was lost it is read again first.
#[tokio::test(start_paused = true)]
async fn a_lost_view_lets_nobody_pass() {
    let world = World::new().await;
    let reader = world.start("r1");
    let mut work = work(&world).await;
    let jobs: Vec<_> = (0..3).map(|_| queued(&world)).collect();
    submit(&world, &jobs[0]).await;
    submit(&world, &jobs[1]).await;
    let command = next(&mut work).await.unwrap();
    world.store.flush();
    submit(&world, &jobs[2]).await;
    world.until(jobs[2].id, JobState::Queued).await;
    world.store.set_down(true);
    assert!(next(&mut work).await.is_none());
    end(&world, &command).await;
    assert!(next(&mut work).await.is_none());
    world.store.set_down(false);
    for job in &jobs[1..] {
        let command = next(&mut work).await.unwrap();
        assert_eq!(command.subject, job.id);
        end(&world, &command).await;
    }
    reader.stop().await;
}

/// What a worker of the kind does: each job once, whatever copies come.
#[derive(Default)]
struct Ran {
    running: BTreeSet<JobId>,
    order: Vec<JobId>,
}

/// Runs jobs for ever, many at a time if they let it.
async fn worker(world: Arc<World>, ran: Arc<Mutex<Ran>>) {
    let mut work = work(&world).await;
    while let Some(delivery) = work.next().await {
        let (world, ran) = (Arc::clone(&world), Arc::clone(&ran));
        tokio::spawn(async move { run(&world, &ran, delivery).await });
    }
}

async fn run(world: &World, ran: &Mutex<Ran>, delivery: Delivery) {
    let command = Event::parse(&delivery.message.body).unwrap();
    let fresh = {
        let mut ran = ran.lock().unwrap();
        let fresh = !ran.order.contains(&command.subject);
        if fresh {
            assert!(ran.running.is_empty(), "two run at once");
            ran.order.push(command.subject);
            ran.running.insert(command.subject);
        }
        fresh
    };
    if fresh {
        start(world, &command).await;
        let work = rand::random_range(1..4_000);
        sleep(Duration::from_millis(work)).await;
        ran.lock().unwrap().running.remove(&command.subject);
        end(world, &command).await;
    }
    delivery.ack().await.unwrap();
}

/// Kills and starts readers, forgets the view, and loses confirms, for ever.
async fn trouble(world: Arc<World>, seed: u64) {
    let mut random = StdRng::seed_from_u64(seed);
    let mut readers = BTreeMap::new();
    for round in 0.. {
        let name = format!("r{}", round % 2);
        readers.insert(name.clone(), world.start(&format!("{name}-{round}")));
        sleep(Duration::from_micros(random.random_range(0..9_000_000))).await;
        match random.random_range(0..6) {
            0 => world.store.flush(),
            1 => world.broker.fail_next_confirms(1, ConfirmFailure::Nacked),
            2 => world.broker.fail_next_confirms(1, ConfirmFailure::Lost),
            _ => {}
        }
        let next = format!("r{}", (round + 1) % 2);
        if let Some(reader) = readers.remove(&next) {
            reader.kill();
        }
    }
}

/// Twenty jobs under one key, two readers that are killed at any place, a view that is lost: never two at
/// once, all end, and in the order in which they were submitted.
#[tokio::test(start_paused = true)]
async fn twenty_jobs_keep_their_order_whatever_breaks() {
    for seed in 0..3 {
        let world = Arc::new(World::new().await);
        let ran = Arc::new(Mutex::new(Ran::default()));
        let trouble = tokio::spawn(trouble(Arc::clone(&world), seed));
        let worker = tokio::spawn(worker(Arc::clone(&world), Arc::clone(&ran)));
        let mut submitted = Vec::new();
        for _ in 0..20 {
            let job = queued(&world);
            submit(&world, &job).await;
            submitted.push(job.id);
            sleep(Duration::from_millis(40)).await;
        }
        let all = async {
            while ran.lock().unwrap().order.len() < submitted.len() {
                sleep(Duration::from_secs(1)).await;
            }
        };
        let done = tokio::time::timeout(Duration::from_secs(3600), all).await;
        let order = ran.lock().unwrap().order.clone();
        assert!(done.is_ok(), "{seed}: {} of them ran", order.len());
        assert_eq!(order, submitted, "{seed}");
        trouble.abort();
        worker.abort();
    }
}
