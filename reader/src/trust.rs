//! Puts aside what no honest process says: by its own time, and by what the log has said before it.
//!
//! What is put aside moves the position as any entry does. It is counted, and kept with its reason in the
//! list of bad entries; a mark in that of the first partition alone, because it concerns all of them.

use std::collections::{HashMap, HashSet};

use jiff::Timestamp;
use vmctl_core::{
    JobId,
    belief::unfounded,
    clock::is_ahead,
    event::EventType,
    fact::{JobFact, implausible},
    merge::merge,
    record::Record,
    store::{FoldStore, PartitionBatch, StoreError},
};

/// Most records read at once.
const STEP: usize = 250;

/// What is left of batches, and which servers' marks were put aside.
pub(crate) struct Believed {
    pub batches: Vec<PartitionBatch>,
    /// Each server with the time that it claims.
    pub ahead: Vec<(String, Timestamp)>,
}

/// Keeps of each batch what can be true at `now`, after what the view has.
pub(crate) async fn believed(
    store: &dyn FoldStore,
    batches: &[PartitionBatch],
    now: Timestamp,
) -> Result<Believed, StoreError> {
    let mut batches = batches.to_vec();
    let mut ahead = Vec::new();
    for batch in &mut batches {
        let refused = marks(batch, now);
        if !refused.is_empty() {
            ahead = refused;
        }
        judge(batch, |fact| implausible(fact, now));
    }
    let ids = batches.iter().flat_map(|b| &b.facts);
    let ids: HashSet<JobId> = ids.filter(|f| needs_record(f)).map(|f| f.job).collect();
    let ids: Vec<_> = ids.into_iter().collect();
    let mut records: HashMap<JobId, Record> = HashMap::with_capacity(ids.len());
    let mut since = HashMap::new();
    for ids in ids.chunks(STEP) {
        for (id, lookup) in ids.iter().zip(store.get_many(ids).await?) {
            records.insert(*id, lookup.record.unwrap_or_default());
            since.insert(*id, lookup.partition.since);
        }
    }
    for batch in &mut batches {
        // One that begins anew says now from when on it has no gap.
        let anew = batch.expected.is_none().then_some(batch.first_time);
        judge(batch, |fact| {
            let record = records.get_mut(&fact.job)?;
            let since = anew.or_else(|| since.get(&fact.job).copied()).flatten();
            let reason = unfounded(record, fact, since);
            if reason.is_none() {
                merge(record, fact, now);
            }
            reason
        });
    }
    Ok(Believed { batches, ahead })
}

/// A first submission can be judged without what the view has, and there are many.
fn needs_record(fact: &JobFact) -> bool {
    fact.event_type != EventType::Submitted || fact.epoch > 0
}

/// Takes the facts out of a batch for which there is a reason.
fn judge(batch: &mut PartitionBatch, mut why: impl FnMut(&JobFact) -> Option<&'static str>) {
    let bad = &mut batch.bad;
    batch.facts.retain(|fact| {
        let reason = why(fact);
        if let Some(reason) = reason {
            bad.push((fact.offset.unwrap_or_default(), reason.to_owned()));
        }
        reason.is_none()
    });
}

/// Takes the marks out of a batch that are ahead, and returns them.
fn marks(batch: &mut PartitionBatch, now: Timestamp) -> Vec<(String, Timestamp)> {
    let (ahead, kept) = std::mem::take(&mut batch.marks)
        .into_iter()
        .partition(|(_, time)| is_ahead(*time, now));
    batch.marks = kept;
    let ahead: Vec<_> = ahead;
    if batch.partition.index() == 0 {
        for (server, time) in &ahead {
            let reason = format!("a mark of {server} is ahead of the clock: {time}");
            batch.bad.push((batch.position.offset, reason));
        }
    }
    ahead
}
