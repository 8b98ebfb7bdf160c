//! The keyring, for real: gnome-keyring on a private bus in each of the states that users meet,
//! and a Secret Service that never answers. Each ends in time, with its own words.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod support;

use std::{
    fs,
    io::Write as _,
    process::{Child, Command, Stdio},
    time::Duration,
};

use serde_json::json;
use support::{Fake, Home, ID, Ran, Reply, Request, TOKEN, eventually, installed, job, skip};

/// The deadline of the keyring, and what a busy machine may add to it.
const DEADLINE: Duration = Duration::from_secs(3);
const MARGIN: Duration = Duration::from_secs(4);

const SECRETS: &str = "org.freedesktop.secrets";

/// A bus without services of its own: nothing is started by being called.
const BARE: &str = r#"<!DOCTYPE busconfig PUBLIC "-//freedesktop//DTD D-Bus Bus Configuration 1.0//EN"
 "http://www.freedesktop.org/standards/dbus/1.0/busconfig.dtd">
<busconfig><type>session</type><listen>unix:tmpdir=/nonexistent</listen><auth>EXTERNAL</auth><policy context="default">
<allow send_destination="*" eavesdrop="true"/><allow own="*"/><allow eavesdrop="true"/></policy></busconfig>"#;

/// Owns the name and drops every message.
const NEVER: &str = "import dbus, signal\nbus = dbus.SessionBus()\nbus.request_name('org.freedesktop.secrets')\nsignal.pause()\n";

/// A session of its own: home, bus, and what runs on it. All of it ends with the value.
struct Session {
    home: Home,
    address: String,
    children: Vec<Child>,
}

impl Session {
    /// Starts a bus; with `activation` it starts the installed keyring when that is called.
    fn start(activation: bool) -> Self {
        let home = Home::new();
        fs::create_dir(home.path("run")).unwrap();
        fs::write(home.path("bus.conf"), BARE).unwrap();
        let address = format!("unix:path={}", home.path("bus").display());
        let mut session = Self {
            home,
            address,
            children: Vec::new(),
        };
        let mut daemon = session.prepare("dbus-daemon");
        if activation {
            daemon.arg("--session");
        } else {
            daemon.arg(format!(
                "--config-file={}",
                session.home.path("bus.conf").display()
            ));
        }
        daemon.args([
            "--nofork",
            "--nopidfile",
            &format!("--address={}", session.address),
        ]);
        session.children.push(
            daemon
                .stdout(Stdio::null())
                .stderr(Stdio::null())
                .spawn()
                .unwrap(),
        );
        let socket = session.home.path("bus");
        eventually("the bus", || socket.exists());
        session
    }

    fn prepare(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        command
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .envs(self.env())
            .stdin(Stdio::null());
        command
    }

    fn env(&self) -> [(&'static str, std::ffi::OsString); 3] {
        [
            ("HOME", self.home.root.path().into()),
            ("XDG_RUNTIME_DIR", self.home.path("run").into()),
            ("DBUS_SESSION_BUS_ADDRESS", self.address.clone().into()),
        ]
    }

    /// Starts gnome-keyring and unlocks it with a password.
    fn unlocked(mut self) -> Self {
        let mut daemon = self.prepare("gnome-keyring-daemon");
        daemon.args(["--foreground", "--unlock", "--components=secrets"]);
        let mut child = daemon
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        child.stdin.take().unwrap().write_all(b"pw\n").unwrap();
        self.children.push(child);
        self.wait_for_owner();
        self
    }

    /// Puts a service on the bus that takes every message and answers none.
    fn never_answering(mut self) -> Self {
        let mut service = self.prepare("/usr/bin/python3");
        service.args(["-c", NEVER]);
        self.children
            .push(service.stderr(Stdio::null()).spawn().unwrap());
        self.wait_for_owner();
        self
    }

    fn send(&self, destination: &str, path: &str, call: &[&str]) -> Option<String> {
        let mut command = self.prepare("dbus-send");
        command
            .args([
                "--session",
                "--print-reply",
                &format!("--dest={destination}"),
                path,
            ])
            .args(call);
        let output = command.output().unwrap();
        output
            .status
            .success()
            .then(|| String::from_utf8(output.stdout).unwrap())
    }

    fn wait_for_owner(&self) {
        eventually("the keyring", || {
            let call = [
                "org.freedesktop.DBus.NameHasOwner",
                &format!("string:{SECRETS}"),
            ];
            self.send("org.freedesktop.DBus", "/", &call)
                .is_some_and(|reply| reply.contains("true"))
        });
    }

    fn lock(&self) {
        let call = [
            "org.freedesktop.Secret.Service.Lock",
            "array:objpath:/org/freedesktop/secrets/collection/login",
        ];
        self.send(SECRETS, "/org/freedesktop/secrets", &call)
            .unwrap();
    }

    fn run(&self, fake: &Fake, arguments: &[&str]) -> Ran {
        let mut command = self.home.command(arguments);
        Ran::of(command.envs(self.env()).env("VMCTL_ENDPOINT", fake.url()))
    }

    fn login(&self, fake: &Fake, store: &str) -> Ran {
        let arguments = [
            "login",
            "--username",
            "joe",
            "--password-stdin",
            "--store",
            store,
        ];
        let mut command = self.home.command(&arguments);
        Ran::with_input(
            command.envs(self.env()).env("VMCTL_ENDPOINT", fake.url()),
            "1234",
        )
    }

    /// Writes the configuration of a login whose token is in the keyring.
    fn remember_keyring(&self, fake: &Fake) {
        let directory = self.home.path(".config/vmctl");
        fs::create_dir_all(&directory).unwrap();
        let text = format!(
            "[contexts.default]\nendpoint = \"{}\"\nusername = \"joe\"\nstore = \"keyring\"\n",
            fake.url()
        );
        fs::write(directory.join("config.toml"), text).unwrap();
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        for child in self.children.iter_mut().rev() {
            // One that has ended already needs no signal.
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

fn ready() -> bool {
    for program in [
        "dbus-daemon",
        "dbus-send",
        "gnome-keyring-daemon",
        "secret-tool",
    ] {
        if !installed(program) {
            skip(&format!("{program} is not installed"));
            return false;
        }
    }
    true
}

fn server() -> Fake {
    Fake::start(|request: &Request| match request.path() {
        "/v1" => Reply::ok(
            json!({"hello": "world", "product": "vmctl", "version": "1", "auth": {"type": "connect"}, "transports": []}),
        ),
        "/v1/connect" => Reply::ok(
            json!({"access": {"token": {"id": TOKEN, "expires": "2099-01-01T00:00:00Z", "issued_at": null,
            "tenant": {"id": "p", "name": "demo"}}, "user": {"id": "u", "name": "joe", "roles": []}, "serviceCatalog": []}}),
        ),
        _ if request.header("x-auth-token") == Some(TOKEN) => {
            Reply::ok(job(ID, "queued", &json!({})))
        }
        _ => Reply::problem(401, "token-missing", &json!({})),
    })
}

#[track_caller]
fn in_time(ran: &Ran) {
    assert!(ran.took < DEADLINE + MARGIN, "{ran:?}");
}

#[test]
fn an_unlocked_keyring_keeps_the_token() {
    if !ready() {
        return;
    }
    let (session, fake) = (Session::start(false).unlocked(), server());
    let ran = session
        .login(&fake, "auto")
        .expect(0)
        .says("in the keyring");
    in_time(&ran);
    assert!(
        !session
            .home
            .path(".local/share/vmctl/credentials.json")
            .exists()
    );
    session.run(&fake, &["job", "show", ID]).expect(0);
    let found = || {
        let mut tool = session.prepare("secret-tool");
        let output = tool
            .args(["lookup", "service", "vmctl", "username", "default"])
            .output()
            .unwrap();
        String::from_utf8(output.stdout).unwrap()
    };
    assert!(found().contains(TOKEN));
    session.run(&fake, &["logout"]).expect(0);
    assert_eq!(found(), "");
    session
        .run(&fake, &["job", "show", ID])
        .expect(4)
        .says("not logged in");
}

#[test]
fn an_entry_that_somebody_removed_is_not_logged_in() {
    if !ready() {
        return;
    }
    let (session, fake) = (Session::start(false).unlocked(), server());
    session.remember_keyring(&fake);
    session
        .run(&fake, &["job", "show", ID])
        .expect(4)
        .says("not logged in")
        .says("keyring holds no token");
}

#[test]
fn a_locked_keyring_is_named_and_nothing_is_sent() {
    if !ready() {
        return;
    }
    let (session, fake) = (Session::start(false).unlocked(), server());
    session.login(&fake, "keyring").expect(0);
    session.lock();
    let before = fake.seen().len();
    let ran = session
        .run(&fake, &["job", "show", ID])
        .expect(14)
        .says("the keyring is locked")
        .says("unlock");
    in_time(&ran);
    assert_eq!(fake.seen().len(), before);
}

#[test]
fn a_keyring_that_was_never_unlocked_is_not_taken_for_not_logged_in() {
    if !ready() {
        return;
    }
    let (session, fake) = (Session::start(true), server());
    session.remember_keyring(&fake);
    let ran = session
        .run(&fake, &["job", "show", ID])
        .expect(14)
        .says("no usable collection")
        .says("--store file");
    in_time(&ran);
    let ran = session
        .login(&fake, "auto")
        .expect(14)
        .says("no usable collection");
    in_time(&ran);
    assert!(
        fake.seen().iter().all(|request| request.path() == "/v1"),
        "the password was sent for nothing"
    );
}

#[test]
fn without_a_keyring_the_way_out_is_named() {
    if !ready() {
        return;
    }
    let fake = server();
    let (bare, none) = (Session::start(false), Session::start(false));
    for session in [&bare, &none] {
        if std::ptr::eq(session, &raw const none) {
            fs::remove_file(session.home.path("bus")).unwrap();
        }
        let ran = session
            .login(&fake, "auto")
            .expect(14)
            .says("there is no keyring")
            .says("--store file")
            .says("VMCTL_TOKEN");
        in_time(&ran);
        session.remember_keyring(&fake);
        in_time(
            &session
                .run(&fake, &["job", "list"])
                .expect(14)
                .says("there is no keyring"),
        );
        // Automation does not need one.
        let mut command = session.home.command(&["job", "show", ID]);
        Ran::of(
            command
                .env("VMCTL_ENDPOINT", fake.url())
                .env("VMCTL_TOKEN", TOKEN),
        )
        .expect(0);
        session.login(&fake, "file").expect(0);
        session.run(&fake, &["job", "show", ID]).expect(0);
    }
}

#[test]
fn a_keyring_that_never_answers_costs_three_seconds() {
    if !ready() {
        return;
    }
    let has_dbus = Command::new("/usr/bin/python3")
        .args(["-c", "import dbus"])
        .stderr(Stdio::null())
        .status();
    if !has_dbus.is_ok_and(|status| status.success()) {
        return skip("python3-dbus is not installed");
    }
    let (session, fake) = (Session::start(false).never_answering(), server());
    let expect = |ran: Ran| {
        let ran = ran
            .expect(14)
            .says("did not answer within 3 s")
            .says("VMCTL_TOKEN");
        assert!(ran.took >= DEADLINE, "{ran:?}");
        in_time(&ran);
    };
    expect(session.login(&fake, "auto"));
    session.remember_keyring(&fake);
    expect(session.run(&fake, &["job", "show", ID]));
    expect(session.run(&fake, &["logout"]));
    // The file does not care about the keyring.
    session.login(&fake, "file").expect(0);
    session.run(&fake, &["job", "show", ID]).expect(0);
}
