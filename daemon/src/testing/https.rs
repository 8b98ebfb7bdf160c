//! A connection by which a test asks over TLS, kept open between questions.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;

use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{
    ClientConfig, ClientConnection, RootCertStore, StreamOwned, SupportedProtocolVersion,
};

use super::READ_TIMEOUT;

/// A connection to a server whose authority is known.
pub struct Https(BufReader<StreamOwned<ClientConnection, TcpStream>>);

impl Https {
    /// Connects and shakes hands, by any version of TLS.
    pub fn connect(address: SocketAddr, authority: &str) -> io::Result<Self> {
        Self::connect_by(address, authority, rustls::ALL_VERSIONS)
    }

    /// Connects and shakes hands, by one of these versions.
    pub fn connect_by(
        address: SocketAddr,
        authority: &str,
        versions: &[&'static SupportedProtocolVersion],
    ) -> io::Result<Self> {
        let mut roots = RootCertStore::empty();
        let authority = CertificateDer::from_pem_slice(authority.as_bytes());
        roots
            .add(authority.map_err(io::Error::other)?)
            .map_err(io::Error::other)?;
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let mut config = ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(versions)
            .map_err(io::Error::other)?
            .with_root_certificates(roots)
            .with_no_client_auth();
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        let name = ServerName::IpAddress(address.ip().into());
        let connection = ClientConnection::new(Arc::new(config), name).map_err(io::Error::other)?;
        let socket = TcpStream::connect(address)?;
        socket.set_read_timeout(Some(READ_TIMEOUT))?;
        let mut stream = StreamOwned::new(connection, socket);
        while stream.conn.is_handshaking() {
            stream.conn.complete_io(&mut stream.sock)?;
        }
        Ok(Self(BufReader::new(stream)))
    }

    /// Returns the protocol that both have agreed on.
    pub fn protocol(&self) -> Option<&[u8]> {
        self.0.get_ref().conn.alpn_protocol()
    }

    /// Returns what the server has shown, in DER.
    pub fn certificate(&self) -> Option<&[u8]> {
        let shown = self.0.get_ref().conn.peer_certificates()?;
        shown.first().map(AsRef::as_ref)
    }

    /// Asks, and reads the answer: its status and its body.
    pub fn get(&mut self, path: &str) -> io::Result<(u16, String)> {
        write!(
            self.0.get_mut(),
            "GET {path} HTTP/1.1\r\nHost: test\r\n\r\n"
        )?;
        let mut status = None;
        let mut length = 0;
        loop {
            let mut line = String::new();
            if self.0.read_line(&mut line)? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            let line = line.trim_end().to_ascii_lowercase();
            if let Some(number) = line.strip_prefix("content-length:") {
                length = number.trim().parse().map_err(io::Error::other)?;
            }
            if line.is_empty() {
                break;
            }
            status = status.or_else(|| line.split(' ').nth(1)?.parse().ok());
        }
        let mut body = vec![0; length];
        self.0.read_exact(&mut body)?;
        let body = String::from_utf8(body).map_err(io::Error::other)?;
        Ok((status.ok_or(io::ErrorKind::InvalidData)?, body))
    }
}
