//! `vm.create` and `vm.delete` on the simulation, through the bus.

use std::{collections::BTreeMap, path::Path, sync::Arc, time::Duration};

use crate::support::{Started, World, error, kind, until, vm_input};
use serde_json::{Value, json};
use tempfile::TempDir;
use vmctl_core::{
    JobId, Kind,
    event::{Event, EventType},
};
use vmctl_worker::{
    Config,
    kinds::built_in,
    provisioner::{
        Observed, Provisioner,
        simulated::{Simulated, SimulatedConfig},
    },
};

/// A world with a directory of machines.
struct Site {
    world: World,
    directory: TempDir,
    duration: Duration,
    fail: Option<&'static str>,
}

impl Site {
    async fn new(duration: Duration) -> Self {
        Self {
            world: World::new().await,
            directory: tempfile::tempdir().unwrap(),
            duration,
            fail: None,
        }
    }

    /// Each worker has its own view of the directory, as another process has.
    fn provisioner(&self) -> Arc<dyn Provisioner> {
        let config = SimulatedConfig {
            directory: self.directory.path().to_owned(),
            duration: self.duration,
            fail: self.fail.map(|rule| rule.parse().unwrap()),
        };
        Arc::new(Simulated::open(config, self.world.clock.clone()).unwrap())
    }

    fn start(&self, name: &str) -> Started {
        let handlers = built_in(&self.provisioner(), &self.world.registry);
        let config = Config {
            slots: 20,
            ..Config::new(name)
        };
        self.world.start_handlers(config, handlers)
    }

    fn create(&self, hostname: &str) -> Event {
        let mut input = vm_input();
        input["vm_hostname"] = json!(hostname);
        self.world.command(kind(), input)
    }

    fn delete(&self, hostname: &str) -> Event {
        let kind: Kind = "vm.delete".parse().unwrap();
        self.world.command(kind, json!({"vm_hostname": hostname}))
    }

    /// Makes a machine, and lets time pass so that what follows is later.
    async fn machine(&self, hostname: &str) -> JobId {
        let job = self.world.publish(&self.create(hostname)).await;
        assert_eq!(self.world.end(job).await.event_type, EventType::Succeeded);
        tokio::time::sleep(Duration::from_millis(10)).await;
        job
    }

    async fn deleted(&self, command: &Event) -> Value {
        let job = self.world.publish(command).await;
        let end = self.world.end(job).await;
        self.world.registry_accepts(&end);
        end.data.output.unwrap()["deleted"].clone()
    }

    async fn living(&self) -> Vec<JobId> {
        let vms = self.provisioner().list().await.unwrap();
        let living = vms.into_iter().filter(|vm| vm.deleted.is_none());
        living.map(|vm| vm.spec.job).collect()
    }

    /// The lines of the effect log that say `what`, counted by job.
    fn effects(&self, what: &str) -> BTreeMap<String, usize> {
        let mut jobs = BTreeMap::new();
        for line in effect_log(self.directory.path()) {
            if line["what"] == what {
                *jobs
                    .entry(line["job"].as_str().unwrap().to_owned())
                    .or_default() += 1;
            }
        }
        jobs
    }
}

fn effect_log(directory: &Path) -> Vec<Value> {
    let text = std::fs::read_to_string(directory.join("effects.jsonl")).unwrap_or_default();
    text.lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

impl World {
    /// Checks an output against its kind's schema: every promised member is there.
    fn registry_accepts(&self, end: &Event) {
        let info = self.registry.get(&end.data.job.kind).unwrap().info();
        let output = end.data.output.as_ref().unwrap();
        for member in info.output_schema["required"].as_array().unwrap() {
            assert!(output.get(member.as_str().unwrap()).is_some(), "{output}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_machine_takes_its_time_in_one_slice_for_each_phase() {
    let site = Site::new(Duration::from_secs(90)).await;
    let _worker = site.start("w1");
    let job = site.world.publish(&site.create("lxone")).await;
    let end = site.world.end(job).await;
    site.world.registry_accepts(&end);
    let output = end.data.output.unwrap();
    assert_eq!(
        (&output["vm_hostname"], &output["provider"]),
        (&json!("lxone"), &json!("simulated"))
    );
    let phases: Vec<_> = site.world.events(job)[2..7]
        .iter()
        .map(|e| e.data.checkpoint.clone().unwrap()["phase"].clone())
        .collect();
    assert_eq!(phases, ["storage", "define", "start", "boot", "ready"]);
    let took = site.world.events(job)[0]
        .time
        .duration_until(end.time)
        .as_secs();
    assert!((90..=92).contains(&took), "{took}");
    assert_eq!(
        site.effects("effect"),
        BTreeMap::from([(job.to_string(), 1)])
    );
    assert_eq!(site.effects("end").into_values().sum::<usize>(), 5);
    assert_eq!(site.living().await, [job]);
}

#[tokio::test(start_paused = true)]
async fn without_a_duration_a_machine_is_one_slice() {
    let site = Site::new(Duration::ZERO).await;
    let _worker = site.start("w1");
    let job = site.machine("lxone").await;
    assert_eq!(site.world.words(job), ["submitted", "started", "succeeded"]);
    assert_eq!(site.effects("effect").len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_machine_of_hours_is_made_in_slices_of_minutes() {
    let site = Site::new(Duration::from_secs(3000)).await;
    let _worker = site.start("w1");
    let job = site.world.publish(&site.create("lxone")).await;
    assert_eq!(site.world.end(job).await.event_type, EventType::Succeeded);
    let times: Vec<_> = site.world.events(job).iter().map(|e| e.time).collect();
    for pair in times.windows(2) {
        assert!(pair[0].duration_until(pair[1]).as_secs() <= 301);
    }
}

#[tokio::test(start_paused = true)]
async fn t03_a_killed_worker_costs_neither_a_machine_nor_its_time() {
    let site = Site::new(Duration::from_secs(90)).await;
    let worker = site.start("w1");
    let mut jobs = Vec::new();
    for n in 0..20 {
        jobs.push(site.world.publish(&site.create(&format!("lx{n}"))).await);
    }
    // All of them are in the middle of their boot.
    tokio::time::sleep(Duration::from_secs(60)).await;
    worker.kill().await;
    let workers = [site.start("w2"), site.start("w3")];
    for job in &jobs {
        let end = site.world.end(*job).await;
        assert_eq!(
            (end.event_type, end.data.attempt),
            (EventType::Succeeded, 1)
        );
    }
    let took = {
        let events = site.world.events(jobs[0]);
        events[0]
            .time
            .duration_until(events.last().unwrap().time)
            .as_secs()
    };
    assert!((90..=93).contains(&took), "{took}");
    let effects = site.effects("effect");
    assert_eq!(effects.len(), 20);
    assert!(effects.values().all(|n| *n == 1), "{effects:?}");
    assert_eq!(site.living().await.len(), 20);
    drop(workers);
}

#[tokio::test(start_paused = true)]
async fn every_command_twice_makes_and_removes_one_machine() {
    for store_is_down in [false, true] {
        let site = Site::new(Duration::from_secs(20)).await;
        site.world.store.set_down(store_is_down);
        let _workers = [site.start("w1"), site.start("w2")];
        let create = site.create("lxtwice");
        let job = create.subject;
        site.world.publish(&create).await;
        site.world.publish(&create).await;
        assert_eq!(site.world.end(job).await.event_type, EventType::Succeeded);
        tokio::time::sleep(Duration::from_secs(60)).await;
        assert_eq!(
            site.effects("effect"),
            BTreeMap::from([(job.to_string(), 1)])
        );

        let delete = site.delete("lxtwice");
        site.world.publish(&delete).await;
        assert_eq!(site.deleted(&delete).await, json!(true));
        tokio::time::sleep(Duration::from_secs(60)).await;
        assert_eq!(
            site.effects("delete"),
            BTreeMap::from([(job.to_string(), 1)])
        );
        assert!(site.living().await.is_empty());
        let ends = site.world.events(delete.subject);
        for end in ends.iter().filter(|e| e.event_type == EventType::Succeeded) {
            assert_eq!(end.data.output.as_ref().unwrap()["deleted"], json!(true));
        }

        // A late copy of the creation brings nothing back.
        site.world.publish(&create).await;
        tokio::time::sleep(Duration::from_secs(60)).await;
        assert!(site.living().await.is_empty());
        assert_eq!(site.effects("effect").len(), 1);
    }
}

#[tokio::test(start_paused = true)]
async fn a_phase_that_fails_twice_costs_two_attempts() {
    let mut site = Site::new(Duration::from_secs(10)).await;
    site.fail = Some("boot:2");
    let _worker = site.start("w1");
    let job = site.world.publish(&site.create("lxone")).await;
    let end = site.world.end(job).await;
    assert_eq!(
        (end.event_type, end.data.attempt),
        (EventType::Succeeded, 3)
    );
    assert_eq!(site.effects("effect").len(), 1);
    let retry = site.world.event(job, EventType::Retry).await;
    assert_eq!(retry.data.checkpoint, Some(json!({"phase": "boot"})));
    assert_eq!(retry.data.error.unwrap().error_type, "provisioner");
}

#[tokio::test(start_paused = true)]
async fn a_phase_that_always_fails_leaves_the_machine_and_says_so() {
    let mut site = Site::new(Duration::ZERO).await;
    site.fail = Some("start");
    let _worker = site.start("w1");
    let job = site.world.publish(&site.create("lxone")).await;
    let end = site.world.end(job).await;
    assert_eq!((end.event_type, end.data.attempt), (EventType::Failed, 5));
    assert!(
        end.data
            .error
            .unwrap()
            .detail
            .unwrap()
            .contains("left as it is")
    );
    let observed = site.provisioner().observe(job).await.unwrap();
    assert_eq!(observed, Observed::Partial { phase: "start" });
    assert_eq!(site.world.ready("jobs.dead").await, 1);
}

#[tokio::test(start_paused = true)]
async fn a_cancelled_creation_leaves_no_machine() {
    let site = Site::new(Duration::from_secs(90)).await;
    let _worker = site.start("w1");
    let job = site.world.publish(&site.create("lxone")).await;
    until("it boots", || site.world.words(job).len() >= 6).await;
    assert_eq!(site.living().await, [job]);
    site.world.cancel(job, "enough").await;
    let before = tokio::time::Instant::now();
    assert_eq!(site.world.end(job).await.event_type, EventType::Cancelled);
    assert!(before.elapsed() < Duration::from_secs(2));
    assert!(site.living().await.is_empty());
    let observed = site.provisioner().observe(job).await.unwrap();
    assert!(matches!(observed, Observed::Deleted(_)), "{observed:?}");
}

#[tokio::test(start_paused = true)]
async fn a_cancelled_creation_that_is_retried_makes_its_machine() {
    let site = Site::new(Duration::from_secs(90)).await;
    let _worker = site.start("w1");
    let command = site.create("lxone");
    let job = site.world.publish(&command).await;
    until("it boots", || site.world.words(job).len() >= 6).await;
    site.world.cancel(job, "enough").await;
    assert_eq!(site.world.end(job).await.event_type, EventType::Cancelled);

    let mut again = command;
    again.event_type = EventType::Redriven;
    again.id = vmctl_core::clock::new_uuid(&*site.world.clock);
    again.data.epoch = 1;
    site.world.publish(&again).await;
    until("the next run ends", || {
        let last = site.world.events(job).pop();
        last.is_some_and(|e| e.data.epoch == 1 && e.event_type == EventType::Succeeded)
    })
    .await;
    let observed = site.provisioner().observe(job).await.unwrap();
    assert!(matches!(observed, Observed::Ready(_)), "{observed:?}");
}

#[tokio::test(start_paused = true)]
async fn a_deadline_leaves_the_machine_where_it_is() {
    let site = Site::new(Duration::from_secs(90)).await;
    let _worker = site.start("w1");
    let mut command = site.create("lxone");
    command.data.job.deadline =
        vmctl_core::clock::add(site.world.clock.now(), Duration::from_secs(60));
    let job = site.world.publish(&command).await;
    assert_eq!(site.world.end(job).await.event_type, EventType::Deadline);
    assert_eq!(site.living().await, [job]);
}

#[tokio::test(start_paused = true)]
async fn t13_a_drained_worker_hands_its_machines_over() {
    let site = Site::new(Duration::from_secs(90)).await;
    let worker = site.start("w1");
    let job = site.world.publish(&site.create("lxone")).await;
    tokio::time::sleep(Duration::from_secs(60)).await;
    let before = tokio::time::Instant::now();
    worker.drain().await;
    assert!(before.elapsed() < Duration::from_secs(1));
    let _next = site.start("w2");
    let end = site.world.end(job).await;
    assert_eq!(
        (end.event_type, end.data.attempt),
        (EventType::Succeeded, 1)
    );
    let took = site.world.events(job)[0]
        .time
        .duration_until(end.time)
        .as_secs();
    assert!((90..=92).contains(&took), "{took}");
}

#[tokio::test(start_paused = true)]
async fn a_host_name_is_there_once_in_a_project_until_it_is_deleted() {
    let site = Site::new(Duration::ZERO).await;
    let _worker = site.start("w1");
    let first = site.machine("lxname").await;
    let other_name = site.machine("lxother").await;
    let mut foreign = site.create("lxname");
    foreign.data.job.auth.project_id = "p2".to_owned();
    site.world.publish(&foreign).await;
    site.world.end(foreign.subject).await;
    let second = site.create("LXNAME");
    site.world.publish(&second).await;
    let end = site.world.end(second.subject).await;
    assert_eq!(end.event_type, EventType::Failed);
    let refused = end.data.error.unwrap();
    assert_eq!(refused.error_type, error("conflict").error_type);
    assert!(refused.title.contains(&first.to_string()), "{refused:?}");
    tokio::time::sleep(Duration::from_millis(10)).await;

    assert_eq!(site.deleted(&site.delete("lxNAME")).await, json!(true));
    let living = site.living().await;
    assert!(!living.contains(&first) && !living.contains(&second.subject));
    for job in [other_name, foreign.subject] {
        assert!(living.contains(&job));
    }
    assert_eq!(site.deleted(&site.delete("lxnobody")).await, json!(false));
    site.machine("lxname").await;
}

#[tokio::test(start_paused = true)]
async fn a_delete_never_touches_a_machine_that_is_younger_than_itself() {
    let site = Site::new(Duration::ZERO).await;
    let delete = site.delete("lxname");
    tokio::time::sleep(Duration::from_millis(10)).await;
    let _worker = site.start("w1");
    let younger = site.machine("lxname").await;
    assert_eq!(site.deleted(&delete).await, json!(false));
    assert_eq!(site.living().await, [younger]);
}

#[tokio::test(start_paused = true)]
async fn a_repeated_delete_removes_no_second_machine() {
    let site = Site::new(Duration::ZERO).await;
    // Nobody remembers which commands ran.
    site.world.store.set_down(true);
    let _worker = site.start("w1");
    let first = site.machine("lxname").await;
    tokio::time::sleep(Duration::from_millis(10)).await;
    let delete = site.delete("lxname");
    assert_eq!(site.deleted(&delete).await, json!(true));
    let second = site.machine("lxname").await;
    site.world.publish(&delete).await;
    until("it ran again", || {
        let words = site.world.words(delete.subject);
        words.iter().filter(|w| **w == "succeeded").count() == 2
    })
    .await;
    assert_eq!(site.living().await, [second]);
    assert_eq!(
        site.effects("delete"),
        BTreeMap::from([(first.to_string(), 1)])
    );
}

#[tokio::test(start_paused = true)]
async fn deleting_a_machine_in_the_making_ends_its_creation() {
    let site = Site::new(Duration::from_secs(90)).await;
    let _worker = site.start("w1");
    let create = site.create("lxname");
    site.world.publish(&create).await;
    tokio::time::sleep(Duration::from_secs(30)).await;
    assert_eq!(site.deleted(&site.delete("lxname")).await, json!(true));
    let end = site.world.end(create.subject).await;
    assert_eq!(end.event_type, EventType::Failed);
    assert_eq!(end.data.error.unwrap().error_type, error("gone").error_type);
    assert!(site.living().await.is_empty());
}

#[tokio::test(start_paused = true)]
async fn an_input_that_no_schema_has_seen_fails_the_job() {
    let site = Site::new(Duration::ZERO).await;
    let _worker = site.start("w1");
    let mut command = site.create("lxone");
    command.data.job.input["vm_profile"] = json!("Huge");
    let job = site.world.publish(&command).await;
    let end = site.world.end(job).await;
    assert_eq!(end.data.error.unwrap().error_type, "invalid");
    assert_eq!(site.world.words(job), ["submitted", "started", "failed"]);
}
