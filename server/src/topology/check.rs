//! What a broker has, against what it should have.

use std::{collections::BTreeSet, time::Duration};

use anyhow::{Context as _, ensure};
use regex::Regex;
use serde_json::Value;
use url::Url;
use vmctl_core::topology::Topology;

use super::definitions::Plan;

/// How long the management API may take.
const WITHIN: Duration = Duration::from_secs(30);

/// Arguments of a policy that change what queues and exchanges do.
const CHANGING: [&str; 9] = [
    "alternate-exchange",
    "dead-letter-exchange",
    "dead-letter-routing-key",
    "dead-letter-strategy",
    "delivery-limit",
    "expires",
    "max-age",
    "message-ttl",
    "overflow",
];

/// Names such as programs give to the queues that they declare for themselves.
const OWN: [&str; 3] = [
    "jobs.tick.server-a",
    "jobs.tick.reader-a",
    "jobs.control.worker-a",
];

/// Sections of definitions, what names one thing there, and what things of it are called.
const SECTIONS: [(&str, &[&str], &str); 7] = [
    ("policies", &["name"], "policy"),
    ("exchanges", &["name"], "exchange"),
    ("queues", &["name"], "queue"),
    (
        "bindings",
        &["source", "routing_key", "destination"],
        "binding",
    ),
    ("users", &["name"], "user"),
    ("permissions", &["user"], "permissions of"),
    (
        "topic_permissions",
        &["user", "exchange"],
        "topic permissions of",
    ),
];

/// Asks the management API for everything that the broker has; with policies of operators, which are not among
/// definitions, as `operator_policies`.
pub async fn fetch(api: &Url, ca_pem: Option<&str>) -> anyhow::Result<Value> {
    let mut client = reqwest::Client::builder().timeout(WITHIN);
    if let Some(pem) = ca_pem {
        let authorities = reqwest::Certificate::from_pem_bundle(pem.as_bytes());
        client = client.tls_certs_merge(authorities.context("VMCTL_CA_FILE")?);
    }
    let client = client.build()?;
    let mut definitions = get(&client, api, "definitions").await?;
    definitions["operator_policies"] = get(&client, api, "operator-policies").await?;
    Ok(definitions)
}

async fn get(client: &reqwest::Client, api: &Url, what: &str) -> anyhow::Result<Value> {
    let mut url = api.clone();
    let path = format!("{}/{what}", api.path().trim_end_matches('/'));
    url.set_path(&path);
    // The address holds a password, which an error would show.
    let answer = client
        .get(url)
        .send()
        .await
        .map_err(reqwest::Error::without_url)?;
    let status = answer.status();
    ensure!(status.is_success(), "the management API answered {status}");
    let body = answer.json().await.map_err(reqwest::Error::without_url);
    body.with_context(|| format!("the management API did not answer with {what}"))
}

/// Returns each difference, a line for each.
pub fn differences(plan: &Plan, actual: &Value) -> anyhow::Result<Vec<String>> {
    let mut expected = plan.definitions(None)?;
    expected["users"] = plan.users().into();
    let mut found = Vec::new();
    for (section, keys, what) in SECTIONS {
        for item in items(&expected, section) {
            let name = name(item, keys);
            let mut there = items(actual, section).filter(|other| is_same(item, other, keys));
            match there.next() {
                None => found.push(format!("missing     {what} {name}")),
                Some(other) => found.extend(
                    changes(item, other)
                        .map(|change| format!("different   {what} {name}: {change}")),
                ),
            }
        }
    }
    found.extend(unexpected(plan, &expected, actual));
    Ok(found)
}

/// What is there and should not be: rights, bindings to queues of ours, policies that change them.
fn unexpected(plan: &Plan, expected: &Value, actual: &Value) -> Vec<String> {
    let mut found = Vec::new();
    let operators: BTreeSet<&str> = items(actual, "users")
        .filter(|user| tags(user).any(|tag| tag == "administrator"))
        .filter_map(|user| user["name"].as_str())
        .collect();
    let queues: BTreeSet<&str> = plan
        .topology
        .queues
        .iter()
        .map(|q| q.name.as_str())
        .collect();
    for (section, keys, what) in SECTIONS {
        let ours = items(actual, section).filter(|item| item["vhost"] == plan.vhost.as_str());
        for item in ours {
            let user = item["user"].as_str();
            let concerns = match section {
                "bindings" => item["destination"]
                    .as_str()
                    .is_some_and(|q| queues.contains(q)),
                "permissions" | "topic_permissions" => user.is_some_and(|u| !operators.contains(u)),
                _ => false,
            };
            if concerns && !items(expected, section).any(|other| is_same(item, other, keys)) {
                found.push(format!("unexpected  {what} {}", name(item, keys)));
            }
        }
    }
    for (section, what) in [
        ("policies", "policy"),
        ("operator_policies", "operator policy"),
    ] {
        let here = items(actual, section).filter(|policy| policy["vhost"] == plan.vhost.as_str());
        // Ours are compared, as everything else that is expected.
        let others = here.filter(|policy| {
            section != "policies" || !items(expected, section).any(|p| p["name"] == policy["name"])
        });
        for policy in others.filter(|policy| may_concern(policy, &plan.topology)) {
            let definition = policy["definition"].as_object();
            let keys = definition.into_iter().flat_map(serde_json::Map::keys);
            let changing: Vec<_> = keys
                .filter(|key| CHANGING.contains(&key.as_str()) || key.starts_with("max-length"))
                .map(String::as_str)
                .collect();
            let (name, pattern) = (&policy["name"], &policy["pattern"]);
            if !changing.is_empty() {
                let keys = changing.join(", ");
                found.push(format!(
                    "unexpected  {what} {name} for {pattern}: sets {keys}"
                ));
            } else if section == "policies" && policy["priority"].as_i64() > Some(0) {
                found.push(format!(
                    "unexpected  {what} {name} for {pattern}: hides those that are expected"
                ));
            }
        }
    }
    found
}

/// Says whether a policy is for a queue or an exchange of ours. A pattern that only the broker's own regular expressions
/// understand may be.
fn may_concern(policy: &Value, topology: &Topology) -> bool {
    let Some(Ok(pattern)) = policy["pattern"].as_str().map(Regex::new) else {
        return true;
    };
    let queues = topology.queues.iter().map(|queue| queue.name.as_str());
    let exchanges = topology
        .exchanges
        .iter()
        .map(|exchange| exchange.name.as_str());
    let mut names = queues.chain(exchanges).chain(OWN);
    names.any(|name| pattern.is_match(name))
}

fn items<'a>(definitions: &'a Value, section: &str) -> impl Iterator<Item = &'a Value> {
    definitions[section].as_array().into_iter().flatten()
}

fn is_same(one: &Value, other: &Value, keys: &[&str]) -> bool {
    let vhost = one.get("vhost").is_none() || one["vhost"] == other["vhost"];
    vhost && keys.iter().all(|key| one[key] == other[key])
}

fn name(item: &Value, keys: &[&str]) -> String {
    let words = keys.iter().map(|key| item[key].as_str().unwrap_or("?"));
    words.collect::<Vec<_>>().join(" ")
}

/// The broker has had tags as a list, and as words with commas between them.
fn tags(user: &Value) -> impl Iterator<Item = &str> {
    let list = user["tags"].as_array().into_iter().flatten();
    let words = user["tags"]
        .as_str()
        .into_iter()
        .flat_map(|tags| tags.split(','));
    list.filter_map(Value::as_str).chain(words)
}

/// What differs in the fields that are expected. Arguments are compared one by one, and none may be there besides.
fn changes(expected: &Value, actual: &Value) -> impl Iterator<Item = String> {
    let mut found = Vec::new();
    for (field, want) in expected.as_object().into_iter().flatten() {
        let have = &actual[field];
        if field == "tags" {
            let [want, have] = [expected, actual].map(|user| {
                let tags: BTreeSet<_> = tags(user).filter(|tag| !tag.is_empty()).collect();
                tags.into_iter().collect::<Vec<_>>().join(", ")
            });
            if want != have {
                let none = |tags: String| if tags.is_empty() { "none".into() } else { tags };
                found.push(format!("tags are {}, should be {}", none(have), none(want)));
            }
        } else if let (Some(want), Some(have)) = (want.as_object(), have.as_object()) {
            let names: BTreeSet<_> = want.keys().chain(have.keys()).collect();
            for name in names {
                if want.get(name) != have.get(name) {
                    found.push(said(name, have.get(name), want.get(name)));
                }
            }
        } else if want != have {
            found.push(said(field, Some(have), Some(want)));
        }
    }
    found.into_iter()
}

fn said(name: &str, have: Option<&Value>, want: Option<&Value>) -> String {
    let show = |value: Option<&Value>| value.map_or("absent".to_owned(), Value::to_string);
    format!("{name} is {}, should be {}", show(have), show(want))
}
