//! The search API, as far as it is used.
//!
//! Pages: Elasticsearch, "Search", "Collapse search results", "Sort search results", "Simple query string
//! query", "Term", "Range", "Boolean query"; OpenSearch, the same.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use super::{
    answer::{Answer, refuse},
    node::{Index, Node, only},
};

type Fields = BTreeMap<String, String>;

const MEMBERS: [&str; 9] = [
    "query",
    "collapse",
    "sort",
    "size",
    "_source",
    "track_total_hits",
    "timeout",
    "search_after",
    "from",
];

const FLAGS: [&str; 13] = [
    "ALL",
    "AND",
    "ESCAPE",
    "FUZZY",
    "NEAR",
    "NONE",
    "NOT",
    "OR",
    "PHRASE",
    "PRECEDENCE",
    "PREFIX",
    "SLOP",
    "WHITESPACE",
];

pub(super) fn answer(node: &Node, name: &str, body: &Value) -> Result<Answer, Answer> {
    let index = node.indices.get(name).ok_or_else(|| {
        refuse(
            404,
            "index_not_found_exception",
            &format!("no such index [{name}]"),
        )
    })?;
    only(body, &MEMBERS)?;
    let collapse = collapse(index, body)?;
    let sort = sort(index, &body["sort"])?;
    let size = body["size"].as_u64().unwrap_or(10);
    // "Paginate search results": `index.max_result_window`.
    if size > 10_000 {
        return Err(illegal("Result window is too large"));
    }
    let mut found = Vec::new();
    for (id, source) in &index.documents {
        if matches(&index.fields, source, &body["query"])? {
            let keys: Vec<_> = sort
                .iter()
                .map(|(field, _)| source[field].clone())
                .collect();
            found.push((keys, id, source));
        }
    }
    found.sort_by(|(a, ..), (b, ..)| {
        let by = a.iter().zip(b).zip(&sort).map(|((a, b), (_, descending))| {
            let order = order(a, b);
            if *descending { order.reverse() } else { order }
        });
        by.fold(std::cmp::Ordering::Equal, std::cmp::Ordering::then)
    });
    let mut seen = BTreeSet::new();
    found.retain(|(.., source)| match &collapse {
        Some(field) => seen.insert(source[field].to_string()),
        None => true,
    });
    found.truncate(usize::try_from(size).unwrap());
    let hits: Vec<_> = found
        .into_iter()
        .map(|(keys, id, _)| json!({"_index": name, "_id": id, "sort": keys}))
        .collect();
    Ok(Answer::new(
        200,
        json!({
            "took": 1, "timed_out": false,
            "_shards": {"total": 1, "successful": 1, "skipped": 0, "failed": 0},
            "hits": {"hits": hits},
        }),
    ))
}

fn illegal(reason: &str) -> Answer {
    refuse(400, "illegal_argument_exception", reason)
}

/// "The field used for collapsing must be a single valued keyword or numeric field"; with `search_after`
/// "the search is sorted on the same field".
fn collapse(index: &Index, body: &Value) -> Result<Option<String>, Answer> {
    let Some(field) = body["collapse"]["field"].as_str() else {
        return Ok(None);
    };
    let of_type = index.fields.get(field).map(String::as_str);
    if !matches!(of_type, Some("keyword" | "long")) {
        return Err(illegal("cannot collapse on this field"));
    }
    if !body["search_after"].is_null() {
        return Err(illegal(
            "Cannot use [collapse] in conjunction with [search_after] here",
        ));
    }
    Ok(Some(field.to_owned()))
}

/// Fields with whether the greatest come first. Texts cannot be sorted by.
fn sort(index: &Index, sort: &Value) -> Result<Vec<(String, bool)>, Answer> {
    let mut fields = Vec::new();
    for by in sort.as_array().into_iter().flatten() {
        let members = by.as_object().filter(|members| members.len() == 1);
        let (field, how) = members
            .and_then(|members| members.iter().next())
            .ok_or_else(|| illegal("malformed sort"))?;
        match index.fields.get(field).map(String::as_str) {
            Some("keyword" | "date" | "long") => {}
            _ => return Err(illegal("no mapping found, or a text: cannot sort by it")),
        }
        fields.push((field.clone(), how["order"] == "desc"));
    }
    Ok(fields)
}

fn order(a: &Value, b: &Value) -> std::cmp::Ordering {
    match (a.as_i64(), b.as_i64()) {
        (Some(a), Some(b)) => a.cmp(&b),
        _ => a
            .as_str()
            .unwrap_or_default()
            .cmp(b.as_str().unwrap_or_default()),
    }
}

fn matches(fields: &Fields, source: &Value, query: &Value) -> Result<bool, Answer> {
    let members = query.as_object().filter(|members| members.len() == 1);
    let (name, inner) = members
        .and_then(|members| members.iter().next())
        .ok_or_else(|| refuse(400, "parsing_exception", "[query] malformed"))?;
    match name.as_str() {
        "bool" => boolean(fields, source, inner),
        "term" => single(inner, |field, value| Ok(has(&source[field], value))),
        "range" => single(inner, |field, bounds| {
            only(bounds, &["gt", "gte", "lt", "lte"])?;
            Ok(inside(&source[field], bounds))
        }),
        "simple_query_string" => words(fields, source, inner),
        other => Err(refuse(
            400,
            "parsing_exception",
            &format!("unknown query [{other}]"),
        )),
    }
}

fn boolean(fields: &Fields, source: &Value, query: &Value) -> Result<bool, Answer> {
    only(query, &["filter", "should", "minimum_should_match"])?;
    let all = |name: &str| -> Result<Vec<bool>, Answer> {
        let clauses = query[name].as_array().into_iter().flatten();
        clauses
            .map(|clause| matches(fields, source, clause))
            .collect()
    };
    let least = query["minimum_should_match"].as_u64().unwrap_or(0);
    let should = all("should")?.into_iter().filter(|hit| *hit).count();
    Ok(all("filter")?.into_iter().all(|hit| hit) && should as u64 >= least)
}

/// A clause about one field.
fn single(
    clause: &Value,
    holds: impl Fn(&str, &Value) -> Result<bool, Answer>,
) -> Result<bool, Answer> {
    let members = clause.as_object().filter(|members| members.len() == 1);
    let (field, value) = members
        .and_then(|members| members.iter().next())
        .ok_or_else(|| refuse(400, "parsing_exception", "one field"))?;
    holds(field, value)
}

fn has(have: &Value, wanted: &Value) -> bool {
    have == wanted || have.as_array().is_some_and(|all| all.contains(wanted))
}

fn inside(have: &Value, bounds: &Value) -> bool {
    let bound = |name: &str, holds: fn(std::cmp::Ordering) -> bool| {
        bounds[name].is_null() || holds(order(have, &bounds[name]))
    };
    !have.is_null()
        && bound("gt", std::cmp::Ordering::is_gt)
        && bound("gte", std::cmp::Ordering::is_ge)
        && bound("lt", std::cmp::Ordering::is_lt)
        && bound("lte", std::cmp::Ordering::is_le)
}

/// Alternatives with `|` between them; in each, words that must all be in some field, each in any.
/// A word may be a `"phrase"` or a `prefix*`.
fn words(fields: &Fields, source: &Value, query: &Value) -> Result<bool, Answer> {
    only(
        query,
        &["query", "fields", "flags", "default_operator", "lenient"],
    )?;
    let flags = query["flags"].as_str().unwrap_or("ALL");
    if flags.split('|').any(|flag| !FLAGS.contains(&flag)) {
        return Err(illegal("Unknown simple_query_string flag"));
    }
    let text = query["query"].as_str().ok_or_else(|| illegal("no query"))?;
    let among: Vec<_> = query["fields"].as_array().into_iter().flatten().collect();
    let anywhere = |word: &str| {
        among
            .iter()
            .filter_map(|field| field.as_str())
            .any(|field| {
                let is_text = fields.get(field).map(String::as_str) == Some("text");
                hit(&source[field], word, is_text)
            })
    };
    let mut alternatives = text.split('|').map(split).filter(|words| !words.is_empty());
    Ok(alternatives.any(|words| words.iter().all(|word| anywhere(word))))
}

/// Words, and phrases in quotes.
fn split(text: &str) -> Vec<String> {
    let mut words = Vec::new();
    for (at, part) in text.split('"').enumerate() {
        if at % 2 == 1 {
            words.push(part.to_owned());
        } else {
            words.extend(part.split_whitespace().map(str::to_owned));
        }
    }
    words.retain(|word| !word.is_empty());
    words
}

fn hit(value: &Value, word: &str, is_text: bool) -> bool {
    let single = std::slice::from_ref(value);
    let values = value.as_array().map_or(single, Vec::as_slice);
    let (word, is_prefix) = match word.strip_suffix('*') {
        Some(prefix) => (prefix, true),
        None => (word, false),
    };
    values
        .iter()
        .filter_map(Value::as_str)
        .any(|value| match (is_text, is_prefix) {
            (true, true) => terms(value)
                .iter()
                .any(|term| term.starts_with(&word.to_lowercase())),
            (true, false) => {
                let wanted = terms(word);
                !wanted.is_empty() && terms(value).windows(wanted.len()).any(|run| run == wanted)
            }
            (false, true) => value.starts_with(word),
            (false, false) => value == word,
        })
}

/// About what the standard analyzer makes of a text.
fn terms(text: &str) -> Vec<String> {
    let words = text.split(|c: char| !c.is_alphanumeric());
    words
        .filter(|word| !word.is_empty())
        .map(str::to_lowercase)
        .collect()
}
