//! Where a request goes: the upstream's address with the members of the input in it.
//!
//! An input never changes host, port or the shape of the path: a member is one segment, encoded, and
//! `.` and `..` are none.

use std::fmt::Write as _;

use serde_json::{Map, Value};
use url::Url;
use vmctl_api_types::FieldError;
use vmctl_core::{kinds::Upstream, pointer};

/// Returns the addresses to try, in turn. `query` says that what the path does not name goes into
/// the query. Empty when the upstream is the workers' API and nobody said where that is.
pub(super) fn addresses(
    upstreams: &[Upstream],
    workers: &[Url],
    input: &Value,
    query: bool,
) -> Result<Vec<Url>, FieldError> {
    let none = Map::new();
    let members = input.as_object().unwrap_or(&none);
    let mut found = Vec::new();
    for upstream in upstreams {
        match upstream {
            Upstream::Url(text) => found.push(address(text, members, query)?),
            Upstream::Workers(path) => {
                for base in workers {
                    let text = format!("{}{path}", base.as_str().trim_end_matches('/'));
                    found.push(address(&text, members, query)?);
                }
            }
        }
    }
    Ok(found)
}

fn address(template: &str, members: &Map<String, Value>, query: bool) -> Result<Url, FieldError> {
    let mut used = Vec::new();
    let mut text = String::new();
    let mut rest = template;
    while let Some((before, after)) = rest.split_once('{') {
        let Some((name, after)) = after.split_once('}') else {
            break;
        };
        text.push_str(before);
        encode(&mut text, &segment(name, members.get(name))?);
        used.push(name);
        rest = after;
    }
    text.push_str(rest);
    // The registry has parsed the template, and a segment adds nothing that a URL cannot hold.
    let mut url = Url::parse(&text).map_err(|_| wrong("", "cannot be put into an address"))?;
    let left = members
        .iter()
        .filter(|(name, _)| query && !used.contains(&name.as_str()));
    for (name, value) in left {
        if let Some(text) = plain(value) {
            url.query_pairs_mut().append_pair(name, &text);
        }
    }
    Ok(url)
}

fn segment(name: &str, value: Option<&Value>) -> Result<String, FieldError> {
    let text = value
        .and_then(plain)
        .ok_or_else(|| wrong(name, "is missing, or no text"))?;
    if matches!(text.as_str(), "" | "." | "..") {
        return Err(wrong(name, "cannot be a part of a path"));
    }
    Ok(text)
}

fn plain(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        Value::Bool(flag) => Some(flag.to_string()),
        _ => None,
    }
}

/// Percent-encodes everything but RFC 3986's unreserved characters.
fn encode(out: &mut String, text: &str) {
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            out.push(char::from(byte));
        } else {
            // Writing to a string cannot fail.
            let _ = write!(out, "%{byte:02X}");
        }
    }
}

fn wrong(name: &str, detail: &str) -> FieldError {
    FieldError {
        pointer: pointer::member("", name),
        code: "path".to_owned(),
        detail: detail.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn one(template: &str, input: &Value) -> Result<String, String> {
        let upstream = [Upstream::Url(template.to_owned())];
        addresses(&upstream, &[], input, true)
            .map(|urls| urls[0].to_string())
            .map_err(|error| error.pointer)
    }

    #[test]
    fn members_are_segments_or_parameters_and_nothing_else() {
        let template = "http://up:1/v1/{name}/ports";
        for (name, path) in [
            ("lx1", "lx1"),
            ("a/b", "a%2Fb"),
            ("../x", "..%2Fx"),
            ("a?b#c", "a%3Fb%23c"),
            ("@evil:2", "%40evil%3A2"),
            ("é", "%C3%A9"),
        ] {
            let input = json!({"name": name});
            let expected = format!("http://up:1/v1/{path}/ports");
            assert_eq!(one(template, &input), Ok(expected));
        }
        for bad in [
            json!({"name": ".."}),
            json!({"name": ""}),
            json!({}),
            json!({"name": []}),
        ] {
            assert_eq!(one(template, &bad), Err("/name".to_owned()), "{bad}");
        }
        assert_eq!(
            one("http://up/", &json!({"a": "x y&z", "b": 2})),
            Ok("http://up/?a=x+y%26z&b=2".to_owned())
        );
    }

    #[test]
    fn each_worker_is_an_address() {
        let workers = [
            "http://a:1".parse().unwrap(),
            "http://b:2/api/".parse().unwrap(),
        ];
        let upstream = [Upstream::Workers("/machines".to_owned())];
        let found = addresses(&upstream, &workers, &json!({}), true).unwrap();
        let found: Vec<_> = found.iter().map(Url::as_str).collect();
        assert_eq!(found, ["http://a:1/machines", "http://b:2/api/machines"]);
        assert_eq!(addresses(&upstream, &[], &json!({}), true), Ok(vec![]));
    }
}
