//! What must be in the cluster before the first document: data stream, mappings, retention.
//!
//! The two products, and versions of one, differ in who deletes what is old:
//!
//! | cluster | by |
//! |---|---|
//! | Elasticsearch 8.14 and later, and serverless | the data stream's own lifecycle |
//! | Elasticsearch before | a policy of index lifecycle management |
//! | OpenSearch | a policy of index state management |
//!
//! All of it can be put again and again; a retention that was changed is taken over.

use std::time::Duration;

use reqwest::Method;
use serde_json::{Value, json};

use crate::client::{Body, Cluster, QUICK, SearchError};

/// Above the templates that the products bring, which have 100 and 200.
const PRIORITY: u32 = 500;

/// A backing index is closed for writing at this age: only whole ones are deleted.
const ROLLOVER: Duration = Duration::from_secs(24 * 3600);

/// Which product it is, as far as that matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Flavour {
    /// OpenSearch.
    OpenSearch,
    /// Elasticsearch with lifecycles of data streams.
    Lifecycle,
    /// Elasticsearch before them.
    Ilm,
}

impl Flavour {
    /// Reads the answer to `GET /`.
    pub(crate) fn of(root: &Value) -> Option<Self> {
        let version = &root["version"];
        if version["distribution"] == "opensearch" {
            return Some(Self::OpenSearch);
        }
        if version["build_flavor"] == "serverless" {
            return Some(Self::Lifecycle);
        }
        let mut numbers = version["number"]
            .as_str()?
            .split('.')
            .map(str::parse::<u32>);
        let (major, minor) = (numbers.next()?.ok()?, numbers.next()?.ok()?);
        Some(if (major, minor) >= (8, 14) {
            Self::Lifecycle
        } else {
            Self::Ilm
        })
    }
}

impl Cluster {
    /// Puts what must be there, and returns which product it is.
    ///
    /// # Errors
    ///
    /// When something is not there afterwards.
    pub async fn prepare(&self, retention: Duration) -> Result<Flavour, SearchError> {
        let root = self.get(&[]).await?;
        let flavour = Flavour::of(&root).ok_or(SearchError::Unreadable)?;
        let name = self.name.as_str();
        // The policies come first: they take only indices that are made later.
        match flavour {
            Flavour::OpenSearch => self.state_management(retention).await?,
            Flavour::Ilm => {
                let policy = Body::Json(ilm(retention));
                self.put(&["_ilm", "policy", name], policy).await?;
            }
            Flavour::Lifecycle => {}
        }
        let template = Body::Json(template(name, flavour, retention));
        self.put(&["_index_template", name], template).await?;
        there_already(self.put(&["_data_stream", name], Body::None).await)?;
        if flavour == Flavour::Lifecycle {
            // A template is for new data streams only.
            let lifecycle = Body::Json(json!({"data_retention": span(retention)}));
            self.put(&["_data_stream", name, "_lifecycle"], lifecycle)
                .await?;
        }
        let position = self.name.position();
        there_already(self.put(&[&position], Body::Json(position_index())).await)?;
        Ok(flavour)
    }

    /// Puts the policy of OpenSearch; one that is there is changed only under its sequence number.
    async fn state_management(&self, retention: Duration) -> Result<(), SearchError> {
        let name = self.name.as_str();
        let path = ["_plugins", "_ism", "policies", name];
        let policy = ism(name, retention);
        let (sequence, term) = match self.get(&path).await {
            Ok(found) if same_retention(&found["policy"], &policy["policy"]) => return Ok(()),
            Ok(found) => (
                found["_seq_no"].to_string(),
                found["_primary_term"].to_string(),
            ),
            Err(error) if error.status() == Some(404) => {
                self.put(&path, Body::Json(policy)).await?;
                return Ok(());
            }
            Err(error) => return Err(error),
        };
        let query = [("if_seq_no", &*sequence), ("if_primary_term", &*term)];
        let policy = Body::Json(policy);
        self.call(Method::PUT, &path, &query, policy, QUICK).await?;
        Ok(())
    }
}

fn there_already(put: Result<Value, SearchError>) -> Result<(), SearchError> {
    match put {
        Err(error) if !error.is("resource_already_exists_exception") => Err(error),
        _ => Ok(()),
    }
}

/// Compares what changes with the setting; the product adds members of its own to the rest.
fn same_retention(have: &Value, want: &Value) -> bool {
    let path = "/states/0/transitions/0/conditions/min_rollover_age";
    have.pointer(path) == want.pointer(path)
}

/// Writes a duration as both products read it.
fn span(duration: Duration) -> String {
    let seconds = duration.as_secs().max(1);
    match seconds {
        s if s.is_multiple_of(86_400) => format!("{}d", s / 86_400),
        s if s.is_multiple_of(3_600) => format!("{}h", s / 3_600),
        s => format!("{s}s"),
    }
}

fn template(name: &str, flavour: Flavour, retention: Duration) -> Value {
    let mut template = json!({"mappings": mappings()});
    match flavour {
        Flavour::Lifecycle => template["lifecycle"] = json!({"data_retention": span(retention)}),
        Flavour::Ilm => template["settings"] = json!({"index.lifecycle.name": name}),
        Flavour::OpenSearch => {}
    }
    json!({
        "index_patterns": [name],
        "data_stream": {},
        "priority": PRIORITY,
        "template": template,
        "_meta": {"description": "Events of vmctl's jobs"},
    })
}

/// Fields that nobody has declared are kept and not searched, so that a newer version's documents
/// change no mapping.
fn mappings() -> Value {
    // A longer term than 32,766 bytes would be refused.
    let word = json!({"type": "keyword", "ignore_above": 256});
    let (text, date, number) = (
        json!({"type": "text"}),
        json!({"type": "date"}),
        json!({"type": "long"}),
    );
    json!({
        "dynamic": false,
        "properties": {
            "@timestamp": date, "created": date,
            "event": word, "job": word, "root": word, "parent": word, "step": word, "kind": word,
            "project": word, "user": word, "user_id": word, "state": word, "worker": word,
            "error": word, "labels": word,
            "epoch": number, "attempt": number, "seq": number, "offset": number,
            "message": text, "input": text,
        },
    })
}

fn position_index() -> Value {
    json!({"mappings": {"dynamic": false, "properties": {
        "offset": {"type": "long"}, "id": {"type": "keyword"}, "updated": {"type": "date"},
    }}})
}

fn ilm(retention: Duration) -> Value {
    json!({"policy": {"phases": {
        "hot": {"actions": {"rollover": {
            "max_age": span(ROLLOVER.min(retention)), "max_size": "50gb",
        }}},
        // Counted from the rollover.
        "delete": {"min_age": span(retention), "actions": {"delete": {}}},
    }}})
}

fn ism(name: &str, retention: Duration) -> Value {
    json!({"policy": {
        "description": "Events of vmctl's jobs",
        "default_state": "written",
        "states": [
            {
                "name": "written",
                "actions": [{"rollover": {
                    "min_index_age": span(ROLLOVER.min(retention)), "min_size": "50gb",
                }}],
                "transitions": [{
                    "state_name": "old",
                    "conditions": {"min_rollover_age": span(retention)},
                }],
            },
            {"name": "old", "actions": [{"delete": {}}], "transitions": []},
        ],
        // Indices behind a data stream are looked up by the stream's name.
        "ism_template": [{"index_patterns": [name], "priority": PRIORITY}],
    }})
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn products_are_told_apart() {
        let root = |version: Value| Flavour::of(&json!({"version": version}));
        for (number, flavour) in [
            ("7.17.28", Flavour::Ilm),
            ("8.11.0", Flavour::Ilm),
            ("8.14.0", Flavour::Lifecycle),
            ("9.1.2", Flavour::Lifecycle),
        ] {
            assert_eq!(root(json!({"number": number})), Some(flavour), "{number}");
        }
        let opensearch = json!({"number": "7.10.2", "distribution": "opensearch"});
        assert_eq!(root(opensearch), Some(Flavour::OpenSearch));
        let serverless = json!({"number": "8.11.0", "build_flavor": "serverless"});
        assert_eq!(root(serverless), Some(Flavour::Lifecycle));
        assert_eq!(root(json!({"number": "x"})), None);
        assert_eq!(Flavour::of(&json!("a proxy")), None);
    }

    #[test]
    fn durations_are_whole_units() {
        for (seconds, text) in [(30 * 86_400, "30d"), (7_200, "2h"), (90, "90s"), (0, "1s")] {
            assert_eq!(span(Duration::from_secs(seconds)), text);
        }
    }
}
