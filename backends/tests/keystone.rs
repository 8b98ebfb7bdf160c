//! The Keystone backend on a real Keystone (`VMCTL_TEST_KEYSTONE_URL`), reached through a relay that
//! can be cut.
#![expect(
    clippy::unwrap_used,
    clippy::print_stderr,
    clippy::needless_pass_by_value,
    reason = "a failed unwrap is a failed test, a skipped one says so"
)]

use std::{
    env,
    net::SocketAddr,
    sync::{
        Arc, Once,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use tokio::{
    io::copy_bidirectional,
    net::{TcpListener, TcpStream},
};
use url::Url;
use vmctl_backends::keystone::{Config, KeystoneIdentity};
use vmctl_core::{
    clock::SystemClock,
    identity::{Identity as _, IdentityError, Login, Token},
    testing,
};
use vmctl_keystone::Options;

/// Forwards connections to the real Keystone, counts them, and refuses them when it is cut.
struct Relay {
    address: SocketAddr,
    connections: Arc<AtomicUsize>,
    is_cut: Arc<AtomicBool>,
}

impl Relay {
    async fn to(target: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let relay = Self {
            address: listener.local_addr().unwrap(),
            connections: Arc::default(),
            is_cut: Arc::default(),
        };
        let (connections, is_cut) = (relay.connections.clone(), relay.is_cut.clone());
        tokio::spawn(async move {
            while let Ok((mut near, _)) = listener.accept().await {
                connections.fetch_add(1, Ordering::SeqCst);
                if is_cut.load(Ordering::SeqCst) {
                    continue;
                }
                tokio::spawn(async move {
                    let mut far = TcpStream::connect(target).await.unwrap();
                    let _ = copy_bidirectional(&mut near, &mut far).await;
                });
            }
        });
        relay
    }

    fn count(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }

    fn cut(&self) {
        self.is_cut.store(true, Ordering::SeqCst);
    }
}

fn var(name: &str) -> String {
    env::var(name).unwrap_or_else(|_| panic!("{name} is not set"))
}

/// The real Keystone, or `None` where tests may do without.
fn keystone() -> Option<Url> {
    static CRYPTO: Once = Once::new();
    CRYPTO.call_once(|| {
        rustls::crypto::ring::default_provider()
            .install_default()
            .unwrap();
    });
    let url = env::var("VMCTL_TEST_KEYSTONE_URL").ok();
    if url.is_none() {
        let is_strict = env::var("VMCTL_TEST_STRICT").is_ok_and(|v| v == "1");
        assert!(!is_strict, "VMCTL_TEST_KEYSTONE_URL is not set");
        eprintln!("no Keystone (VMCTL_TEST_KEYSTONE_URL): nothing tested");
    }
    url.map(|url| url.parse().unwrap())
}

fn config(url: &Url) -> Config {
    Config {
        url: url.clone(),
        username: var("VMCTL_KEYSTONE_USERNAME"),
        password: var("VMCTL_KEYSTONE_PASSWORD").into(),
        project: var("VMCTL_KEYSTONE_PROJECT"),
        user_domain: "Default".into(),
        project_domain: "Default".into(),
        connect_project: None,
        options: Options::default(),
    }
}

fn backend(config: Config) -> KeystoneIdentity {
    KeystoneIdentity::new(config, Arc::new(SystemClock)).unwrap()
}

async fn relayed(url: &Url) -> (Relay, Config) {
    let target = url.socket_addrs(|| None).unwrap()[0];
    let relay = Relay::to(target).await;
    let mut near = url.clone();
    near.set_ip_host(relay.address.ip()).unwrap();
    near.set_port(Some(relay.address.port())).unwrap();
    let config = config(&near);
    (relay, config)
}

fn joe() -> Login {
    Login {
        user: var("VMCTL_TEST_USER"),
        password: var("VMCTL_TEST_PASSWORD").into(),
        project: None,
        domain: None,
    }
}

fn assert_unavailable<T: std::fmt::Debug>(result: Result<T, IdentityError>) {
    assert!(
        matches!(result, Err(IdentityError::Unavailable(_))),
        "{result:?}"
    );
}

#[tokio::test]
async fn contract() {
    let Some(url) = keystone() else { return };
    let backend = backend(config(&url));
    backend.check().await.unwrap();
    testing::identity::all(&backend).await;
}

#[tokio::test]
async fn a_valid_answer_is_cached_and_serves_while_keystone_is_away() {
    let Some(url) = keystone() else { return };
    let (relay, config) = relayed(&url).await;
    let backend = backend(config);
    let (token, _) = backend.authenticate(&joe()).await.unwrap();
    backend.validate(&token).await.unwrap();
    let calls = relay.count();
    relay.cut();
    for _ in 0..100 {
        backend.validate(&token).await.unwrap();
    }
    assert_eq!(relay.count(), calls);
    // Another token cannot be checked: that is our trouble, not the caller's.
    let other = Token::parse("gAAAAABother").unwrap();
    let started = Instant::now();
    assert_unavailable(backend.validate(&other).await);
    assert!(started.elapsed() < Duration::from_secs(6));
}

#[tokio::test]
async fn callers_with_one_token_make_one_call() {
    let Some(url) = keystone() else { return };
    let (relay, config) = relayed(&url).await;
    let backend = Arc::new(backend(config));
    let (token, _) = backend.authenticate(&joe()).await.unwrap();
    backend.check().await.unwrap();
    let before = relay.count();
    let mut callers = tokio::task::JoinSet::new();
    for _ in 0..50 {
        let (backend, token) = (Arc::clone(&backend), token.clone());
        callers.spawn(async move { backend.validate(&token).await.map(|c| c.user_name) });
    }
    while let Some(caller) = callers.join_next().await {
        assert_eq!(caller.unwrap().unwrap(), "joe");
    }
    assert_eq!(relay.count() - before, 1);
}

#[tokio::test]
async fn an_invalid_answer_is_cached() {
    let Some(url) = keystone() else { return };
    let (relay, config) = relayed(&url).await;
    let backend = backend(config);
    let token = Token::parse("gAAAAABinvalid").unwrap();
    let mut calls = Vec::new();
    for _ in 0..3 {
        let error = backend.validate(&token).await.unwrap_err();
        assert!(matches!(error, IdentityError::Invalid), "{error:?}");
        calls.push(relay.count());
    }
    assert_eq!(calls, [2, 2, 2], "one login of our own, one validation");
}

#[tokio::test]
async fn a_refused_credential_of_ours_never_makes_a_token_invalid() {
    let Some(url) = keystone() else { return };
    let (token, _) = backend(config(&url)).authenticate(&joe()).await.unwrap();
    let wrong_password = Config {
        password: "wrong".to_owned().into(),
        ..config(&url)
    };
    assert_unavailable(backend(wrong_password).validate(&token).await);
    // A plain member may log in, but not validate the tokens of others.
    let (other, _) = backend(config(&url)).authenticate(&joe()).await.unwrap();
    let not_allowed = Config {
        username: var("VMCTL_TEST_READER_USER"),
        password: var("VMCTL_TEST_PASSWORD").into(),
        project: var("VMCTL_TEST_PROJECT"),
        ..config(&url)
    };
    assert_unavailable(backend(not_allowed).validate(&other).await);
}

#[tokio::test]
async fn an_absent_keystone_is_our_trouble() {
    if keystone().is_none() {
        return;
    }
    let closed = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/v3", closed.local_addr().unwrap());
    drop(closed);
    let backend = backend(config(&url.parse().unwrap()));
    assert_unavailable(backend.check().await);
    assert_unavailable(backend.authenticate(&joe()).await);
    assert_unavailable(backend.validate(&Token::parse("t").unwrap()).await);
}

#[tokio::test]
async fn a_silent_keystone_costs_a_bounded_wait() {
    if keystone().is_none() {
        return;
    }
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/v3", silent.local_addr().unwrap());
    let backend = backend(config(&url.parse().unwrap()));
    let started = Instant::now();
    assert_unavailable(backend.validate(&Token::parse("t").unwrap()).await);
    assert!(started.elapsed() < Duration::from_secs(6));
}

#[tokio::test]
async fn a_user_who_needs_two_factors_is_refused_here() {
    let Some(url) = keystone() else { return };
    let login = Login {
        user: var("VMCTL_TEST_MFA_USER"),
        ..joe()
    };
    let error = backend(config(&url))
        .authenticate(&login)
        .await
        .unwrap_err();
    assert!(matches!(error, IdentityError::Refused), "{error:?}");
}

#[test]
fn a_password_never_prints() {
    let config = Config {
        url: "http://127.0.0.1/v3".parse().unwrap(),
        username: "vmctl".into(),
        password: "hunter2".to_owned().into(),
        project: "service".into(),
        user_domain: "Default".into(),
        project_domain: "Default".into(),
        connect_project: None,
        options: Options::default(),
    };
    assert!(!format!("{config:?}").contains("hunter2"));
}
