//! `ansible.run` with a real `ansible-playbook`, on the local connection.

use std::{
    path::Path,
    process::Command,
    sync::{Arc, Mutex},
    time::Duration,
};

use crate::support::{Started, World};
use serde_json::{Value, json};
use tempfile::TempDir;
use vmctl_core::{
    Kind,
    bus::Feed,
    event::{Event, EventType},
};
use vmctl_worker::{
    Config, Handler,
    kinds::{AnsibleConfig, AnsibleRun},
};

fn playbook(tasks: &str) -> String {
    format!("- hosts: all\n  connection: local\n  gather_facts: false\n  tasks:\n{tasks}\n")
}

/// A world with a directory of playbooks; `None` where Ansible is not installed, which a strict run
/// does not accept.
struct Site {
    world: World,
    directory: TempDir,
    _worker: Started,
}

impl Site {
    async fn new() -> Option<Self> {
        let found = Command::new("ansible-playbook").arg("--version").output();
        if found.is_err() {
            let strict = std::env::var_os("VMCTL_TEST_STRICT").is_some_and(|v| v == "1");
            assert!(!strict, "ansible-playbook is not installed");
            return None;
        }
        let directory = tempfile::tempdir().unwrap();
        for (name, tasks) in [
            (
                "site.yml",
                "    - ansible.builtin.debug:\n        msg: \"hello {{ who }}\"\n    \
                 - ansible.builtin.copy:\n        content: \"{{ who }}\"\n        dest: \"{{ target }}\"",
            ),
            (
                "fail.yml",
                "    - ansible.builtin.fail:\n        msg: out of luck",
            ),
            (
                // Both leave the process group, as Ansible's own helpers may.
                "daemon.yml",
                "    - ansible.builtin.shell: \"setsid -f sh -c 'echo $$ > {{ target }}; exec sleep \
                 600'; {{ then }}\"",
            ),
            (
                "loud.yml",
                "    - ansible.builtin.debug:\n        msg: \"{{ '\\e[2J\\a' * 20000 }}\"",
            ),
            (
                "environment.yml",
                "    - ansible.builtin.shell: \"env > {{ target }}; ps -o args= -p $PPID >> {{ \
                 target }}\"",
            ),
            (
                "slow.yml",
                "    - ansible.builtin.shell: \"echo $$ > {{ target }}; exec sleep 600\"",
            ),
        ] {
            std::fs::write(directory.path().join(name), playbook(tasks)).unwrap();
        }
        let world = World::new().await;
        let config = AnsibleConfig {
            program: "ansible-playbook".into(),
            playbooks: directory.path().to_owned(),
        };
        let handler: Arc<dyn Handler> = Arc::new(AnsibleRun::new(config).unwrap());
        let worker = world.start_handlers(Config::new("w1"), vec![(kind(), handler)]);
        Some(Self {
            world,
            directory,
            _worker: worker,
        })
    }

    async fn submit(&self, input: Value) -> Event {
        let command = self.world.command(kind(), input);
        self.world.publish(&command).await;
        command
    }
}

fn kind() -> Kind {
    "ansible.run".parse().unwrap()
}

async fn exists(path: &Path) -> String {
    let mut text = String::new();
    crate::support::until("the playbook has begun", || {
        text = std::fs::read_to_string(path).unwrap_or_default();
        text.ends_with('\n')
    })
    .await;
    text.trim().to_owned()
}

#[tokio::test]
async fn a_playbook_runs_with_its_variables_and_its_output_is_the_jobs_log() {
    let Some(site) = Site::new().await else {
        return;
    };
    let mut ticks = site
        .world
        .bus
        .consumer
        .subscribe(Feed::Ticks, "t")
        .await
        .unwrap();
    // Read as they come: they are kept for a short time only.
    let lines = Arc::new(Mutex::new(Vec::<String>::new()));
    let seen = lines.clone();
    tokio::spawn(async move {
        while let Some(tick) = ticks.next().await {
            // Workers say on the same feed that they live.
            let Ok(event) = Event::parse(&tick.body) else {
                continue;
            };
            let texts = event.data.lines.into_iter().map(|line| line.text);
            seen.lock().unwrap().extend(texts);
        }
    });
    let target = site.directory.path().join("made");
    let who = "joe's \"friend\"; $(id)";
    let input = json!({"playbook": "site.yml", "hosts": ["lx1.example"],
        "extra_vars": {"who": who, "target": target}});
    // Twice, as after a crash: the second one finds everything as it should be.
    for changed in [1, 0] {
        let command = site.submit(input.clone()).await;
        let end = site.world.end(command.subject).await;
        assert_eq!(end.event_type, EventType::Succeeded, "{:?}", end.data.error);
        let hosts = &end.data.output.unwrap()["hosts"];
        assert_eq!(
            (
                &hosts["lx1.example"]["ok"],
                &hosts["lx1.example"]["changed"]
            ),
            (&json!(2), &json!(changed))
        );
    }
    assert_eq!(std::fs::read_to_string(target).unwrap(), who);
    for part in ["hello joe", "PLAY RECAP"] {
        crate::support::until(part, || {
            lines.lock().unwrap().iter().any(|line| line.contains(part))
        })
        .await;
    }
}

#[tokio::test]
async fn a_playbook_that_fails_says_why() {
    let Some(site) = Site::new().await else {
        return;
    };
    let command = site
        .submit(json!({"playbook": "fail.yml", "hosts": ["lx1"]}))
        .await;
    let end = site.world.end(command.subject).await;
    let error = end.data.error.unwrap();
    assert_eq!(error.error_type, "playbook-failed");
    assert!(error.detail.unwrap().contains("out of luck"));
}

#[tokio::test]
async fn a_cancel_ends_the_playbook_and_all_that_it_has_started() {
    let Some(site) = Site::new().await else {
        return;
    };
    let target = site.directory.path().join("pid");
    let input = json!({"playbook": "slow.yml", "hosts": ["lx1"], "extra_vars": {"target": target}});
    let command = site.submit(input).await;
    let pid = exists(&target).await;
    site.world.cancel(command.subject, "enough").await;
    let end = tokio::time::timeout(Duration::from_secs(60), site.world.end(command.subject)).await;
    assert_eq!(end.unwrap().event_type, EventType::Cancelled);
    crate::support::until("the task is gone", || is_gone(&pid)).await;
}

fn is_gone(pid: &str) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.is_empty() || stat.contains(") Z ")
}

#[tokio::test]
async fn what_has_left_the_process_group_ends_with_the_playbook() {
    let Some(site) = Site::new().await else {
        return;
    };
    for (then, word) in [
        ("true", EventType::Succeeded),
        ("false", EventType::Failed),
        ("exec sleep 600", EventType::Cancelled),
    ] {
        let target = site.directory.path().join("daemon");
        let _ = std::fs::remove_file(&target);
        let input = json!({"playbook": "daemon.yml", "hosts": ["lx1"],
            "extra_vars": {"target": target, "then": then}});
        let command = site.submit(input).await;
        let pid = exists(&target).await;
        if word == EventType::Cancelled {
            site.world.cancel(command.subject, "enough").await;
        }
        let end = site.world.end(command.subject).await;
        assert_eq!(end.event_type, word, "{:?}", end.data.error);
        crate::support::until("the daemon is gone", || is_gone(&pid)).await;
    }
}

#[tokio::test]
async fn a_playbook_sees_nothing_of_the_workers_environment() {
    let Some(site) = Site::new().await else {
        return;
    };
    let target = site.directory.path().join("environment");
    let secret = "a very secret variable";
    let input = json!({"playbook": "environment.yml", "hosts": ["lx1"],
        "extra_vars": {"target": target, "who": secret}});
    let command = site.submit(input).await;
    let end = site.world.end(command.subject).await;
    assert_eq!(end.event_type, EventType::Succeeded, "{:?}", end.data.error);
    let seen = std::fs::read_to_string(&target).unwrap();
    assert!(seen.contains("ControlMaster=no"), "{seen}");
    // Cargo gives its tests variables, as a service manager gives a worker secrets.
    assert!(std::env::var_os("CARGO_MANIFEST_DIR").is_some());
    for no in ["CARGO_", "VMCTL_", secret] {
        assert!(!seen.contains(no), "{no}: {seen}");
    }
}

#[tokio::test]
async fn an_endless_line_of_control_characters_is_cut_and_bounded() {
    let Some(site) = Site::new().await else {
        return;
    };
    let command = site
        .submit(json!({"playbook": "loud.yml", "hosts": ["lx1"]}))
        .await;
    let end = site.world.end(command.subject).await;
    assert_eq!(end.event_type, EventType::Succeeded, "{:?}", end.data.error);
    let hosts = &end.data.output.as_ref().unwrap()["hosts"];
    assert_eq!(hosts["lx1"]["ok"], 1);
    assert!(end.to_body().len() < 8 * 1024);
}

#[tokio::test]
async fn hostile_input_runs_nothing() {
    let Some(site) = Site::new().await else {
        return;
    };
    let made = site.directory.path().join("made");
    for (playbook, host, vars) in [
        ("../site.yml", "lx1", json!({})),
        ("/etc/hosts", "lx1", json!({})),
        ("none.yml", "lx1", json!({})),
        ("-v.yml", "lx1", json!({})),
        ("site.yml", "-oProxyCommand=touch", json!({})),
        ("site.yml", "lx1 ansible_connection=local", json!({})),
        ("site.yml", "lx1", json!({"ansible_connection": "ssh"})),
        (
            "site.yml",
            "lx1",
            json!({"target": made, "who": "{{ lookup('pipe', 'id') }}"}),
        ),
    ] {
        let input = json!({"playbook": playbook, "hosts": [host], "extra_vars": vars});
        let command = site.submit(input).await;
        let error = site.world.end(command.subject).await.data.error.unwrap();
        assert_eq!(error.error_type, "invalid", "{playbook} {host}");
    }
    assert!(!made.exists());
}
