//! `vmctl whoami`: what is saved here, confirmed by the server.

use jiff::Timestamp;
use serde_json::json;

use crate::{
    app::App,
    credentials::{self, Source},
    error::CliError,
    exit::Exit,
    output::{Field, Tone},
};

/// What is known about the login.
struct Identity {
    user: Option<String>,
    project: Option<String>,
    roles: Vec<String>,
    expires_at: Option<Timestamp>,
    confirmed: bool,
}

/// Runs the command. A server that cannot be reached leaves what is saved here, marked as such.
pub fn run(app: &App) -> Result<Exit, CliError> {
    let credential = credentials::load(app)?;
    let endpoint = app.endpoint()?;
    let saved = match credential.source {
        // What is saved belongs to another token.
        Source::Environment => None,
        Source::Keyring | Source::File(_) => Some(app.config()?.context),
    };
    let api = app.authenticated_with(credential.clone())?;
    let answer = app.block_on(api.test_token(&credential.token))?;
    let identity = match (answer, saved) {
        (Ok(access), _) => Identity {
            expires_at: access
                .access
                .token
                .expires
                .parse()
                .ok()
                .or(credential.expires_at),
            project: access.access.token.tenant.map(|tenant| tenant.name),
            roles: access
                .access
                .user
                .roles
                .into_iter()
                .map(|role| role.name)
                .collect(),
            user: Some(access.access.user.name),
            confirmed: true,
        },
        (Err(error), Some(saved)) if error.exit == Exit::Unreachable => {
            let why: Vec<_> = std::iter::once(error.what).chain(error.why).collect();
            app.out.warn(format!(
                "warning: not confirmed: {}",
                crate::text::clean(&why.join(": "))
            ));
            Identity {
                user: saved.username,
                project: saved.project,
                roles: Vec::new(),
                expires_at: credential.expires_at,
                confirmed: false,
            }
        }
        (Err(error), _) => return Err(error),
    };
    if app.out.is_json() {
        app.out.json(&json!({
            "user": identity.user,
            "project": identity.project,
            "roles": identity.roles,
            "expires_at": identity.expires_at,
            "endpoint": endpoint.to_string(),
            "token_from": credential.source.to_string(),
            "confirmed": identity.confirmed,
        }))?;
        return Ok(Exit::Ok);
    }
    let or_dash = |text: Option<String>| Field::from(text.unwrap_or_else(|| "-".to_owned()));
    let state = if identity.confirmed {
        Field::toned("confirmed by the server", Tone::Good)
    } else {
        Field::toned("not confirmed", Tone::Dim)
    };
    app.out.pairs([
        ("user".to_owned(), or_dash(identity.user)),
        ("project".to_owned(), or_dash(identity.project)),
        (
            "roles".to_owned(),
            or_dash(Some(identity.roles.join(", ")).filter(|roles| !roles.is_empty())),
        ),
        (
            "expires".to_owned(),
            or_dash(identity.expires_at.map(|at| at.to_string())),
        ),
        ("endpoint".to_owned(), Field::from(endpoint.to_string())),
        (
            "token from".to_owned(),
            Field::from(credential.source.to_string()),
        ),
        ("state".to_owned(), state),
    ])?;
    Ok(Exit::Ok)
}
