//! Redis servers of a test's own, for topologies that no address in the environment has.

use std::{
    path::PathBuf,
    process::{Child, Command, Stdio},
};

use redis::aio::MultiplexedConnection;
use vmctl_core::{
    clock::{SystemClock, new_uuid},
    testing::bus::eventually,
};
use vmctl_daemon::testing::free_port;

/// One server; it ends with the value.
pub struct Server {
    pub port: u16,
    process: Child,
    directory: PathBuf,
}

impl Server {
    /// Starts `redis-server` with these lines of configuration and waits until it answers; `None`
    /// when the machine has none, which fails under `VMCTL_TEST_STRICT=1`.
    #[expect(clippy::print_stderr, reason = "a skipped test says so")]
    pub async fn start(kind: &[&str], lines: &str) -> Option<Self> {
        let name = format!("vmctl-redis-{}", new_uuid(&SystemClock));
        let directory = std::env::temp_dir().join(name);
        std::fs::create_dir(&directory).unwrap();
        let port = free_port();
        let file = directory.join("redis.conf");
        let shown = directory.display();
        let all = format!("bind 127.0.0.1\nport {port}\ndir {shown}\n{lines}\n");
        std::fs::write(&file, all).unwrap();
        let started = Command::new("redis-server")
            .arg(&file)
            .args(kind)
            .stdout(Stdio::null())
            .spawn();
        let process = match started {
            Ok(process) => process,
            Err(error) => {
                let strict = std::env::var("VMCTL_TEST_STRICT").is_ok_and(|v| v == "1");
                assert!(!strict, "redis-server: {error}");
                eprintln!("skipped: redis-server: {error}");
                std::fs::remove_dir_all(&directory).unwrap();
                return None;
            }
        };
        let server = Self {
            port,
            process,
            directory,
        };
        eventually("server", async || server.connection().await.ok()).await;
        Some(server)
    }

    async fn connection(&self) -> redis::RedisResult<MultiplexedConnection> {
        let client = redis::Client::open(format!("redis://127.0.0.1:{}", self.port))?;
        client.get_multiplexed_async_connection().await
    }

    /// Sends a command and returns its answer.
    pub async fn ask<T: redis::FromRedisValue>(&self, words: &str) -> redis::RedisResult<T> {
        let mut words = words.split(' ');
        let mut command = redis::cmd(words.next().unwrap());
        for word in words {
            command.arg(word);
        }
        command.query_async(&mut self.connection().await?).await
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
        let _ = std::fs::remove_dir_all(&self.directory);
    }
}
