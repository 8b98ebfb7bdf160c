//! Query parameters: each known one at most once unless it may be repeated, unknown ones refused.
//!
//! A filter that is ignored because it is misspelt would answer another question than the one that
//! was asked.

use axum::{
    extract::{FromRequestParts, RawQuery},
    http::request::Parts,
};
use vmctl_api_types::ProblemType;

use crate::error::ApiError;

/// The decoded pairs.
#[derive(Debug, Clone, Default)]
pub(crate) struct Query(Vec<(String, String)>);

impl<S: Send + Sync> FromRequestParts<S> for Query {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
        let Ok(RawQuery(raw)) = RawQuery::from_request_parts(parts, state).await;
        Ok(Self::parse(raw.as_deref().unwrap_or_default()))
    }
}

impl Query {
    pub fn parse(raw: &str) -> Self {
        Self(
            url::form_urlencoded::parse(raw.as_bytes())
                .into_owned()
                .collect(),
        )
    }

    /// Refuses every parameter that is not named here.
    pub fn only(&self, known: &[&str]) -> Result<(), ApiError> {
        match self.0.iter().find(|(name, _)| !known.contains(&&**name)) {
            None => Ok(()),
            Some((name, _)) => {
                let name: String = name.chars().take(64).collect();
                Err(bad(format!(
                    "unknown parameter {name:?}; known are: {}",
                    known.join(", ")
                )))
            }
        }
    }

    /// Returns all pairs.
    pub fn pairs(&self) -> &[(String, String)] {
        &self.0
    }

    /// Returns a parameter that may be there once.
    pub fn one<'a>(&'a self, name: &'a str) -> Result<Option<&'a str>, ApiError> {
        let mut all = self.all(name);
        match (all.next(), all.next()) {
            (value, None) => Ok(value),
            _ => Err(bad(format!("{name} is there twice"))),
        }
    }

    /// Returns all values of a parameter.
    pub fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.0
            .iter()
            .filter(move |(have, _)| have == name)
            .map(|(_, value)| value.as_str())
    }

    /// Returns a flag: `true`, `1` or nothing at all is true.
    pub fn flag(&self, name: &str) -> Result<bool, ApiError> {
        match self.one(name)? {
            None | Some("false" | "0") => Ok(false),
            Some("" | "true" | "1") => Ok(true),
            Some(_) => Err(bad(format!("{name} is true or false"))),
        }
    }

    /// Returns `limit`, at most `max`.
    pub fn limit(&self, default: usize, max: usize) -> Result<usize, ApiError> {
        let Some(text) = self.one("limit")? else {
            return Ok(default.min(max));
        };
        let digits = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
        match text.parse::<usize>() {
            Ok(0) => Err(bad("limit is 1 or more")),
            Ok(limit) => Ok(limit.min(max)),
            // Digits that do not fit are a very large limit.
            Err(_) if digits => Ok(max),
            Err(_) => Err(bad("limit is a whole number, 1 or more")),
        }
    }

    /// Writes the pairs again, with another value for one parameter.
    pub fn with(&self, name: &str, value: &str) -> String {
        let mut out = url::form_urlencoded::Serializer::new(String::new());
        for (have, value) in self.0.iter().filter(|(have, _)| have != name) {
            out.append_pair(have, value);
        }
        out.append_pair(name, value).finish()
    }
}

/// A parameter that cannot be used.
pub(crate) fn bad(detail: impl Into<String>) -> ApiError {
    ApiError::new(ProblemType::BadQuery).detail(detail)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_are_clamped_or_refused() {
        let limit = |raw: &str| {
            Query::parse(raw)
                .limit(50, 200)
                .map_err(|e| e.problem().status)
        };
        assert_eq!(limit(""), Ok(50));
        assert_eq!(limit("limit=7"), Ok(7));
        assert_eq!(limit("limit=1000"), Ok(200));
        assert_eq!(limit("limit=99999999999999999999999"), Ok(200));
        for bad in [
            "limit=0",
            "limit=-1",
            "limit=x",
            "limit=",
            "limit=1&limit=2",
        ] {
            assert_eq!(limit(bad), Err(400), "{bad}");
        }
    }

    #[test]
    fn unknown_parameters_are_refused() {
        assert!(Query::parse("a=1&b=2").only(&["a", "b"]).is_ok());
        assert!(Query::parse("a=1&c=2").only(&["a", "b"]).is_err());
    }

    #[test]
    fn a_parameter_is_replaced() {
        let query = Query::parse("kind=vm.create&cursor=x&label=a:b%20c");
        assert_eq!(
            query.with("cursor", "y"),
            "kind=vm.create&label=a%3Ab+c&cursor=y"
        );
    }
}
