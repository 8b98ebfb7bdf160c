//! The API over TLS: the same bounds, and those of the handshake.

use std::{sync::Arc, time::Duration};

use rustls::{
    ClientConfig, RootCertStore, ServerConfig, SupportedProtocolVersion,
    crypto::ring::default_provider,
    pki_types::{CertificateDer, PrivateKeyDer, ServerName, pem::PemObject as _},
    version::{TLS12, TLS13},
};
use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    time::{Instant, timeout},
};
use tokio_rustls::{TlsConnector, client::TlsStream};
use vmctl_daemon::testing::Authority;

use super::support::{Listening, PATIENCE, eventually, listen};
use crate::config::Config;

/// A server that speaks TLS, and who vouches for it.
struct Secure {
    server: Listening,
    authority: Authority,
}

impl Secure {
    fn start(change: impl FnOnce(&mut Config)) -> Self {
        let authority = Authority::new("ours");
        let shown = authority.issue(&["127.0.0.1"]);
        let chain = vec![CertificateDer::from_pem_slice(shown.certificate.as_bytes()).unwrap()];
        let key = PrivateKeyDer::from_pem_slice(shown.key.as_bytes()).unwrap();
        let mut tls = ServerConfig::builder_with_provider(Arc::new(default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(chain, key)
            .unwrap();
        tls.alpn_protocols = vec![b"http/1.1".to_vec()];
        let server = listen(|config| {
            config.tls = Some(Arc::new(tls));
            change(config);
        });
        Self { server, authority }
    }

    async fn tcp(&self) -> TcpStream {
        TcpStream::connect(self.server.address).await.unwrap()
    }

    async fn connect(&self, version: &'static SupportedProtocolVersion) -> TlsStream<TcpStream> {
        let mut roots = RootCertStore::empty();
        let pem = self.authority.pem();
        let root = CertificateDer::from_pem_slice(pem.as_bytes()).unwrap();
        roots.add(root).unwrap();
        let mut config = ClientConfig::builder_with_provider(Arc::new(default_provider()))
            .with_protocol_versions(&[version])
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        let name = ServerName::IpAddress(self.server.address.ip().into());
        let connector = TlsConnector::from(Arc::new(config));
        connector.connect(name, self.tcp().await).await.unwrap()
    }
}

/// Reads until the server closes.
async fn to_end(stream: &mut (impl AsyncRead + Unpin)) -> String {
    let mut bytes = Vec::new();
    // A reset is an end too.
    let _ = timeout(PATIENCE, stream.read_to_end(&mut bytes))
        .await
        .expect("the server closes");
    String::from_utf8_lossy(&bytes).into_owned()
}

#[tokio::test]
async fn both_versions_are_answered_in_http_1_1() {
    let secure = Secure::start(|_| {});
    for version in [&TLS12, &TLS13] {
        let mut stream = secure.connect(version).await;
        assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"http/1.1"[..]));
        let request = b"GET /v1 HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
        stream.write_all(request).await.unwrap();
        let answer = to_end(&mut stream).await;
        assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    }
}

#[tokio::test]
async fn plain_http_is_told_what_is_spoken() {
    let secure = Secure::start(|_| {});
    let mut plain = secure.tcp().await;
    let request = b"POST /v1/jobs HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n{}";
    plain.write_all(request).await.unwrap();
    let mut answer = vec![0; 12];
    plain.read_exact(&mut answer).await.unwrap();
    assert_eq!(answer, b"HTTP/1.1 400");
    plain.shutdown().await.unwrap();
    let rest = to_end(&mut plain).await;
    assert!(rest.contains("this address speaks https only"), "{rest}");
    // What is neither gets no answer, and no place.
    let mut other = secure.tcp().await;
    other.write_all(b"\0\0\0\0\0\0\0\0\0\0\0\0").await.unwrap();
    assert!(!to_end(&mut other).await.contains("HTTP"));
}

#[tokio::test]
async fn who_does_not_finish_the_handshake_is_closed() {
    let secure = Secure::start(|config| {
        config.limits.handshake_deadline = Duration::from_millis(300);
    });
    let started = Instant::now();
    // Nothing; half a record; plain HTTP without an end.
    for words in [&b""[..], b"\x16\x03\x01\x02\x00\x01", b"GET /"] {
        let mut stream = secure.tcp().await;
        stream.write_all(words).await.unwrap();
        let answer = to_end(&mut stream).await;
        assert_eq!(answer.contains("400"), words == b"GET /", "{answer}");
    }
    assert!(started.elapsed() < PATIENCE);
}

#[tokio::test]
async fn no_more_handshakes_than_allowed_are_in_progress() {
    let secure = Secure::start(|config| {
        config.limits.handshakes = 1;
        config.limits.handshake_deadline = PATIENCE;
    });
    // One that is done takes no place.
    let _open = secure.connect(&TLS13).await;
    let _slow = secure.tcp().await;
    eventually("another one is closed", async || {
        let mut second = secure.tcp().await;
        let read = timeout(Duration::from_secs(1), second.read(&mut [0])).await;
        matches!(read, Ok(Ok(0) | Err(_)))
    })
    .await;
}

#[tokio::test]
async fn the_bounds_of_requests_hold() {
    let secure = Secure::start(|config| {
        config.limits.header_deadline = Duration::from_millis(300);
    });
    let mut slow = secure.connect(&TLS13).await;
    slow.write_all(b"GET /v1 HTTP/1.1\r\nHo").await.unwrap();
    assert_eq!(to_end(&mut slow).await, "");
    // What the parser refuses is a problem document here too.
    let mut broken = secure.connect(&TLS13).await;
    broken
        .write_all(b"GET /v1 HTTP/1.1\r\nno header\r\n\r\n")
        .await
        .unwrap();
    let answer = to_end(&mut broken).await;
    assert!(answer.starts_with("HTTP/1.1 400 "), "{answer}");
    assert!(answer.contains("application/problem+json"), "{answer}");
}
