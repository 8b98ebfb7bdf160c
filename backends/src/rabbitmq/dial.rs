//! Opening one connection: probe, TLS, handshake, each with a bound.
//!
//! - **No credential leaves before the peer has shown that it speaks AMQP**, nor in clear when the
//!   address says `amqps`.
//! - **No attempt leaves anything behind.** The client library starts a thread for each connection
//!   that waits for its peer as long as the socket lives, so every socket has a [`Cutter`].

use std::{
    io,
    net::{Shutdown, SocketAddr},
    os::fd::AsFd as _,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use futures::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use lapin::{AsyncTcpStream, Connection, ConnectionProperties, tcp::OwnedTLSConfig};
use tokio::time::timeout;

use super::config::{Config, SecretUrl};

/// AMQP 0-9-1, section 4.2.2.
const PROTOCOL_HEADER: &[u8] = b"AMQP\x00\x00\x09\x01";

/// Largest frame that is offered, in bytes: what RabbitMQ takes from anybody unless it is told otherwise.
/// The headers of a message are one frame, and the broker does not look whether whoever gets it takes one as
/// large; one that is too large ends the connection, each time that it comes. Less would save memory, of
/// which the library keeps 32 frames in each direction of a connection.
const FRAME_MAX: u32 = 128 * 1024;

/// How many addresses of one name are tried.
const MAX_ADDRESSES: usize = 8;

/// Why there is no connection.
#[derive(Debug, thiserror::Error)]
pub(super) enum DialError {
    /// The name has no address.
    #[error("cannot resolve the host's name")]
    Resolve(#[source] io::Error),
    /// No socket, or TLS failed on it.
    #[error("cannot open a socket")]
    Socket(#[from] io::Error),
    /// Something listens and says nothing, as a hung broker does.
    #[error("the peer did not begin the handshake within {0:?}")]
    Silent(Duration),
    /// Something else listens there.
    #[error("the peer does not speak AMQP 0-9-1")]
    NotAmqp,
    /// The handshake began and did not end.
    #[error("the handshake did not end within {0:?}")]
    Slow(Duration),
    /// The handshake failed.
    #[error("the broker refused the connection")]
    Refused(#[from] lapin::Error),
}

/// An open connection. Dropping it closes the socket whatever the peer does.
pub(super) struct Dialled {
    pub connection: Connection,
    pub cutter: Cutter,
}

/// Closes a socket that somebody else uses. Their reads and writes then end.
pub(super) struct Cutter(std::net::TcpStream);

impl Cutter {
    fn of(stream: &tokio::net::TcpStream) -> io::Result<Self> {
        Ok(Self(stream.as_fd().try_clone_to_owned()?.into()))
    }

    /// Closes the socket in both directions, at once.
    pub fn cut(&self) {
        // It fails when the socket is closed already.
        let _ = self.0.shutdown(Shutdown::Both);
    }
}

impl Drop for Cutter {
    fn drop(&mut self) {
        self.cut();
    }
}

/// Connects: probes the peer first, then lets the library shake hands on a socket of ours.
pub(super) async fn dial(url: &SecretUrl, config: &Config) -> Result<Dialled, DialError> {
    let address = probe(url, config).await?;
    timeout(config.connect_timeout, open(url, address, config))
        .await
        .map_err(|_| DialError::Slow(config.connect_timeout))?
}

async fn open(url: &SecretUrl, address: SocketAddr, config: &Config) -> Result<Dialled, DialError> {
    let runtime = lapin::runtime::default_runtime()?;
    let stream = AsyncTcpStream::connect(&runtime, address).await?;
    let AsyncTcpStream::Plain(plain) = &stream else {
        return Err(io::Error::other("a new socket has TLS already").into());
    };
    let cutter = Cutter::of(plain.get_ref())?;
    let stream = Mutex::new(Some(secure(stream, url, config).await?));
    let connector = async move |_, _| {
        let mut stream = stream.lock().unwrap_or_else(PoisonError::into_inner);
        let stream = stream.take();
        stream.ok_or_else(|| io::Error::other("the socket was used before").into())
    };
    let mut uri = url.uri().clone();
    let heartbeat = u16::try_from(config.heartbeat.as_secs()).unwrap_or(u16::MAX);
    uri.query.heartbeat.get_or_insert(heartbeat.max(1));
    uri.query.frame_max.get_or_insert(FRAME_MAX);
    // Auto-recovery stays off: it reconnects to one address only, gives up for good after a while,
    // and hides that deliveries were lost.
    let properties =
        ConnectionProperties::default().with_connection_name(config.name.as_str().into());
    let connection = Connection::connector(uri, runtime, connector, properties).await?;
    Ok(Dialled { connection, cutter })
}

/// Finds an address of the peer where AMQP is spoken.
pub(super) async fn probe(url: &SecretUrl, config: &Config) -> Result<SocketAddr, DialError> {
    let lookup = tokio::net::lookup_host((url.host(), url.port()));
    let addresses = timeout(config.probe_timeout, lookup)
        .await
        .unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
        .map_err(DialError::Resolve)?;
    let mut last = DialError::Resolve(io::ErrorKind::NotFound.into());
    for address in addresses.take(MAX_ADDRESSES) {
        match timeout(config.probe_timeout, greet(url, address, config)).await {
            Ok(Ok(())) => return Ok(address),
            Ok(Err(error)) => last = error,
            Err(_) => last = DialError::Silent(config.probe_timeout),
        }
    }
    Err(last)
}

/// Sends the protocol header and expects a `connection.start`, which carries no secret either way.
async fn greet(url: &SecretUrl, address: SocketAddr, config: &Config) -> Result<(), DialError> {
    let runtime = lapin::runtime::default_runtime()?;
    let stream = AsyncTcpStream::connect(&runtime, address).await?;
    let mut stream = secure(stream, url, config).await?;
    stream.write_all(PROTOCOL_HEADER).await?;
    stream.flush().await?;
    let mut frame = [0; 11];
    stream.read_exact(&mut frame).await?;
    match frame {
        // Method frame, channel 0, four bytes of size, class 10 (connection), method 10 (start).
        [1, 0, 0, _, _, _, _, 0, 10, 0, 10] => Ok(()),
        _ => Err(DialError::NotAmqp),
    }
}

/// Puts TLS on the socket if the address asks for it.
async fn secure<S>(
    stream: AsyncTcpStream<S>,
    url: &SecretUrl,
    config: &Config,
) -> io::Result<AsyncTcpStream<S>>
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    if !url.is_tls() {
        return Ok(stream);
    }
    let tls = OwnedTLSConfig {
        identity: None,
        cert_chain: config.ca_pem.clone(),
    };
    let stream = stream.into_tls(url.host(), tls.as_ref()).await?;
    // Built without TLS, the library returns the plain socket and no error.
    if matches!(stream, AsyncTcpStream::Plain(_)) {
        return Err(io::Error::other("this program was built without TLS"));
    }
    Ok(stream)
}
