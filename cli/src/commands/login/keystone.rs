//! Logging in directly with Keystone: the password never passes through vmctl's server.

use std::error::Error as _;

use secrecy::{ExposeSecret as _, SecretString};
use url::Url;
use vmctl_keystone::{
    Client, DomainRef, Error, Login, Method, MfaRequired, Options, Outcome, ProjectRef, Scope,
    Token, UserRef,
};

use super::{LoggedIn, Who};
use crate::{app::App, client, error::CliError, exit::Exit, prompt};

/// Keystone's name of the domain that every installation has.
const DEFAULT_DOMAIN: &str = "Default";

/// Logs in with a password, and with a code if the account asks for one.
pub fn log_in(
    app: &App,
    url: &Url,
    who: &Who,
    password: &SecretString,
) -> Result<LoggedIn, CliError> {
    let client = client(app, url)?;
    let user = user(who);
    let login = Login::password(user.clone(), password.clone(), scope(who));
    let outcome = app.block_on(client.authenticate(&login))?;
    let outcome = match outcome.map_err(|error| explain(url, &error))? {
        Outcome::MfaRequired(mfa) => {
            let login = second_step(app, user, who, mfa)?;
            app.block_on(client.authenticate(&login))?
                .map_err(|error| explain(url, &error))?
        }
        done @ Outcome::Authenticated(_) => done,
    };
    let Outcome::Authenticated(authenticated) = outcome else {
        return Err(unsupported());
    };
    let project = authenticated
        .info
        .project()
        .map(|project| project.name.clone());
    Ok(LoggedIn {
        token: SecretString::from(authenticated.token.expose().to_owned()),
        user: authenticated.info.user.name.clone(),
        project,
        expires_at: Some(authenticated.info.expires_at),
    })
}

/// Ends a token now.
pub fn revoke(app: &App, url: &Url, token: &SecretString) -> Result<(), CliError> {
    let token = Token::parse(token.expose_secret())
        .map_err(|error| CliError::new(Exit::NotAuthenticated, error.to_string()))?;
    let client = client(app, url)?;
    match app.block_on(client.revoke(&token, &token))? {
        // Refused: the token that should end has ended already.
        Ok(()) | Err(Error::Refused) => Ok(()),
        Err(error) => Err(explain(url, &error)),
    }
}

fn client(app: &App, url: &Url) -> Result<Client, CliError> {
    client::install_tls();
    let trusted = match url.scheme() {
        "https" => app.trusted(&app.endpoint()?)?,
        _ => None,
    };
    let options = Options {
        ca_pem: trusted,
        connect_timeout: app.global.connect_timeout,
        timeout: app.global.http_timeout,
        ..Options::default()
    };
    Client::new(url, &options).map_err(|error| {
        CliError::new(
            Exit::Incompatible,
            format!("Keystone at {url} cannot be used"),
        )
        .why(error.to_string())
    })
}

/// Asks for the code that completes the login.
fn second_step(app: &App, user: UserRef, who: &Who, mfa: MfaRequired) -> Result<Login, CliError> {
    if !mfa.missing().iter().any(|missing| missing == &["totp"]) {
        return Err(unsupported());
    }
    if !prompt::is_interactive(app) {
        return Err(
            CliError::new(Exit::NotAuthenticated, "the account needs a one-time code")
                .why("there is no terminal to ask on, or asking is not allowed")
                .next("log in on a terminal, or set VMCTL_TOKEN"),
        );
    }
    let passcode = prompt::ask_secret(&format!("One-time code of {}", who.username))?;
    Ok(Login {
        methods: vec![Method::Totp { user, passcode }],
        scope: scope(who),
        receipt: Some(mfa.receipt),
    })
}

fn unsupported() -> CliError {
    CliError::new(
        Exit::NotAuthenticated,
        "the account needs a way to log in that this version has not",
    )
    .next("get a token by other means and set VMCTL_TOKEN")
}

fn user(who: &Who) -> UserRef {
    UserRef::Name {
        name: who.username.clone(),
        domain: domain(who.user_domain.as_ref()),
    }
}

fn scope(who: &Who) -> Scope {
    match &who.project {
        Some(project) => Scope::Project(ProjectRef::Name {
            name: project.clone(),
            domain: domain(who.project_domain.as_ref().or(who.user_domain.as_ref())),
        }),
        None => Scope::UserDefault,
    }
}

fn domain(name: Option<&String>) -> DomainRef {
    DomainRef::Name(name.cloned().unwrap_or_else(|| DEFAULT_DOMAIN.to_owned()))
}

/// Keeps "cannot be reached" apart from "refused".
fn explain(url: &Url, error: &Error) -> CliError {
    let mut explained = match error {
        Error::Refused => {
            return CliError::new(
                Exit::NotAuthenticated,
                "user name, password, code or project refused",
            )
            .why(format!("Keystone at {url} does not say which"))
            .next("check --username, --project and the domains, then log in again");
        }
        Error::Forbidden => CliError::new(Exit::Forbidden, "Keystone does not allow this login"),
        Error::Transport(_) | Error::Unavailable { .. } => CliError::new(
            Exit::Unreachable,
            format!("Keystone at {url} cannot be reached"),
        ),
        Error::Invalid(_) | Error::MalformedToken(_) => {
            CliError::new(Exit::Refused, "Keystone refused the request")
        }
        _ => CliError::new(
            Exit::Incompatible,
            format!("{url} does not answer like Keystone"),
        ),
    };
    explained.why.push(error.to_string());
    let mut source = error.source();
    while let Some(cause) = source {
        explained.why.push(cause.to_string());
        source = cause.source();
    }
    // The outermost says what failed here, the innermost why; what lies between repeats both.
    if explained.why.len() > 2 {
        explained.why.drain(1..explained.why.len() - 1);
    }
    explained
}
