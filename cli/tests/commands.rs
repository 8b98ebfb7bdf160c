//! Commands against a fake server: what is sent, what is printed, how it ends.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod support;

use std::{
    fs,
    io::{Read as _, Write as _},
    net::TcpListener,
};

use serde_json::{Value, json};
use support::{Fake, Home, ID, Ran, Reply, TOKEN, job};

const OTHER: &str = "0198f2a4-7c1e-7a00-8abc-1f2e3d4c5b6a";

#[test]
fn a_list_is_a_table_for_people_and_the_servers_own_json() {
    let fake = Fake::start(|_| {
        Reply::ok(json!({"items": [job(ID, "running", &json!({"new_member": 7,
            "cancel_requested_at": "2026-11-23T17:43:30Z"}))], "next_cursor": null, "incomplete": true}))
    });
    let home = Home::new();
    let ran = home
        .run(
            &fake,
            &[
                "job",
                "list",
                "--state",
                "running,failed",
                "--kind",
                "vm.create",
            ],
        )
        .expect(0);
    let mut lines = ran.stdout.lines();
    assert!(lines.next().unwrap().starts_with("ID "));
    let row = lines.next().unwrap();
    assert!(
        row.starts_with(ID) && row.contains("cancelling  vm.create  lxabc01"),
        "{row}"
    );
    let ran = ran.says("may be missing");
    let request = &fake.seen()[0];
    assert_eq!(
        request.target,
        "/v1/jobs?limit=50&state=running%2Cfailed&kind=vm.create"
    );
    assert_eq!(request.header("x-auth-token"), Some(TOKEN));
    drop(ran);

    let ran = home.run(&fake, &["jobs", "ls", "-o", "json"]).expect(0);
    assert_eq!(ran.json()["items"][0]["new_member"], 7);
}

#[test]
fn a_list_may_be_of_a_time_and_begin_with_the_oldest() {
    let fake =
        Fake::start(|_| Reply::ok(json!({"items": [], "next_cursor": null, "incomplete": false})));
    let home = Home::new();
    let list = |more: &[&str]| home.run(&fake, &[&["job", "list"], more].concat());
    list(&[
        "--created-after",
        "2026-11-24T06:00:00Z",
        "--created-before",
        "2026-11-24T07:00:00+01:00",
        "--oldest-first",
    ])
    .expect(0);
    assert_eq!(
        fake.seen()[0].target,
        "/v1/jobs?limit=50&created_after=2026-11-24T06%3A00%3A00Z\
         &created_before=2026-11-24T06%3A00%3A00Z&order=created_at"
    );
    list(&["--created-after", "yesterday"])
        .expect(2)
        .says("an instant such as 2026-11-24T06:00:00Z");
    assert_eq!(fake.seen().len(), 1);
}

#[test]
fn jobs_are_searched_by_words() {
    let fake = Fake::start(|request| {
        if request.number == 0 {
            return Reply::ok(
                json!({"items": [job(ID, "failed", &json!({}))], "next_cursor": null, "incomplete": false}),
            );
        }
        Reply::problem(501, "search-not-set-up", &json!({}))
    });
    let home = Home::new();
    let search = || home.run(&fake, &["job", "list", "--search", "lx-db-1 \"no room\""]);
    let ran = search().expect(0);
    assert!(ran.stdout.contains(ID));
    assert_eq!(
        fake.seen()[0].target,
        "/v1/jobs?limit=50&q=lx-db-1+%22no+room%22"
    );
    // Asked once: it does not get better.
    search().expect(7).says("the server cannot do this");
    assert_eq!(fake.seen().len(), 2);
}

#[test]
fn pages_are_followed_as_far_as_asked() {
    let fake = Fake::start(|request| {
        let cursor = if request.target.contains("cursor=two") {
            json!(null)
        } else {
            json!("two")
        };
        Reply::ok(
            json!({"items": [job(ID, "queued", &json!({})), job(OTHER, "failed", &json!({}))],
            "next_cursor": cursor, "incomplete": false}),
        )
    });
    let home = Home::new();
    let all = home.run(&fake, &["job", "list", "--all"]).expect(0);
    assert_eq!(all.stdout.lines().count(), 5);
    let three = home.run(&fake, &["job", "list", "--limit", "3"]).expect(0);
    assert_eq!(three.stdout.lines().count(), 4);
}

#[test]
fn a_cursor_that_does_not_move_ends_the_list() {
    let fake = Fake::start(|_| {
        Reply::ok(
            json!({"items": [job(ID, "queued", &json!({}))], "next_cursor": "same", "incomplete": false}),
        )
    });
    let ran = Home::new().run(&fake, &["job", "list", "--all"]).expect(0);
    assert_eq!((ran.stdout.lines().count(), fake.seen().len()), (3, 2));
}

#[test]
fn a_job_is_named_by_the_beginning_of_its_id() {
    let fake = Fake::start(|request| {
        if request.is("GET", "/v1/jobs") {
            let items = [
                job(ID, "queued", &json!({})),
                job(OTHER, "queued", &json!({})),
            ];
            return Reply::ok(json!({"items": items, "next_cursor": null, "incomplete": false}));
        }
        assert_eq!(request.path(), format!("/v1/jobs/{ID}"));
        Reply::ok(job(
            ID,
            "failed",
            &json!({"error": {"type": "quota", "title": "No room", "retryable": false}}),
        ))
    });
    let home = Home::new();
    let ran = home.run(&fake, &["vm", "show", "7FDA"]).expect(0);
    assert!(
        ran.stdout.contains("quota: No room") && ran.stdout.contains("lxabc01"),
        "{ran:?}"
    );
    home.run(&fake, &["job", "show", "aaaa"])
        .expect(6)
        .says("no job begins with aaaa");
    home.run(&fake, &["job", "show", "@last"])
        .expect(6)
        .says("no last job");
}

#[test]
fn a_problem_is_shown_with_its_fields_and_its_request() {
    let fake = Fake::start(|_| {
        Reply::problem(
            422,
            "validation",
            &json!({"detail": "2 fields are wrong", "request_id": "req-77",
            "errors": [{"pointer": "/input/vm_hostname", "code": "pattern", "detail": "must contain lx\u{1b}[31m\u{202e}"}]}),
        )
    });
    let home = Home::new();
    let create = [
        "vm",
        "create",
        "--profile",
        "Micro",
        "--region",
        "North",
        "--hostname",
        "bad",
    ];
    let ran = home.run(&fake, &create).expect(7);
    assert_eq!(ran.stdout, "");
    let ran = ran
        .says("the job was not accepted")
        .says("2 fields are wrong")
        .says("request req-77");
    let ran = ran.says("/input/vm_hostname: must contain lx[31m (pattern)");
    assert!(!ran.stderr.contains(['\u{1b}', '\u{202e}']));

    let json: Vec<&str> = create.iter().copied().chain(["-o", "json"]).collect();
    let ran = home.run(&fake, &json).expect(7);
    let line = ran.stderr.lines().last().unwrap();
    let error: serde_json::Value = serde_json::from_str(line).unwrap();
    assert_eq!(error["error"]["exit_code"], 7);
    assert_eq!(error["error"]["problem"]["errors"][0]["code"], "pattern");
}

#[test]
fn statuses_become_exit_codes() {
    let table = [
        (401, "token-invalid", 4),
        (403, "forbidden", 5),
        (404, "job-not-found", 6),
        (410, "job-expired", 6),
        (409, "already-terminal", 7),
        (400, "bad-id", 7),
        (429, "too-many-logins", 9),
    ];
    for (status, slug, code) in table {
        let fake = Fake::start(move |_| {
            Reply::problem(status, slug, &json!({})).with("Retry-After", "600")
        });
        Home::new()
            .run(&fake, &["job", "show", ID])
            .expect(code)
            .says(&format!("Title of {slug}"));
        assert_eq!(
            fake.seen().len(),
            1,
            "{slug}: a pause of minutes is not waited for"
        );
    }
}

#[test]
fn a_busy_server_is_asked_again_when_it_says() {
    let fake = Fake::start(|request| match request.number {
        0 => {
            Reply::problem(503, "overloaded", &json!({"retryable": true})).with("Retry-After", "1")
        }
        1 => Reply::Raw(
            b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 999\r\n\r\n{"
                .to_vec(),
        ),
        _ => Reply::ok(job(ID, "queued", &json!({}))),
    });
    let ran = Home::new().run(&fake, &["job", "show", ID]).expect(0);
    assert!(ran.took.as_millis() >= 1_000, "{ran:?}");
    assert_eq!(fake.seen().len(), 3);
}

#[test]
fn a_server_that_stays_away_is_unreachable_not_a_bad_token() {
    let fake = Fake::start(|_| Reply::Raw(Vec::new()));
    let ran = Home::new().run(&fake, &["job", "list"]).expect(20);
    assert!(!ran.stderr.contains("login"), "{ran:?}");
    assert_eq!(fake.seen().len(), 4);

    let closed = TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    let endpoint = format!("http://{closed}");
    let mut command = Home::new().command(&["job", "list", "--endpoint", &endpoint]);
    Ran::of(command.env("VMCTL_TOKEN", TOKEN))
        .expect(20)
        .says("cannot be reached")
        .says("cannot connect");
}

#[test]
fn a_server_that_does_not_speak_tls_is_unreachable_by_https() {
    let fake = Fake::start(|_| Reply::ok(json!({})));
    let endpoint = fake.url().replace("http://", "https://");
    let mut command = Home::new().command(&["job", "list", "--endpoint", &endpoint]);
    Ran::of(command.env("VMCTL_TOKEN", TOKEN))
        .expect(20)
        .says("cannot connect");
}

#[test]
fn a_file_that_names_nobody_to_trust_is_a_wrong_configuration() {
    let home = tempfile::tempdir().unwrap();
    let file = home.path().join("ours.pem");
    let ask = |endpoint: &str| {
        let name = file.display().to_string();
        let args = ["job", "list", "--endpoint", endpoint, "--ca-file", &name];
        let mut command = Home::new().command(&args);
        Ran::of(command.env("VMCTL_TOKEN", TOKEN))
    };
    let nowhere = "https://127.0.0.1:9";
    ask(nowhere).expect(3).says("ours.pem cannot be used");
    fs::write(&file, "no certificate").unwrap();
    ask(nowhere).expect(3).says("it holds no certificate");
    // Without TLS nobody is asked for.
    let fake =
        Fake::start(|_| Reply::ok(json!({"items": [], "next_cursor": null, "incomplete": false})));
    ask(&fake.url()).expect(0);
}

#[test]
fn a_silent_server_costs_the_timeout() {
    let fake = Fake::start(|_| Reply::Silence);
    let ran = Home::new()
        .run(&fake, &["--http-timeout", "200ms", "job", "show", ID])
        .expect(20);
    assert!(ran.took.as_secs() < 20, "{ran:?}");
    ran.says("no answer within");
}

#[test]
fn a_redirect_is_not_followed() {
    let other = Fake::start(|_| Reply::ok(json!({})));
    let target = other.url();
    let fake = Fake::start(move |_| {
        Reply::Json(307, Vec::new(), json!({})).with("Location", format!("{target}/v1/jobs"))
    });
    Home::new()
        .run(&fake, &["job", "list"])
        .expect(21)
        .says("redirects elsewhere");
    assert!(other.seen().is_empty());
}

#[test]
fn strange_answers_are_named_as_such() {
    let page =
        b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\n\r\n<html>\x1b[2JHello</html>".to_vec();
    let huge = {
        let mut bytes = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n\r\n\"".to_vec();
        bytes.resize(3 * 1024 * 1024, b'a');
        bytes
    };
    let state = Reply::ok(job(ID, "levitating", &json!({})));
    let Reply::Json(_, _, state) = state else {
        unreachable!()
    };
    for (reply, part) in [
        (page, "not JSON (text/html, status 200)"),
        (huge, "larger than 1 MiB"),
        (
            format!("HTTP/1.1 200 OK\r\n\r\n{state}").into_bytes(),
            "levitating",
        ),
    ] {
        let fake = Fake::start(move |_| Reply::Raw(reply.clone()));
        let ran = Home::new()
            .run(&fake, &["job", "show", ID])
            .expect(21)
            .says(part);
        assert!(!ran.stderr.contains('\u{1b}'));
    }
}

#[test]
fn what_the_server_says_cannot_steer_the_terminal() {
    let fake = Fake::start(|_| {
        Reply::ok(
            json!({"items": [{"name": "Mi\u{1b}]0;owned\u{7}cro\u{202e}\nFAKE", "vcpus": 1, "ram_mib": 1, "disk_gib": 1}]}),
        )
    });
    let home = Home::new();
    for arguments in [&["profile", "list"][..], &["profile", "list", "-o", "json"]] {
        let ran = home.run(&fake, arguments).expect(0);
        assert!(
            !ran.stdout.contains(['\u{1b}', '\u{7}', '\u{202e}']),
            "{ran:?}"
        );
    }
    let ran = home.run(&fake, &["profile", "list"]).expect(0);
    assert_eq!(ran.stdout.lines().count(), 2);
}

#[test]
fn catalogues_and_histories_are_tables() {
    let fake = Fake::start(|request| match request.path() {
        "/v1/regions" => Reply::ok(json!({"items": [{"name": "GreaterParis"}, {"name": "North"}]})),
        "/v1/kinds" => Reply::ok(
            json!({"items": [{"kind": "vm.create", "summary": "Create a VM", "input_schema": {},
            "output_schema": {}, "required_role": "member", "max_attempts": 5, "deadline_seconds": 86400}]}),
        ),
        _ => Reply::ok(
            json!({"items": [{"id": "e1", "type": "started", "time": "2026-11-23T17:43:01.5Z", "state": "running",
            "epoch": 0, "attempt": 1, "seq": 1, "progress": {"percent": 10, "step": "boot", "step_number": 1, "steps": 4, "at": "2026-11-23T17:43:01Z"}}],
            "next_after": null}),
        ),
    });
    let home = Home::new();
    assert_eq!(
        home.run(&fake, &["region", "list"]).expect(0).stdout,
        "NAME\nGreaterParis\nNorth\n"
    );
    assert!(
        home.run(&fake, &["kinds", "ls"])
            .expect(0)
            .stdout
            .contains("vm.create  async  member  5         1d00h")
    );
    let events = home.run(&fake, &["job", "events", ID]).expect(0).stdout;
    assert!(
        events.contains("2026-11-23T17:43:01Z  started  running  1    1/4 boot"),
        "{events}"
    );
}

#[test]
fn cancelling_goes_on_after_a_job_that_has_ended() {
    let fake = Fake::start(|request| {
        if request.path().contains(OTHER) {
            return Reply::problem(409, "already-terminal", &json!({}));
        }
        assert_eq!(request.json(), json!({"reason": "mistake"}));
        Reply::Json(
            202,
            Vec::new(),
            job(
                ID,
                "running",
                &json!({"cancel_requested_at": "2026-11-23T17:43:30Z"}),
            ),
        )
    });
    let home = Home::new();
    let ran = home
        .run(&fake, &["job", "cancel", OTHER, ID, "--reason", "mistake"])
        .expect(13);
    assert_eq!(ran.stdout, format!("{ID}  cancelling\n"));
    ran.says("already-terminal");
}

#[test]
fn a_retry_is_sent_once_and_says_how_to_follow() {
    let fake = Fake::start(|request| {
        if request.is("POST", &format!("/v1/jobs/{OTHER}/retry")) {
            return Reply::problem(409, "not-retryable", &json!({}));
        }
        assert!(request.is("POST", &format!("/v1/jobs/{ID}/retry")));
        Reply::Json(202, Vec::new(), job(ID, "queued", &json!({"epoch": 1})))
    });
    let home = Home::new();
    let ran = home.run(&fake, &["job", "retry", OTHER, ID]).expect(13);
    assert_eq!(ran.stdout, format!("{ID}  queued\n"));
    ran.says("not-retryable")
        .says(&format!("vmctl job watch {ID}"));

    let lost = Fake::start(|_| Reply::Raw(Vec::new()));
    home.run(&lost, &["job", "retry", ID])
        .expect(20)
        .says(&format!("vmctl job show {ID}"));
    assert_eq!(lost.seen().len(), 1);
}

#[test]
fn a_reader_that_leaves_ends_it_quietly() {
    let items: Vec<_> = (0..2_000).map(|_| job(ID, "queued", &json!({}))).collect();
    let fake = Fake::start(move |_| {
        let few = items[..200].to_vec();
        Reply::ok(json!({"items": few, "next_cursor": null, "incomplete": false}))
    });
    let home = Home::new();
    for arguments in [
        &["job", "list", "-o", "json"][..],
        &["--help"],
        &["completion", "bash"],
    ] {
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let mut command = home.command(arguments);
        command
            .env("VMCTL_ENDPOINT", fake.url())
            .env("VMCTL_TOKEN", TOKEN);
        let mut child = command.stdout(writer).spawn().unwrap();
        let mut stderr = String::new();
        child
            .stderr
            .take()
            .unwrap()
            .read_to_string(&mut stderr)
            .unwrap();
        assert_eq!(
            (child.wait().unwrap().code(), stderr.as_str()),
            (Some(141), ""),
            "{arguments:?}"
        );
    }
}

#[test]
fn a_token_with_a_line_break_is_never_sent() {
    let fake = Fake::start(|_| Reply::ok(json!({})));
    let home = Home::new();
    home.run_with(
        &fake,
        &["job", "list"],
        &[("VMCTL_TOKEN", "abc\r\nX-Evil: 1")],
    )
    .expect(4);
    assert!(fake.seen().is_empty());
}

#[test]
fn verbose_tells_requests_without_secrets() {
    let fake =
        Fake::start(|_| Reply::ok(job(ID, "queued", &json!({}))).with("X-Request-Id", "req-9"));
    let ran = Home::new().run(&fake, &["-v", "job", "show", ID]).expect(0);
    ran.says(&format!("GET /v1/jobs/{ID} 200 request req-9"));
}

#[test]
fn without_a_login_nothing_is_sent() {
    let fake = Fake::start(|_| Reply::ok(json!({})));
    Home::new()
        .run_with(&fake, &["job", "list"], &[])
        .expect(4)
        .says("not logged in")
        .says("vmctl login");
    assert!(fake.seen().is_empty());
}

#[test]
fn a_token_over_plain_http_is_warned_about() {
    // Nothing listens on the address (RFC 5737); the warning comes before the attempt.
    let mut command = Home::new().command(&[
        "--connect-timeout",
        "50ms",
        "--http-timeout",
        "100ms",
        "--endpoint",
        "http://192.0.2.1",
        "job",
        "list",
    ]);
    Ran::of(command.env("VMCTL_TOKEN", TOKEN))
        .expect(20)
        .says("plain http");
}

#[test]
fn a_broken_configuration_is_named() {
    let home = Home::new();
    let path = home.path("c/config.toml");
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::File::create(&path)
        .unwrap()
        .write_all(b"[contexts.default\n")
        .unwrap();
    let mut command = home.command(&["job", "list"]);
    Ran::of(command.env("VMCTL_CONFIG_DIR", home.path("c")))
        .expect(3)
        .says("config.toml")
        .says("line 1");
}

#[test]
fn a_job_of_any_kind_is_submitted_with_its_input_from_anywhere() {
    let fake = Fake::start(|_| {
        let accepted = job(ID, "queued", &json!({"kind": "report.build"}));
        Reply::Json(202, Vec::new(), accepted)
    });
    let home = Home::new();
    std::fs::write(home.path("input.json"), r#"{"title": "from a file"}"#).unwrap();
    let file = format!("@{}", home.path("input.json").display());
    let submit = ["job", "submit", "report.build", "--input"];
    let inline = [
        r#"{"title": "it's"}"#,
        "--label",
        "team=web",
        "--deadline",
        "2h",
    ];
    let inline: Vec<_> = submit.iter().copied().chain(inline).collect();
    let ran = home.run(&fake, &inline).expect(0);
    assert_eq!(ran.stdout, format!("{ID}\n"));
    home.run(&fake, &[&submit[..], &[&file]].concat()).expect(0);
    let mut piped = home.command(&[&submit[..], &["-"]].concat());
    piped
        .env("VMCTL_ENDPOINT", fake.url())
        .env("VMCTL_TOKEN", TOKEN);
    Ran::with_input(&mut piped, r#"{"title": "piped"}"#).expect(0);
    home.run(&fake, &submit[..3]).expect(0);

    let bodies: Vec<_> = fake.seen().iter().map(support::Request::json).collect();
    assert_eq!(
        bodies,
        [
            json!({"kind": "report.build", "input": {"title": "it's"}, "labels": {"team": "web"},
                   "deadline": "2h"}),
            json!({"kind": "report.build", "input": {"title": "from a file"}}),
            json!({"kind": "report.build", "input": {"title": "piped"}}),
            json!({"kind": "report.build", "input": {}}),
        ]
    );
}

#[test]
fn an_input_that_is_no_json_goes_nowhere() {
    let fake = Fake::start(|_| Reply::ok(json!({})));
    let home = Home::new();
    std::fs::write(home.path("large"), "1".repeat(64 * 1024 + 1)).unwrap();
    let large = format!("@{}", home.path("large").display());
    for (input, why) in [
        ("{\"title\": }", "line 1 column 11"),
        ("@nowhere.json", "No such file"),
        (&large, "more than 65536 bytes"),
    ] {
        let ran = home.run(&fake, &["job", "submit", "a.b", "--input", input]);
        ran.expect(2).says(why);
    }
    home.run(&fake, &["job", "submit", "nokind"]).expect(2);
    let label = ["job", "submit", "a.b", "--label", "team"];
    home.run(&fake, &label).expect(2).says("write KEY=VALUE");
    assert_eq!(fake.seen().len(), 0);
}

#[test]
fn an_unknown_outcome_of_a_submission_says_the_whole_command_again() {
    let fake = Fake::start(|_| {
        Reply::problem(
            503,
            "outcome-unknown",
            &json!({"detail": "no confirm", "job_id": ID}),
        )
        .with("Retry-After", "60")
    });
    let home = Home::new();
    let command = [
        "job",
        "submit",
        "a.b",
        "--input",
        "{\"x\": 1}",
        "--label",
        "k=a b",
        "--deadline",
        "2h",
        "--idempotency-key",
        "mine",
    ];
    home.run(&fake, &command).expect(12).says(
        "vmctl job submit a.b --input '{\"x\":1}' --label 'k=a b' --deadline 2h --idempotency-key mine",
    );
}

fn machine(hostname: &str, state: &str) -> serde_json::Value {
    let addresses = if state == "ready" {
        json!(["10.0.0.7"])
    } else {
        json!([])
    };
    json!({"job_id": ID, "vm_hostname": hostname, "state": state, "phase": "boot",
           "vm_profile": "Micro", "vm_region": "North", "app_env": "DEV", "app_trigram": "abc",
           "vm_desc": "web\u{1b}[2J", "addresses": addresses, "created_at": "2026-11-23T17:00:00Z"})
}

#[test]
fn machines_are_listed_over_pages() {
    let fake = Fake::start(|request| {
        let (item, next) = if request.target.contains("cursor=two") {
            (machine("lx2", "ready"), json!(null))
        } else {
            (machine("lx1", "building"), json!("two"))
        };
        Reply::ok(json!({"items": [item], "next_cursor": next}))
    });
    let home = Home::new();
    let ran = home.run(&fake, &["vm", "list", "--limit", "2"]).expect(0);
    let lines: Vec<_> = ran.stdout.lines().collect();
    assert!(lines[0].starts_with("HOSTNAME "), "{lines:?}");
    assert!(
        lines[1].starts_with("lx1") && lines[1].contains("building (boot)  Micro"),
        "{lines:?}"
    );
    assert!(
        lines[2].contains("ready") && lines[2].contains("10.0.0.7"),
        "{lines:?}"
    );
    let targets: Vec<_> = fake.seen().iter().map(|r| r.target.clone()).collect();
    let path = "/v1/sync/vm.list?limit=";
    assert_eq!(targets, [format!("{path}2"), format!("{path}1&cursor=two")]);
    let ran = home
        .run(&fake, &["vms", "ls", "--all", "-o", "json"])
        .expect(0);
    assert_eq!(ran.json()["items"][1]["vm_hostname"], "lx2");
}

#[test]
fn a_machine_is_shown_by_its_name_and_a_job_by_its_id() {
    let fake = Fake::start(|request| match request.path() {
        "/v1/sync/vm.show" if request.target.contains("lx1") => Reply::ok(machine("lx1", "ready")),
        "/v1/sync/vm.show" => Reply::problem(404, "machine-not-found", &json!({})),
        _ => Reply::ok(job(ID, "running", &json!({}))),
    });
    let home = Home::new();
    let ran = home.run(&fake, &["vm", "show", "lx1"]).expect(0);
    assert!(
        ran.stdout.contains("10.0.0.7") && !ran.stdout.contains('\u{1b}'),
        "{}",
        ran.stdout
    );
    home.run(&fake, &["vm", "show", "lx9"])
        .expect(6)
        .says("vmctl vm list");
    let ran = home.run(&fake, &["vm", "show", ID]).expect(0);
    assert!(ran.stdout.contains("running"), "{}", ran.stdout);
    assert!(
        fake.seen()
            .last()
            .unwrap()
            .is("GET", &format!("/v1/jobs/{ID}"))
    );
}

#[test]
fn the_jobs_of_a_job_are_listed_and_shown() {
    let fake = Fake::start(|request| {
        if request
            .path()
            .starts_with(&format!("/v1/jobs/{ID}/children"))
        {
            let change = |step: &str| json!({"step": step, "parent_id": ID, "root_id": ID});
            let error = json!({"type": "playbook-failed", "title": "no luck", "retryable": false});
            let mut failed = change("ansible");
            failed["error"] = error;
            let items = [
                job(OTHER, "succeeded", &change("vm\u{1b}[31m")),
                job(OTHER, "failed", &failed),
            ];
            return Reply::ok(json!({"items": items, "next_cursor": null, "incomplete": true}));
        }
        assert!(request.is("GET", &format!("/v1/jobs/{ID}")));
        let flow = json!({"kind": "vm.provision", "children": 2, "compensation": "stuck"});
        Reply::ok(job(ID, "running", &flow))
    });
    let home = Home::new();
    let ran = home.run(&fake, &["job", "children", ID]).expect(0);
    assert!(ran.stdout.starts_with("NAME"), "{}", ran.stdout);
    assert!(ran.stdout.contains("no luck") && !ran.stdout.contains('\u{1b}'));
    ran.says("does not know all of these jobs yet");
    let ran = home.run(&fake, &["job", "show", ID]).expect(0);
    assert!(ran.stdout.contains("compensation:") && ran.stdout.contains("stuck"));
    assert!(ran.stdout.contains("child ansible:"), "{}", ran.stdout);
    let ran = home
        .run(&fake, &["job", "children", ID, "-o", "json"])
        .expect(0);
    let listed: Value = serde_json::from_str(&ran.stdout).unwrap();
    assert_eq!(listed["items"][1]["step"], "ansible");
}
