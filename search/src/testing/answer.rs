//! Answers in the form of the real ones.

use axum::{
    Json,
    http::StatusCode,
    response::{IntoResponse, Response},
};
use serde_json::{Value, json};

/// A status and a body.
#[derive(Debug)]
pub(super) struct Answer {
    status: u16,
    body: Option<Value>,
}

impl Answer {
    pub fn new(status: u16, body: Value) -> Self {
        Self {
            status,
            body: Some(body),
        }
    }

    pub fn empty(status: u16) -> Self {
        Self { status, body: None }
    }
}

impl From<Answer> for Response {
    fn from(answer: Answer) -> Self {
        let status = StatusCode::from_u16(answer.status).unwrap();
        match answer.body {
            Some(body) => (status, Json(body)).into_response(),
            None => status.into_response(),
        }
    }
}

/// Says no.
pub(super) fn refuse(status: u16, kind: &str, reason: &str) -> Answer {
    let error = json!({"type": kind, "reason": reason});
    let body = json!({
        "error": {"root_cause": [error], "type": kind, "reason": reason},
        "status": status,
    });
    Answer::new(status, body)
}
