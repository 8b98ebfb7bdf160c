//! The `Idempotency-Key` of a request.

use axum::http::{HeaderMap, HeaderName};
use vmctl_api_types::ProblemType;

use crate::error::ApiError;

pub(crate) const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");

/// Longest accepted key, in characters.
const MAX_LEN: usize = 255;

/// A key: 1 to 255 characters of printable ASCII.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct IdempotencyKey(String);

impl IdempotencyKey {
    /// Reads the header. The quoted form of RFC 8941 (section 3.3.3) and the bare form name the same
    /// key.
    pub fn of(headers: &HeaderMap) -> Result<Option<Self>, ApiError> {
        let mut values = headers.get_all(IDEMPOTENCY_KEY).iter();
        let Some(first) = values.next() else {
            return Ok(None);
        };
        if values.next().is_some() {
            return Err(bad("the header Idempotency-Key is there twice"));
        }
        let text = first
            .to_str()
            .map_err(|_| bad("an Idempotency-Key is printable ASCII"))?
            .trim();
        let key = match text.strip_prefix('"') {
            Some(rest) => unquote(rest).ok_or_else(|| bad("the Idempotency-Key is half quoted"))?,
            None => text.to_owned(),
        };
        let fits = (1..=MAX_LEN).contains(&key.len());
        if fits && key.bytes().all(|b| (b' '..=b'~').contains(&b)) {
            Ok(Some(Self(key)))
        } else {
            Err(bad(
                "an Idempotency-Key has 1 to 255 printable ASCII characters",
            ))
        }
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

fn bad(detail: &str) -> ApiError {
    ApiError::new(ProblemType::BadHeader).detail(detail)
}

/// Reads a quoted string after its first quote.
fn unquote(text: &str) -> Option<String> {
    let mut out = String::with_capacity(text.len());
    let mut chars = text.chars();
    loop {
        match chars.next()? {
            '"' => return chars.next().is_none().then_some(out),
            '\\' => match chars.next()? {
                c @ ('"' | '\\') => out.push(c),
                _ => return None,
            },
            c => out.push(c),
        }
    }
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    fn key(text: &[u8]) -> Result<String, u16> {
        let mut headers = HeaderMap::new();
        headers.insert(IDEMPOTENCY_KEY, HeaderValue::from_bytes(text).unwrap());
        IdempotencyKey::of(&headers)
            .map(|k| k.unwrap().0)
            .map_err(|e| e.problem().status)
    }

    #[test]
    fn quoted_and_bare_are_the_same_key() {
        assert_eq!(key(b"\"8e03978e\"").unwrap(), "8e03978e");
        assert_eq!(key(b"8e03978e").unwrap(), "8e03978e");
        assert_eq!(key(br#""a \"b\" \\""#).unwrap(), r#"a "b" \"#);
        assert_eq!(key(&[b'k'; 255]).unwrap().len(), 255);
    }

    #[test]
    fn unusable_keys_are_refused() {
        for bad in [
            &b""[..],
            b"\"\"",
            b"\"open",
            b"\"a\"b",
            br#""a\n""#,
            b"caf\xc3\xa9",
            b"a\tb",
            &[b'k'; 256],
        ] {
            assert_eq!(key(bad), Err(400), "{bad:?}");
        }
    }
}
