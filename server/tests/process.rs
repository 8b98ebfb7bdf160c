//! `vmctl-server` as an operator meets it.
#![cfg(feature = "backends")]

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use vmctl_daemon::reference;
use vmctl_daemon::testing::{Authority, Daemon, Vhost, services};

const PROGRAM: &str = env!("CARGO_BIN_EXE_vmctl-server");
/// An address where nobody listens.
const NOBODY: &str = "127.0.0.1:9";
const CANARY: &str = "canary-of-the-server-4711";
const IN_TIME: Duration = Duration::from_secs(10);

fn start(env: &[(&str, &str)]) -> Daemon {
    let mut env = env.to_vec();
    env.push(("VMCTL_LISTEN", "127.0.0.1:0"));
    Daemon::start(Path::new(PROGRAM), &[], &env)
}

#[test]
fn serves_on_real_services_and_stops_in_time() {
    let names = [
        "VMCTL_TEST_AMQP_URL",
        "VMCTL_TEST_RABBITMQ_API",
        "VMCTL_TEST_REDIS_URL",
        "VMCTL_KEYSTONE_URL",
        "VMCTL_KEYSTONE_USERNAME",
        "VMCTL_KEYSTONE_PASSWORD",
        "VMCTL_KEYSTONE_PROJECT",
    ];
    let Some([amqp, api, redis, keystone, username, password, project]) = services(names) else {
        return;
    };
    let vhost = Vhost::new(&api, "server-process");
    let amqp = vhost.url(&amqp);
    let redis = format!("{}/13", redis.rsplit_once('/').unwrap().0);
    let mut server = start(&[
        ("VMCTL_AMQP_URL", &amqp),
        ("VMCTL_REDIS_URL", &redis),
        ("VMCTL_KEYSTONE_URL", &keystone),
        ("VMCTL_KEYSTONE_USERNAME", &username),
        ("VMCTL_KEYSTONE_PASSWORD", &password),
        ("VMCTL_KEYSTONE_PROJECT", &project),
        ("VMCTL_ID_SECRET", CANARY),
        ("VMCTL_LOG", "debug"),
    ]);
    let address = server.address();
    server.probe(address, "/health/startup", 200);
    server.probe(address, "/health/ready", 200);
    server.probe(address, "/metrics", 200);
    let discovery = server.probe(address, "/v1", 200);
    assert!(discovery.contains(&keystone), "{discovery}");
    server.signal("TERM");
    let (code, log) = server.end(IN_TIME);
    assert_eq!(code, Some(0), "{log}");
    let broker = amqp.split(['@', ':']).nth(2).unwrap();
    for secret in [CANARY, password.as_str(), broker] {
        assert!(!log.contains(secret), "a secret is in:\n{log}");
    }
}

#[test]
fn waits_for_services_that_are_absent() {
    let amqp = format!("amqp://{NOBODY}/%2f");
    let redis = format!("redis://{NOBODY}/0");
    let keystone = format!("http://{NOBODY}/v3");
    let mut server = start(&[
        ("VMCTL_AMQP_URL", &amqp),
        ("VMCTL_REDIS_URL", &redis),
        ("VMCTL_KEYSTONE_URL", &keystone),
        ("VMCTL_KEYSTONE_USERNAME", "nobody"),
        ("VMCTL_KEYSTONE_PASSWORD", CANARY),
        ("VMCTL_KEYSTONE_PROJECT", "none"),
        ("VMCTL_ID_SECRET", CANARY),
    ]);
    let address = server.address();
    server.probe(address, "/health/live", 200);
    server.probe(address, "/v1", 200);
    server.probe(address, "/health/ready", 503);
    server.signal("TERM");
    let (code, log) = server.end(IN_TIME);
    assert_eq!(code, Some(0), "{log}");
    assert!(!log.contains(CANARY), "{log}");
}

#[test]
fn what_it_cannot_do_without_is_named() {
    let all = [
        ("VMCTL_ID_SECRET", CANARY),
        ("VMCTL_KEYSTONE_URL", "http://127.0.0.1:9/v3"),
        ("VMCTL_KEYSTONE_USERNAME", "nobody"),
        ("VMCTL_KEYSTONE_PASSWORD", CANARY),
        ("VMCTL_KEYSTONE_PROJECT", "none"),
    ];
    for (absent, _) in all {
        let env: Vec<_> = all
            .into_iter()
            .filter(|(name, _)| *name != absent)
            .collect();
        let (code, log) = start(&env).end(IN_TIME);
        assert_eq!(code, Some(2), "{log}");
        assert!(log.contains(&format!("{absent} is not set")), "{log}");
        assert!(!log.contains(CANARY), "{log}");
    }
}

#[test]
fn a_secret_that_could_be_guessed_is_refused() {
    let env = [
        ("VMCTL_ID_SECRET", "fifteen bytes.."),
        ("VMCTL_KEYSTONE_URL", "http://127.0.0.1:9/v3"),
        ("VMCTL_KEYSTONE_USERNAME", "nobody"),
        ("VMCTL_KEYSTONE_PASSWORD", CANARY),
        ("VMCTL_KEYSTONE_PROJECT", "none"),
    ];
    let check = Daemon::start(Path::new(PROGRAM), &["check"], &env);
    for server in [start(&env), check] {
        let (mut server, wanted) = (server, "VMCTL_ID_SECRET has less than 16 bytes");
        let (code, log) = server.end(IN_TIME);
        assert_eq!(code, Some(2), "{log}");
        assert!(log.contains(wanted), "{log}");
        assert!(!log.contains("fifteen"), "{log}");
    }
}

#[test]
fn check_tries_each_service_and_starts_nothing() {
    let check = |env: &[(&str, &str)]| {
        let mut env = env.to_vec();
        env.push(("VMCTL_ID_SECRET", CANARY));
        Daemon::start(Path::new(PROGRAM), &["check"], &env).end(2 * IN_TIME)
    };
    let (code, said) = check(&[
        ("VMCTL_AMQP_URL", &format!("amqp://{NOBODY}/%2f")),
        ("VMCTL_REDIS_URL", &format!("redis://{NOBODY}/0")),
        ("VMCTL_KEYSTONE_URL", &format!("http://{NOBODY}/v3")),
        ("VMCTL_KEYSTONE_USERNAME", "nobody"),
        ("VMCTL_KEYSTONE_PASSWORD", CANARY),
        ("VMCTL_KEYSTONE_PROJECT", "none"),
    ]);
    assert_eq!(code, Some(1), "{said}");
    for name in [
        "rabbitmq  failing",
        "redis     failing",
        "keystone  failing",
    ] {
        assert!(said.contains(name), "{name} is not in\n{said}");
    }
    assert!(!said.contains(CANARY), "{said}");
    let (code, said) = check(&[]);
    assert_eq!(code, Some(2), "{said}");
    let (code, said) = check(&[
        ("VMCTL_KEYSTONE_URL", &format!("http://{NOBODY}/v3")),
        ("VMCTL_KEYSTONE_USERNAME", "nobody"),
        ("VMCTL_KEYSTONE_PASSWORD", CANARY),
        ("VMCTL_KEYSTONE_PROJECT", "none"),
        ("VMCTL_SEARCH_URL", &format!("http://{NOBODY}")),
    ]);
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("search    failing"), "{said}");

    let names = [
        "VMCTL_TEST_AMQP_URL",
        "VMCTL_TEST_RABBITMQ_API",
        "VMCTL_TEST_REDIS_URL",
        "VMCTL_KEYSTONE_URL",
        "VMCTL_KEYSTONE_USERNAME",
        "VMCTL_KEYSTONE_PASSWORD",
        "VMCTL_KEYSTONE_PROJECT",
    ];
    let Some([amqp, api, redis, keystone, username, password, project]) = services(names) else {
        return;
    };
    let vhost = Vhost::new(&api, "server-check");
    let amqp = vhost.url(&amqp);
    let real = [
        ("VMCTL_AMQP_URL", amqp.as_str()),
        ("VMCTL_REDIS_URL", &redis),
        ("VMCTL_KEYSTONE_URL", &keystone),
        ("VMCTL_KEYSTONE_USERNAME", &username),
        ("VMCTL_KEYSTONE_PASSWORD", &password),
        ("VMCTL_KEYSTONE_PROJECT", &project),
    ];
    let (code, said) = check(&real);
    let lines: Vec<_> = said.lines().collect();
    let nothing =
        "rabbitmq  degraded  nothing is declared yet; the program declares it, if its user may";
    assert_eq!(lines, [nothing, "redis     ok", "keystone  ok"]);
    assert_eq!(code, Some(0));
    let mut env = real;
    env[4].1 = CANARY;
    let (code, said) = check(&env);
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("keystone  failing"), "{said}");
}

/// What the start would refuse, `check` refuses; and what it would only warn of, `check` tells.
#[test]
fn check_reads_what_listeners_would_show() {
    let directory = tempfile::tempdir().unwrap();
    let place = |name: &str| directory.path().join(name).display().to_string();
    let authority = Authority::new("check");
    for name in ["one", "other"] {
        let identity = authority.issue(&["localhost"]);
        identity.write(directory.path(), name).unwrap();
    }
    let expired = authority.issue_expired(&["localhost"]);
    expired.write(directory.path(), "expired").unwrap();
    let (one, other) = (place("one.pem"), place("other.key"));
    let check = |env: &[(&str, &str)]| {
        let nobody = format!("http://{NOBODY}/v3");
        let mut all = vec![
            ("VMCTL_ID_SECRET", CANARY),
            ("VMCTL_KEYSTONE_URL", &nobody),
            ("VMCTL_KEYSTONE_USERNAME", "nobody"),
            ("VMCTL_KEYSTONE_PASSWORD", CANARY),
            ("VMCTL_KEYSTONE_PROJECT", "none"),
        ];
        all.extend(env);
        Daemon::start(Path::new(PROGRAM), &["check"], &all).end(2 * IN_TIME)
    };
    for (env, told) in [
        (
            &[("VMCTL_TLS_CERT_FILE", one.as_str())][..],
            "VMCTL_TLS_CERT_FILE needs VMCTL_TLS_KEY_FILE",
        ),
        (
            &[
                ("VMCTL_TLS_CERT_FILE", &one),
                ("VMCTL_TLS_KEY_FILE", &other),
            ],
            "is not that of the certificate",
        ),
        (
            &[("VMCTL_DRAIN_DELAY", "25s")],
            "25s leaves nothing of the drain timeout, 25s",
        ),
    ] {
        let (code, said) = check(env);
        assert_eq!(code, Some(2), "{said}");
        assert!(said.contains(told), "{said}");
    }
    let (_, said) = check(&[
        ("VMCTL_TLS_CERT_FILE", &place("expired.pem")),
        ("VMCTL_TLS_KEY_FILE", &place("expired.key")),
        ("VMCTL_OTLP_ENDPOINT", &format!("http://{NOBODY}")),
    ]);
    for told in [
        "certificate  degraded  the certificate has expired: ",
        "collector    degraded  error sending",
    ] {
        assert!(said.contains(told), "{said}");
    }
}

#[test]
fn a_topology_that_cannot_be_asked_for_is_no_difference() {
    let check = |name: &str, url: &str| {
        let output = Command::new(PROGRAM)
            .args(["topology", "check"])
            .env_clear()
            .env(name, url)
            .output()
            .unwrap();
        output.status.code()
    };
    let api = format!("http://{NOBODY}/api");
    assert_eq!(check("VMCTL_RABBITMQ_API", &api), Some(1));
    assert_eq!(check("VMCTL_RABBITMQ_API", "nowhere"), Some(2));
}

#[test]
fn the_effective_settings_are_printed_without_secrets() {
    let output = Command::new(PROGRAM)
        .args(["--listen", "127.0.0.1:8088", "config"])
        .env_clear()
        .env("VMCTL_ID_SECRET", CANARY)
        .env("VMCTL_KEYSTONE_PASSWORD", CANARY)
        .env("VMCTL_AMQP_URL", format!("amqp://joe:{CANARY}@broker/%2f"))
        .output()
        .unwrap();
    let printed = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success(), "{printed}");
    for line in [
        "listen = \"127.0.0.1:8088\" # --listen",
        "# id_secret: set, not shown # VMCTL_ID_SECRET",
        "# url: [\"amqp://***@broker/%2f\"], redacted # VMCTL_AMQP_URL",
        "# url: REQUIRED, not set",
    ] {
        assert!(printed.contains(line), "{line} is not in\n{printed}");
    }
    assert!(!printed.contains(CANARY), "{printed}");
}

#[test]
fn the_page_of_settings_says_what_it_takes() {
    let output = Command::new(PROGRAM).arg("reference").output().unwrap();
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/settings.md");
    let printed = String::from_utf8(output.stdout).unwrap();
    reference::check(&page, "vmctl-server", &printed).unwrap();
}

#[test]
fn registry_files_are_checked_without_any_setting() {
    let check = |directory: &Path| {
        let mut command = Command::new(PROGRAM);
        command.env_clear().args(["kinds", "check"]).arg(directory);
        command.output().unwrap()
    };
    let examples = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/kinds");
    let good = check(&examples);
    let said = String::from_utf8_lossy(&good.stdout);
    assert!(
        good.status.success() && said.contains(": report.build\n"),
        "{good:?}"
    );

    let directory = tempfile::tempdir().unwrap();
    for name in ["a", "b"] {
        let file = directory.path().join(format!("{name}.toml"));
        std::fs::write(file, format!("kind = \"a.{name}\"\n")).unwrap();
    }
    let wrong = check(directory.path());
    let said = String::from_utf8_lossy(&wrong.stdout);
    assert_eq!(said.matches("missing field").count(), 2, "{said}");
    assert_eq!(wrong.status.code(), Some(2));
    let gone = check(&directory.path().join("gone"));
    assert!(
        String::from_utf8_lossy(&gone.stderr).contains("cannot read"),
        "{gone:?}"
    );
}

#[test]
fn rules_are_checked_and_shown_without_any_setting() {
    let run = |args: &[&str]| {
        let mut command = Command::new(PROGRAM);
        let output = command.env_clear().args(args).output().unwrap();
        let text = [output.stdout, output.stderr].concat();
        (output.status.code(), String::from_utf8(text).unwrap())
    };
    let directory = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| {
        let path = directory.path().join(name);
        std::fs::write(&path, text).unwrap();
        path.into_os_string().into_string().unwrap()
    };
    let good = write(
        "good.yaml",
        "\"job:get\": \"rule:owner or rule:operator\"\n",
    );
    let (code, said) = run(&["policy", "check", &good]);
    assert_eq!(code, Some(0), "{said}");
    assert!(
        said.contains("ok     job:get: rule:owner or rule:operator\n1 rules differ"),
        "{said}"
    );
    let (code, said) = run(&["policy", "show", &good]);
    assert_eq!(code, Some(0), "{said}");
    for line in [
        "job:get: rule:owner or rule:operator    (default: role:reader and rule:owner)\n",
        "job:cancel: role:member and rule:owner\n",
        "owner: project_id:%(project_id)s\n",
    ] {
        assert!(said.contains(line), "{line} is not in\n{said}");
    }
    let wrong = write(
        "wrong.yaml",
        "x: \"@\"\n\"job:gett\": \"@\"\n\"job:get\": \"role:a,\"\n\"job:list\": \"role\"\n",
    );
    let (code, said) = run(&["policy", "check", &wrong]);
    assert_eq!(code, Some(2), "{said}");
    assert!(
        said.contains("wrong.yaml: line 4: job:list: column 1: expected a check"),
        "{said}"
    );
}

#[test]
fn it_does_not_start_with_rules_that_it_cannot_use() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("policy.yaml");
    std::fs::write(&file, "\"job:get\": \"rule:nobody\"\n").unwrap();
    let (code, log) = start(&[
        ("VMCTL_KEYSTONE_URL", "http://127.0.0.1:9/v3"),
        ("VMCTL_KEYSTONE_USERNAME", "nobody"),
        ("VMCTL_KEYSTONE_PASSWORD", CANARY),
        ("VMCTL_KEYSTONE_PROJECT", "none"),
        ("VMCTL_ID_SECRET", CANARY),
        ("VMCTL_POLICY_FILE", file.to_str().unwrap()),
    ])
    .end(IN_TIME);
    assert_eq!(code, Some(2), "{log}");
    assert!(log.contains("VMCTL_POLICY_FILE"), "{log}");
    assert!(
        log.contains("policy.yaml: line 1: job:get: there is no rule nobody"),
        "{log}"
    );
}
