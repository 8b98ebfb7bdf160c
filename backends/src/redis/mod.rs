//! The view of jobs on Redis.
//!
//! - **One script for each partition of a batch** merges its facts, moves its position and looks at
//!   the position first: all or nothing. The merge is that of [`vmctl_core::merge`]; a test compares
//!   the two on random logs.
//! - **Every call has a deadline,** connecting included, and may be sent twice without harm.
//! - **A connection that does not answer is given up** and made again by one task; meanwhile callers
//!   fail at once.
//! - **Redis absent, at start or later, is an error of the call,** never of the process.
//!
//! Needs Redis 5 or later; 7 is what it is tested with. Tables: see `keys`.

mod codec;
mod config;
mod error;
mod fold;
mod jobs;
mod join;
mod keys;
mod link;
mod metrics;
mod project;
pub mod rights;
mod script;
mod tls;

use std::{fmt, sync::Arc, time::Duration};

use redis::{Value, cmd};
use vmctl_core::store::StoreError;

use self::{config::Source, error::corrupt, keys::Keys, link::Link, script::Call};

pub use self::{
    config::{Config, ConfigError},
    metrics::describe as describe_metrics,
};

/// The view of jobs on Redis. Clones share the connection.
#[derive(Clone)]
pub struct RedisStore {
    link: Arc<Link>,
    keys: Keys,
    config: Config,
}

impl fmt::Debug for RedisStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedisStore")
            .field("config", &self.config)
            .finish_non_exhaustive()
    }
}

impl RedisStore {
    /// Makes the store; the first call connects. Calls must run inside a Tokio runtime.
    ///
    /// # Errors
    ///
    /// [`ConfigError`]; never because Redis is absent.
    pub fn connect_lazy(config: Config) -> Result<Self, ConfigError> {
        let source = Source::parse(&config)?;
        Ok(Self {
            link: Arc::new(Link::new(source, &config)),
            keys: Keys(config.prefix.clone()),
            config,
        })
    }

    /// Asks Redis what it does when its memory is full; returns a warning if it would drop keys of
    /// its own choice, jobs among them.
    pub async fn check_policy(&self) -> Result<Option<String>, StoreError> {
        let mut info = cmd("INFO");
        info.arg("memory");
        // The first call of a program: it waits for the connection, also where a Sentinel does not answer. Still
        // less than a health check is given, which would call a Redis that hangs worse than one that is away.
        let patience = self.config.connect_timeout * 4 + self.config.command_timeout;
        let calls = [Call::Plain(info)];
        let mut texts = Vec::new();
        for answer in self.send_within("info", patience, &calls).await? {
            collect_texts(answer, &mut texts);
        }
        let mut policies = texts
            .iter()
            .flat_map(|text| text.lines())
            .filter_map(|line| line.strip_prefix("maxmemory_policy:"))
            .map(str::trim);
        let evicts = policies.find(|&policy| policy != "noeviction");
        Ok(evicts.map(|policy| {
            format!(
                "Redis has maxmemory-policy {policy} and may drop live jobs from the view when its \
                 memory is full; set it to noeviction"
            )
        }))
    }

    async fn send(&self, name: &'static str, calls: &[Call]) -> Result<Vec<Value>, StoreError> {
        self.send_within(name, self.config.command_timeout, calls)
            .await
    }

    async fn send_within(
        &self,
        name: &'static str,
        deadline: Duration,
        calls: &[Call],
    ) -> Result<Vec<Value>, StoreError> {
        if calls.is_empty() {
            return Ok(Vec::new());
        }
        let (answers, _) = self.link.send(name, deadline, calls).await?;
        Ok(answers)
    }

    async fn one(&self, name: &'static str, call: Call) -> Result<Value, StoreError> {
        let answer = self.send(name, &[call]).await?.into_iter().next();
        answer.ok_or_else(|| corrupt("no answer"))
    }
}

/// A cluster answers with one text for each node.
fn collect_texts(value: Value, texts: &mut Vec<String>) {
    match value {
        Value::BulkString(bytes) => texts.push(String::from_utf8_lossy(&bytes).into_owned()),
        Value::SimpleString(text) | Value::VerbatimString { text, .. } => texts.push(text),
        Value::Array(items) => items.into_iter().for_each(|v| collect_texts(v, texts)),
        Value::Map(pairs) => pairs.into_iter().for_each(|(_, v)| collect_texts(v, texts)),
        _ => {}
    }
}
