//! What is exported, and what is found when a broker has it otherwise.

use serde_json::{Value, json};
use vmctl_core::kinds::Registry;

use super::*;
use crate::topology::rights::Rights;

fn plan(workers: &[&str]) -> Plan {
    let registry = Registry::built_in().unwrap();
    let workers: Vec<WorkerUser> = workers.iter().map(|text| text.parse().unwrap()).collect();
    Plan {
        vhost: "jobs".to_owned(),
        topology: Topology::new(registry.kinds().map(|spec| &spec.kind)),
        users: rights::all("vmctl", &registry, &workers),
        connections: 10,
        log: LogSize {
            hours: 24,
            bytes: 20_000_000_000,
        },
    }
}

fn rights(workers: &[&str]) -> Rights {
    plan(workers).users.pop().unwrap()
}

#[test]
fn a_worker_of_one_kind_has_its_queue_and_its_keys() {
    let rights = rights(&["makers=vm.create"]);
    assert_eq!(rights.user, "makers");
    assert_eq!(rights.configure, r"^jobs\.control\.worker-.+$");
    assert_eq!(
        rights.write,
        r"^(jobs|jobs\.tick|jobs\.control\.worker-.+)$"
    );
    assert_eq!(
        rights.read,
        r"^((work\.vm\.create)|jobs\.control|jobs\.control\.worker-.+)$"
    );
    let commands = r"(delay\.[^.]+\.)?(job|turn)\.(vm\.create)";
    let events = r"event\.(vm\.create)\.(started|succeeded|cancelled|deadline)";
    assert_eq!(
        rights.keys,
        [
            (
                "jobs",
                format!(r"^({commands}|{events}|dead\.(vm\.create))$")
            ),
            (
                "jobs.tick",
                r"^(tick\.(vm\.create)\.(progress|log)|tick\.worker\.alive)$".to_owned()
            ),
        ]
    );
}

#[test]
fn a_flows_worker_may_ask_for_its_steps_and_have_them_cancelled() {
    let rights = rights(&["flows=vm.provision/vm.delete"]);
    let (_, keys) = &rights.keys[0];
    for child in ["vm\\.create", "vm\\.delete", "ansible\\.run"] {
        assert!(keys.contains(child), "{child}: {keys}");
    }
    assert!(keys.contains(r"\.cancel_requested"), "{keys}");
    assert!(
        rights.write.contains(r"|jobs\.control)"),
        "{}",
        rights.write
    );
    assert!(
        !rights.read.contains(r"work\.vm\.create"),
        "{}",
        rights.read
    );
}

#[test]
fn a_user_that_cannot_be_understood_is_told() {
    for text in ["", "a", "a=", "=vm.create", "a=vm", "a=vm.create/x"] {
        assert!(text.parse::<WorkerUser>().is_err(), "{text}");
    }
}

#[test]
fn no_user_is_exported_without_a_password_and_none_with_it_in_the_clear() {
    let plan = plan(&[]);
    let without = plan.definitions(None).unwrap();
    assert!(without.get("users").is_none());
    let directory = tempfile::tempdir().unwrap();
    for user in ["vmctl-server", "vmctl-reader"] {
        fs::write(directory.path().join(user), "hunter2\n").unwrap();
    }
    let passwords = Passwords::new(directory.path());
    let error = plan.definitions(Some(&passwords)).unwrap_err();
    assert!(error.to_string().contains("vmctl-worker"), "{error}");
    fs::write(directory.path().join("vmctl-worker"), "hunter2\n").unwrap();
    let with = plan.definitions(Some(&passwords)).unwrap();
    assert_eq!(with["users"].as_array().unwrap().len(), 3);
    assert!(!with.to_string().contains("hunter2"));
    assert_eq!(with["users"][0]["limits"]["max-connections"], 10);
}

/// As a broker has it, with something else beside.
fn broker(plan: &Plan) -> Value {
    let mut all = plan.definitions(None).unwrap();
    let mut users = plan.users();
    users.push(json!({"name": "root", "tags": ["administrator"], "limits": {}}));
    all["users"] = users.into();
    let permission =
        json!({"user": "root", "vhost": "jobs", "configure": ".*", "write": ".*", "read": ".*"});
    all["permissions"].as_array_mut().unwrap().push(permission);
    let mut audit = all["queues"][0].clone();
    audit["name"] = "audit".into();
    all["queues"].as_array_mut().unwrap().push(audit);
    all
}

fn found(change: impl FnOnce(&mut Value)) -> Vec<String> {
    let plan = plan(&["makers=vm.create"]);
    let mut actual = broker(&plan);
    change(&mut actual);
    check::differences(&plan, &actual).unwrap()
}

fn of<'a>(all: &'a mut Value, section: &str, name: &str) -> &'a mut Value {
    let mut items = all[section].as_array_mut().unwrap().iter_mut();
    items
        .find(|item| item["name"] == name || item["user"] == name)
        .unwrap()
}

#[test]
fn each_difference_is_told_by_its_name() {
    assert_eq!(found(|_| {}), Vec::<String>::new());
    let log =
        |all: &mut Value| of(all, "queues", "jobs.log")["arguments"]["x-max-age"] = "1h".into();
    assert_eq!(
        found(log),
        [r#"different   queue jobs.log: x-max-age is "1h", should be "24h""#]
    );
    let less = |all: &mut Value| {
        of(all, "policies", "vmctl-log")["definition"]["max-length-bytes"] = 5.into();
    };
    assert_eq!(
        found(less),
        ["different   policy vmctl-log: max-length-bytes is 5, should be 20000000000"]
    );
    let unset = |all: &mut Value| all["policies"].as_array_mut().unwrap().clear();
    assert_eq!(
        found(unset),
        ["missing     policy vmctl", "missing     policy vmctl-log"]
    );
    let more = |all: &mut Value| {
        of(all, "queues", "jobs.dead")["arguments"]["x-single-active-consumer"] = true.into();
    };
    assert_eq!(
        found(more),
        ["different   queue jobs.dead: x-single-active-consumer is true, should be absent"]
    );
    let gone = |all: &mut Value| {
        let exchanges = all["exchanges"].as_array_mut().unwrap();
        exchanges.retain(|exchange| exchange["name"] != "jobs.dlx");
    };
    assert_eq!(found(gone), ["missing     exchange jobs.dlx"]);
    let wider = |all: &mut Value| of(all, "permissions", "makers")["read"] = ".*".into();
    let wider = found(wider);
    assert_eq!(wider.len(), 1);
    assert!(wider[0].starts_with(r#"different   permissions of makers: read is ".*", should be "#));
    let tagged = |all: &mut Value| of(all, "users", "vmctl-server")["tags"] = "monitoring".into();
    assert_eq!(
        found(tagged),
        ["different   user vmctl-server: tags are monitoring, should be none"]
    );
}

#[test]
fn who_only_looks_may_change_nothing() {
    let mut plan = plan(&[]);
    plan.users.push(rights::monitor("watcher"));
    let all = broker(&plan);
    let permissions = all["permissions"].as_array().unwrap();
    let own = permissions.iter().find(|item| item["user"] == "watcher");
    assert_eq!(
        own.unwrap(),
        &json!({"user": "watcher", "vhost": "jobs", "configure": "^$", "write": "^$", "read": "^$"})
    );
    let found = |tags: Value| {
        let mut all = all.clone();
        of(&mut all, "users", "watcher")["tags"] = tags;
        check::differences(&plan, &all).unwrap()
    };
    // As newer brokers write tags, and as older ones did.
    assert_eq!(found(json!(["monitoring"])), Vec::<String>::new());
    assert_eq!(found("monitoring".into()), Vec::<String>::new());
    assert_eq!(
        found(json!(["administrator"])),
        ["different   user watcher: tags are administrator, should be monitoring"]
    );
}

#[test]
fn what_should_not_be_there_is_told() {
    let push = |section: &'static str, item: Value| {
        found(move |all| match &mut all[section] {
            Value::Array(items) => items.push(item),
            // The definitions that are expected have no such section.
            none => *none = json!([item]),
        })
    };
    let guest =
        json!({"user": "guest", "vhost": "jobs", "configure": "", "write": "", "read": ".*"});
    assert_eq!(
        push("permissions", guest),
        ["unexpected  permissions of guest"]
    );
    let elsewhere =
        json!({"user": "guest", "vhost": "/", "configure": "", "write": "", "read": ".*"});
    assert_eq!(push("permissions", elsewhere), Vec::<String>::new());
    let bound = json!({
        "source": "jobs", "vhost": "jobs", "destination": "work.vm.create", "destination_type": "queue",
        "routing_key": "job.vm.delete", "arguments": {},
    });
    assert_eq!(
        push("bindings", bound),
        ["unexpected  binding jobs job.vm.delete work.vm.create"]
    );
    let audit = json!({
        "source": "jobs", "vhost": "jobs", "destination": "audit", "destination_type": "queue",
        "routing_key": "audit.#", "arguments": {},
    });
    assert_eq!(push("bindings", audit), Vec::<String>::new());
    let policy = json!({
        "name": "short", "vhost": "jobs", "pattern": "^work", "definition": {"message-ttl": 1},
    });
    assert_eq!(
        push("policies", policy),
        [r#"unexpected  policy "short" for "^work": sets message-ttl"#]
    );
    let leader = json!({
        "name": "ha", "vhost": "jobs", "pattern": ".*", "definition": {"queue-leader-locator": "balanced"},
    });
    assert_eq!(push("policies", leader.clone()), Vec::<String>::new());
    let mut first = leader;
    first["priority"] = 5.into();
    assert_eq!(
        push("policies", first),
        [r#"unexpected  policy "ha" for ".*": hides those that are expected"#]
    );
    let theirs = json!({
        "name": "theirs", "vhost": "jobs", "pattern": "^audit$", "definition": {"max-length": 5},
    });
    assert_eq!(push("policies", theirs), Vec::<String>::new());
    let own = json!({
        "name": "own", "vhost": "jobs", "pattern": "^jobs\\.control\\.", "definition": {"expires": 5},
    });
    assert_eq!(push("policies", own).len(), 1);
    let odd = json!({
        "name": "odd", "vhost": "jobs", "pattern": "^(?!a)", "definition": {"expires": 5},
    });
    assert_eq!(push("policies", odd).len(), 1);
    let operator = json!({
        "name": "small", "vhost": "jobs", "pattern": "^jobs", "definition": {"max-length": 5},
    });
    assert_eq!(
        push("operator_policies", operator),
        [r#"unexpected  operator policy "small" for "^jobs": sets max-length"#]
    );
}
