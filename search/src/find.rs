//! Jobs are found.
//!
//! A job has many documents and is found once: `collapse` keeps one of each job. The products allow
//! `search_after` beside it only when both are about one field, so the place of a page is a filter that
//! says the same.

use std::time::Duration;

use jiff::Timestamp;
use reqwest::Method;
use serde_json::{Value, json};
use vmctl_core::{JobId, clock::from_unix_ms};

use crate::client::{Body, Cluster, SearchError};

/// The fields that words are looked for in. Not the project: that is no word of a caller's.
const FIELDS: [&str; 12] = [
    "input", "message", "job", "root", "parent", "step", "kind", "state", "event", "worker",
    "error", "labels",
];

/// What the language has. Not: negation, which would be about one event of a job and not about the job;
/// fuzzy words and near words, which are slow.
const FLAGS: &str = "AND|OR|PHRASE|PREFIX|PRECEDENCE|WHITESPACE|ESCAPE";

/// Time that the cluster gives itself, before it answers with what it has.
const CLUSTER_TIME: &str = "2s";

/// What is looked for.
#[derive(Debug, Clone)]
pub struct Find<'a> {
    /// Whose jobs.
    pub project: &'a str,
    /// The words, in the language of `simple_query_string`.
    pub text: &'a str,
    /// Only this kind.
    pub kind: Option<&'a str>,
    /// Only what this job has asked for.
    pub parent: Option<JobId>,
    /// Only this job and what is below it.
    pub root: Option<JobId>,
    /// Only jobs submitted then or later.
    pub created_from: Option<Timestamp>,
    /// Only jobs submitted then or earlier.
    pub created_to: Option<Timestamp>,
    /// Newest first otherwise.
    pub oldest_first: bool,
    /// Behind this one.
    pub after: Option<Key>,
    /// So many.
    pub size: usize,
}

/// A job's place among those found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Key {
    /// When it was submitted, to the millisecond.
    pub created_at: Timestamp,
    /// The job.
    pub job: JobId,
}

/// What was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// In order.
    pub keys: Vec<Key>,
    /// How many the cluster has named: fewer than asked for means that there are no more.
    pub named: usize,
    /// Whether the cluster has looked everywhere.
    pub whole: bool,
}

impl Cluster {
    /// Says whether it answers to this user, also when it has nothing yet.
    ///
    /// # Errors
    ///
    /// When it does not, within a time.
    pub async fn reach(&self, within: Duration) -> Result<(), SearchError> {
        let path = [self.name.as_str(), "_search"];
        let body = Body::Json(json!({"size": 0}));
        match self.call(Method::POST, &path, &[], body, within).await {
            Err(error) if error.status() != Some(404) => Err(error.without_reason()),
            _ => Ok(()),
        }
    }

    /// Finds jobs; each is there once.
    ///
    /// # Errors
    ///
    /// When the cluster gives no answer within a time. One that has nothing yet answers 404.
    pub async fn find(&self, find: &Find<'_>, within: Duration) -> Result<Found, SearchError> {
        let path = [self.name.as_str(), "_search"];
        let body = Body::Json(body(find));
        let answer = self.call(Method::POST, &path, &[], body, within);
        let answer = answer.await.map_err(SearchError::without_reason)?;
        let hits = answer["hits"]["hits"].as_array();
        let hits = hits.ok_or(SearchError::Unreadable)?;
        let failed = answer["_shards"]["failed"].as_u64().unwrap_or(0);
        Ok(Found {
            keys: hits.iter().filter_map(|hit| key(&hit["sort"])).collect(),
            named: hits.len(),
            whole: answer["timed_out"] == false && failed == 0,
        })
    }
}

/// Reads a place from what a hit was sorted by. A job without one nobody of ours has indexed.
fn key(sort: &Value) -> Option<Key> {
    Some(Key {
        created_at: from_unix_ms(sort[0].as_i64()?),
        job: sort[1].as_str()?.parse().ok()?,
    })
}

fn body(find: &Find<'_>) -> Value {
    let order = if find.oldest_first { "asc" } else { "desc" };
    json!({
        "query": {"bool": {"filter": filter(find)}},
        "collapse": {"field": "job"},
        "sort": [{"created": {"order": order}}, {"job": {"order": order}}],
        "size": find.size,
        "_source": false,
        "track_total_hits": false,
        "timeout": CLUSTER_TIME,
    })
}

fn filter(find: &Find<'_>) -> Vec<Value> {
    // First and always: what the text says can only make it less.
    let mut filter = vec![
        json!({"term": {"project": find.project}}),
        json!({"simple_query_string": {
            "query": find.text,
            "fields": FIELDS,
            "flags": FLAGS,
            "default_operator": "and",
            "lenient": true,
        }}),
    ];
    let ids = [("parent", find.parent), ("root", find.root)];
    let ids = ids
        .into_iter()
        .filter_map(|(field, id)| Some(json!({"term": {field: id?}})));
    filter.extend(ids);
    filter.extend(find.kind.map(|kind| json!({"term": {"kind": kind}})));
    let times = [("gte", find.created_from), ("lte", find.created_to)];
    let times = times.into_iter().filter_map(|(bound, at)| {
        Some(json!({"range": {"created": {bound: at?.as_millisecond()}}}))
    });
    filter.extend(times);
    filter.extend(
        find.after
            .as_ref()
            .map(|after| behind(after, find.oldest_first)),
    );
    filter
}

/// Says what `search_after` would.
fn behind(after: &Key, oldest_first: bool) -> Value {
    let beyond = if oldest_first { "gt" } else { "lt" };
    let created = after.created_at.as_millisecond();
    json!({"bool": {"minimum_should_match": 1, "should": [
        {"range": {"created": {beyond: created}}},
        {"bool": {"filter": [
            {"term": {"created": created}},
            {"range": {"job": {beyond: after.job}}},
        ]}},
    ]}})
}
