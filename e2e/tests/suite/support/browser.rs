//! A real browser: Chromium without a window, driven over W3C WebDriver.

use std::{
    fs,
    os::unix::process::CommandExt as _,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

use anyhow::{Context as _, Result, bail, ensure};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use reqwest::Method;
use serde_json::{Value, json};
use tempfile::TempDir;
use vmctl_daemon::testing::free_port;

use super::{api, environment, wait::eventually};

const CHROMIUM: &str = "/usr/bin/chromium";
const DRIVER: &str = "chromedriver";

/// Where screenshots are kept; without it they go with the test.
const SHOTS: &str = "VMCTL_TEST_SCREENSHOTS";

/// How WebDriver names an element.
const ELEMENT: &str = "element-6066-11e4-a52e-4f735466cecf";

/// Most presses of a key until the focus is where it should be.
const PRESSES: usize = 80;

/// Keys, as WebDriver writes them.
pub const TAB: char = '\u{e004}';
pub const ENTER: char = '\u{e007}';
pub const ESCAPE: char = '\u{e00c}';

/// Says whether there is a browser. Without one the test has nothing to do, or fails if
/// `VMCTL_TEST_STRICT` is 1.
pub fn present() -> Result<bool> {
    let driver = Command::new(DRIVER).arg("--version").output().is_ok();
    if driver && Path::new(CHROMIUM).exists() {
        return Ok(true);
    }
    let strict = std::env::var("VMCTL_TEST_STRICT").is_ok_and(|strict| strict == "1");
    ensure!(!strict, "chromium and its driver are not installed");
    eprintln!("nothing tested: chromium and its driver are not installed");
    Ok(false)
}

/// A browser with one page, and nothing from before.
pub struct Browser {
    driver: Child,
    http: reqwest::Client,
    session: String,
    shots: PathBuf,
    home: TempDir,
}

impl Browser {
    /// Starts one.
    pub async fn start() -> Result<Self> {
        let home = tempfile::tempdir()?;
        let log = home.path().join("driver.log");
        let mut command = Command::new(DRIVER);
        command
            // By itself it chooses one of IPv6, and ends if another has it of IPv4.
            .arg(format!("--port={}", free_port()))
            .env_clear()
            .env("PATH", environment::path())
            .env("HOME", home.path())
            .env("TZ", "UTC")
            .stdin(Stdio::null())
            .stdout(fs::File::create(&log)?)
            .stderr(Stdio::null())
            // Its browsers are in its group, and go with it.
            .process_group(0);
        let shots = std::env::var_os(SHOTS).map(PathBuf::from);
        let shots = shots.unwrap_or_else(|| home.path().join("shots"));
        fs::create_dir_all(&shots)?;
        let mut browser = Self {
            driver: command.spawn().context(DRIVER)?,
            http: api::http()?,
            session: String::new(),
            shots,
            home,
        };
        let port = eventually("the driver listens", async || {
            let said = fs::read_to_string(&log).map_err(|error| error.to_string())?;
            let port = said.split("successfully on port ").nth(1);
            let digits = port.map(|rest| rest.chars().take_while(char::is_ascii_digit));
            digits
                .and_then(|d| d.collect::<String>().parse::<u16>().ok())
                .ok_or(said)
        })
        .await?;
        browser.session = format!("http://127.0.0.1:{port}/session");
        let profile = browser.home.path().join("profile");
        let options = json!({
            "binary": CHROMIUM,
            "args": [
                "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage",
                "--disable-background-networking", "--disable-component-update", "--disable-sync",
                "--no-first-run", "--window-size=1280,900",
                format!("--user-data-dir={}", profile.display()),
            ],
        });
        let wanted = json!({"capabilities": {"alwaysMatch": {
            "goog:chromeOptions": options, "goog:loggingPrefs": {"browser": "ALL"},
        }}});
        let made = browser.call(Method::POST, "", Some(&wanted)).await?;
        let id = made["sessionId"].as_str().context("no session")?;
        browser.session = format!("{}/{id}", browser.session);
        Ok(browser)
    }

    async fn call(&self, method: Method, path: &str, body: Option<&Value>) -> Result<Value> {
        let mut request = self.http.request(method, format!("{}{path}", self.session));
        if let Some(body) = body {
            request = request.json(body);
        }
        let mut answer: Value = request.send().await?.json().await?;
        let value = answer["value"].take();
        if let Some(error) = value["error"].as_str() {
            bail!("{path}: {error}: {}", value["message"]);
        }
        Ok(value)
    }

    async fn post(&self, path: &str, body: Value) -> Result<Value> {
        self.call(Method::POST, path, Some(&body)).await
    }

    /// Opens an address.
    pub async fn open(&self, url: &str) -> Result<()> {
        self.post("/url", json!({"url": url})).await?;
        Ok(())
    }

    /// Runs a function body in the page.
    pub async fn run(&self, script: &str, args: Value) -> Result<Value> {
        let body = json!({"script": script, "args": args});
        self.post("/execute/sync", body).await
    }

    /// Returns the shown text of the first element.
    pub async fn text(&self, css: &str) -> Result<String> {
        let script = "return document.querySelector(arguments[0])?.innerText ?? null";
        let text = self.run(script, json!([css])).await?;
        Ok(text.as_str().with_context(|| css.to_owned())?.to_owned())
    }

    /// Waits until the shown text of the first element holds this.
    pub async fn sees(&self, css: &str, part: &str) -> Result<()> {
        eventually(&format!("{css} says {part:?}"), async || {
            let text = self.text(css).await.map_err(|error| error.to_string())?;
            if text.contains(part) {
                Ok(())
            } else {
                Err(text)
            }
        })
        .await
    }

    /// Waits until an expression about the page is true.
    pub async fn holds(&self, what: &str, expression: &str) -> Result<()> {
        eventually(what, async || {
            let script = format!("return {expression}");
            match self.run(&script, json!([])).await {
                Ok(Value::Bool(true)) => Ok(()),
                other => Err(format!("{other:?}")),
            }
        })
        .await
    }

    async fn element(&self, css: &str) -> Result<String> {
        let wanted = json!({"using": "css selector", "value": css});
        let found = self.post("/element", wanted).await?;
        Ok(found[ELEMENT].as_str().context("no element")?.to_owned())
    }

    /// Clicks an element.
    pub async fn click(&self, css: &str) -> Result<()> {
        let element = self.element(css).await?;
        self.post(&format!("/element/{element}/click"), json!({}))
            .await?;
        Ok(())
    }

    /// Replaces what a field holds.
    pub async fn fill(&self, css: &str, text: &str) -> Result<()> {
        let element = self.element(css).await?;
        self.post(&format!("/element/{element}/clear"), json!({}))
            .await?;
        let keys = json!({"text": text});
        self.post(&format!("/element/{element}/value"), keys)
            .await?;
        Ok(())
    }

    /// Presses keys, one after the other, wherever the focus is.
    pub async fn press(&self, keys: &str) -> Result<()> {
        let press = |key: char| {
            let key = key.to_string();
            [
                json!({"type": "keyDown", "value": key}),
                json!({"type": "keyUp", "value": key}),
            ]
        };
        let presses: Vec<Value> = keys.chars().flat_map(press).collect();
        let keyboard = json!({"type": "key", "id": "keyboard", "actions": presses});
        self.post("/actions", json!({"actions": [keyboard]}))
            .await?;
        Ok(())
    }

    /// Moves the focus with the tabulator until it is on an element.
    pub async fn tab_to(&self, css: &str) -> Result<()> {
        for _ in 0..PRESSES {
            let script = "return document.activeElement.matches(arguments[0])";
            if self.run(script, json!([css])).await? == true {
                return Ok(());
            }
            self.press(&TAB.to_string()).await?;
        }
        bail!("{css} cannot be reached with the keyboard")
    }

    /// Sends a command of the browser's own protocol.
    async fn command(&self, name: &str, params: Value) -> Result<()> {
        let body = json!({"cmd": name, "params": params});
        self.post("/goog/cdp/execute", body).await?;
        Ok(())
    }

    /// Shows the page as on a screen of this size; a narrow one is a phone's.
    pub async fn resize(&self, width: u32, height: u32) -> Result<()> {
        let params = json!({
            "width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 600,
        });
        self.command("Emulation.setDeviceMetricsOverride", params)
            .await
    }

    /// Shows the page to who prefers `light` or `dark`.
    pub async fn prefer(&self, scheme: &str) -> Result<()> {
        let features = json!([{"name": "prefers-color-scheme", "value": scheme}]);
        let params = json!({"features": features});
        self.command("Emulation.setEmulatedMedia", params).await
    }

    /// Keeps a picture of the page.
    pub async fn shot(&self, name: &str) -> Result<()> {
        let picture = self.call(Method::GET, "/screenshot", None).await?;
        let picture = STANDARD.decode(picture.as_str().context("no picture")?)?;
        fs::write(self.shots.join(format!("{name}.png")), picture)?;
        Ok(())
    }

    /// Returns what the browser has complained of since the last time. Answers that are errors, and
    /// servers that are away, are not complaints.
    pub async fn complaints(&self) -> Result<Vec<String>> {
        let entries = self.post("/se/log", json!({"type": "browser"})).await?;
        let entries = entries.as_array().cloned().unwrap_or_default();
        let ours = entries
            .into_iter()
            .filter(|entry| entry["source"] != "network");
        Ok(ours.map(|entry| entry.to_string()).collect())
    }

    /// Ends it; it must have had nothing to complain of.
    pub async fn end(self) -> Result<()> {
        let complaints = self.complaints().await?;
        ensure!(
            complaints.is_empty(),
            "the browser complains: {complaints:#?}"
        );
        self.call(Method::DELETE, "", None).await?;
        Ok(())
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        // Gone already, or gone now.
        let _ = super::process::signal_group(self.driver.id(), "KILL");
        let _ = self.driver.kill();
        let _ = self.driver.wait();
    }
}
