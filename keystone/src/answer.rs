//! Reading an answer: bounded in size, and recognised as Keystone's own.

use std::time::Duration;

use reqwest::header::{HeaderMap, RETRY_AFTER};
use reqwest::{Response, StatusCode};
use serde::Deserialize;
use serde::de::DeserializeOwned;

use crate::error::Error;
use crate::token::Token;

/// An answer whose body was read whole.
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    headers: HeaderMap,
    body: Vec<u8>,
}

impl Answer {
    /// Reads the body by chunks and gives up when it passes `limit` bytes.
    pub(crate) async fn read(mut response: Response, limit: usize) -> Result<Self, Error> {
        let status = response.status();
        let too_large = protocol(status, "the body is too large");
        if response
            .content_length()
            .is_some_and(|length| length > limit as u64)
        {
            return Err(too_large);
        }
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(transport)? {
            if body.len() + chunk.len() > limit {
                return Err(too_large);
            }
            body.extend_from_slice(&chunk);
        }
        let headers = std::mem::take(response.headers_mut());
        Ok(Self {
            status,
            headers,
            body,
        })
    }

    /// The body as JSON of a known form.
    pub(crate) fn json<T: DeserializeOwned>(&self) -> Result<T, Error> {
        // The parser's message may quote the body, so it goes no further.
        serde_json::from_slice(&self.body)
            .map_err(|_| self.protocol("the body is not as documented"))
    }

    /// A token that came in a header.
    pub(crate) fn token(&self, header: &'static str) -> Result<Token, Error> {
        let value = self
            .headers
            .get(header)
            .and_then(|value| value.to_str().ok());
        value
            .and_then(|text| Token::parse(text).ok())
            .ok_or_else(|| self.protocol("the header with the token is missing or malformed"))
    }

    pub(crate) fn has(&self, header: &'static str) -> bool {
        self.headers.contains_key(header)
    }

    pub(crate) fn protocol(&self, what: &'static str) -> Error {
        protocol(self.status, what)
    }

    /// The error that an answer stands for which is not the one hoped for.
    pub(crate) fn into_error(self) -> Error {
        let status = self.status;
        if status == StatusCode::TOO_MANY_REQUESTS || status.is_server_error() {
            return Error::Unavailable {
                status: status.as_u16(),
                retry_after: self.retry_after(),
            };
        }
        if status.is_redirection() {
            return self.protocol("a redirection, which is not followed; check the address");
        }
        // A proxy or another program may answer with the same numbers and mean something else.
        if status.is_client_error() && !self.is_keystone_error() {
            return self.protocol("the error is not Keystone's; check the address");
        }
        match status {
            StatusCode::BAD_REQUEST => Error::Invalid("Keystone does not accept its form"),
            StatusCode::UNAUTHORIZED => Error::Refused,
            StatusCode::FORBIDDEN => Error::Forbidden,
            StatusCode::NOT_FOUND => Error::NotFound,
            StatusCode::CONFLICT => Error::Conflict,
            _ => self.protocol("the status is not expected here"),
        }
    }

    /// Whether the body is Keystone's `{"error": {"code": …}}` with the same code as the status.
    fn is_keystone_error(&self) -> bool {
        serde_json::from_slice::<ErrorBody>(&self.body)
            .is_ok_and(|body| body.error.code == self.status.as_u16())
    }

    fn retry_after(&self) -> Option<Duration> {
        let seconds = self.headers.get(RETRY_AFTER)?.to_str().ok()?.parse().ok()?;
        Some(Duration::from_secs(seconds))
    }
}

#[derive(Deserialize)]
struct ErrorBody {
    error: ErrorFields,
}

#[derive(Deserialize)]
struct ErrorFields {
    code: u16,
}

/// The address is left out of the message: callers know it, and it may hold an id.
pub(crate) fn transport(error: reqwest::Error) -> Error {
    Error::Transport(error.without_url())
}

fn protocol(status: StatusCode, what: &'static str) -> Error {
    Error::Protocol {
        status: status.as_u16(),
        what,
    }
}
