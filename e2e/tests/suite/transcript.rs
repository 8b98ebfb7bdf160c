//! The original tutorial's dialogue, with its own `curl` commands.

use std::{process::Command, time::Duration};

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;

use crate::support::{
    api,
    effects::one_machine_each,
    environment::var,
    suite::Suite,
    wait::{eventually, pace},
};

/// "Lancement de la création", as printed there.
const CREATE: &str = r#"curl -X POST --header "Content-Type: application/json" \
--header "Accept: application/json" \
--header "X-TOKEN: ***" -d "{
  \"app_env\": \"DEV\",
  \"app_trigram\": \"string\",
  \"vm_desc\": \"string\",
  \"vm_hostname\": \"lxstring\",
  \"vm_profile\": \"Micro\",
  \"vm_region\": \"GreaterParis\"
}" "http://192.168.99.101:30356/v1/vm/""#;

/// "Récupération de l'état", as printed there.
const LOOK: &str = r#"curl -X GET --header "Accept: application/json" \
--header "X-TOKEN: *****" \
"http://192.168.99.101:30356/v1/vm/7fda68b7-b4de-45a6-99fd-57b019cf19ae""#;

/// What that showed at first.
const SHOWN: &str = r#"{
   "app_trigram":"string",
   "uuid":"7fda68b7-b4de-45a6-99fd-57b019cf19ae",
   "app_env":"DEV",
   "vm_region":"GreaterParis",
   "state":"INPROGRESS",
   "vm_profile":"Micro",
   "vm_desc":"string",
   "vm_hostname":"lxstring"
}"#;

const THERE: &str = "http://192.168.99.101:30356";
const ID: &str = "7fda68b7-b4de-45a6-99fd-57b019cf19ae";
const DURATION: Duration = Duration::from_secs(3);

/// Runs a command line in a shell; what it printed.
fn shell(command: &str) -> Result<String> {
    let output = Command::new("sh")
        .args(["-c", command])
        .env("NO_PROXY", "*")
        .output()?;
    ensure!(output.status.success(), "{command}: {output:?}");
    Ok(String::from_utf8(output.stdout)?)
}

/// Runs one of these `curl` commands; status and body.
fn with_status(command: &str) -> Result<(String, Value)> {
    let printed = shell(&format!("{command} -w '\\n%{{http_code}}'"))?;
    let (body, status) = printed.rsplit_once('\n').context("no status")?;
    Ok((status.to_owned(), serde_json::from_str(body)?))
}

#[tokio::test]
async fn t01_the_transcript_of_the_tutorial_runs_literally() -> Result<()> {
    let Some(mut suite) = Suite::new("transcript").await? else {
        return Ok(());
    };
    suite.set(
        "VMCTL_SIMULATED_DURATION",
        format!("{}s", DURATION.as_secs()),
    );
    let three = suite.start_three().await?;
    let here = three.server.url();

    let (user, password) = (var("VMCTL_TEST_USER")?, var("VMCTL_TEST_PASSWORD")?);
    let login = format!(
        r#"curl -s "{here}/v1/connect" -H 'Content-Type: application/json' -d '{{"login":"{user}","password":"{password}"}}'"#
    );
    let access: Value = serde_json::from_str(&shell(&login)?)?;
    let token = access["access"]["token"]["id"]
        .as_str()
        .context("no token")?;

    let create = CREATE.replace("***", token).replace(THERE, &here);
    let accepted: Value = serde_json::from_str(&shell(&create)?)?;
    let id = accepted["uuid"].as_str().context("no uuid")?;
    assert_eq!(accepted["status"], "OK");
    assert_eq!(accepted.as_object().map(serde_json::Map::len), Some(2));

    let look = LOOK.replace("*****", token).replace(THERE, &here);
    let look = look.replace(ID, id);
    let shown = shell(&look)?;
    let mut expected: Value = serde_json::from_str(&SHOWN.replace(ID, id))?;
    assert_eq!(serde_json::from_str::<Value>(&shown)?, expected);

    eventually("the machine is there", async || {
        let shown = shell(&look).map_err(|error| format!("{error:#}"))?;
        (!shown.contains("INPROGRESS")).then_some(()).ok_or(shown)
    })
    .await?;
    expected["state"] = "SUCCESSFULL".into();
    assert_eq!(serde_json::from_str::<Value>(&shell(&look)?)?, expected);

    let job = suite
        .user(&three.server)
        .await?
        .until(id, "succeeded")
        .await?;
    let time = |name: &str| -> Result<f64> {
        let text = job[name].as_str().context("no time")?;
        shell(&format!("date -d '{text}' +%s.%N"))?
            .trim()
            .parse()
            .context("no time")
    };
    let took = time("finished_at")? - time("started_at")?;
    assert!(took >= DURATION.as_secs_f64() * 0.9, "took {took} s: {job}");
    one_machine_each(&suite.machines(), &[id.to_owned()])?;

    for command in [
        CREATE.replace("***", "wrong").replace(THERE, &here),
        LOOK.replace("*****", "wrong").replace(THERE, &here),
    ] {
        let (status, problem) = with_status(&command)?;
        assert_eq!((status.as_str(), &problem["status"]), ("401", &401.into()));
    }
    let (status, problem) = with_status(&create.replace("lxstring", "webstring"))?;
    assert_eq!(status, "400", "{problem}");
    assert_eq!(problem["request_error"], "bad hostname");
    three.stop().await
}

#[tokio::test]
async fn t06_a_job_can_be_read_as_soon_as_it_is_accepted() -> Result<()> {
    let Some(mut suite) = Suite::new("read-your-write").await? else {
        return Ok(());
    };
    suite.set("VMCTL_SIMULATED_DURATION", "0s");
    let three = suite.start_three().await?;
    let api = suite.user(&three.server).await?;
    for _ in 0..50 {
        let answer = api.post("/v1/vm/", &api::input()).await?.expect(202)?;
        let id = answer.body["uuid"].as_str().context("no uuid")?.to_owned();
        let shown = api.get(&format!("/v1/vm/{id}")).await?.expect(200)?;
        let state = shown.body["state"].as_str().context("no state")?;
        assert!(["INPROGRESS", "SUCCESSFULL"].contains(&state), "{state}");
        pace().await;
    }
    three.stop().await
}
