//! What the node has, and who answers which path.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use url::form_urlencoded;

use super::{
    Ask, Mood, Product,
    answer::{Answer, refuse},
    bulk, find,
};

/// A data stream or an index.
#[derive(Debug, Default)]
pub(super) struct Index {
    pub is_stream: bool,
    /// Types of fields.
    pub fields: BTreeMap<String, String>,
    pub documents: Vec<(String, Value)>,
}

impl Index {
    fn of(mappings: &Value, is_stream: bool) -> Self {
        let properties = mappings["properties"].as_object();
        let fields = properties.into_iter().flatten();
        let of_type = |(name, field): (&String, &Value)| {
            Some((name.clone(), field["type"].as_str()?.to_owned()))
        };
        Self {
            is_stream,
            fields: fields.filter_map(of_type).collect(),
            documents: Vec::new(),
        }
    }

    pub fn get(&self, id: &str) -> Option<&Value> {
        let mut all = self.documents.iter();
        all.find(|(have, _)| have == id).map(|(_, source)| source)
    }
}

#[derive(Debug)]
pub(super) struct Node {
    pub product: Product,
    /// Templates, policies and lifecycles, by path.
    pub put: BTreeMap<String, Value>,
    pub indices: BTreeMap<String, Index>,
    pub bulks: usize,
    pub most_items: usize,
}

impl Node {
    pub fn new(product: Product) -> Self {
        Self {
            product,
            put: BTreeMap::new(),
            indices: BTreeMap::new(),
            bulks: 0,
            most_items: 0,
        }
    }

    pub fn documents(&self) -> Vec<(String, Value)> {
        let streams = self.indices.values().filter(|index| index.is_stream);
        streams.flat_map(|index| index.documents.clone()).collect()
    }

    pub fn answer(&mut self, ask: &Ask, mood: &mut Mood) -> Result<Answer, Answer> {
        let path: Vec<_> = ask.path.split('/').collect();
        match (&*ask.method, &*path) {
            ("GET", [""]) => Ok(Answer::new(200, json!({"version": self.version()}))),
            ("POST", ["_bulk"]) => bulk::answer(self, ask, mood),
            ("POST", [index, "_search"]) => find::answer(self, index, &json_body(ask)?),
            ("PUT", ["_index_template", _]) => self.put_template(ask),
            ("PUT", ["_data_stream", name]) => self.make_stream(name),
            ("PUT", ["_data_stream", name, "_lifecycle"]) => self.put_lifecycle(name, ask),
            ("PUT", ["_ilm", "policy", _]) => self.put_ilm(ask),
            ("GET", ["_plugins", "_ism", "policies", _]) => self.get_ism(ask),
            ("PUT", ["_plugins", "_ism", "policies", _]) => self.put_ism(ask),
            ("PUT", [index]) if !index.starts_with('_') => self.make_index(index, ask),
            ("GET", [index, "_doc", id]) => self.get_document(index, id),
            ("PUT", [index, "_doc", id]) => self.put_document(index, id, ask),
            _ => Err(refuse(400, "illegal_argument_exception", "no handler")),
        }
    }

    fn version(&self) -> Value {
        match self.product {
            Product::OpenSearch => json!({"distribution": "opensearch", "number": "2.19.1"}),
            Product::Elasticsearch => json!({"number": "9.1.2", "build_flavor": "default"}),
            Product::OldElasticsearch => json!({"number": "7.17.28", "build_flavor": "default"}),
        }
    }

    /// Elasticsearch, "Create or update an index template"; OpenSearch, "Index templates": members that
    /// are not known are refused, and a data stream lifecycle is known to newer Elasticsearch only.
    fn put_template(&mut self, ask: &Ask) -> Result<Answer, Answer> {
        let body = json_body(ask)?;
        only(
            &body,
            &[
                "index_patterns",
                "data_stream",
                "priority",
                "template",
                "_meta",
            ],
        )?;
        only(&body["template"], &["mappings", "settings", "lifecycle"])?;
        let lifecycle = !body["template"]["lifecycle"].is_null();
        if lifecycle && self.product != Product::Elasticsearch {
            return Err(refuse(
                400,
                "x_content_parse_exception",
                "unknown field [lifecycle]",
            ));
        }
        let policy = &body["template"]["settings"]["index.lifecycle.name"];
        if !policy.is_null() && self.product == Product::OpenSearch {
            return Err(refuse(400, "illegal_argument_exception", "unknown setting"));
        }
        let patterns = body["index_patterns"].as_array();
        if !patterns.is_some_and(|all| all.iter().all(Value::is_string) && !all.is_empty()) {
            return Err(refuse(
                400,
                "x_content_parse_exception",
                "no index patterns",
            ));
        }
        self.put.insert(ask.path.clone(), body);
        Ok(acknowledged())
    }

    /// Both products, "Create a data stream": there must be a template for data streams that takes the
    /// name, with `@timestamp` as a date.
    fn make_stream(&mut self, name: &str) -> Result<Answer, Answer> {
        if self.indices.contains_key(name) {
            let reason = format!("data_stream [{name}] already exists");
            return Err(refuse(400, "resource_already_exists_exception", &reason));
        }
        let templates = self
            .put
            .iter()
            .filter(|(path, _)| path.starts_with("_index_template/"));
        let takes = |body: &&Value| {
            let mut patterns = body["index_patterns"].as_array().into_iter().flatten();
            patterns.any(|pattern| pattern == name) && body["data_stream"].is_object()
        };
        let template = templates.map(|(_, body)| body).find(takes).ok_or_else(|| {
            let reason = format!("no matching index template found for data stream [{name}]");
            refuse(400, "illegal_argument_exception", &reason)
        })?;
        let index = Index::of(&template["template"]["mappings"], true);
        if index.fields.get("@timestamp").map(String::as_str) != Some("date") {
            return Err(refuse(
                400,
                "illegal_argument_exception",
                "no field [@timestamp]",
            ));
        }
        self.indices.insert(name.to_owned(), index);
        Ok(acknowledged())
    }

    /// Elasticsearch, "Update data stream lifecycles".
    fn put_lifecycle(&mut self, name: &str, ask: &Ask) -> Result<Answer, Answer> {
        let body = json_body(ask)?;
        if self.product != Product::Elasticsearch {
            return Err(refuse(400, "illegal_argument_exception", "no handler"));
        }
        only(&body, &["data_retention", "downsampling", "enabled"])?;
        if !self.indices.contains_key(name) {
            return Err(refuse(404, "index_not_found_exception", "no such index"));
        }
        self.put.insert(ask.path.clone(), body);
        Ok(acknowledged())
    }

    /// Elasticsearch, "Create or update a lifecycle policy". Unknown to OpenSearch.
    fn put_ilm(&mut self, ask: &Ask) -> Result<Answer, Answer> {
        let body = json_body(ask)?;
        if self.product == Product::OpenSearch {
            return Err(refuse(400, "illegal_argument_exception", "no handler"));
        }
        only(&body, &["policy"])?;
        self.put.insert(ask.path.clone(), body);
        Ok(acknowledged())
    }

    /// OpenSearch, "ISM API", "Get policy".
    fn get_ism(&self, ask: &Ask) -> Result<Answer, Answer> {
        let found = self
            .put
            .get(&ask.path)
            .filter(|_| self.product == Product::OpenSearch);
        let mut found = found
            .cloned()
            .ok_or_else(|| refuse(404, "status_exception", "Policy not found"))?;
        found["_seq_no"] = json!(self.put.len());
        found["_primary_term"] = json!(1);
        Ok(Answer::new(200, found))
    }

    /// OpenSearch, "ISM API", "Create policy" and "Update policy": a policy that is there is changed under
    /// its sequence number only.
    fn put_ism(&mut self, ask: &Ask) -> Result<Answer, Answer> {
        let body = json_body(ask)?;
        if self.product != Product::OpenSearch {
            return Err(refuse(400, "illegal_argument_exception", "no handler"));
        }
        only(&body, &["policy"])?;
        if body["policy"]["default_state"].is_null() || body["policy"]["states"].is_null() {
            return Err(refuse(400, "illegal_argument_exception", "no states"));
        }
        let named: BTreeMap<_, _> = form_urlencoded::parse(ask.query.as_bytes()).collect();
        let expected = named.get("if_seq_no").map(|number| number.parse().ok());
        let have = self
            .put
            .contains_key(&ask.path)
            .then_some(Some(self.put.len()));
        if expected != have {
            let reason = "version conflict, document already exists";
            return Err(refuse(409, "version_conflict_engine_exception", reason));
        }
        self.put.insert(ask.path.clone(), body);
        Ok(Answer::new(
            if have.is_some() { 200 } else { 201 },
            json!({}),
        ))
    }

    fn make_index(&mut self, name: &str, ask: &Ask) -> Result<Answer, Answer> {
        let body = json_body(ask)?;
        only(&body, &["mappings", "settings", "aliases"])?;
        if self.indices.contains_key(name) {
            let reason = format!("index [{name}] already exists");
            return Err(refuse(400, "resource_already_exists_exception", &reason));
        }
        let index = Index::of(&body["mappings"], false);
        self.indices.insert(name.to_owned(), index);
        Ok(acknowledged())
    }

    fn get_document(&self, index: &str, id: &str) -> Result<Answer, Answer> {
        let Some(index) = self.indices.get(index) else {
            return Err(refuse(404, "index_not_found_exception", "no such index"));
        };
        Ok(match index.get(id) {
            Some(source) => Answer::new(200, json!({"_id": id, "found": true, "_source": source})),
            None => Answer::new(404, json!({"_id": id, "found": false})),
        })
    }

    /// A document of an index is written over; one of a data stream would be refused.
    fn put_document(&mut self, name: &str, id: &str, ask: &Ask) -> Result<Answer, Answer> {
        let source = json_body(ask)?;
        let index = self.indices.get_mut(name).filter(|index| !index.is_stream);
        let index = index.ok_or_else(|| {
            refuse(
                404,
                "index_not_found_exception",
                "no such index; it is not made by itself here",
            )
        })?;
        bulk::check_fields(&index.fields, &source)
            .map_err(|reason| refuse(400, "document_parsing_exception", &reason))?;
        index.documents.retain(|(have, _)| have != id);
        index.documents.push((id.to_owned(), source));
        Ok(Answer::new(200, json!({"_id": id, "result": "updated"})))
    }
}

fn acknowledged() -> Answer {
    Answer::new(200, json!({"acknowledged": true}))
}

/// Both products refuse a body of another type with 406.
fn json_body(ask: &Ask) -> Result<Value, Answer> {
    if ask.body.is_empty() {
        return Ok(json!({}));
    }
    if ask.content_type.as_deref() != Some("application/json") {
        return Err(refuse(
            406,
            "media_type_header_exception",
            "Content-Type is not supported",
        ));
    }
    serde_json::from_slice(&ask.body).map_err(|_| refuse(400, "parse_exception", "no JSON"))
}

/// Refuses members that are not named here.
pub(super) fn only(value: &Value, known: &[&str]) -> Result<(), Answer> {
    let mut members = value.as_object().into_iter().flatten();
    match members.find(|(name, _)| !known.contains(&&***name)) {
        None => Ok(()),
        Some((name, _)) => {
            let reason = format!("unknown field [{name}]");
            Err(refuse(400, "x_content_parse_exception", &reason))
        }
    }
}
