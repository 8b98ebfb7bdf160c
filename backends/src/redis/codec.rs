//! Facts as arguments of scripts, and answers as what the port speaks of.

use std::collections::BTreeMap;

use jiff::Timestamp;
use redis::Value;
use serde::{Serialize, de::DeserializeOwned};
use vmctl_core::{
    JobId, LogLine,
    fact::JobFact,
    lines, merge,
    record::{HistoryEntry, Record, Winner},
    store::{FoldOutcome, PartitionState, Position, StoreError},
};

use super::{error::corrupt, join, keys::milliseconds, script::Call};

/// The version of what is stored, in the field `v` of a partition.
const VERSION: &str = "1";

/// Adds a fact to a call of the fold script; says whether there was something to add.
pub fn push_fact(call: &mut Call, fact: &JobFact, now: Timestamp) -> Result<(), StoreError> {
    // What the merge makes of an empty record and this fact are the parts that may win.
    let mut alone = Record::default();
    merge::merge(&mut alone, fact, now);
    let over = fact.expires <= now;
    let winner_key = if over {
        join::winner(&merge::candidate(fact))
    } else {
        alone.winner.as_ref().map(join::winner).unwrap_or_default()
    };
    let dead = alone.winner.as_ref().filter(|w| w.is_dead());
    let died = dead.map(|w| milliseconds(w.time));
    let heard = milliseconds(fact.time.min(now));
    let spec = alone.spec.as_ref().map(|s| &s.spec);
    let deadline = spec.map(|s| milliseconds(s.deadline));
    let start_by = spec.and_then(|s| Some(milliseconds(s.start_by?.min(s.deadline))));
    let entry = merge::history_entry(fact).filter(|_| !over);
    let place = entry
        .as_ref()
        .map(|e| join::place(e.offset, fact.id, fact.state.is_terminal()));
    call.arg(fact.job.to_string())
        .arg(if over { "1" } else { "0" })
        .arg(milliseconds(fact.expires).to_string())
        .arg(winner_key)
        .arg(json(alone.winner.as_ref())?)
        .arg(died.map(|ms| ms.to_string()).unwrap_or_default())
        .arg(heard.to_string())
        .arg(
            alone
                .spec
                .as_ref()
                .map(join::submission)
                .unwrap_or_default(),
        )
        .arg(json(alone.spec.as_ref())?)
        .arg(deadline.map(|ms| ms.to_string()).unwrap_or_default())
        .arg(start_by.map(|ms| ms.to_string()).unwrap_or_default())
        .arg(fact.spec.as_ref().map(join::identity).unwrap_or_default())
        .arg(alone.cancel.as_ref().map(join::cancel).unwrap_or_default())
        .arg(json(alone.cancel.as_ref())?)
        .arg(
            alone
                .started
                .as_ref()
                .map(join::started)
                .unwrap_or_default(),
        )
        .arg(json(alone.started.as_ref())?)
        .arg(alone.confirmed.map(join::confirmed).unwrap_or_default())
        .arg(place.unwrap_or_default())
        .arg(json(entry.as_ref().map(|e| &e.event))?);
    Ok(())
}

/// Says whether a fact can change anything; see [`merge::merge`].
pub fn counts(fact: &JobFact, now: Timestamp) -> bool {
    fact.expires > now || (fact.state.is_terminal() && merge::decides_state(fact))
}

/// Writes a value that Redis never looks into; nothing for none.
pub fn json<T: Serialize>(value: Option<&T>) -> Result<Vec<u8>, StoreError> {
    value.map_or(Ok(Vec::new()), |v| serde_json::to_vec(v).map_err(corrupt))
}

fn parse<T: DeserializeOwned>(value: Value) -> Result<Option<T>, StoreError> {
    bytes(value)?
        .map(|json| serde_json::from_slice(&json).map_err(corrupt))
        .transpose()
}

/// Reads an array.
pub fn array(value: Value) -> Result<Vec<Value>, StoreError> {
    match value {
        Value::Array(items) | Value::Set(items) => Ok(items),
        other => Err(corrupt(format_args!("{} for an array", kind(&other)))),
    }
}

/// Reads a text that may be absent.
pub fn bytes(value: Value) -> Result<Option<Vec<u8>>, StoreError> {
    match value {
        Value::Nil => Ok(None),
        Value::BulkString(bytes) => Ok(Some(bytes)),
        Value::SimpleString(text) => Ok(Some(text.into_bytes())),
        Value::Int(number) => Ok(Some(number.to_string().into_bytes())),
        other => Err(corrupt(format_args!("{} for a text", kind(&other)))),
    }
}

/// Reads a text.
pub fn text(value: Value) -> Result<String, StoreError> {
    let bytes = bytes(value)?.ok_or_else(|| corrupt("nothing for a text"))?;
    String::from_utf8(bytes).map_err(corrupt)
}

/// Reads a list of texts.
pub fn texts(value: Value) -> Result<Vec<String>, StoreError> {
    array(value)?.into_iter().map(text).collect()
}

/// Reads a number.
pub fn number(value: Value) -> Result<u64, StoreError> {
    text(value)?.parse().map_err(corrupt)
}

fn pairs(value: Value) -> Result<Vec<(String, Vec<u8>)>, StoreError> {
    let pair = |key, value| Ok((text(key)?, bytes(value)?.unwrap_or_default()));
    match value {
        Value::Map(pairs) => pairs.into_iter().map(|(k, v)| pair(k, v)).collect(),
        other => {
            let mut items = array(other)?.into_iter();
            let mut pairs = Vec::new();
            while let (Some(key), Some(value)) = (items.next(), items.next()) {
                pairs.push(pair(key, value)?);
            }
            Ok(pairs)
        }
    }
}

/// The kind of an answer, for an error that shows no content.
fn kind(value: &Value) -> &'static str {
    match value {
        Value::Nil => "nothing",
        Value::Int(_) => "a number",
        Value::BulkString(_) | Value::SimpleString(_) | Value::Okay => "a text",
        Value::Array(_) | Value::Set(_) => "an array",
        Value::Map(_) => "a map",
        _ => "something else",
    }
}

/// Reads what a partition knows about itself. `server` is who answered, where the answer itself does
/// not say so.
pub fn partition_state(value: Value, server: Option<&str>) -> Result<PartitionState, StoreError> {
    let mut state = PartitionState::default();
    let (mut offset, mut id) = (None, None);
    let (mut life, mut answered) = (String::new(), server.unwrap_or_default().to_owned());
    for (field, value) in pairs(value)? {
        let value = String::from_utf8(value).map_err(corrupt)?;
        match field.as_str() {
            "v" if value != VERSION => {
                return Err(corrupt(format_args!("version {value} of the view")));
            }
            "o" => offset = Some(value.parse().map_err(corrupt)?),
            "i" => id = Some(value),
            "l" => life = value,
            "r" => answered = value,
            "n" => state.newest_mark = Some(instant(&value)?),
            "t" => state.oldest = Some(instant(&value)?),
            "s" => state.since = some_instant(&value)?,
            "e" => state.shortened = Some(instant(&value)?),
            other => {
                if let Some(server) = other.strip_prefix("m:") {
                    let time = instant(&value)?;
                    state.marks.insert(server.to_owned(), time);
                }
            }
        }
    }
    state.position = offset.zip(id).map(|(offset, id)| Position { offset, id });
    state.life = Some(format!("{answered}/{life}"));
    Ok(state)
}

/// Reads a part of an order of jobs: each with its time.
pub fn order<K>(value: Value, key: impl Fn(Timestamp, JobId) -> K) -> Result<Vec<K>, StoreError> {
    let texts = texts(value)?;
    let line = |pair: &[String]| {
        let [id, ms] = pair else {
            return Err(corrupt("a job without a time"));
        };
        Ok(key(instant(ms)?, id.parse().map_err(corrupt)?))
    };
    texts.chunks(2).map(line).collect()
}

/// Reads what share of its limit a server uses; none without a limit.
pub fn fullness(value: Value) -> Result<Option<f64>, StoreError> {
    let numbers = texts(value)?;
    let numbers = numbers.iter().map(|n| n.parse::<f64>().map_err(corrupt));
    match numbers.collect::<Result<Vec<_>, _>>()?.as_slice() {
        [counts, limit] => Ok((*limit > 0.0).then(|| counts / limit)),
        _ => Err(corrupt("no share of a limit")),
    }
}

/// Reads an instant; none of an empty text.
pub fn some_instant(ms: &str) -> Result<Option<Timestamp>, StoreError> {
    (!ms.is_empty()).then(|| instant(ms)).transpose()
}

fn instant(ms: &str) -> Result<Timestamp, StoreError> {
    let ms = ms.parse().map_err(corrupt)?;
    Timestamp::from_millisecond(ms).map_err(corrupt)
}

/// Reads a record; none as long as nothing has decided its state.
pub fn record(value: Value) -> Result<Option<Record>, StoreError> {
    let fields = <[Value; 7]>::try_from(array(value)?);
    let [winner, spec, cancel, started, confirmed, tick, forgotten] =
        fields.map_err(|_| corrupt("a record of another size"))?;
    let winner: Option<Winner> = parse(winner)?;
    let forgotten = bytes(forgotten)?.map(String::from_utf8).transpose();
    let forgotten = forgotten.map_err(corrupt)?;
    let forgotten = forgotten.map(|ms| instant(&ms)).transpose()?;
    let shortened = winner.as_ref().and_then(|winner| {
        let said = milliseconds(winner.expires);
        forgotten.filter(|at| milliseconds(*at) < said)
    });
    let record = Record {
        winner,
        spec: parse(spec)?,
        cancel: parse(cancel)?,
        started: parse(started)?,
        confirmed: match confirmed {
            Value::Nil => None,
            epoch => Some(text(epoch)?.parse().map_err(corrupt)?),
        },
        tick: parse(tick)?,
        shortened,
    };
    Ok(record.winner.is_some().then_some(record))
}

/// Reads a history.
pub fn history(value: Value) -> Result<Vec<HistoryEntry>, StoreError> {
    let places: BTreeMap<_, _> = pairs(value)?.into_iter().collect();
    let entry = |(place, event): (String, Vec<u8>)| {
        Ok(HistoryEntry {
            offset: join::offset(&place).ok_or_else(|| corrupt("a place without an offset"))?,
            event: serde_json::from_slice(&event).map_err(corrupt)?,
        })
    };
    let entries = places.into_iter().map(entry).collect::<Result<_, _>>()?;
    Ok(merge::shown(entries))
}

/// Reads the newest lines of a log. The field that is no name of a line is their size.
pub fn lines(value: Value) -> Result<Vec<LogLine>, StoreError> {
    let named = pairs(value)?.into_iter().filter(|(name, _)| name != "b");
    let sorted: BTreeMap<_, _> = named.collect();
    let skip = sorted.len().saturating_sub(lines::MOST);
    let newest = sorted.into_values().skip(skip);
    newest
        .map(|json| serde_json::from_slice(&json).map_err(corrupt))
        .collect()
}

/// Reads the answer of the fold script.
pub fn outcome(value: Value) -> Result<FoldOutcome, StoreError> {
    let mut words = array(value)?.into_iter();
    let mut next = || text(words.next().unwrap_or(Value::Nil));
    match next()?.as_str() {
        "written" => {
            let changed = next()?.parse().map_err(corrupt)?;
            Ok(FoldOutcome::Written { changed })
        }
        "moved" => {
            let (offset, id) = (next()?, next()?);
            let position = match offset.as_str() {
                "" => None,
                text => Some(Position {
                    offset: text.parse().map_err(corrupt)?,
                    id,
                }),
            };
            Ok(FoldOutcome::Moved(position))
        }
        other => Err(corrupt(format_args!("the outcome {other:?}"))),
    }
}
