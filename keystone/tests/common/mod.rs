//! What the tests of the client share: settings of the real Keystone, logins, a client.

#![allow(dead_code, reason = "each test binary uses a part")]

pub mod totp;

use std::sync::Once;
use std::time::Duration;

use jiff::Timestamp;
use url::Url;
use vmctl_keystone::{
    Authenticated, Client, DomainRef, Error, Login, Options, Outcome, ProjectRef, Scope, UserRef,
};

/// Installs the process's TLS provider, once.
pub fn install_provider() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let _ = rustls::crypto::ring::default_provider().install_default();
    });
}

pub fn client(url: &str, options: &Options) -> Client {
    install_provider();
    Client::new(&Url::parse(url).unwrap(), options).unwrap()
}

/// A client of the real Keystone, or `None` (said on stderr) if there is none to test with.
pub fn keystone() -> Option<Client> {
    let Ok(url) = std::env::var("VMCTL_TEST_KEYSTONE_URL") else {
        let strict = std::env::var("VMCTL_TEST_STRICT").is_ok_and(|value| value == "1");
        assert!(!strict, "VMCTL_TEST_KEYSTONE_URL is not set");
        #[expect(clippy::print_stderr, reason = "a skipped test must say so")]
        {
            eprintln!("skipped: VMCTL_TEST_KEYSTONE_URL is not set");
        }
        return None;
    };
    // A machine that compiles at the same time may take longer than a user would wait.
    let patient = Options {
        timeout: Duration::from_secs(30),
        ..Options::default()
    };
    Some(client(&url, &patient))
}

/// The time by the machine's clock, which is also Keystone's.
#[expect(
    clippy::disallowed_methods,
    reason = "a real service has the real time"
)]
pub fn now() -> Timestamp {
    Timestamp::now()
}

/// A setting that comes with the real Keystone.
pub fn setting(name: &str) -> String {
    std::env::var(name).unwrap_or_else(|_| panic!("{name} is not set"))
}

pub fn user(name: &str) -> UserRef {
    UserRef::Name {
        name: name.into(),
        domain: DomainRef::Name("Default".into()),
    }
}

pub fn project(name: &str) -> Scope {
    let domain = DomainRef::Name("Default".into());
    Scope::Project(ProjectRef::Name {
        name: name.into(),
        domain,
    })
}

pub fn by_password(name: &str, password: &str, scope: Scope) -> Login {
    Login::password(user(name), password.into(), scope)
}

/// Logs in, and fails the test if that does not succeed in one step.
pub async fn log_in(client: &Client, login: &Login) -> Authenticated {
    match client.authenticate(login).await {
        Ok(Outcome::Authenticated(authenticated)) => *authenticated,
        other => panic!("not logged in: {other:?}"),
    }
}

/// The usual user, in the usual project.
pub async fn joe(client: &Client) -> Authenticated {
    log_in(client, &joes_login()).await
}

pub fn joes_login() -> Login {
    let (name, password) = (setting("VMCTL_TEST_USER"), setting("VMCTL_TEST_PASSWORD"));
    by_password(&name, &password, project(&setting("VMCTL_TEST_PROJECT")))
}

/// The service that may validate tokens.
pub async fn service(client: &Client) -> Authenticated {
    let name = setting("VMCTL_KEYSTONE_USERNAME");
    let password = setting("VMCTL_KEYSTONE_PASSWORD");
    let login = by_password(
        &name,
        &password,
        project(&setting("VMCTL_KEYSTONE_PROJECT")),
    );
    log_in(client, &login).await
}

/// The administrator, who can make users for a test of its own.
pub async fn administrator(client: &Client) -> Authenticated {
    let name = setting("VMCTL_TEST_KEYSTONE_ADMIN");
    let password = setting("VMCTL_TEST_KEYSTONE_ADMIN_PASSWORD");
    let login = by_password(
        &name,
        &password,
        project(&setting("VMCTL_TEST_KEYSTONE_ADMIN_PROJECT")),
    );
    log_in(client, &login).await
}

pub fn is_refused(result: &Result<impl Sized, Error>) -> bool {
    matches!(result, Err(Error::Refused))
}
