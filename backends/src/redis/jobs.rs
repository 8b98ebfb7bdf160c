//! What servers and workers ask of the view.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use async_trait::async_trait;
use jiff::Timestamp;
use redis::{Value, cmd};
use vmctl_core::{
    JobId, LogLine,
    fact::JobFact,
    partition::Partition,
    store::{
        DeadKey, IndexKey, JobStore, Lookup, PartitionBatch, PartitionState, Position, RunKey,
        StoreError, Story,
    },
    turn::{Line, Place},
};

use super::{
    RedisStore, codec,
    error::corrupt,
    fold,
    keys::{self, line, parse_line},
    script::{CLAIM, Call, DEAD, LINE, READ, STORY},
};

#[async_trait]
impl JobStore for RedisStore {
    async fn prewrite(&self, fact: &JobFact, now: Timestamp) -> Result<(), StoreError> {
        let nowhere = Position {
            offset: 0,
            id: String::new(),
        };
        let batch = PartitionBatch {
            partition: Partition::of(fact.job),
            expected: None,
            position: nowhere,
            facts: vec![fact.clone()],
            steps: Vec::new(),
            marks: Vec::new(),
            bad: Vec::new(),
            first_time: None,
        };
        let mut calls = fold::index_calls(&self.keys, std::slice::from_ref(fact), now);
        calls.push(fold::fold_call(
            &self.keys,
            &batch,
            fold::Check::Nothing,
            now,
        )?);
        self.send("prewrite", &calls).await?;
        Ok(())
    }

    async fn get(&self, id: JobId) -> Result<Lookup, StoreError> {
        let found = self.lookups("get", &[id]).await?.into_iter().next();
        found.ok_or_else(|| corrupt("no answer for a job"))
    }

    async fn get_many(&self, ids: &[JobId]) -> Result<Vec<Lookup>, StoreError> {
        self.lookups("get_many", ids).await
    }

    async fn story(&self, id: JobId) -> Result<Story, StoreError> {
        let position = self.keys.position(Partition::of(id));
        let keys = vec![position, self.keys.job(id), self.keys.history(id)];
        let (answers, server) = self.read("story", &[self.who(STORY.call(keys))]).await?;
        let answer = answers.into_iter().next();
        let answer = answer.ok_or_else(|| corrupt("no answer for a story"))?;
        let [state, fields, history] = <[Value; 3]>::try_from(codec::array(answer)?)
            .map_err(|_| corrupt("a story of another size"))?;
        Ok(Story {
            lookup: Lookup {
                record: codec::record(fields)?,
                partition: codec::partition_state(state, server.as_deref())?,
            },
            history: codec::history(history)?,
        })
    }

    async fn lines(&self, id: JobId) -> Result<Vec<LogLine>, StoreError> {
        let mut read = cmd("HGETALL");
        read.arg(self.keys.lines(id));
        codec::lines(self.one("read_lines", Call::Plain(read)).await?)
    }

    async fn list(
        &self,
        project: &str,
        after: Option<&IndexKey>,
        limit: usize,
    ) -> Result<Vec<IndexKey>, StoreError> {
        let newest = after.map_or("+".to_owned(), behind);
        self.lines_between("ZREVRANGEBYLEX", project, (&newest, "-"), limit)
            .await
    }

    async fn list_oldest(
        &self,
        project: &str,
        after: Option<&IndexKey>,
        limit: usize,
    ) -> Result<Vec<IndexKey>, StoreError> {
        let oldest = after.map_or("-".to_owned(), behind);
        self.lines_between("ZRANGEBYLEX", project, (&oldest, "+"), limit)
            .await
    }

    async fn unlist(&self, project: &str, keys: &[IndexKey]) -> Result<(), StoreError> {
        if keys.is_empty() {
            return Ok(());
        }
        let lines: Vec<_> = keys.iter().map(line).collect();
        let remove = |key: String| {
            let mut remove = cmd("ZREM");
            remove.arg(key).arg(&lines);
            Call::Plain(remove)
        };
        let calls = [
            remove(self.keys.index(project)),
            remove(self.keys.index_over(project)),
        ];
        self.send("unlist", &calls).await.map(|_| ())
    }

    async fn dead(
        &self,
        after: Option<&DeadKey>,
        limit: usize,
    ) -> Result<Vec<DeadKey>, StoreError> {
        let read = |partition| {
            let call = DEAD.call(vec![self.keys.dead(partition)]);
            let call = call.with(limit.to_string());
            let call = call.with(self.keys.jobs(partition));
            match after {
                Some(key) => call
                    .with(keys::milliseconds(key.died_at).to_string())
                    .with(key.id.to_string()),
                None => call.with("").with(""),
            }
        };
        if limit == 0 {
            return Ok(Vec::new());
        }
        let calls: Vec<_> = Partition::all().map(read).collect();
        let mut dead = Vec::new();
        for answer in self.send("dead", &calls).await? {
            dead.extend(codec::order(answer, |died_at, id| DeadKey { died_at, id })?);
        }
        dead.sort_unstable_by(|a, b| b.cmp(a));
        dead.truncate(limit);
        Ok(dead)
    }

    async fn partitions(&self) -> Result<Vec<PartitionState>, StoreError> {
        let read = |partition| self.who(READ.call(vec![self.keys.position(partition)]));
        let calls: Vec<_> = Partition::all().map(read).collect();
        let (answers, server) = self.read("partitions", &calls).await?;
        let state = |answer| {
            let state = codec::array(answer)?.into_iter().next();
            codec::partition_state(state.unwrap_or(Value::Nil), server.as_deref())
        };
        answers.into_iter().map(state).collect()
    }

    async fn claim_run(
        &self,
        run: &RunKey,
        worker: &str,
        ttl: Duration,
    ) -> Result<bool, StoreError> {
        // The number tells a call that is sent twice from a second call.
        let taker = format!("{worker} {:016x}", rand::random::<u64>());
        let call = CLAIM.call(vec![self.keys.run(run)]).with(taker.as_str());
        let call = call.with(milliseconds(ttl));
        Ok(codec::text(self.one("claim_run", call).await?)? == taker)
    }

    async fn claim(
        &self,
        project: &str,
        name: &str,
        value: &str,
        ttl: Duration,
    ) -> Result<String, StoreError> {
        let call = CLAIM.call(vec![self.keys.claim(project, name)]);
        let call = call.with(value).with(milliseconds(ttl));
        codec::text(self.one("claim", call).await?)
    }

    async fn line(&self, project: &str, keys: &[String]) -> Result<Line, StoreError> {
        let position = self.keys.position(Partition::of_project(project));
        let lines = keys.iter().map(|key| self.keys.line(project, key));
        let call = LINE.call(std::iter::once(position).chain(lines).collect());
        let answer = codec::texts(self.one("line", call).await?)?;
        let (mark, places) = answer.split_first().ok_or_else(|| corrupt("no line"))?;
        let place = |pair: &[String]| {
            let [run, since] = pair else {
                return Err(corrupt("a place of another size"));
            };
            let waits = (!since.is_empty()).then(|| since.parse().map_err(corrupt));
            Ok(Place {
                run: run.parse().map_err(corrupt)?,
                waits: waits.transpose()?,
            })
        };
        Ok(Line {
            places: places.chunks(2).map(place).collect::<Result<_, _>>()?,
            newest_mark: codec::some_instant(mark)?,
        })
    }

    async fn ping(&self) -> Result<(), StoreError> {
        self.one("ping", Call::Plain(cmd("PING"))).await.map(|_| ())
    }

    async fn time(&self) -> Result<Timestamp, StoreError> {
        let answer = codec::texts(self.one("time", Call::Plain(cmd("TIME"))).await?)?;
        let [seconds, micros] = answer.as_slice() else {
            return Err(corrupt("a time of another form"));
        };
        let seconds: i64 = seconds.parse().map_err(corrupt)?;
        let micros: i64 = micros.parse().map_err(corrupt)?;
        Timestamp::from_millisecond(seconds * 1000 + micros / 1000).map_err(corrupt)
    }
}

impl RedisStore {
    /// Has a reading script say which server answers, where a connection is to several.
    fn who(&self, call: Call) -> Call {
        call.with(if self.link.is_cluster() { "1" } else { "" })
    }

    /// Sends calls, and says which server answers all of them, if it is one.
    async fn read(
        &self,
        name: &'static str,
        calls: &[Call],
    ) -> Result<(Vec<Value>, Option<Arc<str>>), StoreError> {
        if calls.is_empty() {
            return Ok((Vec::new(), None));
        }
        let deadline = self.config.command_timeout;
        self.link.send(name, deadline, calls).await
    }

    /// Reads lines of a project's index in the order of a command.
    async fn lines_between(
        &self,
        command: &'static str,
        project: &str,
        (from, to): (&str, &str),
        limit: usize,
    ) -> Result<Vec<IndexKey>, StoreError> {
        let mut read = cmd(command);
        read.arg(self.keys.index(project)).arg(from).arg(to);
        read.arg("LIMIT").arg(0).arg(limit);
        let lines = codec::texts(self.one("list", Call::Plain(read)).await?)?;
        let keys = lines.iter().map(|text| parse_line(text));
        keys.collect::<Option<_>>()
            .ok_or_else(|| corrupt("a line of an index"))
    }

    /// Reads records, one call for each partition, and puts them back into the order of `ids`.
    async fn lookups(&self, name: &'static str, ids: &[JobId]) -> Result<Vec<Lookup>, StoreError> {
        let mut places: BTreeMap<Partition, Vec<usize>> = BTreeMap::new();
        for (place, &id) in ids.iter().enumerate() {
            places.entry(Partition::of(id)).or_default().push(place);
        }
        let calls: Vec<_> = places
            .iter()
            .map(|(&partition, places)| {
                let jobs = places.iter().map(|&place| self.keys.job(ids[place]));
                let position = self.keys.position(partition);
                self.who(READ.call(std::iter::once(position).chain(jobs).collect()))
            })
            .collect();
        let (answers, server) = self.read(name, &calls).await?;
        let mut found: Vec<Option<Lookup>> = vec![None; ids.len()];
        for (places, answer) in places.values().zip(answers) {
            let mut answer = codec::array(answer)?.into_iter();
            let state = answer.next().unwrap_or(Value::Nil);
            let partition = codec::partition_state(state, server.as_deref())?;
            for (&place, fields) in places.iter().zip(answer) {
                found[place] = Some(Lookup {
                    record: codec::record(fields)?,
                    partition: partition.clone(),
                });
            }
        }
        found
            .into_iter()
            .collect::<Option<_>>()
            .ok_or_else(|| corrupt("no answer for a job"))
    }
}

/// Where a range begins that does not include a line.
fn behind(key: &IndexKey) -> String {
    format!("({}", line(key))
}

/// Returns a time to live; Redis refuses zero.
pub fn milliseconds(ttl: Duration) -> String {
    ttl.as_millis().max(1).to_string()
}
