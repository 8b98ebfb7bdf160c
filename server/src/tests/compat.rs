//! The original service's transcript, and what its clients may get wrong.

use serde_json::{Value, json};

use super::support::{MEMBER, Suite, next, vm};

#[tokio::test(start_paused = true)]
async fn t01_the_original_transcript_runs_literally() {
    let suite = Suite::start().await;
    let connect = suite
        .request("POST", "/v1/connect")
        .json(&json!({"login": "joe", "password": "1234"}))
        .send()
        .await;
    assert_eq!(connect.status, 200);
    assert_eq!(connect.header("cache-control"), "no-store");
    let access = connect.json();
    let token = access["access"]["token"]["id"].as_str().unwrap();
    assert_eq!(access["access"]["token"]["tenant"]["name"], "demo");
    assert_eq!(access["access"]["user"]["name"], "joe");
    assert_eq!(access["access"]["user"]["roles"][0]["name"], "member");
    assert_eq!(access["access"]["serviceCatalog"], json!([]));

    let mut work = suite.work("vm.create").await;
    let body = "{\n  \"app_env\": \"DEV\",\n  \"app_trigram\": \"string\",\n  \"vm_desc\": \"string\",\n  \
                \"vm_hostname\": \"lxstring\",\n  \"vm_profile\": \"Micro\",\n  \"vm_region\": \"GreaterParis\"\n}";
    let created = suite
        .request("POST", "/v1/vm/")
        .header("Content-Type", "application/json")
        .header("Accept", "application/json")
        .token(token)
        .body(body)
        .send()
        .await;
    assert_eq!(created.status, 202);
    let uuid = created.json()["uuid"].as_str().unwrap().to_owned();
    assert_eq!(
        String::from_utf8(created.body.to_vec()).unwrap(),
        format!("{{\"status\":\"OK\",\"uuid\":\"{uuid}\"}}")
    );
    assert_eq!(created.header("location"), format!("/v1/vm/{uuid}"));
    assert_eq!(
        created.header("link"),
        format!("</v1/jobs/{uuid}>; rel=\"monitor\"")
    );
    assert_eq!(created.header("idempotency-replayed"), "false");
    assert_eq!(created.header("retry-after"), "2");

    let text = |state: &str| {
        format!(
            "{{\"app_trigram\":\"string\",\"uuid\":\"{uuid}\",\"app_env\":\"DEV\",\
             \"vm_region\":\"GreaterParis\",\"state\":\"{state}\",\"vm_profile\":\"Micro\",\
             \"vm_desc\":\"string\",\"vm_hostname\":\"lxstring\"}}"
        )
    };
    let path = format!("/v1/vm/{uuid}");
    let view = suite.request("GET", &path).token(token).send().await;
    assert_eq!(
        (view.status.as_u16(), &view.body[..]),
        (200, text("INPROGRESS").as_bytes())
    );

    suite.finish(next(&mut work).await).await;
    suite.caught_up().await;
    let view = suite.request("GET", &path).token(token).send().await;
    assert_eq!(
        (view.status.as_u16(), &view.body[..]),
        (200, text("SUCCESSFULL").as_bytes())
    );

    let wrong = suite.request("GET", &path).token("wrong").send().await;
    wrong.is_problem(401, "token-invalid");
}

#[tokio::test(start_paused = true)]
async fn t08_both_spellings_of_the_path_are_served_and_unknown_fields_dropped() {
    let suite = Suite::start().await;
    let mut work = suite.work("vm.create").await;
    let mut body = vm();
    body["token"] = "s3cret".into();
    body["colour"] = json!({"deep": [1]});
    for (path, host) in [("/v1/vm", "lx1"), ("/v1/vm/", "lx2")] {
        body["vm_hostname"] = json!(host);
        assert_eq!(suite.post(path, body.clone()).await.status, 202);
        let delivery = next(&mut work).await;
        let command: Value = serde_json::from_slice(&delivery.message.body).unwrap();
        let mut expected = vm();
        expected["vm_hostname"] = json!(host);
        assert_eq!(command["data"]["job"]["input"], expected);
        delivery.ack().await.unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn the_status_of_an_accepted_request_is_a_setting() {
    let suite = Suite::with(|c| c.compat_post_status = crate::CompatPostStatus::Ok).await;
    assert_eq!(suite.post("/v1/vm/", vm()).await.status, 200);
}

#[tokio::test(start_paused = true)]
async fn t08_a_host_name_without_lx_is_a_bad_hostname() {
    let suite = Suite::start().await;
    for hostname in [
        json!("web01"),
        json!("-lx"),
        json!("lx.web"),
        json!("l"),
        json!(7),
        Value::Null,
    ] {
        let mut body = vm();
        body["vm_hostname"] = hostname;
        let problem = suite
            .post("/v1/vm/", body)
            .await
            .is_problem(400, "validation");
        assert_eq!(problem["request_error"], "bad hostname");
        assert_eq!(problem["errors"][0]["pointer"], "/vm_hostname");
    }
}

#[tokio::test(start_paused = true)]
async fn t08_every_wrong_field_is_400_with_the_original_key() {
    let suite = Suite::start().await;
    for (field, value) in [
        ("app_env", json!("TEST")),
        ("app_trigram", json!("a b")),
        ("vm_desc", json!("a\u{0}b")),
        ("vm_desc", json!("x".repeat(1025))),
        ("vm_profile", json!("Huge")),
        ("vm_region", json!(["North"])),
    ] {
        let mut body = vm();
        body[field] = value;
        let problem = suite
            .post("/v1/vm/", body)
            .await
            .is_problem(400, "validation");
        assert_eq!(problem["request_error"], format!("bad {field}"));
        assert_eq!(problem["errors"][0]["pointer"], format!("/{field}"));
    }
    let problem = suite
        .post("/v1/vm/", json!({}))
        .await
        .is_problem(400, "validation");
    assert_eq!(problem["errors"].as_array().unwrap().len(), 6);
    suite
        .post("/v1/vm/", json!([]))
        .await
        .is_problem(400, "validation");
}

#[tokio::test(start_paused = true)]
async fn deleting_is_a_job_of_its_own_kind() {
    let suite = Suite::start().await;
    let mut work = suite.work("vm.delete").await;
    let deleted = suite
        .request("DELETE", "/v1/vm/")
        .token(MEMBER)
        .json(&json!({"vm_hostname": "lxstring"}))
        .send()
        .await;
    assert_eq!(deleted.status, 202);
    assert_eq!(deleted.json()["status"], "OK");
    let uuid = deleted.json()["uuid"].as_str().unwrap().to_owned();
    assert_eq!(deleted.header("location"), format!("/v1/jobs/{uuid}"));
    next(&mut work).await.ack().await.unwrap();
    // Not a creation, so not under this path.
    let view = suite.get(&format!("/v1/vm/{uuid}")).await;
    view.is_problem(404, "job-not-found");
    assert_eq!(
        suite.get(&format!("/v1/jobs/{uuid}")).await.json()["kind"],
        "vm.delete"
    );
}

#[tokio::test(start_paused = true)]
async fn a_failed_creation_says_why() {
    let suite = Suite::start().await;
    let mut work = suite.work("vm.create").await;
    let uuid = suite.submit().await;
    let delivery = next(&mut work).await;
    let command = vmctl_core::event::Event::parse(&delivery.message.body).unwrap();
    suite
        .say(&command, vmctl_core::event::EventType::Failed, |event| {
            event.data.state = vmctl_core::JobState::Failed;
            event.data.error = Some(vmctl_core::JobError {
                error_type: "quota".into(),
                title: "no room".into(),
                detail: None,
                retryable: false,
                attempt: Some(1),
                worker: None,
            });
        })
        .await;
    suite.caught_up().await;
    let view = suite.get(&format!("/v1/vm/{uuid}")).await.json();
    assert_eq!(
        (&view["state"], &view["error"]["type"]),
        (&json!("FAILED"), &json!("quota"))
    );
}

#[tokio::test(start_paused = true)]
async fn a_token_can_be_tested() {
    let suite = Suite::start().await;
    let test = async |body: Value| {
        suite
            .request("POST", "/v1/testtoken")
            .json(&body)
            .send()
            .await
    };
    let valid = test(json!({"token": MEMBER})).await;
    assert_eq!(valid.status, 200);
    assert_eq!(valid.header("cache-control"), "no-store");
    assert_eq!(valid.json()["access"]["user"]["name"], "joe");
    test(json!({"token": "wrong"}))
        .await
        .is_problem(401, "token-invalid");
    test(json!({"token": ""}))
        .await
        .is_problem(401, "token-invalid");
    test(json!({})).await.is_problem(400, "validation");
    test(json!({"token": 1}))
        .await
        .is_problem(400, "validation");
}
