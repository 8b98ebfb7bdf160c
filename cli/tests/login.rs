//! Logging in and out: what is asked, what is kept, what is refused. The file store only; the
//! keyring has its own tests.
#![cfg(unix)]
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod support;

use std::{fs, os::unix::fs::PermissionsExt as _, process::Command};

use serde_json::json;
use support::{Fake, Home, ID, Ran, Reply, Request, TOKEN, job, skip};

const PASSWORD: &str = "1234-secret";

fn discovery(auth: &serde_json::Value) -> Reply {
    Reply::ok(
        json!({"hello": "world", "product": "vmctl", "version": "0.1.0", "auth": auth, "transports": ["long-poll"]}),
    )
}

fn access() -> serde_json::Value {
    json!({"access": {"token": {"id": TOKEN, "expires": "2099-01-01T00:00:00Z", "issued_at": null,
        "tenant": {"id": "p1", "name": "demo"}},
        "user": {"id": "u1", "name": "joe", "roles": [{"name": "member"}]}, "serviceCatalog": []}})
}

/// A server whose users log in through it.
fn connecting(request: &Request) -> Reply {
    match (request.method.as_str(), request.path()) {
        ("GET", "/v1") => discovery(&json!({"type": "connect"})),
        ("POST", "/v1/connect") if request.json()["password"] == PASSWORD => Reply::ok(access()),
        ("POST", "/v1/connect") => Reply::problem(401, "login-refused", &json!({})),
        ("POST", "/v1/testtoken") => Reply::ok(access()),
        _ if request.header("x-auth-token") == Some(TOKEN) => {
            Reply::ok(job(ID, "queued", &json!({})))
        }
        _ => Reply::problem(401, "token-missing", &json!({})),
    }
}

fn login(home: &Home, fake: &Fake, more: &[&str], password: &str) -> Ran {
    let mut arguments = vec![
        "login",
        "--username",
        "joe",
        "--password-stdin",
        "--store",
        "file",
    ];
    arguments.extend(more);
    let mut command = home.command(&arguments);
    command.env("VMCTL_ENDPOINT", fake.url());
    let ran = Ran::with_input(&mut command, password);
    assert!(
        !ran.stdout.contains(PASSWORD) && !ran.stderr.contains(PASSWORD),
        "{ran:?}"
    );
    ran
}

/// Runs without the endpoint in the environment: what the login saved must do.
fn run(home: &Home, arguments: &[&str]) -> Ran {
    Ran::of(&mut home.command(arguments))
}

#[test]
fn a_login_is_kept_used_shown_and_wiped() {
    let fake = Fake::start(connecting);
    let home = Home::new();
    login(
        &home,
        &fake,
        &["--project", "demo"],
        &format!("{PASSWORD}\n"),
    )
    .expect(0)
    .says("as joe, project demo until 2099-01-01 00:00 UTC")
    .says("credentials.json");
    let body = fake.seen()[1].json();
    assert_eq!(
        (body["login"].as_str(), body["project"].as_str()),
        (Some("joe"), Some("demo"))
    );

    let credentials = home.path(".local/share/vmctl/credentials.json");
    let mode = |path: &std::path::Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(
        (mode(&credentials), mode(credentials.parent().unwrap())),
        (0o600, 0o700)
    );
    let config = home.read(".config/vmctl/config.toml");
    assert!(
        config.contains("store = \"file\"") && config.contains("username = \"joe\""),
        "{config}"
    );
    assert!(
        !config.contains(TOKEN) && !config.contains(PASSWORD),
        "{config}"
    );

    run(&home, &["job", "show", ID]).expect(0);
    let who = run(&home, &["whoami", "-o", "json"]).expect(0).json();
    assert_eq!(
        (
            who["user"].as_str(),
            who["project"].as_str(),
            who["confirmed"].as_bool()
        ),
        (Some("joe"), Some("demo"), Some(true))
    );
    assert!(
        who["token_from"]
            .as_str()
            .unwrap()
            .ends_with("credentials.json")
    );

    run(&home, &["logout"]).expect(0).says("Logged out");
    assert!(!credentials.exists());
    run(&home, &["job", "list"]).expect(4).says("not logged in");
    run(&home, &["logout"]).expect(0).says("nothing to do");
}

#[test]
fn the_saved_token_goes_to_its_own_server_only() {
    let fake = Fake::start(connecting);
    let other = Fake::start(connecting);
    let home = Home::new();
    login(&home, &fake, &[], PASSWORD).expect(0);
    run(&home, &["job", "list", "--endpoint", &other.url()])
        .expect(4)
        .says("is sent nowhere else");
    assert!(other.seen().is_empty());
}

#[test]
fn a_wrong_password_is_not_a_network_failure() {
    let fake = Fake::start(connecting);
    login(&Home::new(), &fake, &[], "wrong")
        .expect(4)
        .says("user name or password refused");
    // Sent once: a lockout must not be of our making.
    assert_eq!(fake.seen().len(), 2);

    let fake = Fake::start(|request| match request.path() {
        "/v1" => connecting(request),
        _ => Reply::problem(503, "auth-unavailable", &json!({})),
    });
    login(&Home::new(), &fake, &[], PASSWORD)
        .expect(20)
        .says("cannot answer right now");
}

#[test]
fn what_is_missing_is_named_when_nobody_can_be_asked() {
    let fake = Fake::start(connecting);
    let home = Home::new();
    let with = |arguments: &[&str]| home.run_with(&fake, arguments, &[]);
    with(&["login", "--store", "file"])
        .expect(4)
        .says("--username");
    with(&["login", "--store", "file", "--username", "joe"])
        .expect(4)
        .says("--password-stdin");
    assert!(fake.seen().iter().all(|request| request.path() == "/v1"));
    login(&home, &fake, &[], "").expect(4).says("empty");
}

#[test]
fn a_token_in_the_environment_refuses_a_login() {
    let fake = Fake::start(connecting);
    let ran = Home::new()
        .run(&fake, &["login", "--username", "joe", "--store", "file"])
        .expect(3);
    ran.says("VMCTL_TOKEN is set").says("unset VMCTL_TOKEN");
    assert!(fake.seen().is_empty());
}

#[test]
fn a_file_that_others_can_read_is_refused() {
    let fake = Fake::start(connecting);
    let home = Home::new();
    login(&home, &fake, &[], PASSWORD).expect(0);
    let credentials = home.path(".local/share/vmctl/credentials.json");
    fs::set_permissions(&credentials, fs::Permissions::from_mode(0o644)).unwrap();
    run(&home, &["job", "list"])
        .expect(14)
        .says("can be read by others")
        .says("chmod 600");
}

#[test]
fn a_store_that_cannot_be_written_is_said_before_the_password_is_sent() {
    let fake = Fake::start(connecting);
    let home = Home::new();
    fs::create_dir_all(home.path(".local")).unwrap();
    fs::write(
        home.path(".local/share"),
        "a file where the directory should be",
    )
    .unwrap();
    login(&home, &fake, &[], PASSWORD).expect(14);
    assert_eq!(fake.seen().len(), 1);
}

#[test]
fn storing_nowhere_only_checks() {
    let fake = Fake::start(connecting);
    let home = Home::new();
    let mut command = home.command(&[
        "login",
        "--username",
        "joe",
        "--password-stdin",
        "--store",
        "none",
    ]);
    Ran::with_input(command.env("VMCTL_ENDPOINT", fake.url()), PASSWORD)
        .expect(0)
        .says("not kept");
    run(&home, &["job", "list"]).expect(4);
}

#[test]
fn whoami_works_from_what_is_saved_when_the_server_is_away() {
    let fake = Fake::start(|request| match request.path() {
        "/v1/testtoken" => Reply::Raw(Vec::new()),
        _ => connecting(request),
    });
    let home = Home::new();
    login(&home, &fake, &["--project", "demo"], PASSWORD).expect(0);
    let ran = run(&home, &["whoami"]).expect(0);
    assert!(
        ran.stdout.contains("joe") && ran.stdout.contains("not confirmed"),
        "{ran:?}"
    );
    // The server, and why.
    let (_, said) = ran.stderr.split_once("cannot be reached: ").unwrap();
    assert!(!said.trim().is_empty(), "{ran:?}");
    home.run(&fake, &["whoami"]).expect(20);
}

#[test]
fn an_expired_login_says_so() {
    let fake = Fake::start(|request| match request.path() {
        "/v1" => discovery(&json!({"type": "connect"})),
        "/v1/connect" => {
            let mut access = access();
            access["access"]["token"]["expires"] = json!("2020-01-01T00:00:00Z");
            Reply::ok(access)
        }
        _ => Reply::problem(401, "token-invalid", &json!({})),
    });
    let home = Home::new();
    login(&home, &fake, &[], PASSWORD).expect(0);
    run(&home, &["job", "list"])
        .expect(4)
        .says("expired at 2020-01-01T00:00:00Z")
        .says("vmctl login");
}

// Keystone, faked where the real one cannot be made to misbehave.

fn keystone_answer(request: &Request) -> Reply {
    match request.method.as_str() {
        "DELETE" => Reply::Json(204, Vec::new(), json!(null)),
        _ if request.json()["auth"]["identity"]["password"]["user"]["password"] == PASSWORD => {
            Reply::Json(
                201,
                vec![("X-Subject-Token", TOKEN.to_owned())],
                json!({"token": {
                "methods": ["password"], "user": {"id": "u1", "name": "joe", "domain": {"id": "default", "name": "Default"}},
                "project": {"id": "p1", "name": "demo", "domain": {"id": "default", "name": "Default"}},
                "roles": [{"id": "r", "name": "member"}],
                "issued_at": "2026-11-23T17:00:00.000000Z", "expires_at": "2099-01-01T00:00:00.000000Z", "audit_ids": ["a"]}}),
            )
        }
        _ => Reply::Json(
            401,
            Vec::new(),
            json!({"error": {"code": 401, "message": "no", "title": "Unauthorized"}}),
        ),
    }
}

fn pointing_at(keystone: &str) -> Fake {
    let url = format!("{keystone}/v3");
    Fake::start(move |request| match request.path() {
        "/v1" => discovery(&json!({"type": "keystone", "url": url})),
        _ => connecting(request),
    })
}

#[test]
fn with_keystone_the_password_never_passes_through_the_server() {
    let keystone = Fake::start(keystone_answer);
    let fake = pointing_at(&keystone.url());
    let home = Home::new();
    login(
        &home,
        &fake,
        &["--project", "demo", "--user-domain", "Other"],
        PASSWORD,
    )
    .expect(0)
    .says("project demo");
    assert!(
        fake.seen()
            .iter()
            .all(|request| !request.body.contains(PASSWORD))
    );
    let sent = keystone.seen()[0].json();
    assert_eq!(
        sent["auth"]["identity"]["password"]["user"]["domain"]["name"],
        "Other"
    );
    assert_eq!(sent["auth"]["scope"]["project"]["name"], "demo");

    run(&home, &["logout"]).expect(0).says("revoked");
    let revoked = keystone.seen().pop().unwrap();
    assert_eq!(
        (revoked.method.as_str(), revoked.header("x-subject-token")),
        ("DELETE", Some(TOKEN))
    );
}

#[test]
fn keystone_refusing_and_keystone_being_away_are_two_things() {
    let keystone = Fake::start(keystone_answer);
    login(&Home::new(), &pointing_at(&keystone.url()), &[], "wrong")
        .expect(4)
        .says("refused");

    let away = Fake::start(|_| Reply::Raw(Vec::new()));
    let ran = login(&Home::new(), &pointing_at(&away.url()), &[], PASSWORD)
        .expect(20)
        .says("cannot be reached");
    assert!(!ran.stderr.contains("refused"), "{ran:?}");
}

#[test]
fn another_keystone_than_before_gets_no_password() {
    let (one, two) = (Fake::start(keystone_answer), Fake::start(keystone_answer));
    let which = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(false));
    let (urls, moved) = ([one.url(), two.url()], std::sync::Arc::clone(&which));
    let fake = Fake::start(move |_| {
        let url = &urls[usize::from(moved.load(std::sync::atomic::Ordering::SeqCst))];
        discovery(&json!({"type": "keystone", "url": format!("{url}/v3")}))
    });
    let home = Home::new();
    login(&home, &fake, &[], PASSWORD).expect(0);
    which.store(true, std::sync::atomic::Ordering::SeqCst);
    login(&home, &fake, &[], PASSWORD)
        .expect(3)
        .says("names another Keystone")
        .says("vmctl logout");
    assert!(two.seen().is_empty());
    run(&home, &["logout"]).expect(0);
    login(&home, &fake, &[], PASSWORD).expect(0);
}

#[test]
fn a_logout_that_cannot_revoke_says_so_and_forgets_all_the_same() {
    let keystone = Fake::start(|request| match request.method.as_str() {
        "DELETE" => Reply::Raw(Vec::new()),
        _ => keystone_answer(request),
    });
    let home = Home::new();
    login(&home, &pointing_at(&keystone.url()), &[], PASSWORD).expect(0);
    run(&home, &["logout"]).expect(0).says("not revoked");
    assert!(!home.path(".local/share/vmctl/credentials.json").exists());
}

#[test]
fn the_real_keystone_logs_in_and_revokes() {
    let Ok(url) = std::env::var("VMCTL_TEST_KEYSTONE_URL") else {
        return skip("VMCTL_TEST_KEYSTONE_URL is not set");
    };
    let root = url.trim_end_matches('/').trim_end_matches("/v3").to_owned();
    let env =
        |name: &str, default: &str| std::env::var(name).unwrap_or_else(|_| default.to_owned());
    let (user, password) = (
        env("VMCTL_TEST_USER", "joe"),
        env("VMCTL_TEST_PASSWORD", "1234"),
    );
    let project = env("VMCTL_TEST_PROJECT", "demo");
    let fake = pointing_at(&root);
    let home = Home::new();
    let with = |project: &[&str], password: &str| {
        let mut arguments = vec![
            "login",
            "--username",
            &user,
            "--password-stdin",
            "--store",
            "file",
        ];
        arguments.extend(project);
        let mut command: Command = home.command(&arguments);
        Ran::with_input(command.env("VMCTL_ENDPOINT", fake.url()), password)
    };
    with(&["--project", &project], "wrong")
        .expect(4)
        .says("refused");
    with(&["--project", "no-such-project"], &password).expect(4);
    // The user's own project, when none is named.
    with(&[], &password)
        .expect(0)
        .says(&format!("project {project}"));
    with(&["--project", &project], &password).expect(0);
    run(&home, &["logout"]).expect(0).says("revoked");
}
