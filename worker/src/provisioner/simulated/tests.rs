//! What the port promises, on the simulation; the kinds are tested through the bus.

use serde_json::Value;
use tokio_util::sync::CancellationToken;
use vmctl_api_types::Profile;
use vmctl_core::clock::{ManualClock, from_unix_ms, new_job_id};

use super::*;
use crate::{progress, provisioner::TOMBSTONE_TTL};

struct Fixture {
    clock: Arc<ManualClock>,
    directory: tempfile::TempDir,
}

impl Fixture {
    fn new() -> Self {
        Self {
            clock: Arc::new(ManualClock::new(from_unix_ms(1_795_000_000_000))),
            directory: tempfile::tempdir().unwrap(),
        }
    }

    fn open(&self, duration: Duration) -> Simulated {
        let config = SimulatedConfig {
            directory: self.directory.path().to_owned(),
            duration,
            fail: None,
        };
        Simulated::open(config, self.clock.clone()).unwrap()
    }

    fn call(&self, job: JobId) -> Call {
        let (progress, _) = progress::channel(None, self.clock.clone(), Duration::ZERO);
        Call {
            job,
            epoch: 0,
            attempt: 1,
            worker: "w1".to_owned(),
            from: None,
            budget: Duration::from_secs(300),
            stop: CancellationToken::new(),
            lost: CancellationToken::new(),
            progress,
        }
    }

    fn spec(&self) -> VmSpec {
        VmSpec {
            job: new_job_id(&*self.clock),
            project_id: "p1".to_owned(),
            hostname: "lxone".to_owned(),
            profile: Profile {
                name: "Micro".to_owned(),
                vcpus: 1,
                ram_mib: 512,
                disk_gib: 5,
            },
            region: "North".to_owned(),
            environment: "DEV".to_owned(),
            trigram: "vmc".to_owned(),
            description: String::new(),
        }
    }

    fn effects(&self, what: &str) -> usize {
        let text = std::fs::read_to_string(self.directory.path().join("effects.jsonl"));
        text.unwrap_or_default()
            .lines()
            .map(|line| serde_json::from_str::<Value>(line).unwrap())
            .filter(|line| line["what"] == what)
            .count()
    }
}

#[test]
fn the_weights_are_percentages() {
    assert_eq!(PHASES.iter().map(|p| u32::from(p.weight)).sum::<u32>(), 100);
}

#[tokio::test]
async fn two_at_once_make_one_machine() {
    let fixture = Fixture::new();
    let spec = fixture.spec();
    let call = fixture.call(spec.job);
    let sites: Vec<_> = (0..8).map(|_| fixture.open(Duration::ZERO)).collect();
    let steps = sites.iter().map(|site| site.create(&spec, &call));
    for step in futures::future::join_all(steps).await {
        assert!(matches!(step, Ok(Step::Ready(vm)) if vm.spec == spec));
    }
    assert_eq!((fixture.effects("effect"), fixture.effects("end")), (1, 5));
    assert_eq!(sites[0].list().await.unwrap().len(), 1);
}

#[tokio::test]
async fn a_machine_whose_maker_died_before_it_said_so_is_noted_once() {
    let fixture = Fixture::new();
    let site = fixture.open(Duration::ZERO);
    for (n, done) in [FIRST_EFFECT, PHASES.len()].into_iter().enumerate() {
        let spec = fixture.spec();
        let made = Machine {
            spec: spec.clone(),
            created_at: fixture.clock.now(),
            done,
            phase: PHASES[FIRST_EFFECT].name.to_owned(),
            since: fixture.clock.now(),
            on: false,
            made_in: 0,
            run: 0,
        };
        assert!(site.0.files.create(&made).unwrap());
        for _ in 0..2 {
            site.create(&spec, &fixture.call(spec.job)).await.unwrap();
            assert_eq!(fixture.effects("effect"), n + 1);
        }
    }
}

#[tokio::test]
async fn a_deleted_machine_does_not_come_back_while_it_is_remembered() {
    let fixture = Fixture::new();
    let site = fixture.open(Duration::ZERO);
    let spec = fixture.spec();
    let call = fixture.call(spec.job);
    assert_eq!(site.observe(spec.job).await.unwrap(), Observed::Absent);
    site.create(&spec, &call).await.unwrap();

    let (one, two) = (new_job_id(&*fixture.clock), new_job_id(&*fixture.clock));
    let first = site.delete(spec.job, &fixture.call(one)).await.unwrap();
    assert!(first.existed && first.by == one);
    assert_eq!(
        site.delete(spec.job, &fixture.call(two)).await.unwrap(),
        first
    );
    assert_eq!(fixture.effects("delete"), 1);
    let observed = site.observe(spec.job).await.unwrap();
    assert_eq!(observed, Observed::Deleted(first.clone()));
    let again = site.create(&spec, &call).await;
    assert!(matches!(again, Err(ProvisionError::Gone)), "{again:?}");
    let listed = site.list().await.unwrap();
    assert_eq!(listed[0].deleted.as_ref(), Some(&first));

    fixture.clock.advance(TOMBSTONE_TTL);
    let later = fixture.open(Duration::ZERO);
    assert_eq!(later.observe(spec.job).await.unwrap(), Observed::Absent);
}

#[tokio::test]
async fn deleting_what_is_not_there_yet_stops_its_late_creation() {
    let fixture = Fixture::new();
    let site = fixture.open(Duration::ZERO);
    let spec = fixture.spec();
    let call = fixture.call(spec.job);
    assert!(!site.delete(spec.job, &call).await.unwrap().existed);
    assert!(matches!(
        site.create(&spec, &call).await,
        Err(ProvisionError::Gone)
    ));
    assert_eq!(
        (fixture.effects("effect"), fixture.effects("delete")),
        (0, 0)
    );
    assert!(site.list().await.unwrap().is_empty());
}

#[tokio::test]
async fn a_later_run_of_the_job_makes_again_what_an_earlier_one_has_taken_back() {
    let fixture = Fixture::new();
    let site = fixture.open(Duration::ZERO);
    let spec = fixture.spec();
    let first = fixture.call(spec.job);
    let second = Call {
        epoch: 1,
        ..fixture.call(spec.job)
    };
    site.create(&spec, &first).await.unwrap();
    assert!(site.delete(spec.job, &first).await.unwrap().existed);
    let late = site.create(&spec, &first).await;
    assert!(matches!(late, Err(ProvisionError::Gone)), "{late:?}");

    let made = site.create(&spec, &second).await.unwrap();
    assert!(matches!(made, Step::Ready(_)), "{made:?}");
    assert_eq!(fixture.effects("effect"), 2);
    // Copies of the first run neither go on with it nor take it back.
    let late = site.create(&spec, &first).await;
    assert!(matches!(late, Err(ProvisionError::Gone)), "{late:?}");
    assert!(!site.delete(spec.job, &first).await.unwrap().existed);
    let observed = site.observe(spec.job).await.unwrap();
    assert!(matches!(observed, Observed::Ready(_)), "{observed:?}");
    site.create(&spec, &second).await.unwrap();
    assert_eq!(fixture.effects("effect"), 2);

    // What another job has deleted stays deleted.
    let other = new_job_id(&*fixture.clock);
    assert!(
        site.delete(spec.job, &fixture.call(other))
            .await
            .unwrap()
            .existed
    );
    let third = Call {
        epoch: 2,
        ..fixture.call(spec.job)
    };
    let gone = site.create(&spec, &third).await;
    assert!(matches!(gone, Err(ProvisionError::Gone)), "{gone:?}");
    assert_eq!(fixture.effects("delete"), 2);
}

#[tokio::test]
async fn a_run_that_goes_on_with_a_machine_keeps_it_from_the_one_before() {
    let fixture = Fixture::new();
    let slow = fixture.open(Duration::from_secs(90));
    let spec = fixture.spec();
    let first = fixture.call(spec.job);
    let made = Machine {
        spec: spec.clone(),
        created_at: fixture.clock.now(),
        done: FIRST_EFFECT,
        phase: PHASES[FIRST_EFFECT].name.to_owned(),
        since: fixture.clock.now(),
        on: false,
        made_in: 0,
        run: 0,
    };
    assert!(slow.0.files.create(&made).unwrap());
    let second = Call {
        epoch: 1,
        ..fixture.call(spec.job)
    };
    second.stop.cancel();
    let step = slow.create(&spec, &second).await.unwrap();
    assert!(matches!(step, Step::Stopped { .. }), "{step:?}");
    assert!(!slow.delete(spec.job, &first).await.unwrap().existed);
    let observed = slow.observe(spec.job).await.unwrap();
    assert!(matches!(observed, Observed::Partial { .. }), "{observed:?}");
}

#[tokio::test]
async fn whoever_lost_its_delivery_touches_nothing() {
    let fixture = Fixture::new();
    let site = fixture.open(Duration::ZERO);
    let spec = fixture.spec();
    let call = fixture.call(spec.job);
    call.lost.cancel();
    assert!(site.create(&spec, &call).await.is_err());
    assert_eq!(site.observe(spec.job).await.unwrap(), Observed::Absent);
    assert_eq!(fixture.effects("effect"), 0);
}

#[tokio::test(start_paused = true)]
async fn a_stop_ends_a_wait_at_once() {
    let fixture = Fixture::new();
    let site = fixture.open(Duration::from_secs(90));
    let spec = fixture.spec();
    let call = fixture.call(spec.job);
    call.stop.cancel();
    let before = Instant::now();
    let step = site.create(&spec, &call).await.unwrap();
    assert_eq!(step, Step::Stopped { phase: "validate" });
    assert!(before.elapsed() < Duration::from_millis(10));
}

#[tokio::test]
async fn only_a_machine_that_is_ready_is_switched() {
    let fixture = Fixture::new();
    let site = fixture.open(Duration::ZERO);
    let spec = fixture.spec();
    let call = fixture.call(spec.job);
    let absent = site.power(spec.job, PowerOp::On, &call).await;
    assert!(matches!(absent, Err(ProvisionError::Conflict(_))));
    site.create(&spec, &call).await.unwrap();
    for (op, on) in [
        (PowerOp::Off, false),
        (PowerOp::Off, false),
        (PowerOp::Reboot, true),
    ] {
        site.power(spec.job, op, &call).await.unwrap();
        assert_eq!(site.0.files.machine(spec.job).unwrap().unwrap().on, on);
    }
}

#[tokio::test]
async fn health_follows_the_directory() {
    let fixture = Fixture::new();
    let site = fixture.open(Duration::ZERO);
    assert_eq!(site.health().await, Health::Ok);
    std::fs::remove_dir_all(fixture.directory.path().join("tmp")).unwrap();
    assert!(matches!(site.health().await, Health::Failing(_)));
}
