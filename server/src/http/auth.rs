//! Who calls: the token from the headers, checked by the identity service.
//!
//! The project comes from the token and from nowhere else.

use std::sync::Arc;

use axum::{
    extract::{FromRequestParts, MatchedPath},
    http::{HeaderMap, HeaderName, header, request::Parts},
};
use vmctl_api_types::ProblemType;
use vmctl_core::identity::{AuthContext, IdentityError, Project, Token};

use super::access::Access;
use crate::{app::App, audit::Trail, error::ApiError, policy};

/// The original service's header.
pub(crate) const X_TOKEN: HeaderName = HeaderName::from_static("x-token");
/// OpenStack's header.
pub(crate) const X_AUTH_TOKEN: HeaderName = HeaderName::from_static("x-auth-token");

/// A caller with a valid token, whom the policy lets use the route.
#[derive(Debug, Clone)]
pub(crate) struct Authenticated;

/// A caller whose token is scoped to a project, and whom the policy lets use the route.
#[derive(Debug, Clone)]
pub(crate) struct Permitted {
    pub context: AuthContext,
    pub project: Project,
    /// Whose jobs it is about.
    pub access: Access,
    /// What it came with: an answer that lasts asks again whether it is still valid.
    pub token: Token,
    /// What the audit is told of the request.
    pub trail: Trail,
}

impl Permitted {
    /// Asks again whether the token is valid, for this project, and allows the same. A service that does
    /// not answer refuses nobody.
    pub async fn is_still_valid(&self, app: &App) -> bool {
        match app.identity.validate(&self.token).await {
            Ok(now) => {
                now.project.as_ref() == Some(&self.project)
                    && self.access.renewed(app, &now).is_ok()
            }
            Err(IdentityError::Unavailable(_)) => true,
            Err(IdentityError::Invalid | IdentityError::Refused) => false,
        }
    }

    /// Refuses a caller without this role.
    pub fn require(&self, role: &str) -> Result<(), ApiError> {
        if self.context.has_role(role) {
            return Ok(());
        }
        Err(ApiError::new(ProblemType::Forbidden).detail(format!("this needs the role {role}")))
    }
}

impl FromRequestParts<Arc<App>> for Authenticated {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, app: &Arc<App>) -> Result<Self, ApiError> {
        let token = token(&parts.headers)?;
        let context = validate(app, &token).await?;
        Trail::of(&parts.extensions).who(&context);
        access(parts, app, &context)?;
        Ok(Self)
    }
}

impl FromRequestParts<Arc<App>> for Permitted {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, app: &Arc<App>) -> Result<Self, ApiError> {
        let token = token(&parts.headers)?;
        let context = validate(app, &token).await?;
        let trail = Trail::of(&parts.extensions);
        trail.who(&context);
        let Some(project) = context.project.clone() else {
            return Err(ApiError::new(ProblemType::Forbidden)
                .detail("the token is not scoped to a project"));
        };
        let access = access(parts, app, &context)?;
        Ok(Self {
            context,
            project,
            access,
            token,
            trail,
        })
    }
}

/// Looks whether the caller may ask for what the route is for.
fn access(parts: &Parts, app: &App, context: &AuthContext) -> Result<Access, ApiError> {
    let path = parts.extensions.get::<MatchedPath>();
    let action = path.and_then(|path| policy::of_route(parts.method.as_str(), path.as_str()));
    // A test finds a route without an action; until then it is nobody's.
    let action = action.ok_or_else(|| ApiError::new(ProblemType::Forbidden))?;
    Access::check(app, action, context)
}

/// Asks the identity service, counts the answer and remembers whether there was one.
pub(crate) async fn validate(app: &App, token: &Token) -> Result<AuthContext, ApiError> {
    let answer = app.identity.validate(token).await;
    app.identity_answered(&answer);
    let result = match &answer {
        Ok(_) => "ok",
        Err(IdentityError::Unavailable(_)) => "unavailable",
        Err(_) => "invalid",
    };
    metrics::counter!("auth_total", "result" => result).increment(1);
    Ok(answer?)
}

/// Finds the one token of a request.
pub(crate) fn token(headers: &HeaderMap) -> Result<Token, ApiError> {
    let plain = [X_TOKEN, X_AUTH_TOKEN]
        .into_iter()
        .flat_map(|name| headers.get_all(name))
        .map(axum::http::HeaderValue::as_bytes);
    let bearer = headers
        .get_all(header::AUTHORIZATION)
        .into_iter()
        .filter_map(|value| bearer(value.as_bytes()));
    let mut tokens: Vec<&[u8]> = plain.chain(bearer).collect();
    tokens.dedup();
    match tokens.as_slice() {
        [] => Err(ProblemType::TokenMissing.into()),
        [one] => std::str::from_utf8(one)
            .ok()
            .and_then(|text| Token::parse(text).ok())
            .ok_or_else(|| ProblemType::TokenInvalid.into()),
        _ => Err(ApiError::new(ProblemType::BadHeader)
            .detail("the request has more than one token: send it in one header")),
    }
}

/// Reads `Bearer <token>`; other schemes are not ours to judge.
fn bearer(value: &[u8]) -> Option<&[u8]> {
    let (scheme, rest) = value.split_at_checked("Bearer ".len())?;
    scheme
        .eq_ignore_ascii_case(b"Bearer ")
        .then(|| rest.trim_ascii())
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    fn found(pairs: &[(&str, &[u8])]) -> Result<String, String> {
        let mut headers = HeaderMap::new();
        for (name, value) in pairs {
            headers.append(
                HeaderName::from_bytes(name.as_bytes()).unwrap(),
                HeaderValue::from_bytes(value).unwrap(),
            );
        }
        token(&headers)
            .map(|t| t.expose().to_owned())
            .map_err(|e| e.problem().problem_type["/problems/".len()..].to_owned())
    }

    #[test]
    fn each_of_three_headers_carries_the_token() {
        for (name, value) in [
            ("X-TOKEN", "abc"),
            ("X-Auth-Token", "abc"),
            ("Authorization", "Bearer abc"),
            ("Authorization", "bearer  abc"),
        ] {
            assert_eq!(found(&[(name, value.as_bytes())]).unwrap(), "abc");
        }
    }

    #[test]
    fn the_same_token_twice_is_one_and_two_different_ones_are_refused() {
        assert!(found(&[("x-token", b"a"), ("authorization", b"Bearer a")]).is_ok());
        assert_eq!(
            found(&[("x-token", b"a"), ("x-auth-token", b"b")]).unwrap_err(),
            "bad-header"
        );
        assert_eq!(
            found(&[("x-token", b"a"), ("x-token", b"b")]).unwrap_err(),
            "bad-header"
        );
    }

    #[test]
    fn missing_and_malformed_are_told_apart() {
        assert_eq!(found(&[]).unwrap_err(), "token-missing");
        assert_eq!(
            found(&[("authorization", b"Basic am9lOjEyMzQ=")]).unwrap_err(),
            "token-missing"
        );
        for bad in [&b""[..], b"a b", b"\xffabc", b"caf\xc3\xa9", &[b'a'; 8193]] {
            assert_eq!(found(&[("x-token", bad)]).unwrap_err(), "token-invalid");
        }
    }
}
