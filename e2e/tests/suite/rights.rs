//! A user of broker and Redis for each program: the whole path works with them, and what they may not do
//! is refused.

use std::fs;

use anyhow::{Result, ensure};
use reqwest::Method;
use serde_json::{Value, json};

use crate::support::{
    api::{Api, creation, input},
    broker::MAIN,
    effects::one_machine_each,
    environment::var,
    group::{Group, Kind, PAIR, SHARDS},
    process::Process,
    receiver::Receiver,
    suite::{DRAIN, Suite, Three},
    users::Users,
    wait::eventually,
};

/// A place with users, and an ACL file in its Redis.
async fn place(case: &str) -> Result<Option<(Suite, Users)>> {
    let Some(mut suite) = Suite::new(case).await? else {
        return Ok(None);
    };
    let users = Users::create(&suite).await?;
    suite.redis.stop().await?;
    let acl = suite.directory().join("users.acl");
    fs::write(&acl, users.redis_acl()?)?;
    suite.redis.start_with_users(&acl).await?;
    Ok(Some((suite, users)))
}

/// Starts a program as its own user.
async fn start(suite: &mut Suite, users: &Users, component: &str, user: &str) -> Result<Process> {
    let redis = suite.redis.url();
    start_on(&redis, suite, users, component, user).await
}

/// The same, on another Redis.
async fn start_on(
    redis: &str,
    suite: &mut Suite,
    users: &Users,
    component: &str,
    user: &str,
) -> Result<Process> {
    log_in(redis, suite, users, component, user)?;
    suite.start_ready(component).await
}

/// Gives a program the addresses with its own user in them.
fn log_in(
    redis: &str,
    suite: &mut Suite,
    users: &Users,
    component: &str,
    user: &str,
) -> Result<()> {
    suite.set("VMCTL_AMQP_URL", users.broker(suite, user)?);
    suite.set("VMCTL_REDIS_URL", users.redis(redis, component));
    Ok(())
}

/// What Redis has refused so far.
fn refused_by_redis(suite: &Suite) -> Result<String> {
    suite.redis.cli(&["ACL", "LOG"])
}

#[tokio::test]
async fn the_whole_path_works_with_a_user_for_each_program() -> Result<()> {
    let Some((mut suite, users)) = place("rights").await? else {
        return Ok(());
    };
    let receiver = suite.receiver().await;
    let three = Three {
        reader: start(&mut suite, &users, "reader", "reader").await?,
        server: start(&mut suite, &users, "server", "server").await?,
        worker: start(&mut suite, &users, "worker", "worker").await?,
    };
    let api = suite.user(&three.server).await?;
    does_everything(&api, &receiver).await?;

    let log = refused_by_redis(&suite)?;
    ensure!(log.trim().is_empty(), "{log}");
    for process in [&three.server, &three.reader, &three.worker] {
        let log = process.log()?;
        ensure!(!log.contains("ACCESS_REFUSED"), "{log}");
    }
    found_as_it_should_be(&suite, &users).await?;
    three.stop().await
}

/// Submits, reads, lists, cancels and retries, with a callback and a flow.
async fn does_everything(api: &Api, receiver: &Receiver) -> Result<()> {
    let mut job = creation();
    job["callback"] = json!({"url": format!("http://{}/hook", receiver.address)});
    let told = api.submit(&job).await?;
    api.until(&told, "succeeded").await?;
    for what in ["", "/result", "/events", "/logs", "/callbacks"] {
        api.get(&format!("/v1/jobs/{told}{what}"))
            .await?
            .expect(200)?;
    }
    eventually("the callback is delivered", async || {
        let answer = api.job(&told).await.map_err(|error| format!("{error:#}"))?;
        let delivered = answer.body["callback"]["state"] == "delivered";
        delivered.then_some(()).ok_or(answer.text)
    })
    .await?;
    for list in ["/v1/jobs", "/v1/quota", "/v1/kinds"] {
        api.get(list).await?.expect(200)?;
    }

    // Later than a minute from now, so that a cancel ends it at once.
    let mut later = creation();
    later["input"]["vm_hostname"] = json!("lxlater");
    later["run_at"] = json!("PT30M");
    let later = api.submit(&later).await?;
    let cancel = format!("/v1/jobs/{later}/cancel");
    api.post(&cancel, &json!({})).await?.expect(200)?;
    let retry = format!("/v1/jobs/{later}/retry");
    api.post(&retry, &json!({})).await?.expect(202)?;
    api.post(&cancel, &json!({})).await?;
    api.until(&later, "cancelled").await?;

    let mut vm = input();
    vm["vm_hostname"] = json!("lxflow");
    let steps = json!([
        {"name": "make", "kind": "vm.create", "input": vm},
        {"name": "drop", "kind": "vm.delete", "input": {"vm_hostname": "lxflow"}},
    ]);
    let flow = api
        .submit(&json!({"kind": "flow.run", "input": {"steps": steps}}))
        .await?;
    api.until(&flow, "succeeded").await?;
    Ok(())
}

/// The whole path on a group of Redis servers, and again when others lead.
async fn works_on(kind: Kind, case: &str) -> Result<()> {
    let Some(group) = Group::take(kind).await? else {
        return Ok(());
    };
    let Some(mut suite) = Suite::new(case).await? else {
        return Ok(());
    };
    let users = Users::create(&suite).await?;
    users.let_into(&group)?;
    let receiver = suite.receiver().await;
    let redis = group.url()?;
    let three = Three {
        reader: start_on(&redis, &mut suite, &users, "reader", "reader").await?,
        server: start_on(&redis, &mut suite, &users, "server", "server").await?,
        worker: start_on(&redis, &mut suite, &users, "worker", "worker").await?,
    };
    let api = suite.user(&three.server).await?;
    let before = api.create().await?;
    does_everything(&api, &receiver).await?;
    group.change_masters().await?;
    api.until(&before, "succeeded").await?;
    does_everything(&api, &receiver).await?;
    users.try_to_empty(&group)?;
    let mut refused = users.refused_by(&group)?;
    // From Redis 7.2 on there is one thing that the library says unasked. Nothing depends on it.
    refused.retain(|command| command != "client|setinfo");
    ensure!(refused == ["flushall"], "{refused:?}");
    three.stop().await?;
    users.leave(&group)
}

#[tokio::test]
async fn the_whole_path_works_behind_sentinel_with_a_user_for_each_program() -> Result<()> {
    works_on(PAIR, "rights-pair").await
}

#[tokio::test]
async fn the_whole_path_works_in_a_cluster_with_a_user_for_each_program() -> Result<()> {
    works_on(SHARDS, "rights-shards").await
}

/// `topology check` finds nothing, and then what was changed.
async fn found_as_it_should_be(suite: &Suite, users: &Users) -> Result<()> {
    let url = users.broker(suite, "server")?;
    let (well, said) = users.topology_with("check", &[], &[("VMCTL_AMQP_URL", &url)])?;
    ensure!(well && said == "as it should be\n", "{said}");
    let api = var(MAIN.api)?;
    let check = || users.topology_with("check", &[], &[("VMCTL_RABBITMQ_API", &api)]);
    // The user of the tests is an administrator.
    let (well, said) = check()?;
    ensure!(well && said == "as it should be\n", "{said}");
    suite.vhost.delete_queue("jobs.dead").await?;
    let (well, said) = check()?;
    let expected = "missing     queue jobs.dead\n";
    ensure!(!well && said.starts_with(expected), "{said}");
    let (well, said) = users.topology_with("check", &[], &[("VMCTL_AMQP_URL", &url)])?;
    ensure!(!well && said.starts_with(expected), "{said}");
    Ok(())
}

#[tokio::test]
async fn a_worker_of_one_kind_works_with_its_own_rights() -> Result<()> {
    let Some((mut suite, users)) = place("makers").await? else {
        return Ok(());
    };
    suite.set("VMCTL_WORKER_KINDS", "vm.create");
    let three = Three {
        reader: start(&mut suite, &users, "reader", "reader").await?,
        server: start(&mut suite, &users, "server", "server").await?,
        worker: start(&mut suite, &users, "worker", "makers").await?,
    };
    let api = suite.user(&three.server).await?;
    let id = api.create().await?;
    api.until(&id, "succeeded").await?;
    three.worker.stop(DRAIN).await?;
    three.server.stop(DRAIN).await?;
    three.reader.stop(DRAIN).await
}

#[tokio::test]
async fn users_are_replaced_while_jobs_run() -> Result<()> {
    let Some((mut suite, users)) = place("replaced").await? else {
        return Ok(());
    };
    suite.set("VMCTL_SIMULATED_DURATION", "3s");
    let before = Three {
        reader: start(&mut suite, &users, "reader", "reader").await?,
        server: start(&mut suite, &users, "server", "server").await?,
        worker: start(&mut suite, &users, "worker", "worker").await?,
    };
    let api = suite.user(&before.server).await?;
    let mut ids = api.create_many(8).await?;

    let next = Users::with_prefix(&suite, "vmctl2").await?;
    next.let_into_redis(&suite)?;
    let after = Three {
        reader: start(&mut suite, &next, "reader", "reader").await?,
        worker: start(&mut suite, &next, "worker", "worker").await?,
        server: start(&mut suite, &next, "server", "server").await?,
    };
    ids.extend(api.create_many(4).await?);
    before.stop().await?;
    users.leave_redis(&suite)?;
    drop(users);
    let api = suite.user(&after.server).await?;
    ids.extend(api.create_many(4).await?);
    api.all_succeed(&ids).await?;
    one_machine_each(&suite.machines(), &ids)?;
    let management = var(MAIN.api)?;
    let (well, said) = next.topology_with("check", &[], &[("VMCTL_RABBITMQ_API", &management)])?;
    ensure!(well && said == "as it should be\n", "{said}");
    after.stop().await
}

#[tokio::test]
async fn a_queue_that_no_program_may_declare_stops_no_other_kind() -> Result<()> {
    let Some((mut suite, users)) = place("absent").await? else {
        return Ok(());
    };
    suite.vhost.delete_queue("work.vm.delete").await?;
    let redis = suite.redis.url();
    let mut waiting = Vec::new();
    for component in ["reader", "worker"] {
        log_in(&redis, &mut suite, &users, component, component)?;
        let process = suite.start(component).await?;
        eventually(component, async || {
            let report = suite.report(&process, "ready").await;
            let report = report.map_err(|error| format!("{error:#}"))?;
            let told = report.contains("not there, and not ours to declare: queue work.vm.delete");
            told.then_some(()).ok_or(report)
        })
        .await?;
        suite.probe(&process, "ready", 503).await?;
        waiting.push(process);
    }
    let server = start(&mut suite, &users, "server", "server").await?;
    let api = suite.user(&server).await?;
    let id = api.create().await?;
    api.until(&id, "succeeded").await?;
    let delete = json!({"kind": "vm.delete", "input": {"vm_hostname": input()["vm_hostname"]}});
    let refused = api.post("/v1/jobs", &delete).await?.expect(503)?;
    ensure!(refused.problem() == "kind-unavailable", "{refused:?}");

    users.import().await?;
    for process in &waiting {
        suite.probe(process, "ready", 200).await?;
    }
    let id = eventually("deletes are taken again", async || {
        api.submit(&delete)
            .await
            .map_err(|error| format!("{error:#}"))
    })
    .await?;
    api.until(&id, "succeeded").await?;
    server.stop(DRAIN).await?;
    for process in waiting {
        process.stop(DRAIN).await?;
    }
    Ok(())
}

fn message(key: &str, user_id: Option<&str>) -> Value {
    let properties = user_id.map_or_else(|| json!({}), |user| json!({"user_id": user}));
    json!({
        "properties": properties, "routing_key": key, "payload": "{}", "payload_encoding": "string",
    })
}

/// Who publishes where, with which key, and whether that is allowed.
const PUBLISHES: [(&str, &str, &str, bool); 45] = [
    // A worker of one kind: its own commands, events, ends.
    ("makers", "jobs", "job.vm.create", true),
    ("makers", "jobs", "delay.5s.job.vm.create", true),
    ("makers", "jobs", "event.vm.create.succeeded", true),
    ("makers", "jobs", "dead.vm.create", true),
    ("makers", "jobs.tick", "tick.vm.create.progress", true),
    ("makers", "jobs.tick", "tick.worker.alive", true),
    ("makers", "jobs", "job.vm.delete", false),
    ("makers", "jobs", "delay.5s.job.vm.delete", false),
    ("makers", "jobs", "job.callback.deliver", false),
    ("makers", "jobs", "event.vm.delete.succeeded", false),
    ("makers", "jobs", "event.vm.create.cancel_requested", false),
    ("makers", "jobs", "event.vm.create.kept", false),
    ("makers", "jobs", "event.vm.create.succeeded.x", false),
    ("makers", "jobs", "dead.vm.delete", false),
    ("makers", "jobs", "mark", false),
    ("makers", "jobs", "reader", false),
    ("makers", "jobs", "audit.submit", false),
    ("makers", "jobs.tick", "tick.vm.delete.log", false),
    ("makers", "jobs.control", "control", false),
    ("makers", "jobs.ready", "delay.5s.job.vm.create", false),
    ("makers", "jobs.dlx", "job.vm.create", false),
    // One of all kinds speaks for all kinds, and for nobody else.
    ("worker", "jobs", "event.vm.delete.succeeded", true),
    ("worker", "jobs", "mark", false),
    ("worker", "jobs", "audit.submit", false),
    ("worker", "jobs", "event.vm.delete.kept", false),
    // The server asks and never says how a job went.
    ("server", "jobs", "job.vm.delete", true),
    ("server", "jobs", "turn.vm.delete", true),
    ("server", "jobs", "mark", true),
    ("server", "jobs", "audit.submit", true),
    ("server", "jobs", "event.vm.create.cancel_requested", true),
    ("server", "jobs.control", "control", true),
    ("server", "jobs", "event.vm.create.started", false),
    ("server", "jobs", "event.vm.create.succeeded", false),
    ("server", "jobs", "dead.vm.create", false),
    ("server", "jobs", "reader", false),
    ("server", "jobs.tick", "tick.worker.alive", false),
    ("server", "amq.topic", "x", false),
    // The reader says what follows.
    ("reader", "jobs", "job.callback.deliver", true),
    ("reader", "jobs", "event.vm.create.deadline", true),
    ("reader", "jobs", "event.vm.create.kept", true),
    ("reader", "jobs", "mark", false),
    ("reader", "jobs", "audit.submit", false),
    ("reader", "jobs", "reader", false),
    ("reader", "jobs.control", "control", false),
    ("reader", "jobs.tick", "tick.vm.create.progress", false),
];

#[tokio::test]
async fn the_broker_refuses_what_a_user_may_not_do() -> Result<()> {
    let Some((_suite, users)) = place("refused").await? else {
        return Ok(());
    };
    users.let_in().await?;
    for (user, exchange, key, may) in PUBLISHES {
        let path = format!("exchanges/{{vhost}}/{exchange}/publish");
        let body = message(key, None);
        let (status, text) = users.attempt(user, Method::POST, &path, &body).await?;
        let label = format!("{user} publishes {key} to {exchange}: {status}: {text}");
        ensure!(status.is_success() == may, "{label}");
        ensure!(may || text.contains("refused"), "{label}");
    }
    let get = json!({"count": 1, "ackmode": "ack_requeue_true", "encoding": "auto"});
    for (user, queue, may) in [
        ("makers", "work.vm.create", true),
        ("makers", "work.vm.delete", false),
        ("makers", "work.callback.deliver", false),
        ("makers", "jobs.effects", false),
        ("makers", "jobs.dead", false),
        ("makers", "jobs.delay.5s", false),
        ("server", "work.vm.create", false),
        ("server", "jobs.effects", false),
        ("server", "jobs.turn", false),
        ("server", "jobs.reports", false),
        ("reader", "jobs.effects", true),
        ("reader", "jobs.turn", true),
        ("reader", "work.vm.create", false),
        ("reader", "jobs.dead", false),
    ] {
        let path = format!("queues/{{vhost}}/{queue}/get");
        let (status, text) = users.attempt(user, Method::POST, &path, &get).await?;
        ensure!(
            status.is_success() == may,
            "{user} reads {queue}: {status}: {text}"
        );
    }
    for user in ["server", "reader", "worker", "makers"] {
        for (method, path) in [
            (Method::DELETE, "queues/{vhost}/work.vm.create"),
            (Method::DELETE, "queues/{vhost}/work.vm.create/contents"),
            (Method::DELETE, "queues/{vhost}/jobs.log"),
            (Method::DELETE, "exchanges/{vhost}/jobs"),
            (Method::PUT, "queues/{vhost}/mine"),
            (Method::PUT, "exchanges/{vhost}/mine"),
            (Method::POST, "bindings/{vhost}/e/jobs/q/work.vm.delete"),
        ] {
            let own = (user, &path) == ("makers", &"queues/{vhost}/work.vm.create/contents")
                || (user, &path) == ("worker", &"queues/{vhost}/work.vm.create/contents");
            let body = json!({"durable": true, "type": "topic", "routing_key": "#"});
            let (status, text) = users.attempt(user, method.clone(), path, &body).await?;
            // Who takes the messages of a queue may take all of them.
            ensure!(
                status.is_success() == own,
                "{user}: {method} {path}: {status}: {text}"
            );
        }
    }
    a_forged_user_is_refused(&users).await
}

/// The broker compares `user_id` with who is connected.
async fn a_forged_user_is_refused(users: &Users) -> Result<()> {
    let path = "exchanges/{vhost}/jobs/publish";
    let (own, other) = (users.name("makers"), users.name("server"));
    let key = "event.vm.create.succeeded";
    let honest = message(key, Some(&own));
    let (status, text) = users.attempt("makers", Method::POST, path, &honest).await?;
    ensure!(status.is_success(), "{status}: {text}");
    let forged = message(key, Some(&other));
    let (status, text) = users.attempt("makers", Method::POST, path, &forged).await?;
    ensure!(
        !status.is_success() && text.contains("user_id"),
        "{status}: {text}"
    );
    Ok(())
}

#[tokio::test]
async fn redis_refuses_what_a_user_may_not_do() -> Result<()> {
    let Some((suite, users)) = place("redis-refused").await? else {
        return Ok(());
    };
    // Scripts without spaces, so that words are arguments.
    let everybody = [
        "FLUSHALL",
        "FLUSHDB",
        "CONFIG SET maxmemory 1",
        "CONFIG GET requirepass",
        "KEYS *",
        "SCAN 0",
        "DEBUG SLEEP 0",
        "SCRIPT KILL",
        "SCRIPT FLUSH",
        "SHUTDOWN NOSAVE",
        "ACL LIST",
        "CLIENT LIST",
        "REPLICAOF NO ONE",
        "PUBLISH x y",
        "GET elsewhere",
        "EVAL return(redis.call('DEL','elsewhere')) 0",
    ];
    let mut cases: Vec<(&str, &str)> = Vec::new();
    for user in ["server", "reader", "worker"] {
        cases.extend(everybody.map(|command| (user, command)));
    }
    cases.extend([
        ("worker", "HSET {p1}:job:x w 1"),
        ("worker", "DEL {p1}:job:x"),
        ("worker", "HSET {p1}:position o 1"),
        ("worker", "HGETALL {p1}:hist:x"),
        ("worker", "SET {p1}:lease me"),
        ("worker", "ZADD readers 1 me"),
        ("worker", "SET claim:1:p:x y"),
        (
            "worker",
            "EVAL return(redis.call('HSET',KEYS[1],'w','1')) 1 {p1}:job:x",
        ),
        ("server", "HSET {p1}:position o 1"),
        ("server", "HSET {p1}:lines:x b 1"),
        ("server", "SET {p1}:run:x:0:1:0 me"),
        ("server", "GET {p1}:lease"),
        ("server", "ZADD readers 1 me"),
        ("server", "RPUSH {p1}:bad x"),
        (
            "server",
            "EVAL return(redis.call('HSET',KEYS[1],'o','1')) 1 {p1}:position",
        ),
        ("reader", "SET {p1}:run:x:0:1:0 me"),
        ("reader", "GET {p1}:run:x:0:1:0"),
    ]);
    for (user, command) in cases {
        let said = redis_says(&suite, &users, user, command)?;
        // What a script may not do is said in other words, by Redis 7 and by Redis 8; and DEBUG is refused
        // to everybody.
        let words = [
            "NOPERM",
            "The user executing the script",
            "ACL failure in script",
            "DEBUG command not allowed",
        ];
        let refused = words.iter().any(|word| said.contains(word));
        ensure!(refused, "{user}: {command}: {said}");
    }
    for (user, command) in [
        ("server", "HSET {p1}:job:x w 1"),
        ("reader", "HSET {p1}:position o 1"),
        ("worker", "SET {p1}:run:x:0:1:0 me"),
        (
            "worker",
            "EVAL return(redis.call('HMGET',KEYS[1],'w')) 1 {p1}:job:x",
        ),
    ] {
        let said = redis_says(&suite, &users, user, command)?;
        let refused = said.contains("NOPERM") || said.contains("ERR");
        ensure!(!refused, "{user}: {command}: {said}");
    }
    Ok(())
}

/// Has a user give Redis the command that these words are.
fn redis_says(suite: &Suite, users: &Users, user: &str, command: &str) -> Result<String> {
    let words: Vec<_> = command.split(' ').collect();
    users.redis_says(suite, user, &words)
}
