//! Where Redis is, and how long anything may take.

use std::time::Duration;

use redis::{
    AsyncConnectionConfig, Client, ConnectionAddr, ConnectionInfo, IntoConnectionInfo as _,
    RedisConnectionInfo, TlsCertificates, TlsMode,
    cluster::{ClusterClient, ClusterClientBuilder},
    io::tcp::{TcpSettings, socket2::TcpKeepalive},
    sentinel::{SentinelClient, SentinelClientBuilder, SentinelServerType},
};
use secrecy::{ExposeSecret as _, SecretString};
use url::form_urlencoded;

use super::tls;

/// Where Redis is, and how long anything may take.
#[derive(Debug, Clone)]
pub struct Config {
    /// `redis://` or `rediss://[user:password@]host[:port][/db]`, for Sentinel
    /// `redis+sentinel://[user:password@]host[:port],…/NAME[/db]` (user and password are those of
    /// Redis; `?sentinel_password=…` and `&sentinel_username=…` are for Sentinel itself), for Redis Cluster
    /// `redis+cluster://[user:password@]host[:port],…`. With `rediss` in place of `redis` every
    /// connection is TLS, also those to Sentinel.
    pub url: SecretString,
    /// Certificates, as PEM, to trust besides those of the system.
    pub ca_pem: Option<String>,
    /// What all keys begin with; no `{`.
    pub prefix: String,
    /// How long a caller waits for a command, connecting included.
    pub command_timeout: Duration,
    /// How long the reader waits for a batch.
    pub fold_timeout: Duration,
    /// How long one attempt to connect takes.
    pub connect_timeout: Duration,
}

impl Config {
    /// Takes the defaults: 300 ms for a command, 2 s for a batch, 1 s to connect.
    pub fn new(url: impl Into<SecretString>) -> Self {
        Self {
            url: url.into(),
            ca_pem: None,
            prefix: String::new(),
            command_timeout: Duration::from_millis(300),
            fold_timeout: Duration::from_secs(2),
            connect_timeout: Duration::from_secs(1),
        }
    }

    /// Says whether connections are TLS.
    pub(super) fn is_tls(&self) -> bool {
        self.url.expose_secret().starts_with("rediss")
    }
}

/// A setting that cannot be used. Never shows the URL, which may hold a password.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// Not of a form that is known.
    #[error("the URL of Redis is not usable: {0}")]
    Url(String),
    /// What should say who is trusted does not.
    #[error("the certificates to trust are not usable: {0}")]
    Authorities(String),
    /// The prefix has a brace, which would move keys of a partition apart in a cluster.
    #[error("the prefix of keys has a brace")]
    Prefix,
}

/// Commands that wait for the socket before a caller has to wait for a place.
const PIPELINE_BUFFER: usize = 1000;

/// What connections are made from.
pub enum Source {
    Single(Box<Client>),
    /// Asking needs the client for itself; only the one task that connects does.
    Sentinel(Box<tokio::sync::Mutex<SentinelClient>>),
    Cluster(Box<ClusterClient>),
}

impl Source {
    /// Reads the URL. Nothing is connected.
    ///
    /// # Errors
    ///
    /// See [`ConfigError`].
    pub fn parse(config: &Config) -> Result<Self, ConfigError> {
        if config.prefix.contains(['{', '}']) {
            return Err(ConfigError::Prefix);
        }
        let url = config.url.expose_secret();
        let tls = Tls::of(config)?;
        match url.split_once("://") {
            Some(("redis" | "rediss", _)) => single(url, tls),
            Some(("redis+sentinel" | "rediss+sentinel", rest)) => sentinel(rest, tls),
            Some(("redis+cluster" | "rediss+cluster", rest)) => cluster(rest, tls, config),
            _ => Err(ConfigError::Url(
                "it begins with redis:// or rediss://, before :// perhaps +sentinel or +cluster"
                    .into(),
            )),
        }
    }
}

/// Whether connections are TLS, and who is trusted then.
enum Tls {
    Off,
    /// The system's authorities, or these.
    On(Option<TlsCertificates>),
}

impl Tls {
    fn of(config: &Config) -> Result<Self, ConfigError> {
        if !config.is_tls() {
            return Ok(Self::Off);
        }
        let authorities = config.ca_pem.as_deref().map(tls::authorities);
        Ok(Self::On(authorities.transpose()?))
    }

    const fn scheme(&self) -> &'static str {
        match self {
            Self::Off => "redis",
            Self::On(_) => "rediss",
        }
    }
}

/// How a connection is set up; deadlines are ours, not the library's.
pub fn connection() -> AsyncConnectionConfig {
    AsyncConnectionConfig::new()
        .set_connection_timeout(None)
        .set_response_timeout(None)
        .set_pipeline_buffer_size(PIPELINE_BUFFER)
}

/// Without these a peer that vanished is noticed after a quarter of an hour.
fn tcp() -> TcpSettings {
    let keepalive = TcpKeepalive::new()
        .with_time(Duration::from_secs(10))
        .with_interval(Duration::from_secs(5));
    let settings = TcpSettings::default()
        .set_nodelay(true)
        .set_keepalive(keepalive);
    #[cfg(target_os = "linux")]
    let settings = settings.set_user_timeout(Duration::from_secs(5));
    settings
}

fn single(url: &str, tls: Tls) -> Result<Source, ConfigError> {
    let info = info(url)?.set_tcp_settings(tcp());
    // Without CLIENT SETINFO, which users of ours may not do. Sentinel and Cluster leave no choice.
    let settings = info.redis_settings().clone().set_skip_set_lib_name();
    let info = info.set_redis_settings(settings);
    let client = match tls {
        Tls::On(Some(authorities)) => Client::build_with_tls(info, authorities),
        Tls::On(None) | Tls::Off => Client::open(info),
    };
    let client = client.map_err(refused)?;
    Ok(Source::Single(Box::new(client)))
}

fn sentinel(rest: &str, tls: Tls) -> Result<Source, ConfigError> {
    let (rest, query) = rest.split_once('?').unwrap_or((rest, ""));
    let (hosts, path) = rest.split_once('/').unwrap_or((rest, ""));
    let (name, db) = path.split_once('/').unwrap_or((path, "0"));
    if name.is_empty() {
        return Err(ConfigError::Url("it names no master".into()));
    }
    let db = db
        .parse()
        .map_err(|_| ConfigError::Url("the database is no number".into()))?;
    let (hosts, settings) = nodes(tls.scheme(), hosts, 26379)?;
    let hosts = hosts.into_iter().map(|info| info.addr().clone());
    let hosts: Vec<ConnectionAddr> = hosts.collect();
    let mut builder = SentinelClientBuilder::new(hosts, name, SentinelServerType::Master)
        .map_err(refused)?
        .set_client_to_redis_db(db)
        .set_client_to_redis_tcp_settings(tcp())
        .set_client_to_sentinel_tcp_settings(tcp());
    if let Tls::On(authorities) = tls {
        builder = builder.set_client_to_redis_tls_mode(TlsMode::Secure);
        if let Some(authorities) = authorities {
            builder = builder
                .set_client_to_redis_certificates(authorities.clone())
                .set_client_to_sentinel_certificates(authorities);
        }
    }
    for (key, value) in form_urlencoded::parse(query.as_bytes()) {
        builder = match &*key {
            "sentinel_username" => builder.set_client_to_sentinel_username(value),
            "sentinel_password" => builder.set_client_to_sentinel_password(value),
            _ => return Err(ConfigError::Url("it asks for what is not known".into())),
        };
    }
    if let Some(user) = settings.username() {
        builder = builder.set_client_to_redis_username(user);
    }
    if let Some(password) = settings.password() {
        builder = builder.set_client_to_redis_password(password);
    }
    let client = builder.build().map_err(refused)?;
    Ok(Source::Sentinel(Box::new(client.into())))
}

fn cluster(rest: &str, tls: Tls, config: &Config) -> Result<Source, ConfigError> {
    let (hosts, path) = rest.split_once('/').unwrap_or((rest, ""));
    if !path.is_empty() {
        return Err(ConfigError::Url("a cluster has no databases".into()));
    }
    let (hosts, _) = nodes(tls.scheme(), hosts, 6379)?;
    let mut builder = ClusterClientBuilder::new(hosts)
        .tcp_settings(tcp())
        .connection_timeout(config.connect_timeout)
        .response_timeout(config.fold_timeout);
    if let Tls::On(Some(authorities)) = tls {
        builder = builder.certs(authorities);
    }
    let client = builder.build().map_err(refused)?;
    Ok(Source::Cluster(Box::new(client)))
}

/// Reads `[user:password@]host[:port],…`; every node gets the user and the password.
fn nodes(
    scheme: &str,
    text: &str,
    default_port: u16,
) -> Result<(Vec<ConnectionInfo>, RedisConnectionInfo), ConfigError> {
    let (login, hosts) = text.rsplit_once('@').unwrap_or(("", text));
    let at = if login.is_empty() { "" } else { "@" };
    let mut nodes = Vec::new();
    for host in hosts.split(',') {
        let bare = host.rsplit_once(']').map_or(host, |(_, rest)| rest);
        let port = if bare.contains(':') {
            String::new()
        } else {
            format!(":{default_port}")
        };
        nodes.push(info(&format!("{scheme}://{login}{at}{host}{port}"))?);
    }
    let settings = nodes
        .first()
        .map(|node| node.redis_settings().clone())
        .unwrap_or_default();
    Ok((nodes, settings))
}

fn info(url: &str) -> Result<ConnectionInfo, ConfigError> {
    url.into_connection_info().map_err(refused)
}

/// Keeps the kind only: the library's details may repeat a part of the URL.
#[expect(
    clippy::needless_pass_by_value,
    reason = "the form that `map_err` wants"
)]
fn refused(error: redis::RedisError) -> ConfigError {
    ConfigError::Url(error.category().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(url: &str) -> Result<Source, ConfigError> {
        Source::parse(&Config::new(url.to_owned()))
    }

    #[test]
    fn every_form_is_read() {
        assert!(matches!(parse("redis://h").unwrap(), Source::Single(_)));
        assert!(matches!(
            parse("rediss://u:p%40@h:1/2").unwrap(),
            Source::Single(_)
        ));
        assert!(matches!(
            parse("redis+sentinel://u:p@h1,h2:3,[::1]:4/main/2").unwrap(),
            Source::Sentinel(_)
        ));
        assert!(matches!(
            parse("redis+sentinel://h/main?sentinel_username=u&sentinel_password=p%26").unwrap(),
            Source::Sentinel(_)
        ));
        assert!(matches!(
            parse("redis+cluster://:p@h1:7000,[::1]").unwrap(),
            Source::Cluster(_)
        ));
        assert!(matches!(
            parse("rediss+sentinel://h1,h2/main").unwrap(),
            Source::Sentinel(_)
        ));
        assert!(matches!(
            parse("rediss+cluster://h1").unwrap(),
            Source::Cluster(_)
        ));
    }

    #[test]
    fn a_node_has_its_port_or_the_default() {
        let (nodes, settings) = nodes("redis", "u:p@h1,h2:3,[::1],[::1]:4", 26379).unwrap();
        let nodes: Vec<_> = nodes.iter().map(|n| n.addr().to_string()).collect();
        assert_eq!(nodes, ["h1:26379", "h2:3", "::1:26379", "::1:4"]);
        assert_eq!(settings.username(), Some("u"));
        assert_eq!(settings.password(), Some("p"));
    }

    #[test]
    fn a_bad_url_is_refused_without_showing_it() {
        for url in [
            "",
            "h:6379",
            "http://user:hunter2@h",
            "redisss://user:hunter2@h",
            "redis://user:hunter2@h:port",
            "redis://user:hunter2@h/zero",
            "redis+sentinel://user:hunter2@h",
            "redis+sentinel://user:hunter2@h/main/zero",
            "redis+sentinel://h/main?hunter2=hunter2",
            "redis+cluster://user:hunter2@h/1",
            "redis+cluster://user:hunter2@h,,",
        ] {
            let Err(error) = parse(url) else {
                panic!("{url} is taken");
            };
            assert!(!format!("{error} {error:?}").contains("hunter2"), "{error}");
        }
    }

    #[test]
    fn a_password_is_never_shown() {
        let config = Config::new("redis://user:hunter2@h".to_owned());
        assert!(!format!("{config:?}").contains("hunter2"));
    }

    #[test]
    fn a_prefix_has_no_brace() {
        let mut config = Config::new("redis://h".to_owned());
        config.prefix = "a{b".to_owned();
        assert!(matches!(Source::parse(&config), Err(ConfigError::Prefix)));
    }
}
