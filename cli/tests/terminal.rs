//! On a terminal: bars, questions, Ctrl-C.
#![cfg(unix)]
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod support;

use std::{
    io::{Read as _, Write as _},
    sync::{Arc, Mutex},
    thread,
    time::{Duration, Instant},
};

use portable_pty::{Child, CommandBuilder, MasterPty, PtySize, native_pty_system};
use serde_json::json;
use support::{Fake, Home, ID, Reply, TOKEN, eventually, job};

/// A program on a terminal of its own.
struct Terminal {
    child: Box<dyn Child + Send + Sync>,
    input: Box<dyn std::io::Write + Send>,
    screen: Arc<Mutex<String>>,
    _master: Box<dyn MasterPty + Send>,
}

impl Terminal {
    fn start(home: &Home, fake: &Fake, arguments: &[&str], env: &[(&str, &str)]) -> Self {
        let size = PtySize {
            rows: 24,
            cols: 100,
            pixel_width: 0,
            pixel_height: 0,
        };
        let pair = native_pty_system().openpty(size).unwrap();
        let mut command = CommandBuilder::new(env!("CARGO_BIN_EXE_vmctl"));
        command.args(arguments);
        command.env_clear();
        command.cwd(home.root.path());
        command.env("HOME", home.root.path());
        command.env("TERM", "xterm-256color");
        command.env("VMCTL_ENDPOINT", fake.url());
        for (name, value) in env {
            command.env(name, value);
        }
        let child = pair.slave.spawn_command(command).unwrap();
        drop(pair.slave);
        let mut output = pair.master.try_clone_reader().unwrap();
        let screen = Arc::new(Mutex::new(String::new()));
        let shown = Arc::clone(&screen);
        thread::spawn(move || {
            let mut bytes = [0; 4096];
            while let Ok(count @ 1..) = output.read(&mut bytes) {
                shown
                    .lock()
                    .unwrap()
                    .push_str(&String::from_utf8_lossy(&bytes[..count]));
            }
        });
        let input = pair.master.take_writer().unwrap();
        Self {
            child,
            input,
            screen,
            _master: pair.master,
        }
    }

    fn screen(&self) -> String {
        self.screen.lock().unwrap().clone()
    }

    #[track_caller]
    fn shows(&self, part: &str) {
        eventually(&format!("{part:?} on the screen"), || {
            self.screen().contains(part)
        });
    }

    fn types(&mut self, text: &str) {
        self.input.write_all(text.as_bytes()).unwrap();
        self.input.flush().unwrap();
    }

    fn ends(&mut self) -> (u32, Duration) {
        let started = Instant::now();
        let code = self.child.wait().unwrap().exit_code();
        (code, started.elapsed())
    }
}

fn running(percent: u32) -> serde_json::Value {
    job(
        ID,
        "running",
        &json!({"progress": {"percent": percent, "step": "boot", "step_number": 2, "steps": 5, "at": "2026-11-23T17:43:10Z"}}),
    )
}

#[test]
fn a_bar_is_drawn_and_ctrl_c_detaches() {
    let fake = Fake::start(|request| match request.number {
        0 => Reply::ok(running(40)).with("Retry-After", "0"),
        _ => Reply::Silence,
    });
    let home = Home::new();
    let mut terminal = Terminal::start(
        &home,
        &fake,
        &["job", "watch", ID],
        &[("VMCTL_TOKEN", TOKEN)],
    );
    terminal.shows("40%");
    terminal.shows("2/5 boot");
    terminal.shows("━");
    terminal.types("\u{3}");
    let (code, took) = terminal.ends();
    assert_eq!(code, 130);
    // 100 ms is the aim; a busy machine gets a margin.
    assert!(took < Duration::from_secs(5), "{took:?}");
    terminal.shows(&format!("Detached. Job {ID} keeps running."));
    terminal.shows(&format!("vmctl job cancel {ID}"));
    assert!(
        !terminal.screen().contains("\u{1b}[?1049h"),
        "the alternate screen was used"
    );
}

#[test]
fn the_end_leaves_one_line_and_the_result() {
    let fake = Fake::start(|request| match request.number {
        0 => Reply::ok(running(40)).with("Retry-After", "1"),
        _ => Reply::ok(job(
            ID,
            "succeeded",
            &json!({"output": {"address": "10.0.0.7"}}),
        )),
    });
    let home = Home::new();
    let mut terminal = Terminal::start(
        &home,
        &fake,
        &["job", "watch", ID, "--color", "never"],
        &[("VMCTL_TOKEN", TOKEN)],
    );
    assert_eq!(terminal.ends().0, 0);
    terminal.shows("✓ 7fda68b7 lxabc01 succeeded after 1m34s");
    terminal.shows("  address 10.0.0.7");
}

#[test]
fn plain_progress_can_be_chosen_on_a_terminal() {
    let fake = Fake::start(|_| Reply::ok(job(ID, "succeeded", &json!({}))));
    let home = Home::new();
    let mut terminal = Terminal::start(
        &home,
        &fake,
        &["job", "watch", ID, "--progress", "plain"],
        &[("VMCTL_TOKEN", TOKEN)],
    );
    assert_eq!(terminal.ends().0, 0);
    terminal.shows("7fda68b7 lxabc01 succeeded elapsed=1m34s");
    assert!(!terminal.screen().contains('\u{1b}'));
}

#[test]
fn more_jobs_than_bars_are_counted() {
    let fake = Fake::start(|request| {
        let id = request.path().rsplit('/').next().unwrap().to_owned();
        Reply::ok(job(&id, "running", &json!({}))).with("Retry-After", "30")
    });
    let home = Home::new();
    let ids: Vec<String> = (0..14)
        .map(|n| format!("{n:08x}-b4de-85a6-99fd-57b019cf19ae"))
        .collect();
    let mut arguments = vec!["job", "watch"];
    arguments.extend(ids.iter().map(String::as_str));
    let mut terminal = Terminal::start(&home, &fake, &arguments, &[("VMCTL_TOKEN", TOKEN)]);
    terminal.shows("and 4 more");
    terminal.types("\u{3}");
    assert_eq!(terminal.ends().0, 130);
    terminal.shows("14 jobs keep running");
}

fn login_server() -> Fake {
    Fake::start(|request| match request.path() {
        "/v1" => Reply::ok(
            json!({"hello": "world", "product": "vmctl", "version": "1", "auth": {"type": "connect"}, "transports": []}),
        ),
        _ if request.json()["password"] == "s3cret" => Reply::ok(
            json!({"access": {"token": {"id": TOKEN, "expires": "2099-01-01T00:00:00Z",
            "issued_at": null, "tenant": {"id": "p", "name": "demo"}}, "user": {"id": "u", "name": "joe", "roles": []}, "serviceCatalog": []}}),
        ),
        _ => Reply::problem(401, "login-refused", &json!({})),
    })
}

#[test]
fn login_asks_for_consent_then_for_what_is_missing_and_hides_the_password() {
    let (home, fake) = (Home::new(), login_server());
    // No bus in the environment: there is no keyring.
    let mut terminal = Terminal::start(&home, &fake, &["login"], &[]);
    terminal.shows("readable by you only? [y/N]: ");
    assert!(
        !terminal.screen().contains("Password"),
        "the password was asked for before the store was settled"
    );
    terminal.types("y\n");
    terminal.shows("User name: ");
    terminal.types("joe\n");
    terminal.shows("Password of joe at http://127.0.0.1");
    terminal.types("wrong\n");
    terminal.shows("user name or password refused; try again");
    eventually("the second question", || {
        terminal.screen().matches("Password of joe").count() == 2
    });
    terminal.types("s3cret\n");
    assert_eq!(terminal.ends().0, 0);
    terminal.shows("Logged in to");
    let screen = terminal.screen();
    assert!(
        !screen.contains("s3cret") && !screen.contains(TOKEN),
        "{screen}"
    );
    assert!(home.path(".local/share/vmctl/credentials.json").exists());
}

#[test]
fn without_consent_there_is_no_file() {
    let (home, fake) = (Home::new(), login_server());
    let mut terminal = Terminal::start(&home, &fake, &["login", "--username", "joe"], &[]);
    terminal.shows("[y/N]: ");
    terminal.types("\n");
    assert_eq!(terminal.ends().0, 14);
    assert!(!home.path(".local/share/vmctl/credentials.json").exists());
    assert_eq!(fake.seen().len(), 1);
}

#[test]
fn no_input_asks_nothing() {
    let (home, fake) = (Home::new(), login_server());
    let mut terminal = Terminal::start(
        &home,
        &fake,
        &[
            "login",
            "--no-input",
            "--store",
            "file",
            "--username",
            "joe",
        ],
        &[],
    );
    assert_eq!(terminal.ends().0, 4);
    terminal.shows("the password is missing");
}

#[test]
fn an_account_with_two_factors_is_asked_for_its_code() {
    let receipt = "gAAAAABreceipt";
    let keystone = Fake::start(move |request| {
        let identity = &request.json()["auth"]["identity"];
        if request.header("openstack-auth-receipt") == Some(receipt) {
            assert_eq!(identity["methods"], json!(["totp"]));
            assert_eq!(identity["totp"]["user"]["passcode"], "123456");
            let domain = json!({"id": "default", "name": "Default"});
            return Reply::Json(
                201,
                vec![("X-Subject-Token", TOKEN.to_owned())],
                json!({"token": {"methods": ["password", "totp"], "user": {"id": "u", "name": "mia", "domain": domain},
                    "project": {"id": "p", "name": "demo", "domain": domain}, "roles": [],
                    "issued_at": "2026-11-23T17:00:00.000000Z", "expires_at": "2099-01-01T00:00:00.000000Z"}}),
            );
        }
        Reply::Json(
            401,
            vec![("Openstack-Auth-Receipt", receipt.to_owned())],
            json!({"receipt": {"methods": ["password"], "expires_at": "2099-01-01T00:00:00.000000Z"},
                "required_auth_methods": [["totp", "password"]]}),
        )
    });
    let url = format!("{}/v3", keystone.url());
    let fake = Fake::start(move |_| {
        Reply::ok(
            json!({"hello": "world", "product": "vmctl", "version": "1", "auth": {"type": "keystone", "url": url}, "transports": []}),
        )
    });
    let home = Home::new();
    let arguments = ["login", "--username", "mia", "--store", "file"];
    let mut terminal = Terminal::start(&home, &fake, &arguments, &[]);
    terminal.shows("Password of mia at http://127.0.0.1");
    terminal.types("s3cret\n");
    terminal.shows("One-time code of mia: ");
    terminal.types("123456\n");
    assert_eq!(terminal.ends().0, 0);
    terminal.shows("as mia, project demo");
    assert!(!terminal.screen().contains("123456"));
}
