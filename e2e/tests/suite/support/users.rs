//! A user of broker and Redis for each program, made from what `vmctl-server topology` prints.

use std::{env, fs, path::PathBuf, process::Command};

use anyhow::{Context as _, Result, ensure};
use reqwest::{Method, StatusCode, Url};
use serde_json::{Value, json};

use super::{environment, group::Group, suite::Suite};

const PASSWORD: &str = "sesame-of-a-test";

/// Users of the broker for one virtual host, deleted at the end.
pub struct Users {
    api: Url,
    vhost: String,
    prefix: String,
    makers: String,
    passwords: PathBuf,
    http: reqwest::Client,
}

impl Users {
    /// Makes a user for each program, and one for workers of `vm.create` alone.
    pub async fn create(suite: &Suite) -> Result<Self> {
        Self::with_prefix(suite, "vmctl").await
    }

    /// The same, with names that begin with this behind the name of the virtual host.
    pub async fn with_prefix(suite: &Suite, prefix: &str) -> Result<Self> {
        let vhost = suite.vhost.name().to_owned();
        let users = Self {
            api: suite.vhost.api().clone(),
            prefix: format!("{vhost}-{prefix}"),
            makers: format!("{vhost}-{prefix}-makers"),
            passwords: suite.directory().join(format!("passwords-{prefix}")),
            http: suite.http.clone(),
            vhost,
        };
        fs::create_dir(&users.passwords)?;
        for name in users.names() {
            fs::write(users.passwords.join(name), PASSWORD)?;
        }
        users.import().await?;
        Ok(users)
    }

    /// Gives the broker the definitions that are exported.
    pub async fn import(&self) -> Result<()> {
        let passwords = self.passwords.display().to_string();
        let export = self.topology("export", &["--passwords-from", &passwords])?;
        ensure!(export.0, "{}", export.1);
        let definitions: Value = serde_json::from_str(&export.1)?;
        let call = self.call(&self.api, Method::POST, "definitions", &definitions);
        let (status, text) = call.await?;
        ensure!(status.is_success(), "{status}: {text}");
        Ok(())
    }

    fn names(&self) -> [String; 4] {
        [
            self.name("server"),
            self.name("reader"),
            self.name("worker"),
            self.makers.clone(),
        ]
    }

    /// Returns the user of a program; `makers` works on `vm.create` alone.
    pub fn name(&self, component: &str) -> String {
        match component {
            "makers" => self.makers.clone(),
            _ => format!("{}-{component}", self.prefix),
        }
    }

    /// Returns the address of the broker for a program.
    pub fn broker(&self, suite: &Suite, component: &str) -> Result<String> {
        Ok(self.log_in(suite.vhost.url.parse()?, component)?.into())
    }

    /// Runs `vmctl-server topology`; whether it went well, and what it printed.
    pub fn topology(&self, command: &str, args: &[&str]) -> Result<(bool, String)> {
        self.topology_with(command, args, &[])
    }

    /// The same, with these variables.
    pub fn topology_with(
        &self,
        command: &str,
        args: &[&str],
        env: &[(&str, &str)],
    ) -> Result<(bool, String)> {
        let makers = format!("{}=vm.create", self.makers);
        let output = Command::new(environment::program("vmctl-server")?)
            .args(["topology", command, "--vhost", &self.vhost])
            .args(["--prefix", &self.prefix, "--worker", &makers])
            .args(args)
            .env_clear()
            .envs(env.iter().copied())
            .output()?;
        let text = [output.stdout, output.stderr].concat();
        Ok((output.status.success(), String::from_utf8(text)?))
    }

    /// Returns the ACL file of Redis, which lets the test in as before.
    pub fn redis_acl(&self) -> Result<String> {
        let output = Command::new(environment::program("vmctl-server")?)
            .args(["topology", "redis-acl", "--prefix", &self.prefix])
            .arg("--passwords-from")
            .arg(&self.passwords)
            .env_clear()
            .output()?;
        ensure!(output.status.success(), "{output:?}");
        let text = String::from_utf8(output.stdout)?;
        let everything = "user default on nopass ~* &* +@all\n";
        let mine = text.replace("user default off\n", everything);
        ensure!(mine != text, "{text}");
        Ok(mine)
    }

    /// Gives every server of a group these users, beside those that it has.
    pub fn let_into(&self, group: &Group) -> Result<()> {
        for server in group.members() {
            self.order(|words| group.ask(server, words))?;
        }
        Ok(())
    }

    /// Gives the Redis of a suite these users, beside those that it has.
    pub fn let_into_redis(&self, suite: &Suite) -> Result<()> {
        self.order(|words| suite.redis.cli(words))
    }

    /// Takes them from it.
    pub fn leave_redis(&self, suite: &Suite) -> Result<()> {
        for name in self.names() {
            suite.redis.cli(&["acl", "deluser", &name])?;
        }
        Ok(())
    }

    fn order(&self, redis: impl Fn(&[&str]) -> Result<String>) -> Result<()> {
        let acl = self.redis_acl()?;
        let ours = format!("user {}", self.prefix);
        for line in acl.lines().filter(|line| line.starts_with(&ours)) {
            let user: Vec<_> = line.split(' ').skip(1).collect();
            let said = redis(&[&["acl", "setuser"], &user[..]].concat())?;
            ensure!(said.trim() == "OK", "{said}");
        }
        Ok(())
    }

    /// Takes them from it.
    pub fn leave(&self, group: &Group) -> Result<()> {
        let names = self.names();
        let order: Vec<_> = ["acl", "deluser"]
            .into_iter()
            .chain(names.iter().map(String::as_str))
            .collect();
        for server in group.members() {
            group.ask(server, &order)?;
        }
        Ok(())
    }

    /// Has the reader's user flush one server of a group, which must refuse it.
    pub fn try_to_empty(&self, group: &Group) -> Result<()> {
        let user = self.name("reader");
        let order = ["--user", &user, "--pass", PASSWORD, "flushall"];
        let said = group.ask(group.members()[0], &order)?;
        ensure!(said.contains("NOPERM"), "{said}");
        Ok(())
    }

    /// Returns the commands that a group has refused to these users.
    pub fn refused_by(&self, group: &Group) -> Result<Vec<String>> {
        let mut refused = Vec::new();
        for server in group.members() {
            let log = group.ask(server, &["acl", "log"])?;
            let lines: Vec<_> = log.lines().collect();
            // Each name is followed by its value.
            for entry in lines.windows(4) {
                let ["object", command, "username", user] = entry else {
                    continue;
                };
                if user.starts_with(&self.prefix) {
                    refused.push((*command).to_owned());
                }
            }
        }
        Ok(refused)
    }

    /// Returns an address of Redis, of one or of a group, for a program.
    pub fn redis(&self, url: &str, component: &str) -> String {
        let login = format!("://{}:{PASSWORD}@", self.name(component));
        url.replacen("://", &login, 1)
    }

    fn log_in(&self, mut url: Url, component: &str) -> Result<Url> {
        let name = self.name(component);
        url.set_username(&name).ok().context("an address")?;
        let password = url.set_password(Some(PASSWORD));
        password.ok().context("an address")?;
        Ok(url)
    }

    /// Gives a user a command for Redis; what it said.
    pub fn redis_says(&self, suite: &Suite, component: &str, args: &[&str]) -> Result<String> {
        let user = self.name(component);
        let login = ["--user", &user, "--pass", PASSWORD, "--no-auth-warning"];
        suite.redis.cli(&[&login[..], args].concat())
    }

    /// Lets the users use the management API, with no more rights than they have.
    pub async fn let_in(&self) -> Result<()> {
        for name in self.names() {
            let path = format!("users/{name}");
            let user = json!({"password": PASSWORD, "tags": "management"});
            let (status, text) = self.call(&self.api, Method::PUT, &path, &user).await?;
            ensure!(status.is_success(), "{status}: {text}");
        }
        Ok(())
    }

    /// Has a user try something; what came of it.
    pub async fn attempt(
        &self,
        component: &str,
        method: Method,
        path: &str,
        body: &Value,
    ) -> Result<(StatusCode, String)> {
        let api = self.log_in(self.api.clone(), component)?;
        let path = path.replace("{vhost}", &self.vhost);
        self.call(&api, method, &path, body).await
    }

    async fn call(
        &self,
        api: &Url,
        method: Method,
        path: &str,
        body: &Value,
    ) -> Result<(StatusCode, String)> {
        let url = format!("{}/{path}", api.as_str().trim_end_matches('/'));
        let answer = self.http.request(method, url).json(body).send().await?;
        Ok((answer.status(), answer.text().await?))
    }
}

impl Drop for Users {
    fn drop(&mut self) {
        // They go with the services at the latest.
        for name in self.names() {
            let api = self.api.as_str().trim_end_matches('/');
            let _ = Command::new("curl")
                .args(["-s", "--max-time", "20", "-X", "DELETE"])
                .arg(format!("{api}/users/{name}"))
                .env_clear()
                .env("PATH", env::var_os("PATH").unwrap_or_default())
                .output();
        }
    }
}
