//! `vmctl-reader` as an operator meets it.
#![cfg(feature = "backends")]

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use vmctl_daemon::reference;
use vmctl_daemon::testing::{Daemon, Vhost, free_port, services};

const PROGRAM: &str = env!("CARGO_BIN_EXE_vmctl-reader");
/// An address where nobody listens.
const NOBODY: &str = "127.0.0.1:9";
const IN_TIME: Duration = Duration::from_secs(10);

fn start(env: &[(&str, &str)]) -> Daemon {
    let mut env = env.to_vec();
    env.push(("VMCTL_HEALTH_LISTEN", "127.0.0.1:0"));
    Daemon::start(Path::new(PROGRAM), &[], &env)
}

#[test]
fn reads_on_real_services_and_stops_in_time() {
    let names = [
        "VMCTL_TEST_AMQP_URL",
        "VMCTL_TEST_RABBITMQ_API",
        "VMCTL_TEST_REDIS_URL",
    ];
    let Some([amqp, api, redis]) = services(names) else {
        return;
    };
    let vhost = Vhost::new(&api, "reader-process");
    let amqp = vhost.url(&amqp);
    let redis = format!("{}/15", redis.rsplit_once('/').unwrap().0);
    let mut reader = start(&[("VMCTL_AMQP_URL", &amqp), ("VMCTL_REDIS_URL", &redis)]);
    let address = reader.address();
    reader.probe(address, "/health/startup", 200);
    reader.probe(address, "/health/ready", 200);
    let metrics = reader.probe(address, "/metrics", 200);
    assert!(metrics.contains("_seconds_bucket{"), "{metrics}");
    reader.signal("TERM");
    let (code, log) = reader.end(IN_TIME);
    assert_eq!(code, Some(0), "{log}");
    assert!(!log.contains("did not close in time"), "{log}");
    let password = amqp.split(['@', ':']).nth(2).unwrap();
    assert!(!log.contains(password), "{log}");
}

#[test]
fn waits_for_services_that_are_absent() {
    let amqp = format!("amqp://{NOBODY}/%2f");
    let redis = format!("redis://{NOBODY}/0");
    let mut reader = start(&[("VMCTL_AMQP_URL", &amqp), ("VMCTL_REDIS_URL", &redis)]);
    let address = reader.address();
    reader.probe(address, "/health/live", 200);
    let report = reader.probe(address, "/health/ready", 503);
    assert!(report.contains("failing"), "{report}");
    reader.signal("TERM");
    let (code, log) = reader.end(IN_TIME);
    assert_eq!(code, Some(0), "{log}");
}

#[test]
fn check_tries_each_service_and_starts_nothing() {
    let check = |amqp: &str, redis: &str| {
        let env = [("VMCTL_AMQP_URL", amqp), ("VMCTL_REDIS_URL", redis)];
        Daemon::start(Path::new(PROGRAM), &["check"], &env).end(2 * IN_TIME)
    };
    let (code, said) = check(
        &format!("amqp://{NOBODY}/%2f"),
        &format!("redis://{NOBODY}/0"),
    );
    assert_eq!(code, Some(1), "{said}");
    for name in ["rabbitmq  ", "redis     "] {
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
    let vhost = Vhost::new(&api, "reader-check");
    let amqp = vhost.url(&amqp);
    let said_of = |broker: &str| {
        let (code, said) = check(&amqp, &redis);
        assert_eq!(code, Some(0), "{said}");
        let expected = format!("rabbitmq  {broker}\nredis     ok\n");
        assert_eq!(said, expected);
    };
    said_of("degraded  nothing is declared yet; the program declares it, if its user may");
    let mut reader = start(&[("VMCTL_AMQP_URL", &amqp), ("VMCTL_REDIS_URL", &redis)]);
    let address = reader.address();
    reader.probe(address, "/health/ready", 200);
    said_of("ok");
    vhost.delete("work.vm.delete");
    said_of("degraded  not there yet: queue work.vm.delete");
}

#[test]
fn a_topology_that_differs_stops_it_and_says_how() {
    let names = ["VMCTL_TEST_AMQP_URL", "VMCTL_TEST_RABBITMQ_API"];
    let Some([amqp, api]) = services(names) else {
        return;
    };
    let vhost = Vhost::new(&api, "reader-drift");
    vhost.declare("jobs.dead", r#"{"x-queue-type":"classic"}"#);
    let mut reader = start(&[("VMCTL_AMQP_URL", &vhost.url(&amqp))]);
    let (code, log) = reader.end(Duration::from_secs(30));
    assert_eq!(code, Some(1), "{log}");
    assert!(log.contains("jobs.dead"), "{log}");
    assert!(log.contains("inequivalent arg"), "{log}");
}

#[test]
fn a_redis_that_may_drop_jobs_is_told_of() {
    if services(["VMCTL_TEST_REDIS_URL"]).is_none() {
        return;
    }
    let port = free_port().to_string();
    let evicting = ["--maxmemory-policy", "allkeys-lru", "--save", ""];
    let mut redis = Daemon::start(
        Path::new("redis-server"),
        &[&["--bind", "127.0.0.1", "--port", &port], &evicting[..]].concat(),
        &[],
    );
    redis.line("Ready to accept connections");
    let amqp = format!("amqp://{NOBODY}/%2f");
    let url = format!("redis://127.0.0.1:{port}/0");
    let mut reader = start(&[("VMCTL_AMQP_URL", &amqp), ("VMCTL_REDIS_URL", &url)]);
    let warning = reader.line("maxmemory-policy allkeys-lru");
    assert!(warning.contains("WARN"), "{warning}");
    let address = reader.address();
    let report = reader.probe(address, "/health/ready", 503);
    assert!(report.contains("noeviction"), "{report}");
}

#[test]
fn a_wrong_setting_is_named() {
    let (code, log) = start(&[("VMCTL_JOB_TTL", "soon")]).end(IN_TIME);
    assert_eq!(code, Some(2), "{log}");
    assert!(
        log.contains("VMCTL_JOB_TTL: \"soon\" is not a duration"),
        "{log}"
    );
    let (code, log) = start(&[("VMCTL_AMQP_URL", "http://x:canary@y/")]).end(IN_TIME);
    assert_eq!(code, Some(2), "{log}");
    assert!(log.contains("VMCTL_AMQP_URL"), "{log}");
    assert!(!log.contains("canary"), "{log}");
}

#[test]
fn the_page_of_settings_says_what_it_takes() {
    let output = Command::new(PROGRAM).arg("reference").output().unwrap();
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/settings.md");
    let printed = String::from_utf8(output.stdout).unwrap();
    reference::check(&page, "vmctl-reader", &printed).unwrap();
}
