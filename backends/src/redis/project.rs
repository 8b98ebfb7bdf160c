//! What a project has under way. The rules are those of the memory backend; one suite tests both.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use async_trait::async_trait;
use jiff::Timestamp;
use redis::{Value, cmd};
use vmctl_core::{
    fact::JobFact,
    store::{
        StoreError,
        project::{
            Change, ENDED, Entered, Entry, Holder, Note, ProjectLimits, ProjectStore, Run, Usage,
        },
    },
    turn,
};

use super::{
    RedisStore, codec,
    error::corrupt,
    jobs,
    keys::{Keys, milliseconds},
    script::{Call, ENTER, HOLDERS, LEAVE, NOTE, RELEASE, USAGE},
};

#[async_trait]
impl ProjectStore for RedisStore {
    async fn enter(&self, project: &str, entry: &Entry) -> Result<(Entered, Usage), StoreError> {
        let limits = entry.limits;
        let own = [self.keys.active(project), self.keys.rate(project)];
        let held = entry.keys.iter().map(|key| self.keys.holders(project, key));
        let (interval, quota) = limits
            .rate
            .map_or((0, 0), |rate| (rate.interval_us(), rate.quota.max(1)));
        let mut call = ENTER
            .call(own.into_iter().chain(held).collect())
            .with(entry.run.to_string())
            .with(entry.run.job.to_string())
            .with(milliseconds(entry.expires).to_string())
            .with(limits.active.map_or(0, |most| most.max(1)).to_string())
            .with(interval.to_string())
            .with(quota.to_string())
            .with(if entry.queue { turn::MOST } else { 0 }.to_string());
        for key in &entry.keys {
            call.arg(if entry.frees.contains(key) { "1" } else { "0" });
        }
        let mut answer = codec::array(self.one("enter", call).await?)?.into_iter();
        let mut next = || answer.next().ok_or_else(|| corrupt("a short answer"));
        let word = codec::text(next()?)?;
        let usage = usage(limits, next()?, next()?)?;
        let entered = match word.as_str() {
            "in" | "again" => Entered::In {
                fresh: word == "in",
                since: since(next()?)?,
            },
            "full" => Entered::Full,
            "fast" => Entered::TooFast,
            _ => {
                let keys: Vec<_> = entry.keys.iter().cloned().collect();
                Entered::Held(holders(&keys, &answer.collect::<Vec<_>>())?)
            }
        };
        Ok((entered, usage))
    }

    async fn leave(
        &self,
        project: &str,
        run: Run,
        keys: &BTreeSet<String>,
        since: Timestamp,
    ) -> Result<(), StoreError> {
        let held = keys.iter().map(|key| self.keys.holders(project, key));
        let own = std::iter::once(self.keys.active(project));
        let call = LEAVE
            .call(own.chain(held).collect())
            .with(run.to_string())
            .with(milliseconds(since).to_string());
        self.one("leave", call).await.map(|_| ())
    }

    async fn release(&self, project: &str, holders: &[Holder]) -> Result<(), StoreError> {
        let calls: Vec<_> = holders
            .iter()
            .map(|Holder { key, run, hold }| {
                let call = RELEASE.call(vec![self.keys.holders(project, key)]);
                call.with(run.to_string()).with(hold.to_string())
            })
            .collect();
        self.send("release_keys", &calls).await.map(|_| ())
    }

    async fn holders(&self, project: &str, keys: &[String]) -> Result<Vec<Holder>, StoreError> {
        let held = keys.iter().map(|key| self.keys.holders(project, key));
        let call = HOLDERS.call(held.collect());
        holders(keys, &codec::array(self.one("holders", call).await?)?)
    }

    async fn usage(&self, project: &str, limits: ProjectLimits) -> Result<Usage, StoreError> {
        let call = USAGE.call(vec![self.keys.active(project), self.keys.rate(project)]);
        let answer = codec::array(self.one("usage", call).await?)?;
        let [active, reset] =
            <[Value; 2]>::try_from(answer).map_err(|_| corrupt("a usage of another size"))?;
        usage(limits, active, reset)
    }

    async fn active(&self, project: &str, limit: usize) -> Result<Vec<Run>, StoreError> {
        let Some(last) = limit.checked_sub(1) else {
            return Ok(Vec::new());
        };
        let mut read = cmd("ZRANGE");
        read.arg(self.keys.active(project)).arg(0).arg(last);
        let runs = codec::texts(self.one("active", Call::Plain(read)).await?)?;
        let runs = runs.iter().map(|run| run.parse().map_err(corrupt));
        runs.collect()
    }
}

fn since(ms: Value) -> Result<Timestamp, StoreError> {
    let ms = codec::text(ms)?.parse().map_err(corrupt)?;
    Timestamp::from_millisecond(ms).map_err(corrupt)
}

fn usage(limits: ProjectLimits, active: Value, reset_us: Value) -> Result<Usage, StoreError> {
    let reset_us = codec::text(reset_us)?.parse().map_err(corrupt)?;
    Ok(Usage::new(
        codec::number(active)?,
        Duration::from_micros(reset_us),
        limits,
    ))
}

fn holders(keys: &[String], answer: &[Value]) -> Result<Vec<Holder>, StoreError> {
    let holder = |parts: &[Value]| {
        let [place, run, hold] = parts else {
            return Err(corrupt("a holder of another size"));
        };
        let place = usize::try_from(codec::number(place.clone())?).map_err(corrupt)?;
        Ok(Holder {
            key: keys
                .get(place)
                .cloned()
                .ok_or_else(|| corrupt("a key that was not asked for"))?,
            run: codec::text(run.clone())?.parse().map_err(corrupt)?,
            hold: codec::text(hold.clone())?.parse().map_err(corrupt)?,
        })
    };
    answer.chunks(3).map(holder).collect()
}

/// Writes what facts say about their projects, one call for each project.
pub fn note_calls<'a>(
    keys: &Keys,
    facts: impl IntoIterator<Item = &'a JobFact>,
    now: Timestamp,
) -> Vec<Call> {
    let mut projects: BTreeMap<String, Vec<Note>> = BTreeMap::new();
    for note in facts.into_iter().filter_map(|fact| Note::of(fact, now)) {
        push(projects.entry(note.project.clone()).or_default(), note);
    }
    let call = |(project, notes): (String, Vec<Note>)| note_call(keys, &project, &notes, now);
    projects
        .iter()
        .map(|(p, n)| (p.clone(), n.clone()))
        .map(call)
        .collect()
}

/// Adds a note; of a run that holds and frees nothing the last one says all.
fn push(notes: &mut Vec<Note>, note: Note) {
    let plain = note.unique.is_empty() && note.frees.is_empty();
    let same = |last: &&mut Note| plain && last.run == note.run;
    match notes.last_mut().filter(same) {
        Some(last) if !matches!(last.change, Change::Live { .. }) => {}
        Some(last) => *last = note,
        None => notes.push(note),
    }
}

fn note_call(keys: &Keys, project: &str, notes: &[Note], now: Timestamp) -> Call {
    let mut places: BTreeMap<&str, usize> = BTreeMap::new();
    let mut names = vec![keys.active(project), keys.ended(project)];
    for note in notes {
        let held = note.unique.iter().map(|unique| unique.key.as_str());
        for key in held.chain(note.frees.iter().map(String::as_str)) {
            let next = places.len();
            places.entry(key).or_insert_with(|| {
                names.push(keys.holders(project, key));
                next
            });
        }
    }
    let mut call = NOTE
        .call(names)
        .with(milliseconds(now).to_string())
        .with(jobs::milliseconds(ENDED));
    for note in notes {
        let (what, at, expires) = match note.change {
            Change::Live { expires } => ("l", now, expires),
            Change::Ended => ("e", now, now),
            Change::Made { at, expires } => ("m", at, expires),
        };
        call.arg(what)
            .arg(note.run.to_string())
            .arg(milliseconds(at).to_string())
            .arg(milliseconds(expires).to_string());
        let holds = note.unique.iter().map(|unique| unique.key.as_str());
        let frees = note.frees.iter().map(String::as_str);
        for list in [
            holds.collect::<Vec<_>>(),
            note.keeps().collect(),
            frees.collect(),
        ] {
            call.arg(list.len().to_string());
            for key in list {
                call.arg(places.get(key).copied().unwrap_or_default().to_string());
            }
        }
    }
    call
}
