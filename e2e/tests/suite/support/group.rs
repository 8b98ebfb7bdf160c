//! Redis in a group, whose master a test kills: one test at a time, in this process and in others.

use std::{fs::File, process::Command};

use anyhow::{Context as _, Result, ensure};
use tokio::sync::{Mutex, MutexGuard};

use super::{
    environment::{present, var},
    wait::eventually,
};

static ONE_AT_A_TIME: Mutex<()> = Mutex::const_new(());

/// Who orders one of the servers of [`PAIR`] to lead, and what they call the one that does.
const SENTINEL: (&str, &str) = ("sentinel-1", "main");

/// Which group.
#[derive(Clone, Copy)]
pub struct Kind {
    /// Where its address is.
    url: &'static str,
    /// What the services script calls its Redis servers.
    members: &'static [&'static str],
}

/// A Redis with a replica, watched by three Sentinels.
pub const PAIR: Kind = Kind {
    url: "VMCTL_TEST_SENTINEL_URL",
    members: &["pair-1", "pair-2"],
};

/// Three masters with a replica each.
pub const SHARDS: Kind = Kind {
    url: "VMCTL_TEST_REDIS_CLUSTER_URL",
    members: &[
        "shard-1", "shard-2", "shard-3", "shard-4", "shard-5", "shard-6",
    ],
};

/// The right to break a group. It is whole again at the end.
pub struct Group {
    kind: Kind,
    directory: String,
    _thread: MutexGuard<'static, ()>,
    _process: File,
}

impl Group {
    /// Waits for the right, makes the group whole and empty; `None` where there is none.
    pub async fn take(kind: Kind) -> Result<Option<Self>> {
        let names = [kind.url, "VMCTL_TEST_SERVICES", "VMCTL_TEST_SERVICES_DIR"];
        if !present(&names)? {
            return Ok(None);
        }
        let thread = ONE_AT_A_TIME.lock().await;
        let directory = var("VMCTL_TEST_SERVICES_DIR")?;
        let path = format!("{directory}/{}/kind", kind.members[0]);
        let file = File::open(&path).with_context(|| path.clone())?;
        let file = tokio::task::spawn_blocking(move || file.lock().map(|()| file));
        let group = Self {
            kind,
            directory,
            _thread: thread,
            _process: file.await??,
        };
        group.mend();
        let half = kind.members.len() / 2;
        eventually("every master has its replica", async || {
            let roles = group.roles();
            let masters = roles
                .iter()
                .filter(|role| role.as_str() == "master")
                .count();
            let linked = roles
                .iter()
                .filter(|role| role.as_str() == "linked")
                .count();
            (masters == half && linked == half)
                .then_some(())
                .ok_or(format!("{roles:?}"))
        })
        .await?;
        for master in group.masters() {
            group.ask(master, &["flushall"])?;
        }
        Ok(Some(group))
    }

    /// Returns its address.
    pub fn url(&self) -> Result<String> {
        var(self.kind.url)
    }

    /// Returns all its servers of Redis.
    pub fn members(&self) -> &'static [&'static str] {
        self.kind.members
    }

    /// Returns the servers that lead now.
    pub fn masters(&self) -> Vec<&'static str> {
        self.in_role("master")
    }

    /// Returns the servers that follow one, and have all that it has.
    pub fn replicas(&self) -> Vec<&'static str> {
        self.in_role("linked")
    }

    fn in_role(&self, role: &str) -> Vec<&'static str> {
        let members = self.kind.members.iter().copied();
        let roles = self.roles();
        let all = members.zip(roles);
        all.filter(|(_, r)| r == role)
            .map(|(name, _)| name)
            .collect()
    }

    /// `master`, `linked` for a replica in step, or what is wrong.
    fn roles(&self) -> Vec<String> {
        let role = |name: &&str| match self.ask(name, &["info", "replication"]) {
            Ok(info) if info.contains("role:master") => "master".to_owned(),
            Ok(info) if info.contains("master_link_status:up") => "linked".to_owned(),
            Ok(_) => "alone".to_owned(),
            Err(error) => format!("{error:#}"),
        };
        self.kind.members.iter().map(role).collect()
    }

    /// Gives a server one command.
    pub fn ask(&self, name: &str, words: &[&str]) -> Result<String> {
        let port = std::fs::read_to_string(format!("{}/{name}/port", self.directory))?;
        let output = Command::new("timeout")
            .args(["2", "redis-cli", "-h", "127.0.0.1", "-p", port.trim()])
            .args(words)
            .output()?;
        ensure!(output.status.success(), "{name} {words:?}: {output:?}");
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }

    /// Has every replica take the place of its master, which loses nothing by that.
    pub async fn change_masters(&self) -> Result<()> {
        let next = self.replicas();
        if self.kind.members.len() == 2 {
            let (sentinel, main) = SENTINEL;
            eventually("Sentinel has a replica to choose", async || {
                let said = self.ask(sentinel, &["sentinel", "failover", main]);
                let said = said.map_err(|error| format!("{error:#}"))?;
                (said.trim() == "OK").then_some(()).ok_or(said)
            })
            .await?;
        } else {
            // One after the other: two that ask for votes at once may both go without.
            for replica in &next {
                let said = self.ask(replica, &["cluster", "failover"])?;
                ensure!(said.trim() == "OK", "{replica}: {said}");
                eventually(replica, async || {
                    let leads = self.masters().contains(replica);
                    leads.then_some(()).ok_or_else(|| "it follows".to_owned())
                })
                .await?;
            }
        }
        eventually("the replicas lead, and the others follow", async || {
            let (masters, replicas) = (self.masters(), self.replicas());
            let changed = masters == next && replicas.len() == next.len();
            changed.then_some(()).ok_or(format!("{masters:?}"))
        })
        .await
    }

    /// Gives the services script one order about a server.
    pub fn order(&self, verb: &str, name: &str) -> Result<()> {
        let output = Command::new(var("VMCTL_TEST_SERVICES")?)
            .args(["--dir", &self.directory, verb, name])
            .output()?;
        let said = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "{verb} {name}: {said}");
        Ok(())
    }

    /// Makes every server run, whatever was done to it.
    fn mend(&self) {
        for name in self.kind.members {
            // What fails here fails in the next test, loudly.
            let _ = self.order("thaw", name);
            let _ = self.order("start", name);
        }
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        self.mend();
    }
}
