//! `vmctl login`: finds out how to log in, makes sure that the token can be kept, asks for what is
//! missing, logs in, keeps the token.
//!
//! The order matters. The store is tried before the password is asked for, so that nobody types a
//! password and a code for nothing; the address of Keystone is pinned, so that a server cannot send
//! a password elsewhere later.

mod keystone;

pub use keystone::revoke;

use std::path::{self, PathBuf};

use clap::{Args, ValueEnum};
use jiff::Timestamp;
use secrecy::{ExposeSecret as _, SecretString};
use serde_json::json;
use url::Url;
use vmctl_api_types::{AuthDiscovery, ConnectRequest};

use crate::{
    app::App,
    config::{Config, Context},
    credentials::{self, Payload, StoreKind, TOKEN_VARIABLE, keyring},
    endpoint::{self, Endpoint},
    error::CliError,
    exit::Exit,
    paths::Paths,
    prompt, text,
};

/// Passwords that may be tried on a terminal.
const TRIES: u32 = 3;

/// Arguments of `login`.
#[derive(Debug, Args)]
pub struct Login {
    /// User name [default: the one of the last login; asked for on a terminal]
    #[arg(long)]
    pub username: Option<String>,
    /// Project [default: the user's own]
    #[arg(long)]
    pub project: Option<String>,
    /// Domain of the user
    #[arg(long, value_name = "DOMAIN")]
    pub user_domain: Option<String>,
    /// Domain of the project [default: that of the user]
    #[arg(long, value_name = "DOMAIN")]
    pub project_domain: Option<String>,
    /// Read the password from stdin
    #[arg(long)]
    pub password_stdin: bool,
    /// Where the token is kept
    #[arg(long, env = "VMCTL_STORE", hide_env_values = true, value_enum, default_value_t = Store::Auto, value_name = "STORE")]
    pub store: Store,
}

/// Where the token is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Store {
    /// In the store of the last login, else in the keyring; in a file if you agree
    Auto,
    /// In the system's keyring
    Keyring,
    /// In a file that only you can read
    File,
    /// Nowhere: only check that the login works
    None,
}

/// A login that worked.
struct LoggedIn {
    token: SecretString,
    user: String,
    project: Option<String>,
    expires_at: Option<Timestamp>,
}

/// Who logs in.
struct Who {
    username: String,
    project: Option<String>,
    user_domain: Option<String>,
    project_domain: Option<String>,
}

/// Runs the command.
pub fn run(app: &App, args: &Login) -> Result<Exit, CliError> {
    if credentials::from_environment().is_some() {
        return Err(
            CliError::new(Exit::Config, format!("{TOKEN_VARIABLE} is set"))
                .why("it would hide the token of this login from every command")
                .next(format!("unset {TOKEN_VARIABLE}")),
        );
    }
    let paths = app.paths()?;
    let mut config = app.config()?;
    let endpoint = app.endpoint()?;
    let api = app.anonymous()?;
    let discovery = app.block_on(api.discovery())??;
    let auth_url = match &discovery.auth {
        AuthDiscovery::Keystone { url } => Some(pinned(&config, &endpoint, url)?),
        AuthDiscovery::Connect => None,
    };
    let store = choose_store(app, args.store, &config, &paths)?;
    let who = identify(app, args, &config, &endpoint)?;
    let ca_file = kept(app.ca_file(&endpoint)?)?;
    warn_if_exposed(app, &endpoint, auth_url.as_ref());

    let place = auth_url
        .as_ref()
        .map_or_else(|| endpoint.to_string(), ToString::to_string);
    let login = attempts(app, args, &who, &place, |password| match &auth_url {
        Some(url) => keystone::log_in(app, url, &who, password),
        None => connect(app, &api, &who, password),
    })?;
    if let Some(kind) = store {
        let payload = Payload::new(&login.token, login.expires_at, &endpoint);
        if let Err(error) = credentials::store(kind, &paths, &payload) {
            if let Some(url) = &auth_url {
                // A token that nobody can use again; if that fails too it expires by itself.
                let _ = keystone::revoke(app, url, &login.token);
            }
            return Err(error.explain());
        }
    }
    config.save(Context {
        endpoint: Some(endpoint.clone()),
        ca_file,
        auth_url: auth_url.map(String::from),
        username: Some(who.username),
        user_domain: who.user_domain,
        project: login.project.clone().or(who.project),
        project_domain: who.project_domain,
        store,
        expires_at: login.expires_at.filter(|_| store.is_some()),
    })?;
    report(app, &login, &endpoint, store, &paths)?;
    Ok(Exit::Ok)
}

/// Writes the name of a file so that it can be found from anywhere.
fn kept(file: Option<PathBuf>) -> Result<Option<String>, CliError> {
    let Some(file) = file else { return Ok(None) };
    let unkept = |why: String| {
        CliError::new(
            Exit::Config,
            format!("the name of {} cannot be kept", file.display()),
        )
        .why(why)
    };
    let whole = path::absolute(&file).map_err(|error| unkept(error.to_string()))?;
    let name = whole.into_os_string().into_string();
    name.map(Some)
        .map_err(|_| unkept("it is not UTF-8".to_owned()))
}

/// Checks Keystone's address against the one of the last login on the same server.
fn pinned(config: &Config, endpoint: &Endpoint, url: &str) -> Result<Url, CliError> {
    let same_server = config
        .context
        .endpoint
        .as_ref()
        .is_some_and(|saved| saved.same_origin(endpoint));
    if let (true, Some(known)) = (same_server, &config.context.auth_url)
        && known.trim_end_matches('/') != url.trim_end_matches('/')
    {
        return Err(CliError::new(
            Exit::Config,
            format!("{endpoint} now names another Keystone"),
        )
        .why(format!("it was {known}, it is {url}"))
        .why("a password sent there could be read by whoever changed it")
        .next("ask who runs the server; then: vmctl logout, and log in again"));
    }
    let parsed = Url::parse(url)
        .ok()
        .filter(|url| matches!(url.scheme(), "http" | "https"));
    parsed.ok_or_else(|| {
        CliError::new(
            Exit::Incompatible,
            format!("{endpoint} names a Keystone that is no URL"),
        )
        .why(url)
    })
}

/// Chooses where the token will be, and makes sure that it can be there.
fn choose_store(
    app: &App,
    wanted: Store,
    config: &Config,
    paths: &Paths,
) -> Result<Option<StoreKind>, CliError> {
    let file = |error: credentials::StoreError| error.explain();
    match (wanted, config.context.store) {
        (Store::None, _) => Ok(None),
        (Store::File, _) | (Store::Auto, Some(StoreKind::File)) => {
            credentials::file::probe(&paths.credentials_file).map_err(file)?;
            Ok(Some(StoreKind::File))
        }
        (Store::Keyring, _) => {
            keyring::Keyring::new().probe().map_err(file)?;
            Ok(Some(StoreKind::Keyring))
        }
        (Store::Auto, _) => match keyring::Keyring::new().probe() {
            Ok(()) => Ok(Some(StoreKind::Keyring)),
            Err(error) if prompt::is_interactive(app) => {
                app.out.warn(format!(
                    "The keyring cannot be used: {}",
                    text::clean(&error.to_string())
                ));
                let path = paths.credentials_file.display();
                if !prompt::confirm(&format!("Keep the token in {path}, readable by you only?"))? {
                    return Err(error.explain());
                }
                credentials::file::probe(&paths.credentials_file).map_err(file)?;
                Ok(Some(StoreKind::File))
            }
            Err(error) => Err(error.explain()),
        },
    }
}

fn identify(
    app: &App,
    args: &Login,
    config: &Config,
    endpoint: &Endpoint,
) -> Result<Who, CliError> {
    let saved = &config.context;
    let same = saved
        .endpoint
        .as_ref()
        .is_some_and(|saved| saved.same_origin(endpoint));
    let remembered = |value: &Option<String>| value.clone().filter(|_| same);
    let username = match args
        .username
        .clone()
        .or_else(|| remembered(&saved.username))
    {
        Some(username) => username,
        None if prompt::is_interactive(app) => {
            prompt::ask("User name")?.ok_or_else(|| missing("user name", "--username"))?
        }
        None => return Err(missing("user name", "--username")),
    };
    // What was remembered belongs to the user who was remembered.
    let same_user = saved.username.as_deref() == Some(&username);
    let remembered = |value: &Option<String>| remembered(value).filter(|_| same_user);
    Ok(Who {
        project: args.project.clone().or_else(|| remembered(&saved.project)),
        user_domain: args
            .user_domain
            .clone()
            .or_else(|| remembered(&saved.user_domain)),
        project_domain: args
            .project_domain
            .clone()
            .or_else(|| remembered(&saved.project_domain)),
        username,
    })
}

fn missing(what: &str, option: &str) -> CliError {
    CliError::new(Exit::NotAuthenticated, format!("the {what} is missing"))
        .why("there is no terminal to ask on, or asking is not allowed")
        .next(format!("give it with {option}"))
}

fn warn_if_exposed(app: &App, endpoint: &Endpoint, auth_url: Option<&Url>) {
    app.warn_if_exposed(endpoint);
    if let Some(url) = auth_url.filter(|url| endpoint::is_exposed(url)) {
        app.out.warn(format!(
            "warning: {url} is plain http: anyone on the way can read the password"
        ));
    }
}

/// Gets the password and logs in; on a terminal a refused password may be typed again.
fn attempts(
    app: &App,
    args: &Login,
    who: &Who,
    place: &str,
    log_in: impl Fn(&SecretString) -> Result<LoggedIn, CliError>,
) -> Result<LoggedIn, CliError> {
    if args.password_stdin {
        return log_in(&prompt::read_secret()?);
    }
    if !prompt::is_interactive(app) {
        return Err(missing("password", "--password-stdin"));
    }
    let mut tries = 1;
    loop {
        let password = prompt::ask_secret(&format!("Password of {} at {place}", who.username))?;
        match log_in(&password) {
            Err(error) if error.exit == Exit::NotAuthenticated && tries < TRIES => {
                app.out
                    .warn(format!("{}; try again", text::clean(&error.what)));
                tries += 1;
            }
            result => return result,
        }
    }
}

/// Logs in through the server.
fn connect(
    app: &App,
    api: &crate::api::Api,
    who: &Who,
    password: &SecretString,
) -> Result<LoggedIn, CliError> {
    let request = ConnectRequest {
        login: who.username.clone(),
        password: password.expose_secret().to_owned(),
        project: who.project.clone(),
        domain: who.user_domain.clone(),
    };
    let access = app
        .block_on(api.connect(&request))?
        .map_err(|error| match error.exit {
            Exit::NotAuthenticated => error.what("user name or password refused"),
            _ => error,
        })?;
    let token = access.access.token;
    Ok(LoggedIn {
        token: SecretString::from(token.id),
        user: access.access.user.name,
        project: token.tenant.map(|tenant| tenant.name),
        expires_at: token.expires.parse().ok(),
    })
}

fn report(
    app: &App,
    login: &LoggedIn,
    endpoint: &Endpoint,
    store: Option<StoreKind>,
    paths: &Paths,
) -> Result<(), CliError> {
    if app.out.is_json() {
        return app.out.json(&json!({
            "user": login.user,
            "project": login.project,
            "expires_at": login.expires_at,
            "endpoint": endpoint.to_string(),
            "store": store.map_or("none", StoreKind::as_str),
        }));
    }
    let project = login.project.as_deref().unwrap_or("no project");
    let until = login
        .expires_at
        .map(|at| format!(" until {}", at.strftime("%Y-%m-%d %H:%M UTC")));
    app.out.note(text::clean(&format!(
        "Logged in to {endpoint} as {}, project {project}{}.",
        login.user,
        until.unwrap_or_default()
    )));
    app.out.note(match store {
        Some(StoreKind::Keyring) => "The token is in the keyring.".to_owned(),
        Some(StoreKind::File) => format!("The token is in {}.", paths.credentials_file.display()),
        None => "The token was not kept.".to_owned(),
    });
    if login.project.is_none() {
        app.out.warn(
            "warning: the token is for no project, and jobs need one: vmctl login --project NAME",
        );
    }
    Ok(())
}
