//! `/v1/sync/{name}`: a kind that is answered at once, by its upstream.

use std::sync::Arc;

use axum::{
    extract::{FromRequest, Path, Request, State, rejection::PathRejection},
    http::{Method, header},
    response::Response,
};
use bytes::Bytes;
use serde_json::{Map, Value};
use vmctl_api_types::{Problem, ProblemType};
use vmctl_core::{Kind, kinds::SyncSpec};

use crate::{
    app::App,
    error::ApiError,
    http::{auth::Permitted, body::RawJsonBody, query::Query, request_id::RequestId},
    openapi::Guarded,
    sync::{self, Ask},
};

/// The documented operations differ in their method only.
macro_rules! operation {
    ($name:ident, $id:literal, $summary:literal, $description:literal) => {
        #[doc = $summary]
        #[doc = ""]
        #[doc = $description]
        #[utoipa::path(
            $name, path = "/v1/sync/{name}", tag = "catalog", operation_id = $id,
            security(("token" = [])),
            params(("name" = String, Path, description = "A kind with mode `sync`", example = "vm.list")),
            responses(
                (status = 200, description = "What the upstream answered, with its own status", body = Value),
                (status = 400, description = "Not one JSON document, or a parameter twice", body = Problem, content_type = "application/problem+json"),
                (status = 404, description = "No such synchronous kind, or the upstream's own 404", body = Problem, content_type = "application/problem+json"),
                (status = 405, description = "The kind does not allow this method", body = Problem, content_type = "application/problem+json"),
                (status = 413, description = "The body is too large", body = Problem, content_type = "application/problem+json"),
                (status = 415, description = "The body is not JSON", body = Problem, content_type = "application/problem+json"),
                (status = 422, description = "The input is not valid; `errors` lists all fields", body = Problem, content_type = "application/problem+json"),
                (status = 502, description = "The upstream is broken", body = Problem, content_type = "application/problem+json"),
                (status = 504, description = "The upstream did not answer in time", body = Problem, content_type = "application/problem+json"),
                Guarded,
            )
        )]
        pub(super) async fn $name(
            State(app): State<Arc<App>>,
            caller: Permitted,
            request_id: RequestId,
            name: Result<Path<String>, PathRejection>,
            request: Request,
        ) -> Result<Response, ApiError> {
            answer(&app, &caller, &request_id, name, request).await
        }
    };
}

operation!(
    get,
    "get_sync",
    "Ask a synchronous kind",
    "The query is the input. `GET /v1/kinds` says which kinds are synchronous, and with which methods."
);
operation!(
    post,
    "post_sync",
    "Post to a synchronous kind",
    "The body is the input."
);
operation!(
    put,
    "put_sync",
    "Put to a synchronous kind",
    "The body is the input."
);
operation!(
    patch,
    "patch_sync",
    "Patch by a synchronous kind",
    "The body is the input."
);
operation!(
    delete,
    "delete_sync",
    "Delete by a synchronous kind",
    "The query is the input."
);

async fn answer(
    app: &Arc<App>,
    caller: &Permitted,
    request_id: &RequestId,
    name: Result<Path<String>, PathRejection>,
    request: Request,
) -> Result<Response, ApiError> {
    let kind = name.ok().and_then(|Path(name)| name.parse::<Kind>().ok());
    let spec = kind.as_ref().and_then(|kind| app.registry.sync(kind));
    let Some(spec) = spec else {
        return Err(ApiError::new(ProblemType::NotFound)
            .detail("no synchronous kind of that name: GET /v1/kinds lists them"));
    };
    caller.trail.kind(&spec.kind);
    caller.require(&spec.required_role)?;
    let method = request.method().clone();
    check_method(spec, &method)?;
    let headers = request.headers().clone();
    let query = Query::parse(request.uri().query().unwrap_or_default());
    let (input, body) = if matches!(method, Method::POST | Method::PUT | Method::PATCH) {
        query.only(&[])?;
        let RawJsonBody { value, bytes } = RawJsonBody::from_request(request, app).await?;
        (value, bytes)
    } else {
        (object(&query)?, Bytes::new())
    };
    let errors = spec.check_input(&input);
    if !errors.is_empty() {
        return Err(ApiError::new(ProblemType::Validation).errors(errors));
    }
    let ask = Ask {
        spec,
        method,
        input,
        body,
        headers: &headers,
        caller,
        request_id,
    };
    sync::forward(app, ask).await
}

fn check_method(spec: &SyncSpec, method: &Method) -> Result<(), ApiError> {
    // RFC 9110, section 9.3.2: HEAD is GET without the body.
    let is = |have: &String| have == method.as_str() || (method == Method::HEAD && have == "GET");
    if spec.methods.iter().any(is) {
        return Ok(());
    }
    let error = ApiError::new(ProblemType::MethodNotAllowed);
    Err(match sync::allow(spec) {
        Some(allow) => error.header(header::ALLOW, allow),
        None => error,
    })
}

/// The query as an object of strings.
fn object(query: &Query) -> Result<Value, ApiError> {
    let mut members = Map::new();
    for (name, value) in query.pairs() {
        if members.insert(name.clone(), value.clone().into()).is_some() {
            return Err(ApiError::new(ProblemType::BadQuery).detail("a parameter is there twice"));
        }
    }
    Ok(Value::Object(members))
}
