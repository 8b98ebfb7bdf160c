//! Reads one JSON document, strictly: UTF-8, at most 64 levels deep, no key twice, nothing after it.
//!
//! `serde_json` takes the last of two equal keys and goes 128 levels deep, hence the visitor and the
//! scan before it.

use std::{cell::RefCell, fmt};

use serde::de::{DeserializeSeed, Deserializer, Error as _, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Value};
use vmctl_api_types::{FieldError, ProblemType};
use vmctl_core::pointer;

use crate::error::ApiError;

/// Deepest accepted nesting.
pub(crate) const MAX_DEPTH: usize = 64;

/// Reads a document.
pub(crate) fn parse(bytes: &[u8]) -> Result<Value, ApiError> {
    let text = std::str::from_utf8(bytes)
        .map_err(|e| malformed("the body is not UTF-8", bytes, e.valid_up_to()))?;
    check_depth(bytes)?;
    let duplicate = RefCell::new(None);
    let mut deserializer = serde_json::Deserializer::from_str(text);
    let parsed = Strict(&duplicate)
        .deserialize(&mut deserializer)
        .and_then(|value| deserializer.end().map(|()| value));
    parsed.map_err(|error| match duplicate.take() {
        Some(key) => duplicate_key(&key, &error),
        None => ApiError::new(ProblemType::MalformedJson).detail(error.to_string()),
    })
}

fn duplicate_key(key: &str, error: &serde_json::Error) -> ApiError {
    let key: String = key.chars().take(64).collect();
    ApiError::new(ProblemType::DuplicateKey)
        .detail(format!(
            "a key is there twice at line {} column {}",
            error.line(),
            error.column()
        ))
        .errors(vec![FieldError {
            pointer: pointer::member("", &key),
            code: "duplicate-key".to_owned(),
            detail: "is there twice in one object".to_owned(),
        }])
}

fn malformed(what: &str, bytes: &[u8], offset: usize) -> ApiError {
    let before = &bytes[..offset.min(bytes.len())];
    let line = before.split(|&b| b == b'\n').count();
    let column = before.iter().rev().take_while(|&&b| b != b'\n').count() + 1;
    ApiError::new(ProblemType::MalformedJson)
        .detail(format!("{what} at line {line} column {column}"))
}

/// Counts brackets outside strings; the parser says later whether they match.
fn check_depth(bytes: &[u8]) -> Result<(), ApiError> {
    let (mut depth, mut in_string, mut escaped) = (0_usize, false, false);
    for (offset, &byte) in bytes.iter().enumerate() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if in_string => escaped = true,
            b'"' => in_string = !in_string,
            _ if in_string => {}
            b'[' | b'{' => {
                depth += 1;
                if depth > MAX_DEPTH {
                    return Err(malformed("the body nests deeper than 64", bytes, offset));
                }
            }
            b']' | b'}' => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    Ok(())
}

/// Builds a [`Value`] and stops at the first key that is there twice, which it leaves in the cell.
#[derive(Clone, Copy)]
struct Strict<'a>(&'a RefCell<Option<String>>);

impl<'de> DeserializeSeed<'de> for Strict<'_> {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Strict<'_> {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_string<E>(self, value: String) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Value, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = seq.next_element_seed(self)? {
            items.push(item);
        }
        Ok(Value::Array(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> Result<Value, A::Error> {
        let mut map = Map::new();
        while let Some(key) = access.next_key::<String>()? {
            if map.contains_key(&key) {
                self.0.replace(Some(key));
                return Err(A::Error::custom("a key is there twice"));
            }
            let value = access.next_value_seed(self)?;
            map.insert(key, value);
        }
        Ok(Value::Object(map))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn slug(body: impl AsRef<[u8]>) -> String {
        let error = parse(body.as_ref()).unwrap_err();
        error.problem().problem_type["/problems/".len()..].to_owned()
    }

    fn detail(body: impl AsRef<[u8]>) -> String {
        let error = parse(body.as_ref()).unwrap_err();
        error.problem().detail.clone().unwrap()
    }

    #[test]
    fn what_is_valid_is_what_serde_json_reads() {
        for text in [
            "null",
            " [1, -0, 1.5e3, 9223372036854775808, \"a\\u0000\\ud83d\\ude00\", {\"a\": {\"a\": []}}] ",
            "{}",
        ] {
            let expected: Value = serde_json::from_str(text).unwrap();
            assert_eq!(parse(text.as_bytes()).unwrap(), expected);
        }
    }

    #[test]
    fn broken_documents_are_malformed() {
        for body in [
            &b""[..],
            b"{",
            b"{\"a\":1",
            b"{\"a\":1} x",
            b"{} {}",
            b"NaN",
            b"1e999",
            b"\"\\ud800\"",
            b"\xef\xbb\xbf{}",
            b"{\"a\":\"\xff\"}",
            b"\xff\xfe{\x00}\x00",
            b"{'a':1}",
            b"[1,]",
        ] {
            assert_eq!(slug(body), "malformed-json", "{body:?}");
        }
    }

    #[test]
    fn line_and_column_are_told() {
        assert!(detail("{\n  \"a\": x}").contains("at line 2 column 8"));
        assert!(detail(b"{\n\"a\":\"\xff\"}").contains("not UTF-8 at line 2 column 6"));
    }

    #[test]
    fn depth_is_counted_outside_strings() {
        let nested = |n: usize| format!("{}{}", "[".repeat(n), "]".repeat(n));
        assert!(parse(nested(MAX_DEPTH).as_bytes()).is_ok());
        assert_eq!(slug(nested(MAX_DEPTH + 1)), "malformed-json");
        assert_eq!(slug("[".repeat(100_000)), "malformed-json");
        let brackets = format!("\"{}\\\"{}\"", "[".repeat(100), "{".repeat(100));
        assert!(parse(brackets.as_bytes()).is_ok());
    }

    #[test]
    fn a_key_may_be_there_once() {
        assert_eq!(slug("{\"a\":1,\"a\":1}"), "duplicate-key");
        assert_eq!(
            slug("[{\"b\":{\"c\":1,\"d\":2,\"\\u0063\":3}}]"),
            "duplicate-key"
        );
        assert!(parse(b"[{\"a\":1},{\"a\":1}]").is_ok());
    }

    #[test]
    fn ten_thousand_keys_are_read_quickly() {
        let keys: Vec<_> = (0..10_000).map(|i| format!("\"k{i}\":0")).collect();
        let value = parse(format!("{{{}}}", keys.join(",")).as_bytes()).unwrap();
        assert_eq!(value.as_object().unwrap().len(), 10_000);
    }
}
