//! Ids and fingerprints that follow from a request.
//!
//! With an `Idempotency-Key` the job's id is derived from the project, the route, the key **and** the
//! request, so a repetition finds the same job even when every cache is gone, and two requests can
//! never share one.

use hmac::{Hmac, KeyInit, Mac};
use secrecy::{ExposeSecret, SecretString};
use serde_json::Value;
use sha2::{Digest, Sha256};
use uuid::Uuid;
use vmctl_api_types::JobId;

/// Derives the id of a job (UUID version 8).
pub(crate) fn derive(
    secret: &SecretString,
    project: &str,
    route: &str,
    key: &str,
    fingerprint: &str,
) -> JobId {
    // HMAC takes a key of any length.
    let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(secret.expose_secret().as_bytes()) else {
        unreachable!("HMAC takes a key of any length")
    };
    for part in [project, route, key, fingerprint] {
        // The length keeps ("ab", "c") apart from ("a", "bc").
        mac.update(&(part.len() as u64).to_be_bytes());
        mac.update(part.as_bytes());
    }
    let digest = mac.finalize().into_bytes();
    let mut bytes = [0_u8; 16];
    bytes.copy_from_slice(&digest[..16]);
    JobId::from_uuid(Uuid::new_v8(bytes))
}

/// Returns `sha256:<hex>` of a document, whatever the order of its keys.
pub(crate) fn fingerprint(document: &Value) -> String {
    let mut hash = Sha256::new();
    digest(document, &mut hash);
    format!("sha256:{}", hex(&hash.finalize()))
}

/// Returns a short name for something that must not be stored as it is.
pub(crate) fn short_hash(parts: &[&str]) -> String {
    let mut hash = Sha256::new();
    for part in parts {
        hash.update((part.len() as u64).to_be_bytes());
        hash.update(part.as_bytes());
    }
    hex(&hash.finalize()[..16])
}

fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write;
    bytes.iter().fold(String::new(), |mut out, byte| {
        // Writing into a String cannot fail.
        let _ = write!(out, "{byte:02x}");
        out
    })
}

fn digest(value: &Value, hash: &mut Sha256) {
    match value {
        Value::Object(map) => {
            let mut keys: Vec<_> = map.keys().collect();
            keys.sort();
            hash.update(b"{");
            for key in keys {
                digest(&Value::from(key.as_str()), hash);
                digest(&map[key], hash);
            }
            hash.update(b"}");
        }
        Value::Array(items) => {
            hash.update(b"[");
            for item in items {
                digest(item, hash);
            }
            hash.update(b"]");
        }
        // The quotes of strings and the words of JSON keep scalars apart; the comma ends numbers.
        scalar => {
            hash.update(scalar.to_string());
            hash.update(b",");
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_order_of_keys_does_not_matter_and_everything_else_does() {
        let parse = |text: &str| serde_json::from_str::<Value>(text).unwrap();
        let a = fingerprint(&parse(r#"{"a":1,"b":{"c":[1,2],"d":null}}"#));
        assert_eq!(
            a,
            fingerprint(&parse(r#"{"b":{"d":null,"c":[1,2]},"a":1}"#))
        );
        for other in [
            json!({"a": 1, "b": {"c": [2, 1], "d": null}}),
            json!({"a": 1, "b": {"c": [12], "d": null}}),
            json!({"a": "1", "b": {"c": [1, 2], "d": null}}),
            json!({"a": 1, "b": {"c": [1, 2]}}),
        ] {
            assert_ne!(a, fingerprint(&other));
        }
    }

    #[test]
    fn every_part_makes_another_id() {
        let secret = SecretString::from("s");
        let id = |p, r, k, f| derive(&secret, p, r, k, f);
        let first = id("p", "r", "k", "f");
        assert_eq!(first, id("p", "r", "k", "f"));
        assert_eq!(first.as_uuid().get_version_num(), 8);
        assert!(first.is_ours());
        for other in [
            id("q", "r", "k", "f"),
            id("p", "s", "k", "f"),
            id("p", "r", "l", "f"),
            id("p", "r", "k", "g"),
            id("pr", "", "k", "f"),
            derive(&SecretString::from("t"), "p", "r", "k", "f"),
        ] {
            assert_ne!(first, other);
        }
    }
}
