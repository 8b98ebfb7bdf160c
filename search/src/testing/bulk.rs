//! The bulk API.
//!
//! Pages: Elasticsearch, "Bulk index or delete documents" and "Data streams"; OpenSearch, "Bulk" and "Data
//! streams".

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde_json::{Value, json};

use super::{
    Ask, Mood, Product,
    answer::{Answer, refuse},
    node::{Index, Node, only},
};

/// "The `_id` is limited to 512 bytes": "`_id` field" of both.
const MOST_ID: usize = 512;

/// What is wrong with one document.
struct Fault(u16, &'static str, String);

pub(super) fn answer(node: &mut Node, ask: &Ask, mood: &mut Mood) -> Result<Answer, Answer> {
    // Newer Elasticsearch has this one; a parameter that is not known is refused by all.
    let known = node.product == Product::Elasticsearch;
    if !(ask.query.is_empty() || known && ask.query == "require_data_stream=true") {
        return Err(refuse(
            400,
            "illegal_argument_exception",
            "request [/_bulk] contains unrecognized parameter",
        ));
    }
    let actions = parse(ask)?;
    node.bulks += 1;
    node.most_items = node.most_items.max(actions.len());
    let mut items = Vec::new();
    for (action, meta, source) in actions {
        let (index, id) = (text(&meta, "_index"), text(&meta, "_id"));
        let done = match mood {
            Mood::BusyItems(left) if *left > 0 => {
                *left -= 1;
                let reason = "rejected execution of primary operation";
                Err(Fault(
                    429,
                    "es_rejected_execution_exception",
                    reason.to_owned(),
                ))
            }
            _ => create(node, &action, &index, &id, &source),
        };
        let mut item = json!({"_index": index, "_id": id});
        match done {
            Ok(()) => {
                item["result"] = json!("created");
                item["status"] = json!(201);
            }
            Err(Fault(status, kind, reason)) => {
                item["status"] = json!(status);
                item["error"] = json!({"type": kind, "reason": reason});
            }
        }
        items.push(json!({action: item}));
    }
    let failed = |item: &Value| {
        item.as_object()
            .unwrap()
            .values()
            .any(|i| !i["error"].is_null())
    };
    let errors = items.iter().any(failed);
    Ok(Answer::new(
        200,
        json!({"took": 1, "errors": errors, "items": items}),
    ))
}

/// Reads the lines: action, source, action, source.
fn parse(ask: &Ask) -> Result<Vec<(String, Value, Vec<u8>)>, Answer> {
    // "the Content-Type header should be set to application/x-ndjson".
    if ask.content_type.as_deref() != Some("application/x-ndjson") {
        return Err(refuse(
            406,
            "media_type_header_exception",
            "Content-Type is not supported",
        ));
    }
    if ask.body.is_empty() {
        return Err(refuse(400, "parse_exception", "request body is required"));
    }
    // "the final line of data must end with a newline character".
    if ask.body.last() != Some(&b'\n') {
        let reason = "The bulk request must be terminated by a newline [\\n]";
        return Err(refuse(400, "illegal_argument_exception", reason));
    }
    let mut lines = ask
        .body
        .split(|byte| *byte == b'\n')
        .filter(|line| !line.is_empty());
    let mut actions = Vec::new();
    while let Some(line) = lines.next() {
        let malformed = || {
            refuse(
                400,
                "illegal_argument_exception",
                "Malformed action/metadata line",
            )
        };
        let parsed: Value = serde_json::from_slice(line).map_err(|_| malformed())?;
        let members = parsed.as_object().filter(|members| members.len() == 1);
        let (action, meta) = members
            .and_then(|m| m.iter().next())
            .ok_or_else(malformed)?;
        if !["create", "index", "update", "delete"].contains(&action.as_str()) {
            return Err(malformed());
        }
        only(
            meta,
            &["_index", "_id", "routing", "require_alias", "pipeline"],
        )?;
        if text(meta, "_id").len() > MOST_ID {
            let reason = "id is too long, must be no longer than 512 bytes";
            return Err(refuse(400, "action_request_validation_exception", reason));
        }
        let source = match action.as_str() {
            "delete" => &[][..],
            _ => lines.next().ok_or_else(malformed)?,
        };
        actions.push((action.clone(), meta.clone(), source.to_vec()));
    }
    Ok(actions)
}

fn text(meta: &Value, name: &str) -> String {
    meta[name].as_str().unwrap_or_default().to_owned()
}

fn create(node: &mut Node, action: &str, name: &str, id: &str, source: &[u8]) -> Result<(), Fault> {
    let parsing = |reason: String| Fault(400, "document_parsing_exception", reason);
    // A real one would make an index by itself, with mappings that it guesses: never what we want.
    let index = node.indices.get_mut(name).ok_or_else(|| {
        Fault(
            404,
            "index_not_found_exception",
            format!("no such index [{name}]"),
        )
    })?;
    // "Data streams support only the create action."
    if index.is_stream && action != "create" {
        let reason = "only write ops with an op_type of create are allowed in data streams";
        return Err(Fault(400, "illegal_argument_exception", reason.to_owned()));
    }
    let source: Value = serde_json::from_slice(source).map_err(|e| parsing(e.to_string()))?;
    // "Every document indexed to a data stream must contain a @timestamp field, mapped as a date".
    if index.is_stream && source["@timestamp"].is_null() {
        return Err(parsing(
            "data stream timestamp field [@timestamp] is missing".to_owned(),
        ));
    }
    check_fields(&index.fields, &source).map_err(parsing)?;
    insert(index, id, source)
}

/// "create fails if a document with the same ID already exists in the target".
fn insert(index: &mut Index, id: &str, source: Value) -> Result<(), Fault> {
    if index.get(id).is_some() {
        let reason = format!("[{id}]: version conflict, document already exists");
        return Err(Fault(409, "version_conflict_engine_exception", reason));
    }
    index.documents.push((id.to_owned(), source));
    Ok(())
}

/// "Mapping": a value that does not fit the type of its field is refused; other fields are not looked at
/// with `"dynamic": false`. A term of a keyword has at most 32,766 bytes, unless `ignore_above` is less.
pub(super) fn check_fields(
    fields: &BTreeMap<String, String>,
    source: &Value,
) -> Result<(), String> {
    let members = source.as_object().ok_or("no object")?;
    for (name, value) in members {
        let Some(of_type) = fields.get(name) else {
            continue;
        };
        let single = std::slice::from_ref(value);
        let values = value.as_array().map_or(single, Vec::as_slice);
        if let Some(bad) = values.iter().find(|value| !fits(of_type, value)) {
            return Err(format!(
                "failed to parse field [{name}] of type [{of_type}]: {bad}"
            ));
        }
    }
    Ok(())
}

fn fits(of_type: &str, value: &Value) -> bool {
    match of_type {
        "date" => {
            let instant = value
                .as_str()
                .is_some_and(|text| text.parse::<Timestamp>().is_ok());
            instant || value.is_i64()
        }
        "long" => value.is_i64(),
        _ => value.is_string() || value.is_number() || value.is_boolean(),
    }
}
