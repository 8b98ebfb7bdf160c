//! Entity tags (RFC 9110, sections 8.8.3 and 13.1).

use axum::http::{HeaderMap, HeaderValue, header};

/// Tags that a request names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Tags {
    /// `*`.
    Any,
    /// The opaque parts, with the weak mark.
    These(Vec<(bool, String)>),
}

impl Tags {
    /// Reads `If-None-Match` or `If-Match`; `None` without the header.
    pub fn of(headers: &HeaderMap, name: header::HeaderName) -> Option<Self> {
        let mut tags = Vec::new();
        let mut present = false;
        for value in headers.get_all(name) {
            present = true;
            let Ok(text) = value.to_str() else { continue };
            for tag in text.split(',').map(str::trim) {
                if tag == "*" {
                    return Some(Self::Any);
                }
                let (weak, tag) = match tag.strip_prefix("W/") {
                    Some(rest) => (true, rest),
                    None => (false, tag),
                };
                if let Some(opaque) = tag.strip_prefix('"').and_then(|t| t.strip_suffix('"')) {
                    tags.push((weak, opaque.to_owned()));
                }
            }
        }
        present.then_some(Self::These(tags))
    }

    /// The weak comparison, for `If-None-Match`.
    pub fn contains(&self, etag: &str) -> bool {
        match self {
            Self::Any => true,
            Self::These(tags) => tags.iter().any(|(_, have)| have == etag),
        }
    }

    /// The strong comparison, for `If-Match`.
    pub fn contains_strong(&self, etag: &str) -> bool {
        match self {
            Self::Any => true,
            Self::These(tags) => tags.iter().any(|(weak, have)| !weak && have == etag),
        }
    }
}

/// Writes a tag into a header.
pub(crate) fn etag_header(etag: &str) -> Option<HeaderValue> {
    HeaderValue::from_str(&format!("\"{etag}\"")).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tags(text: &'static str) -> Option<Tags> {
        let mut headers = HeaderMap::new();
        headers.insert(header::IF_NONE_MATCH, HeaderValue::from_static(text));
        Tags::of(&headers, header::IF_NONE_MATCH)
    }

    #[test]
    fn lists_weak_tags_and_star_are_read() {
        let list = tags("\"a\", W/\"b\"").unwrap();
        assert!(list.contains("a") && list.contains("b") && !list.contains("c"));
        assert!(list.contains_strong("a") && !list.contains_strong("b"));
        assert!(tags("*").unwrap().contains_strong("x"));
        assert_eq!(tags("nonsense"), Some(Tags::These(vec![])));
        assert_eq!(Tags::of(&HeaderMap::new(), header::IF_MATCH), None);
    }
}
