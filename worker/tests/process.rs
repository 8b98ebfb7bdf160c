//! `vmctl-worker` as an operator meets it.
#![cfg(feature = "backends")]

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use vmctl_daemon::reference;
use vmctl_daemon::testing::{Daemon, Vhost, eventually, get, services};

const PROGRAM: &str = env!("CARGO_BIN_EXE_vmctl-worker");
/// An address where nobody listens.
const NOBODY: &str = "127.0.0.1:9";
const IN_TIME: Duration = Duration::from_secs(10);

fn start(env: &[(&str, &str)]) -> Daemon {
    let mut env = env.to_vec();
    env.push(("VMCTL_HEALTH_LISTEN", "127.0.0.1:0"));
    Daemon::start(Path::new(PROGRAM), &[], &env)
}

#[test]
fn works_on_real_services_and_stops_in_time() {
    let names = [
        "VMCTL_TEST_AMQP_URL",
        "VMCTL_TEST_RABBITMQ_API",
        "VMCTL_TEST_REDIS_URL",
    ];
    let Some([amqp, api, redis]) = services(names) else {
        return;
    };
    let vhost = Vhost::new(&api, "worker-process");
    let amqp = vhost.url(&amqp);
    let redis = format!("{}/14", redis.rsplit_once('/').unwrap().0);
    let machines = tempfile::tempdir().unwrap();
    let mut worker = start(&[
        ("VMCTL_AMQP_URL", &amqp),
        ("VMCTL_REDIS_URL", &redis),
        ("VMCTL_SIMULATED_DIR", machines.path().to_str().unwrap()),
    ]);
    let address = worker.address();
    worker.probe(address, "/health/ready", 200);
    worker.probe(address, "/metrics", 200);
    worker.signal("TERM");
    let (code, log) = worker.end(IN_TIME);
    assert_eq!(code, Some(0), "{log}");
    let password = amqp.split(['@', ':']).nth(2).unwrap();
    assert!(!log.contains(password), "{log}");
}

#[test]
fn waits_for_services_that_are_absent() {
    let amqp = format!("amqp://{NOBODY}/%2f");
    let redis = format!("redis://{NOBODY}/0");
    let machines = tempfile::tempdir().unwrap();
    let mut worker = start(&[
        ("VMCTL_AMQP_URL", &amqp),
        ("VMCTL_REDIS_URL", &redis),
        ("VMCTL_SIMULATED_DIR", machines.path().to_str().unwrap()),
    ]);
    let address = worker.address();
    worker.probe(address, "/health/live", 200);
    let report = worker.probe(address, "/health/ready", 503);
    assert!(report.contains("failing"), "{report}");
    worker.signal("TERM");
    let (code, log) = worker.end(IN_TIME);
    assert_eq!(code, Some(0), "{log}");
}

#[test]
fn check_tries_each_service_and_starts_nothing() {
    let machines = tempfile::tempdir().unwrap();
    let check = |amqp: &str, redis: &str| {
        let env = [
            ("VMCTL_AMQP_URL", amqp),
            ("VMCTL_REDIS_URL", redis),
            ("VMCTL_SIMULATED_DIR", machines.path().to_str().unwrap()),
        ];
        Daemon::start(Path::new(PROGRAM), &["check"], &env).end(2 * IN_TIME)
    };
    let (code, said) = check(
        &format!("amqp://{NOBODY}/%2f"),
        &format!("redis://{NOBODY}/0"),
    );
    assert_eq!(code, Some(1), "{said}");
    for name in ["rabbitmq     ", "redis        "] {
        let line = format!("{name}failing");
        assert!(said.contains(&line), "{line} is not in\n{said}");
    }
    let (code, said) = check("http://broker", "redis://redis");
    assert_eq!(code, Some(2), "{said}");

    let names = [
        "VMCTL_TEST_AMQP_URL",
        "VMCTL_TEST_RABBITMQ_API",
        "VMCTL_TEST_REDIS_URL",
    ];
    let Some([amqp, api, redis]) = services(names) else {
        return;
    };
    let vhost = Vhost::new(&api, "worker-check");
    let (code, said) = check(&vhost.url(&amqp), &redis);
    let lines: Vec<_> = said.lines().collect();
    assert_eq!(
        lines,
        [
            "rabbitmq     degraded  nothing is declared yet; the program declares it, if its user may",
            "redis        ok",
            "provisioner  ok"
        ]
    );
    assert_eq!(code, Some(0));
}

#[test]
fn a_provisioner_that_fails_is_part_of_readiness() {
    let amqp = format!("amqp://{NOBODY}/%2f");
    let machines = tempfile::tempdir().unwrap();
    let mut worker = start(&[
        ("VMCTL_AMQP_URL", &amqp),
        ("VMCTL_SIMULATED_DIR", machines.path().to_str().unwrap()),
    ]);
    let address = worker.address();
    let provisioner = || {
        let (_, report) = get(address, "/health/ready")?;
        let report: serde_json::Value = serde_json::from_str(&report).ok()?;
        Some(
            report["checks"]["provisioner"]["status"]
                .as_str()?
                .to_owned(),
        )
    };
    eventually("a provisioner that is well", || {
        provisioner().as_deref() == Some("ok")
    });
    fs::remove_dir_all(machines.path()).unwrap();
    eventually("a provisioner that fails", || {
        provisioner().as_deref() == Some("failing")
    });
    worker.signal("TERM");
    let (code, log) = worker.end(IN_TIME);
    assert_eq!(code, Some(0), "{log}");
}

#[test]
fn a_kind_that_nobody_implements_is_refused() {
    let machines = tempfile::tempdir().unwrap();
    refused(&[
        ("VMCTL_WORKER_KINDS", "vm.create,vm.fly", "vm.fly"),
        ("VMCTL_SIMULATED_DIR", machines.path().to_str().unwrap(), ""),
    ]);
}

#[test]
fn an_api_without_a_token_is_refused() {
    let machines = tempfile::tempdir().unwrap();
    refused(&[
        (
            "VMCTL_WORKER_API_LISTEN",
            "127.0.0.1:0",
            "VMCTL_WORKER_API_TOKEN",
        ),
        ("VMCTL_SIMULATED_DIR", machines.path().to_str().unwrap(), ""),
    ]);
}

/// Makes sure that neither a start nor `check` takes these settings, and that both say why.
fn refused(settings: &[(&str, &str, &str)]) {
    let env: Vec<_> = settings
        .iter()
        .map(|(name, value, _)| (*name, *value))
        .collect();
    for mut worker in [
        start(&env),
        Daemon::start(Path::new(PROGRAM), &["check"], &env),
    ] {
        let (code, log) = worker.end(IN_TIME);
        assert_eq!(code, Some(2), "{log}");
        assert!(settings.iter().all(|(.., why)| log.contains(why)), "{log}");
    }
}

#[test]
fn the_page_of_settings_says_what_it_takes() {
    let output = Command::new(PROGRAM).arg("reference").output().unwrap();
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/settings.md");
    let printed = String::from_utf8(output.stdout).unwrap();
    reference::check(&page, "vmctl-worker", &printed).unwrap();
}
