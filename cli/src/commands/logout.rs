//! `vmctl logout`: ends the token where it was issued, and removes it here.

use url::Url;

use super::login::revoke;
use crate::{
    app::App,
    config::Context,
    credentials::{self, Source, TOKEN_VARIABLE},
    error::CliError,
    exit::Exit,
};

/// Runs the command. The token is removed here even if it cannot be revoked; that is then said.
pub fn run(app: &App) -> Result<Exit, CliError> {
    let paths = app.paths()?;
    let mut config = app.config()?;
    let context = config.context.clone();
    let mut revoked = false;
    if let Some(auth_url) = &context.auth_url
        && context.store.is_some()
    {
        match saved_token(app).and_then(|token| {
            let url = Url::parse(auth_url).map_err(|error| {
                CliError::new(Exit::Config, "auth_url is no URL").why(error.to_string())
            })?;
            revoke(app, &url, &token)
        }) {
            Ok(()) => revoked = true,
            Err(error) if error.exit == Exit::CredentialStore => return Err(error),
            Err(error) => app.out.warn(format!(
                "warning: the token was not revoked and stays valid until it expires: {}",
                crate::text::clean(error.why.first().unwrap_or(&error.what))
            )),
        }
    }
    let was_logged_in = context.store.is_some();
    credentials::wipe(&paths, &config).map_err(|error| error.explain())?;
    if was_logged_in || context.auth_url.is_some() {
        config.save(Context {
            store: None,
            expires_at: None,
            auth_url: None,
            ..context
        })?;
    }
    app.out.note(match (was_logged_in, revoked) {
        (false, _) => "Not logged in; nothing to do.",
        (true, true) => "Logged out; the token is revoked.",
        (true, false) => "Logged out.",
    });
    if credentials::from_environment().is_some() {
        app.out.warn(format!(
            "warning: {TOKEN_VARIABLE} is set and still in use: unset {TOKEN_VARIABLE}"
        ));
    }
    Ok(Exit::Ok)
}

fn saved_token(app: &App) -> Result<secrecy::SecretString, CliError> {
    let credential = credentials::load_saved(app)?;
    debug_assert!(credential.source != Source::Environment);
    Ok(credential.token)
}
