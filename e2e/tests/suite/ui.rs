//! `/ui` in a real browser, over a standalone: what a person sees and does there.

use std::{
    fs::{self, File},
    io::Write as _,
    os::unix::fs::PermissionsExt as _,
    path::Path,
    process::Command,
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};
use tempfile::TempDir;
use vmctl_daemon::testing::free_port;

use crate::support::{
    api::{self, Api},
    browser::{self, Browser, ENTER, ESCAPE, TAB},
    cut::Relay,
    environment,
    process::Process,
    suite::{DRAIN, Suite},
};

/// Runs instead of Ansible: says what would be a script if the page took it for one, then does as it
/// is told through a pipe, or fails until it is mended.
const PLAY: &str = r#"#!/bin/sh
for playbook; do :; done
echo '<script>document.title = "owned"</script>'
echo '<img src=x onerror="document.title = 1">' >&2
case $playbook in
*/hold.yml) while read -r line; do echo "heard $line"; done <hold ;;
*/fail.yml) [ -e mended ] || exit 2 ;;
esac
echo over
"#;

const EVIL: &str = "<img src=x onerror=\"document.title = 2\">";

/// How long the standalone may take to stop.
const STOP: Duration = Duration::from_secs(30);

/// A standalone, a browser before its page, and who asks for jobs beside it.
struct Stage {
    dir: TempDir,
    port: u16,
    server: Option<Process>,
    pipe: File,
    api: Api,
    browser: Browser,
}

impl Stage {
    /// Starts all; `None` where there is no browser.
    async fn set(name: &str) -> Result<Option<Self>> {
        if !browser::present()? {
            return Ok(None);
        }
        let dir = tempfile::tempdir()?;
        let plays = dir.path().join("plays");
        fs::create_dir(&plays)?;
        for playbook in ["hold.yml", "fail.yml", "quick.yml"] {
            File::create(plays.join(playbook))?;
        }
        let play = dir.path().join("play");
        fs::write(&play, PLAY)?;
        fs::set_permissions(&play, fs::Permissions::from_mode(0o700))?;
        let hold = plays.join("hold");
        ensure!(
            Command::new("mkfifo").arg(&hold).status()?.success(),
            "mkfifo"
        );
        // For both directions, so that opening it waits for nobody.
        let pipe = File::options().read(true).write(true).open(&hold)?;
        let port = free_port();
        let server = start(dir.path(), port).await?;
        let http = api::http()?;
        let api = Api::new(&http, &server, &token(&http, &server).await?);
        let browser = Browser::start().await?;
        browser.open(&format!("{}/ui", server.url())).await?;
        browser.sees("h1", "Sign in").await?;
        eprintln!("{name}: {}", server.url());
        Ok(Some(Self {
            dir,
            port,
            server: Some(server),
            pipe,
            api,
            browser,
        }))
    }

    /// Signs in, and waits until the page is live.
    async fn enter(&self, user: &str) -> Result<()> {
        self.browser.fill("[name=login]", user).await?;
        self.browser.fill("[name=password]", "1234").await?;
        self.browser.press(&ENTER.to_string()).await?;
        self.browser.sees("h1", "Jobs").await?;
        self.browser.sees("#live", "Live").await
    }

    /// Opens a view by its address.
    async fn go(&self, hash: &str) -> Result<()> {
        let script = "location.hash = arguments[0]";
        self.browser.run(script, json!([hash])).await?;
        Ok(())
    }

    /// Stops it, as its user would.
    async fn end(mut self) -> Result<()> {
        self.browser.end().await?;
        self.server.take().context("it runs")?.stop(STOP).await
    }
}

async fn start(dir: &Path, port: u16) -> Result<Process> {
    let mut command = Command::new(environment::program("vmctl-standalone")?);
    command.args([
        "--user",
        "joe:1234:demo",
        "--user",
        "ann:1234:demo",
        "--admin",
        "ann",
    ]);
    let path = |name: &str| dir.join(name).display().to_string();
    let settings = [
        ("VMCTL_LISTEN", format!("127.0.0.1:{port}")),
        ("VMCTL_DATA_DIR", path("data")),
        ("VMCTL_SIMULATED_DURATION", "8s".to_owned()),
        ("VMCTL_ANSIBLE_PLAYBOOKS", path("plays")),
        ("VMCTL_ANSIBLE_PROGRAM", path("play")),
    ];
    let settings = settings.map(|(name, value)| (name.to_owned(), value));
    Process::run(
        command,
        "standalone",
        &dir.join("standalone.log"),
        &settings,
    )
    .await
}

async fn token(http: &reqwest::Client, server: &Process) -> Result<String> {
    let login = json!({"login": "joe", "password": "1234"});
    let url = format!("{}/v1/connect", server.url());
    let answer = http
        .post(url)
        .json(&login)
        .send()
        .await?
        .error_for_status()?;
    let body: Value = answer.json().await?;
    let token = body["access"]["token"]["id"].as_str();
    Ok(token.context("no token")?.to_owned())
}

fn play(name: &str, note: &str) -> Value {
    json!({
        "kind": "ansible.run", "labels": {"note": note},
        "input": {"playbook": format!("{name}.yml"), "hosts": ["lx1"]},
    })
}

fn row(id: &str) -> String {
    format!("tr:has(a[href=\"#/jobs/{id}\"])")
}

/// The page of a server of the suite, with a user of Keystone, and a job that another server has taken.
#[tokio::test]
async fn ui_of_a_server_beside_others() -> Result<()> {
    if !browser::present()? {
        return Ok(());
    }
    let Some(suite) = Suite::new("ui").await? else {
        return Ok(());
    };
    let three = suite.start_three().await?;
    let other = suite.start_ready("server").await?;
    let page = Browser::start().await?;
    page.open(&format!("{}/ui", other.url())).await?;
    page.sees("h1", "Sign in").await?;
    page.fill("[name=login]", &environment::var("VMCTL_TEST_USER")?)
        .await?;
    page.fill("[name=password]", &environment::var("VMCTL_TEST_PASSWORD")?)
        .await?;
    page.press(&ENTER.to_string()).await?;
    page.sees("h1", "Jobs").await?;
    page.sees("#live", "Live").await?;
    let api = suite.user(&three.server).await?;
    let id = api.create().await?;
    page.sees(&row(&id), "succeeded").await?;
    page.shot("beside-others").await?;
    let complaints = page.complaints().await?;
    ensure!(complaints.is_empty(), "{complaints:?}");
    page.end().await?;
    other.stop(DRAIN).await?;
    three.stop().await
}

#[tokio::test]
async fn ui_signing_in_and_out() -> Result<()> {
    let Some(stage) = Stage::set("signing in").await? else {
        return Ok(());
    };
    let page = &stage.browser;
    page.shot("sign-in").await?;
    page.fill("[name=login]", "joe").await?;
    page.fill("[name=password]", "wrong").await?;
    page.click("button.main").await?;
    page.sees("[role=alert]", "User name or password refused")
        .await?;
    page.shot("sign-in-refused").await?;
    stage.enter("joe").await?;
    page.sees("#user", "joe in demo").await?;
    let kept =
        "return JSON.stringify([localStorage.length, document.cookie, sessionStorage.length])";
    ensure!(
        page.run(kept, json!([])).await? == "[0,\"\",1]",
        "kept elsewhere"
    );
    page.run("location.reload()", json!([])).await?;
    page.sees("#user", "joe in demo").await?;

    page.click("#out").await?;
    page.sees("h1", "Sign in").await?;
    ensure!(
        page.run(kept, json!([])).await? == "[0,\"\",0]",
        "still kept"
    );
    page.run("location.reload()", json!([])).await?;
    page.sees("h1", "Sign in").await?;

    // With a token of one's own, and with one that is none.
    page.click("form:nth-of-type(2) summary").await?;
    page.fill("[name=token]", "nonsense").await?;
    page.press(&ENTER.to_string()).await?;
    page.sees("[role=alert]", "token is not valid").await?;
    page.fill("[name=token]", &stage.api.token).await?;
    page.press(&ENTER.to_string()).await?;
    page.sees("#user", "joe in demo").await?;
    stage.end().await
}

#[tokio::test]
async fn ui_jobs_move_and_are_filtered_without_loading_anew() -> Result<()> {
    let Some(stage) = Stage::set("jobs").await? else {
        return Ok(());
    };
    let page = &stage.browser;
    stage.enter("joe").await?;
    page.run("window.isTheSame = true", json!([])).await?;
    let machine = stage.api.create().await?;
    let line = row(&machine);
    page.sees(&line, "running").await?;
    page.sees(&line, "lxe2e").await?;
    page.holds("its progress moves", &moves(&machine)).await?;
    page.shot("list-running").await?;

    let evil = stage.api.submit(&play("quick", EVIL)).await?;
    page.sees(&row(&evil), "succeeded").await?;
    page.sees(&row(&evil), EVIL).await?;
    page.sees(&line, "succeeded").await?;
    let failed = stage.api.submit(&play("fail", "to fail")).await?;
    page.sees(&row(&failed), "failed").await?;
    page.sees("#summary", "3 jobs shown").await?;

    page.fill("[name=text]", "LXE2E").await?;
    page.sees("#summary", "1 job shown").await?;
    page.fill("[name=text]", "a name that nobody has").await?;
    page.sees("#summary", "0 jobs shown").await?;
    page.fill("[name=text]", "note:to").await?;
    page.sees("#summary", "1 job shown").await?;
    page.run(
        "location.hash = '#/jobs?state=succeeded&kind=ansible.run'",
        json!([]),
    )
    .await?;
    page.sees("#summary", "1 job shown").await?;
    page.sees("main", EVIL).await?;
    page.click("[name=kind] option[value=\"\"]").await?;
    page.sees("#summary", "2 jobs shown").await?;
    page.shot("list-filtered").await?;

    page.click(&format!("a[href=\"#/jobs/{evil}\"]")).await?;
    page.sees("h1", EVIL).await?;
    page.sees(".log", "<script>document.title").await?;
    page.sees(".log", "<img src=x onerror").await?;
    page.holds(
        "nothing was taken for markup",
        "document.images.length === 0",
    )
    .await?;
    let same = "window.isTheSame && document.title.endsWith(' – vmctl')";
    page.holds("it is the same page, with its own title", same)
        .await?;
    page.shot("job-hostile").await?;

    // One that is not there.
    stage
        .go("#/jobs/7fda68b7-b4de-85a6-99fd-57b019cf19ae")
        .await?;
    page.sees("[role=alert]", "No such job").await?;
    stage.end().await
}

/// An expression that is true once the progress of a job has been seen at two places.
fn moves(id: &str) -> String {
    let bar = format!("document.querySelector(`{} progress`).value", row(id));
    format!(
        "(() => {{ window.seen ??= new Set(); const at = {bar}; if (at > 0 && at < 100) seen.add(at); \
         return seen.size >= 2 }})()"
    )
}

#[tokio::test]
async fn ui_cancels_with_the_keyboard_alone() -> Result<()> {
    let Some(mut stage) = Stage::set("keyboard").await? else {
        return Ok(());
    };
    let held = stage.api.submit(&play("hold", "held")).await?;
    let page = &stage.browser;
    stage.enter("joe").await?;
    page.sees(&row(&held), "running").await?;
    page.holds(
        "who comes is told where it is",
        "document.activeElement.tagName === 'H1'",
    )
    .await?;
    page.tab_to(&format!("a[href=\"#/jobs/{held}\"]")).await?;
    page.press(&ENTER.to_string()).await?;
    page.sees("h1", "note: held").await?;
    page.holds(
        "the focus is at the heading",
        "document.activeElement.tagName === 'H1'",
    )
    .await?;
    page.sees(".timeline", "Started").await?;

    // Lines come as they are written.
    page.sees(".log", "<script>").await?;
    writeln!(stage.pipe, "one")?;
    page.sees(".log", "heard one").await?;
    page.shot("job-running").await?;

    page.tab_to(".actions .danger").await?;
    page.press(&ENTER.to_string()).await?;
    page.holds(
        "it is asked first",
        "document.querySelector('dialog[open]') !== null",
    )
    .await?;
    page.shot("dialog").await?;
    page.press(&ESCAPE.to_string()).await?;
    page.holds("no is no", "document.querySelector('dialog') === null")
        .await?;
    ensure!(
        stage.api.job(&held).await?.body["cancel_requested_at"].is_null(),
        "it was cancelled"
    );
    page.holds(
        "the focus is back",
        "document.activeElement.matches('.danger')",
    )
    .await?;
    page.press(&ENTER.to_string()).await?;
    page.holds(
        "the safe answer has the focus",
        "document.activeElement.value === 'no'",
    )
    .await?;
    page.tab_to("dialog [name=field]").await?;
    page.press("not needed").await?;
    page.tab_to("dialog .danger").await?;
    page.press(&ENTER.to_string()).await?;
    page.sees(".headline", "cancelled").await?;
    page.sees(".timeline", "Somebody asked to cancel").await?;
    stage.api.until(&held, "cancelled").await?;
    let shown = "!document.querySelector('.actions .danger').checkVisibility()";
    page.holds("an ended job cannot be cancelled", shown)
        .await?;
    stage.end().await
}

#[tokio::test]
async fn ui_runs_again_with_the_keyboard_alone() -> Result<()> {
    let Some(stage) = Stage::set("running again").await? else {
        return Ok(());
    };
    let page = &stage.browser;
    stage.enter("joe").await?;
    let failed = stage.api.submit(&play("fail", "to fail")).await?;
    stage.api.until(&failed, "failed").await?;
    stage.go(&format!("#/jobs/{failed}")).await?;
    page.sees(".headline", "failed").await?;
    page.sees("main", "playbook fail.yml failed").await?;
    page.shot("job-failed").await?;
    File::create(stage.dir.path().join("plays/mended"))?;
    page.tab_to(".actions button:not(.danger)").await?;
    page.press(&ENTER.to_string()).await?;
    page.sees("dialog", "Run this job again?").await?;
    page.press(&format!("{TAB}{ENTER}")).await?;
    page.sees(".headline", "succeeded").await?;
    page.sees(".facts", "run 2").await?;
    page.sees(".log", "over").await?;

    // Signing out too.
    page.tab_to("#out").await?;
    page.press(&ENTER.to_string()).await?;
    page.sees("h1", "Sign in").await?;
    stage.end().await
}

#[tokio::test]
async fn ui_goes_on_after_a_cut_and_a_restart() -> Result<()> {
    let Some(mut stage) = Stage::set("cuts").await? else {
        return Ok(());
    };
    let address = stage.server.as_ref().context("it runs")?.address;
    let relay = Relay::start((address.ip().to_string(), address.port())).await;
    stage
        .browser
        .open(&format!("http://{}/ui/", relay.address))
        .await?;
    stage.enter("joe").await?;
    let before = stage.api.submit(&play("quick", "before")).await?;
    stage.browser.sees(&row(&before), "succeeded").await?;
    relay.set_down(true);
    stage.browser.sees("#live", "Connecting again").await?;
    stage.browser.shot("cut").await?;
    let meanwhile = stage.api.submit(&play("quick", "meanwhile")).await?;
    stage.api.until(&meanwhile, "succeeded").await?;
    relay.set_down(false);
    stage.browser.sees("#live", "Live").await?;
    stage.browser.sees(&row(&meanwhile), "succeeded").await?;

    // The standalone keeps jobs and forgets tokens.
    stage.server.take().context("it runs")?.stop(STOP).await?;
    stage.browser.sees("#live", "Connecting again").await?;
    stage.server = Some(start(stage.dir.path(), stage.port).await?);
    stage
        .browser
        .sees("[role=alert]", "token is not valid")
        .await?;
    stage.enter("joe").await?;
    stage.browser.sees(&row(&before), "succeeded").await?;
    stage.browser.sees(&row(&meanwhile), "succeeded").await?;
    stage.end().await
}

#[tokio::test]
async fn ui_on_a_phone_and_in_the_dark() -> Result<()> {
    let Some(stage) = Stage::set("phone").await? else {
        return Ok(());
    };
    let page = &stage.browser;
    let long = stage.api.submit(&play("quick", &"x".repeat(200))).await?;
    let machine = stage.api.create().await?;
    stage.api.until(&long, "succeeded").await?;
    page.resize(360, 740).await?;
    let fits = "document.documentElement.scrollWidth <= 360 && innerWidth === 360";
    page.holds("signing in fits", fits).await?;
    page.shot("phone-sign-in").await?;
    stage.enter("joe").await?;
    page.sees(&row(&machine), "lxe2e").await?;
    let job = format!("#/jobs/{long}");
    let views = [
        ("list", "#/jobs", "Jobs"),
        ("job", job.as_str(), "note: xxx"),
        ("service", "#/service", "Service"),
    ];
    for (name, hash, heading) in views {
        stage.go(hash).await?;
        page.sees("h1", heading).await?;
        page.holds(&format!("{name} fits"), fits).await?;
        page.shot(&format!("phone-{name}")).await?;
    }
    page.sees("main", "Only admins see this").await?;
    stage.go("#/jobs").await?;
    page.sees("h1", "Jobs").await?;
    page.click("#out").await?;
    page.sees("h1", "Sign in").await?;

    page.resize(1280, 900).await?;
    let ground = "return getComputedStyle(document.body).backgroundColor";
    let light = page.run(ground, json!([])).await?;
    page.prefer("dark").await?;
    ensure!(
        page.run(ground, json!([])).await? != light,
        "the dark is as the light"
    );
    stage.enter("ann").await?;
    page.sees("h1", "Jobs").await?;
    for (name, hash, heading) in views {
        stage.go(hash).await?;
        page.sees("h1", heading).await?;
        page.shot(&format!("dark-{name}")).await?;
    }
    page.sees("main", "work.vm.create").await?;
    page.sees("main", "vmctl-standalone").await?;
    page.shot("dark-service").await?;
    page.prefer("light").await?;
    page.shot("service").await?;
    stage.api.until(&machine, "succeeded").await?;
    page.sees("figure", "2, of which 0 failed").await?;
    stage.end().await
}
